"""A statement that waits for a lock says who holds it; asking harms nothing."""

import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise

import psycopg
import pytest

from dev.postgres_server import Endpoint, start_server
from dev.waiting import eventually
from fluxbase_migrations.controller.reconcile.log_follower import parse
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.runner.connection import lock_waits
from fluxbase_migrations.runner.log import Log
from tests.runner.track import Runner, numbered
from tests.support.databases import Database, administer, fresh_database

HOSTILE = 'x" file=001\n\x1b[2J'


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody wants to wait five seconds in each test; one below does."""
    monkeypatch.setattr(lock_waits, "FIRST", 0.3)
    monkeypatch.setattr(lock_waits, "AGAIN", 0.5)


@pytest.fixture(scope="module")
def preparing(postgres: Endpoint) -> Iterator[Endpoint]:
    """A server that allows prepared transactions, of the same version."""
    with start_server(postgres.version, settings={"max_prepared_transactions": "5"}) as server:
        yield server.endpoint


@pytest.fixture
def prepared(preparing: Endpoint) -> Iterator[Runner]:
    with fresh_database(preparing) as database:
        yield Runner(database)


@contextmanager
def running(runner: Runner, *bodies: str) -> Iterator[list[Result]]:
    """A run in another thread; it has ended when the block has."""
    results: list[Result] = []
    thread = threading.Thread(target=lambda: results.append(runner.run(numbered(*bodies))))
    thread.start()
    try:
        yield results
    finally:
        thread.join(60)


def told(runner: Runner, what: str, times: int = 1) -> list[str]:
    """The lines that say ``what``, once there are so many."""
    eventually(what, lambda: len([line for line in runner.lines if what in line]) >= times)
    return [line for line in runner.lines if what in line]


def blocker(database: Database, name: str = "the-blocker") -> psycopg.Connection:
    return psycopg.connect(database.dsn, application_name=name)


@pytest.mark.parametrize(
    ("body", "held", "lock"),
    [
        ("ALTER TABLE t ADD x int", "SELECT * FROM t", "AccessExclusiveLock on public.t"),
        ("UPDATE t SET i = 2", "UPDATE t SET i = 3", "a row lock on public.t"),
        ("INSERT INTO t VALUES (7)", "INSERT INTO t VALUES (7)", "the end of another transaction"),
        ("SELECT pg_advisory_xact_lock(7)", "SELECT pg_advisory_xact_lock(7)", "an advisory lock"),
        (
            "CREATE INDEX CONCURRENTLY t_i ON t (i)",
            "SELECT * FROM t",
            "the end of transactions that began earlier",
        ),
        ("SELECT 1; VACUUM t; ALTER TABLE t ADD x int", "SELECT * FROM t", "AccessExclusiveLock on public.t"),
        ("SELECT 1", "SELECT * FROM migrations.app FOR UPDATE", "a row lock on migrations.app"),
    ],
    ids=["table", "row", "unique key", "advisory", "old transaction", "in groups", "our own statement"],
)
def test_a_wait_is_told_with_lock_and_holder(runner: Runner, body: str, held: str, lock: str) -> None:
    first = runner.run({"0_t.up.sql": "CREATE TABLE t (i int PRIMARY KEY); INSERT INTO t VALUES (1)"})
    assert first.outcome is Outcome.APPLIED
    if "CONCURRENTLY" in body:
        held = f"SET TRANSACTION ISOLATION LEVEL REPEATABLE READ; {held}"
    files = {"0_t.up.sql": "", "1_file.up.sql": body}
    results: list[Result] = []
    with blocker(runner.database) as other:
        other.execute(held.encode())
        thread = threading.Thread(target=lambda: results.append(runner.run(files)))
        thread.start()
        line = told(runner, "Waiting for a lock", 2)[-1]
        pid = other.info.backend_pid
        other.rollback()
    thread.join(60)
    assert results[0].outcome is Outcome.APPLIED, results[0].error
    assert f'lock="{lock}"' in line
    assert f"held by pid {pid}, application the-blocker, user {runner.database.user}" in line
    assert re.search(r"idle in transaction since 20\d\d-\S+Z, transaction since 20\d\d-\S+Z", line)
    progress = parse(b"2026-01-01T00:00:00Z " + line.encode())
    assert progress is not None
    assert (progress.file, progress.number, progress.total) == ("1_file.up.sql", 1, 1)
    assert str(pid) in (progress.waiting or "")
    assert told(runner, "The lock was granted")


def test_who_waits_itself_is_named_after_who_holds(runner: Runner) -> None:
    runner.query("CREATE TABLE t (i int)")
    with blocker(runner.database) as holder, blocker(runner.database, "the-queue") as queued:
        holder.execute("SELECT * FROM t")
        thread = threading.Thread(target=lambda: queued.execute("ALTER TABLE t ADD y int"))
        thread.start()
        eventually(
            "the queue", lambda: runner.query("SELECT 1 FROM pg_locks WHERE NOT granted LIMIT 1") == [(1,)]
        )
        with running(runner, "SELECT * FROM t") as results:
            line = told(runner, "Waiting for a lock")[0]
            holder.commit()
            thread.join(60)
            queued.commit()
    assert results[0].outcome is Outcome.APPLIED
    assert "application the-queue" in line
    assert "waiting for a lock itself" in line


@pytest.mark.parametrize(
    ("held", "body"),
    [("LOCK TABLE t", "ALTER TABLE t ADD x int"), ("INSERT INTO t VALUES (1)", "INSERT INTO t VALUES (1)")],
    ids=["table", "unique key"],
)
def test_a_prepared_transaction_is_named(prepared: Runner, held: str, body: str) -> None:
    prepared.query("CREATE TABLE t (i int PRIMARY KEY)")
    with psycopg.connect(prepared.database.dsn, autocommit=True) as other:
        for statement in ("BEGIN", held, "PREPARE TRANSACTION 'the gid'"):
            other.execute(statement.encode())
        with running(prepared, body) as results:
            line = told(prepared, "Waiting for a lock")[0]
            other.execute("ROLLBACK PREPARED 'the gid'")
    assert results[0].outcome is Outcome.APPLIED
    assert "held by prepared transaction the gid since 20" in line


def test_what_may_not_be_seen_of_another_role_is_said(runner: Runner) -> None:
    runner.query("CREATE TABLE t (i int)")
    with psycopg.connect(runner.database.admin_dsn, application_name="the-admin") as other:
        other.execute("SELECT * FROM t")
        with running(runner, "ALTER TABLE t ADD x int"):
            line = told(runner, "Waiting for a lock")[0]
            pid = other.info.backend_pid
            other.commit()
    assert f"held by pid {pid}" in line
    assert "pg_read_all_stats" in line


def test_a_hostile_application_name_stays_a_value(runner: Runner) -> None:
    runner.query("CREATE TABLE t (i int)")
    with blocker(runner.database, HOSTILE) as other:
        other.execute("SELECT * FROM t")
        with running(runner, "ALTER TABLE t ADD x int"):
            line = told(runner, "Waiting for a lock")[0]
            other.commit()
    assert line.removesuffix("\n").isprintable()
    progress = parse(b"2026-01-01T00:00:00Z " + line.encode())
    assert progress is not None
    assert progress.file == "1_file.up.sql"


def test_without_a_free_connection_the_run_waits_in_silence(runner: Runner) -> None:
    runner.query("CREATE TABLE t (i int)")
    limit = psycopg.sql.SQL("ALTER ROLE {} CONNECTION LIMIT 2")
    administer(
        runner.database.server,
        limit.format(psycopg.sql.Identifier(runner.database.user)),
        runner.database.name,
    )
    with blocker(runner.database) as other:
        other.execute("SELECT * FROM t")
        with running(runner, "ALTER TABLE t ADD x int") as results:
            told(runner, "cannot see who holds locks")
            other.commit()
    assert results[0].outcome is Outcome.APPLIED, results[0].error
    assert len(told(runner, "cannot see")) == 1
    assert not [line for line in runner.lines if "Waiting" in line or runner.database.password in line]


@pytest.mark.parametrize(
    "answer", [b"", b"E\0\0\0\x0bSXX000\0\0", b"nonsense"], ids=["silent", "refusing", "odd"]
)
def test_a_server_that_does_not_answer_is_not_waited_for(
    monkeypatch: pytest.MonkeyPatch, answer: bytes
) -> None:
    monkeypatch.setattr(lock_waits, "_PATIENCE", 0.3)
    asked = threading.Event()

    def serve(listener: socket.socket) -> None:
        with listener.accept()[0] as client:
            client.sendall(answer)
            asked.wait(30)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        thread = threading.Thread(target=serve, args=(listener,))
        thread.start()
        parameters = {"host": host, "port": str(port), "sslmode": "disable", "gssencmode": "disable"}
        with pytest.raises(lock_waits._Denied):
            lock_waits._connected(parameters, time.monotonic() + 0.3)
        asked.set()
        thread.join(30)


def test_what_only_takes_long_is_not_told(runner: Runner) -> None:
    result = runner.run(numbered("SELECT pg_sleep(1.2)"))
    assert result.outcome is Outcome.APPLIED
    assert not [line for line in runner.lines if "lock" in line]


def test_nobody_asks_before_five_seconds_and_then_each_thirty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    asked: list[float] = []
    now = 0.0

    def ask(_: object) -> lock_waits.LockWait | None:
        asked.append(now)
        return found

    lines: list[str] = []
    for found in (lock_waits.LockWait("a lock", "held by pid 1"), None):
        asked.clear()
        monkeypatch.setattr(lock_waits, "ask", ask)
        watch = lock_waits.LockWaits(None, Log(write=lines.append), dict)  # type: ignore[arg-type]
        watch.begin()
        for tick in range(1, 241):
            now = tick / 2
            watch.tick(now)
        assert asked[0] == 5
        pauses = [later - one for one, later in pairwise(asked)]
        assert set(pauses) == {30} if found else 5 <= min(pauses) <= max(pauses) <= 30.5
