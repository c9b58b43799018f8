"""The lock table of ``plan``, held to what PostgreSQL really locks, rewrites and scans."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import postgast
import psycopg
import pytest

from dev.postgres_server import Endpoint
from dev.waiting import eventually
from fluxbase_migrations.runner.commands import verbs
from fluxbase_migrations.runner.connection.session import Session, Settings
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.lookahead import catalog, rules
from fluxbase_migrations.runner.lookahead.classify import HANDLERS, classify, words
from fluxbase_migrations.runner.lookahead.effect import Effect, State, Touch, Work
from fluxbase_migrations.runner.lookahead.modes import CONFLICTS, Lock
from fluxbase_migrations.runner.lookahead.names import enum
from tests.lookahead import lock_cases
from tests.lookahead.lock_cases import Case
from tests.support.databases import Database, fresh_database

INSIDE = [*lock_cases.ALTER_TABLE, *lock_cases.RELATIONS, *lock_cases.QUERIES, *lock_cases.NO_RELATION]
ALL = [*INSIDE, *lock_cases.OUTSIDE]


@dataclass(frozen=True)
class Relation:
    """One relation as it was before the statement."""

    name: str
    kind: str
    file: int | None


Snapshot = dict[int, Relation]
RELATIONS = (
    "SELECT c.oid, c.oid::regclass::text, c.relkind::text, pg_relation_filenode(c.oid) FROM pg_class c"
    " WHERE c.oid >= 16384 AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I')"
    " AND c.relnamespace NOT IN ('pg_toast'::regnamespace, 'information_schema'::regnamespace)"
)


class Subject:
    """The database of the cases, a session to read its catalog, and one to look at locks."""

    def __init__(self, database: Database) -> None:
        self.database = database
        with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
            connection.execute(lock_cases.DATABASE.encode())
            connection.execute("VACUUM ANALYZE")
        self.observer = psycopg.connect(database.admin_dsn, autocommit=True)
        self.session = connected(database)
        self.before = snapshot(self.observer)

    def predicted(self, sql: str) -> Effect:
        self.session.query("BEGIN TRANSACTION READ ONLY")
        facts = catalog.read(self.session, words(sql.encode()))
        effect = classify(facts, sql.encode(), "?")
        self.session.query("ROLLBACK")
        return effect

    def locks(self, pid: int) -> dict[int, Lock]:
        """The strongest lock of each relation that a backend has or waits for."""
        rows = self.observer.execute(
            "SELECT relation, mode FROM pg_locks WHERE pid = %s AND locktype = 'relation'"
            " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())",
            [pid],
        )
        found: dict[int, Lock] = {}
        for oid, mode in rows:
            lock = Lock.of_pg_locks(mode)
            if oid in self.before and lock is not None:
                found[oid] = max(found.get(oid, lock), lock, key=lambda one: one.strength)
        return found

    def close(self) -> None:
        self.session.close()
        self.observer.close()


def connected(database: Database) -> Session:
    parameters = {
        key: str(value) for key, value in psycopg.conninfo.conninfo_to_dict(database.admin_dsn).items()
    }
    setup = verbs.Setup(parameters, [], Settings(), Log(write=lambda _line: None), Stop())
    return setup.connect()


def snapshot(connection: psycopg.Connection) -> Snapshot:
    return {
        oid: Relation(name, kind, file) for oid, name, kind, file in connection.execute(RELATIONS.encode())
    }


@pytest.fixture(scope="module")
def subject(postgres: Endpoint) -> Iterator[Subject]:
    """Every case is rolled back, so one database serves all."""
    with fresh_database(postgres) as database:
        made = Subject(database)
        yield made
        made.close()


@pytest.mark.parametrize("case", INSIDE, ids=[case.sql[:60] for case in INSIDE])
def test_a_statement_locks_and_works_as_the_plan_says(subject: Subject, case: Case) -> None:
    if subject.database.server.version < case.since:
        return
    problems = differences(subject, case.sql)
    assert not problems, "\n".join(problems)


def differences(subject: Subject, sql: str) -> list[str]:
    """Between what is planned of a statement and what it does, in a transaction that is rolled back."""
    effect = subject.predicted(sql)
    with psycopg.connect(subject.database.admin_dsn) as connection:
        connection.execute("SELECT")
        connection.execute(sql.encode())
        locks = subject.locks(connection.info.backend_pid)
        scanned = "SELECT oid FROM unnest(%s::oid[]) AS oid WHERE pg_stat_get_xact_numscans(oid) > 0"
        scans = {oid for (oid,) in connection.execute(scanned, [[*subject.before]])}
        after = snapshot(connection)
        connection.rollback()
    problems = [*of_locks(subject.before, effect, locks), *of_work(subject.before, after, effect, scans)]
    return [sql, *problems, *map(str, effect.touches), *effect.unknown] if problems else []


@pytest.mark.parametrize(
    "case", lock_cases.OUTSIDE, ids=[f"{case.sql} / {case.outside}" for case in lock_cases.OUTSIDE]
)
def test_a_statement_outside_a_transaction_locks_as_the_plan_says(postgres: Endpoint, case: Case) -> None:
    with fresh_database(postgres) as database:
        subject = Subject(database)
        effect = subject.predicted(case.sql)
        with (
            psycopg.connect(database.admin_dsn) as holder,
            psycopg.connect(database.admin_dsn, autocommit=True) as one,
        ):
            holder.execute(f"LOCK TABLE {case.outside}".encode())
            thread = threading.Thread(target=one.execute, args=[case.sql.encode()])
            thread.start()
            pid = one.info.backend_pid
            wait_until_it_waits(subject, pid)
            locks = subject.locks(pid)
            holder.rollback()
            thread.join(60)
        after = snapshot(subject.observer)
        problems = [*of_locks(subject.before, effect, locks), *of_files(subject.before, after, effect)]
        subject.close()
        assert not problems, "\n".join([case.sql, *problems, *map(str, effect.touches)])


FINALIZE = "ALTER TABLE event DETACH PARTITION event_2024 FINALIZE"


def test_a_detach_that_was_interrupted_is_finalized_as_the_plan_says(postgres: Endpoint) -> None:
    with fresh_database(postgres) as database:
        subject = Subject(database)
        with connection_of(database) as holder, connection_of(database) as detaching:
            holder.execute("BEGIN; LOCK TABLE event_2024 IN ACCESS SHARE MODE")
            detach = "ALTER TABLE event DETACH PARTITION event_2024 CONCURRENTLY"
            thread = threading.Thread(target=cancelled, args=[detaching, detach])
            thread.start()
            wait_until_it_waits(subject, detaching.info.backend_pid)
            detaching.cancel_safe()
            thread.join(60)
        problems = differences(subject, FINALIZE)
        subject.close()
        assert not problems, "\n".join(problems)


def connection_of(database: Database) -> psycopg.Connection:
    return psycopg.connect(database.admin_dsn, autocommit=True)


def cancelled(connection: psycopg.Connection, statement: str) -> None:
    with pytest.raises(psycopg.errors.QueryCanceled):
        connection.execute(statement.encode())


def wait_until_it_waits(subject: Subject, pid: int) -> None:
    waiting = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
    eventually("it to wait", lambda: subject.observer.execute(waiting, [pid]).fetchall() == [(1,)])


def of_locks(before: Snapshot, effect: Effect, locks: dict[int, Lock]) -> Iterator[str]:
    """Where the real locks differ from those planned; an index counts where it is planned."""
    planned = {touch.relation.oid: touch for touch in effect.touches if touch.relation.state is State.EXISTS}
    for oid, relation in before.items():
        real, touch = locks.get(oid), planned.get(oid)
        if touch is None:
            if real is not None and relation.kind not in "iI":
                yield f"{relation.name}: not planned, really {real}"
        elif touch.certain and real is not touch.lock:
            yield f"{relation.name}: planned {touch.lock}, really {real}"
        elif real is not None and real.strength > touch.lock.strength:
            yield f"{relation.name}: at most {touch.lock} planned, really {real}"


def of_files(before: Snapshot, after: Snapshot, effect: Effect) -> Iterator[str]:
    """Where a relation has a new file on disk, and none was planned, or the other way round."""
    planned = {touch.relation.oid: touch for touch in effect.touches}
    for oid, relation in before.items():
        if oid not in after or relation.file is None or relation.kind == "S":
            continue  # a sequence is one row
        touch = planned.get(oid)
        new = after[oid].file != relation.file
        expected = touch is not None and touch.work in (Work.REWRITE, Work.EMPTIED)
        free = touch is not None and (touch.work is Work.MAY_REWRITE or not touch.certain)
        # An index is rebuilt with its table, and only then.
        if new is not expected and not free and (relation.kind != "i" or touch is not None):
            yield f"{relation.name}: {'a' if new else 'no'} new file, and {touch and touch.work} planned"


def of_work(before: Snapshot, after: Snapshot, effect: Effect, scans: set[int]) -> Iterator[str]:
    yield from of_files(before, after, effect)
    planned: dict[int, Touch] = {touch.relation.oid: touch for touch in effect.touches}
    for oid, relation in before.items():
        work = planned[oid].work if oid in planned else Work.CATALOG
        if oid not in after or relation.kind not in "rm":
            continue
        if work is Work.CATALOG and oid in scans:
            yield f"{relation.name}: scanned, which was not planned"
        if work is Work.SCAN and oid not in scans and planned[oid].certain:
            yield f"{relation.name}: not scanned, which was planned"


def kinds() -> set[str]:
    """The parser's names of the statements that some case has, and those of ALTER TABLE's commands."""
    found = set()
    for sql in [FINALIZE, *(case.sql for case in ALL)]:
        for one in postgast.parse(sql).stmts:
            kind = one.stmt.WhichOneof("node")
            found.add(kind)
            if kind == "alter_table_stmt":
                commands_of = one.stmt.alter_table_stmt.cmds
                found |= {enum("AlterTableType", each.alter_table_cmd.subtype) for each in commands_of}
    return found


def test_every_line_of_the_lock_table_has_a_case() -> None:
    lines = {*HANDLERS, *rules.ALTER_TABLE, *rules.NO_RELATION} - lock_cases.NEVER_LOCK
    assert lines - kinds() == set()


def test_every_kind_of_statement_is_in_the_lock_table() -> None:
    """Those of the parser's own list, but for what no file can hold by itself."""
    names = [field.name for field in postgast.pg_query_pb2.Node.DESCRIPTOR.fields]
    statements = {name for name in names if name.endswith("_stmt")}
    within = {"raw_stmt", "set_operation_stmt", "return_stmt", "plassign_stmt", "replica_identity_stmt"}
    known = {*HANDLERS, *rules.NO_RELATION, *rules.UNKNOWN, "select_stmt", "variable_set_stmt"}
    assert statements - within - known == set()


def test_the_modes_conflict_as_postgresql_says(subject: Subject) -> None:
    """Each pair of modes is really taken by two sessions."""
    first, second = (psycopg.connect(subject.database.admin_dsn) for _ in range(2))
    with first, second:
        for one in Lock:
            for other in Lock:
                first.execute(f"LOCK TABLE lonely IN {one} MODE".encode())
                try:
                    second.execute(f"LOCK TABLE lonely IN {other} MODE NOWAIT".encode())
                    conflict = False
                except psycopg.errors.LockNotAvailable:
                    conflict = True
                assert conflict is (other in CONFLICTS[one]), (one, other)
                first.rollback()
                second.rollback()
