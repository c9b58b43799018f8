"""One track, from files to a reported outcome: what ``job`` and ``run`` have in common."""

from collections.abc import Callable, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING

from psycopg import errors

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.defaults import LOCK_TIMEOUT
from fluxbase_migrations.core.errors import (
    AheadOfSource,
    AwaitingApproval,
    Conflict,
    DatabaseChanged,
    Exposed,
    InternalError,
    MigrationError,
    SourceEmpty,
    Transient,
)
from fluxbase_migrations.core.exposure import Exposure
from fluxbase_migrations.core.files import NIL, Direction, MigrationFiles
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.job import ForceCommand, SetRef
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import TRACKING_TABLE, ExposurePolicy, Rollback, Track
from fluxbase_migrations.core.plan import Plan, Step
from fluxbase_migrations.core.result import FORCE, TAKE_OVER, Outcome, Result
from fluxbase_migrations.runner.commands import baseline, exposure, platform
from fluxbase_migrations.runner.commands.ownership import Owner, claim, require_claimable
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.execution.engine import Engine, Options
from fluxbase_migrations.runner.execution.locked_track import LockedTrack
from fluxbase_migrations.runner.history.entry import EntryKind
from fluxbase_migrations.runner.history.other_version_tables import Guard
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.sql.simple_query import ConnectionLost

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands.approval import Gate, Terms


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What a run is to bring a track to, and under which conditions."""

    track: Track
    options: Options = field(default_factory=Options)
    lock_timeout: float = LOCK_TIMEOUT
    """Seconds to wait for the migration lock."""
    table: TableName | None = None
    """None: the track's own."""
    guard: Guard | None = None
    """Checks for another version table before the first file runs."""
    built_in: bool = False
    """The files are the platform's own: what they made is known, and checked."""
    exposure: ExposurePolicy = ExposurePolicy.WARN
    """The user track: what to make of objects that requests reach past row-level security."""
    baseline: int | None = None
    """The version of a database in use that has no version yet."""
    target: int | None = None
    """None: the latest; 0: nothing applied."""
    rollback: Rollback = Rollback.FORBID
    force: ForceCommand | None = None
    owner: Owner | None = None
    expected_database: DatabaseIdentity | None = None
    """None: any."""
    command_database: DatabaseIdentity | None = None
    """The database that force, take-over and request were given for; None: any."""
    terms: "Terms | None" = None
    """``approval: Manual``; None: files run without being approved."""

    @property
    def commanded(self) -> bool:
        """Whether a user's command is to be obeyed, even if the files are not run."""
        return self.force is not None or (self.owner is not None and self.owner.take_over is not None)


def run_track(
    request: RunRequest, source: MigrationFiles, connect: Callable[[], Session], log: Log, stop: Stop
) -> Result:
    """Bring one track to its target; every failure becomes a result."""
    track = _track(request, connect, log, stop)
    engine = Engine(track, source, request.options)
    result = Result(Outcome.NO_CHANGE, latest=source.latest, source_digest=source.digest)
    answers = Answers()
    try:
        result = replace(result, outcome=_run(request, engine, source, answers))
        if request.track is Track.USER:
            result = _with(result, exposure.check(engine, request.exposure))
    except MigrationError as error:
        result = result_from_error(result, error)
    except (errors.Error, ConnectionLost) as error:
        result = result_from_error(result, unexpected(error))
    finally:
        track.close()
    return _observed(answers.added_to(result), engine, source, request.target)


def _track(request: RunRequest, connect: Callable[[], Session], log: Log, stop: Stop) -> LockedTrack:
    databases = (request.expected_database, request.command_database)
    return LockedTrack(
        connect,
        request.table or TableName(*TRACKING_TABLE[request.track]),
        log,
        stop,
        label=request.track.value,
        lock_timeout=request.lock_timeout,
        guard=request.guard,
        expected=tuple(database for database in databases if database is not None),
    )


def _with(result: Result, exposures: Sequence[Exposure] | None) -> Result:
    if exposures is None:
        return result
    return replace(result, exposed=len(exposures), exposures=tuple(exposures))


@dataclass(slots=True)
class Answers:
    """What a run did with its commands, however it ends."""

    obeyed: list[str] = field(default_factory=list)
    taken_from: SetRef | None = None
    baselined: int | None = None

    def added_to(self, result: Result) -> Result:
        """``result`` with what was done with them."""
        result = replace(result, obeyed=tuple(self.obeyed), baselined=self.baselined)
        if self.taken_from is None:
            return result
        return replace(result, taken_from=str(self.taken_from), taken_from_uid=self.taken_from.uid)


