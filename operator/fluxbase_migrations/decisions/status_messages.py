"""How a track's record shows: phase, reason and message, each situation in one place."""

from dataclasses import replace
from datetime import datetime
from typing import Final

from fluxbase_migrations.api.reasons import ADVICE, Effect, Reason, effect
from fluxbase_migrations.api.status import Owner, Progress, TrackStatus
from fluxbase_migrations.core.approval import files_wait, risks
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.exposure import counted
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import ANNOTATION_APPROVE, ANNOTATION_FORCE, Phase
from fluxbase_migrations.core.result import ErrorInfo, Outcome
from fluxbase_migrations.core.text import cut, visible
from fluxbase_migrations.decisions.desired import Blocked, DesiredRun, Refused, Skip
from fluxbase_migrations.decisions.job_state import Explanation, NotStarted, ObservedJob, ObservedPod
from fluxbase_migrations.decisions.observed import Queue, ReconcileContext
from fluxbase_migrations.decisions.owner import EXPLANATIONS, OwnerState

SETTLED: Final = (Phase.APPLIED, Phase.ROLLED_BACK, Phase.SKIPPED)
"""Phases in which nothing is left to be done."""
_ROUTINE: Final = "; routine check: "
MESSAGE_LIMIT: Final = 1024
"""Characters."""


@dataclass(frozen=True, slots=True)
class PhaseStatus:
    """What is shown of a track."""

    phase: Phase
    reason: str
    message: str


def is_quiet(record: TrackStatus) -> bool:
    """Whether a routine check is outstanding, or waits for its retry, and has found nothing so far."""
    if not record.routine:
        return False
    if record.phase is Phase.FAILED or record.reason == Outcome.AWAITING_APPROVAL:
        return True
    return record.phase in SETTLED and not record.dirty


def with_phase(record: TrackStatus, view: PhaseStatus) -> TrackStatus:
    """The record with this phase, reason and message; unchanged while a routine check is quiet."""
    if is_quiet(record):
        return record
    message = cut(visible(view.message), MESSAGE_LIMIT)
    running = view.phase is Phase.RUNNING
    progress = record.progress if running else None
    return replace(record, phase=view.phase, reason=view.reason, message=message, progress=progress)


def with_phase_and_event(record: TrackStatus, view: PhaseStatus) -> TrackStatus:
    """As :func:`with_phase`, and ends the quiet of a routine check."""
    return with_phase(replace(record, routine=None), view)


def with_waiting_phase(record: TrackStatus, view: PhaseStatus) -> TrackStatus:
    """As :func:`with_phase`, for a Job that does not start; of a routine check only the message changes."""
    if not is_quiet(record) or view.reason == Reason.POD_PENDING:
        return with_phase(record, view)
    own = (record.message or "").partition(_ROUTINE)[0]
    return replace(record, message=cut(f"{own}{_ROUTINE}{visible(view.message)}", MESSAGE_LIMIT))


def _pending(reason: str, message: str) -> PhaseStatus:
    return PhaseStatus(Phase.PENDING, reason, message)


def starting() -> PhaseStatus:
    """The run is planned."""
    return _pending(Reason.STARTING, "Job is being created")


def queued(queue: Queue) -> PhaseStatus:
    """No slot is free."""
    text = f"queued: {queue.setting} limit ({queue.limit}) reached, {queue.ahead} ahead"
    holders = [f"{count} in {namespace}" for namespace, count in queue.holders]
    holders += [f"some in {queue.others} more namespaces"] if queue.others else []
    return _pending(Reason.QUEUED, f"{text}; slots are held by migrations: {', '.join(holders)}")


def suspended(blocked: Blocked | None = None) -> PhaseStatus:
    """Changes are pending and the set is suspended; ``blocked``: they could not be applied anyway."""
    text = "suspended with pending changes; set spec.suspend=false to resume"
    return _pending(Reason.SUSPENDED, f"{text}. {blocked.message}" if blocked else text)


