"""The locks that a statement really has: asked in its own transaction, or beside it while it runs."""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import field
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.lookahead.facts import qualified
from fluxbase_migrations.runner.lookahead.modes import Lock

EVERY: Final = 0.001
"""Seconds between two samples of a statement that runs outside a transaction."""
_RELATIONS: Final = (
    "SELECT c.oid, n.nspname, c.relname FROM pg_catalog.pg_class c"
    " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast') AND c.relpersistence <> 't'"
)
_LOCKS: Final = (
    "SELECT relation, mode FROM pg_catalog.pg_locks WHERE pid = %s AND locktype = 'relation'"
    " AND database = (SELECT oid FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database())"
)

Locks = Mapping[str, Lock]
"""The strongest lock on each relation, by its name."""


def relations(session: Session) -> dict[int, str]:
    """The names of all existing relations by OID; no other session can wait for what the files create."""
    return {oid: qualified(schema, name) for oid, schema, name in session.query(_RELATIONS)}


def locks(session: Session, pid: int, names: Mapping[int, str]) -> dict[str, Lock]:
    """What the backend ``pid`` has, or waits for."""
    strongest: dict[str, Lock] = {}
    for oid, mode in session.query(_LOCKS, (pid,)):
        lock = Lock.of_pg_locks(mode)
        if oid in names and lock is not None:
            strongest[names[oid]] = stronger(strongest.get(names[oid]), lock)
    return strongest


def stronger(first: Lock | None, second: Lock) -> Lock:
    """The stronger lock of two, of which the first may be missing."""
    return second if first is None or second.strength > first.strength else first


def newly_taken(before: Locks, after: Locks) -> dict[str, Lock]:
    """What a statement has taken in a transaction that had locks before."""
    return {name: lock for name, lock in after.items() if before.get(name) is not lock}


@dataclass(slots=True)
class Sampler:
    """Samples the locks of another session, on a connection of its own."""

    session: Session
    names: Mapping[int, str]
    strongest: dict[str, Lock] = field(default_factory=dict)

    @contextmanager
    def watching(self, pid: int) -> Iterator[None]:
        """Sample while the block runs; :attr:`strongest` has the result afterwards."""
        self.strongest = {}
        self._sample(pid)  # whatever a query imports is imported before the thread begins
        ended = threading.Event()
        thread = threading.Thread(target=self._until, args=(pid, ended.wait), daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _until(self, pid: int, ended: Callable[[float], bool]) -> None:
        while not ended(EVERY):
            try:
                self._sample(pid)
            except Exception:  # the statement goes on without its locks being sampled
                return

    def _sample(self, pid: int) -> None:
        for name, lock in locks(self.session, pid, self.names).items():
            self.strongest[name] = stronger(self.strongest.get(name), lock)
