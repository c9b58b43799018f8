"""What may have committed in part is never run again unasked, whatever ended it."""

import signal
from pathlib import Path

import pytest

from dev.peers import Ours, write_files
from dev.waiting import eventually
from fluxbase_migrations.core.names import Recovery
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.runner.connection.signals import Stop
from tests.runner import cases
from tests.runner.track import APP, Runner, numbered
from tests.support.databases import Database

CALL = cases.files("partly-committed/call-check")
BUMPED = [(1, 1), (2, 1), (3, 9)]
MARK = "CREATE TABLE a (i int)"
LOOP = (
    "INSERT INTO a VALUES (0);"
    " DO $$ BEGIN FOR i IN 1..3 LOOP INSERT INTO a VALUES (i); COMMIT;"
    " PERFORM pg_advisory_lock(7), pg_advisory_unlock(7); END LOOP; END $$;"
    " CREATE TABLE z (i int)"
)
"""It waits, after its first COMMIT, for a lock that the test holds."""
WAITING = (
    "SELECT count(*) FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
    " WHERE datname = current_database() AND locktype = 'advisory' AND NOT granted"
)
OPEN = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'DO $$%'"


def accounts(runner: Runner) -> list[tuple[int, int]]:
    return [(first, second) for first, second in runner.query("SELECT id, n FROM acc ORDER BY id")]


def rows(runner: Runner) -> list[int]:
    return [one for (one,) in runner.query("SELECT i FROM a ORDER BY i")]


def refused(result: Result) -> str:
    """What the refusal says is known."""
    assert result.outcome is Outcome.UNPROVEN, result.error
    assert result.error is not None
    assert result.error.message == "Dirty database version 2. Fix and force version."
    return result.error.detail or ""


def test_a_call_that_failed_after_a_commit_is_not_called_again(runner: Runner) -> None:
    failed = runner.run(CALL)
    assert failed.outcome is Outcome.UNPROVEN, failed.error
    assert failed.error is not None
    assert failed.error.sql_state == "23514"
    assert failed.error.effect == "statement 1 of 1 may have taken effect in part"
    assert accounts(runner) == BUMPED
    more = CALL | {"003_c.up.sql": "CREATE TABLE c (i int)"}
    for recovery in (Recovery.AUTOMATIC, Recovery.PROVEN):
        assert "002_b.up.sql: statement 1 of 1 may have taken effect in part" in refused(
            runner.run(more, recovery=recovery)
        )
    assert accounts(runner) == BUMPED


def test_a_call_in_doubt_is_called_again_when_asked(runner: Runner) -> None:
    runner.run(CALL)
    runner.query("UPDATE acc SET n = 0")
    result = runner.run(CALL, requested=True)
    assert result.outcome is Outcome.APPLIED, result.error
    assert accounts(runner) == [(1, 1), (2, 1), (3, 1)]


def test_a_corrected_statement_is_run_without_asking_and_nothing_before_it(runner: Runner) -> None:
    before = "INSERT INTO acc VALUES (4, 0); COMMIT; "
    runner.run(CALL | {"002_b.up.sql": f"{before}CALL bump(); INSERT INTO acc VALUES (5, 0)"})
    corrected = CALL | {
        "002_b.up.sql": f"{before}UPDATE acc SET n = 1 WHERE id = 3; INSERT INTO acc VALUES (5, 0)"
    }
    result = runner.run(corrected)
    assert result.outcome is Outcome.APPLIED, result.error
    assert "corrected" in (result.recovered or "")
    assert accounts(runner) == [(1, 1), (2, 1), (3, 1), (4, 0), (5, 0)]


def test_another_edit_of_the_file_does_not_run_a_statement_in_doubt(runner: Runner) -> None:
    runner.run(CALL | {"002_b.up.sql": "CALL bump(); SELECT 1"})
    assert refused(runner.run(CALL | {"002_b.up.sql": "CALL bump(); SELECT 2"}))
    assert accounts(runner) == BUMPED


def test_what_went_before_is_not_run_again_with_a_statement_in_doubt(runner: Runner) -> None:
    files = CALL | {"002_b.up.sql": "INSERT INTO acc VALUES (4, 0); COMMIT; CALL bump()"}
    assert runner.run(files).error is not None
    runner.query("UPDATE acc SET n = 0 WHERE id = 3")
    result = runner.run(files, requested=True)
    assert result.outcome is Outcome.APPLIED, result.error
    assert accounts(runner) == [(1, 2), (2, 2), (3, 1), (4, 0)]


def test_a_request_that_ends_before_the_statement_does_not_settle_the_doubt(runner: Runner) -> None:
    runner.run(CALL)
    runner.stop.request("SIGTERM")
    stopped = runner.run(CALL, requested=True)
    assert stopped.outcome is Outcome.UNPROVEN, stopped.error
    runner.stop = Stop()
    assert refused(runner.run(CALL))
    assert accounts(runner) == BUMPED


def test_so_is_one_in_a_down_file(runner: Runner) -> None:
    files = CALL | {
        "002_b.up.sql": "SELECT 1",
        "002_b.down.sql": "INSERT INTO acc VALUES (4, 0); COMMIT; CALL bump()",
    }
    assert runner.run(files).outcome is Outcome.APPLIED
    assert runner.run(files, target=1).outcome is Outcome.UNPROVEN
    assert runner.row == [(1, True)]
    again = runner.run(files, target=1)
    assert again.outcome is Outcome.UNPROVEN
    assert again.error is not None
    assert "statement 3 of 3 may have taken effect in part" in (again.error.detail or "")
    assert accounts(runner) == [*BUMPED, (4, 0)]
    corrected = files | {"002_b.down.sql": files["002_b.down.sql"].replace("CALL bump()", "DELETE FROM acc")}
    assert runner.run(corrected, target=1).outcome is Outcome.ROLLED_BACK
    assert accounts(runner) == []


