"""The start of a run of one track: what must be true before, and the record and the Job of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from fluxbase_migrations.api.commands import inputs_digest
from fluxbase_migrations.api.status import Commands, JobReference, Owner, TrackStatus
from fluxbase_migrations.core.approval import ApprovedPlan
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions import status_messages
from fluxbase_migrations.decisions.actions import CreateJob, Decision, job_name
from fluxbase_migrations.decisions.desired import DesiredRun
from fluxbase_migrations.decisions.job_state import Ended, ObservedJob, ObservedPod, state
from fluxbase_migrations.decisions.observed import (
    ObservedTrack,
    ReconcileContext,
    leftovers_occupy_slot,
)
from fluxbase_migrations.decisions.owner import RELEASED_STATES

RECHECK_AFTER: Final = timedelta(seconds=20)
"""The pause before a state that no watch reports is checked again."""


def gate(observed: ObservedTrack, record: TrackStatus, context: ReconcileContext) -> Decision | None:
    """The decision to wait when a Job may not be created yet; None when it may."""
    if context.upstream is not None:
        return Decision(
            status_messages.with_phase(record, status_messages.waiting_for_system(context.upstream))
        )
    old = _may_still_run(observed, record, context)
    if old is not None:
        return Decision(
            status_messages.with_phase(record, status_messages.waiting_for_previous(old)),
            due=context.now + RECHECK_AFTER,
        )
    return None


def create_or_queue(
    observed: ObservedTrack,
    record: TrackStatus,
    planned: TrackStatus,
    desired: DesiredRun,
    context: ReconcileContext,
) -> Decision:
    """Create the Job of the run that is ``planned``; without a slot for it, ``record`` says so and stays."""
    if observed.queue is not None:
        return Decision(
            status_messages.with_phase(record, status_messages.queued(observed.queue)), queued=True
        )
    return Decision(
        status_messages.with_phase(planned, status_messages.starting()),
        (create(observed, planned, desired, context),),
    )


def has_begun(system: TrackStatus, user: TrackStatus) -> bool:
    """Whether the system track was served since the user track's last run has ended.

    Then the user track's run is the rest of what was requested of the set. A newly requested run has to wait
    like that of a set without a system track, which would otherwise never get its turn.
    """
    if system.finished_at is None or user.outstanding:
        return False
    return user.finished_at is None or user.finished_at < system.finished_at


def _may_still_run(
    observed: ObservedTrack, record: TrackStatus, context: ReconcileContext
) -> ObservedJob | ObservedPod | None:
    """A pod or a Job of another run that the next run has to wait for. Those that have ended do not count."""
    leftover = [pod for pod in observed.pods if pod.run != record.run] + list(observed.foreign_pods)
    pod = next((pod for pod in leftover if pod.active), None)
    if pod is not None:
        return pod
    for job in observed.jobs:
        pods = tuple(pod for pod in observed.pods if pod.run == job.run)
        if job.deleting and not isinstance(state(job, pods, context.now), Ended):
            return job
    # Its pod may not have been observed yet; if that can never start, the wait is short.
    return next(
        (
            job
            for job in observed.foreign_jobs
            if leftovers_occupy_slot((job,), observed.foreign_pods, context.now)
        ),
        None,
    )


def desired_digest(observed: ObservedTrack) -> str | None:
    """The digest of the inputs that a new run would have; None if no run is desired."""
    if not isinstance(observed.desired, DesiredRun):
        return None
    return inputs_digest(observed.desired.base)


def approval(observed: ObservedTrack, record: TrackStatus) -> str | None:
    """The command that approves the record's plan, if it is in force; never one that was for another plan."""
    value = observed.pending_commands.approve
    return value if record.plan is not None and record.approved == value else None


def has_new_command(observed: ObservedTrack, record: TrackStatus) -> bool:
    """Whether a pending command has not been carried by a run yet."""
    pending_commands, carried = observed.pending_commands, record.commands
    pairs = (
        (pending_commands.requested_at, carried.requested_at),
        (pending_commands.force, carried.force),
        (pending_commands.take_over, carried.take_over),
        (approval(observed, record), carried.approve),
    )
    return any(value is not None and value != in_run for value, in_run in pairs)