def _run(request: RunRequest, engine: Engine, source: MigrationFiles, answers: Answers) -> Outcome:
    """Obey the commands, then bring the track to its target."""
    track = engine.track
    if request.terms is None or request.commanded:
        _obey(request, track, source, answers)
    else:
        track.open(create=False)
    if not source.versions:
        raise _without_files(track)
    gate = _gate(request, engine, source)
    if gate is not None:
        _require_approval(request, engine, source, gate)
        if not request.commanded:
            track.create_missing()
            _claim(request, track, answers)
    if request.baseline is not None:
        foreign_tables = tuple(request.guard.foreign) if request.guard else ()
        answers.baselined = baseline.record(track, request.track, request.baseline, source, foreign_tables)
    track.check_other_tables()
    if gate is None:
        engine.check_files()
    planned: list[Step] = []

    def make_plan(current: int, _ran: int) -> Plan:
        to_target = plan.to_target(source, current, request.target, request.rollback)
        planned.extend(to_target.steps)
        if request.built_in:
            platform.require(engine, to_target)
        if gate is not None:
            gate.pass_on(to_target.steps)
        return to_target

    if not engine.migrate(make_plan, lambda step: is_needed_for(step, request.target)):
        return Outcome.NO_CHANGE
    # Without a file, only the recorded version has moved.
    steps = engine.applied[-1:] or planned[:1]
    went_down = any(step.direction == Direction.DOWN for step in steps)
    return Outcome.ROLLED_BACK if went_down else Outcome.APPLIED


def _obey(request: RunRequest, track: LockedTrack, source: MigrationFiles, answers: Answers) -> None:
    """Open the track, claim it for the set, and record the version that a command forces."""
    owner, force, commanded = request.owner, request.force, request.commanded
    # A force names the version, so no other version table has to be checked.
    track.open(create=bool(source.versions) or commanded, guarded=force is None)
    if source.versions or commanded:
        _claim(request, track, answers)
    if owner is not None and owner.take_over is not None:
        answers.obeyed.append(TAKE_OVER)
    if force is not None:
        if not track.is_obeyed(EntryKind.FORCE, force.token):
            track.log.info("forcing the version", source=request.track.value, version=force.version)
            track.force(force.version, force.token)
        answers.obeyed.append(FORCE)


def _claim(request: RunRequest, track: LockedTrack, answers: Answers) -> None:
    if request.owner is not None:
        answers.taken_from = claim(track, request.owner)


def _gate(request: RunRequest, engine: Engine, source: MigrationFiles) -> "Gate | None":
    if request.terms is None:
        return None
    from fluxbase_migrations.runner.commands.approval import Gate, Goal

    goal = Goal(request.target, request.rollback, lambda step: is_needed_for(step, request.target))

    def check(to_target: Plan) -> None:
        if request.built_in:
            platform.require(engine, to_target)

    return Gate(engine, source, goal, request.terms, check)


def _require_approval(request: RunRequest, engine: Engine, source: MigrationFiles, gate: "Gate") -> None:
    """Check, without a change, that nothing is to run or that it was approved.

    Raises:
        MigrationError: it was not, or nothing could be run.
    """
    track, due = engine.track, None
    if request.owner is not None:
        require_claimable(track, request.owner)
    if request.baseline is not None:
        foreign_tables = tuple(request.guard.foreign) if request.guard else ()
        due = baseline.due(track, request.track, request.baseline, source, foreign_tables)
    track.check_other_tables()
    engine.check_files()
    gate.require(due)


def _without_files(track: LockedTrack) -> MigrationError:
    if track.row.version != NIL or track.row.dirty:
        return AheadOfSource.of(track.row.version, None)
    return SourceEmpty(
        "the source has no migration files", hint="expected files like 001_create_users.up.sql"
    )


def is_needed_for(step: Step, target: int | None) -> bool:
    """Whether a step that failed is still on the way to the target."""
    if target is None:
        return step.direction is Direction.UP
    if step.direction is Direction.UP:
        return step.to_version <= target
    return step.to_version >= (NIL if target == 0 else target)


def result_from_error(result: Result, error: MigrationError) -> Result:
    """The result of a run that an error ended."""
    result = replace(result, outcome=error.outcome, error=error.info)
    if isinstance(error, Conflict):
        owner = error.owner
        result = replace(result, owner=str(owner), owner_uid=owner.uid, owner_cluster=owner.cluster)
    if isinstance(error, AwaitingApproval):
        result = replace(result, error=None, plan=error.plan)
    if isinstance(error, DatabaseChanged):
        result = replace(result, database=error.database)
    if isinstance(error, Exposed):
        result = _with(result, error.exposures)
    return result


def unexpected(error: errors.Error | ConnectionLost) -> MigrationError:
    """The error for an unexpected answer to one of this program's statements, or for a lost connection."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, ConnectionLost) or (isinstance(error, errors.OperationalError) and not state):
        return Transient(f"the connection was lost: {' '.join(str(error).split())}")
    message = " ".join(str(error.diag.message_primary or error).split())
    if failures.transient_state(state):
        return Transient(message, sql_state=state)
    return InternalError(
        f"the server refused a statement of the migration program: {message}", sql_state=state or None
    )


def _observed(result: Result, engine: Engine, source: MigrationFiles, target: int | None) -> Result:
    """Add what was read of the tracking row, and what ran."""
    track = engine.track
    row = track.row
    return replace(
        result,
        version=None if row.version == NIL or not track.observed else row.version,
        dirty=row.dirty,
        observed=track.observed,
        database=track.database or result.database,
        pending=plan.outstanding(source.versions, row.version, target, dirty=row.dirty),
        applied=tuple(engine.applied[-20:]),
        applied_count=len(engine.applied),
        skipped_versions=tuple(engine.skipped),
        warnings=tuple(engine.warnings),
        recovered=engine.recovered,
    )
