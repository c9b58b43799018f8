"""CREATE: tables, indexes, views and what is attached to a table."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from fluxbase_migrations.runner.lookahead import columns, destroys, queries
from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.tree import Name, name_of, object_name, option, unwrapped

_TEMPORARY = "t"


def _create(findings: Findings, range_var: Any, kind: str) -> CatalogRelation:
    return findings.facts.create(name_of(range_var), kind, temporary=range_var.relpersistence == _TEMPORARY)


def create_table(findings: Findings, statement: Any) -> None:
    """Parents, partitioned tables, templates and referenced tables are locked."""
    name = name_of(statement.relation)
    if statement.if_not_exists and findings.facts.find(name) is not None:
        findings.notes.append(f"{'.'.join(name)} exists: skipped")
        return
    partition = statement.HasField("partbound")
    table = _create(findings, statement.relation, "p" if statement.HasField("partspec") else "r")
    for parent_node in statement.inh_relations:
        lock = Lock.ACCESS_EXCLUSIVE if partition else Lock.SHARE_UPDATE_EXCLUSIVE
        parent = findings.touch(name_of(parent_node.range_var), lock, why="the parent")
        if parent is not None:
            _partition_of(findings, parent, partition)
            findings.facts.inherit(table, parent)
    for node in statement.table_elts:
        kind, element = unwrapped(node)
        if kind == "table_like_clause":
            findings.touch(name_of(element.relation), Lock.ACCESS_SHARE, why="LIKE")
        elif kind == "column_def":
            columns.references_of(findings, table, element)
            _serial(findings, element, name)
        elif kind == "constraint" and enum("ConstrType", element.contype) == "CONSTR_FOREIGN":
            columns.reference(findings, table, element, checks=False)


def _serial(findings: Findings, column: Any, table: Name) -> None:
    type_name = object_name_of_type(column)
    if type_name[-1:] in (("serial",), ("bigserial",), ("smallserial",)):
        findings.facts.create((*table[:-1], f"{table[-1]}_{column.colname}_seq"), "S")


def object_name_of_type(column: Any) -> Name:
    """A column's type, as it is written."""
    return tuple(node.string.sval for node in column.type_name.names)


def _partition_of(findings: Findings, parent: CatalogRelation, partition: bool) -> None:
    if not partition:
        return
    links = findings.facts.links
    default = links.default_partition.get(parent.oid)
    if default is not None:
        partitions = [default, *findings.facts.descendants(default)]
        findings.lock_all(partitions, Lock.ACCESS_EXCLUSIVE, Work.SCAN, why="default partition")
    findings.lock_all(
        links.references.get(parent.oid, ()),
        Lock.SHARE_ROW_EXCLUSIVE,
        why="referenced by a foreign key of the parent",
    )


def create_foreign_table(findings: Findings, statement: Any) -> None:
    """Locks what CREATE TABLE locks."""
    create_table(findings, statement.base_stmt)


def create_table_as(findings: Findings, statement: Any) -> None:
    """CREATE TABLE AS, CREATE MATERIALIZED VIEW and SELECT INTO read what their query reads."""
    name = name_of(statement.into.rel)
    if statement.if_not_exists and findings.facts.find(name) is not None:
        findings.notes.append(f"{'.'.join(name)} exists: skipped")
        return
    kind, node = unwrapped(statement.query)
    if kind == "execute_stmt":
        findings.unknown.append("what the prepared statement does")
    else:
        queries.query(findings, node)
    _create(
        findings,
        statement.into.rel,
        "m" if enum("ObjectType", statement.objtype) == "OBJECT_MATVIEW" else "r",
    )


def create_view(findings: Findings, statement: Any) -> None:
    """What its query reads is locked as for reading; the view itself only where it is replaced."""
    before = findings.facts.find(name_of(statement.view))
    if statement.replace and before is not None:
        findings.lock(before, Lock.ACCESS_EXCLUSIVE)
    with _definition(findings):
        queries.query(findings, unwrapped(statement.query)[1])
    if before is None:
        _create(findings, statement.view, "v")


@contextmanager
def _definition(findings: Findings) -> Iterator[None]:
    """A query that is kept and not executed: neither partitions nor what is behind a view are locked."""
    touches, unknown = len(findings.touches), len(findings.unknown)
    yield
    del findings.unknown[unknown:]
    findings.touches[touches:] = [
        replace(touch, work=Work.CATALOG) for touch in findings.touches[touches:] if not touch.why
    ]


