"""What to do next about one track: a pure function of what was observed.

Read it from :func:`decide_track`. A track is settled first (the end of a run is recorded), then either left
alone (a run in flight), or given up (a Job that has not started and is no longer wanted), or a new run is
planned. A decision is carried out in this order: the status is written, then the actions, then the notes.
"""

import hashlib
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fluxbase_migrations.api.reasons import EventReason, Reason, backoff
from fluxbase_migrations.api.status import JobReference, TrackStatus
from fluxbase_migrations.api.transitions import line_of
from fluxbase_migrations.core.digest import MIGRATION_PATTERN
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.identity import differs
from fluxbase_migrations.core.plan import outstanding
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions import status_messages
from fluxbase_migrations.decisions.actions import Action, Decision, DeleteJob, FreePod, SetTtl
from fluxbase_migrations.decisions.desired import Blocked, Desired, DesiredRun, EventNote, Refused, Skip
from fluxbase_migrations.decisions.facts import forgotten
from fluxbase_migrations.decisions.job_state import (
    Absent,
    Container,
    Ended,
    InFlight,
    NotStarted,
    ObservedJob,
    ObservedPod,
    RunState,
    state,
)
from fluxbase_migrations.decisions.observed import EVENTS_AFTER, ObservedTrack, ReconcileContext
from fluxbase_migrations.decisions.owner import EXPLANATIONS
from fluxbase_migrations.decisions.run_result import apply_run_result, exposure_notes, run_events, with_obeyed
from fluxbase_migrations.decisions.scheduling import (
    LOOK_AGAIN,
    create_or_queue,
    gate,
    gone_owner,
    is_wanted,
    plan,
    unheard,
    wanted_digest,
)

_HINDERED: Final = (
    Outcome.LOCK_HELD,
    Outcome.INTERRUPTED,
    Outcome.SOURCE_CHANGED,
    Outcome.TRANSIENT,
    None,
)
"""Ends of a routine look that say nothing about the database."""
KEPT_JOBS: Final = 2
"""Finished Jobs of a track that are kept, for their logs."""


def decide_track(seen: ObservedTrack, context: ReconcileContext) -> Decision:
    """Decide what to do about one track."""
    seen = replace(seen, armed=seen.armed.without(seen.record.commands.obeyed))
    wanted = seen.desired
    seen = replace(seen, desired=_desired(seen))
    record = _adopted(seen)
    current = _state_of(seen, record.run, context.now)
    notes: tuple[EventNote, ...] = ()
    if record.outstanding:
        match current:
            case InFlight():
                return _finish(seen, context, _running(seen, record, current, context))
            case NotStarted():
                return _finish(seen, context, _not_started(seen, record, current, context))
            case Ended():
                record, notes = _record(seen, record, current, context)
                if gone_owner(seen, record):
                    notes = ()  # that the owner was gone already is told by the next run
            case Absent():
                again = _absent(seen, record, context)
                if isinstance(again, Decision):
                    return _finish(seen, context, again)
                record = again
    seen = replace(seen, armed=seen.armed.without(record.commands.obeyed), desired=wanted)
    seen = replace(seen, desired=_desired(seen))  # what a command that is obeyed now needed is needed no more
    idle = _idle(seen, record, context)
    return _finish(seen, context, replace(idle, notes=notes + idle.notes))


def _desired(seen: ObservedTrack) -> Desired:
    """A command to set the version, or to take over, needs no files."""
    desired = seen.desired
    if isinstance(desired, Blocked) and (seen.armed.force or seen.armed.take_over):
        return desired.empty or desired
    return desired


def _adopted(seen: ObservedTrack) -> TrackStatus:
    """The record, or what Jobs say if they know of a later run (the status was lost or restored)."""
    record = seen.record
    latest = max(seen.jobs, key=lambda job: job.run, default=None)
    if latest is None or latest.run <= record.run:
        return record
    return replace(
        record,
        run=latest.run,
        inputs_digest=latest.inputs_digest,
        database_digest=latest.database_digest,
        job=JobReference(latest.name, latest.uid),
        started_at=None,
        finished_at=None,
        retry_at=None,
    )


def _state_of(seen: ObservedTrack, run: int, now: datetime) -> RunState:
    job = next((job for job in seen.jobs if job.run == run), None)
    return state(job, tuple(pod for pod in seen.pods if pod.run == run), now)


