"""DROP and TRUNCATE: what goes, and what is locked with it."""

from collections.abc import Iterable
from typing import Any, Final

from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.tree import Name, name_of, object_name

_RELATIONS: Final = {
    "TABLE": "table",
    "VIEW": "",
    "MATVIEW": "",
    "SEQUENCE": "sequence",
    "FOREIGN_TABLE": "",
    "INDEX": "",
}
"""Of DropStmt's kinds those that are relations; those whose content is nowhere else have a word for it."""
_ON_A_TABLE: Final = frozenset(("TRIGGER", "POLICY", "RULE"))
_CASCADING: Final = {
    "SCHEMA": "schema",
    "TYPE": "type",
    "DOMAIN": "type",
    "FUNCTION": "function",
    "PROCEDURE": "function",
    "ROUTINE": "function",
    "AGGREGATE": "function",
    "EXTENSION": "extension",
    "FOREIGN_SERVER": "server",
}


def drop(found: Findings, statement: Any) -> None:
    """DROP of any kind of object."""
    kind = enum("ObjectType", statement.remove_type).removeprefix("OBJECT_")
    cascade = enum("DropBehavior", statement.behavior) == "DROP_CASCADE"
    for node in statement.objects:
        name = object_name(node)
        if kind in _RELATIONS:
            _drop_relation(found, kind, name, cascade, statement)
        elif kind in _ON_A_TABLE:
            _drop_from_table(found, kind, name[:-1])
        elif kind == "STATISTIC_EXT":
            _drop_statistics(found, name)
        elif cascade:
            _cascade(found, kind, name)
        if kind == "SCHEMA" and cascade:
            found.destructive.append(f"schema {'.'.join(name)} is dropped with everything in it")
        elif kind in ("TYPE", "DOMAIN", "EXTENSION") and cascade:
            found.destructive.append(f"{kind.lower()} {'.'.join(name)} is dropped with every column of it")


def _drop_relation(found: Findings, kind: str, name: Name, cascade: bool, statement: Any) -> None:
    relation = found.facts.find(name)
    if relation is None and statement.missing_ok and found.facts.path_known:
        found.notes.append(f"{'.'.join(name)} does not exist: skipped")
        return
    if what := _RELATIONS[kind]:
        found.lose(relation, f"{what} {'.'.join(name)} is dropped with its content")
    if kind == "INDEX":
        _drop_index(found, name, relation, concurrently=statement.concurrent)
    else:
        found.touch(name, Lock.ACCESS_EXCLUSIVE)
    if cascade:
        _cascade(found, "relation", name)
    if relation is not None:
        _around(found, relation)
        found.facts.drop(relation)


def _drop_statistics(found: Findings, name: Name) -> None:
    tables = found.facts.statistics.get(name[-1], [])
    found.lock_all(tables, Lock.SHARE_UPDATE_EXCLUSIVE, certain=len(tables) == 1, why="has the statistics")
    if not tables:
        found.unknown.append("which table the statistics are of")


def _drop_index(found: Findings, name: Name, index: CatalogRelation | None, *, concurrently: bool) -> None:
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.ACCESS_EXCLUSIVE
    links = found.facts.links
    table = links.table_of.get(index.oid) if index is not None else None
    if table in found.facts.relations:
        found.lock(found.facts.relations[table], lock, why="table of the index")
        if index is not None and index.kind == "I":
            found.lock_all(found.facts.descendants(table), lock, why="partition")
    found.touch(name, lock)
    if concurrently:
        found.notes.append("waits for the end of every transaction that uses the table")


def _around(found: Findings, relation: CatalogRelation) -> None:
    """What is locked when a relation goes."""
    links, exclusive = found.facts.links, Lock.ACCESS_EXCLUSIVE
    if relation.kind not in "rpf":
        return
    if relation.is_partition:
        parents = links.parents.get(relation.oid, ())
        found.lock_all(parents, exclusive, why="the parent")
        for parent in parents:
            default = links.default_partition.get(parent)
            if default is not None and default != relation.oid:
                found.lock_all([default], exclusive, why="default partition")
    if relation.kind == "p":
        found.lock_all(found.facts.descendants(relation.oid), exclusive, why="partition")
    found.lock_all(links.owned.get(relation.oid, ()), exclusive, why="its sequence")
    for oid in links.references.get(relation.oid, ()):
        others = [oid, *found.facts.descendants(oid)]
        # Of a partition's key only its parent's has triggers there.
        found.lock_all(
            others, exclusive, certain=not relation.is_partition, why="referenced by a foreign key"
        )


def _drop_from_table(found: Findings, kind: str, table: Name) -> None:
    relation = found.touch(table, Lock.ACCESS_EXCLUSIVE)
    if relation is not None and kind == "TRIGGER":
        others = found.facts.descendants(relation.oid)
        found.lock_all(others, Lock.ACCESS_EXCLUSIVE, certain=False, why="partition")
    if kind == "POLICY":
        found.notes.append("rows that the policy allowed are no longer visible")


def _cascade(found: Findings, kind: str, name: Name) -> None:
    what = "relation" if kind == "relation" else _CASCADING.get(kind)
    if what is None:
        found.unknown.append("what CASCADE drops")
        return
    own = found.facts.find(name) if kind == "relation" else None
    for oid, dropped in found.facts.dependents(what, name):
        relation = found.facts.relations.get(oid)
        if relation is None or (own is not None and oid == own.oid):
            continue
        found.lock(relation, Lock.ACCESS_EXCLUSIVE, why="depends on it (CASCADE)")
        if dropped:
            _around(found, relation)
            found.facts.drop(relation)


def drop_database(found: Findings, statement: Any) -> None:
    """Another one than this."""
    found.destructive.append(f"database {statement.dbname} is dropped")


def truncate(found: Findings, statement: Any) -> None:
    """The named tables, their partitions and, with CASCADE, whatever refers to them."""
    cascade = enum("DropBehavior", statement.behavior) == "DROP_CASCADE"
    emptied: list[int] = []
    for node in statement.relations:
        name = name_of(node.range_var)
        relation = found.touch(name, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED)
        found.lose(relation, f"every row of {'.'.join(name)} is deleted")
        if relation is None:
            continue
        emptied.append(relation.oid)
        if node.range_var.inh:
            others = [*found.facts.descendants(relation.oid)]
            found.lock_all(others, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED, why="partition")
            emptied += others
    if cascade:
        _referring(found, emptied)
    for oid in emptied:
        relation = found.facts.relations[oid]
        if statement.restart_seqs:
            owned = found.facts.links.owned.get(oid, ())
            found.lock_all(owned, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED, why="its sequence")
        for trigger in relation.triggers:
            if trigger.fires("TRUNCATE"):
                found.unknown.append(f"what the trigger {trigger.name} on {relation.name} does")


def _referring(found: Findings, emptied: list[int]) -> None:
    """Adds what CASCADE empties, too, to ``emptied``."""
    links = found.facts.links
    waiting: Iterable[int] = [*emptied]
    while waiting:
        others = [one for oid in waiting for one in links.referenced_by.get(oid, ()) if one not in emptied]
        others = [one for one in dict.fromkeys(others) if one in found.facts.relations]
        for oid in others:
            relation = found.facts.relations[oid]
            found.lose(relation, f"every row of {relation.name} is deleted (CASCADE)")
        found.lock_all(others, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED, why="refers to it (CASCADE)")
        emptied += others
        waiting = others
