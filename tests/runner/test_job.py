"""One Job, as its pod runs it."""

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest

from dev.peers import Ours, environment, write_files
from dev.waiting import eventually
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.job import ForceCommand, JobSpec, SetRef, TakeOverCommand
from fluxbase_migrations.core.names import ANNOTATION_REQUESTED_AT, ENV_FILE, Rollback, Track, UnknownFiles
from fluxbase_migrations.core.result import Outcome, Result
from tests.runner.track import Runner
from tests.support.databases import Database

PROGRAM = [sys.executable, "-m", "fluxbase_migrations.runner"]
COMMAND = [str(Path(sys.executable).with_name("fluxbase-migrate")), "job"]
SHOP = SetRef("uid-1", "fluxbase", "shop")
SEED_LINE = re.compile(r"(INFO|WARN|ERROR) \S.*")


class Pod:
    """A container that runs one job after another."""

    def __init__(self, database: Database, directory: Path) -> None:
        self.database = database
        self.source = directory / "source"
        self.log = directory / "termination-log"
        self.output = ""

    def argv(self, spec: JobSpec, **extra: str) -> tuple[list[str], dict[str, str]]:
        variables = {
            "FLUXBASE_JOB": spec.to_json(),
            "FLUXBASE_TERMINATION_LOG": str(self.log),
            "DATABASE_URL": self.database.dsn,
            **extra,
        }
        return PROGRAM, environment({key: value for key, value in variables.items() if value})

    def run(self, spec: JobSpec, **extra: str) -> Result:
        argv, variables = self.argv(spec, **extra)
        done = subprocess.run(argv, env=variables, capture_output=True, text=True, check=False, timeout=60)
        self.output = done.stdout
        assert done.stderr == ""
        return self.result(done.returncode)

    def result(self, code: int) -> Result:
        text = self.log.read_text()
        assert len(text.encode()) <= 4096
        assert self.database.password not in text + self.output
        found = Result.from_json(text)
        no_failure = found.outcome in (Outcome.SOURCE_EMPTY, Outcome.AWAITING_APPROVAL)
        assert (code == 0) == (found.outcome.succeeded or no_failure)
        return found

    def spec(self, files: Mapping[str, str | bytes]) -> JobSpec:
        write_files(self.source, files)
        return JobSpec(SHOP, Track.USER, 1, paths=(str(self.source),))


@pytest.fixture
def pod(database: Database, tmp_path: Path) -> Pod:
    return Pod(database, tmp_path)


FILES = {"001_a.up.sql": "CREATE TABLE a (i int);", "002_b.up.sql": "CREATE TABLE b (i int);"}


def test_the_log_reads_as_the_documentation_shows(pod: Pod) -> None:
    result = pod.run(pod.spec(FILES))
    assert (result.outcome, result.version, result.latest, result.pending) == (Outcome.APPLIED, 2, 2, 0)
    assert re.sub(r"took=\d+ms", "took=7ms", pod.output).splitlines() == [
        f"INFO Running user migrations... path={pod.source}",
        "INFO Applying migration file=001_a.up.sql number=1 total=2 source=user",
        "INFO Ran migration file=001_a.up.sql took=7ms source=user",
        "INFO Applying migration file=002_b.up.sql number=2 total=2 source=user",
        "INFO Ran migration file=002_b.up.sql took=7ms source=user",
        "INFO Migrations applied successfully source=user version=2",
    ]
    assert pod.run(pod.spec({})).outcome is Outcome.NO_CHANGE
    assert pod.output.splitlines()[-1] == "INFO No new migrations to apply source=user"


def test_json_log_lines_carry_the_same(pod: Pod) -> None:
    pod.run(pod.spec(FILES), LOG_FORMAT="JSON")
    lines = [json.loads(line) for line in pod.output.splitlines()]
    assert lines[-1] | {"time": ""} == {
        "time": "",
        "level": "INFO",
        "msg": "Migrations applied successfully",
        "source": "user",
        "version": 2,
    }


def test_the_system_track_is_built_in(pod: Pod) -> None:
    result = pod.run(JobSpec(SHOP, Track.SYSTEM, 1))
    assert (result.outcome, result.version) == (Outcome.APPLIED, 6)
    assert pod.output.splitlines()[0] == "INFO Running system migrations..."