def _running(seen: ObservedTrack, record: TrackStatus, run: InFlight, context: ReconcileContext) -> Decision:
    """A run in flight is never touched, whatever is wanted meanwhile."""
    record = replace(
        record,
        job=_reference(record, run.job),
        started_at=run.since,
        retry_at=None,
        progress=seen.progress or record.progress,
    )
    if _is_where_it_was_read(record, context):
        record = _as_far_as(record, seen.desired)
    newer = wanted_digest(seen) != record.inputs_digest or unheard(seen, record)
    shown = (
        status_messages.node_lost(run.pod)
        if run.lost
        else status_messages.running(record.progress, newer=newer)
    )
    show = (
        status_messages.with_phase_and_event
        if run.lost or newer or record.progress
        else status_messages.with_phase
    )
    return Decision(show(record, shown), due=context.now + LOOK_AGAIN if run.lost else None)


def _is_where_it_was_read(record: TrackStatus, context: ReconcileContext) -> bool:
    """Whether the run can only be in the database that the record's facts were read from.

    It says which one it found when it ends. Until then only one that was told which to expect is known to be
    there: another run might go on in a database that was put in its place, and its facts are of that one.
    """
    expected = context.expected_database
    if record.database is None or expected is None or _of_another_database(record, context):
        return False
    return not differs(record.database, expected)


def _as_far_as(record: TrackStatus, desired: Desired) -> TrackStatus:
    """What the log tells of the row: a run is at a later file only after it has recorded those before."""
    found = MIGRATION_PATTERN.fullmatch(record.progress.file) if record.progress else None
    if found is None or found[3] != "up" or not isinstance(desired, DesiredRun) or desired.versions is None:
        return record
    before = max((version for version in desired.versions if version < int(found[1])), default=NIL)
    if before < (NIL if record.version is None else record.version):
        return record
    return replace(record, version=None if before == NIL else before, dirty=False)


def _not_started(
    seen: ObservedTrack, record: TrackStatus, run: NotStarted, context: ReconcileContext
) -> Decision:
    """The Job waits for its container. It gives way as soon as something else is wanted."""
    starting = record
    record = replace(record, job=_reference(record, run.job), progress=None)
    if run.orphan is not None:
        return Decision(
            status_messages.with_phase(record, status_messages.orphaned(run.orphan)),
            due=context.now + LOOK_AGAIN,
        )
    if run.deleting:
        shown = (
            status_messages.replacing()
            if record.reason == Reason.REPLACING
            else status_messages.being_deleted(run.since)
        )
        return Decision(status_messages.with_phase(record, shown), due=context.now + LOOK_AGAIN)
    assert run.job is not None  # noqa: S101 - otherwise it counts as being deleted
    current = (
        isinstance(seen.desired, DesiredRun)
        and not context.suspended
        and context.upstream is None
        and is_wanted(seen, record)
        and run.job.template_digest == seen.desired.template
    )
    if not current:
        delete = DeleteJob(run.job.name, run.job.uid, wait=True)
        # A look that is put off changes nothing about what was found before.
        put_off = context.suspended and is_wanted(seen, record)
        show = status_messages.with_phase if put_off else status_messages.with_phase_and_event
        return Decision(show(record, status_messages.replacing()), (delete,), due=context.now + LOOK_AGAIN)
    age = context.now - run.since
    due = run.since + EVENTS_AFTER if age < EVENTS_AFTER else context.now + LOOK_AGAIN
    if record.reason == Reason.STARTING and run.reason is None and age < EVENTS_AFTER:
        return Decision(starting, due=due)  # not worth a write: it is about to run
    return Decision(status_messages.kept_waiting(record, status_messages.waiting(run, seen.event)), due=due)


def _absent(seen: ObservedTrack, record: TrackStatus, context: ReconcileContext) -> Decision | TrackStatus:
    """A planned run without a Job: not created yet, or gone. Returns the record if it is given up."""
    job = record.job
    assert job is not None  # noqa: S101 - outstanding says so
    if record.started_at is not None:
        return _record(seen, record, Ended(None, None, because="its Job and pod were deleted"), context)[0]
    if record.reason == Reason.REPLACING or (record.routine and context.suspended):
        return _given_up(record)
    created = seen.created is not None and seen.created.name == job.name
    if created or job.uid is not None:
        waits = record.waits + 1
        return replace(
            record,
            outcome=None,
            finished_at=context.now,
            attempts=max(record.attempts - 1, 0),
            waits=waits,
            retry_at=context.now + timedelta(seconds=backoff(context.retry.backoff, waits)),
            error=status_messages.job_deleted(job.name),
        )
    desired = seen.desired
    if not isinstance(desired, DesiredRun) or context.suspended or not is_wanted(seen, record):
        return _given_up(record)
    blocked = gate(seen, record, context)
    if blocked:
        return blocked
    refusal = seen.refusal
    if refusal is not None and (refusal.run, refusal.template) == (record.run, desired.template):
        if refusal.permanent:
            return Decision(
                status_messages.with_phase_and_event(
                    record, status_messages.job_refused(refusal.message, permanent=True)
                )
            )
        if context.now < refusal.retry_at:
            shown = status_messages.kept_waiting(
                record, status_messages.job_refused(refusal.message, permanent=False)
            )
            return Decision(shown, due=refusal.retry_at)
    return create_or_queue(seen, record, record, desired, context)


