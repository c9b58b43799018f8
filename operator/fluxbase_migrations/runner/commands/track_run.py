"""One track, from files to a reported outcome: what ``job`` and ``run`` have in common."""

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import field, replace

from psycopg import errors

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import (
    AheadOfSource,
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
from fluxbase_migrations.core.job import ForceCommand, SetRef, TakeOverCommand
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import TRACKING_TABLE, ExposurePolicy, Rollback, Track
from fluxbase_migrations.core.plan import Plan, Step
from fluxbase_migrations.core.result import FORCE, TAKE_OVER, Outcome, Result
from fluxbase_migrations.runner.commands import exposure, platform
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.execution.engine import Engine, Options
from fluxbase_migrations.runner.execution.locked_track import LockedTrack
from fluxbase_migrations.runner.history import history_table
from fluxbase_migrations.runner.history.history_table import Entry, EntryKind, EntryOutcome
from fluxbase_migrations.runner.history.other_version_tables import Guard
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.sql.simple_query import ConnectionLost


@dataclass(frozen=True, slots=True)
class Owner:
    """Which set a job runs for, and whose ownership it may take."""

    set: SetRef
    take_over_from: str | None = None
    take_over: TakeOverCommand | None = None


@dataclass(frozen=True, slots=True)
class RunRequest:
    """What to bring a track to."""

    track: Track
    options: Options = field(default_factory=Options)
    lock_timeout: float = 300.0
    """Seconds to wait for the migration lock."""
    table: TableName | None = None
    """None: the track's own."""
    guard: Guard | None = None
    """Looks for another version table before the first file runs."""
    built_in: bool = False
    """The files are the platform's own: what they made is known, and looked for."""
    exposure: ExposurePolicy = ExposurePolicy.WARN
    """The user track: what to make of objects that requests reach past row-level security."""
    target: int | None = None
    """None: the latest; 0: nothing applied."""
    rollback: Rollback = Rollback.FORBID
    force: ForceCommand | None = None
    owner: Owner | None = None
    expected_database: DatabaseIdentity | None = None
    """None: any."""
    command_database: DatabaseIdentity | None = None
    """The one that force, take-over and request were given for; None: any."""


def run_track(
    wish: RunRequest, source: MigrationFiles, connect: Callable[[], Session], log: Log, stop: Stop
) -> Result:
    """Bring one track to its target; every failure becomes a result."""
    table = wish.table or TableName(*TRACKING_TABLE[wish.track])
    limit = wish.lock_timeout
    bound = (wish.expected_database, wish.command_database)
    track = LockedTrack(
        connect,
        table,
        log,
        stop,
        label=wish.track.value,
        lock_timeout=limit,
        guard=wish.guard,
        expected=tuple(one for one in bound if one is not None),
    )
    migrator = Engine(track, source, wish.options)
    result = Result(Outcome.NO_CHANGE, latest=source.latest, source_digest=source.digest)
    answers = Answers()
    try:
        ran, direction = _run(wish, migrator, source, answers)
        outcome = Outcome.NO_CHANGE
        if ran:
            outcome = Outcome.ROLLED_BACK if direction is Direction.DOWN else Outcome.APPLIED
        result = replace(result, outcome=outcome)
        if wish.track is Track.USER:
            result = _with(result, exposure.check(migrator, wish.exposure))
    except MigrationError as error:
        result = result_from_error(result, error)
    except (errors.Error, ConnectionLost) as error:
        result = result_from_error(result, unexpected(error))
    finally:
        track.close()
    result = replace(result, obeyed=tuple(answers.obeyed))
    if answers.taken_from is not None:
        owner = answers.taken_from
        result = replace(result, taken_from=str(owner), taken_from_uid=owner.uid)
    return _observed(result, migrator, source, wish.target)


def _with(result: Result, found: Sequence[Exposure] | None) -> Result:
    if found is None:
        return result
    return replace(result, exposed=len(found), exposures=tuple(found))


@dataclass(slots=True)
class Answers:
    """What became of the commands of a run, however it ends."""

    obeyed: list[str] = field(default_factory=list)
    taken_from: SetRef | None = None


def _run(
    wish: RunRequest, migrator: Engine, source: MigrationFiles, answers: Answers
) -> tuple[int, Direction]:
    """Do the work; returns how many files ran, and which way."""
    track = migrator.track
    commanded = wish.force is not None or (wish.owner is not None and wish.owner.take_over is not None)
    # A force names the version, and so answers what the guard would ask.
    track.open(create=bool(source.versions) or commanded, guarded=wish.force is None)
    if wish.owner is not None and (source.versions or commanded):
        answers.taken_from = claim(track, wish.owner)
        if wish.owner.take_over is not None:
            answers.obeyed.append(TAKE_OVER)
    if wish.force is not None:
        if not track.token_known(EntryKind.FORCE, wish.force.token):
            track.log.info("forcing the version", source=wish.track.value, version=wish.force.version)
            track.force(wish.force.version, wish.force.token)
        answers.obeyed.append(FORCE)
    if not source.versions:
        if track.row.version != NIL or track.row.dirty:
            raise AheadOfSource.of(track.row.version, None)
        raise SourceEmpty(
            "the source has no migration files", hint="expected files like 001_create_users.up.sql"
        )
    track.look_around()
    migrator.look_back()
    direction = Direction.UP

    def make_plan(current: int, _ran: int) -> Plan:
        nonlocal direction
        made = plan.to_target(source, current, wish.target, wish.rollback)
        if made.steps:
            direction = made.steps[0].direction
        if wish.built_in:
            platform.require(migrator, made)
        return made

    before = len(migrator.applied)
    ran = migrator.migrate(make_plan, lambda step: wanted_for(step, wish.target))
    if len(migrator.applied) > before:
        direction = Direction(migrator.applied[-1].direction)
    return ran, direction


def wanted_for(step: Step, target: int | None) -> bool:
    """Whether a step that failed is still on the way to the target."""
    if target is None:
        return step.direction is Direction.UP
    if step.direction is Direction.UP:
        return step.to_version <= target
    return step.to_version >= (NIL if target == 0 else target)


def claim(track: LockedTrack, owner: Owner) -> SetRef | None:
    """Record that this set owns the track of this database; returns whom it was taken from.

    Raises:
        Conflict: another set does, and nobody allowed to take it over.
    """
    mine, current = owner.set, owner_of(track.entries())
    known = current is not None and current.uid == mine.uid
    if known and (current == mine or mine.cluster is None):
        return None
    told = owner.take_over
    if told is not None and track.token_known(EntryKind.OWNER, told.token):
        told = None  # it was obeyed before; since then somebody else has taken the track over
    allowed = (owner.take_over_from, told.uid if told else None)
    if current is not None and not known and current.uid not in allowed:
        # Deleted and created again, by a new installation for example.
        earlier = f" of the uid {current.uid}" if str(current) == str(mine) else ""
        raise Conflict(f"{track.table} belongs to the FluxbaseMigrationSet {current}{earlier}", owner=current)
    taken_from = None if known else current
    details = dataclasses.asdict(mine)
    if taken_from is not None:
        details["taken_from"] = dataclasses.asdict(taken_from)
    token = told.token if taken_from is not None and told is not None else None
    literal = track.session.literal
    track.record(
        EntryKind.OWNER,
        EntryOutcome.APPLIED,
        details=history_table.as_json(track.session, details),
        token=literal(token),
    )
    return taken_from


def owner_of(entries: Sequence[Entry]) -> SetRef | None:
    """The set that claimed the track last."""
    for entry in reversed(entries):
        if entry.kind is EntryKind.OWNER:
            details, cluster = entry.details, entry.details.get("cluster")
            uid, namespace, name = (str(details.get(key)) for key in ("uid", "namespace", "name"))
            return SetRef(uid, namespace, name, str(cluster) if cluster else None)
    return None


def result_from_error(result: Result, error: MigrationError) -> Result:
    """The result of a run that an error ended."""
    result = replace(result, outcome=error.outcome, error=error.info)
    if isinstance(error, Conflict):
        owner = error.owner
        result = replace(result, owner=str(owner), owner_uid=owner.uid, owner_cluster=owner.cluster)
    if isinstance(error, DatabaseChanged):
        result = replace(result, database=error.database)
    if isinstance(error, Exposed):
        result = _with(result, error.exposures)
    return result


def unexpected(error: errors.Error | ConnectionLost) -> MigrationError:
    """An answer of the server's to a statement of ours that nobody foresaw, or none at all."""
    state = getattr(error, "sqlstate", None) or ""
    if isinstance(error, ConnectionLost) or (isinstance(error, errors.OperationalError) and not state):
        return Transient(f"the connection was lost: {' '.join(str(error).split())}")
    message = " ".join(str(error.diag.message_primary or error).split())
    if failures.transient_state(state):
        return Transient(message, sql_state=state)
    return InternalError(
        f"the server refused a statement of the migration program: {message}", sql_state=state or None
    )


def _observed(result: Result, migrator: Engine, source: MigrationFiles, target: int | None) -> Result:
    """Add what was read of the tracking row, and what ran."""
    track = migrator.track
    row = track.row
    return replace(
        result,
        version=None if row.version == NIL or not track.observed else row.version,
        dirty=row.dirty,
        observed=track.observed,
        database=track.database or result.database,
        pending=plan.outstanding(source.versions, row.version, target, dirty=row.dirty),
        applied=tuple(migrator.applied[-20:]),
        applied_count=len(migrator.applied),
        skipped_versions=tuple(migrator.skipped),
        warnings=tuple(migrator.warnings),
        recovered=migrator.recovered,
    )