def has_stale_command(observed: ObservedTrack, record: TrackStatus) -> bool:
    """Whether the planned run carries a command that was withdrawn, refused or replaced."""
    pending_commands, carried = observed.pending_commands, record.commands
    return (
        (carried.requested is not None and carried.requested_at != pending_commands.requested_at)
        or carried.force not in (None, pending_commands.force)
        or carried.take_over not in (None, pending_commands.take_over)
        or carried.approve not in (None, approval(observed, record))
    )


def is_current(observed: ObservedTrack, record: TrackStatus) -> bool:
    """Whether the planned run has the inputs and the commands that are desired now."""
    same = record.inputs_digest is not None and record.inputs_digest == desired_digest(observed)
    return same and not has_new_command(observed, record) and not has_stale_command(observed, record)


def plan(
    observed: ObservedTrack,
    record: TrackStatus,
    desired: DesiredRun,
    context: ReconcileContext,
    *,
    again: bool,
) -> Decision:
    """Number the next run and decide to create its Job, or to queue it. ``again``: it counts as a retry."""
    run = max([record.run, *(job.run for job in observed.jobs)]) + 1
    pending_commands, carried = observed.pending_commands, record.commands
    requested = pending_commands.requested_at is not None
    commands = Commands(
        requested_at=pending_commands.requested_at,
        requested=True
        if requested and (carried.requested or carried.requested_at != pending_commands.requested_at)
        else None,
        force=pending_commands.force,
        take_over=pending_commands.take_over,
        approve=approval(observed, record),
        obeyed=carried.obeyed,
    )
    planned = replace(
        record,
        run=run,
        inputs_digest=desired_digest(observed),
        job=JobReference(job_name(context.name, context.uid, observed.track, run)),
        database_digest=context.database_digest,
        started_at=None,
        finished_at=None,
        retry_at=None,
        progress=None,
        error=record.error if record.routine else None,
        attempts=record.attempts + 1 if again else 1,
        waits=record.waits if again else 0,
        commands=commands,
    )
    return create_or_queue(observed, record, planned, desired, context)


def released_owner(observed: ObservedTrack, record: TrackStatus) -> Owner | None:
    """The owner of the database's track, if it was deleted or has released the track; None otherwise."""
    return (
        record.claimed_by
        if record.outcome is Outcome.CONFLICT and observed.owner in RELEASED_STATES
        else None
    )


def create(
    observed: ObservedTrack, record: TrackStatus, desired: DesiredRun, context: ReconcileContext
) -> CreateJob:
    """The Job of the run that ``record`` holds."""
    owner, carried, approved = released_owner(observed, record), record.commands, _approved(record)
    commanded = carried.requested or carried.force or carried.take_over or approved
    # The approval of a plan that begins with a failed file requests a retry of that file.
    approved_retry = carried.approve if approved and approved.start.failed_version is not None else None
    return CreateJob(
        track=observed.track,
        run=record.run,
        name=job_name(context.name, context.uid, observed.track, record.run),
        inputs_digest=record.inputs_digest or "",
        template=desired.template,
        requested=bool(carried.requested or approved_retry),
        requested_at=carried.requested_at if carried.requested else approved_retry,
        force=carried.force,
        take_over=carried.take_over,
        command_database=observed.pending_commands.database if commanded else None,
        take_over_from=owner.uid if owner else None,
        database_digest=record.database_digest,
        expected_database=context.expected_database,
        approved=approved,
        plan_only=context.plan_only,
    )


def _approved(record: TrackStatus) -> ApprovedPlan | None:
    """The plan that the record's run may apply."""
    value = record.commands.approve
    if record.plan is None or value is None or record.approved != value:
        return None
    return ApprovedPlan(record.plan.digest, record.plan.start)
