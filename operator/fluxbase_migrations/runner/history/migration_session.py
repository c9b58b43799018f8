"""What every part of the engine needs at hand while it holds the lock."""

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
from fluxbase_migrations.runner.connection.session_state import SessionState
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history import database_identity, version_table
from fluxbase_migrations.runner.history.history_table import (
    PREVIOUS,
    REQUEST,
    EntryKind,
    HistoryTable,
    as_json,
)
from fluxbase_migrations.runner.history.other_version_tables import Guard
from fluxbase_migrations.runner.history.session_sql import SessionSql
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.sql.prepared_file import Prepared


@dataclass(slots=True)
class MigrationSession:
    """One session, one track."""

    session: Session
    table: TableName
    ledger: HistoryTable
    ids: LockIds
    book: SessionSql
    log: Log
    stop: Stop
    lock_timeout: float
    database: DatabaseIdentity
    flushed: bool = True
    """False while the last commit may not have reached the disk."""


@dataclass(slots=True)
class Attempt:
    """One try at one file."""

    prepared: Prepared
    proven: bool = True
    """False where it starts from a state that nothing proves."""
    previous: int | None = None
    """The ledger's entry that wrote the dirty row from which it starts."""
    request: str | None = None
    """The request that it answers."""
    session: SessionState | None = None
    """A resume: what the session was at the position."""
    doubt: str | None = None
    """A resume at a statement that may have taken effect in part: the checksum of the statements up to and
    including it, as they were then."""
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    began: float = field(default_factory=time.monotonic)
    xid: str | None = None
    """The id of the transaction that its statements run in, as the server gave it."""
    marker: int | None = None
    """The entry that this transaction began with: one that is seen from outside was committed by the file."""

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self.began

    @property
    def details(self) -> dict[str, Any]:
        """From what it began."""
        found = {PREVIOUS: self.previous, REQUEST: self.request}
        return {name: value for name, value in found.items() if value is not None}

    def entry(self, session: Session, outcome: str, **more: bytes) -> dict[str, bytes]:
        """The ledger's columns for this attempt, as SQL expressions."""
        step, literal = self.prepared.step, session.literal
        file = step.file
        return {
            "kind": b"'" + EntryKind.MIGRATION.encode() + b"'",
            "version": literal(step.version),
            "file": literal(file.name if file else None),
            "direction": b"'" + step.direction.encode() + b"'",
            "checksum": literal(file.checksum if file else None),
            "from_version": literal(step.from_version),
            "to_version": literal(step.to_version),
            "outcome": b"'" + outcome.encode() + b"'",
            "statements": literal(len(self.prepared.statements)),
            "proven": b"true" if self.proven else b"false",
            "details": as_json(session, self.details or None),
            "started_at": b"pg_catalog.clock_timestamp() OPERATOR(pg_catalog.-) '%.3f s'::pg_catalog.interval"
            % self.seconds,
            "finished_at": b"pg_catalog.clock_timestamp()",
            "attempt": b"'" + self.id.encode() + b"'",
            **more,
        }


def under_lock(
    session: Session,
    table: TableName,
    ledger: HistoryTable,
    lock_timeout: float,
    log: Log,
    stop: Stop,
    *,
    create: bool,
    expected: Sequence[DatabaseIdentity] = (),
    guard: Guard | None = None,
) -> MigrationSession:
    """Take the lock on ``session``, and create what is missing if told to.

    Raises:
        MigrationError: somebody else holds the lock, the tables are not ours or cannot be made, or ``guard``
            found another version table, or the database is not one of the ``expected``.
    """
    ids = LockIds.of(table, session.database)
    there = version_table.exists(session, table)
    history = ledger.exists(session)
    lock.acquire(session, ids, lock_timeout, log)
    facts = database_identity.read(session, history=history)
    for wanted in expected:
        if differs(wanted, facts.identity):
            raise DatabaseChanged.of(wanted, facts.identity)
    if guard is not None and not there:
        guard.look(session, table)
    if create:
        version_table.ensure(session, table)
        ledger.ensure(session)
        ledger.require(session)
        if facts.identity.history_id is None:
            database_identity.write_history_id(session, ledger.done_by)
            facts = database_identity.read(session, history=True)
    patience = max(1, round(lock_timeout * 1000))
    book = SessionSql(session, table, ledger, ids, facts.weak_commit, facts.role, patience)
    return MigrationSession(session, table, ledger, ids, book, log, stop, lock_timeout, facts.identity)


def error_json(session: Session, info: ErrorInfo) -> bytes:
    """An :class:`ErrorInfo` as a jsonb literal, without its empty fields."""
    return as_json(
        session, {key: value for key, value in dataclasses.asdict(info).items() if value is not None}
    )
