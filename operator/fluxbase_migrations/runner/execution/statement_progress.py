"""How far a file in groups has come, as the history has it: inside each group, or durably between them."""

from collections.abc import Sequence
from typing import Any, Final

from psycopg import errors
from psycopg.pq import abc

from fluxbase_migrations.core.errors import MigrationError, Unproven
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.table_name import HISTORY
from fluxbase_migrations.runner.history import drift, session_capture, version_table
from fluxbase_migrations.runner.history.columns import NOW, Columns, Expression, Value, rendered
from fluxbase_migrations.runner.history.entry import AFTER, MEANING, SESSION, EntryOutcome
from fluxbase_migrations.runner.history.migration_session import Attempt, MigrationSession, error_details
from fluxbase_migrations.runner.history.session_state import SessionState
from fluxbase_migrations.runner.recovery import in_doubt_resolution
from fluxbase_migrations.runner.sql import custom_settings
from fluxbase_migrations.runner.sql.simple_query import ConnectionLost, QueryPart, Reply, SqlFailure

MISSING: Final = frozenset(("42P01", "3F000"))
"""A table or schema of ours is gone: the file has dropped it."""


class StatementProgress:
    """The history's entry of one attempt, from its dirty mark to its end."""

    def __init__(self, context: MigrationSession, attempt: Attempt, done: int) -> None:
        self.context = context
        self.attempt = attempt
        self.done = done
        """How many statements have taken effect."""
        self.in_doubt: int | None = None
        """Number of the statement that may have taken effect in part."""
        self.notes: dict[str, Any] = {}
        """What the history remembers about that statement."""
        self.recorded = False
        """Whether the history has this attempt's end."""
        self._entry_id = 0
        self._row_xmin: int | None = None
        self._foreign_row = False
        """Another program has written the row, when its locks were free for it."""
        self._custom = custom_settings.names(attempt.prepared.statements)
        self._session: SessionState | None = None
        """What the session was at the position."""
        self.left_nothing()

    @property
    def unproven(self) -> bool:
        """Whether a statement may have taken effect in part, and the catalog cannot resolve it."""
        return self.in_doubt is not None and not in_doubt_resolution.resolvable(self.notes)

    def left_nothing(self) -> None:
        """Nothing is in doubt but what an earlier attempt left so, until this one has passed it."""
        self.in_doubt, self.notes = None, {}
        if self.attempt.in_doubt_checksum is not None:
            self.in_doubt, self.notes = self.done + 1, {AFTER: self.attempt.in_doubt_checksum}

    def mark(self) -> None:
        """Write the dirty row and the history's entry, durably, before anything else."""
        sql = self.context.sql
        self._session = self._state(first=True)
        parts = [sql.begin(), sql.reacquire_locks(), QueryPart(sql.as_ourselves, 2)]
        self._entered(self._run_own([*parts, self.new_entry(self.done), sql.commit(durable=True)]))
        self.context.flushed = True

    def _state(self, *, first: bool = False) -> SessionState:
        """The session as it is now; ``first`` also looks up which custom settings functions set."""
        session = self.context.session
        try:
            if first:
                self._custom = tuple(sorted({*self._custom, *session_capture.names_in_functions(session)}))
            return session_capture.take(session, self._custom)
        except SqlFailure as failure:
            self.context.session.rollback()
            raise self._recording_failed(failure) from failure

    def new_entry(self, done: int) -> QueryPart:
        """The dirty row, and an entry that proves it and says that ``done`` statements took effect."""
        entry = self.attempt.entry(EntryOutcome.RUNNING, **{**self.columns(done), "finished_at": None})
        return self.context.sql.write_row(self.attempt.prepared.step.to_version, True, entry)

    def _entered(self, results: list[abc.PGresult]) -> None:
        """Keep the id, and the row's xmin, of the entry that :meth:`new_entry` wrote."""
        row = next(result for result in reversed(results) if result.ntuples == 1 and result.nfields == 3)
        self._entry_id = int(row.get_value(0, 0) or b"0")
        self._row_xmin = int(row.get_value(0, 1) or b"0")

    def columns(self, done: int) -> dict[str, Value]:
        """The history's columns that say how far it is."""
        in_doubt = self.in_doubt if self.in_doubt is not None and self.in_doubt > done else None
        return {
            "done": done,
            "done_checksum": self.attempt.prepared.prefix_checksum(done),
            "in_doubt": in_doubt,
            "details": self._details(in_doubt),
            "finished_at": NOW,
        }

    def _details(self, in_doubt: int | None) -> dict[str, Any]:
        notes = self.notes if in_doubt else {}
        return {**self.attempt.details, SESSION: self._session_json(), **notes}

    def _session_json(self) -> dict[str, Any] | None:
        return self._session.to_json() if self._session is not None else None

    def position(self, done: int) -> list[QueryPart]:
        """Statements that record, within a group's transaction, that ``done`` statements took effect.

        What the group has made of the session holds after its COMMIT only if it is what it was before: a
        SET LOCAL looks the same. Otherwise it is recorded as not known, until :meth:`reached` has checked.
        """
        session, sql = self.context.session, self.context.sql
        before = rendered(session, self._session_json())
        is_same = b"%b OPERATOR(pg_catalog.=) %b" % (session_capture.KEPT, before)
        state = b"CASE WHEN %b THEN %b END" % (is_same, session_capture.KEPT)
        columns = self.columns(done)
        columns["details"] = Expression(
            b"%b OPERATOR(pg_catalog.||) pg_catalog.jsonb_build_object(%b, %b)"
            % (rendered(session, columns["details"]), session.literal(SESSION), state)
        )
        return [
            QueryPart(session_capture.keep(session, self._custom), 1),
            QueryPart(sql.as_ourselves, 2),
            sql.own_timeouts(),
            self._update(columns, is_same),
        ]

    def _update(self, columns: Columns, answer: bytes = b"true") -> QueryPart:
        """Update the entry; the server fails unless the entry and its row are there, and no other row."""
        sql = self.context.sql
        update = sql.history.update(self.context.session, self._entry_id, columns)
        check = (
            b"WITH p AS (%b RETURNING row_xmin) SELECT pg_catalog.ln(pg_catalog.float8("
            b"CASE WHEN (SELECT pg_catalog.count(*) FROM %b) OPERATOR(pg_catalog.=) 1"
            b" AND (SELECT pg_catalog.count(*) FROM p JOIN %b t ON t.xmin OPERATOR(pg_catalog.=) p.row_xmin)"
            b" OPERATOR(pg_catalog.=) 1 THEN 1 ELSE 0 END)), %b;"
        )
        return QueryPart(check % (update, sql.target, sql.target, answer), 1)

    def reached(self, done: int, replies: Sequence[Reply] = ()) -> None:
        """A group is committed: record what it has made of the session, if that is new.

        ``replies`` are those to :meth:`position`, with their rows; none where its session is not known.
        """
        self.completed(done)
        is_same = next((reply.row[-1] == b"t" for reply in reversed(replies) if reply.row), False)
        state = self._state()
        if state != self._session or not is_same:
            self._session = state
            self._write()

    def started(self, index: int, notes: dict[str, Any]) -> None:
        """Record, durably, that a statement outside a transaction is about to run."""
        self.done = index
        self._session = self._state()
        self.in_doubt = index + 1
        prepared = self.attempt.prepared
        after, meaning = prepared.prefix_checksum(index + 1), prepared.meaning(index)
        self.notes = {**notes, AFTER: after, MEANING: meaning}
        try:
            self._write()
        except MigrationError:
            self.left_nothing()
            raise

    def ended(self, done: int) -> None:
        """Record, durably, that such a statement has taken effect."""
        self.completed(done)
        self._session = self._state()
        self._write()

    def mark_unknown(self) -> None:
        """What took effect behind the position is not known, and cannot be resolved later."""
        self.in_doubt, self.notes = self.done + 1, {}

    def completed(self, done: int) -> None:
        """The first ``done`` statements took effect."""
        self.done = done
        if self.in_doubt is not None and self.in_doubt <= done:
            self.in_doubt, self.notes = None, {}

    def _write(self) -> None:
        """Write how far the file has come, with the locks taken again, durably."""
        sql, session = self.context.sql, self.context.session
        opening = [sql.begin(), sql.reacquire_locks(), QueryPart(sql.as_ourselves, 2)]
        parts = [*opening, self._update(self.columns(self.done)), sql.commit(durable=True)]
        try:
            session.run_own(b"".join(part.sql for part in parts))
        except SqlFailure as failure:
            session.rollback()
            if failure.sqlstate == failures.CHANGED:
                raise self.changed() from failure
            if failure.sqlstate not in MISSING:
                raise self._recording_failed(failure) from failure
            self._run_own(opening)
            self.create_again(self.done)

    def create_again(self, done: int, *, in_group: bool = False) -> None:
        """In an open transaction, as ourselves: what the file has dropped of ours, with its position; commit.

        ``in_group``: the transaction is the file's, so what its COMMIT makes of the session is not known yet.

        Raises:
            MigrationError: that is not possible; the transaction is rolled back.
        """
        session = self.context.session
        if in_group:
            self._session = None
        try:
            version_table.ensure(session, self.context.table)
            self.context.history.ensure(session)
        except MigrationError:
            session.rollback()
            raise
        self._entered(self._run_own([self.new_entry(done), self.context.sql.commit(durable=True)]))

    def changed(self) -> Unproven:
        """The row or the entry is not what this attempt has written."""
        return self._modified(
            f"{self.context.table} or {HISTORY} was modified by the file or by another session"
        )

    def _modified(self, message: str) -> Unproven:
        return Unproven(
            message,
            file=self.attempt.prepared.step.label,
            hint="finish or undo the file by hand, then force the actual version",
        )

    def check_row_unchanged(self) -> None:
        """The tracking row is still ours after golang-migrate's locks were free for a while.

        Raises:
            Unproven: it is not.
        """
        sql = self.context.sql
        select = b"SELECT xmin FROM " + sql.target + b";"
        results = self._run_own(
            [
                QueryPart(b"BEGIN;", 1),
                QueryPart(sql.as_ourselves, 2),
                QueryPart(select, 1),
                QueryPart(b"COMMIT", 1),
            ]
        )
        row = results[3]
        if row.ntuples != 1 or int(row.get_value(0, 0) or b"0") != self._row_xmin:
            self._foreign_row = True
            raise self._modified(f"{self.context.table} was modified by another session")

    def record(self, error: MigrationError) -> None:
        """The failure's history entry, durable; the row stays dirty."""
        sql, session = self.context.sql, self.context.session
        self.recorded = True
        error.with_effect(self.effect())
        may_pass = error.is_transient and not self.unproven
        columns = self.columns(self.done)
        columns["outcome"] = EntryOutcome.INTERRUPTED if may_pass else EntryOutcome.FAILED
        columns["error"] = error_details(error.info)
        try:
            session.rollback()
            self._run_own([sql.begin(), sql.reset_session_for_us(), sql.reacquire_locks()])
            self._run_own([self._last(columns), sql.commit(durable=True)])
        except (MigrationError, ConnectionLost, errors.Error) as cause:
            session.rollback()
            reason = cause.info.message if isinstance(cause, MigrationError) else str(cause)
            error.with_effect(f"{self.effect()}; recording that failed: {reason}")

    def _last(self, columns: Columns) -> QueryPart:
        """The entry, created again where it is gone, and the dirty row, where the file has changed it."""
        context, sql, session = self.context, self.context.sql, self.context.session
        version = self.attempt.prepared.step.to_version
        version_table.ensure(session, context.table)
        context.history.ensure(session)
        exists = context.history.has(session, self._entry_id)
        entry = columns if exists else {**self.attempt.entry(EntryOutcome.FAILED), **columns}
        if self._foreign_row or version_table.written_by(session, context.table) == [self._row_xmin]:
            insert = QueryPart(context.history.insert(session, entry) + b";", 1)
            return sql.update(self._entry_id, columns) if exists else insert
        if exists:
            return sql.rewrite_row(self._entry_id, version, True, columns)
        return sql.write_row(version, True, entry)

    def effect(self) -> str:
        """What of the file the database holds now."""
        return drift.effect(self.done, len(self.attempt.prepared.statements), self.in_doubt)

    def finish(self) -> None:
        """Reset the session, write the clean row and the entry, in one durable transaction."""
        context, sql, step = self.context, self.context.sql, self.attempt.prepared.step
        self.completed(len(self.attempt.prepared.statements))
        session = context.session
        columns = {**self.columns(self.done), "details": None, "outcome": EntryOutcome.APPLIED}
        try:
            opening = sql.begin(), sql.reset_session_for_us(), sql.reacquire_locks()
            session.run_own(b"".join(part.sql for part in opening))
            version_table.ensure(session, context.table)
            context.history.ensure(session)
            if not context.history.has(session, self._entry_id):
                final = sql.write_row(step.to_version, False, self.attempt.entry(EntryOutcome.APPLIED))
            else:
                final = sql.rewrite_row(self._entry_id, step.to_version, False, columns)
        except SqlFailure as failure:
            session.rollback()
            raise self._recording_failed(failure) from failure
        self._run_own([final, sql.commit(durable=True)])

    def _run_own(self, parts: list[QueryPart]) -> list[abc.PGresult]:
        """Send our own statements as one message; a lost lock ends the run."""
        session = self.context.session
        try:
            return list(session.run_own(b"".join(part.sql for part in parts)))
        except SqlFailure as failure:
            session.rollback()
            raise self._recording_failed(failure) from failure

    def _recording_failed(self, failure: SqlFailure) -> MigrationError:
        return failures.recording_failed(failure, self.context.session, self.attempt.prepared.step.label)
