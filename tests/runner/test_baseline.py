"""The baseline of a set is recorded once, where a database is in use and has no version."""

from dataclasses import replace
from pathlib import Path

import pytest

from dev.peers import write_files
from fluxbase_migrations.core.job import ForceCommand, JobSpec, SetRef
from fluxbase_migrations.core.names import Rollback, Track
from fluxbase_migrations.core.result import Outcome, Result
from tests.runner.test_job import Pod
from tests.runner.test_other_tools import GOOSE
from tests.runner.track import Runner

SET = SetRef("uid-1", "fluxbase", "shop")
FILES = {
    "001_a.up.sql": "CREATE TABLE a ();",
    "001_a.down.sql": "DROP TABLE a;",
    "002_b.up.sql": "CREATE TABLE b ();",
    "002_b.down.sql": "DROP TABLE b;",
    "003_c.up.sql": "CREATE TABLE c ();",
}
IN_USE = "CREATE TABLE a (); CREATE TABLE b ();"
GOLANG = (
    "CREATE TABLE public.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);"
    "INSERT INTO public.schema_migrations VALUES (2, false);"
)
"""What golang-migrate leaves with its defaults."""


@pytest.fixture
def pod(runner: Runner, tmp_path: Path) -> Pod:
    made = Pod(runner.database, tmp_path)
    write_files(made.source, FILES)
    return made


def spec(pod: Pod, run: int = 1, **more: object) -> JobSpec:
    return replace(JobSpec(SET, Track.USER, run, paths=(str(pod.source),)), **more)  # type: ignore[arg-type]


def baselines(runner: Runner) -> list[tuple[object, ...]]:
    return runner.query("SELECT version FROM migrations.history WHERE kind = 'baseline'")


def told(result: Result) -> tuple[Outcome, int | None, int | None]:
    return result.outcome, result.version, result.baselined


@pytest.mark.parametrize("before", [IN_USE, IN_USE + GOLANG], ids=["by hand", "golang-migrate"])
def test_a_database_in_use_begins_at_the_baseline(runner: Runner, pod: Pod, before: str) -> None:
    runner.query(before)
    assert told(pod.run(spec(pod, baseline=2))) == (Outcome.APPLIED, 3, 2)
    assert "INFO baseline recorded source=user version=2" in pod.output
    assert baselines(runner) == [(2,)]
    assert told(pod.run(spec(pod, 2, baseline=2))) == (Outcome.NO_CHANGE, 3, None)
    assert told(pod.run(spec(pod, 3, baseline=1))) == (Outcome.NO_CHANGE, 3, None), "never lower"
    assert baselines(runner) == [(2,)]


def test_in_an_empty_database_every_file_runs(runner: Runner, pod: Pod) -> None:
    """The same manifest makes a new environment."""
    assert told(pod.run(spec(pod, baseline=2))) == (Outcome.APPLIED, 3, None)
    assert "the database is empty: all files are run" in pod.output
    assert runner.exists("a")


def test_the_platforms_own_tables_do_not_make_a_database_one_in_use(runner: Runner, pod: Pod) -> None:
    assert pod.run(JobSpec(SET, Track.SYSTEM, 1)).outcome is Outcome.APPLIED
    assert told(pod.run(spec(pod, baseline=2))) == (Outcome.APPLIED, 3, None)


def test_the_tables_of_other_migration_programs_do_not_either(runner: Runner, pod: Pod) -> None:
    runner.query("CREATE TABLE public.platform (version bigint PRIMARY KEY, dirty boolean NOT NULL);"
                 "INSERT INTO public.platform VALUES (9, false)")  # fmt: skip
    wanted = spec(pod, baseline=2, table="public.mine", foreign_tables=("public.platform",))
    assert told(pod.run(wanted)) == (Outcome.APPLIED, 3, None)


def test_what_was_rolled_back_stays_rolled_back(runner: Runner, pod: Pod) -> None:
    runner.query(IN_USE)
    assert told(pod.run(spec(pod, baseline=2, target=2))) == (Outcome.NO_CHANGE, 2, 2)
    back = spec(pod, 2, baseline=2, target=0, rollback=Rollback.ALLOW)
    assert told(pod.run(back)) == (Outcome.ROLLED_BACK, None, None)
    assert told(pod.run(replace(back, run=3))) == (Outcome.NO_CHANGE, None, None)
    assert baselines(runner) == [(2,)]


def test_a_forced_version_is_not_overwritten(runner: Runner, pod: Pod) -> None:
    runner.query(IN_USE)
    forced = spec(pod, baseline=1, force=ForceCommand(2, "once"))
    assert told(pod.run(forced)) == (Outcome.APPLIED, 3, None)


def test_a_version_that_the_source_does_not_have_is_an_error(runner: Runner, pod: Pod) -> None:
    runner.query(IN_USE)
    result = pod.run(spec(pod, baseline=7))
    assert told(result) == (Outcome.TARGET_NOT_FOUND, None, None)
    assert result.error is not None
    assert result.error.message == "the source has no migration of the baseline's version 7"
    assert "1, 2, 3" in (result.error.hint or "")
    assert runner.row == []


GOOSE_AT_3 = f"{GOOSE} INSERT INTO goose_db_version (version_id, is_applied) VALUES (3, true);"


@pytest.mark.parametrize(
    ("other", "denied"),
    [
        (GOLANG, ""),
        (f"{GOLANG} UPDATE schema_migrations SET version = 3", "of golang-migrate records version 3"),
        (
            f"{GOLANG} UPDATE schema_migrations SET dirty = true",
            "golang-migrate records version 2 (dirty)",
        ),
        (GOOSE_AT_3, "of goose records version 3"),
    ],
    ids=["agrees", "says another version", "dirty", "another tool's"],
)
def test_a_baseline_that_another_tools_table_denies_is_refused(
    runner: Runner, pod: Pod, other: str, denied: str
) -> None:
    runner.query(IN_USE + other)
    result = pod.run(spec(pod, baseline=2))
    if not denied:
        assert result.outcome is Outcome.APPLIED
        return
    assert result.outcome is Outcome.FOREIGN_TABLE
    assert result.error is not None
    assert "has no version and the baseline is 2, but" in result.error.message
    assert denied in result.error.message


def test_a_table_of_golang_migrates_stays_in_use(runner: Runner, pod: Pod) -> None:
    runner.query(IN_USE + GOLANG)
    assert told(pod.run(spec(pod, table="public.schema_migrations"))) == (Outcome.APPLIED, 3, None)
    assert runner.query("SELECT version FROM schema_migrations") == [(3,)]
    assert not runner.exists("migrations.app")


def test_another_table_does_not_begin_anew_and_is_reported_as_it_is(runner: Runner, pod: Pod) -> None:
    assert told(pod.run(spec(pod))) == (Outcome.APPLIED, 3, None)
    moved = pod.run(spec(pod, 2, table="public.mine"))
    assert told(moved) == (Outcome.FOREIGN_TABLE, None, None)
    assert moved.observed
    assert told(pod.run(spec(pod, 3, table="public.mine", baseline=3))) == (Outcome.NO_CHANGE, 3, 3)


def test_the_system_track_has_a_baseline_as_well(runner: Runner, tmp_path: Path) -> None:
    pod = Pod(runner.database, tmp_path)
    assert pod.run(JobSpec(SET, Track.SYSTEM, 1)).outcome is Outcome.APPLIED
    runner.query("DROP SCHEMA migrations CASCADE")
    again = replace(JobSpec(SET, Track.SYSTEM, 2), baseline=6)
    assert told(pod.run(again)) == (Outcome.NO_CHANGE, 6, 6)
