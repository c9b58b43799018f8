"""What to do next about one track: a pure function of what was observed.

Read it from :func:`decide_track`. A track is settled first (the end of a run is recorded), then either left
alone (a run in flight), or abandoned (a Job that has not started and is no longer desired), or a new run is
planned. A decision is carried out in this order: the status is written, then the actions, then the notes.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fluxbase_migrations.api.reasons import Reason, backoff
from fluxbase_migrations.api.status import JobReference, TrackStatus
from fluxbase_migrations.api.transitions import line_of
from fluxbase_migrations.core.digest import MIGRATION_PATTERN
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.identity import differs
from fluxbase_migrations.core.plan import outstanding
from fluxbase_migrations.decisions import status_messages
from fluxbase_migrations.decisions.actions import Action, Decision, DeleteJob, FreePod, SetTtl
from fluxbase_migrations.decisions.command_status import PendingCommands
from fluxbase_migrations.decisions.desired import Blocked, Desired, DesiredRun, EventNote
from fluxbase_migrations.decisions.idle_track import idle
from fluxbase_migrations.decisions.job_state import (
    Absent,
    Container,
    Ended,
    InFlight,
    NotStarted,
    ObservedPod,
    RunState,
    state,
)
from fluxbase_migrations.decisions.observed import EVENTS_AFTER, ObservedTrack, ReconcileContext
from fluxbase_migrations.decisions.run_end import of_another_database, record_end, reference
from fluxbase_migrations.decisions.scheduling import (
    RECHECK_AFTER,
    create_or_queue,
    desired_digest,
    gate,
    has_new_command,
    is_current,
    released_owner,
)

KEPT_JOBS: Final = 2
"""Finished Jobs of a track that are kept, for their logs."""


def decide_track(observed: ObservedTrack, context: ReconcileContext) -> Decision:
    """Decide what to do about one track."""
    desired = observed.desired
    observed = _without_obeyed(observed, desired, observed.record.commands.obeyed)
    record = _adopted(observed)
    current = _state_of(observed, record.run, context.now)
    notes: tuple[EventNote, ...] = ()
    if record.outstanding:
        match current:
            case InFlight():
                return _finish(observed, context, _running(observed, record, current, context))
            case NotStarted():
                return _finish(observed, context, _not_started(observed, record, current, context))
            case Ended():
                record, notes = record_end(observed, record, current, context)
                if released_owner(observed, record):
                    notes = ()  # the next run's Event says that the owner was gone already
            case Absent():
                absent = _absent(observed, record, context)
                if isinstance(absent, Decision):
                    return _finish(observed, context, absent)
                record = absent
    observed = _without_obeyed(observed, desired, record.commands.obeyed)
    waiting = idle(observed, record, context)
    return _finish(observed, context, replace(waiting, notes=notes + waiting.notes))


def _without_obeyed(observed: ObservedTrack, desired: Desired, obeyed: tuple[str, ...]) -> ObservedTrack:
    """Drop the commands that are obeyed, and what is desired only for their sake."""
    commands = observed.pending_commands.without(obeyed)
    return replace(observed, pending_commands=commands, desired=_desired(desired, commands))


def _desired(desired: Desired, commands: PendingCommands) -> Desired:
    """A command to set the version, or to take over, needs no files."""
    if isinstance(desired, Blocked) and (commands.force or commands.take_over):
        return desired.empty or desired
    return desired


def _adopted(observed: ObservedTrack) -> TrackStatus:
    """The record, or what Jobs say if they know of a later run (the status was lost or restored)."""
    record = observed.record
    latest = max(observed.jobs, key=lambda job: job.run, default=None)
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


def _state_of(observed: ObservedTrack, run: int, now: datetime) -> RunState:
    job = next((job for job in observed.jobs if job.run == run), None)
    return state(job, tuple(pod for pod in observed.pods if pod.run == run), now)


def _running(
    observed: ObservedTrack, record: TrackStatus, run: InFlight, context: ReconcileContext
) -> Decision:
    """A run in flight is never touched, even when something newer is desired."""
    record = replace(
        record,
        job=reference(record, run.job),
        started_at=run.since,
        retry_at=None,
        progress=observed.progress or record.progress,
    )
    if _is_in_known_database(record, context):
        record = _with_version_of_progress(record, observed.desired)
    newer = desired_digest(observed) != record.inputs_digest or has_new_command(observed, record)
    phase_status = (
        status_messages.node_lost(run.pod)
        if run.lost
        else status_messages.running(record.progress, newer=newer)
    )
    show = (
        status_messages.with_phase_and_event
        if run.lost or newer or record.progress
        else status_messages.with_phase
    )
    return Decision(show(record, phase_status), due=context.now + RECHECK_AFTER if run.lost else None)


def _is_in_known_database(record: TrackStatus, context: ReconcileContext) -> bool:
    """Whether the run can only be in the database that the record's facts were read from.

    A run reports its database when it ends. Until then only a run with an expected database is known to be in
    it: any other run may be in a database that replaced the recorded one.
    """
    expected = context.expected_database
    if record.database is None or expected is None or of_another_database(record, context):
        return False
    return not differs(record.database, expected)


def _with_version_of_progress(record: TrackStatus, desired: Desired) -> TrackStatus:
    """Derive the version from the progress: a run begins a file only after it has recorded those before."""
    name = MIGRATION_PATTERN.fullmatch(record.progress.file) if record.progress else None
    if name is None or name[3] != "up" or not isinstance(desired, DesiredRun) or desired.versions is None:
        return record
    before = max((version for version in desired.versions if version < int(name[1])), default=NIL)
    if before < (NIL if record.version is None else record.version):
        return record
    return replace(record, version=None if before == NIL else before, dirty=False)


def _not_started(
    observed: ObservedTrack, record: TrackStatus, run: NotStarted, context: ReconcileContext
) -> Decision:
    """The Job waits for its container. It is replaced as soon as something else is desired."""
    starting = record
    record = replace(record, job=reference(record, run.job), progress=None)
    if run.orphan is not None:
        return Decision(
            status_messages.with_phase(record, status_messages.orphaned(run.orphan)),
            due=context.now + RECHECK_AFTER,
        )
    if run.deleting:
        phase_status = (
            status_messages.replacing()
            if record.reason == Reason.REPLACING
            else status_messages.being_deleted(run.since)
        )
        return Decision(status_messages.with_phase(record, phase_status), due=context.now + RECHECK_AFTER)
    assert run.job is not None  # noqa: S101 - otherwise it counts as being deleted
    current = (
        isinstance(observed.desired, DesiredRun)
        and not context.suspended
        and context.upstream is None
        and is_current(observed, record)
        and run.job.template_digest == observed.desired.template
    )
    if not current:
        delete = DeleteJob(run.job.name, run.job.uid, wait=True)
        # A routine check that is suspended keeps the results of the run before.
        put_off = context.suspended and is_current(observed, record)
        show = status_messages.with_phase if put_off else status_messages.with_phase_and_event
        return Decision(show(record, status_messages.replacing()), (delete,), due=context.now + RECHECK_AFTER)
    age = context.now - run.since
    due = run.since + EVENTS_AFTER if age < EVENTS_AFTER else context.now + RECHECK_AFTER
    if record.reason == Reason.STARTING and run.reason is None and age < EVENTS_AFTER:
        return Decision(starting, due=due)  # saves a write: it is about to run
    return Decision(
        status_messages.with_waiting_phase(record, status_messages.waiting(run, observed.event)), due=due
    )


def _absent(
    observed: ObservedTrack, record: TrackStatus, context: ReconcileContext
) -> Decision | TrackStatus:
    """A planned run without a Job: not created yet, or gone. Returns the record if the run is abandoned."""
    job = record.job
    assert job is not None  # noqa: S101 - outstanding says so
    if record.started_at is not None:
        return record_end(
            observed, record, Ended(None, None, because="its Job and pod were deleted"), context
        )[0]
    if record.reason == Reason.REPLACING or (record.routine and context.suspended):
        return _abandoned(record)
    created = observed.created is not None and observed.created.name == job.name
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
    desired = observed.desired
    if not isinstance(desired, DesiredRun) or context.suspended or not is_current(observed, record):
        return _abandoned(record)
    blocked = gate(observed, record, context)
    if blocked:
        return blocked
    refusal = observed.refusal
    if refusal is not None and (refusal.run, refusal.template) == (record.run, desired.template):
        if refusal.permanent:
            return Decision(
                status_messages.with_phase_and_event(
                    record, status_messages.job_refused(refusal.message, permanent=True)
                )
            )
        if context.now < refusal.retry_at:
            phase_status = status_messages.with_waiting_phase(
                record, status_messages.job_refused(refusal.message, permanent=False)
            )
            return Decision(phase_status, due=refusal.retry_at)
    return create_or_queue(observed, record, record, desired, context)


def _abandoned(record: TrackStatus) -> TrackStatus:
    """Drop a run that is no longer desired. Its number is used up; its inputs do not count as handled.

    Those of a routine check do, by the run before: it is still due.
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


