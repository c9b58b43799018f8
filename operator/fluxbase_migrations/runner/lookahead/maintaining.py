"""Statements about relations as they are: LOCK, VACUUM, CLUSTER, REINDEX, REFRESH, COPY, COMMENT, GRANT."""

from typing import Any, Final

from fluxbase_migrations.runner.lookahead import queries
from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.tree import is_on, name_of, object_name, unwrapped

_RELATIONS: Final = frozenset(("TABLE", "VIEW", "MATVIEW", "SEQUENCE", "FOREIGN_TABLE", "INDEX"))
_ON_A_TABLE: Final = frozenset(("COLUMN", "TABCONSTRAINT", "TRIGGER", "POLICY", "RULE"))


def lock_table(found: Findings, statement: Any) -> None:
    """As it says."""
    lock = Lock.of_strength(statement.mode)
    for node in statement.relations:
        relation = found.touch(name_of(node.range_var), lock)
        if relation is not None and node.range_var.inh:
            found.lock_all(found.facts.descendants(relation.oid), lock, why="partition or child table")
        if relation is not None and relation.kind == "v":
            _behind_view(found, relation, lock)


def _behind_view(found: Findings, view: CatalogRelation, lock: Lock) -> None:
    for oid in found.facts.links.uses.get(view.oid, ()):
        used = found.facts.relations.get(oid)
        if used is not None:
            found.lock(used, lock, why=f"behind the view {view.name}")
            _behind_view(found, used, lock)


def vacuum(found: Findings, statement: Any) -> None:
    """VACUUM and ANALYZE."""
    full = bool(statement.is_vacuumcmd) and is_on(statement.options, "full")
    lock = Lock.ACCESS_EXCLUSIVE if full else Lock.SHARE_UPDATE_EXCLUSIVE
    work = Work.REWRITE if full else Work.MAY_SCAN
    if statement.is_vacuumcmd and not full:
        found.notes.append("may take ACCESS EXCLUSIVE for a moment, to give empty pages at the end back")
    for node in statement.rels:
        relation = found.touch(name_of(node.vacuum_relation.relation), lock, work)
        if relation is not None:
            others = found.facts.descendants(relation.oid)
            found.lock_all(others, lock, work, certain=relation.kind == "p", why="partition")
    if not statement.rels:
        found.unknown.append("which tables: every one of the database that the role may")


def cluster(found: Findings, statement: Any) -> None:
    """One table, or all that were clustered before."""
    if not statement.relation.relname:
        found.unknown.append("which tables: every one that was clustered before")
        return
    relation = found.touch(name_of(statement.relation), Lock.ACCESS_EXCLUSIVE, Work.REWRITE)
    if relation is not None:
        others = found.facts.descendants(relation.oid)
        found.lock_all(
            others, Lock.ACCESS_EXCLUSIVE, Work.REWRITE, certain=relation.kind == "p", why="partition"
        )


def reindex(found: Findings, statement: Any) -> None:
    """Writers wait, readers of the index, too; CONCURRENTLY only other changes of the table do."""
    concurrently = is_on(statement.params, "concurrently")
    kind = enum("ReindexObjectType", statement.kind).removeprefix("REINDEX_OBJECT_")
    if kind not in ("INDEX", "TABLE"):
        found.unknown.append(f"which tables: every one of the {kind.lower()}")
        return
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.SHARE
    name = name_of(statement.relation)
    links = found.facts.links
    if kind == "TABLE":
        relation = found.touch(name, lock, Work.SCAN)
        if relation is not None:
            parts = [*found.facts.descendants(relation.oid)] if relation.kind == "p" else []
            found.lock_all(parts, lock, Work.SCAN, certain=False, why="partition")
            indexes = [one for oid in (relation.oid, *parts) for one in links.indexes.get(oid, ())]
            _rebuilt(found, indexes, concurrently, certain=relation.kind != "p")
            if parts:
                found.notes.append("each partition in a transaction of its own")
        return
    index = found.facts.find(name)
    table = links.table_of.get(index.oid) if index is not None else None
    if table in found.facts.relations:
        found.lock(found.facts.relations[table], lock, Work.SCAN, why="table of the index")
    if index is None:
        found.touch(name, Lock.ACCESS_EXCLUSIVE if not concurrently else lock, Work.REWRITE)
        return
    leaves = [index.oid, *found.facts.descendants(index.oid)]
    tables = [links.table_of[oid] for oid in leaves[1:] if oid in links.table_of]
    found.lock_all(tables, lock, Work.SCAN, certain=False, why="partition")
    _rebuilt(found, leaves, concurrently, certain=index.kind == "i")


