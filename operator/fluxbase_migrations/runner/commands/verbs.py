"""What the command line's verbs do: golang-migrate's up, down, goto, force and version, and ours."""

from collections.abc import Callable
from dataclasses import field, replace

from psycopg import errors

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.defaults import LOCK_TIMEOUT
from fluxbase_migrations.core.errors import (
    ForeignTable,
    InternalError,
    MigrationError,
    NothingToStep,
    describe,
    with_advice,
)
from fluxbase_migrations.core.files import NIL, Direction, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import TRACKING_TABLE, ExposurePolicy, OutOfOrderPolicy, Recovery, Track
from fluxbase_migrations.core.plan import Plan, Step
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.runner.commands import exposure, platform
from fluxbase_migrations.runner.commands.report import report
from fluxbase_migrations.runner.commands.track_run import RunRequest, run_track, unexpected
from fluxbase_migrations.runner.connection import connect
from fluxbase_migrations.runner.connection.session import Session, Settings
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.execution import memory
from fluxbase_migrations.runner.execution.engine import Engine, Options
from fluxbase_migrations.runner.execution.locked_track import LockedTrack
from fluxbase_migrations.runner.history import version_table
from fluxbase_migrations.runner.history.entry import Entry, Row
from fluxbase_migrations.runner.history.gaps import refuse_gaps
from fluxbase_migrations.runner.history.history_table import HistoryTable
from fluxbase_migrations.runner.history.other_version_tables import Guard, recorded
from fluxbase_migrations.runner.history.overview import Migration, migrations
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.recovery.case import Policy
from fluxbase_migrations.runner.sql.simple_query import ConnectionLost


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything a command needs, from arguments, environment and files."""

    parameters: dict[str, str] = field(repr=False)
    hidden: list[str] = field(repr=False)
    settings: Settings
    log: Log
    stop: Stop
    track: Track = Track.USER
    table: TableName | None = None
    lock_timeout: float = LOCK_TIMEOUT
    recovery: Recovery | None = None
    out_of_order: OutOfOrderPolicy = OutOfOrderPolicy.WARN
    exposure: ExposurePolicy = ExposurePolicy.WARN
    foreign_tables: tuple[TableName, ...] = ()
    """Version tables of other tools."""
    built_in: bool = False
    """The track's files are those of the image, which are recorded only in the track's own table."""

    def connect(self) -> Session:
        """Open a session; see :func:`fluxbase_migrations.runner.connection.connect.connect`."""
        return connect.connect(self.parameters, self.settings, self.hidden, self.stop, self.log)

    @property
    def tracking(self) -> TableName:
        """The tracking table: the one named, or the track's own."""
        return self.table or TableName(*TRACKING_TABLE[self.track])

    def locked(self, *, guarded: bool = False) -> LockedTrack:
        """The track, to be opened; ``guarded``: refused where only another version table has a version."""
        return LockedTrack(
            self.connect,
            self.tracking,
            self.log,
            self.stop,
            label=self.track.value,
            lock_timeout=self.lock_timeout,
            guard=self.guard(self.track) if guarded and not self.built_in else None,
        )

    def guard(self, track: Track) -> Guard:
        """Looks for another version table before the first file of ``track`` runs."""
        return Guard.of(track, self.foreign_tables)


def guarded(
    action: Callable[[], int], log: Log, on_failure: Callable[[MigrationError], object] | None = None
) -> int:
    """Run a command; its failure is one line and exit code 1. ``on_failure`` is called after the line."""
    try:
        return action()
    except MigrationError as error:
        log.error(describe(with_advice(error.info, retried=False)))
        if on_failure is not None:
            on_failure(error)
    except (errors.Error, ConnectionLost) as error:
        log.error(str(unexpected(error)))
    except Exception as error:  # a traceback could quote a file or a credential
        log.error(str(InternalError.of(error)))
    return 1


def up(setup: Setup, source: MigrationFiles, limit: int | None) -> int:
    """Apply everything, or the next ``limit`` versions."""

    def make_plan(current: int, ran: int) -> Plan:
        if limit is None:
            if not source.versions and current == NIL:
                raise NothingToStep("file does not exist", detail="the source has no migration files")
            return plan.up(source, current)
        return plan.up(source, current, limit - ran) if limit > ran else Plan()

    return _migrate(
        setup, source, make_plan, lambda step: step.direction is Direction.UP, limit, guarded=True
    )


def down(setup: Setup, source: MigrationFiles, limit: int | None) -> int:
    """Revert everything, or the last ``limit`` versions."""

    def make_plan(current: int, ran: int) -> Plan:
        if limit is None:
            return plan.down(source, current)
        return plan.down(source, current, limit - ran) if limit > ran else Plan()

    # A failed up that left nothing counts as the first step: there is nothing of it to undo.
    return _migrate(
        setup,
        source,
        make_plan,
        lambda step: step.direction is Direction.DOWN,
        limit,
        giving_up_is_a_step=True,
    )


def goto(setup: Setup, source: MigrationFiles, version: int) -> int:
    """Go up or down to ``version``."""

    def is_on_the_way(step: Step) -> bool:
        return step.to_version <= version if step.direction is Direction.UP else step.to_version >= version

    def make_plan(current: int, _ran: int) -> Plan:
        return plan.goto(source, current, version)

    return _migrate(setup, source, make_plan, is_on_the_way, None, guarded=True)


