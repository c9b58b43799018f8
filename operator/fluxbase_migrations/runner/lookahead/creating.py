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


def _made(found: Findings, range_var: Any, kind: str) -> CatalogRelation:
    return found.facts.create(name_of(range_var), kind, temporary=range_var.relpersistence == _TEMPORARY)


def create_table(found: Findings, statement: Any) -> None:
    """Parents, partitioned tables, templates and referenced tables are locked."""
    name = name_of(statement.relation)
    if statement.if_not_exists and found.facts.find(name) is not None:
        found.notes.append(f"{'.'.join(name)} exists: skipped")
        return
    partition = statement.HasField("partbound")
    made = _made(found, statement.relation, "p" if statement.HasField("partspec") else "r")
    for one in statement.inh_relations:
        lock = Lock.ACCESS_EXCLUSIVE if partition else Lock.SHARE_UPDATE_EXCLUSIVE
        parent = found.touch(name_of(one.range_var), lock, why="the parent")
        if parent is not None:
            _partition_of(found, parent, partition)
            found.facts.inherit(made, parent)
    for node in statement.table_elts:
        kind, element = unwrapped(node)
        if kind == "table_like_clause":
            found.touch(name_of(element.relation), Lock.ACCESS_SHARE, why="LIKE")
        elif kind == "column_def":
            columns.references_of(found, made, element)
            _serial(found, element, name)
        elif kind == "constraint" and enum("ConstrType", element.contype) == "CONSTR_FOREIGN":
            columns.reference(found, made, element, checks=False)


def _serial(found: Findings, column: Any, table: Name) -> None:
    type_name = object_name_of_type(column)
    if type_name[-1:] in (("serial",), ("bigserial",), ("smallserial",)):
        found.facts.create((*table[:-1], f"{table[-1]}_{column.colname}_seq"), "S")


def object_name_of_type(column: Any) -> Name:
    """A column's type, as it is written."""
    return tuple(node.string.sval for node in column.type_name.names)


def _partition_of(found: Findings, parent: CatalogRelation, partition: bool) -> None:
    if not partition:
        return
    links = found.facts.links
    default = links.default_partition.get(parent.oid)
    if default is not None:
        others = [default, *found.facts.descendants(default)]
        found.lock_all(others, Lock.ACCESS_EXCLUSIVE, Work.SCAN, why="default partition")
    found.lock_all(
        links.references.get(parent.oid, ()),
        Lock.SHARE_ROW_EXCLUSIVE,
        why="referenced by a foreign key of the parent",
    )


def create_foreign_table(found: Findings, statement: Any) -> None:
    """As a table."""
    create_table(found, statement.base_stmt)


def create_table_as(found: Findings, statement: Any) -> None:
    """CREATE TABLE AS, CREATE MATERIALIZED VIEW and SELECT INTO read what their query reads."""
    name = name_of(statement.into.rel)
    if statement.if_not_exists and found.facts.find(name) is not None:
        found.notes.append(f"{'.'.join(name)} exists: skipped")
        return
    kind, node = unwrapped(statement.query)
    if kind == "execute_stmt":
        found.unknown.append("what the prepared statement does")
    else:
        queries.query(found, node)
    _made(
        found, statement.into.rel, "m" if enum("ObjectType", statement.objtype) == "OBJECT_MATVIEW" else "r"
    )


def create_view(found: Findings, statement: Any) -> None:
    """What its query reads is locked as for reading; the view itself only where it is replaced."""
    before = found.facts.find(name_of(statement.view))
    if statement.replace and before is not None:
        found.lock(before, Lock.ACCESS_EXCLUSIVE)
    with _definition(found):
        queries.query(found, unwrapped(statement.query)[1])
    if before is None:
        _made(found, statement.view, "v")


@contextmanager
def _definition(found: Findings) -> Iterator[None]:
    """A query that is kept and not executed: neither partitions nor what is behind a view are locked."""
    touches, unknown = len(found.touches), len(found.unknown)
    yield
    del found.unknown[unknown:]
    found.touches[touches:] = [
        replace(one, work=Work.CATALOG) for one in found.touches[touches:] if not one.why
    ]


