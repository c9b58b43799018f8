"""A track of a database while we hold its lock: the session, the version row, the history."""

from collections.abc import Callable, Sequence
from typing import Any, Final

from psycopg import errors

from fluxbase_migrations.core.errors import ForeignTable, InternalError, MigrationError, ServerRefused
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.log_lines import FROM_SERVER
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.connect import read_only_server
from fluxbase_migrations.runner.connection.lock_waits import LockWaits
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history import history_writer, version_table
from fluxbase_migrations.runner.history.columns import Value
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, EntryOutcome, Row
from fluxbase_migrations.runner.history.history_table import HistoryTable
from fluxbase_migrations.runner.history.migration_session import MigrationSession, create_missing, under_lock
from fluxbase_migrations.runner.history.other_version_tables import Guard
from fluxbase_migrations.runner.log import Log

_REOPENINGS: Final = 3
"""How often a connection that is lost again at once is opened again."""


class LockedTrack:
    """Holds the lock from :meth:`open` to :meth:`close`; a context manager, which opens on entry."""

    def __init__(
        self,
        connect: Callable[[], Session],
        table: TableName,
        log: Log,
        stop: Stop,
        *,
        label: str,
        lock_timeout: float,
        guard: Guard | None = None,
        expected: Sequence[DatabaseIdentity] = (),
    ) -> None:
        """``label`` is the track's name in log lines; ``lock_timeout`` is in seconds.

        ``guard`` searches, where the track has no version, for another version table.
        """
        self._connect = connect
        self.table = table
        self.log = log
        self.stop = stop
        self.label = label
        self._lock_timeout = lock_timeout
        self._guard = guard
        self._expected = expected
        self._history = HistoryTable(table)
        self._entries: list[Entry] | None = None
        self._context: MigrationSession | None = None
        self._running: dict[str, Any] = {"source": label}
        self.row = Row()
        """The version row as it was last read or written."""
        self.observed = False
        """Whether :attr:`row` is known."""
        self.database: DatabaseIdentity | None = None
        """Which database this is, as it was last read."""

    def __enter__(self) -> "LockedTrack":
        self.open()
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    @property
    def session(self) -> Session:
        """The session that holds the lock."""
        return self.context.session

    @property
    def context(self) -> MigrationSession:
        """What the engine's parts share."""
        if self._context is None:
            raise InternalError("the track is not open")
        return self._context

    def open(self, *, create: bool = True, guarded: bool = True) -> None:
        """Connect, take the lock, create what is missing (if ``create``), and read the row.

        Raises:
            MigrationError: see :mod:`fluxbase_migrations.core.errors`.
        """
        for _ in range(_REOPENINGS):
            try:
                return self._open(create, guarded)
            except errors.ReadOnlySqlTransaction:
                # It became so after the check; connecting again waits until that has passed.
                self.log.warn("the server accepts no writes, connecting again", source=self.label)
        raise read_only_server()

    def _open(self, create: bool, guarded: bool) -> None:
        session = self._connect()
        try:
            session.on_notice(self._notice)
            session.lock_waits = LockWaits(session, self.log, lambda: self._running)
            self._name_table(self.table.resolved(session))
            limits = self._lock_timeout, self.log, self.stop
            guard = self._guard if create and guarded else None
            # What was read before a loss holds in that database only.
            last_known = () if self.database is None else (self.database,)
            self._context = under_lock(
                session,
                self.table,
                self._history,
                *limits,
                create=create,
                expected=(*self._expected, *last_known),
                guard=guard,
            )
            self.database = self._context.database
            self.refresh()
            if guard is not None:
                self.check_other_tables()
        except ForeignTable:
            self._context = None
            self.row, self.observed = Row(), True  # it is refused only where our table has no version
            session.close()
            raise
        except BaseException:
            self._context = None
            session.close()
            raise

    def create_missing(self) -> None:
        """Create the tables that :meth:`open` was told not to create; the lock is held throughout.

        Raises:
            MigrationError: they cannot be created.
        """
        create_missing(self.context)
        self.database = self.context.database

    def announce(self, message: str, **fields: Any) -> None:
        """Log that a file begins; lines about it while it runs have the same fields."""
        self._running = {**fields, "source": self.label}
        self.log.info(message, **self._running)

    def _name_table(self, table: TableName) -> None:
        if table != self.table:
            self.table, self._history = table, HistoryTable(table)

    def check_other_tables(self) -> None:
        """Check that no other version table says that the files were applied, where ours has no version.

        Raises:
            ForeignTable: one does.
        """
        if self._guard is not None and self.row.xmin is None:
            self._guard.check(self.session, self.table)

    def reopen(self) -> None:
        """Open again after a loss; a server that goes down may take a connection and end it at once.

        Raises:
            MigrationError: see :meth:`open`.
        """
        self.close()
        self.forget()
        for _ in range(_REOPENINGS):
            try:
                return self.open(create=False)
            except failures.LOST:
                continue
        return self.open(create=False)

    def close(self) -> None:
        """End the session, and with it the lock."""
        if self._context is not None:
            self._context.session.close()
            self._context = None

    def refresh(self) -> Row:
        """Read the version row from the database, and keep it as :attr:`row`."""
        self.row = version_table.peek(self.session, self.table)
        self.observed = True
        return self.row

    def refresh_if_possible(self) -> None:
        """Read the row after an error: it is reported as it was read, never as it was meant."""
        try:
            self.refresh()
        except (errors.Error, MigrationError):
            self.observed = False

    def entries(self) -> list[Entry]:
        """This track's history, oldest first; read once."""
        if self._entries is None:
            self._entries = self._history.entries(self.session) if self._history.exists(self.session) else []
        return self._entries

    def forget(self) -> None:
        """Read the history again when it is next needed: it was written."""
        self._entries = None

    def is_obeyed(self, kind: EntryKind, token: str) -> bool:
        """Whether the command of this kind with this token was obeyed already."""
        return any((entry.kind, entry.token) == (kind, token) for entry in self.entries())

    def record(self, kind: EntryKind, outcome: EntryOutcome, **more: Value) -> None:
        """Write an entry that is about no file, durably."""
        history_writer.write_entry(self.context, kind, outcome, **more)
        self.forget()

    def flush(self) -> None:
        """Make the last commit durable before it is reported."""
        if self._context is None or self.context.flushed:
            return
        self.record(EntryKind.MIGRATION, EntryOutcome.INTERRUPTED)

    def force(self, version: int, token: str | None = None) -> None:
        """Record ``version``, clean, whatever was there; -1 is nothing applied."""
        self.write_row(version, EntryKind.FORCE, token, **{"from": str(self.row)})

    def baseline(self, version: int, origin: TableName | None) -> None:
        """Record ``version``, clean, of a database that another tool migrated: its table, if known.

        Raises:
            ServerRefused: a version is recorded already.
        """
        if self.row.xmin is not None:
            raise ServerRefused(
                f"{self.table} records version {self.row} already; a baseline never changes what is recorded",
                hint=f"to change it: force {version}",
            )
        self.write_row(version, EntryKind.BASELINE, **({"from": str(origin)} if origin else {}))

    def write_row(self, version: int, kind: EntryKind, token: str | None = None, **details: object) -> None:
        """Write a clean version row, with its entry in the history."""
        history_writer.write_row(self.context, self.row.version, version, kind, token, details)
        self.forget()
        self.refresh()

    def _notice(self, diagnostic: errors.Diagnostic) -> None:
        """WARNINGs, and what a file RAISEs itself; not every "already exists, skipping"."""
        text = self.session.scrub(diagnostic.message_primary or "") if self._context else ""
        if not text:
            return
        # What to do about it, where the file says so: the statement for an administrator, for instance.
        hint = self.session.scrub(diagnostic.message_hint or "")
        advice = {"hint": hint} if hint else {}
        if diagnostic.severity_nonlocalized == "WARNING":
            self.log.warn(FROM_SERVER, warning=text, source=self.label, **advice)
        elif diagnostic.source_function == "exec_stmt_raise":
            self.log.info(FROM_SERVER, notice=text, source=self.label, **advice)
