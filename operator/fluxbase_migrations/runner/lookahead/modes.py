"""PostgreSQL's table lock modes, and what each of them blocks (its manual, "Explicit Locking")."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Lock(StrEnum):
    """The table lock modes, weakest first, in the words of ``LOCK TABLE``."""

    ACCESS_SHARE = "ACCESS SHARE"
    ROW_SHARE = "ROW SHARE"
    ROW_EXCLUSIVE = "ROW EXCLUSIVE"
    SHARE_UPDATE_EXCLUSIVE = "SHARE UPDATE EXCLUSIVE"
    SHARE = "SHARE"
    SHARE_ROW_EXCLUSIVE = "SHARE ROW EXCLUSIVE"
    EXCLUSIVE = "EXCLUSIVE"
    ACCESS_EXCLUSIVE = "ACCESS EXCLUSIVE"

    @property
    def strength(self) -> int:
        """1 to 8, as ``LockTableStmt`` and PostgreSQL's sources number them."""
        return _ORDER.index(self) + 1

    @classmethod
    def of_pg_locks(cls, mode: str) -> "Lock | None":
        """From the name in ``pg_locks``, like ``AccessShareLock``; None for one that no table has."""
        return _PG_LOCKS.get(mode)

    @classmethod
    def of_strength(cls, number: int) -> "Lock":
        """The mode of that number."""
        return _ORDER[number - 1]

    @property
    def blocks(self) -> "tuple[Blocks, ...]":
        """Whose statements wait for the end of the transaction that holds it."""
        conflicts = CONFLICTS[self]
        return tuple(who for who, theirs in _TAKES.items() if theirs in conflicts)


class Blocks(StrEnum):
    """The work of other sessions that a lock can block."""

    READS = "reads"
    WRITES = "writes"
    DDL = "DDL"


_ORDER: Final = tuple(Lock)
_PG_LOCKS: Final = {f"{lock.title().replace(' ', '')}Lock": lock for lock in _ORDER}
_TAKES: Final = {
    Blocks.READS: Lock.ACCESS_SHARE,
    Blocks.WRITES: Lock.ROW_EXCLUSIVE,
    Blocks.DDL: Lock.ACCESS_EXCLUSIVE,
}
"""The lock of SELECT; of INSERT, UPDATE, DELETE; of most of ALTER TABLE, DROP and TRUNCATE."""

CONFLICTS: Final[Mapping[Lock, frozenset[Lock]]] = {
    Lock.ACCESS_SHARE: frozenset(_ORDER[7:]),
    Lock.ROW_SHARE: frozenset(_ORDER[6:]),
    Lock.ROW_EXCLUSIVE: frozenset(_ORDER[4:]),
    Lock.SHARE_UPDATE_EXCLUSIVE: frozenset(_ORDER[3:]),
    Lock.SHARE: frozenset({Lock.ROW_EXCLUSIVE, Lock.SHARE_UPDATE_EXCLUSIVE, *_ORDER[5:]}),
    Lock.SHARE_ROW_EXCLUSIVE: frozenset(_ORDER[2:]),
    Lock.EXCLUSIVE: frozenset(_ORDER[1:]),
    Lock.ACCESS_EXCLUSIVE: frozenset(_ORDER),
}
