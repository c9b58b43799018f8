"""What a decision about a dirty row depends on, and the possible decisions."""

from collections.abc import Callable, Sequence

from fluxbase_migrations.core.files import NIL, Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Recovery
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, Row
from fluxbase_migrations.runner.history.session_state import SessionState
from fluxbase_migrations.runner.sql.prepared_file import Prepared


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Run the whole file (again), from dirty to clean in one go."""

    step: Step
    proven: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after the first ``done`` statements, in a session like the one that they left."""

    step: Step
    done: int
    proven: bool
    reason: str
    session: SessionState | None = None
    """None where nothing is left to run, or nothing was run."""
    in_doubt_checksum: str | None = None
    """The next statement may have taken effect in part: the checksum of the statements up to and including
    it, as they were then."""


@dataclass(frozen=True, slots=True)
class Restore:
    """The failed file left nothing, and the target no longer needs it: record the version before it."""

    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """How far the runner may go on its own."""

    recovery: Recovery = Recovery.PROVEN
    retry_failed: bool = True
    """Run a file again that failed for good and has not changed, where it left nothing unproven."""
    retry_unproven: bool = False
    """The same where nothing is proven, or where a statement may have taken effect in part."""
    request: str | None = None
    """Which request that is, if it has a name: the operator repeats a run that ends without a result."""
    can_be_requested: bool = False
    """Whether the operator runs it, so that a user can request a retry; no command has such an option."""


@dataclass(frozen=True, slots=True)
class Case:
    """Everything that the decision about a dirty row depends on."""

    row: Row
    entries: Sequence[Entry]
    """Newest first."""
    source: MigrationFiles
    policy: Policy
    is_desired: Callable[[Step], bool]
    """Whether the target still calls for a step."""
    prepare: Callable[[Step], Prepared]


def about(entry: Entry, version: int | None, direction: str | None, file: MigrationFile) -> bool:
    """Whether an entry is about this content of a file."""
    return entry.kind is EntryKind.MIGRATION and (entry.version, entry.direction, entry.checksum) == (
        version,
        direction,
        file.checksum,
    )


def step_of(entry: Entry, source: MigrationFiles) -> Step:
    """The step that the entry was about, with the file as it is now."""
    direction = Direction(entry.direction or Direction.UP)
    version = NIL if entry.version is None else entry.version
    before = NIL if entry.from_version is None else entry.from_version
    after = NIL if entry.to_version is None else entry.to_version
    return Step(version, direction, before, after, source.get(version, direction))


def failed_step(row: Row, entry: Entry | None, source: MigrationFiles) -> Step:
    """The step that left the version dirty; where the history does not say, the up file of that version.

    A dirty -1 is the down file of the first.
    """
    first = source.versions[0] if source.versions else row.version
    direction, version = (Direction.DOWN, first) if row.version == NIL else (Direction.UP, row.version)
    if entry is not None and entry.direction and entry.version is not None:
        direction, version = Direction(entry.direction), entry.version
    return named_step(version, direction, source)


def named_step(version: int, direction: Direction, source: MigrationFiles) -> Step:
    """The step of one migration, by the files that there are."""
    before = source.previous(version)
    ends = (before, version) if direction is Direction.UP else (version, before)
    return Step(version, direction, *ends, source.get(version, direction))
