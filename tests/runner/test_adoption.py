"""A database that golang-migrate keeps in another table is not started from version 1."""

from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from dev.peers import write_files
from fluxbase_migrations.core.job import ForceCommand, JobSpec, SetRef
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import Outcome
from tests.runner.cases import files
from tests.runner.test_cli import typed
from tests.runner.test_job import Pod
from tests.runner.track import Runner

FILES = files("adoption/idempotent-looking")
"""Written so that a second time does not fail, but doubles what is there."""
SHAPE = "(version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"
SET = SetRef("uid-1", "fluxbase", "shop")
OTHER = "public.schema_migrations"


@pytest.fixture
def source(tmp_path: Path) -> str:
    return str(write_files(tmp_path / "source", FILES))


@pytest.fixture
def other(runner: Runner) -> str:
    """A database whose files were applied, as another table says."""
    runner.query(f"CREATE TABLE {OTHER} {SHAPE}; INSERT INTO {OTHER} VALUES (2, false)")
    return OTHER


def ours(runner: Runner, tmp_path: Path, source: str, *words: str, **variables: str) -> tuple[int, str]:
    given = {"DATABASE_URL": runner.database.dsn, **variables}
    done = typed(*words, "--source", source, directory=tmp_path, **given)
    return done.returncode, done.stdout + done.stderr


@pytest.mark.parametrize("words", [("up",), ("up", "1"), ("goto", "2"), ("run",)], ids=" ".join)
def test_a_command_that_would_run_everything_again_is_refused(
    runner: Runner, tmp_path: Path, source: str, other: str, words: tuple[str, ...]
) -> None:
    code, said = ours(runner, tmp_path, source, *words)
    assert code == 1
    assert f"migrations.app has no version, but the table {other} of golang-migrate records version 2" in said
    for way in (
        f"--table {other}",
        f"spec.tracks.user.table: {other};",
        f"fluxbase-migrate baseline --from {other}, or spec.tracks.user.baseline: 2;",
        f"--foreign-table {other}",
    ):
        assert way in said
    assert not runner.exists("price")
    assert not runner.exists("migrations.app")


def test_a_dirty_version_is_not_to_be_taken_over_as_it_is(
    runner: Runner, tmp_path: Path, source: str, other: str
) -> None:
    runner.query(f"UPDATE {other} SET dirty = true")
    code, said = ours(runner, tmp_path, source, "up")
    assert code == 1
    assert "records version 2 (dirty)" in said
    assert "to take its version over: look at what version 2 left in the database, then force 2 if" in said
    assert "user=2@" not in said


@pytest.mark.parametrize(
    ("words", "variables"),
    [
        (("up", "--foreign-table", OTHER), {}),
        (("--foreign-table", "a.b", "up", "--foreign-table", f"c.d,{OTHER}"), {}),
        (("--foreign-table", OTHER, "up", "--foreign-table", "a.b"), {}),
        (("up",), {"FLUXBASE_FOREIGN_TABLES": 'a.b, "public"."schema_migrations"'}),
        (("run",), {"FLUXBASE_FOREIGN_TABLES": OTHER}),
    ],
)
def test_a_table_of_another_program_is_left_alone_when_it_is_named(
    runner: Runner, tmp_path: Path, source: str, other: str, words: tuple[str, ...], variables: dict[str, str]
) -> None:
    code, said = ours(runner, tmp_path, source, *words, **variables)
    assert code == 0, said
    assert runner.row == [(2, False)]
    assert runner.query(f"SELECT version FROM {other}") == [(2,)]


def test_a_foreign_table_that_is_no_name_is_a_usage_error(
    runner: Runner, tmp_path: Path, source: str
) -> None:
    code, said = ours(runner, tmp_path, source, "up", "--foreign-table", "schema_migrations")
    assert code == 2
    assert "is not schema.name" in said


def test_a_job_is_refused_until_the_set_says_what_the_table_is(
    runner: Runner, tmp_path: Path, other: str
) -> None:
    pod = Pod(runner.database, tmp_path)
    write_files(pod.source, FILES)
    spec = JobSpec(SET, Track.USER, 1, paths=(str(pod.source),))
    refused = pod.run(spec)
    assert refused.outcome is Outcome.FOREIGN_TABLE
    assert refused.error is not None
    assert "spec.tracks.user.foreignTables" in (refused.error.hint or "")
    assert not runner.exists("migrations.history")
    told = JobSpec(SET, Track.USER, 2, paths=(str(pod.source),), foreign_tables=(other,))
    assert pod.run(told).outcome is Outcome.APPLIED


def test_a_forced_version_takes_over(runner: Runner, tmp_path: Path, other: str) -> None:
    assert other
    pod = Pod(runner.database, tmp_path)
    write_files(pod.source, FILES)
    command = ForceCommand(2, "once")
    forced = pod.run(JobSpec(SET, Track.USER, 1, paths=(str(pod.source),), force=command))
    assert (forced.outcome, forced.version) == (Outcome.NO_CHANGE, 2), forced.error
    assert not runner.exists("price")


def test_a_table_that_cannot_be_read_is_refused_too(runner: Runner, tmp_path: Path, source: str) -> None:
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as admin:
        admin.execute("CREATE SCHEMA hidden")
        admin.execute(f"CREATE TABLE hidden.versions {SHAPE}".encode())
    code, said = ours(runner, tmp_path, source, "up")
    assert code == 1
    assert "hidden.versions of golang-migrate cannot be read by this role" in said


