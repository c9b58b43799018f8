"""The resource's status, as records.

The docstrings are the descriptions in the CRD; JSON names are camelCase.
"""

from collections.abc import Callable, Mapping
from dataclasses import field, replace
from datetime import datetime

from fluxbase_migrations.core.approval import TrackPlan
from fluxbase_migrations.core.exposure import Exposure
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.json_names import JSON_NAMES
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import CommandState, Phase, Track
from fluxbase_migrations.core.result import AppliedFile, ErrorInfo, Outcome


@dataclass(frozen=True, slots=True)
class JobReference:
    """The Job of a run."""

    __pydantic_config__ = JSON_NAMES

    name: str
    """Name of the Job, in the set's namespace."""
    uid: str | None = None
    """Its uid; absent until it has been seen."""


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a running Job is."""

    __pydantic_config__ = JSON_NAMES

    file: str
    """The file that runs now."""
    number: int
    """Its number among the files of this run, from 1."""
    total: int
    """How many files this run executes."""
    since: datetime
    """When this file began."""
    waiting: str | None = None
    """The lock that the running statement waits for, and who holds it."""


@dataclass(frozen=True, slots=True)
class Owner:
    """The set that owns a database's track."""

    __pydantic_config__ = JSON_NAMES

    name: str
    """namespace/name of the set."""
    uid: str | None = None
    """Its uid."""
    cluster: str | None = None
    """Uid of its namespace; tells sets of one cluster from those of another."""

    def described(self) -> str:
        """For messages."""
        return f"the set {self.name} (uid {self.uid})"


@dataclass(frozen=True, slots=True)
class Commands:
    """The commands that the present run carries, by the values of their annotations."""

    __pydantic_config__ = JSON_NAMES

    requested_at: str | None = None
    """Value of fluxbase.io/requested-at."""
    requested: bool | None = None
    """Whether the request still counts: until a run with it has ended for good."""
    force: str | None = None
    """Value of fluxbase.io/force."""
    take_over: str | None = None
    """Value of fluxbase.io/take-over."""
    approve: str | None = None
    """Value of fluxbase.io/approve: the run may apply the plan that it approved."""
    obeyed: tuple[str, ...] = ()
    """Values of fluxbase.io/force, take-over and approve that were obeyed last."""


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """A command given as an annotation, and its state."""

    __pydantic_config__ = JSON_NAMES

    value: str
    """The annotation's value."""
    state: CommandState
    """Waiting, InProgress, Obeyed, Refused or Withdrawn."""
    message: str | None = None
    """Why it waits or was refused."""
    database: DatabaseIdentity | None = None
    """The database that was known when it was given; it is for no other. Absent: none was known."""
    database_digest: str | None = None
    """Digest of the spec.database that it was given for; it is for no other."""
    manager: str | None = None
    """The field manager that wrote it. Who really did is in the API server's audit log."""
    time: datetime | None = None
    """When it was written."""


@dataclass(frozen=True, slots=True)
class CommandsStatus:
    """The last value of each annotation that is a command."""

    __pydantic_config__ = JSON_NAMES

    requested_at: CommandStatus | None = None
    """fluxbase.io/requested-at."""
    force: CommandStatus | None = None
    """fluxbase.io/force."""
    take_over: CommandStatus | None = None
    """fluxbase.io/take-over."""
    approve: CommandStatus | None = None
    """fluxbase.io/approve."""

    def map(self, change: Callable[[CommandStatus], CommandStatus]) -> "CommandsStatus":
        """Each command that there is, changed."""
        every = (self.requested_at, self.force, self.take_over, self.approve)
        return CommandsStatus(*(command and change(command) for command in every))


@dataclass(frozen=True, slots=True)
class SetPlan:
    """What waits for approval, over both tracks; tracks.*.plan has the parts."""

    __pydantic_config__ = JSON_NAMES

    digest: str
    """Approves the plan, as the value of the annotation fluxbase.io/approve. It covers the database, the
    recorded versions and the files with their content: whatever changes, the digest changes."""
    count: int
    """How many files would run."""
    files: tuple[str, ...] = ()
    """The first of them, as track/file."""
    strongest_lock: str | None = None
    """The strongest lock that would be taken on an existing relation. Absent: none, or not known."""
    destructive: bool | None = None
    """Whether a statement destroys something. Absent: not known."""
    unknown: bool = False
    """Whether there are statements whose effects cannot be told without running them."""
    tracks: tuple[Track, ...] = ()
    """The tracks that have something to run, in order."""


@dataclass(frozen=True, slots=True)
class SourceRead:
    """The ConfigMaps of a track as the operator has read them."""

    __pydantic_config__ = JSON_NAMES

    objects: tuple[str, ...]
    """uid/resourceVersion of each ConfigMap. While they are the same, a restarted operator does not read
    them again."""
    digest: str
    """Digest of the migration files in them."""
    rules: int
    """Version of the operator's rules for files that they were read with."""


