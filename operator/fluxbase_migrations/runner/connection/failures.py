"""A server's error as an error of ours: file, line, column and statement, and whether a retry can help."""

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
from fluxbase_migrations.runner.connection import error_places
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import HISTORY
from fluxbase_migrations.runner.sql import do_blocks, lexer
from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.simple_query import ConnectionLost, QueryPart, SqlFailure
from fluxbase_migrations.runner.sql.statements import statement_label, tag

NEEDS_GROUPS: Final = frozenset(("25001", "2D000", "55P04"))
"""A statement that cannot run in a transaction, commits by itself, or needs an earlier one committed."""
_TERMINATION: Final = "2D000"
_MAY_END_TRANSACTIONS: Final = frozenset(("CALL", "DO"))
"""A COMMIT in what any other statement calls is refused wherever that statement runs."""
CANCELLED: Final = "57014"
LOCK_LOST: Final = "22012"
"""What a failed check of the locks looks like: division by zero (see ``session_sql``)."""
CHANGED: Final = "2201E"
"""What our statements fail with where our rows are not as they were written: the logarithm of zero, because
only an error stops a message (see ``session_sql`` and ``statement_progress``)."""
LOST: Final = (ConnectionLost, errors.OperationalError)
"""The exceptions of a lost connection."""
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
_PLPGSQL: Final = re.compile(r"PL/pgSQL function [^\n]* line \d+[^\n]*")


def calls_for_groups(failure: SqlFailure, statements: Statements, index: int | None) -> bool:
    """Whether the file's statement ``index`` may succeed outside the transaction that it failed in."""
    if index is None or failure.sqlstate not in NEEDS_GROUPS:
        return False
    if failure.sqlstate == _TERMINATION and tag(statements, index) not in _MAY_END_TRANSACTIONS:
        return False
    return not do_blocks.cannot_end_transactions(statements.text(index))


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
    index, offset = error_places.locate(failure, parts, statements)
    if index is None:
        return recording_failed(failure, session, file.name if file else None)
    line = column = None
    if offset is not None:
        line, column = lexer.line_column(statements.sql, offset)
    kind = Transient if transient_state(failure.sqlstate) else StatementFailed
    detail = failure.detail
    function = _PLPGSQL.search(failure.context or "")
    if function:
        detail = f"{detail}; in {function[0]}" if detail else f"in {function[0]}"
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
    """The server's message, reworded where it is about a statement of ours."""
    count = failure.completed
    for part in parts:
        if count < part.results:
            break
        count -= part.results
    else:
        return failure.message
    if failure.sqlstate == error_places.SYNTAX_ERROR and failure.position is not None:
        return (
            "syntax error at end of input"
            if error_places.beyond_the_file(failure, parts)
            else failure.message
        )
    if part.constraints:
        return f"{failure.message} (a deferred constraint, checked at the file's end)"
    if part.origin is None and failure.sqlstate == error_places.READ_ONLY:
        return "the file made its transaction read-only, so that its version cannot be recorded"
    return failure.message


def split_differently(difference: str, file: str, detail: str | None = None) -> MigrationError:
    """The error where the server's answers are not those of the statements that the file was split into."""
    return Unproven(
        f"the server split the file differently than this program: {difference}",
        file=file,
        detail=detail,
        hint="look at what the file left in the database, then force the actual version; and please "
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
