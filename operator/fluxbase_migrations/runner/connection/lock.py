"""The migration lock: three advisory locks on the session that runs the files.

golang-migrate hashes the database's name with the URL's slash when it is opened by URL, and without it when
it is opened by connection; the two ids do not exclude each other, so both are taken, after our own. They
are polled, never waited for: a waiter inside ``pg_advisory_lock`` holds a snapshot, and CREATE INDEX
CONCURRENTLY would wait for that (golang-migrate#960).
"""

import hashlib
import random
import time
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from fluxbase_migrations.core.errors import Interrupted, LockHeld
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection import queries
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.log import Log

_SALT: Final = 1486364155
_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 0.5
_LOG_EVERY: Final = 30.0


def golang_migrate_id(table: TableName, database: str) -> int:
    """golang-migrate's lock id: crc32 of schema, table and database, times a salt, as 32 unsigned bits."""
    text = "\0".join((table.schema, table.name, database)).encode()
    return zlib.crc32(text) * _SALT % 2**32


def own_id(table: TableName) -> int:
    """Our own lock id: 64 bits, so that it cannot be one of golang-migrate's, which have 32."""
    digest = hashlib.sha256(f"fluxbase-migrations\0{table.schema}\0{table.name}".encode()).digest()
    return int.from_bytes(digest[:8], "big", signed=True) | 1 << 40


@dataclass(frozen=True, slots=True)
class LockIds:
    """The three ids, in the order in which they are taken."""

    own: int
    golang: tuple[int, int]

    @classmethod
    def of(cls, table: TableName, database: str) -> "LockIds":
        """For one tracking table in one database."""
        return cls(
            own_id(table), (golang_migrate_id(table, "/" + database), golang_migrate_id(table, database))
        )

    @property
    def all(self) -> tuple[int, int, int]:
        """Own, slash form, plain form."""
        return (self.own, *self.golang)


def acquire(session: Session, ids: LockIds, timeout: float, log: Log) -> None:
    """Take every id within ``timeout`` seconds.

    Raises:
        LockHeld: another session holds one; the message names it.
        Interrupted: a signal arrived.
    """
    began = time.monotonic()
    pause, logged = _FIRST_PAUSE, began - _LOG_EVERY + 1
    while (held := _try(session, ids.all)) is not None:
        now = time.monotonic()
        if session.stop.signal is not None:
            raise Interrupted(f"{session.stop.signal} received while waiting for the migration lock")
        if now - began >= timeout:
            who = holder(session, held)
            raise LockHeld(
                f"could not take the migration lock within {timeout:g} s: {who}",
                hint="wait until that migration is done, or raise the lock timeout",
            )
        if now - logged >= _LOG_EVERY:
            log.info("waiting for the migration lock", holder=holder(session, held))
            logged = now
        time.sleep(min(pause * random.uniform(0.5, 1.5), max(0.0, began + timeout - now)))
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def retake(session: Session, ids: tuple[int, ...], timeout: float) -> None:
    """Take ids that were released for a while, whatever signal has come: a row is still to be written.

    Raises:
        LockHeld: another session holds one.
    """
    deadline = time.monotonic() + timeout
    while (held := _try(session, ids)) is not None:
        if time.monotonic() > deadline:
            raise LockHeld(f"could not take the migration lock again: {holder(session, held)}")
        time.sleep(_FIRST_PAUSE)


@contextmanager
def golang_released(session: Session, ids: LockIds, patience: float) -> Iterator[None]:
    """Let golang-migrate's waiters have their locks for a while, under a dirty row that is durable.

    A waiter sits in ``SELECT pg_advisory_lock(…)`` with a snapshot that a CONCURRENTLY statement would wait
    for; woken, it sees the dirty row and refuses.

    Raises:
        LockHeld: another session holds one of them for more than ``patience`` seconds.
    """
    release(session, ids.golang)
    yield
    if not session.lost:
        retake(session, ids.golang, patience)


def _try(session: Session, ids: tuple[int, ...]) -> int | None:
    """The first id that another session holds; those taken before it are released again.

    One query for all: CASE stops at the first that is not free.
    """
    branches = (
        f" WHEN NOT pg_catalog.pg_try_advisory_lock({lock_id:d}) THEN {position:d}"
        for position, lock_id in enumerate(ids)
    )
    ((position,),) = queries.run(session.pgconn, f"SELECT CASE{''.join(branches)} END".encode())
    if position is None:
        return None
    release(session, ids[:position])
    return ids[int(position)]


def release(session: Session, ids: tuple[int, ...]) -> None:
    """Give up ``ids``, each taken once."""
    for lock_id in reversed(ids):
        session.query("SELECT pg_catalog.pg_advisory_unlock(%s::bigint)", (lock_id,))


def holder(session: Session, lock_id: int) -> str:
    """Who holds the lock: backend pid, application and address, as far as we may see them."""
    unsigned = lock_id % 2**64
    rows = session.query(
        "SELECT l.pid, a.application_name, a.client_addr::pg_catalog.text, a.usename::pg_catalog.text"
        " FROM pg_catalog.pg_locks l LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = l.pid"
        " WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1"
        " AND l.database = (SELECT d.oid FROM pg_catalog.pg_database d"
        "                   WHERE d.datname = pg_catalog.current_database())"
        " AND l.classid::pg_catalog.int8 = %s::bigint AND l.objid::pg_catalog.int8 = %s::bigint",
        (unsigned >> 32, unsigned % 2**32),
    )
    if not rows:
        return "its holder has just released it"
    pid, application, address, user = rows[0]
    name = f" ({application})" if application else ""
    return f"it is held by backend {pid}{name}, user {user or 'unknown'}, from {address or 'a local socket'}"
