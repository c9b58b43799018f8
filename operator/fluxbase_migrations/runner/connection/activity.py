"""What the server does for a session right now: for whom it waits, and how far an index has come.

Asked on a second, short connection, as in ``lock_waits``; only a terminal's live line needs it.
"""

from typing import TYPE_CHECKING, Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection import lock_waits
from fluxbase_migrations.runner.connection.lock_waits import LockWait

if TYPE_CHECKING:
    from fluxbase_migrations.runner.connection.session import Session


@dataclass(frozen=True, slots=True)
class Activity:
    """What a session's backend does right now."""

    wait: LockWait | None = None
    index_phase: str | None = None
    """PostgreSQL's own name of it, while an index is built."""
    index_percent: int | None = None
    """Of that phase; None where the server does not count."""


def read_activity(session: "Session") -> Activity:
    """Ask the server what the session's backend does.

    Raises:
        Exception: the server could not be asked.
    """
    *_, locks, holders, index = lock_waits.answers_about(session, lock_waits.QUESTION + _INDEX)
    wait = lock_waits.wait_of(locks, holders)
    if not index:
        return Activity(wait)
    phase, *counts = index[0]
    return Activity(wait, phase, percent([int(count or 0) for count in counts]))


def percent(counts: list[int]) -> int | None:
    """Of blocks done and in all, or else of tuples; None where neither is counted."""
    for done, total in zip(counts[::2], counts[1::2], strict=True):
        if total > 0:
            return min(100, done * 100 // total)
    return None


_INDEX: Final = """;
SELECT phase, blocks_done, blocks_total, tuples_done, tuples_total
  FROM pg_stat_progress_create_index
 WHERE pid = %(pid)d
"""
