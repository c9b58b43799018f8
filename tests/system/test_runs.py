"""Runs look at what they leave: what requests reach past policies, and whether the platform is all there."""

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dev.peers import environment, write_files
from dev.postgres_server import Endpoint, start_server
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.job import JobSpec, SetRef
from fluxbase_migrations.core.names import ExposurePolicy, Rollback, Track
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.runner.commands.exposure import NOT_PROTECTED, UNKNOWN, exposed
from fluxbase_migrations.runner.commands.platform import missing
from fluxbase_migrations.runner.commands.track_run import RunRequest, run_track
from fluxbase_migrations.system import files as built_in
from tests.runner.track import Runner, connect_as
from tests.support.databases import Database, create_database, create_login
from tests.system.test_contents import RESTORE_VERSION, program
from tests.system.track import EXAMPLES, LATEST

TABLE = "CREATE TABLE public.notes (id int);"
PROTECTED = f"{TABLE} ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY;"
VIEW = "CREATE VIEW public.v AS SELECT * FROM public.notes;"
CLOSED = "REVOKE ALL ON public.v FROM PUBLIC, anon, authenticated;"
SHOP = SetRef("uid", "fluxbase", "shop")
COMMAND = str(Path(sys.executable).with_name("fluxbase-migrate"))


@pytest.fixture
def runner(platform: Database) -> Runner:
    return Runner(platform)


def run_system(runner: Runner, **wish: object) -> Result:
    setup = runner.setup
    wanted = RunRequest(Track.SYSTEM, lock_timeout=10, built_in=True, rollback=Rollback.ALLOW)
    return run_track(
        replace(wanted, **wish),  # type: ignore[arg-type]
        MigrationFiles.scan(built_in()),
        setup.connect,
        setup.log,
        runner.stop,
    )


@pytest.fixture
def complete(database: Database) -> Runner:
    """After the system track, with its version recorded."""
    runner = Runner(database)
    assert run_system(runner).outcome is Outcome.APPLIED
    return runner


def warnings(runner: Runner, text: str = NOT_PROTECTED) -> list[str]:
    return [line for line in runner.lines if line.startswith(f"WARN {text}")]


def names(result: Result) -> list[str]:
    return [one.name for one in result.exposures]


# --- What requests reach


def test_a_run_warns_of_what_it_leaves_open_and_the_next_one_does_too(runner: Runner) -> None:
    files = {"1_notes.up.sql": PROTECTED, "2_v.up.sql": VIEW}
    first = runner.run(files)
    assert (first.outcome, first.version, first.exposed, names(first)) == (
        Outcome.APPLIED,
        2,
        1,
        ["public.v"],
    )
    (line,) = warnings(runner)
    for words in ("object=public.v", "roles=authenticated", f'close_with="{first.exposures[0].statement}"'):
        assert words in line
    second = runner.run(files)
    assert (second.outcome, names(second)) == (Outcome.NO_CHANGE, ["public.v"])
    third = runner.run({**files, "3_close.up.sql": CLOSED})
    assert (third.outcome, third.exposed, third.exposures) == (Outcome.APPLIED, 0, ())


def test_failing_keeps_what_was_applied_and_succeeds_once_it_is_closed(runner: Runner) -> None:
    files = {"1_notes.up.sql": PROTECTED, "2_v.up.sql": VIEW}
    strict = {"exposure": ExposurePolicy.FAIL}
    result = runner.run(files, **strict)
    assert (result.outcome, result.version, result.dirty, names(result)) == (
        Outcome.EXPOSED,
        2,
        False,
        ["public.v"],
    )
    assert runner.row == [(2, False)]
    assert result.error is not None
    assert result.error.effect == "all files are applied, version 2"
    assert "public.v" in result.error.message
    assert runner.run(files, **strict).outcome is Outcome.EXPOSED, "it is found again where nothing is due"
    assert runner.run({**files, "3_close.up.sql": CLOSED}, **strict).outcome is Outcome.APPLIED


