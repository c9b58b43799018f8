"""What the parts of the engine share while the lock is held."""

import dataclasses
import time
import uuid
from collections.abc import Sequence
from dataclasses import field
from typing import Any

from fluxbase_migrations.core.errors import DatabaseChanged
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.runner.connection import lock
from fluxbase_migrations.runner.connection.lock import LockIds
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history import database_identity, version_table
from fluxbase_migrations.runner.history.columns import NOW, Value, ago
from fluxbase_migrations.runner.history.database_identity import SessionFacts
from fluxbase_migrations.runner.history.entry import PREVIOUS, REQUEST, EntryKind, EntryOutcome
from fluxbase_migrations.runner.history.history_table import HistoryTable
from fluxbase_migrations.runner.history.other_version_tables import Guard
from fluxbase_migrations.runner.history.session_sql import SessionSql
from fluxbase_migrations.runner.history.session_state import SessionState
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.sql.prepared_file import Prepared


@dataclass(slots=True)
class MigrationSession:
    """The session that holds the lock, and the track that it is held for."""

    session: Session
    table: TableName
    history: HistoryTable
    ids: LockIds
    sql: SessionSql
    log: Log
    stop: Stop
    lock_timeout: float
    database: DatabaseIdentity
    flushed: bool = True
    """False while the last commit may not have reached the disk."""


@dataclass(slots=True)
class Attempt:
    """One attempt to run a file: what the history records of it."""

    prepared: Prepared
    proven: bool = True
    """False where it starts from a state that nothing proves."""
    previous: int | None = None
    """The history's entry that wrote the dirty row from which it starts."""
    request: str | None = None
    """The request that it answers."""
    session: SessionState | None = None
    """A resume: what the session was at the position."""
    in_doubt_checksum: str | None = None
    """A resume at a statement that may have taken effect in part: the checksum of the statements up to and
    including it, as they were then."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.monotonic)
    xid: str | None = None
    """The id of the transaction that its statements run in, as the server gave it."""
    marker: int | None = None
    """The entry written first in this transaction: once another session sees it, the file has committed."""

    @property
    def seconds(self) -> float:
        """Seconds since it began."""
        return time.monotonic() - self.began

    @property
    def details(self) -> dict[str, Any]:
        """For the history: the dirty row that it began from, and the request for it."""
        details = {PREVIOUS: self.previous, REQUEST: self.request}
        return {name: value for name, value in details.items() if value is not None}

    def entry(self, outcome: EntryOutcome, **more: Value) -> dict[str, Value]:
        """The history's columns for this attempt; ``more`` replace those of the same name."""
        step = self.prepared.step
        return {
            "kind": EntryKind.MIGRATION,
            "version": step.version,
            "file": step.file.name if step.file else None,
            "direction": step.direction,
            "checksum": step.file.checksum if step.file else None,
            "from_version": step.from_version,
            "to_version": step.to_version,
            "outcome": outcome,
            "statements": len(self.prepared.statements),
            "proven": self.proven,
            "details": self.details or None,
            "started_at": ago(self.seconds),
            "finished_at": NOW,
            "attempt": self.id,
            **more,
        }


def under_lock(
    session: Session,
    table: TableName,
    history: HistoryTable,
    lock_timeout: float,
    log: Log,
    stop: Stop,
    *,
    create: bool,
    expected: Sequence[DatabaseIdentity] = (),
    guard: Guard | None = None,
) -> MigrationSession:
    """Take the lock on ``session``, and create missing tables if ``create``.

    Raises:
        MigrationError: another session holds the lock, the tables are another program's or cannot be
            created, ``guard`` found another version table, or the database is not ``expected``.
    """
    ids = LockIds.of(table, session.database)
    has_version_table = version_table.exists(session, table)
    has_history = history.exists(session)
    lock.acquire(session, ids, lock_timeout, log)
    facts = database_identity.read(session, history=has_history)
    for database in expected:
        if differs(database, facts.identity):
            raise DatabaseChanged.of(database, facts.identity)
    if guard is not None and not has_version_table:
        guard.check(session, table)
    if create:
        facts = _create_missing(session, table, history, facts)
    own_timeouts = max(1, round(lock_timeout * 1000))
    sql = SessionSql(session, table, history, ids, facts.weak_commit, facts.role, own_timeouts)
    return MigrationSession(session, table, history, ids, sql, log, stop, lock_timeout, facts.identity)


def create_missing(context: MigrationSession) -> None:
    """Create what :func:`under_lock` was told not to create.

    Raises:
        MigrationError: the tables are another program's or cannot be created.
    """
    facts = database_identity.read(context.session, history=context.history.exists(context.session))
    facts = _create_missing(context.session, context.table, context.history, facts)
    context.database = facts.identity


def _create_missing(
    session: Session, table: TableName, history: HistoryTable, facts: SessionFacts
) -> SessionFacts:
    """Create both tables and the history's id; returns the facts with that id."""
    version_table.ensure(session, table)
    history.ensure(session)
    history.require(session)
    if facts.identity.history_id is not None:
        return facts
    database_identity.write_history_id(session, history.done_by)
    return database_identity.read(session, history=True)


def error_details(info: ErrorInfo) -> dict[str, Any]:
    """An :class:`ErrorInfo` for the history, without its empty fields."""
    return {key: value for key, value in dataclasses.asdict(info).items() if value is not None}
