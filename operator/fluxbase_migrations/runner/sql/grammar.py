"""PostgreSQL's own grammar (libpg_query through ``postgast``), where the first words are not enough.

It is loaded only when needed: that costs a tenth of a second. What it does not know (it is PostgreSQL 18's
grammar) is answered with None, and never keeps a statement from the server.
"""

from typing import Any, Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.sql import lexer

_DEEPEST: Final = 8192
"""Levels of a tree. The parser's recursion ends the process at some 20,000 of them, with 8 MiB of stack; the
tree's form holds a hundred."""
_SHORTEST_LEVEL: Final = 2
"""Bytes, like ``+1``."""
_SEPARATORS: Final = frozenset((b",", b";", b"AND", b"OR"))
"""What stands between members of a list, which is one level however long it is."""
_CHAINS: Final = frozenset((b"UNION", b"INTERSECT", b"EXCEPT", b"JOIN"))
"""What adds a level to a query, whatever commas its members have."""


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

    if too_deep(statement):
        return None
    try:
        return postgast.parse(statement.decode())
    except (postgast.PgQueryError, UnicodeDecodeError, DecodeError):
        return None


def too_deep(statement: bytes) -> bool:
    """Whether the parser might exhaust the stack on a statement, which nothing could catch.

    It may be said of one that is not so deep; that has thousands of tokens without a separator.
    """
    return len(statement) > _DEEPEST * _SHORTEST_LEVEL and _most_levels(statement) > _DEEPEST


def _most_levels(statement: bytes) -> int:
    """At most how deep the tree of a statement is: each token may add a level, but for those of lists."""
    open_levels = [_Level()]
    for token in lexer.tokens(statement, 0, len(statement)):
        level, word = open_levels[-1], token.upper()
        if token == b"(":
            open_levels.append(_Level())
        elif token == b")" and len(open_levels) > 1:
            open_levels.pop()
            open_levels[-1].tokens += level.depth() + 1
        elif word in _SEPARATORS:
            level.before, level.tokens = max(level.before, level.tokens), 0
        elif word in _CHAINS:
            level.chained += 1
        else:
            level.tokens += 1
    return sum(level.depth() for level in open_levels)


@dataclass(slots=True)
class _Level:
    """What stands between two parentheses."""

    tokens: int = 0
    """Since the last separator."""
    before: int = 0
    """The most between two separators."""
    chained: int = 0

    def depth(self) -> int:
        return max(self.before, self.tokens) + self.chained


def outside_transaction(statement: bytes) -> Outside | None:
    """Parse one CREATE/DROP INDEX, REINDEX, DETACH PARTITION, CREATE or DROP DATABASE; else None."""
    import postgast

    tree = parsed(statement)
    if tree is None or len(tree.stmts) != 1:
        return None
    node = tree.stmts[0].stmt
    match node.WhichOneof("node"):
        case "index_stmt":
            return _create_index(node.index_stmt)
        case "reindex_stmt":
            is_index = node.reindex_stmt.kind == postgast.pg_query_pb2.REINDEX_OBJECT_INDEX
            return _reindex(node.reindex_stmt, is_index)
        case "drop_stmt" if node.drop_stmt.concurrent:
            items = node.drop_stmt.objects[0].list.items
            return Outside("drop", tuple(item.string.sval for item in items), True)
        case "alter_table_stmt":
            return _detach(node.alter_table_stmt)
        case "createdb_stmt":
            return Outside("create database", database=node.createdb_stmt.dbname)
        case "dropdb_stmt":
            return Outside("drop database", database=node.dropdb_stmt.dbname)
        case _:
            return None


def _create_index(statement: Any) -> Outside:
    return Outside(
        "create",
        _name(statement.relation),
        index=statement.idxname or None,
        if_not_exists=bool(statement.if_not_exists),
    )


def _reindex(statement: Any, is_index: bool) -> Outside:
    """Without a relation: of a schema, or of the whole database."""
    return Outside("reindex", _name(statement.relation) if statement.relation.relname else None, is_index)


def _detach(statement: Any) -> Outside:
    definition = getattr(statement.cmds[0].alter_table_cmd, "def")
    return Outside("detach", _name(statement.relation), partition=_name(definition.partition_cmd.name))


def _name(relation: Any) -> tuple[str, ...]:
    schema: str = relation.schemaname
    name: str = relation.relname
    return (schema, name) if schema else (name,)
