"""Behind pgbouncer: refused in transaction mode, with the reason; at home in session mode."""

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dev.peers import write_files
from dev.waiting import eventually
from fluxbase_migrations.core.result import Outcome
from tests.runner.test_cli import typed
from tests.runner.track import Runner, numbered
from tests.support.databases import Database

PROGRAM = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def pooler(database: Database, mode: str, size: int = 20) -> Iterator[Database]:
    """The database behind a pgbouncer of that mode."""
    assert PROGRAM is not None, "pgbouncer is missing: apt-get install pgbouncer"
    port, server = free_port(), database.server
    with tempfile.TemporaryDirectory() as name:
        config = Path(name) / "pgbouncer.ini"
        config.write_text(
            f"[databases]\n* = host={server.host} port={server.port}"
            f" user={database.user} password={database.password}\n[pgbouncer]\nlisten_addr=127.0.0.1\n"
            f"listen_port={port}\nauth_type=any\npool_mode={mode}\nunix_socket_dir=\nmax_client_conn=20\n"
            f"default_pool_size={size}\n"
        )
        argv, user = [PROGRAM, "-q", str(config)], None
        if os.getuid() == 0:  # it refuses to run as root
            user = "nobody"
            os.chown(name, pwd.getpwnam(user).pw_uid, -1)
        with subprocess.Popen(argv, user=user, stderr=subprocess.DEVNULL) as process:
            try:
                endpoint = type(server)(
                    server.version, "127.0.0.1", port, server.user, "", {"sslmode": "disable"}
                )
                behind = Database(endpoint, database.name, database.user, "any")
                eventually("pgbouncer to answer", lambda: _answers(behind))
                yield behind
            finally:
                process.terminate()


def _answers(database: Database) -> bool:
    try:
        psycopg.connect(database.dsn).close()
    except psycopg.OperationalError:
        return False
    return True


@pytest.mark.parametrize("size", [20, 1])
def test_transaction_mode_is_refused_with_the_reason(database: Database, size: int) -> None:
    with pooler(database, "transaction", size) as behind:
        result = Runner(behind).run(numbered("CREATE TABLE a (i int)"))
    assert result.outcome is Outcome.SERVER_REFUSED
    assert result.error is not None
    assert "pooler in transaction mode" in result.error.message
    assert not Runner(database).exists("a")


def test_session_mode_works_and_settings_survive_each_files_end(database: Database) -> None:
    files = numbered(
        "SET statement_timeout = '1h'; CREATE TABLE a (i int)",
        "CREATE TABLE b AS SELECT current_setting('statement_timeout') AS t; COMMIT; VACUUM b",
    )
    user = database.user
    Runner(database).query(f"ALTER ROLE {user} SET statement_timeout = '7min'")
    with pooler(database, "session") as behind:
        result = Runner(behind).run(files)
        assert result.outcome is Outcome.APPLIED, result.error
    assert Runner(database).query("SELECT t FROM b") == [("0",)]


def test_a_urls_settings_reach_a_session_behind_a_pooler_and_survive_each_files_end(
    database: Database, tmp_path: Path
) -> None:
    Runner(database).query("CREATE SCHEMA other")
    show = "SELECT current_setting('search_path') AS path, current_setting('app.tenant') AS tenant"
    files = {"1_a.up.sql": "SET search_path = public", "2_b.up.sql": f"CREATE TABLE seen AS {show}"}
    source = str(write_files(tmp_path / "source", files))
    with pooler(database, "session") as behind:
        url = f"{behind.dsn}&search_path=other,public&app.tenant=a%3Bb&x-migrations-table=v"
        done = typed("up", "--source", source, directory=tmp_path, DATABASE_URL=url)
        assert done.returncode == 0, done.stdout
        refused = typed("version", directory=tmp_path, DATABASE_URL=f"{url}&colour=hidden")
    assert Runner(database).query("SELECT path, tenant FROM other.seen") == [("other,public", "a;b")]
    assert Runner(database).query("SELECT version FROM other.v") == [(2,)]
    assert refused.returncode == 1
    assert "parameter colour of the database URL" in refused.stdout
    assert "hidden" not in refused.stdout
