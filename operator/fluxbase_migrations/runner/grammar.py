"""PostgreSQL's own grammar (libpg_query through ``postgast``), for the few statements whose words leave a doubt.

It is loaded only when needed: that costs a tenth of a second. What it does not know (it is PostgreSQL 18's
grammar) is answered with None, and never keeps a statement from the server.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ConcurrentTarget:
    """What a CONCURRENTLY statement is about."""

    command: str
    relation: tuple[str, ...] | None
    """Schema, if given, and name, of the table; of the index where ``is_index``."""
    is_index: bool
    index: str | None = None
    """CREATE INDEX: the index's name, if given."""


def concurrently_target(statement: bytes) -> ConcurrentTarget | None:
    """Parse one CREATE INDEX, DROP INDEX, REINDEX or ALTER TABLE … DETACH PARTITION statement."""
    import postgast

    try:
        parsed = postgast.parse(statement.decode())
    except (postgast.PgQueryError, UnicodeDecodeError):
        return None
    if len(parsed.stmts) != 1:
        return None
    node = parsed.stmts[0].stmt
    match node.WhichOneof("node"):
        case "index_stmt":
            index = node.index_stmt
            return ConcurrentTarget("create", _name(index.relation), False, index.idxname or None)
        case "reindex_stmt":
            reindex = node.reindex_stmt
            is_index = reindex.kind == postgast.pg_query_pb2.REINDEX_OBJECT_INDEX
            return ConcurrentTarget(
                "reindex", _name(reindex.relation) if reindex.relation.relname else None, is_index
            )
        case "drop_stmt":
            items = node.drop_stmt.objects[0].list.items
            return ConcurrentTarget("drop", tuple(item.string.sval for item in items), True)
        case "alter_table_stmt":
            return ConcurrentTarget("detach", _name(node.alter_table_stmt.relation), False)
        case _:
            return None


def _name(relation: object) -> tuple[str, ...]:
    schema: str = getattr(relation, "schemaname", "")
    name: str = getattr(relation, "relname", "")
    return (schema, name) if schema else (name,)
