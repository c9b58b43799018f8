"""Statements about relations as they are: LOCK, VACUUM, CLUSTER, REINDEX, REFRESH, COPY, COMMENT, GRANT."""

from typing import Any, Final

from fluxbase_migrations.runner.lookahead import queries
from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.tree import is_on, name_of, object_name

_RELATIONS: Final = frozenset(("TABLE", "VIEW", "MATVIEW", "SEQUENCE", "FOREIGN_TABLE", "INDEX"))
_ON_A_TABLE: Final = frozenset(("COLUMN", "TABCONSTRAINT", "TRIGGER", "POLICY", "RULE"))


def lock_table(findings: Findings, statement: Any) -> None:
    """The mode that the statement names, also on partitions, child tables and what a view reads."""
    lock = Lock.of_strength(statement.mode)
    for node in statement.relations:
        relation = findings.touch(name_of(node.range_var), lock)
        if relation is not None and node.range_var.inh:
            findings.lock_all(findings.facts.descendants(relation.oid), lock, why="partition or child table")
        if relation is not None and relation.kind == "v":
            _behind_view(findings, relation, lock)


def _behind_view(findings: Findings, view: CatalogRelation, lock: Lock) -> None:
    for oid in findings.facts.links.uses.get(view.oid, ()):
        used = findings.facts.relations.get(oid)
        if used is not None:
            findings.lock(used, lock, why=f"behind the view {view.name}")
            _behind_view(findings, used, lock)


def vacuum(findings: Findings, statement: Any) -> None:
    """VACUUM and ANALYZE: SHARE UPDATE EXCLUSIVE; VACUUM FULL rewrites under ACCESS EXCLUSIVE."""
    full = bool(statement.is_vacuumcmd) and is_on(statement.options, "full")
    lock = Lock.ACCESS_EXCLUSIVE if full else Lock.SHARE_UPDATE_EXCLUSIVE
    work = Work.REWRITE if full else Work.MAY_SCAN
    if statement.is_vacuumcmd and not full:
        findings.notes.append("may take ACCESS EXCLUSIVE for a moment, to give empty pages at the end back")
    for node in statement.rels:
        relation = findings.touch(name_of(node.vacuum_relation.relation), lock, work)
        if relation is not None:
            partitions = findings.facts.descendants(relation.oid)
            findings.lock_all(partitions, lock, work, certain=relation.kind == "p", why="partition")
    if not statement.rels:
        findings.unknown.append("which tables: every one of the database that the role may")


def cluster(findings: Findings, statement: Any) -> None:
    """CLUSTER: rewrites a table, or all that were clustered before, under ACCESS EXCLUSIVE."""
    if not statement.relation.relname:
        findings.unknown.append("which tables: every one that was clustered before")
        return
    relation = findings.touch(name_of(statement.relation), Lock.ACCESS_EXCLUSIVE, Work.REWRITE)
    if relation is not None:
        partitions = findings.facts.descendants(relation.oid)
        findings.lock_all(
            partitions, Lock.ACCESS_EXCLUSIVE, Work.REWRITE, certain=relation.kind == "p", why="partition"
        )


def reindex(findings: Findings, statement: Any) -> None:
    """Blocks writes, and reads that use the index; CONCURRENTLY blocks only other DDL on the table."""
    concurrently = is_on(statement.params, "concurrently")
    kind = enum("ReindexObjectType", statement.kind).removeprefix("REINDEX_OBJECT_")
    if kind not in ("INDEX", "TABLE"):
        findings.unknown.append(f"which tables: every one of the {kind.lower()}")
        return
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.SHARE
    name = name_of(statement.relation)
    links = findings.facts.links
    if kind == "TABLE":
        relation = findings.touch(name, lock, Work.SCAN)
        if relation is not None:
            parts = [*findings.facts.descendants(relation.oid)] if relation.kind == "p" else []
            findings.lock_all(parts, lock, Work.SCAN, certain=False, why="partition")
            indexes = [index for oid in (relation.oid, *parts) for index in links.indexes.get(oid, ())]
            _rebuilt(findings, indexes, concurrently, certain=relation.kind != "p")
            if parts:
                findings.notes.append("each partition in a transaction of its own")
        return
    index = findings.facts.find(name)
    table = links.table_of.get(index.oid) if index is not None else None
    if table in findings.facts.relations:
        findings.lock(findings.facts.relations[table], lock, Work.SCAN, why="table of the index")
    if index is None:
        findings.touch(name, Lock.ACCESS_EXCLUSIVE if not concurrently else lock, Work.REWRITE)
        return
    leaves = [index.oid, *findings.facts.descendants(index.oid)]
    tables = [links.table_of[oid] for oid in leaves[1:] if oid in links.table_of]
    findings.lock_all(tables, lock, Work.SCAN, certain=False, why="partition")
    _rebuilt(findings, leaves, concurrently, certain=index.kind == "i")


