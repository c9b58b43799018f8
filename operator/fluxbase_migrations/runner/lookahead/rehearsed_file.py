"""One file, really run, statement by statement, in the same transactions as a run would use."""

import time
from collections.abc import Callable, Mapping
from dataclasses import field

from fluxbase_migrations.core.errors import MigrationError, StatementFailed
from fluxbase_migrations.core.files import Direction
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.lookahead import observing
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.observing import Sampler
from fluxbase_migrations.runner.lookahead.pending import prepare
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
    """It ran outside a transaction, its locks were sampled: a short lock may have been missed."""


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


def run_file(
    connect: Callable[[], Session], observer: Session, names: Mapping[int, str], step: Step
) -> RanFile:
    """Run one file in a session of its own, whose locks ``observer`` reads; an error is in the result."""
    session = connect()
    conforming = session.standard_conforming_strings
    prepared = prepare(step, standard_conforming_strings=conforming)
    if isinstance(prepared, ErrorInfo):
        session.close()
        return RanFile(step.label, step.version, step.direction, 0.0, 0, error=prepared)
    began = time.monotonic()
    file = _File(observer, names, session, prepared)
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
    """A file that is being run."""

    observer: Session
    names: Mapping[int, str]
    """The relations that are there before the files run, by OID."""
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
                indexes = self.prepared.cuts if refused.sqlstate == "55P04" else self.prepared.alone
                if refused.index in indexes:
                    raise self._failed(refused.index, refused.failure) from None
                indexes.add(refused.index)
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
        taken = observing.newly_taken(before, self._locks()) if self.session.in_transaction else {}
        self._note(index, seconds, taken)

    def _alone(self, index: int) -> None:
        pid = self.session.server_pid or self.session.pgconn.backend_pid
        sampler = Sampler(self.observer, self.names)
        began = time.monotonic()
        try:
            with sampler.watching(pid):
                self._send(index)
        except SqlFailure as failure:
            raise self._failed(index, failure) from None
        self._note(index, time.monotonic() - began, sampler.strongest, sampled=True)

    def _locks(self) -> dict[str, Lock]:
        pid = self.session.server_pid or self.session.pgconn.backend_pid
        return observing.locks(self.observer, pid, self.names)

    def _send(self, index: int) -> None:
        self.session.run([QueryPart(self.prepared.statements.text(index), 1, 0, index)], atomic=False)

    def _note(self, index: int, seconds: float, locks: observing.Locks, *, sampled: bool = False) -> None:
        sql = self.prepared.statements
        self.done[index] = RanStatement(
            index + 1, self._line(index), statements.tag(sql, index), seconds, tuple(locks.items()), sampled
        )

    def _line(self, index: int) -> int:
        sql = self.prepared.statements
        return lexer.line_column(sql.sql, sql.starts[index])[0]

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
