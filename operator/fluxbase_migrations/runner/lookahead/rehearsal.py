"""The pending files, really run on a copy of the database that is to be thrown away.

Statement by statement, in the same transactions as a run would use, but without version rows, locks against
other runs and recovery: what is to be learned is what the files do.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import field

from fluxbase_migrations.core.errors import MigrationError, ServerRefused, StatementFailed
from fluxbase_migrations.core.files import Direction, MigrationFiles
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.history import database_identity, version_table
from fluxbase_migrations.runner.history.history_table import HistoryTable
from fluxbase_migrations.runner.lookahead import observing, schema_dump
from fluxbase_migrations.runner.lookahead.configuration import Configuration
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.observing import Sampler
from fluxbase_migrations.runner.lookahead.pending import TrackPlan, prepare
from fluxbase_migrations.runner.lookahead.schema_dump import Dump
from fluxbase_migrations.runner.sql import lexer, statements
from fluxbase_migrations.runner.sql.grouping import Group
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.simple_query import QueryPart, SqlFailure
from fluxbase_migrations.runner.sql.statements import StatementKind


@dataclass(frozen=True, slots=True)
class RanStatement:
    """One statement that was run."""

    number: int
    line: int
    tag: str
    seconds: float
    locks: tuple[tuple[str, Lock], ...] = ()
    sampled: bool = False
    """It ran outside a transaction and was looked at now and then: a short lock may have been missed."""


@dataclass(frozen=True, slots=True)
class RanFile:
    """One file that was run, as far as it came."""

    name: str
    version: int
    direction: Direction
    seconds: float
    transactions: int
    statements: tuple[RanStatement, ...] = ()
    error: ErrorInfo | None = None


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
    """What was seen."""

    database: str
    files: tuple[RanFile, ...] = ()
    comparisons: tuple[Comparison, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def failed(self) -> bool:
        """Whether a file failed, or the files do not lead back and forth."""
        return any(file.error for file in self.files) or any(one.same is False for one in self.comparisons)


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
    done = run.all(ups)
    if done[-1].error is not None or any(step.direction is Direction.DOWN for step in ups):
        return Rehearsal(name, tuple(done), warnings=tuple(warnings))
    applied = run.dump()
    downs = _downs(ups, plans, sources)
    missing = [step.version for step in downs if step.file is None]
    if missing:
        why = f"no down file for version {', '.join(map(str, missing))}"
        return Rehearsal(name, tuple(done), (Comparison("up, down", None, why),), tuple(warnings))
    done += run.all(downs)
    comparisons = []
    if done[-1].error is None:
        comparisons.append(_compared("up, down", initial, run.dump()))
        done += run.all(ups)
        if done[-1].error is None:
            comparisons.append(_compared("up, down, up", applied, run.dump()))
    return Rehearsal(name, tuple(done), tuple(comparisons), tuple(warnings))


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


def _compared(what: str, before: Dump, after: Dump) -> Comparison:
    if problem := before.problem or after.problem:
        return Comparison(what, None, problem)
    lines = schema_dump.difference(before, after)
    return Comparison(what, not lines, difference=tuple(lines))


def _check(setup: Configuration, other: Configuration, plans: Sequence[TrackPlan]) -> Iterator[str]:
    """Refuse the target itself, and a copy of another state."""
    target, found = _identity(setup), _identity(other)
    if not differs(target, found):
        raise ServerRefused(
            f"{found} cannot be told from the database that the plan is for",
            hint="rehearse on a copy that may be thrown away: createdb -T NAME COPY, or pg_dump into another "
            "database",
        )
    session = other.connect()
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
    """Looks on."""
    names: dict[int, str] = field(init=False)
    sampler: Sampler = field(init=False)

    def __post_init__(self) -> None:
        self.session = self.setup.connect()
        self.names = observing.relations(self.session)
        self.sampler = Sampler(self.session, self.names)

    def close(self) -> None:
        self.session.close()

    def dump(self) -> Dump:
        return schema_dump.dump(self.setup.parameters)

    def all(self, steps: Sequence[Step]) -> list[RanFile]:
        """Each file in a session of its own; the first error ends it."""
        self.names.clear()
        self.names.update(observing.relations(self.session))
        done = []
        for step in steps:
            done.append(_ran(self, step))
            if done[-1].error is not None:
                break
        return done


def _ran(run: _Run, step: Step) -> RanFile:
    began = time.monotonic()
    session = run.setup.connect()
    conforming = session.standard_conforming_strings
    prepared = prepare(step, standard_conforming_strings=conforming)
    if isinstance(prepared, ErrorInfo):
        session.close()
        return RanFile(step.label, step.version, step.direction, 0.0, 0, error=prepared)
    file = _File(run, session, prepared)
    error = None
    try:
        file.run()
    except MigrationError as failure:
        error = failure.info
    finally:
        session.close()
    seconds = time.monotonic() - began
    return RanFile(
        step.label, step.version, step.direction, seconds, file.transactions, tuple(file.done.values()), error
    )


@dataclass(slots=True)
class _File:
    """One file under way."""

    on: _Run
    session: Session
    prepared: Prepared
    done: dict[int, RanStatement] = field(default_factory=dict)
    transactions: int = 0

    def run(self) -> None:
        """Group by group; where PostgreSQL refuses a statement in a transaction, as a run would go on.

        Raises:
            StatementFailed: with its place.
        """
        start = 0
        while True:
            try:
                for group in self.prepared.groups:
                    if group.first >= start:
                        self._group(group)
                        start = group.last
                        self.transactions += 1
                return
            except _Refused as refused:
                chosen = self.prepared.cuts if refused.sqlstate == "55P04" else self.prepared.alone
                if refused.index in chosen:
                    raise self._failed(refused.index, refused.failure) from None
                chosen.add(refused.index)
                self.prepared.regroup()

    def _group(self, group: Group) -> None:
        if group.alone:
            self._alone(group.send[0])
            return
        begin = b"BEGIN" + (b" " + b", ".join(group.modes) if group.modes else b"")
        self._own(begin, group.first)
        for index in group.send:
            special = self.prepared.specials.get(index)
            if special is not None and special.kind is StatementKind.DISCARD_ALL:
                continue  # the session ends with the file
            self._inside(index, group)
        if self.session.in_transaction:
            last = group.send[-1] if group.send else group.first
            self._own(b"ROLLBACK" if group.end is StatementKind.ROLLBACK else b"COMMIT", last)

    def _own(self, text: bytes, index: int) -> None:
        try:
            self.session.run_own(text)
        except SqlFailure as failure:
            self.session.rollback()
            raise self._failed(index, failure) from None

    def _inside(self, index: int, group: Group) -> None:
        before = self._locks()
        began = time.monotonic()
        try:
            self._send(index)
        except SqlFailure as failure:
            self.session.rollback()
            if failure.sqlstate in failures.NEEDS_GROUPS and not group.explicit:
                raise _Refused(index, failure) from None
            raise self._failed(index, failure) from None
        seconds = time.monotonic() - began
        taken = observing.added(before, self._locks()) if self.session.in_transaction else {}
        self._note(index, seconds, taken)

    def _alone(self, index: int) -> None:
        pid = self.session.server_pid or self.session.pgconn.backend_pid
        began = time.monotonic()
        try:
            with self.on.sampler.watching(pid):
                self._send(index)
        except SqlFailure as failure:
            raise self._failed(index, failure) from None
        self._note(index, time.monotonic() - began, self.on.sampler.found, sampled=True)

    def _locks(self) -> dict[str, Lock]:
        pid = self.session.server_pid or self.session.pgconn.backend_pid
        return observing.locks(self.on.session, pid, self.on.names)

    def _send(self, index: int) -> None:
        self.session.run([QueryPart(self.prepared.statements.text(index), 1, 0, index)], atomic=False)

    def _note(self, index: int, seconds: float, locks: observing.Locks, *, sampled: bool = False) -> None:
        found = self.prepared.statements
        self.done[index] = RanStatement(
            index + 1, self._line(index), statements.tag(found, index), seconds, tuple(locks.items()), sampled
        )

    def _line(self, index: int) -> int:
        found = self.prepared.statements
        return lexer.line_column(found.sql, found.starts[index])[0]

    def _failed(self, index: int, failure: SqlFailure) -> StatementFailed:
        return StatementFailed(
            self.session.scrub(failure.message),
            file=self.prepared.step.label,
            line=self._line(index),
            statement=statements.statement_label(self.prepared.statements, index),
            sql_state=failure.sqlstate,
        )


class _Refused(Exception):
    """PostgreSQL does not run this statement in this transaction."""

    def __init__(self, index: int, failure: SqlFailure) -> None:
        super().__init__(str(failure))
        self.index = index
        self.failure = failure
        self.sqlstate = failure.sqlstate