def _rebuilt(findings: Findings, indexes: list[int], concurrently: bool, *, certain: bool) -> None:
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.ACCESS_EXCLUSIVE
    for oid in indexes:
        index = findings.facts.relations.get(oid)
        if index is not None:
            work = Work.REWRITE if index.kind == "i" else Work.CATALOG
            findings.lock(index, lock, work, certain=certain, why="the index")


def refresh(findings: Findings, statement: Any) -> None:
    """ACCESS EXCLUSIVE on the view; CONCURRENTLY does not block reads."""
    lock = Lock.EXCLUSIVE if statement.concurrent else Lock.ACCESS_EXCLUSIVE
    work = Work.ROWS if statement.concurrent else Work.REWRITE
    view = findings.touch(name_of(statement.relation), lock, work)
    if view is None or statement.skip_data:
        return
    for oid in findings.facts.links.uses.get(view.oid, ()):
        used = findings.facts.relations.get(oid)
        if used is not None:
            queries.read(findings, (used.schema, used.name))


def copy(findings: Findings, statement: Any) -> None:
    """COPY from a table, into a table, or of a query."""
    from fluxbase_migrations.runner.lookahead.classify import gather

    if statement.is_program:
        findings.unknown.append("what the program does, which the server starts")
    if statement.HasField("query"):
        gather(findings, statement.query)
    elif statement.is_from:
        queries.write(findings, name_of(statement.relation), ("INSERT",))
    else:
        findings.touch(name_of(statement.relation), Lock.ACCESS_SHARE, Work.ROWS)


def comment(findings: Findings, statement: Any) -> None:
    """COMMENT and SECURITY LABEL: reads and writes go on."""
    kind = enum("ObjectType", statement.objtype).removeprefix("OBJECT_")
    name = object_name(statement.object)
    if kind in _RELATIONS:
        findings.touch(name, Lock.SHARE_UPDATE_EXCLUSIVE)
    elif kind in _ON_A_TABLE:
        findings.touch(name[:-1], Lock.SHARE_UPDATE_EXCLUSIVE if kind == "COLUMN" else Lock.ACCESS_SHARE)


def grant(findings: Findings, statement: Any) -> None:
    """Privileges are the catalog's alone; since PostgreSQL 18 the relation is locked, too."""
    kind = enum("ObjectType", statement.objtype).removeprefix("OBJECT_")
    if kind in _RELATIONS and enum("GrantTargetType", statement.targtype) == "ACL_TARGET_OBJECT":
        for node in statement.objects:
            if findings.version >= 18:
                findings.touch(object_name(node), Lock.ACCESS_SHARE)


def explain(findings: Findings, statement: Any) -> None:
    """EXPLAIN locks as the statement does; with ANALYZE it runs it."""
    from fluxbase_migrations.runner.lookahead.classify import gather

    unknown, lost = len(findings.unknown), len(findings.destructive)
    gather(findings, statement.query)
    if not is_on(statement.options, "analyze"):
        del findings.unknown[unknown:]
        del findings.destructive[lost:]


def of_query(findings: Findings, statement: Any) -> None:
    """DECLARE CURSOR and PREPARE: the query's relations are locked now, and it runs later."""
    from fluxbase_migrations.runner.lookahead.classify import gather

    gather(findings, statement.query)


def alter_domain(findings: Findings, statement: Any) -> None:
    """A constraint is checked in every table that has a column of the domain."""
    known = findings.facts.type_of(tuple(node.string.sval for node in statement.type_name))
    checks = statement.subtype in ("C", "O", "V") and not (
        statement.subtype == "C" and getattr(statement, "def").constraint.skip_validation
    )
    if checks and known is not None:
        findings.lock_all(known.users, Lock.SHARE, Work.SCAN, why="has a column of the domain")
    elif checks:
        findings.unknown.append("which tables have a column of the domain")
