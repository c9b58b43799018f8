"""What would run now: the pending files of each track, statement by statement. Nothing is changed."""

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Final

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import MigrationError
from fluxbase_migrations.core.files import Direction, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import TRACKING_TABLE, Track
from fluxbase_migrations.core.plan import Plan, Step
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import HISTORY, TableName
from fluxbase_migrations.runner.history import drift, version_table
from fluxbase_migrations.runner.history.entry import Entry, Row, standing
from fluxbase_migrations.runner.history.history_table import HistoryTable
from fluxbase_migrations.runner.lookahead import catalog
from fluxbase_migrations.runner.lookahead.classify import classify, words
from fluxbase_migrations.runner.lookahead.configuration import Configuration
from fluxbase_migrations.runner.lookahead.effect import Effect
from fluxbase_migrations.runner.lookahead.facts import Facts
from fluxbase_migrations.runner.recovery.case import failed_step
from fluxbase_migrations.runner.sql import do_blocks, lexer, statements
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.statements import StatementKind

BEGIN: Final = (
    "BEGIN TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL lock_timeout = '2s';"
    " SET LOCAL jit = off"
)
"""One snapshot of the catalog; a lock that another session holds is waited for at most 2 s."""


@dataclass(frozen=True, slots=True)
class StatementPlan:
    """One statement of a file."""

    number: int
    """From 1."""
    line: int
    group: int
    """From 1: which of the file's transactions it runs in."""
    effect: Effect


@dataclass(frozen=True, slots=True)
class FilePlan:
    """One file that is to run, or a version that has none."""

    step: Step
    atomic: bool = True
    why: str = ""
    """Why the file is not one transaction, or may not be."""
    statements: tuple[StatementPlan, ...] = ()
    has_down: bool = True
    dirty: bool = False
    """It has failed before; what of it runs is for the recovery to decide."""
    error: ErrorInfo | None = None
    """It is refused before anything of it runs."""


@dataclass(frozen=True, slots=True)
class TrackPlan:
    """What is to run on one track."""

    label: str
    table: TableName
    row: Row
    files: tuple[FilePlan, ...] = ()
    warnings: tuple[str, ...] = ()
    error: ErrorInfo | None = None
    """Nothing would run."""

    @property
    def failed(self) -> bool:
        """Whether a run would be refused, at the start or at some file."""
        return self.error is not None or any(file.error for file in self.files)


@dataclass(frozen=True, slots=True)
class Target:
    """How far to go, as ``up N`` and ``goto V`` mean it."""

    count: int | None = None
    version: int | None = None

    def plan(self, source: MigrationFiles, current: int) -> Plan:
        """The steps from the recorded version.

        Raises:
            MigrationError: as :func:`plan.up` and :func:`plan.goto`.
        """
        if self.version is not None:
            return plan.goto(source, current, self.version)
        if not source.versions or self.count == 0:
            return Plan()
        return plan.up(source, current, self.count)


@dataclass(slots=True)
class _Outlook:
    """A track whose files are not classified yet."""

    label: str
    table: TableName
    row: Row = field(default_factory=Row)
    warnings: list[str] = field(default_factory=list)
    steps: list[tuple[Step, bool]] = field(default_factory=list)
    """Each with whether it is the dirty one."""
    error: ErrorInfo | None = None


def pending(
    setup: Configuration, tracks: Sequence[tuple[Track, MigrationFiles]], target: Target
) -> list[TrackPlan]:
    """The plan of these tracks, in order, in one read-only transaction.

    Raises:
        MigrationError: the database cannot be read.
        errors.Error: as the server says.
    """
    session = setup.connect()
    try:
        session.query(BEGIN)
        outlooks = [_outlook(setup, session, track, source, target) for track, source in tracks]
        return _plans(session, outlooks, {track.value: source for track, source in tracks})
    finally:
        session.close()


def of_steps(
    session: Session,
    label: str,
    table: TableName,
    row: Row,
    steps: Sequence[Step],
    source: MigrationFiles,
    entries: Sequence[Entry],
    *,
    dirty: bool,
) -> TrackPlan:
    """The plan of ``steps``, in one read-only transaction; ``dirty``: the first has failed before.

    ``entries`` are the track's history, oldest first.

    Raises:
        MigrationError: a file cannot be read as SQL.
        errors.Error: as the server says.
    """
    session.query(BEGIN)
    try:
        marked = [(step, dirty and index == 0) for index, step in enumerate(steps)]
        outlook = _Outlook(label, table, row, steps=marked, warnings=_warnings(entries, source, row))
        return _plans(session, [outlook], {label: source})[0]
    finally:
        session.query("ROLLBACK")


