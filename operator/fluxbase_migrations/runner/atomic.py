"""A file that takes effect together with its version row and its ledger entry, or not at all."""

from collections.abc import Callable

from fluxbase_migrations.core.errors import Interrupted, MigrationError, Transient
from fluxbase_migrations.runner import failures, tracking
from fluxbase_migrations.runner.context import Attempt, Context, error_json
from fluxbase_migrations.runner.ledger import Entered
from fluxbase_migrations.runner.prepared import Prepared
from fluxbase_migrations.runner.statements import Group, Kind
from fluxbase_migrations.runner.wire import Chunk, SqlFailure

UNCHANGED = "rolled back, nothing changed"
_MISSING_RELATION = frozenset(("42P01", "3F000"))


class NeedsGroups(Exception):
    """PostgreSQL will not have a statement in this transaction; nothing has changed."""

    def __init__(self, index: int, sqlstate: str) -> None:
        super().__init__(index)
        self.index = index
        self.sqlstate = sqlstate


def run_atomic(
    context: Context, attempt: Attempt, *, durable: bool, meanwhile: Callable[[], object] | None = None
) -> None:
    """Run one file in one transaction; ``meanwhile`` is called while the server works.

    Raises:
        NeedsGroups: it cannot run in one transaction; nothing has changed.
        MigrationError: it failed; what the database is left with is in its ``effect``.
        ConnectionLost: whether it took effect is to be read from the ledger.
    """
    prepared = attempt.prepared
    try:
        if prepared.one_message and _one_message(context, attempt, durable, meanwhile):
            context.flushed = durable
            return
        _stepwise(context, attempt, durable=durable)
        context.flushed = durable
    except _Failed as failed:
        _fail(context, attempt, failed.failure, failed.chunks)


class _Failed(Exception):
    """A failure together with the message it is about."""

    def __init__(self, failure: SqlFailure, chunks: list[Chunk]) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.chunks = chunks


def _group(prepared: Prepared) -> Group:
    return prepared.groups[0] if prepared.groups else Group(0)


def _closing(context: Context, attempt: Attempt, *, durable: bool) -> list[Chunk]:
    step, book = attempt.prepared.step, context.book
    total = context.session.literal(len(attempt.prepared.statements))
    entry = attempt.entry(context.session, Entered.APPLIED, done=total, started_at=b"pg_catalog.now()")
    return [book.write_row(step.to_version, False, entry), book.commit(durable=durable)]


def _one_message(
    context: Context, attempt: Attempt, durable: bool, meanwhile: Callable[[], object] | None
) -> bool:
    """The whole transaction in one message; False if the file dropped our tables and must go stepwise."""
    prepared, book = attempt.prepared, context.book
    group = _group(prepared)
    chunks = [book.begin(b" ".join(group.modes))]
    for message in prepared.messages(group, book.hygiene()):
        chunks += message
    chunks += [
        book.constraints(),
        book.hygiene(),
        book.locks_again(),
        *_closing(context, attempt, durable=durable),
    ]
    try:
        context.session.run(chunks, meanwhile=meanwhile)
    except SqlFailure as failure:
        context.session.rollback()
        index, _ = failures.locate(failure, chunks, prepared.statements)
        if index is None and failure.sqlstate in _MISSING_RELATION:
            return False
        raise _Failed(failure, chunks) from failure
    return True


def _stepwise(context: Context, attempt: Attempt, *, durable: bool) -> None:
    """The same in several messages: large files, files whose end is open, files that drop our tables."""
    prepared, book, session = attempt.prepared, context.book, context.session
    group = _group(prepared)

    def send(chunks: list[Chunk]) -> None:
        try:
            session.run(chunks)
        except SqlFailure as failure:
            session.rollback()
            raise _Failed(failure, chunks) from failure

    send([book.begin(b" ".join(group.modes))])
    for message in prepared.messages(group, book.hygiene()):
        send(message)
    send([book.constraints(), book.hygiene(), book.locks_again()])
    try:
        tracking.ensure(session, context.table)
        context.ledger.ensure(session)
    except MigrationError:
        session.rollback()
        raise
    send(_closing(context, attempt, durable=durable))


def _fail(context: Context, attempt: Attempt, failure: SqlFailure, chunks: list[Chunk]) -> None:
    """Decide what a failure means, record it, and raise it."""
    prepared, session = attempt.prepared, context.session
    index, _ = failures.locate(failure, chunks, prepared.statements)
    if (
        failure.sqlstate in failures.NEEDS_GROUPS
        and index is not None
        and not _group(prepared).explicit
        and not _sets_transaction(prepared, index)
    ):
        raise NeedsGroups(index, failure.sqlstate) from failure
    if failure.sqlstate == failures.CANCELLED and context.stop.signal is not None:
        error: MigrationError = Interrupted(
            f"{context.stop.signal} received: the file was cancelled",
            file=prepared.step.label,
            effect=UNCHANGED,
        )
    else:
        error = failures.to_error(failure, prepared.file, prepared.statements, chunks, session)
        error.with_effect(UNCHANGED)
    record_failure(context, attempt, error)
    raise error from failure


def _sets_transaction(prepared: Prepared, index: int) -> bool:
    """PostgreSQL says 25001 of a late SET TRANSACTION too, and that is the file's mistake."""
    special = prepared.specials.get(index)
    return special is not None and special.kind is Kind.SET_TRANSACTION


def record_failure(context: Context, attempt: Attempt, error: MigrationError) -> None:
    """One durable transaction: golang-migrate's dirty mark, and the ledger's entry.

    A fault that may pass leaves the row as it is.
    """
    session, book, step = context.session, context.book, attempt.prepared.step
    passing = isinstance(error, Transient | Interrupted)
    outcome = Entered.INTERRUPTED if passing else Entered.FAILED
    entry = attempt.entry(session, outcome, done=b"0", error=error_json(session, error.info))
    if passing:
        record = Chunk(context.ledger.insert(session, entry) + b";", 1)
    else:
        record = book.write_row(step.to_version, True, entry)
    chunks = [book.begin(), book.hygiene(), book.locks_again(), record, book.commit(durable=True)]
    try:
        session.run_own(b"".join(chunk.sql for chunk in chunks))
        context.flushed = True
    except SqlFailure as failure:
        session.rollback()
        error.with_effect(f"{UNCHANGED}; recording that failed too: {session.scrub(failure.message)}")
