"""What the history knows about the past: files edited after they were applied, files that came too late."""

import bisect
from collections.abc import Sequence

from fluxbase_migrations.core.files import NIL, Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.runner.history.entry import UNCHANGED, Entry, EntryKind, EntryOutcome


def applied(entries: Sequence[Entry]) -> dict[int, Entry]:
    """The entries that applied what is applied now, by version; ``entries`` are oldest first."""
    by_version: dict[int, Entry] = {}
    for entry in entries:
        if entry.outcome != EntryOutcome.APPLIED or entry.version is None:
            continue
        if entry.kind in (EntryKind.FORCE, EntryKind.BASELINE):
            by_version = {version: by_version[version] for version in by_version if version <= entry.version}
        elif entry.kind is EntryKind.MIGRATION and entry.direction == Direction.UP:
            by_version[entry.version] = entry
        elif entry.kind is EntryKind.MIGRATION:
            by_version.pop(entry.version, None)
    return by_version


def is_edited(entry: Entry, file: MigrationFile) -> bool:
    """Whether the file has other content than the one that was applied."""
    return entry.checksum is not None and file.checksum != entry.checksum


def drifted(entries: Sequence[Entry], source: MigrationFiles) -> list[str]:
    """A warning for each version whose file has other content than the one that was applied."""
    texts = []
    for version, entry in sorted(applied(entries).items()):
        file = source.get(version, Direction.UP)
        if file is not None and is_edited(entry, file):
            texts.append(_drift(entry, file.name))
    return texts


def _drift(entry: Entry, name: str) -> str:
    if entry.file in (None, name):
        return f"{name} was edited after it was applied; the database keeps what it did then"
    # Most likely renumbered, or of a directory that belongs to another database.
    return (
        f"version {entry.version} was applied as {entry.file}, not {name}; the database keeps what that did"
    )


def skipped_versions(entries: Sequence[Entry], source: MigrationFiles, current: int) -> list[int]:
    """Versions in the source below ``current`` that were passed over when they were not there yet.

    Only what the history saw counts: a database that golang-migrate brought to ``current`` holds them all.
    """
    done = applied(entries)
    skipped: set[int] = set()
    for entry in done.values():
        lower = NIL if entry.from_version is None else entry.from_version
        upper = entry.version if entry.version is not None else lower
        # Only the versions between, by bisection: usually none, and there may be ten thousand entries.
        start = bisect.bisect_right(source.versions, lower)
        end = bisect.bisect_left(source.versions, min(upper, current + 1))
        skipped.update(
            version
            for version in source.versions[start:end]
            if version not in done and source.get(version, Direction.UP) is not None
        )
    return sorted(skipped)


def entry_of(entries: Sequence[Entry], attempt: str) -> Entry | None:
    """The entry of the attempt with this id; None if it was never written, or is gone."""
    return next((entry for entry in entries if entry.attempt == attempt), None)


def effect_of(entries: Sequence[Entry], attempt: str) -> str | None:
    """What an attempt without a recorded end left, for a message; None if its file took effect."""
    entry = entry_of(entries, attempt)
    if entry is None:
        return UNCHANGED
    if entry.outcome == EntryOutcome.APPLIED:
        return None
    return effect(entry.done or 0, entry.statements, entry.in_doubt)


def effect(done: int, total: int | None, in_doubt: int | None = None) -> str:
    """What of a file the database holds, in words."""
    of_total = "" if total is None else f" of {total}"
    took_effect = (
        f"statement{'s 1 to' if done > 1 else ''} {done}{of_total} took effect"
        if done
        else "no statement took effect"
    )
    if in_doubt is None:
        return took_effect
    rest = f"; {took_effect}" if done else ""
    return f"statement {in_doubt}{of_total} may have taken effect in part{rest}"
