"""A file that cannot run in one transaction: its groups, one after another, between dirty marks.

The ledger's position is committed inside each group. A statement outside a transaction is marked started,
durably, and then done; what a crash leaves in between is settled from the catalog (see ``recovery``).
"""

import json
from contextlib import AbstractContextManager
from typing import Any

from psycopg.pq import abc

from fluxbase_migrations.core.errors import Interrupted, LockHeld, MigrationError, ServerRefused
from fluxbase_migrations.runner import doubt, failures, indexes, lexer, lock, tracking
from fluxbase_migrations.runner.context import Attempt, Context, error_json
from fluxbase_migrations.runner.ledger import Entered, as_json
from fluxbase_migrations.runner.statements import Group, Kind, tag
from fluxbase_migrations.runner.wire import Chunk, ConnectionLost, SqlFailure

_LEAVES_NOTHING = frozenset(
    ["VACUUM", "ANALYZE", "CLUSTER", "CREATE", "DROP", "ALTER", "REINDEX", "COMMIT", "ROLLBACK"]
)
"""Statements outside a transaction that leave nothing, or nothing that matters, when they fail."""


class GroupRun:
    """One attempt at one file in groups."""

    def __init__(self, context: Context, attempt: Attempt, done: int = 0) -> None:
        self.context = context
        self.attempt = attempt
        self.done = done
        """How many statements have taken effect."""
        self.resumed = done > 0
        if done:
            # Where the last attempt's groups ended: what PostgreSQL asked for then is not known any more.
            attempt.prepared.cuts.add(done)
            attempt.prepared.regroup()
        self.entry_id = 0
        self.row_xmin: int | None = None
        self.partial = False
        """The statement that failed may have taken effect in part."""

    def run(self) -> None:
        """Run what is left of the file.

        Raises:
            MigrationError: a statement failed; the row is dirty, and the ledger says how far it got.
            ConnectionLost: the row is dirty, and the ledger says how far it got.
        """
        self._mark()
        if self.resumed:
            self._replay_settings()
        prepared = self.attempt.prepared
        position = self.done
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
        self._finish()

    def _replay_settings(self) -> None:
        """The statements to come expect the prefix's plain SETs and RESETs."""
        found, session = self.attempt.prepared.statements, self.context.session
        for index in range(self.done):
            words = lexer.leading_words(found.sql, found.starts[index], found.ends[index], 2)
            if words[0] in ("SET", "RESET") and words[1] not in ("LOCAL", "TRANSACTION", "CONSTRAINTS"):
                session.run([Chunk(found.text(index), 1, found.starts[index], index)])

    def _mark(self) -> None:
        """The dirty mark and the ledger's entry, durable before anything else."""
        context, book = self.context, self.context.book
        session, step = context.session, self.attempt.prepared.step
        entry = self.attempt.entry(session, Entered.RUNNING, **self._progress())
        entry["finished_at"] = b"NULL"
        chunks = [
            book.begin(),
            book.locks_again(),
            book.write_row(step.to_version, True, entry),
            book.commit(durable=True),
        ]
        results = self._own(chunks)
        row = next(one for one in reversed(results) if one.ntuples == 1 and one.nfields == 2)
        self.entry_id = int(row.get_value(0, 0) or b"0")
        self.row_xmin = int(row.get_value(0, 1) or b"0")
        context.flushed = True

    def _progress(self, in_doubt: int | None = None) -> dict[str, bytes]:
        session, prepared = self.context.session, self.attempt.prepared
        return {
            "done": session.literal(self.done),
            "done_checksum": session.literal(prepared.prefix_checksum(self.done)),
            "in_doubt": session.literal(in_doubt),
            "finished_at": b"pg_catalog.clock_timestamp()",
        }

    def _own(self, chunks: list[Chunk]) -> list[abc.PGresult]:
        """Our own statements, as one message; a lost lock stops the run."""
        session = self.context.session
        try:
            return list(session.run_own(b"".join(chunk.sql for chunk in chunks)))
        except SqlFailure as failure:
            session.rollback()
            if failure.sqlstate == "22012":
                raise LockHeld(
                    "the migration lock was lost while the file ran; stopped, and the row stays dirty",
                    file=self.attempt.prepared.step.label,
                ) from failure
            raise ServerRefused(
                f"recording the progress failed: {session.scrub(failure.message)}",
                sql_state=failure.sqlstate,
                file=self.attempt.prepared.step.label,
            ) from failure

    def _transaction(self, group: Group) -> None:
        """Statements that take effect together, with the ledger's position."""
        context, book, prepared = self.context, self.context.book, self.attempt.prepared
        before = self.done
        messages: list[list[Chunk]] = list(prepared.messages(group, book.hygiene()))
        self.done = group.last
        position = [Chunk(book.as_ourselves, 2), book.update(self.entry_id, self._progress())]
        self.done = before
        commit = book.commit(durable=True)
        match group.end:
            case Kind.ROLLBACK:
                ending = [Chunk(b"ROLLBACK;", 1), book.begin(), book.locks_again(), *position, commit]
            case Kind.PREPARE:
                ending = [book.begin(), book.locks_again(), *position, commit]
            case _:
                ending = [book.constraints(), book.locks_again(), *position, commit]
        opening = book.begin(b" ".join(group.modes), locks=group.end is not Kind.PREPARE)
        if prepared.one_message:
            messages = [[opening, *(chunk for message in messages for chunk in message), *ending]]
        else:
            messages = [[opening], *messages, ending]
        for chunks in messages:
            try:
                context.session.run(chunks)
            except SqlFailure as failure:
                context.session.rollback()
                self._failed(group, failure, chunks)
        self.done = group.last

    def _alone(self, group: Group) -> None:
        """One statement outside a transaction: marked started, run, marked done."""
        context, book, prepared = self.context, self.context.book, self.attempt.prepared
        session, index = context.session, group.send[0]
        notes = doubt.note(session, prepared.statements.text(index))
        target = indexes.Target.from_json(json.loads(json.dumps(notes)))
        if target is not None:
            self._clear_the_way(target)
        notes["after"] = prepared.prefix_checksum(index + 1)
        self._position(in_doubt=index + 1, details=notes)
        chunks = next(prepared.messages(group, book.hygiene()))
        if group.concurrently:
            indexes.suspend_lock_timeout(session)
            with self._golang_released():
                failure = self._send(chunks)
                if failure is not None:
                    self._clean_up(target)
            indexes.restore_lock_timeout(session)
            self._nobody_wrote()
        else:
            failure = self._send(chunks)
        if failure is not None:
            # 25001 and 42601 come before a statement does anything.
            kind = tag(prepared.statements, index).split(" ")[0]
            self.partial = kind not in _LEAVES_NOTHING and failure.sqlstate not in ("25001", "42601")
            self.partial |= target is not None and indexes.detach_pending(session, target)
            self._failed(group, failure, chunks)
        self.done = group.last
        self._position()

    def _clear_the_way(self, target: indexes.Target) -> None:
        recovering = not self.attempt.proven or self.resumed
        if indexes.in_the_way(self.context.session, target, always=recovering):
            with self._golang_released():
                for name in indexes.drop_in_the_way(self.context.session, target, always=recovering):
                    self.context.log.info("dropped an invalid index of the same name", index=name)

    def _send(self, chunks: list[Chunk]) -> SqlFailure | None:
        """Run one statement outside a transaction."""
        session = self.context.session
        try:
            session.run(chunks, atomic=False)
        except SqlFailure as failure:
            session.rollback()
            return failure
        return None

    def _golang_released(self) -> AbstractContextManager[None]:
        context = self.context
        return lock.golang_released(context.session, context.ids, max(context.lock_timeout, 60.0))

    def _clean_up(self, target: indexes.Target | None) -> None:
        """Drop what a failed build left."""
        if target is not None:
            for name in indexes.drop_new_invalid(self.context.session, target):
                self.context.log.info("dropped the invalid index that the failed build left", index=name)

    def _position(self, in_doubt: int | None = None, details: dict[str, Any] | None = None) -> None:
        """Write how far the file has come, with the locks taken again, durably."""
        book, session = self.context.book, self.context.session
        fields = {"details": as_json(session, details), **self._progress(in_doubt=in_doubt)}
        self._own(
            [
                book.begin(),
                book.locks_again(),
                Chunk(book.as_ourselves, 2),
                book.update(self.entry_id, fields),
                book.commit(durable=True),
            ]
        )

    def _nobody_wrote(self) -> None:
        """The tracking row is still ours after golang-migrate's locks were free for a while."""
        book = self.context.book
        select = b"SELECT xmin FROM " + book.target + b";"
        results = self._own(
            [Chunk(b"BEGIN;", 1), Chunk(book.as_ourselves, 2), Chunk(select, 1), Chunk(b"COMMIT", 1)]
        )
        row = results[3]
        if row.ntuples != 1 or int(row.get_value(0, 0) or b"0") != self.row_xmin:
            raise ServerRefused(
                f"somebody else wrote {self.context.table} while the file ran; stopped",
                file=self.attempt.prepared.step.label,
                hint="golang-migrate's force does that; find out who, then force the version that is true",
            )

    def _failed(self, group: Group, failure: SqlFailure, chunks: list[Chunk]) -> None:
        """Cut the group where PostgreSQL asks for it; otherwise record the failure and raise it."""
        context, prepared = self.context, self.attempt.prepared
        index, _ = failures.locate(failure, chunks, prepared.statements)
        if (
            failure.sqlstate in failures.NEEDS_GROUPS
            and index is not None
            and not group.alone
            and not group.explicit
            and self._cut(group, index, failure.sqlstate)
        ):
            raise _Cut from failure
        error: MigrationError
        if failure.sqlstate == failures.CANCELLED and context.stop.signal is not None:
            error = Interrupted(
                f"{context.stop.signal} received: the statement was cancelled", file=prepared.step.label
            )
        else:
            error = failures.to_error(failure, prepared.file, prepared.statements, chunks, context.session)
        self.record(error)
        raise error from failure

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
        self.record(error)
        raise error

    def record(self, error: MigrationError) -> None:
        """The failure's ledger entry, durable; the row stays dirty."""
        book, session = self.context.book, self.context.session
        error.with_effect(self.effect())
        outcome = Entered.INTERRUPTED if error.may_pass else Entered.FAILED
        fields = self._progress(in_doubt=self.done + 1 if self.partial else None)
        fields |= {"outcome": session.literal(outcome), "error": error_json(session, error.info)}
        chunks = [
            book.begin(),
            book.hygiene(),
            book.locks_again(),
            book.update(self.entry_id, fields),
            book.commit(durable=True),
        ]
        try:
            self._own(chunks)
        except (MigrationError, ConnectionLost):
            error.with_effect(f"{self.effect()}; recording that failed")

    def effect(self) -> str:
        """What of the file the database holds now."""
        total = len(self.attempt.prepared.statements)
        if self.partial:
            return f"statement {self.done + 1} of {total} may have taken effect in part" + (
                f", statements 1 to {self.done} did" if self.done else ""
            )
        if self.done == 0:
            return "no statement took effect"
        return f"statement{'s 1 to' if self.done > 1 else ''} {self.done} of {total} took effect"

    def _finish(self) -> None:
        """Hygiene, the clean row, and the ledger's entry, in one durable transaction."""
        context, book, step = self.context, self.context.book, self.attempt.prepared.step
        self.done = len(self.attempt.prepared.statements)
        session = context.session
        fields = self._progress() | {"outcome": session.literal(Entered.APPLIED)}
        try:
            session.run_own(
                b"".join(chunk.sql for chunk in (book.begin(), book.hygiene(), book.locks_again()))
            )
            tracking.ensure(session, context.table)
            context.ledger.ensure(session)
            if not context.ledger.has(session, self.entry_id):
                final = book.write_row(step.to_version, False, self.attempt.entry(session, Entered.APPLIED))
            else:
                final = book.rewrite_row(self.entry_id, step.to_version, False, fields)
        except SqlFailure as failure:
            session.rollback()
            raise self._recording_failed(failure) from failure
        self._own([final, book.commit(durable=True)])

    def _recording_failed(self, failure: SqlFailure) -> MigrationError:
        session = self.context.session
        if failure.sqlstate == "22012":
            return LockHeld("the migration lock was lost while the file ran; the row stays dirty")
        return ServerRefused(f"recording the progress failed: {session.scrub(failure.message)}")


class _Cut(Exception):
    """The group was cut anew."""