def test_other_content_than_decided_on_touches_nothing(pod: Pod, database: Database) -> None:
    spec = replace(pod.spec(FILES), expected_digest="sha256:0")
    result = pod.run(spec, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert result.outcome is Outcome.SOURCE_CHANGED
    assert not Runner(database).exists("migrations.app")
    exact = source_digest({name: text.encode() for name, text in FILES.items()})
    assert pod.run(replace(spec, expected_digest=exact)).outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("create_users.sql", b"SELECT 1", "expected <version>_<title>.up.sql"),
        ("002_other.up.sql", b"SELECT 1", "002_b.up.sql"),
        ("003_c.up.sql", b"SELECT '\xff'", "not UTF-8"),
        ("003_c.up.sql", b"SELECT '\0'", "NUL"),
    ],
)
def test_an_unusable_file_is_named_and_nothing_runs(
    pod: Pod, database: Database, name: str, content: bytes, words: str
) -> None:
    result = pod.run(pod.spec({**FILES, name: content}))
    assert result.outcome is Outcome.INVALID_SOURCE
    assert words in pod.output
    assert name in pod.output
    assert not Runner(database).exists("a")


def test_an_empty_source_is_told_from_a_database_ahead_of_it(pod: Pod, database: Database) -> None:
    pod.source.mkdir()
    empty = JobSpec(SHOP, Track.USER, 1, paths=(str(pod.source),), volume=True)
    assert pod.run(empty).outcome is Outcome.SOURCE_EMPTY
    assert "INFO No migration files source=user" in pod.output
    assert pod.run(replace(empty, paths=(f"{pod.source}/missing",))).outcome is Outcome.SOURCE_EMPTY
    assert not Runner(database).exists("migrations.app")
    pod.run(pod.spec(FILES))
    for path in pod.source.iterdir():
        path.unlink()
    ahead = pod.run(empty)
    assert (ahead.outcome, ahead.version) == (Outcome.AHEAD_OF_SOURCE, 2)


def test_a_track_belongs_to_the_set_that_claimed_it(pod: Pod) -> None:
    pod.run(pod.spec(FILES))
    namesake = pod.run(replace(pod.spec({}), set=replace(SHOP, uid="uid-3")))
    assert namesake.error is not None
    assert "FluxbaseMigrationSet fluxbase/shop of the uid uid-1" in namesake.error.message
    other = replace(pod.spec({}), set=SetRef("uid-2", "fluxbase", "shop-2"))
    result = pod.run(other)
    assert (result.outcome, result.owner, result.owner_uid) == (Outcome.CONFLICT, "fluxbase/shop", "uid-1")
    assert pod.run(replace(other, take_over_from="uid-9")).outcome is Outcome.CONFLICT
    taken = pod.run(replace(other, take_over_from="uid-1"))
    assert (taken.outcome, taken.taken_from, taken.taken_from_uid) == (
        Outcome.NO_CHANGE,
        "fluxbase/shop",
        "uid-1",
    )
    assert pod.run(pod.spec({})).outcome is Outcome.CONFLICT


def test_a_claim_names_its_cluster_and_an_older_one_is_completed(pod: Pod) -> None:
    pod.run(pod.spec(FILES))
    other = replace(pod.spec({}), set=SetRef("uid-2", "fluxbase", "shop-2", "cluster-2"))
    assert pod.run(other).owner_cluster is None
    pod.run(replace(pod.spec({}), set=replace(SHOP, cluster="cluster-1")))
    assert pod.run(other).owner_cluster == "cluster-1"
    pod.run(pod.spec({}))
    assert pod.run(other).owner_cluster == "cluster-1", "a run that does not know it leaves it"


def test_a_take_over_is_recorded_and_names_whom_it_takes_from(pod: Pod, database: Database) -> None:
    pod.run(pod.spec(FILES))
    other = replace(pod.spec({}), set=SetRef("uid-2", "fluxbase", "shop-2"))
    wrong = pod.run(replace(other, take_over=TakeOverCommand("uid-9", "t")))
    assert (wrong.outcome, wrong.obeyed) == (Outcome.CONFLICT, ())
    command = replace(other, take_over=TakeOverCommand("uid-1", "t"))
    assert [pod.run(command).obeyed for _ in range(2)] == [("take-over",)] * 2
    rows = Runner(database).query(
        "SELECT details->>'uid', details->'taken_from'->>'uid', token FROM migrations.history"
        " WHERE kind = 'owner' ORDER BY id"
    )
    assert rows == [("uid-1", None, None), ("uid-2", "uid-1", "t")]