def _given_up(record: TrackStatus) -> TrackStatus:
    """The run is not wanted any more; its number is used up, and its inputs were never handled.

    Those of a routine look were, by the run before: the look is still due.
    """
    if record.routine and record.read_at is not None:
        read_at = record.read_at
        return replace(record, job=None, started_at=None, finished_at=read_at, retry_at=read_at)
    return replace(
        record,
        job=None,
        inputs_digest=None,
        routine=None,
        started_at=None,
        finished_at=None,
        retry_at=None,
        attempts=0,
        waits=0,
    )


def _record(
    seen: ObservedTrack, record: TrackStatus, ended: Ended, context: ReconcileContext
) -> tuple[TrackStatus, tuple[EventNote, ...]]:
    record = replace(record, job=_reference(record, ended.job))
    if _of_another_database(record, context):
        record = replace(record, finished_at=ended.finished_at or context.now, started_at=ended.started_at)
        text = f"{seen.track}: run {record.run}, on the database that spec.database named before, has ended"
        return forgotten(with_obeyed(record, ended.result)), (
            EventNote(False, EventReason.DATABASE_CHANGED, text),
        )
    after = apply_run_result(
        record, ended, context.retry, context.now, jitter=_jitter(context.uid, record.run)
    )
    if record.routine:
        return _looked(seen, record, after, ended)
    return after, _end_notes(seen, record, after, ended)


def _looked(
    seen: ObservedTrack, before: TrackStatus, record: TrackStatus, ended: Ended
) -> tuple[TrackStatus, tuple[EventNote, ...]]:
    """After a routine look: only what it has found is news."""
    outcome = ended.result.outcome if ended.result else None
    same = outcome is Outcome.NO_CHANGE or outcome is before.outcome is Outcome.EXPOSED
    found = (record.warnings, record.exposed, record.exposures)
    if same and found == (before.warnings, before.exposed, before.exposures):
        return replace(record, routine=None), ()
    again = record.retry_at is not None and record.outcome in _HINDERED
    record = replace(record, routine=True if again else None)
    return record, _end_notes(seen, before, record, ended)


def _end_notes(
    seen: ObservedTrack, before: TrackStatus, record: TrackStatus, ended: Ended
) -> tuple[EventNote, ...]:
    """The Events of a run's end. That it failed because of exposures is told by its error already."""
    exposed = () if record.outcome is Outcome.EXPOSED else exposure_notes(seen.track, before, record)
    return run_events(seen.track, record, ended.result) + exposed


def _of_another_database(record: TrackStatus, context: ReconcileContext) -> bool:
    """Whether ``spec.database`` was another one when the run was planned."""
    return record.database_digest is not None and record.database_digest != context.database_digest


def _jitter(uid: str, run: int) -> float:
    """A factor between 0.9 and 1.1, always the same for one run."""
    return 0.9 + hashlib.sha256(f"{uid}{run}".encode()).digest()[0] / 1275


def _idle(seen: ObservedTrack, record: TrackStatus, context: ReconcileContext) -> Decision:
    """No run is outstanding: say what is, or plan the next run."""
    straggler = next((pod for pod in seen.pods if _is_running(pod)), None)
    if straggler is not None:
        shown = (
            status_messages.node_lost(straggler.name)
            if straggler.lost(context.now)
            else status_messages.running(None, newer=True)
        )
        return Decision(status_messages.with_phase_and_event(record, shown), due=context.now + LOOK_AGAIN)
    match seen.desired:
        case Skip() as skip:
            return Decision(status_messages.skipped(record, skip))
        case Blocked() as blocked if context.suspended and not _is_ahead(record, blocked):
            return Decision(status_messages.with_phase(record, status_messages.suspended(blocked)))
        case Blocked() as blocked:
            return Decision(status_messages.blocked(record, blocked))
        case Refused() as refused:
            return Decision(status_messages.with_phase_and_event(record, status_messages.refused(refused)))
        case DesiredRun() as want:
            return _wanted(seen, record, want, context)


