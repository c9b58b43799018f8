"""What is written outside any file: a forced or recovered version row, an owner, an interruption."""

from typing import Final

from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.history.columns import NEW_UUID, NOW, Columns, Value
from fluxbase_migrations.runner.history.entry import EntryKind, EntryOutcome
from fluxbase_migrations.runner.history.migration_session import MigrationSession
from fluxbase_migrations.runner.sql.simple_query import SqlFailure

_AT_ONCE: Final[Columns] = {"started_at": NOW, "finished_at": NOW, "attempt": NEW_UUID}


def write_entry(context: MigrationSession, kind: EntryKind, outcome: EntryOutcome, **more: Value) -> None:
    """An entry alone, durable; ``more`` are further columns.

    Raises:
        MigrationError: the server refuses it.
    """
    columns = {"kind": kind, "outcome": outcome, **_AT_ONCE, **more}
    entry = context.history.insert(context.session, columns)
    _run(context, b"BEGIN;" + entry + b";" + context.sql.commit(durable=True).sql)
    context.flushed = True


def write_row(
    context: MigrationSession,
    before: int,
    version: int,
    kind: EntryKind,
    token: str | None,
    details: dict[str, object],
) -> None:
    """A clean version row with its history entry, durable; :data:`NIL` or below is nothing applied.

    Raises:
        MigrationError: the server refuses it, or the lock was lost.
    """
    sql, version = context.sql, max(version, NIL)
    columns: Columns = {
        "kind": kind,
        "outcome": EntryOutcome.APPLIED,
        "version": version,
        "from_version": before,
        "to_version": version,
        "token": token,
        "details": details,
        **_AT_ONCE,
    }
    row = sql.write_row(version, False, columns)
    parts = [sql.begin(), sql.reacquire_locks(), row, sql.commit(durable=True)]
    _run(context, b"".join(part.sql for part in parts))


def _run(context: MigrationSession, text: bytes) -> None:
    try:
        context.session.run_own(text)
    except SqlFailure as failure:
        context.session.rollback()
        raise failures.recording_failed(failure, context.session) from failure