def test_a_take_over_is_obeyed_once_whatever_the_status_has_forgotten(pod: Pod) -> None:
    """Its annotation stands in Git: a set that is made again must not take back what was handed on."""
    pod.run(pod.spec(FILES))
    other = replace(pod.spec({}), set=SetRef("uid-2", "fluxbase", "shop-2"))
    command = TakeOverCommand("uid-1", "t")
    assert pod.run(replace(other, take_over=command)).obeyed == ("take-over",)
    back = pod.run(replace(pod.spec({}), take_over=TakeOverCommand("uid-2", "back")))
    assert back.obeyed == ("take-over",)
    again = replace(other, set=SetRef("uid-3", "fluxbase", "shop-2"), take_over=command)
    result = pod.run(again)
    assert (result.outcome, result.owner_uid, result.obeyed) == (Outcome.CONFLICT, "uid-1", ())
    assert pod.run(replace(again, take_over=replace(command, token="new"))).obeyed == ("take-over",)


def test_tokens_of_two_kinds_of_command_are_not_taken_for_each_other(pod: Pod, database: Database) -> None:
    pod.run(pod.spec(FILES))
    other = replace(pod.spec({}), set=SetRef("uid-2", "fluxbase", "shop-2"), target=1)
    pod.run(replace(other, target=2, take_over=TakeOverCommand("uid-1", "1")))
    assert pod.run(replace(other, force=ForceCommand(1, "1"))).obeyed == ("force",)
    assert Runner(database).row == [(1, False)]


@pytest.mark.parametrize("files", [{}, {"002_b.up.sql": "SELECT 1 / 0;"}], ids=["no files", "a failure"])
def test_a_command_that_was_obeyed_is_told_though_the_run_fails(pod: Pod, files: dict[str, str]) -> None:
    pod.source.mkdir(exist_ok=True)
    spec = replace(pod.spec(files), volume=True, force=ForceCommand(1, "t"))
    for _ in range(2):
        result = pod.run(spec)
        assert not result.outcome.succeeded
        assert result.obeyed == ("force",)


def test_commands_that_were_given_for_another_database_are_not_obeyed(pod: Pod, database: Database) -> None:
    here = pod.run(pod.spec(FILES)).database
    assert here is not None
    spec = replace(
        pod.spec({}),
        set=SetRef("uid-2", "fluxbase", "shop-2"),
        force=ForceCommand(1, "t"),
        take_over=TakeOverCommand("uid-1", "t"),
        requested=True,
    )
    elsewhere = pod.run(replace(spec, command_database=replace(here, oid=1)))
    assert (elsewhere.outcome, elsewhere.obeyed) == (Outcome.DATABASE_CHANGED, ())
    assert Runner(database).row == [(2, False)]
    obeyed = pod.run(replace(spec, command_database=here))
    assert obeyed.obeyed == ("take-over", "force")


def test_a_force_token_is_obeyed_once(pod: Pod, database: Database) -> None:
    spec = replace(pod.spec(FILES), force=ForceCommand(1, "token"), target=1)
    assert pod.run(spec).outcome is Outcome.NO_CHANGE
    assert Runner(database).row == [(1, False)]
    assert not Runner(database).exists("a")
    assert pod.run(replace(spec, target=2)).version == 2
    assert pod.run(replace(spec, target=2)).version == 2


def test_a_force_needs_no_files(pod: Pod, database: Database) -> None:
    pod.run(pod.spec(FILES))
    for file in pod.source.iterdir():
        file.unlink()
    done = pod.run(replace(pod.spec({}), force=ForceCommand(-1, "token")))
    assert (done.outcome, done.version, done.observed) == (Outcome.SOURCE_EMPTY, None, True)
    assert Runner(database).row == []


def test_only_the_operators_runs_can_be_asked_for(pod: Pod, database: Database) -> None:
    commits = "DO $$ BEGIN COMMIT; RAISE 'halfway'; END $$"
    spec = pod.spec({"001_a.up.sql": commits})
    assert pod.run(spec).outcome is Outcome.UNPROVEN
    refused = pod.run(spec)
    assert refused.error is not None
    assert f"{ANNOTATION_REQUESTED_AT}, runs the statement again" in (refused.error.hint or "")
    command = Ours(database.dsn, pod.source).run("up")
    assert "correct that statement in the file" in command.output
    assert ANNOTATION_REQUESTED_AT not in command.output