def _rebuilt(found: Findings, indexes: list[int], concurrently: bool, *, certain: bool) -> None:
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.ACCESS_EXCLUSIVE
    for oid in indexes:
        index = found.facts.relations.get(oid)
        if index is not None:
            work = Work.REWRITE if index.kind == "i" else Work.CATALOG
            found.lock(index, lock, work, certain=certain, why="the index")


def refresh(found: Findings, statement: Any) -> None:
    """CONCURRENTLY lets others read meanwhile."""
    lock = Lock.EXCLUSIVE if statement.concurrent else Lock.ACCESS_EXCLUSIVE
    work = Work.ROWS if statement.concurrent else Work.REWRITE
    view = found.touch(name_of(statement.relation), lock, work)
    if view is None or statement.skip_data:
        return
    for oid in found.facts.links.uses.get(view.oid, ()):
        used = found.facts.relations.get(oid)
        if used is not None:
            queries.read(found, (used.schema, used.name))


def copy(found: Findings, statement: Any) -> None:
    """From a table or into one."""
    if statement.HasField("query"):
        queries.query(found, unwrapped(statement.query)[1])
    elif statement.is_from:
        queries.write(found, name_of(statement.relation), ("INSERT",))
    else:
        found.touch(name_of(statement.relation), Lock.ACCESS_SHARE, Work.ROWS)


def comment(found: Findings, statement: Any) -> None:
    """COMMENT and SECURITY LABEL: others go on reading and writing."""
    kind = enum("ObjectType", statement.objtype).removeprefix("OBJECT_")
    name = object_name(statement.object)
    if kind in _RELATIONS:
        found.touch(name, Lock.SHARE_UPDATE_EXCLUSIVE)
    elif kind in _ON_A_TABLE:
        found.touch(name[:-1], Lock.SHARE_UPDATE_EXCLUSIVE if kind == "COLUMN" else Lock.ACCESS_SHARE)


def grant(found: Findings, statement: Any) -> None:
    """Privileges are the catalog's alone; since PostgreSQL 18 the relation cannot be dropped meanwhile."""
    kind = enum("ObjectType", statement.objtype).removeprefix("OBJECT_")
    if kind in _RELATIONS and enum("GrantTargetType", statement.targtype) == "ACL_TARGET_OBJECT":
        for node in statement.objects:
            if found.version >= 18:
                found.touch(object_name(node), Lock.ACCESS_SHARE)


def explain(found: Findings, statement: Any) -> None:
    """EXPLAIN locks as the statement does; with ANALYZE it runs it."""
    from fluxbase_migrations.runner.lookahead.classify import gather

    unknown, lost = len(found.unknown), len(found.destructive)
    gather(found, statement.query)
    if not is_on(statement.options, "analyze"):
        del found.unknown[unknown:]
        del found.destructive[lost:]


def of_query(found: Findings, statement: Any) -> None:
    """DECLARE CURSOR and PREPARE: the query is looked at now, and runs later."""
    from fluxbase_migrations.runner.lookahead.classify import gather

    gather(found, statement.query)


def alter_domain(found: Findings, statement: Any) -> None:
    """A constraint is checked in every table that has a column of the domain."""
    known = found.facts.type_of(tuple(node.string.sval for node in statement.type_name))
    checks = statement.subtype in ("C", "O", "V") and not (
        statement.subtype == "C" and getattr(statement, "def").constraint.skip_validation
    )
    if checks and known is not None:
        found.lock_all(known.users, Lock.SHARE, Work.SCAN, why="has a column of the domain")
    elif checks:
        found.unknown.append("which tables have a column of the domain")
