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
"""DropStmt's kinds of relation, and what to call one whose content is lost; "" where nothing is lost."""
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


def drop(findings: Findings, statement: Any) -> None:
    """DROP of any kind of object."""
    kind = enum("ObjectType", statement.remove_type).removeprefix("OBJECT_")
    cascade = enum("DropBehavior", statement.behavior) == "DROP_CASCADE"
    for node in statement.objects:
        name = object_name(node)
        if kind in _RELATIONS:
            _drop_relation(findings, kind, name, cascade, statement)
        elif kind in _ON_A_TABLE:
            _drop_from_table(findings, kind, name[:-1])
        elif kind == "STATISTIC_EXT":
            _drop_statistics(findings, name)
        elif cascade:
            _cascade(findings, kind, name)
        if kind == "SCHEMA" and cascade:
            findings.destructive.append(f"schema {'.'.join(name)} is dropped with everything in it")
        elif kind in ("TYPE", "DOMAIN", "EXTENSION") and cascade:
            findings.destructive.append(f"{kind.lower()} {'.'.join(name)} is dropped with every column of it")


def _drop_relation(findings: Findings, kind: str, name: Name, cascade: bool, statement: Any) -> None:
    relation = findings.facts.find(name)
    if relation is None and statement.missing_ok and findings.facts.path_known:
        findings.notes.append(f"{'.'.join(name)} does not exist: skipped")
        return
    if what := _RELATIONS[kind]:
        findings.lose(relation, f"{what} {'.'.join(name)} is dropped with its content")
    if kind == "INDEX":
        _drop_index(findings, name, relation, concurrently=statement.concurrent)
    else:
        findings.touch(name, Lock.ACCESS_EXCLUSIVE)
    if cascade:
        _cascade(findings, "relation", name)
    if relation is not None:
        _lock_related(findings, relation)
        findings.facts.drop(relation)


def _drop_statistics(findings: Findings, name: Name) -> None:
    tables = findings.facts.statistics.get(name[-1], [])
    findings.lock_all(tables, Lock.SHARE_UPDATE_EXCLUSIVE, certain=len(tables) == 1, why="has the statistics")
    if not tables:
        findings.unknown.append("which table the statistics are of")


def _drop_index(findings: Findings, name: Name, index: CatalogRelation | None, *, concurrently: bool) -> None:
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if concurrently else Lock.ACCESS_EXCLUSIVE
    links = findings.facts.links
    table = links.table_of.get(index.oid) if index is not None else None
    if table in findings.facts.relations:
        findings.lock(findings.facts.relations[table], lock, why="table of the index")
        if index is not None and index.kind == "I":
            findings.lock_all(findings.facts.descendants(table), lock, why="partition")
    findings.touch(name, lock)
    if concurrently:
        findings.notes.append("waits for the end of every transaction that uses the table")


def _lock_related(findings: Findings, relation: CatalogRelation) -> None:
    """Lock what PostgreSQL locks beside a relation that is dropped."""
    links, exclusive = findings.facts.links, Lock.ACCESS_EXCLUSIVE
    if relation.kind not in "rpf":
        return
    if relation.is_partition:
        parents = links.parents.get(relation.oid, ())
        findings.lock_all(parents, exclusive, why="the parent")
        for parent in parents:
            default = links.default_partition.get(parent)
            if default is not None and default != relation.oid:
                findings.lock_all([default], exclusive, why="default partition")
    if relation.kind == "p":
        findings.lock_all(findings.facts.descendants(relation.oid), exclusive, why="partition")
    findings.lock_all(links.owned.get(relation.oid, ()), exclusive, why="its sequence")
    for oid in links.references.get(relation.oid, ()):
        referenced = [oid, *findings.facts.descendants(oid)]
        # Of a partition's key only its parent's has triggers there.
        findings.lock_all(
            referenced, exclusive, certain=not relation.is_partition, why="referenced by a foreign key"
        )


def _drop_from_table(findings: Findings, kind: str, table: Name) -> None:
    relation = findings.touch(table, Lock.ACCESS_EXCLUSIVE)
    if relation is not None and kind == "TRIGGER":
        partitions = findings.facts.descendants(relation.oid)
        findings.lock_all(partitions, Lock.ACCESS_EXCLUSIVE, certain=False, why="partition")
    if kind == "POLICY":
        findings.notes.append("rows that the policy allowed are no longer visible")


def _cascade(findings: Findings, kind: str, name: Name) -> None:
    what = "relation" if kind == "relation" else _CASCADING.get(kind)
    if what is None:
        findings.unknown.append("what CASCADE drops")
        return
    own = findings.facts.find(name) if kind == "relation" else None
    for oid, dropped in findings.facts.dependents(what, name):
        relation = findings.facts.relations.get(oid)
        if relation is None or (own is not None and oid == own.oid):
            continue
        findings.lock(relation, Lock.ACCESS_EXCLUSIVE, why="depends on it (CASCADE)")
        if dropped:
            _lock_related(findings, relation)
            findings.facts.drop(relation)


def drop_database(findings: Findings, statement: Any) -> None:
    """Always another database: PostgreSQL does not drop the one that a session is connected to."""
    findings.destructive.append(f"database {statement.dbname} is dropped")


def truncate(findings: Findings, statement: Any) -> None:
    """The named tables, their partitions and, with CASCADE, whatever refers to them."""
    cascade = enum("DropBehavior", statement.behavior) == "DROP_CASCADE"
    emptied: list[int] = []
    for node in statement.relations:
        name = name_of(node.range_var)
        relation = findings.touch(name, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED)
        findings.lose(relation, f"every row of {'.'.join(name)} is deleted")
        if relation is None:
            continue
        emptied.append(relation.oid)
        if node.range_var.inh:
            partitions = [*findings.facts.descendants(relation.oid)]
            findings.lock_all(partitions, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED, why="partition")
            emptied += partitions
    if cascade:
        _referring(findings, emptied)
    for oid in emptied:
        relation = findings.facts.relations[oid]
        if statement.restart_seqs:
            owned = findings.facts.links.owned.get(oid, ())
            findings.lock_all(owned, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED, why="its sequence")
        for trigger in relation.triggers:
            if trigger.fires("TRUNCATE"):
                findings.unknown.append(f"what the trigger {trigger.name} on {relation.name} does")


def _referring(findings: Findings, emptied: list[int]) -> None:
    """Adds what CASCADE empties, too, to ``emptied``."""
    links = findings.facts.links
    latest: Iterable[int] = [*emptied]
    while latest:
        referring = [
            source for oid in latest for source in links.referenced_by.get(oid, ()) if source not in emptied
        ]
        referring = [oid for oid in dict.fromkeys(referring) if oid in findings.facts.relations]
        for oid in referring:
            relation = findings.facts.relations[oid]
            findings.lose(relation, f"every row of {relation.name} is deleted (CASCADE)")
        findings.lock_all(referring, Lock.ACCESS_EXCLUSIVE, Work.EMPTIED, why="refers to it (CASCADE)")
        emptied += referring
        latest = referring