def waiting_for_system(why: str) -> PhaseStatus:
    """The user track waits until the system track is applied."""
    return _pending(Reason.WAITING_FOR_SYSTEM, f"waiting for the system track; {why}")


def waiting_for_previous(old: ObservedJob | ObservedPod) -> PhaseStatus:
    """Something of an earlier run is still there, and may still run."""
    if isinstance(old, ObservedPod):
        text = (
            f"waiting for pod {old.name} of an earlier run to end; if it never will: "
            f"kubectl delete pod {old.name}"
        )
    else:
        text = (
            f"waiting for Job {old.name} of an earlier run to be deleted; if a finalizer keeps it: "
            f"""kubectl patch job {old.name} --type=merge -p '{{"metadata":{{"finalizers":null}}}}'"""
        )
    return _pending(Reason.WAITING_FOR_PREVIOUS_PODS, text)


def orphaned(pod: ObservedPod) -> PhaseStatus:
    """The Job is gone, and its pod, which may start at any time, has no owner."""
    why = f": {pod.waiting_message or pod.waiting_reason}" if pod.waiting_reason else ""
    text = (
        f"pod {pod.name} has not started and its Job was deleted without it{why}; to continue: "
        f"kubectl delete pod {pod.name}"
    )
    return _pending(Reason.JOB_DELETED, text)


def replacing() -> PhaseStatus:
    """A Job that has not started is replaced by a newer one."""
    return _pending(Reason.REPLACING, "replacing the Job, which has not started, with a newer one")


def being_deleted(since: datetime) -> PhaseStatus:
    """The Job is being deleted, not by the operator."""
    return _pending(
        Reason.JOB_DELETED, f"Job created at {since:%H:%M:%S} is being deleted; a new one will be created"
    )


def job_deleted(name: str) -> ErrorInfo:
    """Why a run that never started is over."""
    return ErrorInfo(f"the Job {name} was deleted before its container had started")


def job_refused(message: str, *, permanent: bool) -> PhaseStatus:
    """The API server refused the Job; ``permanent``: as invalid."""
    if permanent:
        text = f"the API server refused the Job: {message}. Correct spec.job."
        return PhaseStatus(Phase.FAILED, Reason.JOB_REFUSED, text)
    return _pending(
        Reason.JOB_REFUSED, f"the API server refused the Job: {message}; it will be retried automatically"
    )


def running(progress: Progress | None, *, newer: bool) -> PhaseStatus:
    """The container runs."""
    text = "the migrations are running"
    if progress:
        text = f"running {progress.file}, {progress.number} of {progress.total}"
        if progress.waiting:
            text += f"; waiting for {progress.waiting}"
    if newer:
        text += "; newer changes will be applied after this run"
    return PhaseStatus(Phase.RUNNING, Reason.RUNNING, text)


def node_lost(pod: str) -> PhaseStatus:
    """The container's node does not answer.

    The Job has to go with its pod: its finalizer would keep the pod, which without a kubelet never ends.
    """
    job = pod.rpartition("-")[0]
    text = (
        f"node of pod {pod} is not responding; nothing is started while this migration may still run. "
        f"If the node is gone for good: kubectl delete job/{job} pod/{pod} --force --grace-period=0"
    )
    return PhaseStatus(Phase.RUNNING, Reason.NODE_LOST, text)


_POD_ADVICE: Final[dict[str, str]] = {
    "CreateContainerConfigError": "Create it or correct the reference; it will be retried automatically.",
    "ImagePullBackOff": "Correct the image in the operator's installation, or the access to its registry.",
    "ErrImagePull": "Correct the image in the operator's installation, or the access to its registry.",
    "ErrImageNeverPull": "Load the image onto the node, or change the operator's JOB_IMAGE_PULL_POLICY.",
    "InvalidImageName": "Correct the image in the operator's installation.",
    "Unschedulable": "Make room, or change spec.job (resources, nodeSelector, tolerations, affinity).",
    "FailedMount": "Make the volume available; it will be retried automatically.",
    "FailedCreate": "It will be retried automatically when the namespace admits the pod.",
}


