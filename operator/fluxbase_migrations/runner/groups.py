"""A file that cannot run in one transaction: its groups, one after another, between dirty marks.

The ledger's position is committed inside each group. A statement outside a transaction is marked started,
durably, and then done; what a crash leaves in between is settled from the catalog (see ``recovery``).
"""

import json
from contextlib import AbstractContextManager
from typing import NoReturn

from fluxbase_migrations.core.errors import Interrupted, MigrationError, ServerRefused, Unproven
from fluxbase_migrations.runner import confirm, doubt, failures, indexes, lexer, lock
from fluxbase_migrations.runner.atomic import misread, opened, rolled_back
from fluxbase_migrations.runner.context import Attempt, Context
from fluxbase_migrations.runner.progress import Progress
from fluxbase_migrations.runner.statements import Group, Kind, tag
from fluxbase_migrations.runner.wire import Chunk, Reply, SqlFailure

_LEAVES_NOTHING = frozenset(
    ["VACUUM", "ANALYZE", "CLUSTER", "CREATE", "DROP", "ALTER", "REINDEX", "COMMIT", "ROLLBACK"]
)
"""Statements outside a transaction that leave nothing, or nothing that matters, when they fail."""


class GroupRun:
    """One attempt at one file in groups."""

    def __init__(self, context: Context, attempt: Attempt, done: int = 0) -> None:
        self.context = context
        self.attempt = attempt
        self.progress = Progress(context, attempt, done)
        self.resumed = done > 0
        if done:
            # Where the last attempt's groups ended: what PostgreSQL asked for then is not known any more.
            attempt.prepared.cuts.add(done)
            attempt.prepared.regroup()

    def run(self) -> None:
        """Run what is left of the file.

        Raises:
            MigrationError: a statement failed; the row is dirty, and the ledger says how far it got.
            ConnectionLost: the row is dirty, and the ledger says how far it got.
        """
        self.progress.mark()
        if self.resumed:
            self._replay_settings()
        prepared = self.attempt.prepared
        position = self.progress.done
        while position < len(prepared.statements):
            group = next((one for one in prepared.groups if one.last > position), None)
            if group is None:
                break
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
        self.progress.finish()

    def _replay_settings(self) -> None:
        """The statements to come expect the prefix's plain SETs and RESETs."""
        found, session = self.attempt.prepared.statements, self.context.session
        for index in range(self.progress.done):
            words = lexer.leading_words(found.sql, found.starts[index], found.ends[index], 2)
            if words[0] in ("SET", "RESET") and words[1] not in ("LOCAL", "TRANSACTION", "CONSTRAINTS"):
                chunk = Chunk(found.text(index), 1, found.starts[index], index)
                try:
                    session.run([chunk])
                except SqlFailure as failure:
                    raise self._recorded(failure, [chunk]) from failure

    def _transaction(self, group: Group) -> None:
        """Statements that take effect together, with the ledger's position."""
        book, prepared = self.context.book, self.attempt.prepared
        modes = b", ".join(group.modes)
        opening = book.begin_marked(modes, locks=group.end is not Kind.PREPARE)
        self.attempt.xid = None
        xid = opened(self._exchange(group, [opening], rows=2))
        self.attempt.xid = xid
        for message in prepared.messages(group, book.hygiene()):
            self._exchange(group, message)
            if how := misread(self.context, prepared, message):
                self.context.session.rollback()
                self._disagreed(how)
        fields = self.progress.fields(group.last)
        position = [
            Chunk(book.as_ourselves, 2),
            book.patience(),
            book.update(self.progress.entry_id, fields),
            book.commit(durable=True),
        ]
        match group.end:
            case Kind.ROLLBACK:
                self._exchange(group, [Chunk(b"ROLLBACK;", 1), book.begin(), book.locks_again(), *position])
            case Kind.PREPARE:
                self._exchange(group, [book.begin(), book.locks_again(), *position])
            case _:
                self._exchange(group, [book.constraints()])
                self._exchange(group, [book.still_ours(xid), *position])
        self.progress.done = group.last

    def _exchange(self, group: Group, chunks: list[Chunk], rows: int = 0) -> list[Reply]:
        """Send a message of a transaction, and see that the server did what was meant."""
        session, prepared = self.context.session, self.attempt.prepared
        try:
            replies = session.run(chunks, rows=rows)
        except SqlFailure as failure:
            session.rollback()
            how = confirm.disagreement(chunks, failure.replies, prepared.statements, prepared.specials)
            if (
                how is None
                and self.attempt.xid is not None
                and not rolled_back(self.context, self.attempt.xid)
            ):
                how = "it ended the transaction"
            if how is not None:
                self._disagreed(how)
            self._failed(group, failure, chunks)
        how = confirm.complete(chunks, replies, prepared.statements, prepared.specials)
        if how is not None:
            session.rollback()
            self._disagreed(how)
        return replies

    def _disagreed(self, how: str) -> NoReturn:
        """The server read the file in another way than we did: stop.

        Raises:
            Unproven: always, after it is recorded.
        """
        self.progress.partial = True
        error = Unproven(
            f"the server read the file in another way than this program: {how}",
            file=self.attempt.prepared.step.label,
            hint="look at what the file left in the database, then force the version that is true; and "
            "please report this file as a bug",
        )
        self.progress.record(error)
        raise error

    def _alone(self, group: Group) -> None:
        """One statement outside a transaction: marked started, run, marked done."""
        context, book, prepared = self.context, self.context.book, self.attempt.prepared
        session, index = context.session, group.send[0]
        notes = doubt.note(session, prepared.statements.text(index))
        target = indexes.Target.from_json(json.loads(json.dumps(notes)))
        if target is not None:
            self._clear_the_way(target)
        notes["after"] = prepared.prefix_checksum(index + 1)
        self.progress.write(in_doubt=index + 1, details=notes)
        chunks = next(prepared.messages(group, book.hygiene()))
        if group.concurrently:
            indexes.suspend_lock_timeout(session)
            with self._golang_released():
                failure = self._send(chunks)
                if failure is not None:
                    self._clean_up(target, failure, chunks)
            indexes.restore_lock_timeout(session)
            self.progress.nobody_wrote()
        else:
            failure = self._send(chunks)
        if failure is not None:
            # 25001 and 42601 come before a statement does anything.
            kind = tag(prepared.statements, index).split(" ")[0]
            self.progress.partial = kind not in _LEAVES_NOTHING and failure.sqlstate not in ("25001", "42601")
            self.progress.partial |= target is not None and indexes.detach_pending(session, target)
            self._failed(group, failure, chunks)
        self.progress.done = group.last
        self.progress.write()

    def _clear_the_way(self, target: indexes.Target) -> None:
        """Drop an invalid index of the name that the statement asks for.

        Raises:
            Interrupted: a signal ended the wait for others' transactions.
            ServerRefused: it stays; IF NOT EXISTS would take it for what was asked for.
        """
        session, recovering = self.context.session, not self.attempt.proven or self.resumed
        if not indexes.in_the_way(session, target, always=recovering):
            return
        indexes.suspend_lock_timeout(session)
        try:
            with self._golang_released():
                for name in indexes.drop_in_the_way(session, target, always=recovering):
                    self.context.log.info("dropped an invalid index of the same name", index=name)
        except Interrupted as interrupted:
            self.progress.record(interrupted)
            raise
        indexes.restore_lock_timeout(session)
        for _, schema, name in indexes.in_the_way(session, target, always=recovering):
            error = ServerRefused(
                f"the invalid index {schema}.{name} is in the way and could not be dropped",
                file=self.attempt.prepared.step.label,
                hint="drop it by hand, or see what holds a lock on its table",
            )
            self.progress.record(error)
            raise error

    def _send(self, chunks: list[Chunk]) -> SqlFailure | None:
        """Run one statement outside a transaction; the server itself refuses a second one in it."""
        session, prepared = self.context.session, self.attempt.prepared
        own = all(chunk.origin is None for chunk in chunks)  # in place of a DISCARD ALL
        try:
            replies = session.run(chunks, atomic=False, single=not own)
        except SqlFailure as failure:
            session.rollback()
            return failure
        how = confirm.complete(chunks, replies, prepared.statements, prepared.specials)
        if how is not None:
            self._disagreed(how)
        return None

    def _golang_released(self) -> AbstractContextManager[None]:
        context = self.context
        return lock.golang_released(context.session, context.ids, max(context.lock_timeout, 60.0))

    def _clean_up(self, target: indexes.Target | None, failure: SqlFailure, chunks: list[Chunk]) -> None:
        """Drop what a failed build left; a signal leaves it to the next run, which finds it in the ledger.

        Raises:
            MigrationError: the build's failure, where a signal ended the wait for others' transactions.
        """
        if target is None:
            return
        try:
            for name in indexes.drop_new_invalid(self.context.session, target):
                self.context.log.info("dropped the invalid index that the failed build left", index=name)
        except Interrupted as interrupted:
            self.context.log.warn("the invalid index that the failed build left stays", why=interrupted)
            self.progress.partial = True
            raise self._recorded(failure, chunks) from failure

    def _failed(self, group: Group, failure: SqlFailure, chunks: list[Chunk]) -> NoReturn:
        """Cut the group where PostgreSQL asks for it; otherwise record the failure and raise it."""
        prepared = self.attempt.prepared
        index, _ = failures.locate(failure, chunks, prepared.statements)
        if (
            failure.sqlstate in failures.NEEDS_GROUPS
            and index is not None
            and not group.alone
            and not group.explicit
            and self._cut(group, index, failure.sqlstate)
        ):
            raise _Cut from failure
        raise self._recorded(failure, chunks) from failure

    def _recorded(self, failure: SqlFailure, chunks: list[Chunk]) -> MigrationError:
        """The error that a failure is, after it is recorded."""
        context, prepared = self.context, self.attempt.prepared
        error: MigrationError
        if failure.sqlstate == failures.CANCELLED and context.stop.signal is not None:
            error = Interrupted(
                f"{context.stop.signal} received: the statement was cancelled", file=prepared.step.label
            )
        else:
            error = failures.to_error(failure, prepared.file, prepared.statements, chunks, context.session)
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
            "statement needs its own transaction, going on in groups",
            file=prepared.step.label,
            statement=failures.statement_label(prepared.statements, index),
        )
        return True

    def _stopped(self, group: Group) -> None:
        error = Interrupted(
            f"{self.context.stop.signal} received: stopped before statement {group.first + 1}",
            file=self.attempt.prepared.step.label,
        )
        self.progress.record(error)
        raise error


class _Cut(Exception):
    """The group was cut anew."""
