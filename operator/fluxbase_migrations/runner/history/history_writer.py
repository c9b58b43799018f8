"""What is written outside any file: a forced or recovered version row, an owner, an interruption."""

from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.history.history_table import EntryKind, EntryOutcome, as_json
from fluxbase_migrations.runner.history.migration_session import MigrationSession
from fluxbase_migrations.runner.sql.simple_query import SqlFailure

_NOW = b"pg_catalog.clock_timestamp()"
_AT_ONCE = {"started_at": _NOW, "finished_at": _NOW, "attempt": b"pg_catalog.gen_random_uuid()"}


def write_entry(context: MigrationSession, kind: EntryKind, outcome: EntryOutcome, **more: bytes) -> None:
    """A ledger entry alone, durable; ``more`` are columns as SQL expressions.

    Raises:
        MigrationError: the server refuses it.
    """
    session = context.session
    fields = {"kind": session.literal(kind), "outcome": session.literal(outcome), **_AT_ONCE, **more}
    entry = context.ledger.insert(session, fields)
    _run(context, b"BEGIN;" + entry + b";" + context.book.commit(durable=True).sql)
    context.flushed = True


def write_row(
    context: MigrationSession,
    before: int,
    version: int,
    kind: EntryKind,
    token: str | None,
    details: dict[str, object],
) -> None:
    """A clean version row with its ledger entry, durable; :data:`NIL` or below is nothing applied.

    Raises:
        MigrationError: the server refuses it, or the lock was lost.
    """
    session, book = context.session, context.book
    version = max(version, NIL)
    fields = {
        "kind": session.literal(kind),
        "outcome": session.literal(EntryOutcome.APPLIED),
        "version": session.literal(version),
        "from_version": session.literal(before),
        "to_version": session.literal(version),
        "token": session.literal(token),
        "details": as_json(session, details),
        **_AT_ONCE,
    }
    row = book.write_row(version, False, fields)
    parts = [book.begin(), book.locks_again(), row, book.commit(durable=True)]
    _run(context, b"".join(part.sql for part in parts))


def _run(context: MigrationSession, text: bytes) -> None:
    try:
        context.session.run_own(text)
    except SqlFailure as failure:
        context.session.rollback()
        raise failures.recording_failed(failure, context.session) from failure
