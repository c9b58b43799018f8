"""Servers and tables that cannot be used are refused with the reason, and nothing is touched."""

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

import psycopg
import pytest
from psycopg import sql

from dev.peers import write_files
from fluxbase_migrations.core.errors import AuthFailed, MigrationError, ServerRefused, Unreachable
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.runner.commands.track_run import RunRequest, run_track
from fluxbase_migrations.runner.connection import libpq, session
from fluxbase_migrations.runner.connection.connect_errors import classify
from fluxbase_migrations.runner.connection.session import Settings
from fluxbase_migrations.runner.execution.engine import Options
from fluxbase_migrations.runner.recovery.case import Policy
from tests.runner.test_cli import typed
from tests.runner.track import Runner, numbered, source

OTHER_TABLE = "id serial, namespace text, note text"


def refused(runner: Runner) -> str:
    result = runner.run(numbered("CREATE TABLE a (i int)"))
    assert result.outcome is Outcome.SERVER_REFUSED
    assert result.error is not None
    assert not runner.exists("a")
    return f"{result.error.message} {result.error.hint}"


def test_another_kind_of_tracking_table_is_named_with_its_columns(runner: Runner) -> None:
    runner.query(f"CREATE SCHEMA migrations; CREATE TABLE migrations.app ({OTHER_TABLE})")
    assert "namespace text" in refused(runner)
    assert not runner.exists("migrations.history")


def test_another_kind_of_history_is_named_with_its_columns(runner: Runner) -> None:
    runner.query("CREATE SCHEMA migrations; CREATE TABLE migrations.history (i int)")
    assert "it has i integer" in refused(runner)


def test_two_tracking_rows_are_refused(runner: Runner) -> None:
    runner.run(numbered("SELECT 1"))
    runner.query("INSERT INTO migrations.app VALUES (7, false)")
    assert "more than one row" in refused(runner)


@pytest.mark.parametrize("of", ["ROLE", "DATABASE"])
def test_a_read_only_default_of_the_login_is_refused(runner: Runner, of: str) -> None:
    runner.query(f"ALTER {of} {runner.database.name} SET default_transaction_read_only = on")
    assert "default_transaction_read_only" in refused(runner)
    assert not any("retrying" in line for line in runner.lines)


def test_a_server_that_becomes_read_only_after_it_was_looked_at_is_connected_to_again(runner: Runner) -> None:
    setup, sessions = runner.setup, []

    def connect() -> session.Session:
        sessions.append(setup.connect())
        if len(sessions) == 1:
            sessions[0].query("SET default_transaction_read_only = on")
        return sessions[-1]

    wish = RunRequest(Track.USER, Options(Policy()))
    result = run_track(wish, source(numbered("CREATE TABLE a (i int)")), connect, runner.log, runner.stop)
    assert result.outcome is Outcome.APPLIED, result.error
    assert len(sessions) == 2


def test_a_files_own_read_only_transaction_is_the_files_error(runner: Runner) -> None:
    body = "SET LOCAL transaction_read_only = on; CREATE TABLE a (i int)"
    result = runner.run(numbered(body))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.sql_state == "25006"


@pytest.mark.parametrize("table", ["migrations.app", "migrations.history"])
def test_a_table_whose_rows_policies_may_hide_is_refused_by_name(runner: Runner, table: str) -> None:
    runner.run({"1_a.up.sql": "SELECT 1"})
    with psycopg.connect(runner.database.admin_dsn, autocommit=True) as admin:
        for statement in (
            f"ALTER TABLE {table} OWNER TO postgres",
            f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY",
            f"GRANT ALL ON {table} TO {runner.database.user}",
        ):
            admin.execute(statement.encode())
    result = runner.run({"1_a.up.sql": "SELECT 1", "2_a.up.sql": "CREATE TABLE a (i int)"})
    assert result.outcome is Outcome.SERVER_REFUSED
    assert result.error is not None
    assert f"row level security of {table}" in result.error.message
    assert not runner.exists("a")


def test_row_level_security_does_not_concern_the_owner(runner: Runner) -> None:
    runner.run({"1_a.up.sql": "SELECT 1"})
    runner.query("ALTER TABLE migrations.app ENABLE ROW LEVEL SECURITY")
    assert runner.run({"1_a.up.sql": "SELECT 1"}).outcome is Outcome.NO_CHANGE


@pytest.mark.parametrize("words", [("up",), ("version",), ("force", "1"), ("run",)], ids=" ".join)
def test_the_history_is_no_tracking_table(runner: Runner, tmp_path: Path, words: tuple[str, ...]) -> None:
    files = str(write_files(tmp_path / "source", numbered("CREATE TABLE a (i int)")))
    given = ("--table", "migrations.history", "--source", files)
    done = typed(*words, *given, directory=tmp_path, DATABASE_URL=runner.database.dsn)
    assert done.returncode == 1
    assert "migrations.history is the history of the migrations" in done.stdout
    assert not runner.exists("a")