def _plans(
    session: Session, outlooks: Sequence[_Outlook], sources: dict[str, MigrationFiles]
) -> list[TrackPlan]:
    conforming = session.standard_conforming_strings
    prepared = {
        id(step): prepare(step, standard_conforming_strings=conforming)
        for outlook in outlooks
        for step, _ in outlook.steps
    }
    names = {
        name
        for file in prepared.values()
        if isinstance(file, Prepared)
        for statement in file.statements
        for name in words(statement)
    }
    facts = catalog.read(session, names) if names else Facts(version=session.server_version // 10000)
    fired = catalog.event_triggers(session) if prepared else []
    plans = []
    for outlook in outlooks:
        source = sources[outlook.label]
        if outlook.steps:
            outlook.warnings += [
                f"the event trigger {name} fires on DDL; what it does is unknown" for name in fired
            ]
        files = tuple(
            file_plan(facts, step, prepared[id(step)], source, dirty=dirty) for step, dirty in outlook.steps
        )
        plans.append(
            TrackPlan(
                outlook.label, outlook.table, outlook.row, files, tuple(outlook.warnings), outlook.error
            )
        )
    return plans


def _outlook(
    setup: Configuration, session: Session, track: Track, source: MigrationFiles, target: Target
) -> _Outlook:
    named = setup.table if track is setup.track else None
    outlook = _Outlook(track.value, (named or TableName(*TRACKING_TABLE[track])).resolved(session))
    outlook.row = version_table.peek(session, outlook.table)
    entries = _entries(session, outlook)
    outlook.warnings += _warnings(entries, source, outlook.row)
    if not source.versions:
        outlook.warnings.append("there are no migration files")
    try:
        if outlook.row.xmin is None and not (setup.built_in and track is setup.track) and track is Track.USER:
            setup.guard(track).check(session, outlook.table)
        outlook.steps = [(step, dirty) for dirty, step in _steps(outlook.row, entries, source, target)]
    except MigrationError as error:
        outlook.error = error.info
    return outlook


def _warnings(entries: Sequence[Entry], source: MigrationFiles, row: Row) -> list[str]:
    """What the files should not be: edited since, out of order."""
    warnings = [*source.warnings, *drift.drifted(entries, source)]
    late = drift.skipped_versions(entries, source, row.version)
    if late:
        listed = ", ".join(map(str, late[:10])) + (" …" if len(late) > 10 else "")
        warnings.append(f"version {listed} is out of order: below the recorded version, never applied")
    return warnings


def _entries(session: Session, outlook: _Outlook) -> list[Entry]:
    history = HistoryTable(outlook.table)
    session.query("SAVEPOINT history")
    try:
        return history.entries(session) if history.exists(session) else []
    except MigrationError:
        session.query("ROLLBACK TO SAVEPOINT history")
        outlook.warnings.append(f"the role may not read {HISTORY}: edited and late files are not known")
        return []


def _steps(
    row: Row, entries: Sequence[Entry], source: MigrationFiles, target: Target
) -> Iterator[tuple[bool, Step]]:
    if row.dirty:
        yield True, failed_step(row, standing(row, [*reversed(entries)]), source)
    for step in target.plan(source, row.version).steps:
        yield False, step


def prepare(step: Step, *, standard_conforming_strings: bool = True) -> Prepared | ErrorInfo:
    """Split and classify a file, or say why it is refused."""
    try:
        if step.file is not None:
            step.file.check()
        return Prepared.of(step, standard_conforming_strings=standard_conforming_strings)
    except MigrationError as error:
        return error.info


def file_plan(
    facts: Facts, step: Step, prepared: Prepared | ErrorInfo, source: MigrationFiles, *, dirty: bool = False
) -> FilePlan:
    """One file on the catalog as the files before it leave it, which becomes what this one leaves."""
    has_down = source.get(step.version, Direction.DOWN) is not None or step.direction is Direction.DOWN
    if isinstance(prepared, ErrorInfo):
        return FilePlan(step, has_down=has_down, dirty=dirty, error=prepared)
    sql = prepared.statements
    groups = _groups(prepared)
    facts.begin_file()
    lines = lexer.lines(sql.sql, sql.starts)
    planned = tuple(
        StatementPlan(
            index + 1,
            lines[index],
            groups(index),
            classify(facts, sql.text(index), statements.tag(sql, index)),
        )
        for index in range(len(sql))
    )
    return FilePlan(step, prepared.atomic, _why(prepared), planned, has_down, dirty)


def _groups(prepared: Prepared) -> Callable[[int], int]:
    lasts = [group.last for group in prepared.groups]

    def number(index: int) -> int:
        return min(bisect.bisect_right(lasts, index) + 1, max(len(lasts), 1))

    return number


def _why(prepared: Prepared) -> str:
    """Why a file is not one transaction, or may turn out not to be."""
    sql = prepared.statements
    for index, special in sorted(prepared.specials.items()):
        where = f"statement {index + 1}, {statements.tag(sql, index)}"
        if special.kind is StatementKind.ALONE:
            return f"{where}: cannot run in a transaction"
        if (
            special.kind in (StatementKind.COMMIT, StatementKind.ROLLBACK, StatementKind.PREPARE)
            and not prepared.atomic
        ):
            return f"{where}: ends the transaction"
    for index in range(len(sql)):
        tag = statements.tag(sql, index)
        if tag == "CALL" or (tag == "DO" and do_blocks.ends_transactions(sql.text(index))):
            return f"statement {index + 1}, {tag}: in groups if it commits"
    return "" if prepared.atomic else "more than one transaction"
