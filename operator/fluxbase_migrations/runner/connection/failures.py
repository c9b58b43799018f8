"""From a server's error to words: which file, line, column and statement, and whether a retry can help."""

import bisect
import re
from collections.abc import Sequence
from typing import Final

from psycopg import errors

from fluxbase_migrations.core.errors import (
    LockHeld,
    MigrationError,
    ServerRefused,
    StatementFailed,
    Transient,
    Unproven,
)
from fluxbase_migrations.core.files import MigrationFile
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import HISTORY
from fluxbase_migrations.runner.sql import do_blocks, lexer
from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.simple_query import ConnectionLost, QueryPart, SqlFailure
from fluxbase_migrations.runner.sql.statements import tag

NEEDS_GROUPS: Final = frozenset(("25001", "2D000", "55P04"))
"""A statement that cannot run in a transaction, commits by itself, or needs an earlier one committed."""
_TERMINATION: Final = "2D000"
_MAY_END_TRANSACTIONS: Final = frozenset(("CALL", "DO"))
"""A COMMIT in what any other statement calls is refused wherever that statement runs."""
CANCELLED: Final = "57014"
LOCK_LOST: Final = "22012"
"""What a failed check of the locks looks like: division by zero (see ``bookkeeping``)."""
CHANGED: Final = "2201E"
"""What our statements fail with where our rows are not as they were written: the logarithm of zero, because
only an error stops a message (see ``bookkeeping`` and ``progress``)."""
LOST: Final = (ConnectionLost, errors.OperationalError)
"""How a connection that went away shows."""
_RECORDING_LOCKED: Final = "another session holds a lock on the migration tables"
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
_SYNTAX: Final = "42601"
_READ_ONLY: Final = "25006"
_NO_SUCH_CHARACTER: Final = frozenset(("22P05", "22021"))
"""A character that the database's encoding lacks; no statement of the message has run."""
_HEXADECIMAL: Final = re.compile(r"0x([0-9a-f]{2})\b")
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_READ_ONLY_STATEMENT: Final = re.compile(
    rb"(?:SET|BEGIN|START)\b.*?(?:READ\s+ONLY|read_only)\b", re.IGNORECASE | re.DOTALL
)
_PLPGSQL: Final = re.compile(r"PL/pgSQL function [^\n]* line \d+[^\n]*")


def locate(
    failure: SqlFailure, parts: Sequence[QueryPart], statements: Statements
) -> tuple[int | None, int | None]:
    """Index of the file's statement that failed, and the byte offset of the error in the file.

    Both None: a statement of ours failed.
    """
    if failure.sqlstate in _NO_SUCH_CHARACTER and not failure.replies:
        offset = _untranslatable(failure, parts)
    elif failure.position is not None:
        offset = _offset(failure, parts)
    else:
        offset = None
    if offset is not None:
        return _statement_at(statements, offset), offset
    count = failure.completed
    for part in parts:
        if count < part.results:
            if part.origin is not None:
                index = part.first + count
                return index, statements.starts[index]
            index_or_none = _behind(failure, part, statements)
            return index_or_none, None if index_or_none is None else statements.starts[index_or_none]
        count -= part.results
    return None, None


def _offset(failure: SqlFailure, parts: Sequence[QueryPart]) -> int | None:
    """Byte offset in the file of a place that the server gives within the message."""
    left, last = (failure.position or 1) - 1, None
    for part in parts:
        length = _length(failure, part)
        if part.origin is not None:
            last = part
            if left <= length:
                return part.origin + (left if failure.counts_bytes else _bytes(part.sql, left))
        elif left < length:
            # A statement that lacks its end goes on in ours: the place is where the file's text ends.
            incomplete = last is not None and failure.sqlstate == _SYNTAX
            return (last.origin or 0) + len(last.sql.rstrip()) if last and incomplete else None
        left -= length
    return None


def _length(failure: SqlFailure, part: QueryPart) -> int:
    """Of a piece of the message, in what the server counts places in."""
    return len(part.sql) if failure.counts_bytes else _characters(part.sql)


def _characters(text: bytes) -> int:
    """How many characters UTF-8 holds: every byte but those that go on with one."""
    return len(text) if text.isascii() else len(text.translate(None, _CONTINUATION))


def _bytes(text: bytes, characters: int) -> int:
    """How many bytes the first ``characters`` of UTF-8 take, without decoding all of a large text."""
    if text.isascii():
        return characters
    position = 0
    while characters > 0 and position < len(text):
        piece = text[position : position + max(1, characters)]
        seen = _characters(piece)
        if seen == 0:  # the last bytes of a character
            position += len(piece)
            continue
        position, characters = position + len(piece), characters - seen
    while position < len(text) and text[position] in _CONTINUATION:
        position += 1
    return position


def _untranslatable(failure: SqlFailure, parts: Sequence[QueryPart]) -> int | None:
    """Where the character stands that the database's encoding lacks; the server names only its bytes."""
    character = bytes(int(one, 16) for one in _HEXADECIMAL.findall(failure.message))
    for part in parts:
        if part.origin is not None and character and (at := part.sql.find(character)) >= 0:
            return part.origin + at
    return None


def _behind(failure: SqlFailure, ours: QueryPart, statements: Statements) -> int | None:
    """The file's statement on account of which one of ours failed; None if it failed by itself."""
    if not len(statements):
        return None
    if ours.constraints:
        return _last_about(failure.table, statements)
    if failure.sqlstate == _READ_ONLY:
        return _last_read_only(statements)
    return None