SAID: dict[str, tuple[type[MigrationError], str]] = {
    "28P01": (AuthFailed, "Passwort-Authentifizierung für Benutzer »shop« fehlgeschlagen"),
    "28000": (AuthFailed, 'ロール"shop"は存在しません'),
    "3D000": (Unreachable, "la base de données « shop » n'existe pas"),
    "53300": (Unreachable, "извините, уже слишком много клиентов"),
    "57P03": (Unreachable, "le système de bases de données se lance"),
    "42704": (ServerRefused, "nicht erkannter Konfigurationsparameter »geqo«"),
}


@pytest.mark.parametrize("code", SAID)
def test_what_a_refused_connection_means_does_not_depend_on_the_servers_language(code: str) -> None:
    kind, words = SAID[code]
    with saying(code, words) as port, pytest.raises(psycopg.OperationalError) as failed:
        libpq.connect(f"host=127.0.0.1 port={port} user=shop")
    error = classify(failed.value, {}, [])
    assert type(error) is kind
    assert error.info.sql_state == code
    assert error.info.message.count(words) == 1


@contextmanager
def saying(code: str, words: str) -> Iterator[int]:
    """The end of every connection attempt, in the bytes that a server sends, whatever its language."""
    fields = f"SFATAL\0VFATAL\0C{code}\0M{words}\0Fauth.c\0L334\0Rauth_failed\0\0".encode()
    report = b"E" + (len(fields) + 4).to_bytes(4, "big") + fields

    def answer(connection: socket.socket) -> None:
        with connection:
            while startup := connection.recv(4096):
                if startup[4:8] == (80877103).to_bytes(4, "big"):  # asks for TLS
                    connection.sendall(b"N")
                    continue
                connection.sendall(report)
                return

    def serve() -> None:
        with suppress(OSError):
            while True:
                answer(listener.accept()[0])

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=serve, daemon=True)
        thread.start()
        yield int(listener.getsockname()[1])
        listener.shutdown(socket.SHUT_RDWR)
    thread.join(10)


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
    assert any("retrying" in line for line in runner.lines)


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


ODD_DEFAULTS = {
    "quote_all_identifiers": "on",
    "standard_conforming_strings": "off",
    "array_nulls": "off",
    "transform_null_equals": "on",
    "DateStyle": "German, DMY",
    "IntervalStyle": "sql_standard",
    "TimeZone": "Asia/Kolkata",
    "bytea_output": "escape",
    "extra_float_digits": "-5",
    "client_encoding": "LATIN1",
    "search_path": "nowhere",
}


def test_what_a_login_has_set_does_not_change_what_is_read_and_recorded(
    runner: Runner, tmp_path: Path
) -> None:
    user = sql.Identifier(runner.database.user)
    with psycopg.connect(runner.database.dsn, autocommit=True) as admin:
        for name, value in ODD_DEFAULTS.items():
            admin.execute(
                sql.SQL("ALTER ROLE {} SET {} = {}").format(user, sql.Identifier(name), sql.Literal(value))
            )
    files = {
        "1_ü.up.sql": "CREATE TABLE public.a (i int)",
        "2_b.up.sql": "VACUUM public.a; SELECT 'it''s' / 2",
    }
    assert runner.run({"1_ü.up.sql": files["1_ü.up.sql"]}).outcome is Outcome.APPLIED
    assert runner.run(files).outcome is Outcome.SQL_ERROR
    files["2_b.up.sql"] = files["2_b.up.sql"].replace("'it''s'", "4")
    assert runner.run(files).outcome is Outcome.APPLIED
    source = write_files(tmp_path / "source", files)
    done = typed("status", "--source", str(source), directory=source, DATABASE_URL=runner.database.dsn)
    assert "user: migrations.app: version 2; 2 applied" in done.stdout, done


def test_drift_and_late_files_are_told(runner: Runner) -> None:
    runner.run({"1_a.up.sql": "CREATE TABLE a (i int)", "3_c.up.sql": "SELECT 3"})
    result = runner.run(
        {"1_a.up.sql": "CREATE TABLE a (i bigint)", "2_b.up.sql": "SELECT 2", "3_c.up.sql": "SELECT 3"}
    )
    assert result.outcome is Outcome.NO_CHANGE
    assert result.skipped_versions == (2,)
    assert any("1_a.up.sql was edited" in one for one in result.warnings)
    assert any("version 2 is below" in one for one in result.warnings)


def test_another_file_of_an_applied_version_is_not_called_an_edit(runner: Runner) -> None:
    runner.run({"1_a.up.sql": "CREATE TABLE a (i int)", "2_b.up.sql": "SELECT 2"})
    result = runner.run({"1_other.up.sql": "SELECT 1", "2_renamed.up.sql": "SELECT 2"})
    assert result.warnings == (
        "version 1 was applied as 1_a.up.sql, not 1_other.up.sql; the database keeps what that did",
    )


def test_a_file_of_twenty_megabytes_runs_in_many_messages(runner: Runner) -> None:
    rows = b"".join(b"INSERT INTO a VALUES (%d, '%s');\n" % (one, b"x" * 2000) for one in range(10_000))
    result = runner.run({"1_a.up.sql": "CREATE TABLE a (i int, t text)", "2_b.up.sql": rows})
    assert result.outcome is Outcome.APPLIED
    assert runner.query("SELECT count(*) FROM a") == [(10_000,)]