def test_each_request_runs_a_statement_in_doubt_once(runner: Runner) -> None:
    """The operator repeats a run whose container ended without a result, with the request it was made for."""
    runner.run(CALL)
    for request, calls in (("a", 2), ("a", 2), ("b", 3), ("b", 3)):
        assert runner.run(CALL, requested=True, requested_at=request).outcome is Outcome.UNPROVEN
        assert accounts(runner) == [(1, calls), (2, calls), (3, 9)]


@pytest.mark.parametrize("how", ["SIGTERM", "SIGHUP", "SIGKILL", "connection"])
def test_a_do_that_commits_is_not_run_again_whatever_broke_it_off(
    runner: Runner, database: Database, tmp_path: Path, how: str
) -> None:
    ours = Ours(
        database.dsn,
        write_files(tmp_path / "source", numbered(MARK, LOOP)),
        options=("--on-signal", "cancel"),
    )
    with runner.holding_lock(7):
        started = ours.start("up", log=tmp_path / "log")
        try:
            eventually("the loop to wait", lambda: runner.query(WAITING) == [(1,)])
            if how == "connection":
                runner.query(
                    OPEN.replace("count(*)", "pg_terminate_backend(pid)") + " AND pid <> pg_backend_pid()"
                )
            else:
                started.process.send_signal(signal.Signals[how])
            done = started.finish(60)
        finally:
            started.kill()
    assert done.code != 0, done.command
    assert how == "SIGKILL" or "statement 2 of 3 may have taken effect in part" in done.output, done.command
    eventually("its session to end", lambda: runner.query(WAITING) == [(0,)])
    left = rows(runner)
    for files in (numbered(MARK, LOOP), numbered(MARK, LOOP, "CREATE TABLE more (i int)")):
        detail = refused(runner.run(files))
        assert "statement 2 of 3 may have taken effect in part; statement 1 of 3 took effect" in detail
    assert rows(runner) == left


def test_a_do_that_can_never_commit_leaves_nothing(runner: Runner) -> None:
    result = runner.run(cases.files("partly-committed/do-commit-in-exception-block"))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert (result.error.sql_state, result.error.effect) == ("2D000", "rolled back, nothing changed")
    assert not runner.exists("a")
    fixed = runner.run({"001_a.up.sql": MARK})
    assert fixed.outcome is Outcome.APPLIED, fixed.error


NEVER = "DO $$ BEGIN BEGIN COMMIT; EXCEPTION WHEN others THEN RAISE; END; END $$"


def test_a_do_that_can_never_commit_leaves_nothing_of_its_group(runner: Runner) -> None:
    result = runner.run(numbered(MARK, f"VACUUM a; INSERT INTO a VALUES (1); {NEVER}"))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.effect == "statement 1 of 3 took effect"
    assert rows(runner) == []


FOREIGN = {
    "CALL": "CALL c()",
    "DO with COMMIT": "DO $$ BEGIN INSERT INTO a VALUES (1); COMMIT; END $$",
    "own COMMIT": "INSERT INTO a VALUES (1); COMMIT; INSERT INTO a VALUES (2)",
}


@pytest.mark.parametrize("body", FOREIGN.values(), ids=FOREIGN)
def test_a_file_that_another_program_may_have_committed_in_part_is_not_run_unasked(
    runner: Runner, body: str
) -> None:
    first = f"{MARK}; CREATE PROCEDURE c() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$"
    runner.run(numbered(first))
    runner.query(f"UPDATE {APP} SET version = 2, dirty = true")
    result = runner.run(numbered(first, body))
    assert result.outcome is Outcome.DIRTY
    assert result.error is not None
    assert "may have committed in part" in (result.error.detail or "")
    assert rows(runner) == []
    assert runner.run(numbered(first, body), requested=True).outcome is Outcome.APPLIED


@pytest.mark.parametrize("end", ["failed", "interrupted", "running"])
def test_every_try_at_a_foreign_row_counts_however_it_ended(runner: Runner, end: str) -> None:
    runner.run(numbered(MARK))
    runner.query(f"UPDATE {APP} SET version = 2, dirty = true")
    assert runner.run(numbered(MARK, "SELECT nope")).outcome is Outcome.SQL_ERROR
    runner.query(f"UPDATE migrations.history SET outcome = '{end}' WHERE version = 2")
    entries = len(runner.history)
    assert runner.run(numbered(MARK, "SELECT nope")).outcome is Outcome.DIRTY
    assert len(runner.history) == entries


def test_a_row_that_somebody_else_touched_does_not_run_a_half_done_file_again(runner: Runner) -> None:
    body = "INSERT INTO a VALUES (1); VACUUM a; SELECT nope"
    runner.run(numbered(MARK, body))
    runner.query(f"UPDATE {APP} SET dirty = true")
    for text in (body, body.replace("nope", "1")):
        assert runner.run(numbered(MARK, text)).outcome is Outcome.DIRTY
    assert rows(runner) == [1]


@pytest.mark.parametrize("same", ["call bump() -- it is the same", "CALL/* c */bump( )"])
def test_white_space_comments_and_case_are_no_correction(runner: Runner, same: str) -> None:
    runner.run(CALL)
    result = runner.run(CALL | {"002_b.up.sql": same})
    assert result.outcome is Outcome.UNPROVEN
    assert accounts(runner) == BUMPED
