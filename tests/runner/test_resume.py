"""A resume goes on in a session as the file had made it, or is refused and says what cannot be restored."""

from dataclasses import replace

import pytest

from fluxbase_migrations.core.result import Outcome
from tests.runner import cases
from tests.runner.track import Runner, numbered

FIRST = "CREATE TABLE a (i int); CREATE SCHEMA s"


def resumed(runner: Runner, before: str, after: str) -> None:
    """Fail behind ``before``, and go on with ``after``."""
    failed = runner.run(numbered(FIRST, f"{before}; SELECT nope"))
    assert failed.outcome is Outcome.SQL_ERROR, failed.error
    result = runner.run(numbered(FIRST, f"{before}; {after}"))
    assert result.outcome is Outcome.APPLIED, result.error
    assert "resuming after" in (result.recovered or "")


SETTER = "CREATE FUNCTION f() RETURNS text LANGUAGE sql AS $$ SELECT set_config('search_path', 's', false) $$"
RESTORED = {
    "SET": ("SET search_path = s; COMMIT", "search_path", "s"),
    "SET LOCAL": ("SET LOCAL search_path = s; COMMIT", "search_path", '"$user", public'),
    "SET and SET LOCAL": (
        "SET search_path = s; COMMIT; SET LOCAL search_path = a; COMMIT",
        "search_path",
        "s",
    ),
    "SET, rolled back": ("BEGIN; SET search_path = s; ROLLBACK", "search_path", '"$user", public'),
    "a function that sets": (f"{SETTER}; SELECT f(); COMMIT", "search_path", "s"),
    "DISCARD ALL": ("SET search_path = s; DISCARD ALL; VACUUM a", "search_path", '"$user", public'),
    "RESET": ("SET search_path = s; COMMIT; RESET search_path; COMMIT", "search_path", '"$user", public'),
    "custom setting": ("SET app.tenant = 'it''s'; COMMIT", "app.tenant", "it's"),
    "custom setting by function": (
        "SELECT pg_catalog.set_config('app.tenant', 'b', false); COMMIT",
        "app.tenant",
        "b",
    ),
    "SET ROLE": ("SET ROLE pg_database_owner; COMMIT", "role", "pg_database_owner"),
    "SET ROLE, undone": ("SET ROLE pg_database_owner; COMMIT; RESET ROLE; COMMIT", "role", "none"),
    "SET before VACUUM": ("SET work_mem = '7MB'; VACUUM a", "work_mem", "7MB"),
    "what DO commits": ("DO $$ BEGIN SET work_mem = '7MB'; COMMIT; END $$", "work_mem", "7MB"),
}


@pytest.mark.parametrize(("before", "name", "value"), RESTORED.values(), ids=RESTORED)
def test_a_resume_finds_the_session_as_it_was(runner: Runner, before: str, name: str, value: str) -> None:
    check = (
        f"DO $x$ BEGIN ASSERT current_setting('{name}') = $v${value}$v$, current_setting('{name}'); END $x$"
    )
    resumed(runner, before, check)


LOST = {
    "temporary objects": "CREATE TEMP TABLE t (i int); COMMIT",
    "prepared statements": "PREPARE p AS SELECT 1; COMMIT",
    "open cursors": "DECLARE c CURSOR WITH HOLD FOR SELECT 1; COMMIT",
    "LISTEN": "LISTEN l; COMMIT",
}


@pytest.mark.parametrize(("what", "before"), LOST.items(), ids=LOST)
def test_what_no_other_session_has_refuses_the_resume(runner: Runner, what: str, before: str) -> None:
    runner.run(numbered(FIRST, f"INSERT INTO a VALUES (1); {before}; SELECT nope"))
    result = runner.run(numbered(FIRST, f"INSERT INTO a VALUES (1); {before}; SELECT 1"))
    assert result.outcome is Outcome.DIRTY, result.error
    assert result.error is not None
    assert f"the session has state that cannot be restored: {what}" in (result.error.detail or "")
    assert runner.query("SELECT * FROM a") == [(1,)]


def test_a_library_that_was_loaded_refuses_the_resume(runner: Runner) -> None:
    admin = Runner(replace(runner.database, user="postgres", password=runner.database.server.password))
    admin.run(numbered(FIRST, "LOAD 'plpgsql'; COMMIT; SELECT nope"))
    result = admin.run(numbered(FIRST, "LOAD 'plpgsql'; COMMIT; SELECT 1"))
    assert result.outcome is Outcome.DIRTY, result.error
    assert result.error is not None
    assert "cannot be restored: LOAD" in (result.error.detail or "")


def test_a_session_authorization_is_restored_with_its_role(runner: Runner) -> None:
    admin = Runner(replace(runner.database, user="postgres", password=runner.database.server.password))
    before = f"SET SESSION AUTHORIZATION {runner.database.user}; SET ROLE pg_database_owner; COMMIT"
    check = (
        "DO $$ BEGIN ASSERT (session_user, current_user) ="
        f" ('{runner.database.user}', 'pg_database_owner'), session_user || current_user; END $$"
    )
    resumed(admin, before, check)


def test_a_role_that_is_gone_refuses_the_resume_and_is_named(runner: Runner) -> None:
    role = f"{runner.database.user}_r"
    before = f"CREATE ROLE {role}; GRANT {role} TO CURRENT_USER; SET ROLE {role}; COMMIT"
    runner.run(numbered(FIRST, f"{before}; SELECT nope"))
    runner.query(f"DROP ROLE {role}")
    result = runner.run(numbered(FIRST, f"{before}; SELECT 1"))
    assert result.outcome is Outcome.DIRTY, result.error
    assert result.error is not None
    assert f"role {role}" in (result.error.detail or "")


