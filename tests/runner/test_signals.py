"""SIGTERM and SIGINT: the row tells the truth, the exit code says what is left, the next ``up`` ends well."""

import signal
from collections.abc import Mapping
from pathlib import Path

import psycopg
import pytest

from dev.peers import Finished, Ours, write_files
from dev.waiting import eventually
from fluxbase_migrations.runner.connection.lock import own_id
from fluxbase_migrations.runner.connection.table_name import TableName
from tests.runner.track import Runner
from tests.support.databases import Database

SIGNALS = pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda one: one.name)
BEFORE = "CREATE TABLE a (i int)"
AFTER = "CREATE TABLE c (i int)"


class Command:
    """``up`` with a policy for signals, on files of which the second waits for a lock that the test holds."""

    def __init__(self, runner: Runner, directory: Path, policy: str) -> None:
        self.runner = runner
        self.directory = directory
        self.peer = Ours(runner.database.dsn, directory / "source", options=("--on-signal", policy))
        self.finished: Finished | None = None

    def write(self, *bodies: str) -> None:
        files: Mapping[str, str] = {f"{number}_it.up.sql": text for number, text in enumerate(bodies, 1)}
        write_files(self.peer.source, files)

    def interrupted(self, *numbers: int, finish: bool) -> Finished:
        """Start, signal it while its statement waits for the lock, and let go of that if it is to finish."""
        log = self.directory / "log"
        with psycopg.connect(self.runner.database.dsn, autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(7)")
            started = self.peer.start("up", log=log)
            try:
                waits = (
                    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
                    " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
                )
                eventually("the statement to wait", lambda: self.runner.query(waits) == [(1,)])
                for number in numbers:
                    started.process.send_signal(number)
                if finish:
                    holder.execute("SELECT pg_advisory_unlock(7)")
                return started.finish(60)
            finally:
                started.kill()

    def ends_well(self, last: int) -> None:
        """The next ``up`` reaches the end by itself."""
        done = Ours(self.peer.dsn, self.peer.source).run("up")
        assert done.code == 0, done.command
        assert self.runner.row == [(last, False)]


WAITS = "SELECT pg_advisory_lock(7), pg_advisory_unlock(7)"
ATOMIC = f"CREATE TABLE b (i int); {WAITS}; INSERT INTO b VALUES (1)"
IN_A_GROUP = (
    f"CREATE TABLE b (i int); COMMIT; INSERT INTO b VALUES (1); {WAITS}; COMMIT; CREATE TABLE b2 (i int)"
)
ALONE = (
    "CREATE TABLE b (i int); COMMIT;"
    " DO $$ BEGIN COMMIT; PERFORM pg_advisory_lock(7), pg_advisory_unlock(7); END $$;"
    " INSERT INTO b VALUES (1); CREATE TABLE b2 (i int)"
)


@SIGNALS
def test_finish_ends_the_atomic_file_and_starts_no_other(
    runner: Runner, tmp_path: Path, number: signal.Signals
) -> None:
    command = Command(runner, tmp_path, "finish")
    command.write(BEFORE, ATOMIC, AFTER)
    done = command.interrupted(number, finish=True)
    assert done.code == 1, done.command
    assert f"{number.name} received" in done.output
    assert runner.row == [(2, False)]
    assert runner.query("SELECT i FROM b") == [(1,)]
    assert not runner.exists("c")
    command.ends_well(3)


@SIGNALS
def test_cancel_rolls_the_atomic_file_back(runner: Runner, tmp_path: Path, number: signal.Signals) -> None:
    command = Command(runner, tmp_path, "cancel")
    command.write(BEFORE, ATOMIC, AFTER)
    done = command.interrupted(number, finish=False)
    assert done.code == 1, done.command
    assert "rolled back, nothing changed" in done.output
    assert runner.row == [(1, False)]
    assert not runner.exists("b")
    assert runner.history[-1][:2] == ("2_it.up.sql", "interrupted")
    command.ends_well(3)


@SIGNALS
@pytest.mark.parametrize("body", [IN_A_GROUP, ALONE], ids=["in a group", "outside a transaction"])
def test_finish_ends_the_file_of_groups_and_starts_no_other(
    runner: Runner, tmp_path: Path, number: signal.Signals, body: str
) -> None:
    command = Command(runner, tmp_path, "finish")
    command.write(BEFORE, body, AFTER)
    done = command.interrupted(number, finish=True)
    assert done.code == 1, done.command
    assert runner.row == [(2, False)]
    assert runner.query("SELECT i FROM b") == [(1,)]
    assert runner.exists("b2")
    assert not runner.exists("c")
    command.ends_well(3)


@SIGNALS
def test_cancel_in_a_group_keeps_the_groups_before_it(
    runner: Runner, tmp_path: Path, number: signal.Signals
) -> None:
    command = Command(runner, tmp_path, "cancel")
    command.write(BEFORE, IN_A_GROUP, AFTER)
    done = command.interrupted(number, finish=False)
    assert done.code == 1, done.command
    assert runner.row == [(2, True)]
    assert "took effect" in done.output
    assert runner.query("SELECT i FROM b") == []
    assert runner.history[-1][:2] == ("2_it.up.sql", "interrupted")
    command.ends_well(3)
    assert runner.query("SELECT i FROM b") == [(1,)]


@SIGNALS
def test_cancel_outside_a_transaction_says_that_the_statement_may_have_taken_effect(
    runner: Runner, tmp_path: Path, number: signal.Signals
) -> None:
    """What a cancelled DO that commits has done nobody can tell: the next command asks before it goes on."""
    command = Command(runner, tmp_path, "cancel")
    command.write(BEFORE, ALONE, AFTER)
    done = command.interrupted(number, finish=False)
    assert done.code == 1, done.command
    assert runner.row == [(2, True)]
    assert "may have taken effect in part" in done.output
    refused = Ours(command.peer.dsn, command.peer.source).run("up")
    assert refused.code == 1
    assert "Dirty database version 2. Fix and force version." in refused.output


@SIGNALS
def test_nothing_left_to_do_after_the_file_is_success(
    runner: Runner, tmp_path: Path, number: signal.Signals
) -> None:
    command = Command(runner, tmp_path, "finish")
    command.write(BEFORE, ATOMIC)
    done = command.interrupted(number, finish=True)
    assert done.code == 0, done.command
    assert runner.row == [(2, False)]


def test_the_second_signal_cancels_whatever_the_policy(runner: Runner, tmp_path: Path) -> None:
    command = Command(runner, tmp_path, "finish")
    command.write(BEFORE, ATOMIC, AFTER)
    done = command.interrupted(signal.SIGINT, signal.SIGTERM, finish=False)
    assert done.code == 1, done.command
    assert runner.row == [(1, False)]
    command.ends_well(3)


@SIGNALS
def test_waiting_for_the_lock_ends_at_once(
    runner: Runner, database: Database, tmp_path: Path, number: signal.Signals
) -> None:
    command = Command(runner, tmp_path, "finish")
    command.write("SELECT pg_advisory_lock(7), pg_advisory_unlock(7)")
    runner.run({"1_it.up.sql": "SELECT 1"})
    with psycopg.connect(database.dsn, autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", (own_id(TableName("migrations", "app")),))
        started = command.peer.start("up", log=tmp_path / "log")
        try:
            eventually(
                "it to be connected",
                lambda: (
                    runner.query(
                        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                        " AND application_name = 'fluxbase-migrate' AND query LIKE '%pg_try_advisory_lock%'"
                    )
                    == [(1,)]
                ),
            )
            started.process.send_signal(number)
            done = started.finish(30)
        finally:
            started.kill()
    assert done.code == 1
    assert "while waiting for the migration lock" in done.output
