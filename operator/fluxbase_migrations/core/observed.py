"""What was observed about a track: all that a decision may depend on."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.runs import Explanation, JobSeen, PodSeen
from fluxbase_migrations.core.status import JobReference, Progress, TrackStatus
from fluxbase_migrations.core.wish import RetryPolicy, Wish

EVENTS_AFTER: Final = timedelta(seconds=5)
"""How long a Job may wait in silence before its Events are read."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The API server refused a Job."""

    run: int
    template: str
    """What the Job would have been made from."""
    message: str
    permanent: bool
    """Only a change can help."""
    retry_at: datetime


@dataclass(frozen=True, slots=True)
class TrackSeen:
    """What was observed about one track."""

    track: Track
    wish: Wish
    record: TrackStatus = field(default_factory=TrackStatus)
    jobs: tuple[JobSeen, ...] = ()
    pods: tuple[PodSeen, ...] = ()
    foreign_pods: tuple[PodSeen, ...] = ()
    """Pods of a deleted set of the same name."""
    slot: bool = True
    """Whether one more Job may be created now."""
    event: Explanation | None = None
    created: JobReference | None = None
    """The Job that this process created last."""
    refusal: Refusal | None = None
    owner_exists: bool | None = None
    """Whether the set that claims this track's database is still there; None: not known."""
    progress: Progress | None = None
    requested_at: str | None = None
    """Value of the annotation that counts now."""


@dataclass(frozen=True, slots=True)
class Context:
    """What holds for the whole set."""

    uid: str
    name: str
    now: datetime
    retry: RetryPolicy
    suspended: bool = False
    upstream: str | None = None
    """Why the track may not start yet; None: it may."""