def test_nobody_looks_where_it_is_to_be_ignored(runner: Runner) -> None:
    result = runner.run({"1_notes.up.sql": TABLE}, exposure=ExposurePolicy.IGNORE)
    assert (result.outcome, result.exposed, warnings(runner)) == (Outcome.APPLIED, None, [])


def test_a_rollback_is_looked_at_too(runner: Runner) -> None:
    files = {"1_notes.up.sql": PROTECTED, "2_v.up.sql": VIEW, "2_v.down.sql": "DROP VIEW public.v;"}
    runner.run(files)
    result = runner.run(files, target=1, rollback=Rollback.ALLOW)
    assert (result.outcome, result.exposed) == (Outcome.ROLLED_BACK, 0)


@pytest.mark.parametrize("policy", [ExposurePolicy.WARN, ExposurePolicy.FAIL])
def test_files_count_as_applied_where_nobody_can_look_unless_that_is_to_fail(
    runner: Runner, policy: ExposurePolicy
) -> None:
    runner.run({"1_notes.up.sql": TABLE}, exposure=ExposurePolicy.IGNORE)
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as administrator:
        administrator.execute("REVOKE SELECT ON pg_catalog.pg_roles FROM PUBLIC")
        result = runner.run({"1_notes.up.sql": TABLE}, exposure=policy)
        administrator.execute("GRANT SELECT ON pg_catalog.pg_roles TO PUBLIC")
    assert result.exposed is None
    assert result.outcome is (Outcome.NO_CHANGE if policy is ExposurePolicy.WARN else Outcome.SERVER_REFUSED)
    assert len(warnings(runner, UNKNOWN)) == (policy is ExposurePolicy.WARN)
    assert len(result.warnings) == (policy is ExposurePolicy.WARN)


def test_a_version_table_of_golang_migrate_is_named_with_the_statement_that_closes_it(
    runner: Runner,
) -> None:
    """Made after the system track, with the default privileges, it is anybody's to write."""
    made = (
        "CREATE TABLE public.schema_migrations (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL)"
    )
    runner.query(made)
    result = runner.run({"1_notes.up.sql": PROTECTED})
    (exposure,) = result.exposures
    assert (exposure.kind, exposure.name) == ("version table of a migration tool", "public.schema_migrations")
    assert exposure.statement is not None
    runner.query(exposure.statement)
    assert runner.run({"1_notes.up.sql": PROTECTED}).exposed == 0


def test_the_shops_example_leaves_nothing_open(runner: Runner) -> None:
    result = runner.run({path.name: path.read_bytes() for path in (EXAMPLES / "migrations").glob("*.sql")})
    assert (result.outcome, result.exposed) == (Outcome.APPLIED, 0)


def test_many_objects_are_counted_and_the_log_is_bounded(runner: Runner) -> None:
    tables = "".join(f"CREATE TABLE public.t{number} (id int);" for number in range(300))
    result = runner.run({"1_t.up.sql": tables})
    assert result.exposed == 300
    assert len(warnings(runner)) == 101
    assert warnings(runner)[-1].startswith(f"WARN {NOT_PROTECTED}: 200 more objects")
    read = Result.from_json(result.to_json())
    assert (read.exposed, len(read.exposures)) == (300, 10)


def run_job(spec: JobSpec, database: Database, directory: Path) -> tuple[int, Result]:
    """As its pod does; returns exit code and result."""
    log = directory / "termination-log"
    variables = {
        "FLUXBASE_JOB": spec.to_json(),
        "FLUXBASE_TERMINATION_LOG": str(log),
        "DATABASE_URL": database.dsn,
    }
    argv = [sys.executable, "-m", "fluxbase_migrations.runner"]
    done = subprocess.run(argv, env=environment(variables), capture_output=True, check=False, timeout=60)
    return done.returncode, Result.from_json(log.read_text())


