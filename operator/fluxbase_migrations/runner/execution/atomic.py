"""A file that takes effect together with its version row and its history entry, or not at all."""

from collections.abc import Callable, Sequence
from typing import NoReturn

from fluxbase_migrations.core.errors import Interrupted, MigrationError, Transient, Unproven
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.runner.connection import error_places, failures
from fluxbase_migrations.runner.execution import answers
from fluxbase_migrations.runner.history import version_table
from fluxbase_migrations.runner.history.columns import TRANSACTION_START
from fluxbase_migrations.runner.history.entry import UNCHANGED, EntryOutcome
from fluxbase_migrations.runner.history.migration_session import Attempt, MigrationSession, error_details
from fluxbase_migrations.runner.sql import command_tags
from fluxbase_migrations.runner.sql.grouping import Group
from fluxbase_migrations.runner.sql.simple_query import QueryPart, Reply, SqlFailure
from fluxbase_migrations.runner.sql.statements import StatementKind

_MISSING_RELATION = frozenset(("42P01", "3F000"))


class NeedsGroups(Exception):
    """PostgreSQL refuses a statement inside this transaction; nothing has changed."""

    def __init__(self, index: int, sqlstate: str) -> None:
        super().__init__(index)
        self.index = index
        self.sqlstate = sqlstate


class _Failed(Exception):
    """A failure together with the message it is about."""

    def __init__(self, failure: SqlFailure, parts: Sequence[QueryPart]) -> None:
        super().__init__(str(failure))
        self.failure = failure
        self.parts = parts


class _Disagreed(Exception):
    """The server has split the file differently."""

    def __init__(self, difference: str, replies: Sequence[Reply], parts: Sequence[QueryPart]) -> None:
        super().__init__(difference)
        self.difference = difference
        self.replies = replies
        self.parts = parts


class _NeedsSteps(Exception):
    """The transaction has to be run message by message; nothing of it has taken effect."""


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
    run = _AtomicRun(context, attempt, durable, on_sent)
    try:
        run.run()
    except _Failed as failed:
        run.fail(failed.failure, failed.parts)
    except _Disagreed as disagreed:
        run.stop(disagreed)
    context.flushed = durable


