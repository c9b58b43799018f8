"""What was observed about a track: all that a decision may depend on."""

from dataclasses import field
from datetime import datetime, timedelta
from typing import Final

from fluxbase_migrations.api.status import JobReference, Progress, TrackStatus
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.decisions.command_status import PendingCommands
from fluxbase_migrations.decisions.desired import Desired, RetryPolicy
from fluxbase_migrations.decisions.job_state import (
    Container,
    Explanation,
    NotStarted,
    ObservedJob,
    ObservedPod,
    state,
)
from fluxbase_migrations.decisions.owner import OwnerState

EVENTS_AFTER: Final = timedelta(seconds=5)
"""How long a Job may wait in silence before its Events are read."""


CANNOT_START_AFTER: Final = timedelta(seconds=5)
"""How long a Job may be kept from starting, as Kubernetes says, until it releases its slot."""
SLOW_START: Final = timedelta(seconds=60)
"""The same, where nothing says that it cannot start: the image may still be pulled."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server refused a Job."""

    run: int
    template: str
    """What the Job would have been made from."""
    message: str
    permanent: bool
    """Whether only a change of the spec can help."""
    retry_at: datetime


@dataclass(frozen=True, slots=True)
class Queue:
    """Why a Job may not be created yet."""

    setting: str
    """The operator's setting whose limit is reached."""
    limit: int
    ahead: int
    """How many sets get a slot first."""
    holders: tuple[tuple[str, int], ...] = ()
    """Namespaces with the slots that they hold; those that hold the most."""
    others: int = 0
    """How many more namespaces hold some."""


@dataclass(frozen=True, slots=True)
class ObservedTrack:
    """What was observed about one track."""

    track: Track
    desired: Desired
    record: TrackStatus = field(default_factory=TrackStatus)
    jobs: tuple[ObservedJob, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    foreign_jobs: tuple[ObservedJob, ...] = ()
    """Jobs of a deleted set of the same name."""
    foreign_pods: tuple[ObservedPod, ...] = ()
    """Pods of a deleted set of the same name."""
    queue: Queue | None = None
    """What one more Job has to wait for; None: it may be created now."""
    queue_if_begun: Queue | None = None
    """The same where the set's other track was served already: such sets go before those not begun."""
    event: Explanation | None = None
    created: JobReference | None = None
    """The Job that this process created last."""
    refusal: Refusal | None = None
    owner: OwnerState | None = None
    """What is known of the set that claims this track's database; None: none does."""
    lost_at: datetime | None = None
    """When another set said that it took this track over from this one."""
    progress: Progress | None = None
    pending_commands: PendingCommands = field(default_factory=PendingCommands)
    """The commands that the next run has to carry."""


@dataclass(frozen=True, slots=True)
class ReconcileContext:
    """What is the same for both tracks of the set, at one reconciliation."""

    uid: str
    name: str
    now: datetime
    retry: RetryPolicy
    suspended: bool = False
    manual: bool = False
    """``approval: Manual``."""
    plan_only: bool = False
    """The system track waits for its approval: this track may only make its plan."""
    upstream: str | None = None
    """Why the track may not start yet; None: it may."""
    database_digest: str | None = None
    """Digest of ``spec.database``."""
    expected_database: DatabaseIdentity | None = None
    """The database that the system track was applied to."""


def occupies_slot(observed: ObservedTrack, record: TrackStatus, now: datetime) -> bool:
    """Whether the track takes a slot: a container runs, or a Job is about to start one.

    ``record`` is what the status says of the track.
    """
    if any(_runs(pod, now) for pod in observed.pods):
        return True
    jobs = [job for job in observed.jobs if not _is_recorded(observed, job, record)]
    return any(_is_about_to_start(observed, job, now) for job in jobs) or leftovers_occupy_slot(
        observed.foreign_jobs, observed.foreign_pods, now
    )


def leftovers_occupy_slot(
    jobs: tuple[ObservedJob, ...], pods: tuple[ObservedPod, ...], now: datetime
) -> bool:
    """Whether what is left of a deleted set takes a slot: until it is collected, it works or starts."""
    if any(_runs(pod, now) for pod in pods):
        return True
    by_run = {(job.set_uid, job.run): job for job in jobs}
    for set_and_run in {*by_run, *((pod.set_uid, pod.run) for pod in pods)}:
        pods_of_run = tuple(pod for pod in pods if (pod.set_uid, pod.run) == set_and_run)
        current = state(by_run.get(set_and_run), pods_of_run, now)
        if isinstance(current, NotStarted) and now - current.since < SLOW_START:
            return True
    return False


def _is_recorded(observed: ObservedTrack, job: ObservedJob, record: TrackStatus) -> bool:
    """Whether the end of its run is known: when its pod is gone, its own status may lag behind that."""
    ended = job.run < record.run or (job.run == record.run and record.finished_at is not None)
    return ended and not any(pod.run == job.run and pod.active for pod in observed.pods)


def _runs(pod: ObservedPod, now: datetime) -> bool:
    """Whether the container runs; one on a lost node does not count, as its end is never observed."""
    return pod.container is Container.RUNNING and not pod.over and not pod.lost(now)


def _is_about_to_start(observed: ObservedTrack, job: ObservedJob, now: datetime) -> bool:
    current = state(job, tuple(pod for pod in observed.pods if pod.run == job.run), now)
    if not isinstance(current, NotStarted):
        return False
    warned = observed.event is not None and observed.event.warning
    limit = CANNOT_START_AFTER if current.reason or warned else SLOW_START
    return now - current.since < limit
