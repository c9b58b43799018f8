"""The baseline that a set names: the version of a database that another tool has migrated.

It is recorded once, in a database that has no version yet and is not empty. In an empty database, such as a
new environment from the same manifest, every file runs: there the baseline would leave files out.
"""

from collections.abc import Sequence
from typing import Final

from fluxbase_migrations.core.errors import TargetNotFound
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.names import HISTORY_TABLE, TRACKING_TABLE, Track
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.execution.locked_track import LockedTrack
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, EntryOutcome
from fluxbase_migrations.runner.history.gaps import refuse_gaps

_OF_THE_PLATFORM: Final = ["auth", "webhooks", "storage", "jobs", "functions"]
"""Schemas that the built-in system migrations create: what is in them says nothing about the user track."""

_ANYTHING: Final = """
SELECT n.nspname, c.relname
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relpersistence <> 't'
  AND n.nspname::text !~ '^pg_' AND n.nspname <> 'information_schema'
  AND NOT n.nspname::text = ANY (%s::text[])
  AND NOT pg_catalog.concat(n.nspname, '.', c.relname) = ANY (%s::text[])
  AND NOT EXISTS (SELECT FROM pg_catalog.pg_depend d
                  WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.objid = c.oid
                    AND d.deptype = 'e')
LIMIT 1
"""
"""A relation that neither an extension, nor the platform, nor any migration tool has created."""


def record(
    track: LockedTrack, name: Track, version: int, source: MigrationFiles, known: Sequence[TableName]
) -> int | None:
    """Record ``version`` where :func:`due` says so; returns it if that was done.

    Raises:
        MigrationError: see :func:`due`.
    """
    if due(track, name, version, source, known) is None:
        return None
    track.baseline(version, None)
    track.log.info("baseline recorded", source=track.label, version=version)
    return version


def due(
    track: LockedTrack, name: Track, version: int, source: MigrationFiles, known: Sequence[TableName]
) -> int | None:
    """``version`` if it is to be recorded: the track has none, and the database is in use.

    Args:
        track: The open track.
        name: Which of the two it is.
        version: The baseline.
        source: The files, which must have that version.
        known: Tables whose presence says nothing about the track's files.

    Raises:
        TargetNotFound: the source has no such version.
        OutOfOrderError: the tool that recorded the version left out a file below it.
    """
    if track.row.xmin is not None or any(map(_has_moved, track.entries())):
        return None  # only for the first run: a database that was rolled back stays rolled back
    if _is_empty(track, name, known):
        track.log.info(
            "the database is empty: all files are run, the baseline is not recorded",
            source=track.label,
            baseline=version,
        )
        return None
    if version not in source.versions:
        raise TargetNotFound.baseline(version, source.versions)
    refuse_gaps(track.session, version, source.versions, None, known)
    return version


def _has_moved(entry: Entry) -> bool:
    """Whether the track has had a version."""
    if entry.kind is EntryKind.MIGRATION:
        return entry.outcome == EntryOutcome.APPLIED
    return entry.kind in (EntryKind.FORCE, EntryKind.BASELINE, EntryKind.RECOVERY)


def _is_empty(track: LockedTrack, name: Track, known: Sequence[TableName]) -> bool:
    own = [TableName(*table) for table in TRACKING_TABLE.values()]
    own += [TableName(own[0].schema, HISTORY_TABLE), track.table, *known]
    schemas = _OF_THE_PLATFORM if name is Track.USER else []
    return not track.session.query(_ANYTHING, (schemas, [str(table) for table in own]))
