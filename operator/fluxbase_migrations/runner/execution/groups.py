"""A file that cannot run in one transaction: its groups, one after another, between dirty marks.

The history's position is committed inside each group. A statement outside a transaction is marked started,
durably, and then done; ``in_doubt_resolution`` resolves from the catalog what a crash leaves in between.
"""

from typing import NoReturn

from psycopg import errors

from fluxbase_migrations.core.errors import Dirty, Interrupted, MigrationError, Unproven
from fluxbase_migrations.runner.connection import error_places, failures
from fluxbase_migrations.runner.execution import concurrently
from fluxbase_migrations.runner.execution.answers import misread, rolled_back, transaction_id
from fluxbase_migrations.runner.execution.statement_progress import MISSING, StatementProgress
from fluxbase_migrations.runner.history import session_capture
from fluxbase_migrations.runner.history.migration_session import Attempt, MigrationSession
from fluxbase_migrations.runner.recovery import in_doubt_resolution, index_cleanup
from fluxbase_migrations.runner.sql import command_tags
from fluxbase_migrations.runner.sql.grouping import Group
from fluxbase_migrations.runner.sql.simple_query import QueryPart, Reply, SqlFailure
from fluxbase_migrations.runner.sql.statements import StatementKind, statement_label, tag

_LEAVES_NOTHING = frozenset(
    [
        "VACUUM",
        "ANALYZE",
        "CLUSTER",
        "CREATE",
        "DROP",
        "ALTER",
        "REINDEX",
        "COMMIT",
        "ROLLBACK",
        "SELECT",
        "INSERT",
        "UPDATE",
        "DELETE",
        "MERGE",
        "WITH",
        "VALUES",
        "TABLE",
    ]
)
"""Statements outside a transaction that leave nothing, or nothing that matters, when they fail."""
_BEFORE_ANYTHING = frozenset(("25001", "42601"))
"""States of errors that come before a statement does anything."""