def test_a_rollback_needs_leave_and_every_down_file(pod: Pod) -> None:
    pod.run(pod.spec(FILES | {"002_b.down.sql": "DROP TABLE b"}))
    lower = replace(pod.spec({}), target=1)
    assert pod.run(lower).outcome is Outcome.ROLLBACK_FORBIDDEN
    assert pod.run(replace(lower, target=7)).outcome is Outcome.TARGET_NOT_FOUND
    allowed = replace(lower, rollback=Rollback.ALLOW)
    assert pod.run(replace(allowed, target=0)).outcome is Outcome.MISSING_DOWN_FILE
    assert pod.run(allowed).outcome is Outcome.ROLLED_BACK
    assert "INFO Reverting migration file=002_b.down.sql number=1 total=1 source=user" in pod.output


def test_wrong_credentials_and_a_broken_url_are_told_without_secrets(pod: Pod, database: Database) -> None:
    spec = pod.spec(FILES)
    wrong = database.dsn.replace(database.password, "not-the-password")
    assert pod.run(spec, DATABASE_URL=wrong).outcome is Outcome.AUTHENTICATION_FAILED
    assert "not-the-password" not in pod.output
    broken = f"postgresql://user:{database.password}/%zz@host/x"
    assert pod.run(spec, DATABASE_URL=broken).outcome is Outcome.SERVER_REFUSED


def test_the_parts_of_a_connection_need_no_escaping(pod: Pod, database: Database) -> None:
    parts = {
        "DATABASE_URL": "",
        "DB_HOST": database.server.host,
        "DB_PORT": str(database.server.port),
        "DB_NAME": database.name,
        "DB_USER": database.user,
        "DB_PASSWORD": database.password,
        "DB_SSLMODE": "disable",
    }
    assert pod.run(pod.spec(FILES), **parts).outcome is Outcome.APPLIED


def test_files_of_the_environment_are_run_byte_for_byte(pod: Pod, database: Database) -> None:
    names = ("001_a.up.sql", "002_b.up.sql")
    texts = ("CREATE TABLE a AS SELECT 'é $(PATH)\n' AS t;\n", "INSERT INTO a VALUES ('b')")
    digest = source_digest({name: text.encode() for name, text in zip(names, texts, strict=True)})
    spec = JobSpec(SHOP, Track.USER, 1, paths=("/nowhere",), files=names, expected_digest=digest)
    values = {f"FLUXBASE_FILE_{number}": text for number, text in enumerate(texts)}
    assert pod.run(spec, **values).outcome is Outcome.APPLIED
    assert Runner(database).query("SELECT t FROM a ORDER BY t DESC") == [("é $(PATH)\n",), ("b",)]
    assert pod.run(replace(spec, run=2), FLUXBASE_FILE_0=texts[0]).outcome is Outcome.SOURCE_CHANGED


@pytest.mark.parametrize("way", ["volume", "environment"])
def test_unknown_files_are_warnings_of_log_and_result_where_they_are_allowed(pod: Pod, way: str) -> None:
    files = {**FILES, "seed.sql": "SELECT 1/0"}
    spec = pod.spec(files)
    variables: dict[str, str] = {}
    if way == "environment":
        spec = replace(spec, files=tuple(files))
        variables = {f"{ENV_FILE}{number}": text for number, text in enumerate(files.values())}
    refused = pod.run(spec, **variables)
    assert refused.outcome is Outcome.INVALID_SOURCE
    assert refused.error is not None
    assert "unknownFiles: Warn" in (refused.error.hint or "")
    result = pod.run(replace(spec, unknown_files=UnknownFiles.WARN), **variables)
    assert (result.outcome, result.version) == (Outcome.APPLIED, 2)
    assert [text.split()[0] for text in result.warnings] == ["seed.sql"]
    assert "WARN seed.sql is ignored" in pod.output


