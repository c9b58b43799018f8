"""What the cluster shows of one run: its Job and pods, and the one state they add up to."""

from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.result import Result

LOST_AFTER: Final = timedelta(seconds=30)
"""How long past its deadline a pod may go on terminating before its node counts as lost."""


class Container(StrEnum):
    """State of the container ``migrate``."""

    UNKNOWN = "unknown"
    WAITING = "waiting"
    RUNNING = "running"
    TERMINATED = "terminated"


@dataclass(frozen=True, slots=True)
class ObservedJob:
    """A Job of a track."""

    name: str
    uid: str
    run: int
    inputs_digest: str | None
    template_digest: str | None
    created_at: datetime
    set_uid: str = ""
    database_digest: str | None = None
    deleting: bool = False
    ended: bool = False
    """Its own status says Complete or Failed; it lags behind its pod."""
    reason: str | None = None
    """Why it failed, or will when its pod has ended: DeadlineExceeded, BackoffLimitExceeded, …"""
    message: str | None = None
    ttl: bool = False
    """Whether ttlSecondsAfterFinished is set."""


@dataclass(frozen=True, slots=True)
class ObservedPod:
    """A pod of a track."""

    name: str
    uid: str
    set_uid: str
    run: int
    container: Container
    created_at: datetime
    over: bool = False
    """The pod's phase is Succeeded or Failed, whether or not its container ever ran."""
    waiting_reason: str | None = None
    waiting_message: str | None = None
    started_at: datetime | None = None
    finished_at: datetime | None = None
    result: Result | None = None
    ended_because: str | None = None
    """Terminated without a result: OOMKilled, Evicted, exit code 137, …"""
    deletion_deadline: datetime | None = None
    """When its grace period ends; set while it is being deleted."""
    node_lost: bool = False
    undisturbed: bool = False
    """It asks not to be moved or evicted."""
    orphan: bool = False
    """It belongs to no Job: the Job was deleted with ``--cascade=orphan``."""

    @property
    def active(self) -> bool:
        """Whether its container runs or may still start."""
        return not self.over and self.container is not Container.TERMINATED

    def lost(self, now: datetime) -> bool:
        """Whether its node no longer answers."""
        overdue = self.deletion_deadline is not None and now > self.deletion_deadline + LOST_AFTER
        return self.node_lost or overdue


@dataclass(frozen=True, slots=True)
class Explanation:
    """The newest Event about a Job or pod that does not start."""

    warning: bool
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Absent:
    """Neither Job nor pod."""


@dataclass(frozen=True, slots=True)
class NotStarted:
    """The container has not been seen running."""

    job: ObservedJob | None
    since: datetime
    reason: str | None = None
    message: str | None = None
    orphan: ObservedPod | None = None
    """The pod, where the Job was deleted without it: Kubernetes will not delete it."""

    @property
    def deleting(self) -> bool:
        """Whether the Job is on its way out."""
        return self.job is None or self.job.deleting


@dataclass(frozen=True, slots=True)
class InFlight:
    """The container runs."""

    job: ObservedJob | None
    since: datetime
    pod: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Ended:
    """The container has terminated, or never will run."""

    job: ObservedJob | None
    result: Result | None
    because: str
    started_at: datetime | None = None
    finished_at: datetime | None = None


RunState = Absent | NotStarted | InFlight | Ended


def state(job: ObservedJob | None, pods: tuple[ObservedPod, ...], now: datetime) -> RunState:
    """What a run's Job and pods add up to. The pod is believed before the Job, whose status lags."""
    running = [pod for pod in pods if pod.container is Container.RUNNING and not pod.over]
    if running:
        first = min(running, key=lambda pod: pod.started_at or pod.created_at)
        return InFlight(
            job,
            since=first.started_at or first.created_at,
            pod=first.name,
            lost=all(pod.lost(now) for pod in running),
        )
    over = [pod for pod in pods if not pod.active]
    if over:
        last = max(over, key=lambda pod: (pod.result is not None, pod.finished_at or pod.created_at))
        return Ended(
            job,
            last.result,
            because=last.ended_because or "its container ended without a result",
            started_at=last.started_at,
            finished_at=last.finished_at,
        )
    if job is not None and job.ended:
        return Ended(
            job, None, because=": ".join(filter(None, (job.reason, job.message))) or "its pod is gone"
        )
    if job is None and not pods:
        return Absent()
    waiting = next((pod for pod in pods if pod.waiting_reason), None)
    since = min([*([job.created_at] if job else []), *(pod.created_at for pod in pods)])
    return NotStarted(
        job,
        since,
        reason=waiting.waiting_reason if waiting else None,
        message=waiting.waiting_message if waiting else None,
        orphan=next((pod for pod in pods if pod.orphan and not pod.deletion_deadline), None)
        if job is None
        else None,
    )
