"""The pending files, really run on a copy of the database that is to be thrown away.

Statement by statement, in the same transactions as a run would use, but without version rows, locks against
other runs and recovery: it only shows what the files do.
"""

from collections.abc import Iterator, Sequence
from dataclasses import field

from fluxbase_migrations.core.errors import ServerRefused
from fluxbase_migrations.core.files import Direction, MigrationFiles
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.history import database_identity, version_table
from fluxbase_migrations.runner.history.history_table import HistoryTable
from fluxbase_migrations.runner.lookahead import observing, schema_dump
from fluxbase_migrations.runner.lookahead.configuration import Configuration
from fluxbase_migrations.runner.lookahead.pending import TrackPlan
from fluxbase_migrations.runner.lookahead.rehearsed_file import RanFile, run_file
from fluxbase_migrations.runner.lookahead.schema_dump import Dump


@dataclass(frozen=True, slots=True)
class Comparison:
    """Whether the schema is the same in two states."""

    what: str
    same: bool | None
    """None: not known."""
    why: str = ""
    """Why it is not known."""
    difference: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """The files that were run, and whether the schema is the same after up, down and up again."""

    database: str
    files: tuple[RanFile, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a file failed, or the files do not lead back and forth."""
        return any(file.error for file in self.files) or any(
            comparison.same is False for comparison in self.comparisons
        )


def rehearse(
    setup: Configuration, copy: Configuration, plans: Sequence[TrackPlan], sources: Sequence[MigrationFiles]
) -> Rehearsal:
    """Run the files of ``plans`` on the copy, then their down files, then the files again.

    Raises:
        ServerRefused: the copy is the database itself, or one of another state.
        MigrationError: it cannot be used.
    """
    warnings = [*_check(setup, copy, plans)]
    ups = [file.step for plan in plans for file in plan.files]
    run = _Run(copy)
    try:
        return _rehearse(run, run.session.database, ups, plans, sources, warnings)
    finally:
        run.close()


def _rehearse(
    run: "_Run",
    name: str,
    ups: Sequence[Step],
    plans: Sequence[TrackPlan],
    sources: Sequence[MigrationFiles],
    warnings: Sequence[str],
) -> Rehearsal:
    initial = run.dump()
    ran = run.all(ups)
    if ran[-1].error is not None or any(step.direction is Direction.DOWN for step in ups):
        return Rehearsal(name, tuple(ran), warnings=tuple(warnings))
    applied = run.dump()
    downs = _downs(ups, plans, sources)
    missing = [step.version for step in downs if step.file is None]
    if missing:
        why = f"no down file for version {', '.join(map(str, missing))}"
        return Rehearsal(name, tuple(ran), (Comparison("up, down", None, why),), tuple(warnings))
    ran += run.all(downs)
    comparisons = []
    if ran[-1].error is None:
        comparisons.append(_compare("up, down", initial, run.dump()))
        ran += run.all(ups)
        if ran[-1].error is None:
            comparisons.append(_compare("up, down, up", applied, run.dump()))
    return Rehearsal(name, tuple(ran), tuple(comparisons), tuple(warnings))


def _downs(ups: Sequence[Step], plans: Sequence[TrackPlan], sources: Sequence[MigrationFiles]) -> list[Step]:
    source_of = {
        id(file.step): source for plan, source in zip(plans, sources, strict=True) for file in plan.files
    }
    return [
        Step(
            step.version,
            Direction.DOWN,
            step.to_version,
            step.from_version,
            source_of[id(step)].get(step.version, Direction.DOWN),
        )
        for step in reversed(ups)
    ]


def _compare(what: str, before: Dump, after: Dump) -> Comparison:
    if problem := before.problem or after.problem:
        return Comparison(what, None, problem)
    lines = schema_dump.difference(before, after)
    return Comparison(what, not lines, difference=tuple(lines))


def _check(setup: Configuration, copy: Configuration, plans: Sequence[TrackPlan]) -> Iterator[str]:
    """Refuse the target itself, and a copy of another state."""
    target, copied = _identity(setup), _identity(copy)
    if not differs(target, copied):
        raise ServerRefused(
            f"{copied} cannot be told from the database that the plan is for",
            hint="rehearse on a copy that may be thrown away: createdb -T NAME COPY, or pg_dump into another "
            "database",
        )
    session = copy.connect()
    try:
        for plan in plans:
            row = version_table.peek(session, plan.table)
            if row.xmin is None and plan.row.xmin is not None:
                yield f"the copy has no version in {plan.table}: taken to be at version {plan.row}"
            elif (row.version, row.dirty) != (plan.row.version, plan.row.dirty):
                raise ServerRefused(
                    f"the copy is at version {row} of {plan.table}, the database at version {plan.row}",
                    hint="make the copy anew",
                )
    finally:
        session.close()


def _identity(setup: Configuration) -> DatabaseIdentity:
    session = setup.connect()
    try:
        return database_identity.read(session, history=HistoryTable(setup.tracking).exists(session)).identity
    finally:
        session.close()


@dataclass(slots=True)
class _Run:
    """Runs files on the scratch database."""

    setup: Configuration
    session: Session = field(init=False)
    """Reads locks and version tables; runs no file."""
    names: dict[int, str] = field(init=False)

    def __post_init__(self) -> None:
        self.session = self.setup.connect()
        self.names = observing.relations(self.session)

    def close(self) -> None:
        self.session.close()

    def dump(self) -> Dump:
        schema = schema_dump.dump(self.setup.parameters)
        return Dump(schema.lines, self.session.scrub(schema.problem))

    def all(self, steps: Sequence[Step]) -> list[RanFile]:
        """Each file in a session of its own; the first error ends it."""
        self.names.clear()
        self.names.update(observing.relations(self.session))
        ran = []
        for step in steps:
            ran.append(run_file(self.setup.connect, self.session, self.names, step))
            if ran[-1].error is not None:
                break
        return ran
