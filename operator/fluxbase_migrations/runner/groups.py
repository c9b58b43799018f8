"""A file that cannot run in one transaction: its groups, one after another, between dirty marks.

The ledger's position is committed inside each group. A statement outside a transaction is marked started,
durably, and then done; what a crash leaves in between is settled from the catalog (see ``recovery``).
"""

import psycopg

from fluxbase_migrations.core.errors import Interrupted, LockHeld, MigrationError, ServerRefused
from fluxbase_migrations.runner import failures, indexes, lock, tracking
from fluxbase_migrations.runner.context import Attempt, Context, error_json
from fluxbase_migrations.runner.ledger import Entered, as_json
from fluxbase_migrations.runner.statements import Group, Kind, tag
from fluxbase_migrations.runner.wire import Chunk, ConnectionLost, SqlFailure

_ATOMIC_TAGS = frozenset(
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
        prepared = self.attempt.prepared
        position = self.done
        while position < len(prepared.statements):
            group = next((one for one in prepared.groups if one.last > position), None)
            if group is None:
                break
            if self.context.stop.signal is not None:
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

    def _own(self, chunks: list[Chunk]) -> list[psycopg.pq.abc.PGresult]:
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
        """One statement outside a transaction."""
        context, book, prepared = self.context, self.context.book, self.attempt.prepared
        session, index = context.session, group.send[0]
        details: dict[str, object] = {}
        target = None
        if group.concurrently:
            target = indexes.resolve(session, prepared.statements.text(index))
            if target is not None:
                details = target.to_json()
        started = self._progress(in_doubt=index + 1)
        self._own(
            [
                book.begin(),
                Chunk(book.as_ourselves, 2),
                book.update(self.entry_id, {"details": as_json(session, details or None), **started}),
                book.commit(durable=True),
            ]
        )
        chunks = list(prepared.messages(group, book.hygiene()))[0]
        failure: SqlFailure | None = None
        try:
            if group.concurrently:
                self._release(target)
            session.run(chunks, atomic=False)
        except SqlFailure as caught:
            failure = caught
            session.rollback()
        if group.concurrently:
            self._take_back()
        if failure is not None:
            if failure.sqlstate in ("25001",) or not self._leaves_nothing(index):
                self.partial = failure.sqlstate not in ("25001", "42601")
            if target is not None:
                dropped = indexes.drop_new_invalid(session, target)
                if dropped:
                    context.log.info(
                        "dropped the invalid index that the failed build left", index=", ".join(dropped)
                    )
            self._failed(group, failure, chunks)
        self.done = group.last
        self._own(
            [
                book.begin(),
                book.locks_again(),
                Chunk(book.as_ourselves, 2),
                book.update(self.entry_id, self._progress()),
                book.commit(durable=True),
            ]
        )

    def _leaves_nothing(self, index: int) -> bool:
        return tag(self.attempt.prepared.statements, index).split(" ")[0] in _ATOMIC_TAGS

    def _release(self, target: "indexes.Target | None") -> None:
        """Let golang-migrate's waiters see the dirty row: their snapshots would block the build for ever."""
        session = self.context.session
        lock.release(session, self.context.ids.golang)
        if target is None or not target.own_lock_timeout:
            indexes.suspend_lock_timeout(session)

    def _take_back(self) -> None:
        """Take golang-migrate's locks again and see that nobody wrote the tracking row meanwhile."""
        context = self.context
        indexes.restore_lock_timeout(context.session)
        lock.retake(context.session, context.ids.golang, max(context.lock_timeout, 60.0))
        row = tracking.read(context.session, context.table)
        if row.xmin != self.row_xmin:
            raise ServerRefused(
                f"somebody else wrote {context.table} while the file ran (it says {row} now); stopped",
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
        context, book, session = self.context, self.context.book, self.context.session
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