def create_index(findings: Findings, statement: Any) -> None:
    """A build scans the table; CONCURRENTLY does not block writes, and waits for transactions that write."""
    name = name_of(statement.relation)
    relation = findings.facts.find(name)
    place = relation.schema if relation else name[0] if len(name) > 1 else ""
    full = (place, statement.idxname) if place else (statement.idxname,)
    exists = bool(statement.idxname) and findings.facts.find(full) is not None
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if statement.concurrent else Lock.SHARE
    skipped = statement.if_not_exists and exists
    relation = findings.touch(name, lock, Work.CATALOG if skipped else Work.SCAN)
    if skipped:
        findings.notes.append(f"{statement.idxname} exists: skipped")
        return
    if relation is not None and statement.relation.inh:
        findings.lock_all(findings.facts.descendants(relation.oid), lock, Work.SCAN, why="partition")
    if statement.concurrent:
        findings.notes.append("waits for the end of every transaction that uses the table")
    for part in (*statement.index_params, statement.where_clause):
        _called(findings, part)
    if statement.idxname:
        findings.facts.create(full, "i", table=relation.oid if relation else 0)


def _called(findings: Findings, part: Any) -> None:
    kind, node = unwrapped(part)
    if kind == "index_elem":
        node = node.expr
    if kind:
        queries.calls(findings, node)


def create_sequence(findings: Findings, statement: Any) -> None:
    """CREATE SEQUENCE; OWNED BY locks the table."""
    _create(findings, statement.sequence, "S")
    owned_by(findings, statement)


def owned_by(findings: Findings, statement: Any) -> None:
    """The table of OWNED BY, if it is given."""
    owner = option(statement.options, "owned_by")
    if owner is None:
        return
    name = object_name(owner.arg)
    if len(name) > 1:
        findings.touch(name[:-1], Lock.ACCESS_SHARE, why="owns the sequence")


def alter_sequence(findings: Findings, statement: Any) -> None:
    """SHARE ROW EXCLUSIVE: nextval waits until the transaction ends."""
    findings.touch(name_of(statement.sequence), Lock.SHARE_ROW_EXCLUSIVE)
    owned_by(findings, statement)


def create_trigger(findings: Findings, statement: Any) -> None:
    """SHARE ROW EXCLUSIVE: blocks writes, not reads."""
    relation = findings.touch(name_of(statement.relation), Lock.SHARE_ROW_EXCLUSIVE)
    if relation is not None and statement.row:
        findings.lock_all(
            findings.facts.descendants(relation.oid),
            Lock.SHARE_ROW_EXCLUSIVE,
            certain=relation.kind == "p",
            why="partition",
        )
    if statement.HasField("constrrel"):
        findings.touch(name_of(statement.constrrel), Lock.ACCESS_SHARE, why="FROM")


def create_rule(findings: Findings, statement: Any) -> None:
    """ACCESS EXCLUSIVE on the table; the relations that the actions name are locked for parsing."""
    findings.touch(name_of(statement.relation), Lock.ACCESS_EXCLUSIVE)
    before = len(findings.touches)
    with _definition(findings):
        for action in statement.actions:
            queries.query(findings, unwrapped(action)[1])
    findings.touches[before:] = [
        touch for touch in findings.touches[before:] if touch.relation.name not in ("old", "new")
    ]


def policy(findings: Findings, statement: Any) -> None:
    """CREATE and ALTER POLICY: ACCESS EXCLUSIVE on the table."""
    findings.touch(name_of(statement.table), Lock.ACCESS_EXCLUSIVE)
    with _definition(findings):
        for part in (statement.qual, statement.with_check):
            kind, node = unwrapped(part)
            if kind:
                queries.query(findings, node)


def create_statistics(findings: Findings, statement: Any) -> None:
    """SHARE UPDATE EXCLUSIVE: reads and writes go on."""
    for node in statement.relations:
        if node.WhichOneof("node") == "range_var":
            findings.touch(name_of(node.range_var), Lock.SHARE_UPDATE_EXCLUSIVE)


def create_schema(findings: Findings, statement: Any) -> None:
    """Its elements, if it has some, are statements of their own."""
    if statement.schema_elts:
        from fluxbase_migrations.runner.lookahead.classify import gather

        before = findings.facts.path
        findings.facts.path = [statement.schemaname, *before]
        for element in statement.schema_elts:
            gather(findings, element)
        findings.facts.path = before


def publication(findings: Findings, statement: Any) -> None:
    """CREATE and ALTER PUBLICATION: each table that is named, not those of FOR ALL TABLES."""
    for node in statement.pubobjects:
        table = node.publication_obj_spec.pubtable
        if table.relation.relname:
            relation = findings.touch(name_of(table.relation), Lock.SHARE_UPDATE_EXCLUSIVE)
            if relation is not None and relation.kind != "p" and table.relation.inh:
                children = findings.facts.descendants(relation.oid)
                findings.lock_all(children, Lock.SHARE_UPDATE_EXCLUSIVE, why="child table")


def query_or_change(findings: Findings, statement: Any) -> None:
    """SELECT, INSERT, UPDATE, DELETE or MERGE, with the rows that are lost for good."""
    queries.query(findings, statement)
    destroys.note_lost_rows(findings, statement)
