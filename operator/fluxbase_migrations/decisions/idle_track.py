"""Decide about a track without an outstanding run: report its state, or plan the next run."""

from dataclasses import replace
from datetime import datetime, timedelta

from fluxbase_migrations.api.reasons import EventReason, backoff
from fluxbase_migrations.api.status import Owner, TrackStatus
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions import status_messages
from fluxbase_migrations.decisions.actions import Decision
from fluxbase_migrations.decisions.desired import Blocked, DesiredRun, EventNote, Refused, Skip
from fluxbase_migrations.decisions.job_state import (
    ObservedPod,
)
from fluxbase_migrations.decisions.observed import ObservedTrack, ReconcileContext
from fluxbase_migrations.decisions.owner import EXPLANATIONS
from fluxbase_migrations.decisions.scheduling import (
    RECHECK_AFTER,
    desired_digest,
    gate,
    has_new_command,
    plan,
    released_owner,
)


def idle(observed: ObservedTrack, record: TrackStatus, context: ReconcileContext) -> Decision:
    """Decide for a track without an outstanding run: report its state, or plan the next run."""
    straggler = next((pod for pod in observed.pods if _is_running(pod)), None)
    if straggler is not None:
        phase_status = (
            status_messages.node_lost(straggler.name)
            if straggler.lost(context.now)
            else status_messages.running(None, newer=True)
        )
        return Decision(
            status_messages.with_phase_and_event(record, phase_status), due=context.now + RECHECK_AFTER
        )
    match observed.desired:
        case Skip() as skip:
            return Decision(status_messages.skipped(record, skip))
        case Blocked() as blocked if context.suspended and not _is_ahead(record, blocked):
            return Decision(status_messages.with_phase(record, status_messages.suspended(blocked)))
        case Blocked() as blocked:
            return Decision(status_messages.blocked(record, blocked))
        case Refused() as refused:
            return Decision(status_messages.with_phase_and_event(record, status_messages.refused(refused)))
        case DesiredRun() as desired:
            return _desired_run(observed, record, desired, context)


def _is_ahead(record: TrackStatus, blocked: Blocked) -> bool:
    return blocked.empty is not None and record.version is not None


def _is_running(pod: ObservedPod) -> bool:
    return pod.container == "running" and not pod.over


def _desired_run(
    observed: ObservedTrack, record: TrackStatus, desired: DesiredRun, context: ReconcileContext
) -> Decision:
    digest = desired_digest(observed)
    if record.inputs_digest not in (None, digest):
        record = replace(record, plan=None, approved=None)  # it was made from other inputs
    same = record.finished_at is not None and record.inputs_digest == digest
    handled = same and not has_new_command(observed, record) and not _needs_no_approval(record, context)
    owner = released_owner(observed, record)
    recheck = _next_recheck(observed, record, desired, context)
    overdue = recheck is not None and recheck <= context.now and not context.suspended
    if handled and record.retry_at is None and not owner and not overdue:
        settled = status_messages.settled(record, desired, context, observed.owner)
        return Decision(settled, due=None if context.suspended else recheck)
    routine = handled and not owner and (bool(record.routine) if record.retry_at else overdue)
    record = replace(record, routine=routine or None)
    if context.suspended:
        return Decision(status_messages.with_phase(record, status_messages.suspended()))
    if handled and record.retry_at is not None and context.now < record.retry_at:
        retrying = status_messages.with_phase(record, status_messages.retrying(record))
        return Decision(retrying, due=record.retry_at)
    again = handled and (not overdue or _waits_for_files(record, desired))
    planned = gate(observed, record, context) or plan(observed, record, desired, context, again=again)
    return _with_take_over(planned, observed, owner)


def _needs_no_approval(record: TrackStatus, context: ReconcileContext) -> bool:
    """Whether a plan that waited for approval needs none now: the spec says so, or the plan is empty."""
    if record.outcome is not Outcome.AWAITING_APPROVAL:
        return False
    nothing = record.plan is None or record.plan.count == 0
    return not context.manual or (nothing and not context.plan_only)


def _with_take_over(planned: Decision, observed: ObservedTrack, owner: Owner | None) -> Decision:
    """An Event where the run takes the track over from a set that has released it."""
    if owner is None or not planned.actions:
        return planned
    text = f"{observed.track}: takes over from the set {owner.name}{EXPLANATIONS[observed.owner]}"
    return replace(planned, notes=(EventNote(False, EventReason.TAKING_OVER, text),))


def _waits_for_files(record: TrackStatus, desired: DesiredRun) -> bool:
    """Whether the volume was empty, and must not be."""
    empty = record.outcome is Outcome.SOURCE_EMPTY and record.version is None
    return empty and desired.volume is not None and not desired.allow_empty


def _next_recheck(
    observed: ObservedTrack, record: TrackStatus, desired: DesiredRun, context: ReconcileContext
) -> datetime | None:
    """When to check the database again although no change is known."""
    if record.finished_at is None or record.outcome is Outcome.CONFLICT:
        return None  # another set owns it: its release is observed, not polled
    if observed.lost_at is not None and observed.lost_at >= record.finished_at:
        return record.finished_at
    pauses = [desired.recheck] if desired.recheck else []
    if _waits_for_files(record, desired):
        pauses.append(timedelta(seconds=backoff(context.retry.backoff, record.waits)))
    return record.finished_at + min(pauses) if pauses else None