def _finish(observed: ObservedTrack, context: ReconcileContext, decision: Decision) -> Decision:
    """Add what every decision includes: old Jobs are deleted, and a new warning phase gets one Event."""
    record = _with_pending(observed.desired, decision.record)
    done = sorted(
        (job for job in observed.jobs if job.run < record.run or record.finished_at is not None),
        key=lambda job: job.run,
        reverse=True,
    )
    busy = {pod.run for pod in observed.pods if pod.active}
    actions: list[Action] = list(decision.actions)
    for position, job in enumerate(done):
        if job.deleting or job.run in busy:
            continue
        if position >= KEPT_JOBS:
            actions.append(DeleteJob(job.name, job.uid, wait=False))
        elif not job.ttl:
            actions.append(SetTtl(job.name, job.uid))
    actions += [FreePod(pod.name) for pod in observed.pods if pod.undisturbed and _has_only_sidecars(pod)]
    notes = decision.notes
    if not notes and _is_news(observed.record, record) and line_of(record.phase, record.reason).warns:
        notes = (EventNote(True, record.reason or "", f"{observed.track}: {record.message}"),)
    return replace(decision, record=record, actions=tuple(actions), notes=notes)


def _is_news(before: TrackStatus, record: TrackStatus) -> bool:
    """Whether the reason is new, or what a pod cannot start for: the kubelet may first say something else."""
    if record.outstanding and record.started_at is None and record.message != before.message:
        return True
    return record.reason != before.reason


def _has_only_sidecars(pod: ObservedPod) -> bool:
    """Whether the migration has ended and only sidecars still run; the next run does not wait for them."""
    return pod.container is Container.TERMINATED and not pod.over and pod.deletion_deadline is None


def _with_pending(desired: Desired, record: TrackStatus) -> TrackStatus:
    """Recompute ``pending`` and ``latest``, if both the source and the database have been read."""
    if record.pending is None or not isinstance(desired, DesiredRun) or desired.versions is None:
        return record
    current = NIL if record.version is None else record.version
    pending = outstanding(desired.versions, current, desired.target, dirty=record.dirty)
    return replace(record, pending=pending, latest=max(desired.versions, default=None))
