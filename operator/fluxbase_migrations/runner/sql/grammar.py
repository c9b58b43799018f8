"""PostgreSQL's own grammar (libpg_query through ``postgast``), where the first words are not enough.

It is loaded only when needed: that costs a tenth of a second. What it does not know (it is PostgreSQL 18's
grammar) is answered with None, and never keeps a statement from the server.
"""

from typing import Any

from fluxbase_migrations.core.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class Outside:
    """What a statement that runs outside a transaction is about."""

    command: str
    relation: tuple[str, ...] | None = None
    """Schema, if given, and name, of the table; of the index where ``is_index``."""
    is_index: bool = False
    index: str | None = None
    """CREATE INDEX: the index's name, if given."""
    partition: tuple[str, ...] | None = None
    """DETACH PARTITION: which."""
    database: str | None = None
    if_not_exists: bool = False


def parsed(statement: bytes) -> Any:
    """The parse tree of a statement; None where there is none to be had.

    That is what the grammar does not know, and what nests deeper than the tree's form can hold, as half a
    hundred operators in a row do.
    """
    import postgast
    from google.protobuf.message import DecodeError

    try:
        return postgast.parse(statement.decode())
    except (postgast.PgQueryError, UnicodeDecodeError, DecodeError):
        return None


def outside_transaction(statement: bytes) -> Outside | None:
    """Parse one CREATE/DROP INDEX, REINDEX, DETACH PARTITION, CREATE or DROP DATABASE; else None."""
    import postgast

    tree = parsed(statement)
    if tree is None or len(tree.stmts) != 1:
        return None
    node = tree.stmts[0].stmt
    match node.WhichOneof("node"):
        case "index_stmt":
            build = node.index_stmt
            return Outside(
                "create",
                _name(build.relation),
                index=build.idxname or None,
                if_not_exists=bool(build.if_not_exists),
            )
        case "reindex_stmt":
            rebuild = node.reindex_stmt
            is_index = rebuild.kind == postgast.pg_query_pb2.REINDEX_OBJECT_INDEX
            return Outside(
                "reindex",
                _name(rebuild.relation) if rebuild.relation.relname else None,
                is_index,
            )
        case "drop_stmt" if node.drop_stmt.concurrent:
            items = node.drop_stmt.objects[0].list.items
            return Outside("drop", tuple(item.string.sval for item in items), True)
        case "alter_table_stmt":
            table, commands = node.alter_table_stmt.relation, node.alter_table_stmt.cmds
            definition = getattr(commands[0].alter_table_cmd, "def")
            return Outside("detach", _name(table), partition=_name(definition.partition_cmd.name))
        case "createdb_stmt":
            return Outside("create database", database=node.createdb_stmt.dbname)
        case "dropdb_stmt":
            return Outside("drop database", database=node.dropdb_stmt.dbname)
        case _:
            return None


def _name(relation: Any) -> tuple[str, ...]:
    schema: str = relation.schemaname
    name: str = relation.relname
    return (schema, name) if schema else (name,)