def _migrate(
    setup: Setup,
    source: MigrationFiles,
    make_plan: Callable[[int, int], Plan],
    should_run: Callable[[Step], bool],
    limit: int | None,
    *,
    guarded: bool = False,
    giving_up_is_a_step: bool = False,
) -> int:
    if limit == 0:
        setup.log.info("no change", source=setup.track.value)
        return 0
    policy = Policy(setup.recovery or Recovery.PROVEN)
    options = Options(policy, setup.out_of_order, giving_up_is_a_step, memory.limit())
    with setup.locked(guarded=guarded) as track:
        engine = Engine(track, source, options)
        engine.check_files()

        def checked_plan(current: int, ran: int) -> Plan:
            pending = make_plan(current, ran)
            if setup.built_in:
                platform.require(engine, pending)
            return pending

        files = engine.migrate(checked_plan, should_run)
        if files:
            setup.log.info("Migrations finished", source=track.label, version=track.row.version, files=files)
        else:
            setup.log.info("no change", source=track.label, version=track.row.version)
        if setup.track is Track.USER:
            exposure.check(engine, setup.exposure)
    return 0


def force(setup: Setup, version: int) -> int:
    """Record ``version``, clean; -1 is nothing applied. No file is read."""
    with setup.locked() as track:
        before = track.row
        track.force(version)
        setup.log.info("version forced", source=track.label, was=before, version=track.row.version)
    return 0


def baseline(
    setup: Setup, version: int | None, other_table: TableName | None, source: MigrationFiles | None = None
) -> int:
    """Record the version of a database that another tool migrated: ``version``, or that of ``other_table``.

    Where there is a ``source``, it must have nothing below that version which was left out there.
    """
    with setup.locked() as track:
        recorded_version = (
            version if other_table is None else recorded(track.session, other_table, track.table)
        )
        if other_table is not None and recorded_version is not None and source is not None:
            refuse_gaps(
                track.session, recorded_version, source.versions, other_table.resolved(track.session), ()
            )
        if recorded_version is None:
            raise AssertionError("one of the two is given")
        track.baseline(recorded_version, other_table)
        track.log.info("baseline recorded", source=track.label, version=track.row.version)
    return 0


def version(setup: Setup) -> Row:
    """The recorded version, read without the lock; nothing is created."""
    session = setup.connect()
    try:
        return version_table.peek(session, setup.tracking.resolved(session))
    finally:
        session.close()


@dataclass(frozen=True, slots=True)
class TrackOverview:
    """The version and the migrations of one track."""

    label: str
    table: str
    row: Row
    migrations: list[Migration]
    refused: ErrorInfo | None = None
    """Why nothing would be run: another tool's table has a version, and this track has none."""


def status(setup: Setup, tracks: list[tuple[Track, MigrationFiles]]) -> list[TrackOverview]:
    """Where each migration of these tracks stands; read without the lock, nothing is created."""
    session = setup.connect()
    try:
        return [_overview(setup, session, track, source) for track, source in tracks]
    finally:
        session.close()


def _overview(setup: Setup, session: Session, track: Track, source: MigrationFiles) -> TrackOverview:
    named = setup.table if track is setup.track else None
    table = (named or TableName(*TRACKING_TABLE[track])).resolved(session)
    history = HistoryTable(table)
    entries = history.entries(session) if history.exists(session) else []
    row = version_table.peek(session, table)
    refused = None
    try:
        if row.xmin is None and track is Track.USER:
            setup.guard(track).check(session, table)
    except ForeignTable as error:
        refused = error.info
    return TrackOverview(track.value, str(table), row, migrations(row, entries, source), refused)


def history(setup: Setup, limit: int | None, version: int | None = None) -> list[Entry]:
    """The newest ``limit`` history entries, oldest first, or all; of one ``version``, or of every one.

    Read without the lock.
    """
    session = setup.connect()
    try:
        history = HistoryTable(setup.tracking.resolved(session))
        if not history.exists(session):
            return []
        entries = history.entries(session, newest_first=True, limit=limit, version=version)
        return list(reversed(entries))
    finally:
        session.close()


def run_tracks(
    setup: Setup,
    tracks: list[tuple[Track, str | None, Callable[[], MigrationFiles]]],
    on_failure: Callable[[Track, Result], object] | None = None,
) -> int:
    """Both tracks in order, with Fluxbase's own log lines; the second only after the first succeeded.

    Each track comes with the path to show and a function that reads its files. ``on_failure`` is called
    after the line about a track that failed.
    """
    log = setup.log
    log.info("Running database migrations...")
    for track, path, read in tracks:
        log.info(f"Running {track} migrations...", **({"path": path} if path else {}))
        result = _run_track(setup, track, read)
        report(track, _advised(result), log)
        if not (result.outcome.succeeded or result.outcome is Outcome.SOURCE_EMPTY):
            if on_failure is not None:
                on_failure(track, result)
            return 1
    log.info("Database migrations completed successfully")
    return 0


def _advised(result: Result) -> Result:
    return replace(result, error=with_advice(result.error, retried=False)) if result.error else result


def _run_track(setup: Setup, track: Track, read: Callable[[], MigrationFiles]) -> Result:
    try:
        source = read()
    except MigrationError as error:
        return Result(error.outcome, error=error.info)
    policy = Policy(setup.recovery or Recovery.AUTOMATIC, retry_failed=True, retry_unproven=False)
    table = setup.table if track is setup.track else None
    options = Options(policy, setup.out_of_order, memory_limit=memory.limit())
    guard = setup.guard(track) if track is Track.USER else None  # system: the built-in files
    built_in = track is Track.SYSTEM
    limit = setup.lock_timeout
    request = RunRequest(track, options, limit, table, guard, built_in=built_in, exposure=setup.exposure)
    return run_track(request, source, setup.connect, setup.log, setup.stop)