def test_a_lock_that_is_not_granted_is_tried_again_by_the_operator(pod: Pod, database: Database) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as holder:
        holder.execute("CREATE TABLE held (i int)")
        with holder.transaction():
            holder.execute("SELECT * FROM held")
            spec = pod.spec({"001_a.up.sql": "ALTER TABLE held ADD x int"})
            result = pod.run(replace(spec, ddl_lock_timeout=0.05))
    assert result.outcome is Outcome.TRANSIENT
    assert result.error is not None
    assert "will be retried" in (result.error.hint or "")
    assert "command" not in (result.error.hint or "")


def test_a_log_that_nobody_takes_leaves_a_result(pod: Pod) -> None:
    argv, variables = pod.argv(pod.spec(FILES))
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(argv, env=variables, stdout=full, stderr=full, check=False, timeout=60)
    assert pod.result(done.returncode).outcome is Outcome.APPLIED


@pytest.mark.parametrize("program", [PROGRAM, COMMAND], ids=["the pod's", "the command line's"])
def test_no_specification_is_an_internal_error_with_a_result(pod: Pod, program: list[str]) -> None:
    done = subprocess.run(
        program,
        env=environment({"FLUXBASE_TERMINATION_LOG": str(pod.log)}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    pod.output = done.stdout
    assert pod.result(done.returncode).outcome is Outcome.INTERNAL


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_cancels_an_atomic_file_and_the_row_is_clean(
    pod: Pod, database: Database, number: signal.Signals
) -> None:
    spec = pod.spec(FILES | {"003_slow.up.sql": "CREATE TABLE c (i int); SELECT pg_sleep(60);"})
    result = _signalled(pod, spec, number, "SELECT count(*) FROM migrations.app WHERE version = 2")
    assert result.outcome is Outcome.INTERRUPTED
    assert (result.version, result.dirty) == (2, False)
    assert not Runner(database).exists("c")
    assert Runner(database).history[-1][1] == "interrupted"


def test_a_signal_lets_a_statement_outside_a_transaction_finish(pod: Pod, database: Database) -> None:
    slow = "CREATE TABLE c (i int); DO $$ BEGIN COMMIT; PERFORM pg_sleep(2); END $$; CREATE TABLE d (i int);"
    spec = pod.spec(FILES | {"003_slow.up.sql": slow})
    result = _signalled(
        pod, spec, signal.SIGTERM, "SELECT count(*) FROM migrations.history WHERE in_doubt = 2"
    )
    assert result.outcome is Outcome.INTERRUPTED
    assert (result.version, result.dirty) == (3, True)
    assert not Runner(database).exists("d")
    assert pod.run(spec).outcome is Outcome.APPLIED
    assert Runner(database).row == [(3, False)]


def test_a_signal_in_the_last_seconds_cancels_and_records_the_prefix(pod: Pod, database: Database) -> None:
    slow = "CREATE TABLE c (i int); DO $$ BEGIN COMMIT; PERFORM pg_sleep(60); END $$"
    spec = replace(pod.spec(FILES | {"003_slow.up.sql": slow}), grace_period=11.0)
    result = _signalled(
        pod, spec, signal.SIGTERM, "SELECT count(*) FROM migrations.history WHERE in_doubt = 2"
    )
    assert result.outcome is Outcome.UNPROVEN
    assert Runner(database).row == [(3, True)]


def _signalled(pod: Pod, spec: JobSpec, number: signal.Signals, moment: str) -> Result:
    """Start a job, signal it when ``moment`` counts one, and wait for its end."""
    argv, variables = pod.argv(spec)
    runner = Runner(pod.database)
    with subprocess.Popen(argv, env=variables, stdout=subprocess.PIPE, text=True) as process:
        try:
            eventually(
                "the moment", lambda: runner.exists("migrations.history") and runner.query(moment) == [(1,)]
            )
            os.kill(process.pid, number)
            pod.output = process.communicate(timeout=60)[0]
        finally:
            process.kill()
    return pod.result(process.returncode)


def test_a_job_gives_up_connecting_long_before_a_person_would(pod: Pod) -> None:
    """Its pod holds one of few slots; :meth:`Pod.run` would not wait for a minute's patience."""
    spec = pod.spec(FILES)
    assert JobSpec.from_json(spec.to_json()).connect_patience == spec.connect_patience
    nowhere = f"postgres://app:{pod.database.password}@127.0.0.1:1/app"
    found = pod.run(spec, DATABASE_URL=nowhere)
    assert found.outcome is Outcome.UNREACHABLE
