"""Statements outside a transaction: what a crash leaves halfway, and how the next run settles it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dev.peers import Finished, Ours, Started, write_files
from dev.waiting import eventually
from fluxbase_migrations.core.names import Recovery
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.runner.connection.lock import LockIds
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.recovery import in_doubt_resolution
from fluxbase_migrations.runner.recovery.in_doubt_resolution import Resolution
from tests.runner.track import Runner, connect_as, numbered
from tests.support.databases import Database

PARTITIONS = (
    "CREATE TABLE p (i int) PARTITION BY LIST (i); CREATE TABLE p1 PARTITION OF p FOR VALUES IN (1);"
    " INSERT INTO p VALUES (1)"
)
DETACH = (
    "CREATE TABLE before (i int); ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY; CREATE TABLE after (i int)"
)
PENDING = "SELECT count(*) FROM pg_inherits WHERE inhdetachpending"
LOCKS = (
    "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
)
FINALIZING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'ALTER TABLE%FINALIZE' AND wait_event_type = 'Lock'"
)
TERMINATE = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'ALTER TABLE p DETACH%' AND pid <> pg_backend_pid()"
)


@pytest.mark.parametrize("victim", ["process", "connection", "statement"])
def test_a_detach_that_is_broken_off_halfway_is_finalized(
    runner: Runner, database: Database, tmp_path: Path, victim: str
) -> None:
    runner.run(numbered(PARTITIONS))
    ours = Ours(database.dsn, write_files(tmp_path / "source", numbered(PARTITIONS, DETACH)))
    with psycopg.connect(database.dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT * FROM p")  # the detach's second half waits for this transaction
        started = ours.start("up", log=tmp_path / "log")
        try:
            eventually("the detach's first half", lambda: runner.query(PENDING) == [(1,)])
            _break_off(runner, started, victim)
            code = started.finish(60).code
        finally:
            started.kill()
        assert code != 0
        eventually("the command's session to end", lambda: runner.query(LOCKS) == [(0,)])
        assert runner.row == [(2, True)]
        assert runner.query(PENDING) == [(1,)]
    refused = runner.run(numbered(PARTITIONS, DETACH), recovery=Recovery.MANUAL)
    assert refused.outcome is Outcome.DIRTY
    assert runner.query(PENDING) == [(1,)], "the policy Manual changes nothing"
    again = runner.run(
        numbered(PARTITIONS, DETACH), recovery=Recovery.PROVEN, requested=victim == "statement"
    )
    assert again.outcome is Outcome.APPLIED, again.error
    assert any("finalized an interrupted detach" in line for line in runner.lines)
    assert runner.query("SELECT count(*) FROM pg_inherits") == [(0,)]
    assert runner.query("SELECT i FROM p1") == [(1,)]
    assert runner.exists("after")
    assert runner.row == [(2, False)]


def _pending_detach(runner: Runner, ours: Ours, directory: Path) -> None:
    """A process that was killed between a detach's halves."""
    with psycopg.connect(runner.database.dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT * FROM p")
        started = ours.start("up", log=directory / "first")
        try:
            eventually("the detach's first half", lambda: runner.query(PENDING) == [(1,)])
        finally:
            started.kill()
            started.finish()
        eventually("the command's session to end", lambda: runner.query(LOCKS) == [(0,)])


@contextmanager
def _waiting_recovery(
    runner: Runner, ours: Ours, directory: Path
) -> Iterator[tuple[Started, psycopg.Connection]]:
    """A process that waits to finalize a detach, and the connection that it waits for."""
    runner.run(numbered(PARTITIONS))
    _pending_detach(runner, ours, directory)
    with psycopg.connect(runner.database.dsn) as holder:
        holder.execute("LOCK TABLE p1 IN ACCESS SHARE MODE")
        started = ours.start("up", log=directory / "log")
        try:
            eventually("the detach's second half to wait", lambda: runner.query(FINALIZING) == [(1,)])
            yield started, holder
        finally:
            started.kill()


def test_a_version_forced_while_a_detach_is_finalized_is_not_overwritten(
    runner: Runner, database: Database, tmp_path: Path
) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", numbered(PARTITIONS, DETACH)))
    with _waiting_recovery(runner, ours, tmp_path) as (started, holder):
        runner.query("UPDATE migrations.app SET dirty = false")
        holder.rollback()
        done = started.finish(60)
    assert done.code == 1, done.command
    assert "migrations.app was modified by another session during the recovery" in done.output
    assert runner.row == [(2, False)]
    assert not runner.exists("after")


def test_a_signal_ends_the_wait_of_a_recovery(runner: Runner, database: Database, tmp_path: Path) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", numbered(PARTITIONS, DETACH)))
    with _waiting_recovery(runner, ours, tmp_path) as (started, _):
        done = _told_to_stop(started)
    assert done.code == 1, done.command
    assert "FINALIZE was cancelled" in done.output
    assert runner.query(PENDING) == [(1,)]
    assert runner.row == [(2, True)]
    assert ours.run("up").code == 0
    assert runner.row == [(2, False)]


def _told_to_stop(started: Started) -> Finished:
    """By a second signal, too, which does not wait for the statement."""
    started.process.send_signal(signal.SIGINT)
    started.process.send_signal(signal.SIGTERM)
    return started.finish(60)


def _break_off(runner: Runner, started: Started, victim: str) -> None:
    match victim:
        case "process":
            started.kill()
        case "connection":
            runner.query(TERMINATE)
        case _:
            runner.query(TERMINATE.replace("terminate", "cancel"))


def test_a_detach_of_what_is_no_partition_is_its_error_and_not_done(runner: Runner) -> None:
    wrong = f"CREATE TABLE other (i int); {DETACH.replace('p1', 'other')}"
    failed = runner.run(numbered(PARTITIONS, wrong))
    assert failed.outcome is Outcome.SQL_ERROR
    assert failed.error is not None
    assert failed.error.sql_state == "42P01"
    assert failed.error.effect == "statements 1 to 2 of 4 took effect"
    fixed = runner.run(numbered(PARTITIONS, f"CREATE TABLE other (i int); {DETACH}"), requested=True)
    assert fixed.outcome is Outcome.APPLIED, fixed.error


def test_a_server_setting_is_altered_beside_other_statements(runner: Runner) -> None:
    """ALTER SYSTEM is refused in a transaction, and needs a superuser."""
    admin = Runner(replace(runner.database, user="postgres", password=runner.database.server.password))
    setting = "bgwriter_flush_after"
    files = numbered(
        "CREATE TABLE a (i int)",
        f"INSERT INTO a VALUES (1); ALTER SYSTEM SET {setting} = 3; INSERT INTO a VALUES (2)",
        f"ALTER SYSTEM RESET {setting}",
    )
    first = {name: text for name, text in files.items() if not name.startswith("3")}
    written = "SELECT setting FROM pg_file_settings WHERE name = 'bgwriter_flush_after'"
    try:
        result = admin.run(first)
        assert result.outcome is Outcome.APPLIED, result.error
        assert _as_superuser(runner, written) == [("3",)]
        assert admin.history[-1] == ("2_file.up.sql", "applied", 3, 3)
        assert admin.run(files).outcome is Outcome.APPLIED
        assert _as_superuser(runner, written) == []
    finally:
        _as_superuser(runner, f"ALTER SYSTEM RESET {setting}")


def _as_superuser(runner: Runner, text: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as connection:
        cursor = connection.execute(text.encode())
        return cursor.fetchall() if cursor.description else []


SLOW = (
    "CREATE TABLE a (i int); INSERT INTO a VALUES (1), (2);"
    " CREATE FUNCTION slow(i int) RETURNS int LANGUAGE plpgsql IMMUTABLE AS"
    " $$BEGIN PERFORM pg_advisory_xact_lock_shared(7); RETURN 0; END$$"
)
UNIQUE = "CREATE TABLE b (i int); CREATE UNIQUE INDEX CONCURRENTLY a_i ON a (slow(i))"
DROPPING = (
    "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    " AND query LIKE 'DROP INDEX%' AND wait_event_type = 'Lock'"
)


def test_a_failure_is_told_although_a_signal_ended_the_cleaning_up(
    runner: Runner, database: Database, tmp_path: Path
) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", numbered(SLOW, UNIQUE)))
    waiting = f"{LOCKS} AND NOT granted"
    with psycopg.connect(database.dsn, autocommit=True) as holder, psycopg.connect(database.dsn) as reader:
        holder.execute("SELECT pg_advisory_lock(7)")
        started = ours.start("up", log=tmp_path / "log")
        try:
            eventually("the build to wait", lambda: runner.query(waiting) == [(1,)])
            reader.execute("SELECT * FROM a")
            holder.execute("SELECT pg_advisory_unlock(7)")
            eventually("the dropping to wait", lambda: runner.query(DROPPING) == [(1,)])
            done = _told_to_stop(started)
        finally:
            started.kill()
    assert done.code == 1, done.command
    assert 'could not create unique index "a_i"' in done.output
    assert "statement 2 of 2 may have taken effect in part; statement 1 of 2 took effect" in done.output
    assert runner.row == [(2, True)]
    runner.query("DELETE FROM a WHERE i > 1")
    again = runner.run(numbered(SLOW, UNIQUE), requested=True)
    assert again.outcome is Outcome.APPLIED, again.error
    assert runner.query("SELECT indisvalid FROM pg_index WHERE indrelid = 'a'::regclass") == [(True,)]


@pytest.mark.parametrize("statement", ["CREATE DATABASE postgres", "DROP DATABASE IF EXISTS nowhere"])
def test_a_database_that_is_as_it_was_is_not_taken_for_the_statements_work(
    runner: Runner, statement: str
) -> None:
    session = connect_as(runner)
    note = in_doubt_resolution.note(session, statement.encode())
    ids = LockIds.of(TableName("migrations", "app"), session.database)
    assert in_doubt_resolution.resolve(session, ids, note, runner.log) is Resolution.NOT_DONE
    session.close()
