"""What a track is to run: its spec, its source and its limits."""

from datetime import timedelta

from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.core.lazy_dataclass import dataclass


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """``spec.retry``."""

    limit: int = 5
    backoff: float = 10.0
    """Seconds before the first retry."""


@dataclass(frozen=True, slots=True)
class Skip:
    """The track is left out."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Blocked:
    """Nothing can be run until something outside changes, which the operator will notice."""

    reason: str
    message: str
    empty: "DesiredRun | None" = None
    """The source is there, without a single migration file: what a run would be for all the same."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing can be run until a user corrects the spec or what it names."""

    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class DesiredRun:
    """A state of the database."""

    base: str
    """Digest of everything that decides the end state, without commands."""
    template: str
    """Digest of what the Job's pod would be made from."""
    volume: str | None = None
    """The source is a volume: claim and path, for messages."""
    allow_empty: bool = False
    """An empty volume is fine as long as nothing was applied."""
    recheck: timedelta | None = None
    """How long after the end of a run the next one is due although nothing is known to have changed."""
    versions: tuple[int, ...] | None = None
    """The source's versions, in order; None: only the runner sees them."""
    target: int | None = None
    """``targetVersion``."""


Desired = Skip | Blocked | Refused | DesiredRun


@dataclass(frozen=True, slots=True)
class EventNote:
    """Something to tell as an Event."""

    warning: bool
    reason: str
    message: str
