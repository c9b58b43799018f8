"""Whose error it is when the version cannot be recorded, and for how long that is tried."""

import threading

import psycopg
import pytest

from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.runner.connection.session import Settings
from tests.runner.track import APP, Runner, numbered

UNCHANGED = "rolled back, nothing changed"


@pytest.mark.parametrize(
    ("sql", "statement"),
    [
        ("SET TRANSACTION READ ONLY;\nSELECT 1", "1 of 2, SET"),
        ("BEGIN READ ONLY;\nSELECT 1;\nCOMMIT", "1 of 3, BEGIN"),
        ("SELECT 1;\nSET LOCAL transaction_read_only = on;\nSELECT 2", "2 of 3, SET"),
        ("CREATE TABLE a (i int);\nSET TRANSACTION READ ONLY;\nSELECT 2", "2 of 3, SET"),
    ],
)
def test_a_file_that_makes_its_transaction_read_only_is_told_so(
    runner: Runner, sql: str, statement: str
) -> None:
    result = runner.run(numbered(sql))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert (
        result.error.message
        == "the file made its transaction read-only, so that its version cannot be recorded"
    )
    assert result.error.statement == statement
    assert result.error.line == sql[: sql.upper().index("READ")].count("\n") + 1
    assert (result.error.sql_state, result.error.effect) == ("25006", UNCHANGED)


def test_a_files_write_in_a_read_only_transaction_is_its_own_error(runner: Runner) -> None:
    result = runner.run(
        numbered("CREATE TABLE a (i int)", "SET TRANSACTION READ ONLY;\nINSERT INTO a VALUES (1)")
    )
    assert result.error is not None
    assert (result.error.statement, result.error.line) == ("2 of 2, INSERT", 2)


def test_a_default_that_a_file_makes_read_only_ends_with_it(runner: Runner) -> None:
    result = runner.run(
        numbered("SET default_transaction_read_only = on; VACUUM; SELECT 1", "CREATE TABLE a (i int)")
    )
    assert result.outcome is Outcome.APPLIED, result.error


def held(runner: Runner, files: dict[str, str], what: str) -> tuple[Outcome, str]:
    """Run while another session holds a lock on the tracking row."""
    assert runner.run(numbered("SELECT 1")).outcome is Outcome.APPLIED
    with psycopg.connect(runner.database.dsn) as other:
        other.execute(what.encode())
        result = runner.run(files)
        assert result.error is not None
        return result.outcome, str(result.error.message)


@pytest.mark.parametrize("sql", ["CREATE TABLE a (i int)", "BEGIN; CREATE TABLE a (i int); COMMIT; SELECT 1"])
def test_a_lock_on_the_tracking_row_is_waited_for_within_the_lock_timeout(runner: Runner, sql: str) -> None:
    runner.lock_timeout = 0.5
    outcome, message = held(runner, numbered("SELECT 1", sql), f"SELECT 1 FROM {APP} FOR UPDATE")
    assert outcome is Outcome.TRANSIENT
    assert message.startswith("recording what was done failed: canceling statement due to lock timeout")
    assert not runner.exists("a")


def test_our_own_statements_do_not_wait_by_the_files_lock_timeout(runner: Runner) -> None:
    assert runner.run(numbered("SELECT 1")).outcome is Outcome.APPLIED
    runner.settings = Settings(ddl_lock_timeout=0.05, connect_patience=5.0)
    with psycopg.connect(runner.database.dsn) as other:
        other.execute(f"SELECT 1 FROM {APP} FOR UPDATE".encode())
        release = threading.Timer(0.6, other.rollback)
        release.start()
        result = runner.run(numbered("SELECT 1", "SET lock_timeout = '20ms'; CREATE TABLE a (i int)"))
        release.join()
    assert result.outcome is Outcome.APPLIED, result.error


