"""Where each migration of a track stands, from the version row, the history and the files."""

from collections.abc import Sequence
from enum import StrEnum

from fluxbase_migrations.core.files import NIL, Direction, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.history import drift
from fluxbase_migrations.runner.history.entry import Entry, Row, standing


class FileState(StrEnum):
    """Where one version stands, as ``status`` prints it."""

    APPLIED = "applied"
    EDITED = "applied, edited since"
    FILE_GONE = "applied, no file"
    DIRTY = "dirty"
    OUT_OF_ORDER = "out of order"
    """Below the recorded version, and never applied."""
    PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of a track."""

    version: int
    name: str
    """Of its up file, or of the file that was applied."""
    state: FileState
    entry: Entry | None = None
    """The history's entry that applied it or left it dirty; None where no run of ours did."""


def migrations(row: Row, entries: Sequence[Entry], source: MigrationFiles) -> list[Migration]:
    """Every version of the source, of the history and of the row, in order; ``entries`` are oldest first."""
    applied = drift.applied(entries)
    late = {*drift.skipped_versions(entries, source, row.version)}
    failed = standing(row, [*reversed(entries)]) if row.dirty else None
    recorded = [row.version] if row.dirty or row.version > NIL else []
    versions = sorted({*source.versions, *applied, *recorded})
    return [_migration(version, row, applied.get(version), late, failed, source) for version in versions]


def _migration(
    version: int, row: Row, entry: Entry | None, late: set[int], failed: Entry | None, source: MigrationFiles
) -> Migration:
    file = source.get(version, Direction.UP)
    name = file.name if file else (entry.file if entry and entry.file else "")
    if row.dirty and version == row.version:
        return Migration(version, name or (failed.file or "" if failed else ""), FileState.DIRTY, failed)
    if version > row.version:
        return Migration(version, name, FileState.PENDING)
    if version in late:
        return Migration(version, name, FileState.OUT_OF_ORDER)
    if file is None:
        return Migration(version, name, FileState.FILE_GONE, entry)
    if entry is not None and drift.is_edited(entry, file):
        return Migration(version, name, FileState.EDITED, entry)
    return Migration(version, name, FileState.APPLIED, entry)
