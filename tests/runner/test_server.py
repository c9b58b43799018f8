"""Servers and tables that cannot be used are refused with the reason, and nothing is touched."""

import time

import psycopg
import pytest
from psycopg import sql

from fluxbase_migrations.core.errors import AuthFailed, Unreachable
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.runner.session import Settings
from tests.runner.track import Runner, numbered

FLUXBASE_LEDGER = "id serial, namespace text, name text, up_sql text, status text"


def refused(runner: Runner) -> str:
    result = runner.run(numbered("CREATE TABLE a (i int)"))
    assert result.outcome is Outcome.SERVER_REFUSED
    assert result.error is not None
    assert not runner.exists("a")
    return f"{result.error.message} {result.error.hint}"


def test_another_kind_of_tracking_table_is_named_with_its_columns(runner: Runner) -> None:
    runner.query(f"CREATE SCHEMA migrations; CREATE TABLE migrations.app ({FLUXBASE_LEDGER})")
    assert "namespace text" in refused(runner)
    assert not runner.exists("migrations.history")


def test_another_kind_of_history_is_named_with_its_columns(runner: Runner) -> None:
    runner.query("CREATE SCHEMA migrations; CREATE TABLE migrations.history (i int)")
    assert "it has i integer" in refused(runner)


def test_two_tracking_rows_are_refused(runner: Runner) -> None:
    runner.run(numbered("SELECT 1"))
    runner.query("INSERT INTO migrations.app VALUES (7, false)")
    assert "more than one row" in refused(runner)


def test_a_read_only_default_is_refused(runner: Runner) -> None:
    runner.query(f"ALTER ROLE {runner.database.user} SET default_transaction_read_only = on")
    assert "default_transaction_read_only" in refused(runner)


def test_missing_privileges_are_listed_as_statements(runner: Runner) -> None:
    name = sql.Identifier(runner.database.name)
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier("postgres")))
    said = refused(runner)
    assert f'GRANT CREATE ON DATABASE "{runner.database.name}"' in said
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, sql.Identifier(runner.database.user))
        )


def test_tables_that_exist_and_are_granted_suffice(runner: Runner) -> None:
    runner.run({"1_a.up.sql": "SELECT 1"})
    user, name = sql.Identifier(runner.database.user), sql.Identifier(runner.database.name)
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO postgres").format(name))
        admin.execute("ALTER SCHEMA migrations OWNER TO postgres")
        admin.execute("ALTER TABLE migrations.app OWNER TO postgres")
        admin.execute("ALTER TABLE migrations.history OWNER TO postgres")
        admin.execute(sql.SQL("GRANT USAGE ON SCHEMA migrations TO {}").format(user))
        admin.execute(
            sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA migrations TO {}").format(
                user
            )
        )
        try:
            result = runner.run({"1_a.up.sql": "SELECT 1", "2_b.up.sql": "SELECT 2; COMMIT; SELECT 3"})
            assert result.outcome is Outcome.APPLIED, result.error
        finally:
            admin.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(name, user))


def test_an_unreachable_server_is_tried_for_a_while(runner: Runner) -> None:
    runner.settings = Settings(connect_patience=1.5)
    setup = runner.setup
    setup.parameters["port"] = "1"
    began = time.monotonic()
    with pytest.raises(Unreachable):
        setup.connect()
    assert 0.5 < time.monotonic() - began < 10
    assert any("trying again" in line for line in runner.lines)


def test_a_missing_database_is_unreachable_and_a_wrong_password_is_not(runner: Runner) -> None:
    runner.settings = Settings(connect_patience=0.1)
    with pytest.raises(Unreachable, match="does not exist"):
        _connect(runner, dbname="nowhere")
    with pytest.raises(AuthFailed):
        _connect(runner, password="wrong")


def _connect(runner: Runner, **changed: str) -> None:
    setup = runner.setup
    setup.parameters.update(changed)
    setup.connect().close()


def test_the_session_can_be_seen_and_told_apart(runner: Runner) -> None:
    session = runner.setup.connect()
    try:
        (row,) = session.query(
            "SELECT application_name, current_setting('idle_in_transaction_session_timeout'),"
            " current_setting('client_connection_check_interval') FROM pg_stat_activity"
            " WHERE pid = pg_backend_pid()"
        )
    finally:
        session.close()
    assert row == ("fluxbase-migrate", "0", "5s")


def test_drift_and_late_files_are_told(runner: Runner) -> None:
    runner.run({"1_a.up.sql": "CREATE TABLE a (i int)", "3_c.up.sql": "SELECT 3"})
    result = runner.run(
        {"1_a.up.sql": "CREATE TABLE a (i bigint)", "2_b.up.sql": "SELECT 2", "3_c.up.sql": "SELECT 3"}
    )
    assert result.outcome is Outcome.NO_CHANGE
    assert result.skipped_versions == (2,)
    assert any("1_a.up.sql was edited" in one for one in result.warnings)
    assert any("version 2 is below" in one for one in result.warnings)


def test_a_file_of_twenty_megabytes_runs_in_many_messages(runner: Runner) -> None:
    rows = b"".join(b"INSERT INTO a VALUES (%d, '%s');\n" % (one, b"x" * 2000) for one in range(10_000))
    result = runner.run({"1_a.up.sql": "CREATE TABLE a (i int, t text)", "2_b.up.sql": rows})
    assert result.outcome is Outcome.APPLIED
    assert runner.query("SELECT count(*) FROM a") == [(10_000,)]
