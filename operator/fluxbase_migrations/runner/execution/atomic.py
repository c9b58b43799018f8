"""A file that takes effect together with its version row and its history entry, or not at all."""

from collections.abc import Callable, Sequence

from psycopg import errors

from fluxbase_migrations.core.errors import Interrupted, MigrationError, Transient, Unproven
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.history import version_table
from fluxbase_migrations.runner.history.columns import TRANSACTION_START
from fluxbase_migrations.runner.history.history_table import UNCHANGED, EntryOutcome
from fluxbase_migrations.runner.history.migration_session import Attempt, MigrationSession, error_details
from fluxbase_migrations.runner.sql import command_tags
from fluxbase_migrations.runner.sql.grouping import Group
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.simple_query import QueryPart, Reply, SqlFailure
from fluxbase_migrations.runner.sql.statements import StatementKind

_MISSING_RELATION = frozenset(("42P01", "3F000"))


class NeedsGroups(Exception):
    """PostgreSQL will not have a statement in this transaction; nothing has changed."""

    def __init__(self, index: int, sqlstate: str) -> None:
        super().__init__(index)
        self.index = index
        self.sqlstate = sqlstate


class _Failed(Exception):
    """A failure together with the message it is about."""

    def __init__(self, failure: SqlFailure, parts: list[QueryPart]) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.parts = parts


class _Disagreed(Exception):
    """The server read the file in another way than we did."""

    def __init__(self, how: str, replies: Sequence[Reply], parts: Sequence[QueryPart]) -> None:
        super().__init__(how)
        self.how = how
        self.replies = replies
        self.parts = parts


class _NeedsSteps(Exception):
    """The transaction is to be run message by message: nothing of it has taken effect."""


def run_atomic(
    context: MigrationSession,
    attempt: Attempt,
    *,
    durable: bool,
    on_sent: Callable[[], object] | None = None,
) -> None:
    """Run one file in one transaction; ``on_sent`` is called while the server works.

    Raises:
        NeedsGroups: it cannot run in one transaction; nothing has changed.
        MigrationError: it failed; what the database is left with is in its ``effect``.
        ConnectionLost: whether it took effect is to be read from the history.
    """
    try:
        if attempt.prepared.one_message:
            try:
                _in_one_message(context, attempt, durable, on_sent)
                context.flushed = durable
                return
            except _NeedsSteps:
                pass
        _in_steps(context, attempt, durable=durable, on_sent=on_sent)
        context.flushed = durable
    except _Failed as failed:
        _fail(context, attempt, failed.failure, failed.parts)
    except _Disagreed as disagreed:
        _stop(context, attempt, disagreed)


def _group(prepared: Prepared) -> Group:
    return prepared.groups[0] if prepared.groups else Group(0)


def _closing(
    context: MigrationSession, attempt: Attempt, *, durable: bool, one_message: bool = False
) -> list[QueryPart]:
    step, sql = attempt.prepared.step, context.sql
    total = len(attempt.prepared.statements)
    entry = attempt.entry(EntryOutcome.APPLIED, done=total, started_at=TRANSACTION_START)
    if one_message and step.to_version != NIL:
        row = sql.write_row_in_one_message(step.to_version, entry)
    elif attempt.marker is not None and context.history.has(context.session, attempt.marker):
        row = sql.rewrite_row(attempt.marker, step.to_version, False, entry)
    else:
        row = sql.write_row(step.to_version, False, entry)
    return [row, sql.commit(durable=durable)]