class GroupRun:
    """One attempt at one file in groups."""

    def __init__(self, context: MigrationSession, attempt: Attempt, done: int = 0) -> None:
        self.context = context
        self.attempt = attempt
        self.progress = StatementProgress(context, attempt, done)
        self.resumed = done > 0 or attempt.in_doubt_checksum is not None
        if done:
            # The last attempt's group ended here; which other cuts its errors called for is not recorded.
            attempt.prepared.cuts.add(done)
            attempt.prepared.regroup()

    def run(self) -> None:
        """Run what is left of the file.

        Raises:
            Dirty: the session cannot be restored; nothing was begun.
            MigrationError: a statement failed; the row is dirty, and the history says how far it got.
            ConnectionLost: the row is dirty, and the history says how far it got.
        """
        self._restore_session()
        self.progress.mark()
        try:
            self._groups()
        except (MigrationError, errors.Error) as cause:
            label = self.attempt.prepared.step.label
            error = failures.beside_the_file(cause, self.context.session, label)
            if not self.progress.recorded:
                self.progress.record(error)
            if self.progress.unproven and not isinstance(error, Unproven):
                error = Unproven.from_error(error)
            raise error from cause.__cause__
        self.progress.finish()

    def _restore_session(self) -> None:
        """Restore the session that the statements done so far left, which the next ones may need."""
        attempt, session = self.attempt, self.context.session
        if attempt.session is None:
            return
        unrestored = session_capture.restore(session, attempt.session)
        if unrestored is None:
            return
        session.run_own(self.context.sql.reset_session().sql)
        raise Dirty.of(
            attempt.prepared.step.to_version,
            f"{attempt.prepared.step.label} cannot be resumed after statement {self.progress.done}: "
            f"the session has state that cannot be restored: {unrestored}",
            hint="make that possible again, or finish or undo the file by hand and force the version",
        )

    def _groups(self) -> None:
        prepared = self.attempt.prepared
        position = self.progress.done
        while position < len(prepared.statements):
            group = next((group for group in prepared.groups if group.last > position), None)
            if group is None:
                return
            if self.context.stop.should_leave_file:
                self._stopped(group)
            try:
                if group.alone:
                    self._alone(group)
                else:
                    self._transaction(group)
            except _Cut:
                prepared.regroup()
                continue
            position = group.last

    def _transaction(self, group: Group) -> None:
        """Statements that take effect together, with the history's position."""
        sql, replies = self.context.sql, list[Reply]()
        try:
            replies = self._close(group, self._statements(group))
        except _TablesDropped:
            xid = self._statements(group)
            self._exchange(group, [sql.constraints()])
            self._exchange(
                group, [sql.confirm_transaction(xid), QueryPart(sql.as_ourselves, 2), sql.own_timeouts()]
            )
            self.progress.create_again(group.last, in_group=True)
        self.progress.reached(group.last, replies)

    def _statements(self, group: Group) -> str:
        """Open a transaction and run the file's statements in it; returns its id."""
        sql, prepared = self.context.sql, self.attempt.prepared
        opening = sql.begin_marked(b", ".join(group.modes), locks=group.end is not StatementKind.PREPARE)
        self.attempt.xid = None
        xid = transaction_id(self._exchange(group, [opening], rows=2))
        self.attempt.xid = xid
        for message in prepared.messages(group, sql.reset_session()):
            self._exchange(group, message)
            if difference := misread(self.context, prepared, message):
                self.context.session.rollback()
                self._disagreed(difference)
        return xid

    def _close(self, group: Group, xid: str) -> list[Reply]:
        """End the group as the file does, with the history's position; the replies, with their rows."""
        sql = self.context.sql
        ending = [*self.progress.position(group.last), sql.commit(durable=True)]
        match group.end:
            case StatementKind.ROLLBACK:
                ending = [QueryPart(b"ROLLBACK;", 1), sql.begin(), sql.reacquire_locks(), *ending]
            case StatementKind.PREPARE:
                ending = [sql.begin(), sql.reacquire_locks(), *ending]
            case _:
                self._exchange(group, [sql.constraints()])
                ending = [sql.confirm_transaction(xid), *ending]
        return self._exchange(group, ending, rows=sum(part.results for part in ending))

    def _exchange(self, group: Group, parts: list[QueryPart], rows: int = 0) -> list[Reply]:
        """Send a message of a transaction, and check that the server ran what was meant."""
        session, prepared = self.context.session, self.attempt.prepared
        try:
            replies = session.run(parts, rows=rows)
        except SqlFailure as failure:
            session.rollback()
            difference = command_tags.disagreement(
                parts, failure.replies, prepared.statements, prepared.specials
            )
            if (
                difference is None
                and self.attempt.xid is not None
                and not rolled_back(self.context, self.attempt.xid)
            ):
                difference = "it ended the transaction"
            if difference is not None:
                self._disagreed(difference)
            self._failed(group, failure, parts)
        difference = command_tags.complete(parts, replies, prepared.statements, prepared.specials)
        if difference is not None:
            session.rollback()
            self._disagreed(difference)
        return replies

    def _disagreed(self, difference: str) -> NoReturn:
        """Stop: the server has split the file differently.

        Raises:
            Unproven: always.
        """
        self.progress.mark_unknown()
        raise failures.split_differently(difference, self.attempt.prepared.step.label)

    def _alone(self, group: Group) -> None:
        """One statement outside a transaction: marked started, run, marked done."""
        context, prepared = self.context, self.attempt.prepared
        index = group.send[0]
        notes = in_doubt_resolution.note(context.session, prepared.statements.text(index))
        target = index_cleanup.Target.from_json(notes)
        if target is not None:
            recovering = not self.attempt.proven or self.resumed
            concurrently.drop_blocking_indexes(context, prepared.step.label, target, recovering=recovering)
        self.progress.started(index, notes)
        parts = next(prepared.messages(group, context.sql.reset_session()))
        failure = self._concurrently(group, target, parts) if group.concurrently else self._send(parts)
        if failure is not None:
            if not self._may_have_left_something(index, target, failure):
                self.progress.left_nothing()
            self._failed(group, failure, parts)
        self.progress.completed(group.last)
        if group.concurrently:
            self.progress.check_row_unchanged()
        self.progress.ended(group.last)

    def _concurrently(
        self, group: Group, target: index_cleanup.Target | None, parts: list[QueryPart]
    ) -> SqlFailure | None:
        """Run a CONCURRENTLY statement with golang-migrate's locks free, and clean up behind a failure."""
        context = self.context
        concurrently.log_without_lock_timeout(context, self.attempt.prepared, group.send[0])
        with index_cleanup.without_lock_timeout(context.session), concurrently.golang_released(context):
            failure = self._send(parts)
            if failure is not None:
                self._clean_up(target, failure, parts)
        return failure

    def _may_have_left_something(
        self, index: int, target: index_cleanup.Target | None, failure: SqlFailure
    ) -> bool:
        """Whether a statement outside a transaction that failed may have taken effect in part."""
        if failure.sqlstate not in _BEFORE_ANYTHING:
            command = tag(self.attempt.prepared.statements, index).split(" ")[0]
            if command not in _LEAVES_NOTHING:
                return True
        return target is not None and index_cleanup.detach_pending(self.context.session, target)

    def _send(self, parts: list[QueryPart]) -> SqlFailure | None:
        """Run one statement outside a transaction; the server itself refuses a second one in it."""
        session, prepared = self.context.session, self.attempt.prepared
        is_ours = all(part.origin is None for part in parts)  # in place of a DISCARD ALL
        try:
            replies = session.run(parts, atomic=False, single=not is_ours)
        except SqlFailure as failure:
            session.rollback()
            return failure
        difference = command_tags.complete(parts, replies, prepared.statements, prepared.specials)
        if difference is not None:
            self._disagreed(difference)
        return None

    def _clean_up(
        self, target: index_cleanup.Target | None, failure: SqlFailure, parts: list[QueryPart]
    ) -> None:
        """Drop what a failed build left; after a signal the next run does it, by the history.

        Raises:
            MigrationError: the build's failure, where a signal ended the wait for others' transactions.
        """
        if target is None:
            return
        try:
            for name in index_cleanup.drop_new_invalid(self.context.session, target):
                self.context.log.info("dropped the invalid index left by the failed build", index=name)
        except Interrupted as interrupted:
            self.context.log.warn(
                "the invalid index left by the failed build is kept for now", why=interrupted
            )
            raise self._recorded(failure, parts) from failure

    def _failed(self, group: Group, failure: SqlFailure, parts: list[QueryPart]) -> NoReturn:
        """Cut the group where PostgreSQL asks for it; otherwise record the failure and raise it."""
        prepared = self.attempt.prepared
        index, _ = error_places.locate(failure, parts, prepared.statements)
        if (
            index is not None
            and failures.calls_for_groups(failure, prepared.statements, index)
            and not group.alone
            and not group.explicit
            and self._cut(group, index, failure.sqlstate)
        ):
            raise _Cut from failure
        if (
            index is None
            and failure.sqlstate in MISSING
            and group.end is StatementKind.COMMIT
            and not group.alone
        ):
            raise _TablesDropped from failure
        raise self._recorded(failure, parts) from failure

    def _recorded(self, failure: SqlFailure, parts: list[QueryPart]) -> MigrationError:
        """The error that a failure is, after it is recorded."""
        context, prepared = self.context, self.attempt.prepared
        error: MigrationError
        if (
            failure.sqlstate == failures.CHANGED
            and error_places.locate(failure, parts, prepared.statements)[0] is None
        ):
            error = self.progress.changed()
        elif failure.sqlstate == failures.CANCELLED and context.stop.signal is not None:
            error = Interrupted(
                f"{context.stop.signal} received: the statement was cancelled", file=prepared.step.label
            )
        else:
            error = failures.to_error(failure, prepared.file, prepared.statements, parts, context.session)
        self.progress.record(error)
        return error

    def _cut(self, group: Group, index: int, sqlstate: str) -> bool:
        """Whether cutting the group at a statement is something new."""
        prepared = self.attempt.prepared
        if sqlstate == "55P04":
            if index in prepared.cuts or index == group.first:
                return False
            prepared.cuts.add(index)
        else:
            if index in prepared.alone:
                return False
            prepared.alone.add(index)
        self.context.log.info(
            "statement needs its own transaction, continuing in groups",
            file=prepared.step.label,
            statement=statement_label(prepared.statements, index),
        )
        return True

    def _stopped(self, group: Group) -> None:
        raise Interrupted(
            f"{self.context.stop.signal} received: stopped before statement {group.first + 1}",
            file=self.attempt.prepared.step.label,
        )


class _Cut(Exception):
    """An error called for another cut, which is made: run the group again."""


class _TablesDropped(Exception):
    """The file's statements ran, but have dropped our tables; the transaction is rolled back."""