def _is_ahead(record: TrackStatus, blocked: Blocked) -> bool:
    return blocked.empty is not None and record.version is not None


def _is_running(pod: ObservedPod) -> bool:
    return pod.container == "running" and not pod.over


def _wanted(
    seen: ObservedTrack, record: TrackStatus, want: DesiredRun, context: ReconcileContext
) -> Decision:
    same = record.finished_at is not None and record.inputs_digest == wanted_digest(seen)
    handled = same and not unheard(seen, record)
    owner = gone_owner(seen, record)
    recheck = _next_look(seen, record, want, context)
    overdue = recheck is not None and recheck <= context.now and not context.suspended
    if handled and record.retry_at is None and not owner and not overdue:
        return Decision(
            status_messages.settled(record, want, context, seen.owner),
            due=None if context.suspended else recheck,
        )
    routine = handled and not owner and (bool(record.routine) if record.retry_at else overdue)
    record = replace(record, routine=routine or None)
    if context.suspended:
        return Decision(status_messages.with_phase(record, status_messages.suspended()))
    if handled and record.retry_at is not None and context.now < record.retry_at:
        return Decision(
            status_messages.with_phase(record, status_messages.retrying(record)), due=record.retry_at
        )
    again = handled and (not overdue or _waits_for_files(record, want))
    planned = gate(seen, record, context) or plan(seen, record, want, context, again=again)
    if owner and planned.actions:
        text = f"{seen.track}: takes over from the set {owner.name}{EXPLANATIONS[seen.owner]}"
        return replace(planned, notes=(EventNote(False, EventReason.TAKING_OVER, text),))
    return planned


def _waits_for_files(record: TrackStatus, want: DesiredRun) -> bool:
    """Whether the volume was empty, and must not be."""
    empty = record.outcome is Outcome.SOURCE_EMPTY and record.version is None
    return empty and want.volume is not None and not want.allow_empty


def _next_look(
    seen: ObservedTrack, record: TrackStatus, want: DesiredRun, context: ReconcileContext
) -> datetime | None:
    """When to look at the database again although nothing is known to have changed."""
    if record.finished_at is None or record.outcome is Outcome.CONFLICT:
        return None  # that another set owns it is known without a look
    if seen.lost_at is not None and seen.lost_at >= record.finished_at:
        return record.finished_at
    pauses = [want.recheck] if want.recheck else []
    if _waits_for_files(record, want):
        pauses.append(timedelta(seconds=backoff(context.retry.backoff, record.waits)))
    return record.finished_at + min(pauses) if pauses else None


def _reference(record: TrackStatus, job: ObservedJob | None) -> JobReference | None:
    return JobReference(job.name, job.uid) if job else record.job


def _finish(seen: ObservedTrack, context: ReconcileContext, decision: Decision) -> Decision:
    """Add what is due in any case: old Jobs are collected, and a new trouble is told once."""
    record = _counted(seen.desired, decision.record)
    done = sorted(
        (job for job in seen.jobs if job.run < record.run or record.finished_at is not None),
        key=lambda job: job.run,
        reverse=True,
    )
    busy = {pod.run for pod in seen.pods if pod.active}
    actions: list[Action] = list(decision.actions)
    for position, job in enumerate(done):
        if job.deleting or job.run in busy:
            continue
        if position >= KEPT_JOBS:
            actions.append(DeleteJob(job.name, job.uid, wait=False))
        elif not job.ttl:
            actions.append(SetTtl(job.name, job.uid))
    actions += [FreePod(pod.name) for pod in seen.pods if pod.undisturbed and _outlives_its_run(pod)]
    notes = decision.notes
    if not notes and record.reason != seen.record.reason and line_of(record.phase, record.reason).warns:
        notes = (EventNote(True, record.reason or "", f"{seen.track}: {record.message}"),)
    return replace(decision, record=record, actions=tuple(actions), notes=notes)


def _outlives_its_run(pod: ObservedPod) -> bool:
    """Whether a sidecar goes on after the migration has ended; nobody waits for it."""
    return pod.container is Container.TERMINATED and not pod.over and pod.deletion_deadline is None


def _counted(desired: Desired, record: TrackStatus) -> TrackStatus:
    """With what is outstanding now, as far as the source and the database have been read."""
    if record.pending is None or not isinstance(desired, DesiredRun) or desired.versions is None:
        return record
    current = NIL if record.version is None else record.version
    pending = outstanding(desired.versions, current, desired.target, dirty=record.dirty)
    return replace(record, pending=pending, latest=max(desired.versions, default=None))
