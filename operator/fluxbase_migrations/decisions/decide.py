"""What to do next about one set: one pure function from what was observed to status, actions and Events."""

from collections.abc import Mapping
from dataclasses import field, replace
from datetime import datetime

from fluxbase_migrations.api import conditions
from fluxbase_migrations.api.status import SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.decisions import command_status, facts, set_plan
from fluxbase_migrations.decisions.actions import Action, CreateJob, Decision, DeleteJob
from fluxbase_migrations.decisions.command_status import Annotations, PendingCommands
from fluxbase_migrations.decisions.desired import EventNote, RetryPolicy
from fluxbase_migrations.decisions.observed import ObservedTrack, ReconcileContext
from fluxbase_migrations.decisions.scheduling import has_begun
from fluxbase_migrations.decisions.track import decide_track


@dataclass(frozen=True, slots=True)
class ObservedSet:
    """Everything that was observed about one set."""

    uid: str
    name: str
    generation: int
    now: datetime
    tracks: Mapping[Track, ObservedTrack]
    """Their records, and the commands, come from here and not from ``tracks``."""
    status: SetStatus = field(default_factory=SetStatus)
    database_digest: str | None = None
    """Digest of ``spec.database``."""
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    suspended: bool = False
    manual: bool = False
    """``approval: Manual``."""
    annotations: Annotations = field(default_factory=Annotations)


@dataclass(frozen=True, slots=True)
class SetDecision:
    """What to do: write the status if it changed, then the actions, then tell the notes."""

    status: SetStatus
    actions: tuple[Action, ...] = ()
    notes: tuple[EventNote, ...] = ()
    due: datetime | None = None
    queued: frozenset[Track] = frozenset()
    """Tracks that would get a Job if there were a slot for it."""
    begun: frozenset[Track] = frozenset()
    """Tracks whose Job completes what the set's other track began."""

    @property
    def creates(self) -> frozenset[Track]:
        """The tracks that get a Job."""
        return frozenset(action.track for action in self.actions if isinstance(action, CreateJob))


def decide(observed: ObservedSet) -> SetDecision:
    """Decide what to do about a set; total, and the same for the same observation."""
    status, notes = facts.drop_former_database(observed.status, observed.database_digest)
    commands, command_notes = command_status.read_annotations(status, observed.annotations)
    status = set_plan.with_approvals(replace(status, commands=commands))
    decision = _decide(replace(observed, status=status))
    status, replaced = facts.keep_latest_database(decision.status, status)
    events = notes + command_notes + replaced + decision.notes
    bound = command_status.bind_database(status.commands, status.database)
    if replaced or status.tracks != decision.status.tracks or bound != status.commands:
        # A run has found another database: what is to be done there follows from what was read there.
        commands, command_notes = command_status.read_annotations(
            replace(status, commands=bound), observed.annotations
        )
        status = set_plan.with_approvals(
            replace(status, commands=commands, conditions=observed.status.conditions)
        )
        decision = _decide(replace(observed, status=status))
        events += command_notes + decision.notes
    status = replace(decision.status, database=status.database)
    events += set_plan.notes(observed.name, observed.status.plan, status.plan)
    return replace(decision, status=status, notes=events)


def is_no_op(observed: ObservedSet, decision: SetDecision) -> bool:
    """Whether the decision has no action and no Event, and leaves the status as it is."""
    return not decision.actions and not decision.notes and decision.status == observed.status


def _decide(observed: ObservedSet) -> SetDecision:
    system = _decide_track(observed, Track.SYSTEM, upstream=None)
    begun = has_begun(system.record, observed.status.tracks.of(Track.USER))
    plan_only = observed.manual and set_plan.awaits_approval(system.record)
    user = _decide_track(
        observed,
        Track.USER,
        upstream=_upstream(system.record, plan_only=plan_only),
        expected_database=None if system.record.phase is Phase.SKIPPED else system.record.database,
        begun=begun,
        plan_only=plan_only,
    )
    tracks = TracksStatus(system.record, user.record)
    commands, notes = command_status.update_states(observed.status, tracks, suspended=observed.suspended)
    before = observed.status
    status = replace(
        before,
        observed_generation=observed.generation,
        phase=conditions.phase(tracks),
        dirty=_dirty(system.record, user.record),
        pending=_pending(system.record, user.record),
        tracks=tracks,
        last_handled_requested_at=command_status.last_handled(
            commands.requested_at, before.last_handled_requested_at
        ),
        last_handled_force=command_status.last_handled(commands.force, before.last_handled_force),
        plan=set_plan.waiting(tracks),
        commands=commands,
        conditions=conditions.conditions(tracks, before.conditions, observed.generation, observed.now),
    )
    dues = [due for due in (system.due, user.due) if due is not None]
    return SetDecision(
        status=status,
        actions=tuple(sorted(system.actions + user.actions, key=_urgency)),
        notes=system.notes + user.notes + notes,
        due=min(dues, default=None),
        queued=frozenset(
            track for track, decision in ((Track.SYSTEM, system), (Track.USER, user)) if decision.queued
        ),
        begun=frozenset({Track.USER} if begun else ()),
    )


def _urgency(action: Action) -> int:
    """Jobs come first; tidying up can wait."""
    return 0 if isinstance(action, CreateJob | DeleteJob) else 1


def _dirty(*records: TrackStatus) -> bool | None:
    """Of either track; None as long as neither was read."""
    return any(record.dirty for record in records) if any(record.known for record in records) else None


def _pending(*records: TrackStatus) -> int | None:
    """Over both tracks; None as long as it is not known of each."""
    counts = [record.pending for record in records if record.phase is not Phase.SKIPPED]
    known_counts = [count for count in counts if count is not None]
    return sum(known_counts) if known_counts and len(known_counts) == len(counts) else None


def _decide_track(
    observed: ObservedSet,
    track: Track,
    upstream: str | None,
    expected_database: DatabaseIdentity | None = None,
    *,
    begun: bool = False,
    plan_only: bool = False,
) -> Decision:
    pending_commands = (
        PendingCommands() if observed.suspended else command_status.pending_commands(observed.status, track)
    )
    if plan_only:
        pending_commands = replace(pending_commands, approve=None)
    own = observed.tracks[track]
    own = replace(
        own,
        record=observed.status.tracks.of(track),
        pending_commands=pending_commands,
        queue=own.queue_if_begun if begun else own.queue,
    )
    return decide_track(
        own,
        ReconcileContext(
            uid=observed.uid,
            name=observed.name,
            now=observed.now,
            retry=observed.retry,
            suspended=observed.suspended,
            manual=observed.manual,
            plan_only=plan_only,
            upstream=upstream,
            database_digest=observed.database_digest,
            expected_database=expected_database,
        ),
    )


def _upstream(system: TrackStatus, *, plan_only: bool) -> str | None:
    """Why the user track may not start, nor make its plan if that is all that it may do."""
    if system.outstanding and system.routine:
        return "a routine check of it is running"
    settled = system.phase in (Phase.APPLIED, Phase.ROLLED_BACK) and not system.dirty
    if settled or plan_only or system.phase is Phase.SKIPPED:
        return None
    return f"it is {system.phase}: {system.message}"