def waiting(run: NotStarted, event: Explanation | None) -> PhaseStatus:
    """The Job has not started; its pod may say why."""
    reason, message = run.reason, run.message
    if reason is None and event is not None and event.warning and event.reason:
        reason, message = event.reason, event.message
    if reason is None:
        detail = f": {event.message}" if event and event.message else ""
        return _pending(Reason.POD_PENDING, f"waiting for the pod to start{detail}")
    advice = _POD_ADVICE.get(reason, "")
    if reason == "Unschedulable" and "persistent" in (message or "").lower():
        advice = "Create the claim, or a volume that fits it; it will be retried automatically."
    text = f"pod has not started: {message or reason}"
    return _pending(reason, f"{text.rstrip('.')}. {advice}" if advice else text)


def retrying(record: TrackStatus) -> PhaseStatus:
    """The last run failed, and a retry is due."""
    why = describe(record.error) if record.error else "the last run did not complete"
    when = f"; next retry at {record.retry_at:%Y-%m-%dT%H:%M:%SZ}" if record.retry_at else ""
    return _pending(_reason_of(record), why + when)


def _reason_of(record: TrackStatus) -> str:
    if record.outcome is not None:
        return Reason.DATABASE_CLAIMED if record.outcome is Outcome.CONFLICT else record.outcome
    return Reason.JOB_DELETED if record.waits else Reason.RESULT_MISSING


def skipped(record: TrackStatus, skip: Skip) -> TrackStatus:
    """The track is skipped and keeps its last known version. A pending retry becomes a new run afterwards."""
    handled = None if record.retry_at else record.inputs_digest
    record = replace(record, retry_at=None, inputs_digest=handled, routine=None)
    return with_phase(record, PhaseStatus(Phase.SKIPPED, skip.reason, skip.message))


def blocked(record: TrackStatus, why: Blocked) -> TrackStatus:
    """The track waits for its source; Failed if the database is already ahead of an empty source."""
    record = replace(record, routine=None)
    if why.empty and record.version is not None:
        return with_phase(
            record, PhaseStatus(Phase.FAILED, Outcome.AHEAD_OF_SOURCE, _ahead(record, why.message))
        )
    return with_phase(record, _pending(why.reason, why.message))


def _ahead(record: TrackStatus, what: str) -> str:
    return (
        f"{what}, but the database is at version {record.version}: it is ahead of its source. "
        f"{ADVICE[Outcome.AHEAD_OF_SOURCE]}"
    )


def refused(why: Refused) -> PhaseStatus:
    """The files or the spec cannot be used, so that no run is started."""
    return PhaseStatus(Phase.FAILED, why.reason, why.message)


def settled(
    record: TrackStatus, desired: DesiredRun, context: ReconcileContext, owner: OwnerState | None = None
) -> TrackStatus:
    """These inputs are handled: phase and message of the last run's outcome."""
    record = replace(record, routine=None)
    version = "no version applied" if record.version is None else f"version {record.version}"
    match effect(record.outcome):
        case Effect.SETTLE if record.outcome is Outcome.ROLLED_BACK:
            text = "rolled back everything" if record.version is None else f"rolled back to {version}"
            return with_phase(
                record, PhaseStatus(Phase.ROLLED_BACK, Outcome.ROLLED_BACK, f"{text}{_exposed(record)}")
            )
        case Effect.SETTLE:
            return with_phase(
                record, PhaseStatus(Phase.APPLIED, Outcome.APPLIED, f"{version}{_exposed(record)}")
            )
        case Effect.EMPTY:
            return _empty(record, desired)
        case Effect.APPROVAL:
            return with_phase(record, _awaiting(record, context))
        case _:
            text = claimed(record.claimed_by, owner, context) if record.claimed_by else _failure(record)
            return with_phase(record, PhaseStatus(Phase.FAILED, _reason_of(record), text))


