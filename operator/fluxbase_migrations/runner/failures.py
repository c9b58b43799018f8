"""From a server's error to words: which file, line, column and statement, and whether a retry can help."""

import bisect
import re
from collections.abc import Sequence
from typing import Final

import psycopg

from fluxbase_migrations.core.errors import (
    LockHeld,
    MigrationError,
    ServerRefused,
    StatementFailed,
    Transient,
)
from fluxbase_migrations.core.files import MigrationFile
from fluxbase_migrations.runner.lexer import Statements
from fluxbase_migrations.runner.session import Session
from fluxbase_migrations.runner.statements import tag
from fluxbase_migrations.runner.wire import Chunk, ConnectionLost, SqlFailure

NEEDS_GROUPS: Final = frozenset(("25001", "2D000", "55P04"))
"""A statement that cannot run in a transaction, commits by itself, or needs an earlier one committed."""
CANCELLED: Final = "57014"
LOCK_LOST: Final = "22012"
"""What a failed check of the locks looks like: division by zero (see ``bookkeeping``)."""
LOST: Final = (ConnectionLost, psycopg.OperationalError)
"""How a connection that went away shows."""
_TRANSIENT: Final = frozenset(
    (
        "40001",
        "40P01",
        "55P03",
        "57P01",
        "57P02",
        "57P03",
        "53000",
        "53100",
        "53200",
        "53300",
        "25P03",
        "57P05",
    )
)
_PLPGSQL: Final = re.compile(r"PL/pgSQL function [^\n]* line \d+[^\n]*")


def locate(
    failure: SqlFailure, chunks: Sequence[Chunk], statements: Statements
) -> tuple[int | None, int | None]:
    """Index of the file's statement that failed, and the byte offset of the error in the file.

    Both None: a statement of ours failed.
    """
    if failure.position is not None:
        offset = _offset(failure.position - 1, chunks)
        if offset is not None:
            return _statement_at(statements, offset), offset
    count = failure.failed
    for chunk in chunks:
        if count < chunk.results:
            if chunk.origin is None:
                return None, None
            index = chunk.first + count
            return index, statements.starts[index]
        count -= chunk.results
    return None, None


def _offset(characters: int, chunks: Sequence[Chunk]) -> int | None:
    """Byte offset in the file of a position that the server counts in characters of the message."""
    for chunk in chunks:
        text = chunk.sql.decode("utf-8", "replace")
        if characters < len(text) or (characters == len(text) and chunk.origin is not None):
            if chunk.origin is None:
                return None
            return chunk.origin + len(text[:characters].encode())
        characters -= len(text)
    return None


def _statement_at(statements: Statements, offset: int) -> int | None:
    index = bisect.bisect_right(statements.starts, offset) - 1
    return max(index, 0) if len(statements) else None


def line_column(sql: bytes, offset: int) -> tuple[int, int]:
    """Line, and column in characters, of a byte offset; both from 1."""
    begin = sql.rfind(b"\n", 0, offset) + 1
    return sql.count(b"\n", 0, offset) + 1, len(sql[begin:offset].decode("utf-8", "replace")) + 1


def statement_label(statements: Statements, index: int) -> str:
    """Like ``2 of 3, ALTER TABLE``."""
    return f"{index + 1} of {len(statements)}, {tag(statements, index)}"


def transient_state(sqlstate: str) -> bool:
    """Whether the same statement may succeed later with nothing changed."""
    return sqlstate in _TRANSIENT or sqlstate.startswith("08")


def to_error(
    failure: SqlFailure,
    file: MigrationFile | None,
    statements: Statements,
    chunks: Sequence[Chunk],
    session: Session,
) -> MigrationError:
    """The error for the person at the terminal."""
    index, offset = locate(failure, chunks, statements)
    line = column = None
    if offset is not None:
        line, column = line_column(statements.sql, offset)
    kind = Transient if transient_state(failure.sqlstate) else StatementFailed
    detail = failure.detail
    inner = _PLPGSQL.search(failure.context or "")
    if inner:
        detail = f"{detail}; in {inner[0]}" if detail else f"in {inner[0]}"
    if index is None and failure.sqlstate == LOCK_LOST:
        return ServerRefused(
            "the migration lock was lost: another session has it, or a pooler moved us to another backend",
            file=file.name if file else None,
        )
    message = failure.message
    if index is None:
        message = f"the file's statements ran, but recording them failed: {message}"
    return kind(
        session.scrub(message),
        file=file.name if file else None,
        statement=statement_label(statements, index) if index is not None else None,
        line=line,
        column=column,
        sql_state=failure.sqlstate,
        detail=session.scrub(detail) if detail else None,
        hint=session.scrub(failure.hint) if failure.hint else _own_hint(failure),
    )


def recording_failed(failure: SqlFailure, session: Session, file: str | None = None) -> MigrationError:
    """The error where our own statements about what was done fail; the row stays as it is."""
    if failure.sqlstate == LOCK_LOST:
        return LockHeld("the migration lock was lost; stopped, and the row stays as it is", file=file)
    return ServerRefused(
        f"recording what was done failed: {session.scrub(failure.message)}",
        sql_state=failure.sqlstate,
        file=file,
    )


def _own_hint(failure: SqlFailure) -> str | None:
    """Help where PostgreSQL has none."""
    if failure.sqlstate == "42601" and 'at or near "\\"' in failure.message:
        return "lines that start with a backslash are psql's own commands; a migration is plain SQL"
    if failure.sqlstate == "55P03":
        return "another session holds a lock on it; the file is tried again"
    return None
