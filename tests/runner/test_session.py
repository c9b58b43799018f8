"""Nothing that a file does to its session reaches the next file, our rows, or our lock."""

import pytest

from fluxbase_migrations.core.result import Outcome
from tests.runner.track import Runner, numbered

PROBE = """
CREATE TABLE probe AS SELECT
  current_user::text = session_user::text AS user,
  current_setting('search_path') AS path,
  current_setting('statement_timeout') AS timeout,
  current_setting('app.x', true) AS custom,
  to_regclass('pg_temp.temporary') IS NULL AS temp,
  (SELECT count(*) FROM pg_listening_channels()) AS listening,
  (SELECT count(*) FROM pg_cursors) AS cursors,
  (SELECT count(*) FROM pg_prepared_statements) AS prepared,
  (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()) AS locks
"""
CLEAN = (True, '"$user", public', "0", None, True, 0, 0, 0, 3)
"""Three locks: pg_locks shows a session's and a transaction's hold on one id as one."""

CUSTOM_AFTER_RESET = ("", None)


@pytest.mark.parametrize(
    "body",
    [
        "SET search_path = pg_temp; SELECT 1",
        "SET statement_timeout = '7s'",
        "SET app.x = 'leak'",
        "SELECT set_config('app.x', 'leak', false)",
        "SET ROLE pg_monitor",
        "CREATE TEMP TABLE temporary (i int)",
        "LISTEN something",
        "DECLARE c CURSOR WITH HOLD FOR SELECT 1",
        "PREPARE p AS SELECT 1",
        "SELECT pg_advisory_unlock_all()",
        "DISCARD ALL",
        "SELECT pg_advisory_unlock_all(); DISCARD ALL",
    ],
)
@pytest.mark.parametrize("way", ["atomic", "groups"])
def test_a_files_traces_end_with_it(runner: Runner, body: str, way: str) -> None:
    if "pg_monitor" in body:
        body = f"SET ROLE {_other_role(runner)}"
    if way == "groups":
        body = f"{body}; COMMIT; SELECT 2"
    result = runner.run(numbered(body, PROBE))
    assert result.outcome is Outcome.APPLIED, result.error
    (found,) = runner.query("SELECT * FROM probe")
    assert found[3] in CUSTOM_AFTER_RESET
    assert (*found[:3], None, *found[4:]) == CLEAN
    assert runner.row == [(2, False)]


def _other_role(runner: Runner) -> str:
    """A role that may do nothing, and that the login may become; it goes with the database's owner."""
    name = f"{runner.database.user}_other"
    runner.query(f"CREATE ROLE {name}")
    version = int(runner.query("SHOW server_version_num")[0][0])
    if version < 160000:
        runner.query(f"GRANT {name} TO {runner.database.user}")
    else:
        runner.query(f"GRANT {name} TO {runner.database.user} WITH SET TRUE")
    return name


@pytest.fixture(autouse=True)
def _no_roles_left(runner: Runner) -> object:
    yield
    runner.query(f"DROP ROLE IF EXISTS {runner.database.user}_other")


def test_a_file_cannot_hide_our_tables_behind_its_search_path(runner: Runner) -> None:
    body = """
        CREATE SCHEMA decoy;
        CREATE TABLE decoy.app (version bigint, dirty boolean);
        CREATE FUNCTION decoy.int4(boolean) RETURNS int LANGUAGE sql AS 'SELECT 0';
        SET search_path = decoy, pg_catalog
    """
    assert runner.run(numbered(body, "CREATE TABLE public.b (i int)")).outcome is Outcome.APPLIED
    assert runner.query("SELECT count(*) FROM decoy.app") == [(0,)]
    assert runner.row == [(2, False)]


def test_default_settings_of_the_role_do_not_kill_a_migration(runner: Runner) -> None:
    user = runner.database.user
    for setting in ("statement_timeout = '50ms'", "idle_in_transaction_session_timeout = '1s'"):
        runner.query(f"ALTER ROLE {user} SET {setting}")
    assert runner.run(numbered("SELECT pg_sleep(0.2)")).outcome is Outcome.APPLIED


def test_the_roles_own_role_and_asynchronous_commit_are_kept(runner: Runner) -> None:
    user = runner.database.user
    runner.query(f"ALTER ROLE {user} SET synchronous_commit = off")
    result = runner.run(
        numbered("CREATE TABLE a AS SELECT current_setting('synchronous_commit') AS s", "SELECT 1")
    )
    assert result.outcome is Outcome.APPLIED
    assert runner.query("SELECT s FROM a") == [("off",)]


def test_a_database_may_write_dates_as_it_likes(runner: Runner) -> None:
    runner.query(f"ALTER DATABASE {runner.database.name} SET datestyle = 'German, DMY'")
    runner.query(f"ALTER DATABASE {runner.database.name} SET timezone = 'Asia/Kathmandu'")
    files = numbered("CREATE TABLE a AS SELECT date '01.02.2020' AS d", "VACUUM; SELECT 1/0")
    assert runner.run(files).outcome is Outcome.SQL_ERROR
    result = runner.run(files | numbered("CREATE TABLE a AS SELECT date '01.02.2020' AS d", "VACUUM"))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.query("SELECT d = '2020-02-01'::date FROM a") == [(True,)]


@pytest.mark.parametrize("other", ["EUC_JP", "SJIS", "LATIN1"])
def test_a_files_client_encoding_does_not_reach_our_statements(runner: Runner, other: str) -> None:
    name = "1_größe_→_\"'\\_𝄞.up.sql"
    text = f"SET client_encoding = '{other}'; VACUUM;\nSELECT 1/{{}}"
    result = runner.run({name: text.format(0)})
    assert result.error is not None
    assert (result.error.statement, result.error.line) == ("3 of 3, SELECT", 2)
    result = runner.run({name: text.format(1)})
    assert result.outcome is Outcome.APPLIED, result.error
    assert {file for file, *_ in runner.history} == {name}
