"""The lock on three ids: taken in time, named when held, kept while a file runs."""

import threading
import time
from pathlib import Path

import psycopg
import pytest

from dev.peers import Ours, write_files
from dev.waiting import eventually
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.runner.connection.lock import LockIds, golang_migrate_id, own_id
from fluxbase_migrations.runner.connection.table_name import TableName
from tests.runner.track import Runner, numbered

APP = TableName("migrations", "app")


@pytest.mark.parametrize(
    ("table", "database", "expected"),
    [
        (APP, "/fluxbase", 700420591),
        (APP, "fluxbase", 1309426208),
        (TableName("migrations", "fluxbase"), "/fluxbase", 773359234),
        (TableName("public", "schema_migrations"), "fluxbase", 202349746),
    ],
)
def test_golang_migrates_ids_are_those_measured(table: TableName, database: str, expected: int) -> None:
    assert golang_migrate_id(table, database) == expected


def test_our_own_id_is_none_that_golang_migrate_can_have() -> None:
    assert not 0 <= own_id(APP) < 2**32
    assert own_id(APP) != own_id(TableName("migrations", "fluxbase"))


def test_a_held_lock_ends_the_run_in_time_and_names_the_holder(runner: Runner) -> None:
    runner.lock_timeout = 0.5
    for one in LockIds.of(APP, runner.database.name).all:
        with psycopg.connect(runner.database.dsn, application_name="the-holder", autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", (one,))
            began = time.monotonic()
            result = runner.run(numbered("SELECT 1"))
            assert result.outcome is Outcome.LOCK_HELD
            assert time.monotonic() - began < 5
            assert result.error is not None
            assert str(holder.info.backend_pid) in result.error.message
            assert "the-holder" in result.error.message
    assert not runner.exists("migrations.app")


def test_nothing_is_left_locked_after_a_run(runner: Runner) -> None:
    runner.run(numbered("SELECT 1", "VACUUM"))
    count = "SELECT count(*) FROM pg_locks JOIN pg_database d ON d.oid = database WHERE locktype = 'advisory'"
    eventually("the locks to go", lambda: runner.query(f"{count} AND datname = current_database()") == [(0,)])


def test_a_waiting_golang_migrate_does_not_deadlock_a_concurrent_build(runner: Runner) -> None:
    """The waiter's snapshot blocks the build; the build's session holds what the waiter waits for."""
    runner.run(numbered("CREATE TABLE a (i int)"))
    plain = LockIds.of(APP, runner.database.name).golang[0]
    results: list[Result] = []
    body = "SELECT pg_sleep(1); CREATE INDEX CONCURRENTLY a_i ON a (i)"
    ours = threading.Thread(
        target=lambda: results.append(runner.run(numbered("CREATE TABLE a (i int)", body)))
    )
    with psycopg.connect(runner.database.dsn, autocommit=True) as observer:
        ours.start()
        eventually(
            "ours to hold the lock",
            lambda: observer.execute("SELECT version, dirty FROM migrations.app").fetchone() == (2, True),
        )
        with psycopg.connect(runner.database.dsn, autocommit=True) as waiter:
            waiter.execute("SELECT pg_advisory_lock(%s)", (plain,))
            # As golang-migrate does: it looks, sees the dirty row, and goes.
            assert waiter.execute("SELECT version, dirty FROM migrations.app").fetchone() == (2, True)
            waiter.execute("SELECT pg_advisory_unlock(%s)", (plain,))
    ours.join(60)
    assert [one.outcome for one in results] == [Outcome.APPLIED], results[0].error
    assert runner.exists("a_i")


def test_who_writes_the_row_while_the_locks_are_free_stops_us(runner: Runner) -> None:
    body = "CREATE INDEX CONCURRENTLY a_i ON a (i)"
    table = numbered("CREATE TABLE a (i int)")
    runner.run(table)
    with psycopg.connect(runner.database.dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT * FROM a")  # the build waits for this snapshot
        results: list[Result] = []
        ours = threading.Thread(target=lambda: results.append(runner.run(table | {"2_i.up.sql": body})))
        ours.start()
        builds = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'CREATE INDEX%'"
        waits = f"{builds} AND wait_event_type = 'Lock'"
        eventually("the build to wait", lambda: runner.query(waits) == [(1,)])
        runner.query("UPDATE migrations.app SET version = 7")
    ours.join(60)
    assert results[0].outcome is Outcome.UNPROVEN
    assert results[0].error is not None
    assert results[0].error.message == "migrations.app was modified by another session"
    assert runner.row == [(7, True)]


def test_the_backend_of_a_killed_client_lets_go_in_the_middle_of_a_statement(
    runner: Runner, tmp_path: Path
) -> None:
    source = write_files(tmp_path / "source", numbered("SELECT 1", "SELECT pg_sleep(3600)"))
    started = Ours(runner.database.dsn, source).start("up", log=tmp_path / "log")
    sleeping = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event = 'PgSleep'"
    )
    try:
        eventually("the statement to run", lambda: runner.query(sleeping) == [(1,)])
    finally:
        started.kill()
        started.process.wait(30)
    eventually("the backend to end", lambda: runner.query(sleeping) == [(0,)], timeout=60)
    again = runner.run(numbered("SELECT 1", "SELECT 2"))
    assert again.outcome is Outcome.APPLIED, again.error