def test_a_table_whose_rows_are_hidden_by_policies_is_refused_too(
    runner: Runner, tmp_path: Path, source: str
) -> None:
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as admin:
        admin.execute(f"CREATE TABLE public.versions {SHAPE}".encode())
        admin.execute("ALTER TABLE public.versions ENABLE ROW LEVEL SECURITY")
        admin.execute(
            sql.SQL("GRANT SELECT ON public.versions TO {}").format(sql.Identifier(runner.database.user))
        )
    code, said = ours(runner, tmp_path, source, "up")
    assert code == 1
    assert "public.versions of golang-migrate cannot be read by this role" in said


@pytest.mark.parametrize(
    "before",
    [
        f"CREATE TABLE public.schema_migrations {SHAPE}",
        "CREATE TABLE public.v (version int, dirty boolean, i int); INSERT INTO public.v VALUES (1, false)",
        "CREATE TABLE public.v (version text, dirty boolean); INSERT INTO public.v VALUES ('1', false)",
        f"CREATE SCHEMA migrations; CREATE TABLE migrations.fluxbase {SHAPE};"
        " INSERT INTO migrations.fluxbase VALUES (5, false)",
    ],
    ids=["no row", "another column", "another type", "the system track's"],
)
def test_what_says_nothing_about_these_files_does_not_stop_them(runner: Runner, before: str, tmp_path: Path,
    source: str) -> None:  # fmt: skip
    runner.query(before)
    code, said = ours(runner, tmp_path, source, "up")
    assert code == 0, said


def test_a_dropped_column_does_not_hide_a_version_table(runner: Runner, tmp_path: Path, source: str) -> None:
    runner.query("CREATE TABLE public.v (version integer, old text, dirty boolean);"
                 "ALTER TABLE public.v DROP COLUMN old; INSERT INTO public.v VALUES (7, true)")  # fmt: skip
    code, said = ours(runner, tmp_path, source, "up")
    assert code == 1
    assert "public.v of golang-migrate records version 7 (dirty)" in said


def test_the_built_in_track_starts_beside_an_applications_own_table(
    runner: Runner, tmp_path: Path, other: str
) -> None:
    assert other
    pod = Pod(runner.database, tmp_path)
    assert pod.run(JobSpec(SET, Track.SYSTEM, 1)).outcome is Outcome.APPLIED


def test_a_track_that_has_a_version_is_never_stopped(runner: Runner, tmp_path: Path, source: str) -> None:
    assert ours(runner, tmp_path, source, "up", "1")[0] == 0
    runner.query(f"CREATE TABLE {OTHER} {SHAPE}; INSERT INTO {OTHER} VALUES (2, false)")
    code, said = ours(runner, tmp_path, source, "up")
    assert code == 0, said


def test_a_version_is_taken_over_from_another_table(
    runner: Runner, tmp_path: Path, source: str, other: str
) -> None:
    code, said = ours(runner, tmp_path, source, "baseline", "--from", other)
    assert code == 0, said
    assert runner.row == [(2, False)]
    assert runner.query(f"SELECT version, dirty FROM {other}") == [(2, False)], "the old table is left alone"
    assert runner.query(
        "SELECT kind, version, details->>'from' FROM migrations.history WHERE kind = 'baseline'"
    ) == [("baseline", 2, other)]
    (Path(source) / "3_next.up.sql").write_text("CREATE TABLE next ();")
    code, said = ours(runner, tmp_path, source, "up")
    assert code == 0, said
    assert runner.row == [(3, False)]
    assert not runner.exists("price"), "the files up to the baseline never ran"


def test_a_baseline_is_recorded_once(runner: Runner, tmp_path: Path, source: str) -> None:
    assert ours(runner, tmp_path, source, "baseline", "1")[0] == 0
    assert runner.row == [(1, False)]
    code, said = ours(runner, tmp_path, source, "baseline", "2")
    assert code == 1
    assert "records version 1 already; a baseline never changes what is recorded" in said
    assert runner.row == [(1, False)]


@pytest.mark.parametrize(
    ("before", "why"),
    [
        ("UPDATE {} SET dirty = true", "Dirty database version 2"),
        ("DELETE FROM {}", "records no version"),
        ("UPDATE {} SET version = -1", "records no version"),
        ("ALTER TABLE {} ADD COLUMN description text", "is not a version table of a known tool"),
        ("DROP TABLE {}", "is not a version table of a known tool"),
    ],
    ids=["dirty", "empty", "nothing applied", "another table", "none"],
)
def test_a_table_that_says_nothing_certain_is_no_baseline(
    runner: Runner, tmp_path: Path, source: str, other: str, before: str, why: str
) -> None:
    runner.query(before.format(other))
    code, said = ours(runner, tmp_path, source, "baseline", "--from", other)
    assert code == 1
    assert why in said
    assert runner.row == []


@pytest.mark.parametrize("words", [(), ("1", "--from", OTHER), ("--from", "schema_migrations"), ("-1",)])
def test_a_baseline_is_one_version_or_one_table(
    runner: Runner, tmp_path: Path, source: str, words: tuple[str, ...]
) -> None:
    assert ours(runner, tmp_path, source, "baseline", *words)[0] == 2
