"""Under ``approval: Manual`` a run changes nothing that nobody has approved, and runs what was approved."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import psycopg
import pytest

from fluxbase_migrations.core.approval import ApprovedPlan, PlanStart
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.job import ForceCommand, JobSpec, SetRef
from fluxbase_migrations.core.log_lines import plan_line
from fluxbase_migrations.core.names import Recovery, Rollback, Track
from fluxbase_migrations.core.result import FORCE, Outcome, Result
from tests.runner.test_job import Pod
from tests.support.databases import Database, create_login, drop_role

Files = Mapping[str, str | bytes]

FILES: Files = {
    "001_a.up.sql": "CREATE TABLE a (i int);",
    "001_a.down.sql": "DROP TABLE a;",
    "002_b.up.sql": "CREATE TABLE b (i int);",
    "002_b.down.sql": "DROP TABLE b;",
}
EVERYTHING = (
    "SELECT 'relation', oid::text || relname || relfilenode FROM pg_class"
    " UNION ALL SELECT 'schema', nspname || coalesce(nspacl::text, '') FROM pg_namespace"
    " WHERE nspname !~ '^pg_(toast_)?temp'"
    " UNION ALL SELECT 'role', oid::text || rolname FROM pg_roles"
    " UNION ALL SELECT 'function', oid::text FROM pg_proc"
    " UNION ALL SELECT 'type', oid::text FROM pg_type"
    " UNION ALL SELECT 'rows', concat(relname, n_tup_ins, n_tup_upd, n_tup_del) FROM pg_stat_user_tables"
    " ORDER BY 1, 2"
)
"""Whatever a run could make or change."""


@pytest.fixture
def pod(database: Database, tmp_path: Path) -> Pod:
    return Pod(database, tmp_path)


@pytest.fixture
def connection(database: Database) -> Iterator[psycopg.Connection]:
    with psycopg.connect(database.dsn, autocommit=True) as opened:
        yield opened


def manual(pod: Pod, files: Files, **more: Any) -> JobSpec:
    return replace(pod.spec(files), manual=True, **more)


def approved(result: Result) -> ApprovedPlan:
    assert result.plan is not None
    return ApprovedPlan(result.plan.digest, result.plan.start)


def everything(connection: psycopg.Connection) -> list[Any]:
    return connection.execute(EVERYTHING).fetchall()


def tables(connection: psycopg.Connection) -> set[str]:
    return {
        name for (name,) in connection.execute("SELECT tablename FROM pg_tables WHERE schemaname='public'")
    }


def names(result: Result) -> list[str]:
    return [one.name for one in result.plan.files] if result.plan else []


@pytest.mark.parametrize(
    ("more", "files"),
    [
        ({}, ["001_a.up.sql", "002_b.up.sql"]),
        ({"target": 1}, ["001_a.up.sql"]),
        ({"baseline": 1}, ["002_b.up.sql"]),
        ({"approved": ApprovedPlan("sha256:" + "0" * 64, PlanStart())}, ["001_a.up.sql", "002_b.up.sql"]),
        ({"plan_only": True}, ["001_a.up.sql", "002_b.up.sql"]),
    ],
    ids=["to the latest", "to a target", "from a baseline", "another plan is approved", "plan only"],
)
def test_a_plan_changes_nothing_in_the_database(
    pod: Pod, connection: psycopg.Connection, more: dict[str, Any], files: list[str]
) -> None:
    connection.execute("CREATE TABLE in_use (i int)")
    before = everything(connection)
    result = pod.run(manual(pod, FILES, **more))
    assert everything(connection) == before
    assert (result.outcome, result.version, result.error) == (Outcome.AWAITING_APPROVAL, None, None)
    assert names(result) == files
    assert pod.run(manual(pod, FILES, **more)).plan == result.plan
    assert pod.output.splitlines()[-1] == (
        f"INFO Nothing was changed: the plan waits for approval source=user files={len(files)}"
    )


def test_a_plan_needs_no_right_to_change_anything(pod: Pod, connection: psycopg.Connection) -> None:
    connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    database, role = pod.database, f"reader_{pod.database.name}"
    create_login(database.server, role, "secret", "NOINHERIT")
    try:
        url = database.server.dsn(database.name, role, "secret")
        result = pod.run(manual(pod, FILES), DATABASE_URL=url)
        assert (result.outcome, names(result)) == (
            Outcome.AWAITING_APPROVAL,
            ["001_a.up.sql", "002_b.up.sql"],
        )
        approved_run = pod.run(manual(pod, FILES, approved=approved(result)), DATABASE_URL=url)
        assert approved_run.outcome is Outcome.SERVER_REFUSED
    finally:
        drop_role(database.server, role)


def test_a_plan_runs_as_it_was_approved(pod: Pod, connection: psycopg.Connection) -> None:
    plan = approved(pod.run(manual(pod, FILES)))
    result = pod.run(manual(pod, FILES, approved=plan))
    assert (result.outcome, result.version, result.plan) == (Outcome.APPLIED, 2, None)
    assert tables(connection) == {"a", "b"}
    assert pod.run(manual(pod, FILES)).outcome is Outcome.NO_CHANGE


def test_a_plan_says_what_was_edited_since(pod: Pod) -> None:
    """Whoever approves the next file should know that an earlier one is not what the database has."""
    plan = approved(pod.run(manual(pod, FILES)))
    assert pod.run(manual(pod, FILES, approved=plan)).outcome is Outcome.APPLIED
    pod.run(
        manual(pod, {**FILES, "001_a.up.sql": "CREATE TABLE z ();", "003_c.up.sql": "CREATE TABLE c ();"})
    )
    assert "001_a.up.sql was edited after it was applied" in pod.output


EDITS: list[tuple[str, Files]] = [
    ("a file was edited", {**FILES, "002_b.up.sql": "CREATE TABLE c (i int);"}),
    ("a file was renamed", {name.replace("002_b.up", "002_c.up"): text for name, text in FILES.items()}),
    ("a file was added", {**FILES, "003_c.up.sql": "CREATE TABLE c (i int);"}),
    ("a file is gone", {name: text for name, text in FILES.items() if not name.startswith("002")}),
]


@pytest.mark.parametrize("edited", [files for _, files in EDITS], ids=[name for name, _ in EDITS])
def test_what_was_changed_after_the_approval_does_not_run(
    pod: Pod, connection: psycopg.Connection, edited: Files
) -> None:
    plan = approved(pod.run(manual(pod, FILES)))
    for path in pod.source.iterdir():
        path.unlink()
    result = pod.run(manual(pod, edited, approved=plan))
    assert (result.outcome, tables(connection)) == (Outcome.AWAITING_APPROVAL, set())
    assert result.plan is not None
    assert result.plan.digest != plan.digest
    assert pod.run(manual(pod, edited, approved=approved(result))).outcome is Outcome.APPLIED


@pytest.mark.parametrize(
    "elsewhere",
    [
        {"oid": 1},
        {"system_identifier": "1"},
        {"history_id": "00000000-0000-0000-0000-000000000000"},
    ],
    ids=["another database of the server", "another server", "another history"],
)
def test_an_approval_is_for_one_database(pod: Pod, elsewhere: dict[str, Any]) -> None:
    plan = approved(pod.run(manual(pod, FILES)))
    assert plan.start.database is not None
    moved = replace(plan.start, database=replace(plan.start.database, **elsewhere))
    forged = [ApprovedPlan(plan.digest, moved), ApprovedPlan(plan.digest, replace(moved, database=None))]
    for one in forged:
        assert pod.run(manual(pod, FILES, approved=one)).outcome is Outcome.AWAITING_APPROVAL


def test_what_is_left_of_a_failed_run_goes_on(pod: Pod, connection: psycopg.Connection) -> None:
    files = {**FILES, "002_b.up.sql": "SELECT 1 / count(*) FROM pg_tables WHERE tablename = 'repaired'"}
    plan = approved(pod.run(manual(pod, files)))
    failed = pod.run(manual(pod, files, approved=plan))
    assert (failed.outcome, failed.version, failed.dirty) == (Outcome.SQL_ERROR, 2, True)
    connection.execute("CREATE TABLE repaired (i int)")
    assert pod.run(manual(pod, files, requested=True)).outcome is Outcome.AWAITING_APPROVAL
    result = pod.run(manual(pod, files, approved=plan, requested=True, recovery=Recovery.AUTOMATIC))
    assert (result.outcome, result.version, result.dirty) == (Outcome.APPLIED, 2, False)


def test_what_is_left_of_a_run_that_was_killed_goes_on(pod: Pod, connection: psycopg.Connection) -> None:
    files = {**FILES, "003_c.up.sql": "SELECT pg_terminate_backend(pg_backend_pid())"}
    plan = approved(pod.run(manual(pod, files)))
    assert pod.run(manual(pod, files, approved=plan)).outcome is not Outcome.APPLIED
    rest = pod.run(manual(pod, files))
    assert (rest.outcome, names(rest)) == (Outcome.AWAITING_APPROVAL, ["003_c.up.sql"])
    again = pod.run(manual(pod, files, approved=plan))
    assert again.outcome is not Outcome.AWAITING_APPROVAL
    assert "number=1 total=1" in pod.output
    edited = {**files, "003_c.up.sql": "CREATE TABLE c (i int)"}
    assert pod.run(manual(pod, edited, approved=plan)).outcome is Outcome.AWAITING_APPROVAL


def test_the_recovery_of_a_failed_file_is_part_of_the_plan(pod: Pod) -> None:
    broken = {**FILES, "002_b.up.sql": "CREATE TABLE b (i nothing)"}
    assert pod.run(pod.spec(broken)).outcome is Outcome.SQL_ERROR
    corrected = pod.run(manual(pod, FILES))
    assert (corrected.outcome, names(corrected)) == (Outcome.AWAITING_APPROVAL, ["002_b.up.sql"])
    assert corrected.plan is not None
    start = corrected.plan.start
    assert (start.version, start.failed_version, start.failed_direction) == (1, 2, "up")
    result = pod.run(manual(pod, FILES, approved=approved(corrected)))
    assert (result.outcome, result.version, result.dirty) == (Outcome.APPLIED, 2, False)


def test_what_the_recovery_refuses_waits_for_no_approval(pod: Pod) -> None:
    broken = {**FILES, "002_b.up.sql": "CREATE TABLE b (i nothing)"}
    assert pod.run(pod.spec(broken)).outcome is Outcome.SQL_ERROR
    assert pod.run(manual(pod, FILES, recovery=Recovery.MANUAL)).outcome is Outcome.DIRTY


def test_a_rollback_waits_for_approval(pod: Pod, connection: psycopg.Connection) -> None:
    assert pod.run(pod.spec(FILES)).outcome is Outcome.APPLIED
    back = {"target": 0, "rollback": Rollback.ALLOW}
    waiting = pod.run(manual(pod, FILES, **back))
    assert (waiting.outcome, names(waiting)) == (
        Outcome.AWAITING_APPROVAL,
        ["002_b.down.sql", "001_a.down.sql"],
    )
    assert waiting.plan is not None
    assert (waiting.plan.strongest_lock, waiting.plan.locked) == ("ACCESS EXCLUSIVE", "public.b")
    assert (waiting.plan.destructive, waiting.plan.to_version) == (2, None)
    assert tables(connection) == {"a", "b"}
    assert pod.run(manual(pod, FILES, approved=approved(waiting), **back)).outcome is Outcome.ROLLED_BACK


def test_an_approval_is_used_up_by_its_run(pod: Pod, connection: psycopg.Connection) -> None:
    plan = approved(pod.run(manual(pod, FILES)))
    assert pod.run(manual(pod, FILES, approved=plan)).outcome is Outcome.APPLIED
    connection.execute("DROP TABLE a, b; UPDATE migrations.app SET version = 1; DELETE FROM migrations.app")
    again = pod.run(manual(pod, FILES, approved=plan))
    assert (again.outcome, tables(connection)) == (Outcome.AWAITING_APPROVAL, set())


@pytest.mark.parametrize("version", [2, 3], ids=["to its beginning", "to the middle"])
def test_a_version_that_another_program_has_set_back_ends_the_approval(
    pod: Pod, connection: psycopg.Connection, version: int
) -> None:
    assert pod.run(pod.spec(FILES)).outcome is Outcome.APPLIED
    log = "CREATE TABLE IF NOT EXISTS ran (file int); INSERT INTO ran VALUES"
    failing = "SELECT 1 / count(*) FROM pg_tables WHERE tablename = 'repaired'"
    files = {**FILES, "003_c.up.sql": f"{log} (3)", "004_d.up.sql": f"{log} (4)", "005_e.up.sql": failing}
    plan = approved(pod.run(manual(pod, files)))
    assert pod.run(manual(pod, files, approved=plan)).outcome is Outcome.SQL_ERROR
    # As golang-migrate's force does it.
    connection.execute("UPDATE migrations.app SET version = %s, dirty = false", (version,))
    again = pod.run(manual(pod, files, approved=plan, requested=True))
    assert again.outcome is Outcome.AWAITING_APPROVAL
    assert connection.execute("SELECT array_agg(file ORDER BY file) FROM ran").fetchone() == ([3, 4],)


def test_no_file_of_an_approved_plan_is_left_out(pod: Pod, connection: psycopg.Connection) -> None:
    assert pod.run(pod.spec({"001_a.up.sql": FILES["001_a.up.sql"]})).outcome is Outcome.APPLIED
    files = {**FILES, "003_c.up.sql": "CREATE TABLE c (i int)"}
    plan = approved(pod.run(manual(pod, files)))
    connection.execute("UPDATE migrations.app SET version = 2")
    assert pod.run(manual(pod, files, approved=plan)).outcome is Outcome.AWAITING_APPROVAL
    assert tables(connection) == {"a"}


def test_a_version_without_a_file_is_a_step_of_the_approved_plan(pod: Pod) -> None:
    files = {
        **FILES,
        "003_c.down.sql": "SELECT 1",
        "004_d.up.sql": "SELECT pg_terminate_backend(pg_backend_pid())",
    }
    plan = approved(pod.run(manual(pod, files)))
    for _ in range(2):
        result = pod.run(manual(pod, files, approved=plan))
        assert result.outcome not in (Outcome.APPLIED, Outcome.AWAITING_APPROVAL)
    assert "number=1 total=1" in pod.output


def test_a_force_is_obeyed_and_what_follows_waits(pod: Pod, connection: psycopg.Connection) -> None:
    plan = approved(pod.run(manual(pod, FILES)))
    forced = pod.run(manual(pod, FILES, approved=plan, force=ForceCommand(1, "t1")))
    assert (forced.outcome, forced.version, forced.obeyed) == (Outcome.AWAITING_APPROVAL, 1, (FORCE,))
    assert (names(forced), tables(connection)) == (["002_b.up.sql"], set())


def test_another_set_s_track_is_a_conflict_and_no_plan(pod: Pod) -> None:
    assert pod.run(pod.spec({"001_a.up.sql": "SELECT 1"})).outcome is Outcome.APPLIED
    other = replace(manual(pod, FILES), set=SetRef("uid-2", "fluxbase", "other"))
    assert pod.run(other).outcome is Outcome.CONFLICT
    assert pod.run(replace(other, take_over_from="uid-1")).outcome is Outcome.AWAITING_APPROVAL
    assert pod.run(pod.spec({})).outcome is Outcome.APPLIED


def test_what_another_tool_has_migrated_is_refused_and_no_plan(
    pod: Pod, connection: psycopg.Connection
) -> None:
    connection.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
    connection.execute("INSERT INTO schema_migrations VALUES (2, false)")
    before = everything(connection)
    assert pod.run(manual(pod, FILES)).outcome is Outcome.FOREIGN_TABLE
    assert everything(connection) == before


@pytest.mark.parametrize("content", [b"SELECT '\0'", b"\xff"], ids=["a NUL byte", "not UTF-8"])
def test_a_file_that_no_run_could_use_waits_for_no_approval(pod: Pod, content: bytes) -> None:
    assert pod.run(manual(pod, {"001_a.up.sql": content})).outcome is Outcome.INVALID_SOURCE


def test_a_baseline_is_recorded_with_the_approved_run(pod: Pod, connection: psycopg.Connection) -> None:
    connection.execute("CREATE TABLE a (i int)")
    waiting = pod.run(manual(pod, FILES, baseline=1))
    assert waiting.plan is not None
    assert (waiting.plan.baseline, waiting.plan.start.version) == (1, 1)
    result = pod.run(manual(pod, FILES, baseline=1, approved=approved(waiting)))
    assert (result.outcome, result.version, result.baselined) == (Outcome.APPLIED, 2, 1)


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_whole_plan_is_in_the_log(pod: Pod, form: str) -> None:
    pod.run(pod.spec({"001_a.up.sql": "CREATE TABLE a (i int);"}))
    files = {"001_a.up.sql": "CREATE TABLE a (i int);", "002_b.up.sql": "DROP TABLE a;"}
    result = pod.run(manual(pod, files), LOG_FORMAT=form)
    assert result.plan is not None
    lines = [line for one in pod.output.splitlines() if (line := plan_line(one)) is not None]
    assert lines == [
        "user (migrations.app): version 1, 1 file pending",
        "",
        "002_b.up.sql: atomic",
        "  no down file: it cannot be rolled back",
        "  1 DROP TABLE (line 1)",
        "    public.a [0 bytes]: ACCESS EXCLUSIVE, blocks reads, writes, DDL",
        "    DESTROYS: table a is dropped with its content",
        "",
        "strongest lock: ACCESS EXCLUSIVE on public.a (002_b.up.sql, statement 1)",
        "1 of 1 statements is destructive",
    ]


@pytest.mark.parametrize(
    ("sql", "unknown"),
    [
        ("DO $$ BEGIN PERFORM 1; END $$", 1),
        (f"SELECT '{'x' * (8 << 20)}'", None),
        (f"SELECT {'+'.join(['1'] * 60_000)}", 1),
    ],
    ids=["the grammar cannot tell", "too large to be analysed", "too deep for the parser"],
)
def test_what_is_not_known_of_a_plan_is_said_to_be_unknown(pod: Pod, sql: str, unknown: int | None) -> None:
    result = pod.run(manual(pod, {"001_a.up.sql": sql}))
    assert result.outcome is Outcome.AWAITING_APPROVAL
    assert result.plan is not None
    assert result.plan.unknown == unknown


def test_a_long_plan_fits_the_termination_message(pod: Pod) -> None:
    files = {f"{n:03}_{'long_' * 40}.up.sql": f"CREATE TABLE t{n} (i int)" for n in range(1, 100)}
    result = pod.run(manual(pod, files))
    assert result.plan is not None
    assert result.plan.count == 99
    assert 0 < len(result.plan.files) <= 10
    assert pod.run(manual(pod, files, approved=approved(result))).version == 99


def test_a_job_s_approval_survives_json() -> None:
    start = PlanStart(3, 4, "up", 17, DatabaseIdentity("shop", "1", 2, None))
    approval = ApprovedPlan("sha256:1", start)
    spec = JobSpec(SetRef("u", "n", "s"), Track.USER, 1, manual=True, approved=approval)
    assert JobSpec.from_json(spec.to_json()) == spec
