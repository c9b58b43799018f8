"""What a decision about a track may ask for."""

import base64
import hashlib
from datetime import datetime

from fluxbase_migrations.api.status import TrackStatus
from fluxbase_migrations.core.approval import ApprovedPlan
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.decisions.desired import EventNote


@dataclass(frozen=True, slots=True)
class CreateJob:
    """Create the Job of a planned run."""

    track: Track
    run: int
    name: str
    inputs_digest: str
    template: str
    requested: bool
    requested_at: str | None
    force: str | None
    take_over_from: str | None
    take_over: str | None = None
    command_database: DatabaseIdentity | None = None
    database_digest: str | None = None
    expected_database: DatabaseIdentity | None = None
    approved: ApprovedPlan | None = None
    """The plan that it may apply, under ``approval: Manual``."""
    plan_only: bool = False


@dataclass(frozen=True, slots=True)
class DeleteJob:
    """Delete a Job; ``wait`` for its pods (foreground) where a successor waits for its end."""

    name: str
    uid: str
    wait: bool


@dataclass(frozen=True, slots=True)
class SetTtl:
    """Let Kubernetes collect a Job whose result is in the status."""

    name: str
    uid: str


@dataclass(frozen=True, slots=True)
class FreePod:
    """Let a pod be moved or evicted: its migration has ended, and a sidecar keeps it."""

    name: str


Action = CreateJob | DeleteJob | SetTtl | FreePod


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about one track."""

    record: TrackStatus
    actions: tuple[Action, ...] = ()
    notes: tuple[EventNote, ...] = ()
    due: datetime | None = None
    """When to reconcile again without a change."""
    queued: bool = False
    """A Job would be created if there were a slot for it."""


def job_name(set_name: str, set_uid: str, track: Track, run: int) -> str:
    """Name of a run's Job: unique for each run, and for a set that is deleted and created again."""
    short = set_name.replace(".", "-")[:40].rstrip("-")
    hashed = hashlib.sha256(f"{set_uid}/{track}/{run}".encode()).digest()
    suffix = base64.b32encode(hashed)[:10].decode().lower()
    return f"{short}-{'sys' if track is Track.SYSTEM else 'usr'}-{suffix}"