def _in_one_message(
    context: MigrationSession, attempt: Attempt, durable: bool, on_sent: Callable[[], object] | None
) -> None:
    """The whole transaction in one message.

    Raises:
        _ByItself: the file dropped our tables, or reset the setting that marks our transaction.
    """
    prepared, sql, session = attempt.prepared, context.sql, context.session
    group = _group(prepared)
    parts = [sql.begin_marked(b", ".join(group.modes))]
    for message in prepared.messages(group, sql.reset_session()):
        parts += message
    parts += [
        sql.constraints(),
        sql.confirm_transaction(),
        sql.reset_session_for_us(),
        *_closing(context, attempt, durable=durable, one_message=True),
    ]
    try:
        replies = session.run(parts, on_sent=on_sent)
    except SqlFailure as failure:
        session.rollback()
        index, _ = failures.locate(failure, parts, prepared.statements)
        if index is None and failure.sqlstate in (*_MISSING_RELATION, failures.LOCK_LOST):
            raise _NeedsSteps from failure
        raise _Failed(failure, parts) from failure
    _confirm(prepared, parts, replies)


def _in_steps(
    context: MigrationSession, attempt: Attempt, *, durable: bool, on_sent: Callable[[], object] | None
) -> None:
    """The same in several messages, so that the server's answers are seen before anything is committed."""
    prepared, sql, session = attempt.prepared, context.sql, context.session
    group = _group(prepared)

    def send(parts: list[QueryPart], rows: int = 0) -> list[Reply]:
        try:
            replies = session.run(parts, rows=rows, on_sent=on_sent)
        except SqlFailure as failure:
            session.rollback()
            raise _Failed(failure, parts) from failure
        try:
            _confirm(prepared, parts, replies)
        except _Disagreed:
            session.rollback()
            raise
        return replies

    # Where a transaction may only read, nothing that the file does can take effect by itself.
    marker = [] if any(b"READ ONLY" in one for one in group.modes) else [_marker(context, attempt)]
    replies = send([sql.begin_marked(b", ".join(group.modes)), *marker], rows=3)
    number = (replies[2].row or (None,))[0] if marker else None
    # A trigger may have left the entry out. 0 would be the history's own.
    attempt.xid, attempt.marker = transaction_id(replies), int(number) if number else None
    for message in prepared.messages(group, sql.reset_session()):
        send(message)
        if how := misread(context, prepared, message):
            session.rollback()
            raise _Disagreed(how, (), message)
    send([sql.constraints()])
    send([sql.confirm_transaction(attempt.xid), sql.reset_session_for_us()])
    try:
        version_table.ensure(session, context.table)
        context.history.ensure(session)
    except MigrationError:
        session.rollback()
        raise
    send(_closing(context, attempt, durable=durable))


def _marker(context: MigrationSession, attempt: Attempt) -> QueryPart:
    """An entry that is there before the file's first statement, and is overwritten behind its last one."""
    entry = attempt.entry(EntryOutcome.RUNNING, done=0, finished_at=None)
    return QueryPart(context.history.insert(context.session, entry) + b" RETURNING id;", 1)


def transaction_id(replies: Sequence[Reply]) -> str:
    """The transaction's id, from what the server answered to its opening."""
    row = replies[1].row or ()
    return (row[-1] or b"").decode()


def misread(context: MigrationSession, prepared: Prepared, message: Sequence[QueryPart]) -> str | None:
    """How the strings of what follows would be read, if that is another way than was taken for granted."""
    last = next((part for part in reversed(message) if part.origin is not None), None)
    following = last.first + last.results if last else len(prepared.statements)
    if following >= len(prepared.statements):
        return None
    if context.session.standard_conforming_strings == prepared.statements.conforming_at(following):
        return None
    return f"after statement {following} standard_conforming_strings has another value"


def _confirm(prepared: Prepared, parts: Sequence[QueryPart], replies: Sequence[Reply]) -> None:
    how = command_tags.complete(parts, replies, prepared.statements, prepared.specials)
    if how is not None:
        raise _Disagreed(how, replies, parts)