def _last_read_only(statements: Statements) -> int | None:
    """The last statement that has made the transaction read-only; None if it cannot be seen."""
    for index in reversed(range(len(statements))):
        if _READ_ONLY_STATEMENT.match(statements.sql, statements.starts[index], statements.ends[index]):
            return index
    return None


def _last_about(table: str | None, statements: Statements) -> int:
    """The last statement that names a table; the last of all, if none does."""
    wanted = (table or "").encode()
    for index in reversed(range(len(statements))) if wanted else ():
        if statements.sql.find(wanted, statements.starts[index], statements.ends[index]) >= 0:
            return index
    return len(statements) - 1


def _statement_at(statements: Statements, offset: int) -> int | None:
    index = bisect.bisect_right(statements.starts, offset) - 1
    return max(index, 0) if len(statements) else None


def calls_for_groups(failure: SqlFailure, statements: Statements, index: int | None) -> bool:
    """Whether the file's statement ``index`` may succeed outside the transaction that it failed in."""
    if index is None or failure.sqlstate not in NEEDS_GROUPS:
        return False
    if failure.sqlstate == _TERMINATION and tag(statements, index) not in _MAY_END_TRANSACTIONS:
        return False
    return not do_blocks.cannot_end_transactions(statements.text(index))


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
    parts: Sequence[QueryPart],
    session: Session,
) -> MigrationError:
    """The error for the person at the terminal."""
    index, offset = locate(failure, parts, statements)
    if index is None:
        return recording_failed(failure, session, file.name if file else None)
    line = column = None
    if offset is not None:
        line, column = lexer.line_column(statements.sql, offset)
    kind = Transient if transient_state(failure.sqlstate) else StatementFailed
    detail = failure.detail
    inner = _PLPGSQL.search(failure.context or "")
    if inner:
        detail = f"{detail}; in {inner[0]}" if detail else f"in {inner[0]}"
    return kind(
        session.scrub(_message(failure, parts)),
        file=file.name if file else None,
        statement=statement_label(statements, index),
        line=line,
        column=column,
        sql_state=failure.sqlstate,
        detail=session.scrub(detail) if detail else None,
        hint=session.scrub(failure.hint) if failure.hint else _own_hint(failure),
    )


def _message(failure: SqlFailure, parts: Sequence[QueryPart]) -> str:
    """The server's message, made about the file where it was about ours."""
    count = failure.completed
    for part in parts:
        if count < part.results:
            break
        count -= part.results
    else:
        return failure.message
    if failure.sqlstate == _SYNTAX and failure.position is not None:
        return "syntax error at end of input" if _beyond(failure, parts) else failure.message
    if part.constraints:
        return f"{failure.message} (a deferred constraint, checked at the file's end)"
    if part.origin is None and failure.sqlstate == _READ_ONLY:
        return "the file made its transaction read-only, so that its version cannot be recorded"
    return failure.message


def _beyond(failure: SqlFailure, parts: Sequence[QueryPart]) -> bool:
    """Whether the place of the error is in our own text."""
    left = (failure.position or 1) - 1
    for part in parts:
        length = _length(failure, part)
        if left < length:
            return part.origin is None
        left -= length
    return True


def read_otherwise(how: str, file: str, detail: str | None = None) -> MigrationError:
    """The error where the server's answers are not those of the statements that were meant."""
    return Unproven(
        f"the server read the file in another way than this program: {how}",
        file=file,
        detail=detail,
        hint="look at what the file left in the database, then force the version that is true; and please "
        "report this file as a bug",
    )


def recording_failed(failure: SqlFailure, session: Session, file: str | None = None) -> MigrationError:
    """The error where our own statements about what was done fail; the row stays as it is."""
    if failure.sqlstate == LOCK_LOST:
        return LockHeld(
            "the migration lock was lost: another session has it, or a pooler moved us to another backend",
            file=file,
        )
    if failure.sqlstate == CHANGED:
        return ServerRefused(
            "the version could not be recorded: what was written to the tracking table or to "
            f"{HISTORY} is not what is there",
            file=file,
            hint="drop the triggers and rules on these tables",
        )
    kind = Transient if transient_state(failure.sqlstate) else ServerRefused
    return kind(
        f"recording what was done failed: {session.scrub(failure.message)}",
        sql_state=failure.sqlstate,
        file=file,
        hint=_RECORDING_LOCKED if failure.sqlstate == "55P03" else None,
    )


def beside_the_file(
    error: MigrationError | errors.Error, session: Session, file: str | None
) -> MigrationError:
    """The error itself, or what it is that the server refuses a statement of ours beside the file's.

    Raises:
        errors.Error: the connection is lost.
    """
    if isinstance(error, MigrationError):
        return error
    if session.lost:
        raise error
    state = error.sqlstate or ""
    message = " ".join(str(error.diag.message_primary or error).split())
    kind = Transient if transient_state(state) else ServerRefused
    text = f"the server refused a statement of the migration program: {session.scrub(message)}"
    return kind(text, sql_state=state or None, file=file)


def _own_hint(failure: SqlFailure) -> str | None:
    """Help where PostgreSQL has none."""
    if failure.sqlstate == "55P03":
        return "another session holds a conflicting lock"
    return None