def typed(*words: str, database: Database, directory: Path) -> subprocess.CompletedProcess[str]:
    variables = environment({"DATABASE_URL": database.dsn})
    return subprocess.run(
        [COMMAND, *words],
        env=variables,
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("command", [("run",), ("up",), ("goto", "1")], ids=lambda words: words[0])
def test_the_command_line_warns_fails_or_is_silent(
    complete: Runner, tmp_path: Path, command: tuple[str, ...]
) -> None:
    source = ("--source", str(write_files(tmp_path / "user", {"1_notes.up.sql": TABLE})))
    for policy, code, words in (
        ("warn", 0, f"WARN {NOT_PROTECTED} object=public.notes"),
        ("fail", 1, "ALTER TABLE public.notes ENABLE ROW LEVEL SECURITY"),
        ("ignore", 0, ""),
    ):
        done = typed(*command, *source, "--exposure", policy, database=complete.database, directory=tmp_path)
        assert (done.returncode, done.stderr) == (code, ""), done.stdout
        assert words in done.stdout
        assert ("public.notes" in done.stdout) is (policy != "ignore")


@pytest.mark.parametrize(
    ("policy", "code", "outcome", "count"),
    [
        (ExposurePolicy.WARN, 0, Outcome.APPLIED, 1),
        (ExposurePolicy.FAIL, 1, Outcome.EXPOSED, 1),
        (ExposurePolicy.IGNORE, 0, Outcome.APPLIED, None),
    ],
)
def test_a_job_does_as_the_set_says(
    platform: Database,
    tmp_path: Path,
    policy: ExposurePolicy,
    code: int,
    outcome: Outcome,
    count: int | None,
) -> None:
    source = write_files(tmp_path / "user", {"1_notes.up.sql": TABLE})
    spec = JobSpec(SHOP, Track.USER, 1, paths=(str(source),), exposure=policy)
    ended, result = run_job(spec, platform, tmp_path)
    assert (ended, result.outcome, result.version, result.exposed) == (code, outcome, 1, count)


def test_a_look_leaves_the_session_as_it_was(runner: Runner) -> None:
    with closing(connect_as(runner)) as session:
        before = session.query("SHOW jit")
        exposed(session)
        missing(session, LATEST)
        assert session.query("SHOW jit") == before
        assert not session.in_transaction


# --- The platform


def test_a_platform_that_is_all_there_is_told_so_at_every_version(database: Database) -> None:
    runner = Runner(database)
    for version in range(1, LATEST + 1):
        assert run_system(runner, target=version).outcome is Outcome.APPLIED
        result = run_system(runner, target=version)
        assert (result.outcome, result.warnings) == (Outcome.NO_CHANGE, ()), result
    for version in range(LATEST - 1, 0, -1):
        assert run_system(runner, target=version).outcome is Outcome.ROLLED_BACK
        assert run_system(runner, target=version).outcome is Outcome.NO_CHANGE
    assert not warnings(runner, "Missing")


@pytest.mark.parametrize(
    ("damage", "repair"),
    [
        (
            'DROP POLICY "Users can read themselves" ON auth.app_users',
            'CREATE POLICY "Users can read themselves" ON auth.app_users FOR SELECT TO authenticated'
            " USING (id = (SELECT auth.uid()))",
        ),
        (
            "REVOKE SELECT ON auth.sessions FROM authenticated",
            "GRANT SELECT ON auth.sessions TO authenticated",
        ),
        (
            "ALTER TABLE auth.sessions DISABLE ROW LEVEL SECURITY",
            "ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY",
        ),
    ],
    ids=["policy", "grant", "row-level security"],
)
def test_a_platform_that_lacks_something_is_not_complete_until_it_has_it_again(
    complete: Runner, damage: str, repair: str
) -> None:
    complete.query(damage)
    result = run_system(complete)
    assert (result.outcome, result.version, result.dirty) == (Outcome.PLATFORM_INCOMPLETE, LATEST, False)
    assert result.error is not None
    (line,) = warnings(complete, "Missing")
    match = re.search(r'object="(.*?)" source=system', line.replace('\\"', '"'))
    assert match is not None
    assert match[1] in result.error.message
    assert "docs/restore.md" in (result.error.hint or "")
    complete.query(repair)
    assert run_system(complete).outcome is Outcome.NO_CHANGE


@pytest.mark.parametrize(
    "narrowed",
    [
        "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE DELETE ON TABLES FROM authenticated",
        "DROP VIEW IF EXISTS auth.users",
    ],
)
def test_what_may_be_missing_on_purpose_or_after_an_upgrade_of_the_server_is_a_warning(
    complete: Runner, narrowed: str
) -> None:
    complete.query(narrowed)
    result = run_system(complete)
    assert result.outcome is Outcome.NO_CHANGE
    if complete.database.server.version >= 15 or "VIEW" not in narrowed:
        (warning,) = result.warnings
        assert warning.startswith("the database lacks what the system migrations make: ")


def test_a_version_that_was_forced_onto_an_empty_database_is_not_believed(database: Database) -> None:
    runner = Runner(database)
    runner.query("CREATE SCHEMA migrations; CREATE TABLE migrations.fluxbase (version bigint, dirty boolean)")
    runner.query(f"INSERT INTO migrations.fluxbase VALUES ({LATEST}, false)")
    result = run_system(runner)
    assert result.outcome is Outcome.PLATFORM_INCOMPLETE
    assert not runner.exists("auth.app_users")


def test_no_file_runs_on_a_platform_that_lacks_something_but_a_rollback_does(database: Database) -> None:
    runner = Runner(database)
    assert run_system(runner, target=2).outcome is Outcome.APPLIED
    runner.query("REVOKE USAGE ON SCHEMA auth FROM anon")
    assert run_system(runner).outcome is Outcome.PLATFORM_INCOMPLETE
    assert not runner.exists("webhooks.endpoints")
    assert run_system(runner, target=0).outcome is Outcome.ROLLED_BACK


def test_a_platforms_own_files_are_not_compared_with_ours(complete: Runner) -> None:
    complete.query("REVOKE SELECT ON auth.sessions FROM authenticated")
    assert run_system(complete, built_in=False).outcome is Outcome.NO_CHANGE


@pytest.fixture(scope="module")
def bare() -> Iterator[tuple[Endpoint, Endpoint]]:
    """Two servers without the platform's roles."""
    with start_server(RESTORE_VERSION) as one, start_server(RESTORE_VERSION) as two:
        yield one.endpoint, two.endpoint


@pytest.mark.clients
def test_a_dump_restored_on_a_bare_server_is_not_called_complete(
    bare: tuple[Endpoint, Endpoint], tmp_path: Path
) -> None:
    dump = tmp_path / "shop.dump"
    source, target = (Database(server, "shop", "shop", "secret") for server in bare)
    for database in (source, target):
        create_login(database.server, database.user, database.password)
        create_database(database.server, database.name, database.user)
    run_system(Runner(source))
    program("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={source.dsn}")
    program("pg_restore", f"--dbname={target.dsn}", str(dump), check=False)
    code, result = run_job(JobSpec(SHOP, Track.SYSTEM, 1), target, tmp_path)
    assert (code, result.outcome, result.version) == (1, Outcome.PLATFORM_INCOMPLETE, LATEST)
    assert result.error is not None
    assert "role anon, role authenticated, role service_role" in result.error.message
    ran = typed("run", database=target, directory=tmp_path)
    assert ran.returncode == 1
    assert "completed" not in ran.stdout
    assert "fluxbase-migrate system roles --sql" in ran.stdout
    assert typed("up", "--track", "system", database=target, directory=tmp_path).returncode == 1
