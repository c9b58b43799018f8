"""The history's entries: what was done to a track, by whom, and how far it got.

An entry proves something about the present only if it wrote the present tracking row: it holds that row's
``xmin``. A row with another ``xmin`` was written by another program since (golang-migrate, psql).
"""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.lazy_dataclass import dataclass

UNCHANGED: Final = "rolled back, nothing changed"
"""The effect of an atomic file that failed, as errors and entries have it."""
PREVIOUS: Final = "previous"
"""In the details of an attempt at a dirty row: the entry that wrote that row."""
REQUEST: Final = "request"
"""In the details of an attempt at a dirty row: the request that it was made for."""
SESSION: Final = "session"
"""In the details: what the session was at the position; null where that is not known."""
MEANING: Final = "meaning"
"""In the details: the checksum of what the statement in doubt says, whatever its white space and case."""
AFTER: Final = "after"
"""In the details: the checksum of the statements up to and including the one in doubt."""


@dataclass(frozen=True, slots=True)
class Row:
    """The tracking row as read; ``xmin`` identifies the transaction that wrote it."""

    version: int = NIL
    dirty: bool = False
    xmin: int | None = None

    def __str__(self) -> str:
        """As golang-migrate's ``version`` prints it."""
        return f"{self.version} (dirty)" if self.dirty else str(self.version)


class EntryKind(StrEnum):
    """What an entry is about."""

    MIGRATION = "migration"
    FORCE = "force"
    BASELINE = "baseline"
    """The first version of a database that was migrated by something else."""
    OWNER = "owner"
    RECOVERY = "recovery"
    IDENTITY = "identity"
    """Of the history itself; see :mod:`fluxbase_migrations.runner.history.database_identity`."""


class EntryOutcome(StrEnum):
    """How an entry ended."""

    RUNNING = "running"
    APPLIED = "applied"
    FAILED = "failed"
    INTERRUPTED = "interrupted"
    """By a signal or a fault that may pass."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry, as far as the engine needs it."""

    id: int
    kind: EntryKind
    version: int | None
    file: str | None
    direction: str | None
    checksum: str | None
    from_version: int | None
    to_version: int | None
    outcome: str
    statements: int | None
    done: int | None
    done_checksum: str | None
    in_doubt: int | None
    proven: bool
    error: dict[str, Any] | None
    details: dict[str, Any]
    token: str | None
    attempt: str
    started_at: datetime
    finished_at: datetime | None
    done_by: str
    row_xmin: int | None

    def wrote(self, row: Row) -> bool:
        """Whether this entry wrote the present tracking row."""
        return row.xmin is not None and self.row_xmin == row.xmin


def standing(row: Row, entries: Sequence[Entry]) -> Entry | None:
    """The entry that says what the dirty ``row``'s file has left; None if no entry does.

    It is the entry that wrote the row, unless that attempt ended before anything took effect: then what the
    database holds is still what an earlier attempt left, from which it began.
    """
    writers = (entry for entry in entries if entry.kind is EntryKind.MIGRATION and entry.wrote(row))
    last = next(writers, None)
    by_id = {entry.id: entry for entry in entries}
    entry = last
    while entry is not None and not entry.done and entry.in_doubt is None:
        entry = by_id.get(entry.details.get(PREVIOUS, 0))
        if entry is not None and (entry.done or entry.in_doubt is not None):
            return entry
    return last