def test_reset_all_in_a_file_does_not_look_like_a_lost_transaction(runner: Runner) -> None:
    result = runner.run(
        numbered(
            "SET work_mem = '8MB'; RESET ALL; CREATE TABLE a (i int)",
            "CREATE FUNCTION f() RETURNS int LANGUAGE sql SET work_mem = '8MB' AS 'SELECT 1';"
            " SELECT f(); DISCARD ALL",
            "DO $$ BEGIN EXECUTE 'RESET ALL'; END $$; INSERT INTO a VALUES (1)",
        )
    )
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.query("SELECT count(*) FROM a") == [(1,)]


@pytest.mark.parametrize(
    "body", ["RETURN NULL;", "NEW.version := 99; RETURN NEW;"], ids=["left out", "changed"]
)
def test_a_version_that_is_not_written_as_meant_rolls_the_file_back(runner: Runner, body: str) -> None:
    assert runner.run(numbered("CREATE TABLE a (i int)")).outcome is Outcome.APPLIED
    runner.query(
        f"CREATE FUNCTION public.meddle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN {body} END';"
        f" CREATE TRIGGER meddle BEFORE INSERT ON {APP} FOR EACH ROW EXECUTE FUNCTION public.meddle()"
    )
    result = runner.run(numbered("CREATE TABLE a (i int)", "INSERT INTO a VALUES (1)"))
    assert not result.outcome.succeeded
    assert runner.query("SELECT count(*) FROM a") == [(0,)]


MEDDLING = {
    "no row": "CREATE TRIGGER t BEFORE INSERT ON migrations.app FOR EACH ROW EXECUTE FUNCTION nothing()",
    "another row": "CREATE TRIGGER t BEFORE INSERT ON migrations.app FOR EACH ROW EXECUTE FUNCTION seven()",
    "no entry": "CREATE TRIGGER t BEFORE INSERT ON migrations.history"
    " FOR EACH ROW EXECUTE FUNCTION nothing()",
    "a rule": "CREATE RULE r AS ON INSERT TO migrations.app DO INSTEAD NOTHING",
}


@pytest.mark.parametrize(
    ("tampering", "way"),
    [
        *((name, "VACUUM; ") for name in MEDDLING),
        *((name, "") for name in ("no row", "another row", "a rule")),
        *((name, "SELECT 'commit'; ") for name in MEDDLING),
    ],
)
def test_a_version_that_is_not_written_as_meant_is_not_called_applied(
    runner: Runner, tampering: str, way: str
) -> None:
    functions = """
        CREATE FUNCTION nothing() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';
        CREATE FUNCTION seven() RETURNS trigger LANGUAGE plpgsql
        AS 'BEGIN NEW.version := 7; RETURN NEW; END'"""
    assert runner.run(numbered(functions)).outcome is Outcome.APPLIED
    runner.query(MEDDLING[tampering])
    result = runner.run(numbered(functions, way + "CREATE TABLE a (i int)"))
    assert result.outcome is Outcome.SERVER_REFUSED
    assert result.error is not None
    assert "is not what is there" in result.error.message
    assert runner.row == [(1, False)]
    assert not runner.exists("a")
    runner.query("DROP FUNCTION nothing, seven CASCADE; DROP RULE IF EXISTS r ON migrations.app")
    assert runner.run(numbered(functions, way + "CREATE TABLE a (i int)")).outcome is Outcome.APPLIED


@pytest.mark.parametrize("way", ["", "VACUUM; "], ids=["atomic", "in groups"])
def test_our_own_statements_do_not_end_by_the_statement_timeout(runner: Runner, way: str) -> None:
    assert runner.run(numbered("SELECT 1")).outcome is Outcome.APPLIED
    runner.settings = Settings(statement_timeout=0.3, connect_patience=5.0)
    with psycopg.connect(runner.database.dsn) as other:
        other.execute(b"SELECT 1 FROM migrations.app FOR UPDATE")
        release = threading.Timer(1.0, other.rollback)
        release.start()
        text = f"{way}SET statement_timeout = '200ms'; CREATE TABLE a (i int)"
        result = runner.run(numbered("SELECT 1", text))
        release.join()
    assert result.outcome is Outcome.APPLIED, result.error