def _exposed(record: TrackStatus) -> str:
    """The suffix for exposed objects, if there are any."""
    return f"; {counted(record.exposed)}, see exposures" if record.exposed else ""


def _awaiting(record: TrackStatus, context: ReconcileContext) -> PhaseStatus:
    """A plan waits for approval; an empty one for the system track's."""
    plan = record.plan
    if plan is None or plan.count == 0:
        return waiting_for_system("its plan waits for approval")
    if context.suspended:
        return suspended()
    if record.approved is not None:
        return _pending(Outcome.AWAITING_APPROVAL, "the plan is approved")
    goal = "nothing applied" if plan.to_version is None else f"version {plan.to_version}"
    summary = risks(plan.strongest_lock, plan.destructive, plan.unknown)
    return _pending(
        Outcome.AWAITING_APPROVAL,
        f"{files_wait(plan.count)} for approval (to {goal}; {summary}). To approve: kubectl fluxbase "
        f"approve {context.name}, or annotation {ANNOTATION_APPROVE}=<status.plan.digest>",
    )


def claimed(by: Owner, owner: OwnerState | None, context: ReconcileContext) -> str:
    """Another set owns the database's track."""
    text = f"this track of the database belongs to the set {by.name}{EXPLANATIONS[owner]}. "
    if owner is OwnerState.PRESENT:
        text += "Delete that set, give this one a database of its own, or hand over on purpose"
    else:
        text += "If that set no longer uses the database"
    return f"{text}: kubectl fluxbase take-over {context.name}"


def _empty(record: TrackStatus, desired: DesiredRun) -> TrackStatus:
    if record.version is not None:
        text = _ahead(record, "the source has no migration files")
        return with_phase(record, PhaseStatus(Phase.FAILED, Outcome.AHEAD_OF_SOURCE, text))
    if desired.volume and desired.allow_empty:
        text = (
            "the volume has no migration files; copy them there, then run kubectl rollout restart on the "
            "operator's deployment, set recheckInterval, or change the annotation fluxbase.io/requested-at"
        )
        return with_phase(record, PhaseStatus(Phase.SKIPPED, Outcome.SOURCE_EMPTY, text))
    if desired.volume:
        text = (
            f"the volume has no migration files ({desired.volume}); copy them there or correct the path, "
            "or set allowEmpty: true if it may be empty. It is checked again automatically"
        )
        return with_phase(record, _pending(Outcome.SOURCE_EMPTY, text))
    text = "the source has no migration files (NNN_name.up.sql); changes are picked up automatically"
    return with_phase(record, _pending(Outcome.SOURCE_EMPTY, text))


def _failure(record: TrackStatus) -> str:
    text = describe(record.error) if record.error else f"the run ended as {_reason_of(record)}"
    if record.dirty:
        text += f" (dirty at version {record.version})"
    advice = _advice(record)
    return f"{text.rstrip('.')}. {advice}" if advice else text


def _advice(record: TrackStatus) -> str | None:
    """What to do, unless the runner's hint says it already."""
    if effect(record.outcome) is Effect.RETRY:
        return (
            "retry.limit is reached. To try again: kubectl fluxbase retry, or annotation "
            "fluxbase.io/requested-at."
        )
    hinted = record.error is not None and record.error.hint is not None
    if hinted and record.outcome in (Outcome.DIRTY, Outcome.UNPROVEN, Outcome.AHEAD_OF_SOURCE):
        return f"To force a version, set the annotation {ANNOTATION_FORCE}=<track>=<version>@<any new token>."
    if record.outcome is None or (hinted and record.outcome is not Outcome.SQL_ERROR):
        return None
    return ADVICE.get(record.outcome)