@dataclass(frozen=True, slots=True)
class TrackStatus:
    """State of one track: what the tracking table said when it was last read, and the run that read it."""

    __pydantic_config__ = JSON_NAMES

    phase: Phase = Phase.PENDING
    """Pending, Running, Applied, Failed, RolledBack or Skipped."""
    reason: str | None = None
    """Why the track is in this phase, in one word."""
    message: str | None = None
    """Why the track is in this phase, for a person: what, where, what to do."""
    version: int | None = None
    """Version in the tracking table as it was last read; absent: nothing applied, or never read."""
    dirty: bool = False
    """The tracking table's dirty flag as it was last read."""
    latest: int | None = None
    """The source's highest version."""
    pending: int | None = None
    """How many migrations are still to be applied. Absent until a run has read the tracking table; for a
    volume, whose content only a run can read, as the last run found it."""
    applied: tuple[AppliedFile, ...] = ()
    """The last files that the last run executed, newest last."""
    skipped_versions: tuple[int, ...] = ()
    """Versions below the recorded one that were never applied."""
    warnings: tuple[str, ...] = ()
    """Warnings of the last run."""
    exposed: int | None = None
    """How many objects anon or authenticated reach past row-level security. Absent: not checked."""
    exposures: tuple[Exposure, ...] = ()
    """The first of these objects, each with the statement that closes it."""
    recovered: str | None = None
    """What the last run did to recover from a dirty state."""
    source_digest: str | None = None
    """Digest of the migration files that the last run read."""
    source: SourceRead | None = None
    """The ConfigMaps that this status was decided on. Absent: none, or no run could use their files."""
    inputs_digest: str | None = None
    """Digest of the inputs that determine the result of the present run."""
    database: DatabaseIdentity | None = None
    """The database from which version, dirty, pending and applied were read; without pending, a run has found
    it and not read it yet. Absent: none was found yet."""
    read_at: datetime | None = None
    """When it was read, or found: the end of that run."""
    database_digest: str | None = None
    """Digest of the spec.database that the present run was planned for."""
    run: int = 0
    """Number of the present run; only grows."""
    job: JobReference | None = None
    """The Job of the present run."""
    routine: bool | None = None
    """Whether the present run is a routine check, which shows only when it has found something."""
    outcome: Outcome | None = None
    """How the last finished run ended."""
    rolled_back: bool | None = None
    """Whether the present version was reached by rolling back."""
    started_at: datetime | None = None
    """When the container of the present run was started."""
    finished_at: datetime | None = None
    """When the present run ended; absent while it has not."""
    attempts: int = 0
    """How many runs for the present inputs count against retry.limit, the present one included."""
    waits: int = 0
    """Consecutive runs that could not start their work: unreachable, locked, interrupted."""
    retry_at: datetime | None = None
    """When the next retry is due."""
    progress: Progress | None = None
    """Progress of the running Job."""
    error: ErrorInfo | None = None
    """The error of the last run."""
    claimed_by: Owner | None = None
    """The other set that owns this track of this database."""
    taken_from: Owner | None = None
    """The set that this track of this database was taken over from."""
    taken_at: datetime | None = None
    """When it was taken over."""
    plan: TrackPlan | None = None
    """What waits for approval or, once that is given, is applied by the present run. Absent: nothing."""
    approved: str | None = None
    """Value of fluxbase.io/approve that approved the plan."""
    commands: Commands = field(default_factory=Commands)
    """The commands that the present run carries."""

    @property
    def known(self) -> bool:
        """Whether a run has read the tracking table: one that only found another database there has not."""
        return self.pending is not None or self.version is not None or self.dirty

    @property
    def outstanding(self) -> bool:
        """Whether a run was planned whose end has not been recorded."""
        return self.job is not None and self.finished_at is None


@dataclass(frozen=True, slots=True)
class TracksStatus:
    """Both tracks."""

    __pydantic_config__ = JSON_NAMES

    system: TrackStatus | None = None
    """The platform's own migrations, tracked in migrations.fluxbase."""
    user: TrackStatus | None = None
    """The application's migrations, tracked in migrations.app."""

    def of(self, track: Track) -> TrackStatus:
        """The track's record; an empty one if there is none yet."""
        return (self.system if track is Track.SYSTEM else self.user) or TrackStatus()


@dataclass(frozen=True, slots=True)
class Condition:
    """A standard Kubernetes condition."""

    __pydantic_config__ = JSON_NAMES

    type: str
    """Ready; Reconciling or Stalled, present only while true."""
    status: str
    """True or False."""
    reason: str
    """Why, in one word."""
    message: str
    """Why, for a person."""
    last_transition_time: datetime
    """When status last changed."""
    observed_generation: int
    """The generation of the spec that this condition is about."""


@dataclass(frozen=True, slots=True)
class SetStatus:
    """What the operator last observed and decided."""

    __pydantic_config__ = JSON_NAMES

    observed_generation: int = -1
    """The generation of the spec that this status is about; -1 before the first reconciliation."""
    phase: Phase | None = None
    """First present of Failed, Running, Pending, RolledBack, Applied among the tracks not Skipped."""
    dirty: bool | None = None
    """Whether either track's tracking table is marked dirty."""
    pending: int | None = None
    """How many migrations are still to be applied, over both tracks; absent while it is not known of each."""
    database: DatabaseIdentity | None = None
    """The database that the tracks' facts were read from. Absent: no run has read it yet."""
    database_digest: str | None = None
    """Digest of the spec.database that this status is about."""
    tracks: TracksStatus = field(default_factory=TracksStatus)
    """The status of each track."""
    last_handled_requested_at: str | None = None
    """The last value of fluxbase.io/requested-at that a run carries or has carried, or that was refused."""
    last_handled_force: str | None = None
    """The last value of fluxbase.io/force that a run carries or has carried, or that was refused."""
    plan: SetPlan | None = None
    """The plan that waits for approval. Absent: none does."""
    commands: CommandsStatus = field(default_factory=CommandsStatus)
    """The commands that were given as annotations."""
    conditions: tuple[Condition, ...] = ()
    """Ready, and exactly one of Reconciling and Stalled while Ready is not True."""


def with_sources(status: SetStatus, sources: Mapping[Track, SourceRead | None]) -> SetStatus:
    """The status with the ConfigMaps that were read for it; None: a track has none."""
    tracks = TracksStatus(
        *(
            record and replace(record, source=sources[track])
            for track, record in ((Track.SYSTEM, status.tracks.system), (Track.USER, status.tracks.user))
        )
    )
    return replace(status, tracks=tracks)
