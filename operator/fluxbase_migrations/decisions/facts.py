"""Facts belong to one database: those of another are dropped before anything is decided from them."""

from dataclasses import replace
from datetime import datetime

from fluxbase_migrations.api.reasons import EventReason
from fluxbase_migrations.api.status import SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.decisions.command_status import refuse_for_former_database, with_database_digest
from fluxbase_migrations.decisions.desired import EventNote


def without_database_facts(record: TrackStatus) -> TrackStatus:
    """The record without anything that was read from a database; a run in flight stays recorded."""
    return replace(
        record,
        version=None,
        dirty=False,
        pending=None,
        applied=(),
        skipped_versions=(),
        warnings=(),
        exposed=None,
        exposures=(),
        recovered=None,
        database=None,
        read_at=None,
        inputs_digest=record.inputs_digest if record.outstanding else None,
        routine=None,
        outcome=None,
        rolled_back=None,
        attempts=record.attempts if record.outstanding else 0,
        waits=0,
        retry_at=None,
        error=None,
        claimed_by=None,
        taken_from=None,
        taken_at=None,
        plan=None,
        approved=None,
    )


def drop_former_database(status: SetStatus, digest: str | None) -> tuple[SetStatus, tuple[EventNote, ...]]:
    """The status without the facts of the database that ``spec.database`` named before."""
    before = status.database_digest
    status = replace(status, database_digest=digest)
    if before in (None, digest):
        return status, ()
    tracks = TracksStatus(
        *(record and without_database_facts(record) for record in (status.tracks.system, status.tracks.user))
    )
    notes: tuple[EventNote, ...] = ()
    if status.database is not None:
        text = f"spec.database changed: the state of {status.database} is no longer shown"
        notes = (EventNote(False, EventReason.DATABASE_CHANGED, text),)
    commands = with_database_digest(status.commands, before)
    return replace(status, database=None, plan=None, tracks=tracks, commands=commands), notes


def reset_for_new_database(status: SetStatus, digest: str) -> tuple[SetStatus, tuple[EventNote, ...]]:
    """As :func:`drop_former_database`, for a set that cannot be reconciled: its tracks become Pending."""
    before = status.database_digest
    status, notes = drop_former_database(status, digest)
    if before in (None, digest):
        return status, ()
    commands, refused = refuse_for_former_database(status)
    tracks = TracksStatus(
        *(record and _waiting(record) for record in (status.tracks.system, status.tracks.user))
    )
    status = replace(status, phase=Phase.PENDING, dirty=None, pending=None, tracks=tracks, commands=commands)
    return status, notes + refused


def _waiting(record: TrackStatus) -> TrackStatus:
    if record.outstanding or record.phase is Phase.SKIPPED:
        return record
    return replace(record, phase=Phase.PENDING, reason=None, message=None, progress=None)


def _read(record: TrackStatus) -> tuple[datetime | None, DatabaseIdentity | None]:
    return record.read_at, record.database


def keep_latest_database(status: SetStatus, before: SetStatus) -> tuple[SetStatus, tuple[EventNote, ...]]:
    """The status with the database that was read last, without the facts of any other.

    ``before`` is the status until now: what it does not have yet was read last, whatever the clocks of the
    nodes say that the runs were on.
    """
    readings = [
        (_read(record) != _read(before.tracks.of(track)), record.read_at, record.database, track)
        for track in Track
        if (record := status.tracks.of(track)).read_at
    ]
    if not readings:
        return replace(status, database=None), ()
    *_, database, track = max(readings, key=lambda reading: reading[:2])
    notes: tuple[EventNote, ...] = ()
    if differs(before.database, database):
        text = f"{track}: the database was replaced: it was {before.database}, now it is {database}"
        notes = (EventNote(True, EventReason.DATABASE_REPLACED, text),)
    tracks = TracksStatus(
        *(
            without_database_facts(record) if record and differs(record.database, database) else record
            for record in (status.tracks.system, status.tracks.user)
        )
    )
    return replace(status, database=database, tracks=tracks), notes
