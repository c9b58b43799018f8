"""How far a file in groups has come, as the ledger has it: inside each group, or durably between them."""

from typing import Any

from psycopg.pq import abc

from fluxbase_migrations.core.errors import MigrationError, ServerRefused
from fluxbase_migrations.runner import failures, tracking
from fluxbase_migrations.runner.context import Attempt, Context, error_json
from fluxbase_migrations.runner.ledger import Entered, as_json
from fluxbase_migrations.runner.wire import Chunk, ConnectionLost, SqlFailure


class Progress:
    """The ledger's entry of one attempt, from its dirty mark to its end."""

    def __init__(self, context: Context, attempt: Attempt, done: int) -> None:
        self.context = context
        self.attempt = attempt
        self.done = done
        """How many statements have taken effect."""
        self.entry_id = 0
        self.row_xmin: int | None = None
        self.partial = False
        """The statement that failed may have taken effect in part."""

    def mark(self) -> None:
        """The dirty mark and the ledger's entry, durable before anything else."""
        context, book = self.context, self.context.book
        session, step = context.session, self.attempt.prepared.step
        entry = self.attempt.entry(session, Entered.RUNNING, **self.fields())
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

    def fields(self, done: int | None = None, in_doubt: int | None = None) -> dict[str, bytes]:
        """The ledger's columns that say how far it is, as SQL expressions."""
        session, prepared = self.context.session, self.attempt.prepared
        done = self.done if done is None else done
        return {
            "done": session.literal(done),
            "done_checksum": session.literal(prepared.prefix_checksum(done)),
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
            raise self._recording_failed(failure) from failure

    def write(self, in_doubt: int | None = None, details: dict[str, Any] | None = None) -> None:
        """Write how far the file has come, with the locks taken again, durably."""
        book, session = self.context.book, self.context.session
        fields = {"details": as_json(session, details), **self.fields(in_doubt=in_doubt)}
        self._own(
            [
                book.begin(),
                book.locks_again(),
                Chunk(book.as_ourselves, 2),
                book.update(self.entry_id, fields),
                book.commit(durable=True),
            ]
        )

    def nobody_wrote(self) -> None:
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

    def record(self, error: MigrationError) -> None:
        """The failure's ledger entry, durable; the row stays dirty."""
        book, session = self.context.book, self.context.session
        error.with_effect(self.effect())
        outcome = Entered.INTERRUPTED if error.may_pass else Entered.FAILED
        fields = self.fields(in_doubt=self.done + 1 if self.partial else None)
        fields |= {"outcome": session.literal(outcome), "error": error_json(session, error.info)}
        chunks = [
            book.begin(),
            book.tidy(),
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

    def finish(self) -> None:
        """Hygiene, the clean row, and the ledger's entry, in one durable transaction."""
        context, book, step = self.context, self.context.book, self.attempt.prepared.step
        self.done = len(self.attempt.prepared.statements)
        session = context.session
        fields = self.fields() | {"outcome": session.literal(Entered.APPLIED)}
        try:
            session.run_own(b"".join(chunk.sql for chunk in (book.begin(), book.tidy(), book.locks_again())))
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
        return failures.recording_failed(failure, self.context.session, self.attempt.prepared.step.label)
