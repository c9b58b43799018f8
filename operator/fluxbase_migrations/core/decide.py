"""What to do next about one set: one pure function from what was observed to status, actions and Events."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from fluxbase_migrations.core import facts, summary
from fluxbase_migrations.core.actions import Action, CreateJob, Decision, DeleteJob
from fluxbase_migrations.core.commands import Annotation, bounded, parse_force
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.names import ANNOTATION_FORCE, ANNOTATION_REQUESTED_AT, Phase, Track
from fluxbase_migrations.core.observed import Context, TrackSeen
from fluxbase_migrations.core.status import LastCommand, SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.core.track import decide_track
from fluxbase_migrations.core.wish import Note, RetryPolicy


@dataclass(frozen=True, slots=True)
class SetSeen:
    """Everything that was observed about one set."""

    uid: str
    name: str
    generation: int
    now: datetime
    tracks: Mapping[Track, TrackSeen]
    """Their records, and the values of annotations, come from here and not from ``tracks``."""
    status: SetStatus = field(default_factory=SetStatus)
    database_digest: str | None = None
    """Digest of ``spec.database``."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    suspended: bool = False
    requested_at: Annotation | None = None
    force: Annotation | None = None


@dataclass(frozen=True, slots=True)
class SetDecision:
    """What to do: write the status if it changed, then the actions, then tell the notes."""

    status: SetStatus
    actions: tuple[Action, ...] = ()
    notes: tuple[Note, ...] = ()
    due: datetime | None = None


@dataclass(frozen=True, slots=True)
class _Commands:
    """Annotations as they count now."""

    status: SetStatus
    forced: Track | None = None
    notes: tuple[Note, ...] = ()


def decide(seen: SetSeen) -> SetDecision:
    """Decide what to do about a set; total, and the same for the same observation."""
    status, notes = facts.of_spec(seen.status, seen.database_digest)
    seen = replace(seen, status=status)
    made = _decide(seen)
    status, replaced = facts.agreed(made.status, seen.status.database)
    if status.tracks != made.status.tracks:
        # A run has found another database: what is to be done there follows from what was read there.
        told = made.notes
        status = replace(status, conditions=seen.status.conditions)
        made = _decide(replace(seen, status=status))
        made = replace(made, notes=told + made.notes)
    status = replace(made.status, database=status.database)
    return replace(made, status=status, notes=notes + replaced + made.notes)


def _decide(seen: SetSeen) -> SetDecision:
    commands = _commands(seen)
    system = _decide_track(seen, Track.SYSTEM, commands, upstream=None)
    user = _decide_track(
        seen,
        Track.USER,
        commands,
        upstream=_upstream(system.record),
        expected_database=None if system.record.phase is Phase.SKIPPED else system.record.database,
    )
    tracks = TracksStatus(system.record, user.record)
    status = replace(
        commands.status,
        observed_generation=seen.generation,
        phase=summary.phase(tracks),
        dirty=_dirty(system.record, user.record),
        pending=_pending(system.record, user.record),
        tracks=tracks,
        conditions=summary.conditions(tracks, seen.status.conditions, seen.generation, seen.now),
    )
    dues = [due for due in (system.due, user.due) if due is not None]
    return SetDecision(
        status=status,
        actions=tuple(sorted(system.actions + user.actions, key=_urgency)),
        notes=commands.notes + system.notes + user.notes,
        due=min(dues, default=None),
    )


def _urgency(action: Action) -> int:
    """Somebody may be waiting for a Job; tidying up can wait."""
    return 0 if isinstance(action, CreateJob | DeleteJob) else 1


def _dirty(*records: TrackStatus) -> bool | None:
    """Of either track; None as long as neither was read."""
    return any(record.dirty for record in records) if any(record.known for record in records) else None


def _pending(*records: TrackStatus) -> int | None:
    """Over both tracks; None as long as it is not known of each."""
    counts = [record.pending for record in records if record.phase is not Phase.SKIPPED]
    known = [count for count in counts if count is not None]
    return sum(known) if known and len(known) == len(counts) else None


def _decide_track(
    seen: SetSeen,
    track: Track,
    commands: _Commands,
    upstream: str | None,
    expected_database: DatabaseIdentity | None = None,
) -> Decision:
    record = seen.status.tracks.of(track)
    if commands.forced is track:
        force = commands.status.last_handled_force
        record = replace(record, commands=replace(record.commands, force=force))
    requested_at = commands.status.last_handled_requested_at
    observed = replace(seen.tracks[track], record=record, requested_at=requested_at)
    return decide_track(
        observed,
        Context(
            uid=seen.uid,
            name=seen.name,
            now=seen.now,
            retry=seen.retry,
            suspended=seen.suspended,
            upstream=upstream,
            database_digest=seen.database_digest,
            expected_database=expected_database,
        ),
    )


def _upstream(system: TrackStatus) -> str | None:
    """Why the user track may not start."""
    settled = system.phase in (Phase.APPLIED, Phase.ROLLED_BACK) and not system.dirty
    if settled or system.phase is Phase.SKIPPED:
        return None
    return f"it is {system.phase}: {system.message}"


def _commands(seen: SetSeen) -> _Commands:
    """Take note of annotations that are new. While the set is suspended they wait."""
    made = _Commands(seen.status)
    if seen.suspended:
        return made
    requested, force = seen.requested_at, seen.force
    if requested and requested.value and bounded(requested.value) != made.status.last_handled_requested_at:
        status = replace(
            made.status,
            last_handled_requested_at=bounded(requested.value),
            last_command=_last(ANNOTATION_REQUESTED_AT, requested),
        )
        note = Note(False, "Requested", f"another run was requested: {_said(requested)}")
        made = replace(made, status=status, notes=(note,))
    if force and force.value and bounded(force.value) != made.status.last_handled_force:
        made = _forced(made, force)
    return made


def _forced(made: _Commands, force: Annotation) -> _Commands:
    status = replace(
        made.status, last_handled_force=bounded(force.value), last_command=_last(ANNOTATION_FORCE, force)
    )
    try:
        track, command = parse_force(force.value)
    except ValueError as error:
        note = Note(True, "InvalidForce", f"annotation {ANNOTATION_FORCE} is ignored: {error}")
        return replace(made, status=status, notes=(*made.notes, note))
    note = Note(False, "Forced", f"{track} is to be set to version {command.version}: {_said(force)}")
    return replace(made, status=status, forced=track, notes=(*made.notes, note))


def _last(name: str, annotation: Annotation) -> LastCommand:
    return LastCommand(name, bounded(annotation.value), annotation.manager, annotation.time)


def _said(annotation: Annotation) -> str:
    by = f" by {annotation.manager}" if annotation.manager else ""
    at = f" at {annotation.time:%Y-%m-%dT%H:%M:%SZ}" if annotation.time else ""
    return f"{bounded(annotation.value)}{by}{at}"