def create_index(found: Findings, statement: Any) -> None:
    """A build scans the table; CONCURRENTLY lets others write meanwhile, and waits for those who do."""
    name = name_of(statement.relation)
    relation = found.facts.find(name)
    place = relation.schema if relation else name[0] if len(name) > 1 else ""
    full = (place, statement.idxname) if place else (statement.idxname,)
    exists = bool(statement.idxname) and found.facts.find(full) is not None
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if statement.concurrent else Lock.SHARE
    skipped = statement.if_not_exists and exists
    relation = found.touch(name, lock, Work.CATALOG if skipped else Work.SCAN)
    if skipped:
        found.notes.append(f"{statement.idxname} exists: skipped")
        return
    if relation is not None and statement.relation.inh:
        found.lock_all(found.facts.descendants(relation.oid), lock, Work.SCAN, why="partition")
    if statement.concurrent:
        found.notes.append("waits for the end of every transaction that uses the table")
    for part in (*statement.index_params, statement.where_clause):
        _called(found, part)
    if statement.idxname:
        found.facts.create(full, "i", table=relation.oid if relation else 0)


def _called(found: Findings, part: Any) -> None:
    kind, node = unwrapped(part)
    if kind == "index_elem":
        node = node.expr
    if kind:
        queries.calls(found, node)


def create_sequence(found: Findings, statement: Any) -> None:
    """OWNED BY locks the table."""
    _made(found, statement.sequence, "S")
    owned_by(found, statement)


def owned_by(found: Findings, statement: Any) -> None:
    """The table of OWNED BY, if it is given."""
    owner = option(statement.options, "owned_by")
    if owner is None:
        return
    name = object_name(owner.arg)
    if len(name) > 1:
        found.touch(name[:-1], Lock.ACCESS_SHARE, why="owns the sequence")


def alter_sequence(found: Findings, statement: Any) -> None:
    """SHARE ROW EXCLUSIVE: nextval waits meanwhile."""
    found.touch(name_of(statement.sequence), Lock.SHARE_ROW_EXCLUSIVE)
    owned_by(found, statement)


def create_trigger(found: Findings, statement: Any) -> None:
    """Writes wait, reads do not."""
    relation = found.touch(name_of(statement.relation), Lock.SHARE_ROW_EXCLUSIVE)
    if relation is not None and statement.row:
        found.lock_all(
            found.facts.descendants(relation.oid),
            Lock.SHARE_ROW_EXCLUSIVE,
            certain=relation.kind == "p",
            why="partition",
        )
    if statement.HasField("constrrel"):
        found.touch(name_of(statement.constrrel), Lock.ACCESS_SHARE, why="FROM")


def create_rule(found: Findings, statement: Any) -> None:
    """Everything waits; what its actions name is looked at."""
    found.touch(name_of(statement.relation), Lock.ACCESS_EXCLUSIVE)
    seen = len(found.touches)
    with _definition(found):
        for action in statement.actions:
            queries.query(found, unwrapped(action)[1])
    found.touches[seen:] = [one for one in found.touches[seen:] if one.relation.name not in ("old", "new")]


def policy(found: Findings, statement: Any) -> None:
    """CREATE and ALTER POLICY."""
    found.touch(name_of(statement.table), Lock.ACCESS_EXCLUSIVE)
    with _definition(found):
        for part in (statement.qual, statement.with_check):
            kind, node = unwrapped(part)
            if kind:
                queries.query(found, node)


def create_statistics(found: Findings, statement: Any) -> None:
    """Others can go on reading and writing."""
    for one in statement.relations:
        if one.WhichOneof("node") == "range_var":
            found.touch(name_of(one.range_var), Lock.SHARE_UPDATE_EXCLUSIVE)


def create_schema(found: Findings, statement: Any) -> None:
    """Its elements, if it has some, are statements of their own."""
    if statement.schema_elts:
        from fluxbase_migrations.runner.lookahead.classify import gather

        before = found.facts.path
        found.facts.path = [statement.schemaname, *before]
        for element in statement.schema_elts:
            gather(found, element)
        found.facts.path = before


def publication(found: Findings, statement: Any) -> None:
    """CREATE and ALTER PUBLICATION: each table that is named, not those of FOR ALL TABLES."""
    for one in statement.pubobjects:
        table = one.publication_obj_spec.pubtable
        if table.relation.relname:
            relation = found.touch(name_of(table.relation), Lock.SHARE_UPDATE_EXCLUSIVE)
            if relation is not None and relation.kind != "p" and table.relation.inh:
                others = found.facts.descendants(relation.oid)
                found.lock_all(others, Lock.SHARE_UPDATE_EXCLUSIVE, why="child table")


def lost(found: Findings, statement: Any) -> None:
    """A query of any kind, with what it destroys."""
    queries.query(found, statement)
    destroys.lost_rows(found, statement)