def _fail(context: MigrationSession, attempt: Attempt, failure: SqlFailure, parts: list[QueryPart]) -> None:
    """Decide what a failure means, record it, and raise it."""
    prepared, session = attempt.prepared, context.session
    how = command_tags.disagreement(parts, failure.replies, prepared.statements, prepared.specials)
    if how is not None or not _left_nothing(context, attempt):
        _stop(
            context, attempt, _Disagreed(how or "it ended the transaction", failure.replies, parts), failure
        )
    index, _ = failures.locate(failure, parts, prepared.statements)
    if (
        index is not None
        and failures.calls_for_groups(failure, prepared.statements, index)
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
        error = failures.to_error(failure, prepared.file, prepared.statements, parts, session)
        error.with_effect(UNCHANGED)
    record_failure(context, attempt, error)
    raise error from failure


def _left_nothing(context: MigrationSession, attempt: Attempt) -> bool:
    """Whether the server says that our transaction came to nothing.

    Without its id nothing of the file was sent yet, or a file that has no word that ends a transaction.
    """
    return attempt.xid is None or rolled_back(context, attempt.xid)


def rolled_back(context: MigrationSession, xid: str) -> bool:
    """Whether the server says that a transaction came to nothing."""
    try:
        return context.session.transaction_status(xid) == "aborted"
    except errors.Error:
        return False


def _stop(
    context: MigrationSession, attempt: Attempt, disagreed: _Disagreed, failure: SqlFailure | None = None
) -> None:
    """The server's answers do not fit: say what is known to have taken effect, mark it, and stop."""
    prepared = attempt.prepared
    detail = context.session.scrub(failure.message) if failure else None
    error = failures.read_otherwise(disagreed.how, prepared.step.label, detail)
    error.with_effect(_known_effect(context, attempt, disagreed))
    attempt.proven = False
    record_failure(context, attempt, error)
    raise error from failure


def _known_effect(context: MigrationSession, attempt: Attempt, disagreed: _Disagreed) -> str:
    """What the server has confirmed, in words."""
    ours = next((number for number, one in enumerate(disagreed.parts) if one.origin is not None), 0)
    before = sum(one.results for one in disagreed.parts[:ours])
    replies = disagreed.replies[before:]
    if committed := command_tags.ended_by_itself(replies):
        committed = min(committed, sum(one.results for one in disagreed.parts if one.origin is not None))
        return f"the server committed what its first {committed} statements did, and perhaps more"
    # Behind a ROLLBACK of its own, a file's statements are in no transaction of ours.
    if attempt.xid and not command_tags.rolled_back_by_itself(replies) and rolled_back(context, attempt.xid):
        return UNCHANGED
    return "what took effect is not known"


def _sets_transaction(prepared: Prepared, index: int) -> bool:
    """PostgreSQL says 25001 of a late SET TRANSACTION too, and that is the file's mistake."""
    special = prepared.specials.get(index)
    return special is not None and special.kind is StatementKind.SET_TRANSACTION


def record_failure(context: MigrationSession, attempt: Attempt, error: MigrationError) -> None:
    """One durable transaction: golang-migrate's dirty mark, and the history's entry.

    A fault that may pass leaves the row as it is.
    """
    session, sql, step = context.session, context.sql, attempt.prepared.step
    passing = isinstance(error, Transient | Interrupted)
    outcome = EntryOutcome.INTERRUPTED if passing else EntryOutcome.FAILED
    entry = attempt.entry(outcome, done=0, error=error_details(error.info))
    if isinstance(error, Unproven):
        entry["in_doubt"] = 1
    if passing:
        record = QueryPart(context.history.insert(session, entry) + b";", 1)
    else:
        record = sql.write_row(step.to_version, True, entry)
    opening = [sql.begin(), sql.reset_session_for_us(), sql.reacquire_locks()]
    effect = error.info.effect or UNCHANGED
    try:
        session.run_own(b"".join(part.sql for part in [*opening, record, sql.commit(durable=True)]))
        context.flushed = True
    except SqlFailure as failure:
        session.rollback()
        error.with_effect(f"{effect}; recording that failed too: {session.scrub(failure.message)}")