class _AtomicRun:
    """One attempt at one file in one transaction."""

    def __init__(
        self,
        context: MigrationSession,
        attempt: Attempt,
        durable: bool,
        on_sent: Callable[[], object] | None,
    ) -> None:
        self.context = context
        self.attempt = attempt
        self.durable = durable
        self.on_sent = on_sent
        self.session = context.session
        self.sql = context.sql
        self.prepared = attempt.prepared
        self.group = self.prepared.groups[0] if self.prepared.groups else Group(0)

    def run(self) -> None:
        """Run the file.

        Raises:
            _Failed: the server refused a statement; the transaction is rolled back.
            _Disagreed: the server's answers do not fit.
            MigrationError: our tables cannot be created again.
        """
        if self.prepared.one_message:
            try:
                return self._in_one_message()
            except _NeedsSteps:
                pass
        return self._in_steps()

    def _in_one_message(self) -> None:
        """The whole transaction in one message.

        Raises:
            _NeedsSteps: the file dropped our tables, or reset the setting that marks our transaction.
        """
        sql = self.sql
        parts = [sql.begin_marked(b", ".join(self.group.modes))]
        for message in self.prepared.messages(self.group, sql.reset_session()):
            parts += message
        parts += [sql.constraints(), sql.confirm_transaction(), sql.reset_session_for_us()]
        parts += self._closing(one_message=True)
        try:
            replies = self.session.run(parts, on_sent=self.on_sent)
        except SqlFailure as failure:
            self.session.rollback()
            index, _ = error_places.locate(failure, parts, self.prepared.statements)
            if index is None and failure.sqlstate in (*_MISSING_RELATION, failures.LOCK_LOST):
                raise _NeedsSteps from failure
            raise _Failed(failure, parts) from failure
        self._confirm(parts, replies)

    def _in_steps(self) -> None:
        """The same in several messages: the server's answers are checked before anything is committed."""
        self._open()
        for message in self.prepared.messages(self.group, self.sql.reset_session()):
            self._send(message)
            if difference := answers.misread(self.context, self.prepared, message):
                self.session.rollback()
                raise _Disagreed(difference, (), message)
        self._send([self.sql.constraints()])
        self._send([self.sql.confirm_transaction(self.attempt.xid), self.sql.reset_session_for_us()])
        self._ensure_tables()
        self._send(self._closing())

    def _open(self) -> None:
        """Begin, with an entry that is there before the file's first statement.

        It is overwritten after the last statement. A read-only transaction has none: nothing in it can take
        effect by itself.
        """
        opening = [self.sql.begin_marked(b", ".join(self.group.modes))]
        read_only = any(b"READ ONLY" in modes for modes in self.group.modes)
        if not read_only:
            entry = self.attempt.entry(EntryOutcome.RUNNING, done=0, finished_at=None)
            insert = self.context.history.insert(self.session, entry)
            opening.append(QueryPart(insert + b" RETURNING id;", 1))
        replies = self._send(opening, rows=3)
        self.attempt.xid = answers.transaction_id(replies)
        entry_id = (replies[2].row or (None,))[0] if not read_only else None
        # A trigger may have left the entry out. 0 would be the history's own.
        self.attempt.marker = int(entry_id) if entry_id else None

    def _send(self, parts: list[QueryPart], rows: int = 0) -> list[Reply]:
        """One message of several; whatever is wrong with the answer, the transaction is rolled back."""
        try:
            replies = self.session.run(parts, rows=rows, on_sent=self.on_sent)
            self._confirm(parts, replies)
        except SqlFailure as failure:
            self.session.rollback()
            raise _Failed(failure, parts) from failure
        except _Disagreed:
            self.session.rollback()
            raise
        return replies

    def _confirm(self, parts: Sequence[QueryPart], replies: Sequence[Reply]) -> None:
        difference = command_tags.complete(parts, replies, self.prepared.statements, self.prepared.specials)
        if difference is not None:
            raise _Disagreed(difference, replies, parts)

    def _ensure_tables(self) -> None:
        """Create those of our tables again that the file has dropped."""
        try:
            version_table.ensure(self.session, self.context.table)
            self.context.history.ensure(self.session)
        except MigrationError:
            self.session.rollback()
            raise

    def _closing(self, *, one_message: bool = False) -> list[QueryPart]:
        step, sql, marker = self.prepared.step, self.sql, self.attempt.marker
        total = len(self.prepared.statements)
        entry = self.attempt.entry(EntryOutcome.APPLIED, done=total, started_at=TRANSACTION_START)
        if one_message and step.to_version != NIL:
            row = sql.write_row_in_one_message(step.to_version, entry)
        elif marker is not None and self.context.history.has(self.session, marker):
            row = sql.rewrite_row(marker, step.to_version, False, entry)
        else:
            row = sql.write_row(step.to_version, False, entry)
        return [row, sql.commit(durable=self.durable)]

    def fail(self, failure: SqlFailure, parts: Sequence[QueryPart]) -> NoReturn:
        """Decide what a failure means, record it, and raise it."""
        prepared = self.prepared
        difference = command_tags.disagreement(parts, failure.replies, prepared.statements, prepared.specials)
        if difference is not None or not self._left_nothing():
            self.stop(_Disagreed(difference or "it ended the transaction", failure.replies, parts), failure)
        index, _ = error_places.locate(failure, parts, prepared.statements)
        if index is not None and self._needs_groups(failure, index):
            raise NeedsGroups(index, failure.sqlstate) from failure
        error = self._error(failure, parts)
        record_failure(self.context, self.attempt, error)
        raise error from failure

    def _left_nothing(self) -> bool:
        """Whether the server says that our transaction was rolled back.

        Without its id nothing of the file was sent yet, or a file that has no word that ends a transaction.
        """
        return self.attempt.xid is None or answers.rolled_back(self.context, self.attempt.xid)

    def _needs_groups(self, failure: SqlFailure, index: int) -> bool:
        """Whether PostgreSQL refused a statement because of a transaction that the file did not open."""
        # A late SET TRANSACTION fails with 25001, too, and that is the file's error.
        special = self.prepared.specials.get(index)
        sets_transaction = special is not None and special.kind is StatementKind.SET_TRANSACTION
        calls_for_groups = failures.calls_for_groups(failure, self.prepared.statements, index)
        return calls_for_groups and not self.group.explicit and not sets_transaction

    def _error(self, failure: SqlFailure, parts: Sequence[QueryPart]) -> MigrationError:
        signal = self.context.stop.signal
        if failure.sqlstate == failures.CANCELLED and signal is not None:
            text = f"{signal} received: the file was cancelled"
            return Interrupted(text, file=self.prepared.step.label, effect=UNCHANGED)
        prepared = self.prepared
        error = failures.to_error(failure, prepared.file, prepared.statements, parts, self.session)
        return error.with_effect(UNCHANGED)

    def stop(self, disagreed: _Disagreed, failure: SqlFailure | None = None) -> NoReturn:
        """The server's answers do not fit: say what is known to have taken effect, mark it, and stop."""
        detail = self.session.scrub(failure.message) if failure else None
        error = failures.split_differently(disagreed.difference, self.prepared.step.label, detail)
        error.with_effect(self._known_effect(disagreed))
        self.attempt.proven = False
        record_failure(self.context, self.attempt, error)
        raise error from failure

    def _known_effect(self, disagreed: _Disagreed) -> str:
        """What the server has confirmed, in words."""
        parts = disagreed.parts
        first = next((index for index, part in enumerate(parts) if part.origin is not None), 0)
        replies = disagreed.replies[sum(part.results for part in parts[:first]) :]
        if committed := command_tags.ended_by_itself(replies):
            committed = min(committed, sum(part.results for part in parts if part.origin is not None))
            return f"the server committed what its first {committed} statements did, and perhaps more"
        # Behind a ROLLBACK of its own, a file's statements are in no transaction of ours.
        xid = self.attempt.xid
        if xid and not command_tags.rolled_back_by_itself(replies) and answers.rolled_back(self.context, xid):
            return UNCHANGED
        return "what took effect is not known"


def record_failure(context: MigrationSession, attempt: Attempt, error: MigrationError) -> None:
    """One durable transaction: golang-migrate's dirty mark, and the history's entry.

    A fault that may pass leaves the row as it is.
    """
    session, sql, step = context.session, context.sql, attempt.prepared.step
    may_pass = isinstance(error, Transient | Interrupted)
    outcome = EntryOutcome.INTERRUPTED if may_pass else EntryOutcome.FAILED
    entry = attempt.entry(outcome, done=0, error=error_details(error.info))
    if isinstance(error, Unproven):
        entry["in_doubt"] = 1
    if may_pass:
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
