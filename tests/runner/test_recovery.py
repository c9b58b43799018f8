"""From a dirty row back to a clean one: proven by the history, by policy, and never in between."""

import pytest

from fluxbase_migrations.core.names import Recovery, Rollback
from fluxbase_migrations.core.result import Outcome
from tests.runner.track import APP, Runner, numbered

GOOD = "CREATE TABLE a (i int)"
BAD = "CREATE TABLE b (i int); SELECT nope"
FIXED = "CREATE TABLE b (i int)"


def test_a_corrected_file_is_run_again_by_itself(runner: Runner) -> None:
    assert runner.run(numbered(GOOD, BAD)).dirty
    result = runner.run(numbered(GOOD, FIXED))
    assert (result.outcome, result.version, result.dirty) == (Outcome.APPLIED, 2, False)
    assert "left nothing" in (result.recovered or "")


def test_an_unchanged_file_is_run_again_only_when_asked(runner: Runner) -> None:
    runner.run(numbered(GOOD, BAD))
    entries = len(runner.history)
    again = runner.run(numbered(GOOD, BAD))
    assert again.outcome is Outcome.SQL_ERROR
    assert again.error is not None
    assert again.error.sql_state == "42703"
    assert len(runner.history) == entries
    runner.run(numbered(GOOD, BAD), requested=True)
    assert len(runner.history) == entries + 1


def test_a_failed_file_that_is_gone_or_not_wanted_gives_the_version_back(runner: Runner) -> None:
    runner.run(numbered(GOOD, BAD))
    result = runner.run(numbered(GOOD))
    assert (result.outcome, result.version, result.dirty) == (Outcome.NO_CHANGE, 1, False)
    runner.run(numbered(GOOD, BAD))
    result = runner.run(numbered(GOOD, BAD), target=1)
    assert (result.outcome, result.version, result.dirty) == (Outcome.NO_CHANGE, 1, False)


def test_a_recovery_that_cannot_be_recorded_says_so(runner: Runner) -> None:
    runner.run(numbered(GOOD, BAD))
    runner.query(
        "CREATE FUNCTION no() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'not here'; END $$;"
        f" CREATE TRIGGER no BEFORE INSERT ON {APP} EXECUTE FUNCTION no()"
    )
    result = runner.run(numbered(GOOD))
    assert (result.outcome, result.version, result.dirty) == (Outcome.SERVER_REFUSED, 2, True)
    assert result.error is not None
    assert result.error.message == "recording what was done failed: not here"


def test_the_manual_policy_never_recovers(runner: Runner) -> None:
    runner.run(numbered(GOOD, BAD))
    result = runner.run(numbered(GOOD, FIXED), recovery=Recovery.MANUAL)
    assert result.outcome is Outcome.DIRTY
    assert result.error is not None
    assert result.error.message == "Dirty database version 2. Fix and force version."
    assert runner.row == [(2, True)]


def test_a_foreign_dirty_row_is_refused_unless_automatic_and_then_run_once_per_content(
    runner: Runner,
) -> None:
    runner.run(numbered(GOOD))
    runner.query(f"UPDATE {APP} SET version = 2, dirty = true")
    refused = runner.run(numbered(GOOD, BAD), recovery=Recovery.PROVEN)
    assert refused.outcome is Outcome.DIRTY
    once = runner.run(numbered(GOOD, BAD))
    assert once.outcome is Outcome.SQL_ERROR
    assert runner.row == [(2, True)]
    twice = runner.run(numbered(GOOD, BAD))
    assert twice.outcome is Outcome.DIRTY
    fixed = runner.run(numbered(GOOD, FIXED))
    assert (fixed.outcome, fixed.version) == (Outcome.APPLIED, 2)


def test_a_row_written_by_hand_since_is_not_what_the_history_proves(runner: Runner) -> None:
    runner.run(numbered(GOOD, BAD))
    runner.query(f"UPDATE {APP} SET dirty = true")
    assert runner.run(numbered(GOOD, FIXED), recovery=Recovery.PROVEN).outcome is Outcome.DIRTY


def test_a_failed_down_is_run_again_downwards(runner: Runner) -> None:
    files = {"1_a.up.sql": GOOD, "1_a.down.sql": "DROP TABLE a; SELECT nope"}
    runner.run(files)
    failed = runner.run(files, target=0)
    assert (failed.outcome, failed.dirty, failed.version) == (Outcome.SQL_ERROR, True, None)
    assert runner.row == [(-1, True)]
    assert runner.exists("a")
    result = runner.run(files | {"1_a.down.sql": "DROP TABLE a"}, target=0)
    assert result.outcome is Outcome.ROLLED_BACK
    assert runner.row == []
    assert not runner.exists("a")


def test_a_failed_down_that_is_not_wanted_any_more_stays_up(runner: Runner) -> None:
    files = {"1_a.up.sql": GOOD, "1_a.down.sql": "DROP TABLE a; SELECT nope"}
    runner.run(files)
    runner.run(files, target=0)
    result = runner.run(files, rollback=Rollback.FORBID)
    assert (result.outcome, result.version) == (Outcome.NO_CHANGE, 1)


def test_a_foreign_failed_down_of_the_first_file_is_run_again(runner: Runner) -> None:
    files = {"1_a.up.sql": GOOD, "1_a.down.sql": "DROP TABLE a"}
    runner.run(files)
    runner.query(f"UPDATE {APP} SET version = -1, dirty = true")
    result = runner.run(files, target=0)
    assert result.outcome is Outcome.ROLLED_BACK
    assert not runner.exists("a")


@pytest.mark.parametrize("body", ["SELECT pg_terminate_backend(pg_backend_pid())"])
def test_a_lost_connection_is_transient_and_leaves_a_clean_row(runner: Runner, body: str) -> None:
    result = runner.run(numbered(GOOD, "CREATE TABLE b (i int); " + body))
    assert result.outcome is Outcome.TRANSIENT
    assert (result.version, result.dirty) == (1, False)
    assert result.error is not None
    assert result.error.effect == "rolled back, nothing changed"
    assert not runner.exists("b")


def test_what_is_said_to_be_applied_when_a_connection_is_lost_is_on_disk(runner: Runner) -> None:
    lost = "SELECT pg_terminate_backend(pg_backend_pid())"
    result = runner.run(numbered(GOOD, "CREATE TABLE b (i int)", lost))
    assert result.outcome is Outcome.TRANSIENT
    assert [one.version for one in result.applied] == [1, 2]
    assert (result.version, result.dirty) == (2, False)
    assert [entry[:2] for entry in runner.history] == [
        ("1_file.up.sql", "applied"),
        ("2_file.up.sql", "applied"),
        (None, "interrupted"),  # the durable commit that carries those before it
    ]


def test_a_connection_lost_between_groups_is_resumed(runner: Runner) -> None:
    suicide = "SELECT pg_terminate_backend(pg_backend_pid())"
    body = "CREATE TABLE b (i int); COMMIT; INSERT INTO b VALUES (1); "
    result = runner.run(numbered(GOOD, body + suicide))
    assert result.outcome is Outcome.TRANSIENT
    assert (result.version, result.dirty) == (2, True)
    resumed = runner.run(numbered(GOOD, body + "SELECT 1"))
    assert resumed.outcome is Outcome.APPLIED, resumed.error
    assert runner.query("SELECT count(*) FROM b") == [(1,)]