def test_what_is_gone_again_does_not_refuse_the_resume(runner: Runner) -> None:
    before = (
        "CREATE TEMP TABLE t (i int); DROP TABLE t; CREATE TEMP TABLE u (i int) ON COMMIT DROP; COMMIT;"
        " PREPARE p AS SELECT 1; DEALLOCATE p; DECLARE c CURSOR FOR SELECT 1; COMMIT;"
        " LISTEN l; COMMIT; UNLISTEN l; COMMIT"
    )
    resumed(runner, before, "SELECT 1")


def test_what_is_lost_does_not_matter_when_nothing_is_left_to_run(runner: Runner) -> None:
    before = "CREATE TEMP TABLE t (i int); INSERT INTO a VALUES (1); COMMIT"
    runner.run(numbered(FIRST, f"{before}; SELECT nope"))
    result = runner.run(numbered(FIRST, before))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.query("SELECT * FROM a") == [(1,)]


def test_a_database_that_has_another_search_path_since_does_not_move_a_resume(runner: Runner) -> None:
    before = f"ALTER DATABASE {runner.database.name} SET search_path = s; COMMIT"
    resumed(runner, before, "CREATE TABLE here (i int)")
    assert runner.exists("public.here")


def test_words_in_names_are_no_session_state(runner: Runner) -> None:
    files = cases.files("resume/login-attempts")
    assert runner.run(files).outcome is Outcome.SQL_ERROR
    runner.query("DELETE FROM users WHERE id = 2")
    result = runner.run(files, requested=True)
    assert result.outcome is Outcome.APPLIED, result.error
    assert "resuming after" in (result.recovered or "")


def test_after_discard_all_a_resume_is_on_the_right_table(runner: Runner) -> None:
    files = cases.files("resume/discard-all")
    assert runner.run(files).outcome is Outcome.SQL_ERROR
    runner.query("DELETE FROM public.t")
    result = runner.run(files, requested=True)
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.exists("public.t_id")
    assert not runner.exists("tenant.t_id")


WHOLE = {
    "atomic": "CREATE TABLE b (i int); INSERT INTO b VALUES (2)",
    "in groups": "CREATE TABLE b (i int); VACUUM a; INSERT INTO b VALUES (2)",
    "alone": "CREATE INDEX CONCURRENTLY a_i ON a (i); INSERT INTO b VALUES (2)",
}


@pytest.mark.parametrize("edited", WHOLE.values(), ids=WHOLE)
def test_an_asked_for_whole_run_that_its_first_statement_refuses_leaves_the_proof(
    runner: Runner, edited: str
) -> None:
    body = "CREATE TABLE b (i int); INSERT INTO b VALUES (1); CREATE INDEX CONCURRENTLY a_i ON a (i); "
    body += "SELECT nope"
    assert runner.run(numbered(FIRST, body)).outcome is Outcome.SQL_ERROR
    assert runner.run(numbered(FIRST, edited), requested=True).outcome is Outcome.SQL_ERROR
    result = runner.run(numbered(FIRST, body.replace("nope", "1")))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.query("SELECT * FROM b") == [(1,)]


def test_a_local_setting_does_not_leave_the_session_unknown(runner: Runner) -> None:
    """A crash right behind the next COMMIT finds the session of the position before it."""
    before = "SET LOCAL search_path = s; COMMIT; INSERT INTO a VALUES (1); ROLLBACK; "
    body = before + "SELECT pg_terminate_backend(pg_backend_pid())"
    assert runner.run(numbered(FIRST, body)).outcome is Outcome.TRANSIENT
    path = "details->'session'->'settings'->>'search_path'"
    known = runner.query(f"SELECT {path} FROM migrations.history WHERE version = 2")
    assert known == [('"$user", public',)]
    result = runner.run(numbered(FIRST, before + "SELECT 1"))
    assert result.outcome is Outcome.APPLIED, result.error


SETTERS = """
CREATE FUNCTION one(v text) RETURNS text LANGUAGE plpgsql AS $$
    BEGIN RETURN set_config('app.one', v, false); END $$;
CREATE FUNCTION two(v text) RETURNS text LANGUAGE sql
    BEGIN ATOMIC SELECT set_config('app.two', v, false); END;
CREATE FUNCTION three() RETURNS void LANGUAGE plpgsql AS $$ BEGIN SET app.three = 'c'; END $$;
CREATE TABLE seen (t text);
"""
SEEN = "concat_ws(',', current_setting('app.one'), current_setting('app.two'), current_setting('app.three'))"


@pytest.mark.parametrize(
    "setting",
    [
        "SELECT one('a'), two('b'), three()",
        "DO $$ BEGIN SET app.one = 'a'; SET SESSION app.two TO b; SET\n app.three = 'c'; END $$",
    ],
    ids=["functions", "a DO"],
)
def test_settings_that_bodies_make_are_those_of_the_resume(runner: Runner, setting: str) -> None:
    text = f"{setting}; VACUUM; SELECT 1/{{}}; INSERT INTO seen VALUES ({SEEN})"
    assert runner.run(numbered(SETTERS, text.format(0))).outcome is Outcome.SQL_ERROR
    result = runner.run(numbered(SETTERS, text.format(1)))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.query("TABLE seen") == [("a,b,c",)]


def test_a_file_may_make_many_settings(runner: Runner) -> None:
    settings = ";".join(f"SET app.n{number} = '{number}'" for number in range(200))
    result = runner.run(numbered(f"{settings}; VACUUM; SELECT 1"))
    assert result.outcome is Outcome.APPLIED, result.error
