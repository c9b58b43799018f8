"""How a server is reached: TLS and certificates, the unix socket, one that starts, one that is a standby."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from dev.peers import environment, write_files
from dev.postgres_server import Server, start_server
from dev.waiting import eventually
from tests.conftest import VERSIONS
from tests.runner.certificates import Authority
from tests.runner.test_cli import PROGRAM, typed
from tests.support.databases import administer, create_database, create_login

SERVER_VERSIONS = [int(version) for version in VERSIONS if version.isdecimal()] or [15]
"""The server that TEST_DATABASE_URL names is not ours to configure."""
NAME = "tls"
"""A database, and the login that owns it, by password; ``by_certificate`` comes in with a certificate."""


@dataclass(frozen=True)
class Place:
    """A server of this test's own, with TLS, and migrations to run on it."""

    server: Server
    trusted: Authority
    other: Authority
    source: Path

    def up(self, user: str = NAME, **settings: str) -> subprocess.CompletedProcess[str]:
        """``up`` with libpq's settings as PG… variables, as a container has them."""
        variables = {
            "DB_HOST": "localhost",
            "DB_PORT": str(self.server.port),
            "DB_NAME": NAME,
            "DB_USER": user,
            "PGHOSTADDR": "127.0.0.1",
            **settings,
        }
        kept = {name: value for name, value in variables.items() if value}
        return typed("--source", str(self.source), "up", directory=self.source, **kept)


@pytest.fixture(scope="module", params=SERVER_VERSIONS, ids=lambda version: f"pg{version}")
def place(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    directory = tmp_path_factory.mktemp("connections")
    trusted, other = Authority.make(directory / "trusted"), Authority.make(directory / "other")
    with start_server(request.param) as server:
        create_login(server.endpoint, NAME, server.password)
        create_login(server.endpoint, "by_certificate", "unused")
        create_database(server.endpoint, NAME, NAME)
        administer(server.endpoint, sql.SQL("GRANT tls TO by_certificate"))
        _serve_tls(server, trusted)
        source = write_files(directory / "source", {"1_a.up.sql": "SELECT 1"})
        place = Place(server, trusted, other, source)
        # Whoever comes first owns the tracking table; no test may depend on having come after another.
        first = place.up(DB_PASSWORD=server.password)
        assert first.returncode == 0, first.stdout
        yield place


def _serve_tls(server: Server, authority: Authority) -> None:
    owner = server.data.stat()
    certificate, key = authority.issue("server", "localhost", "DNS:localhost")
    for source, name in ((certificate, "server.crt"), (key, "server.key"), (authority.root, "root.crt")):
        shutil.copy(source, server.data / name)
        os.chown(server.data / name, owner.st_uid, owner.st_gid)
    rules = server.data / "pg_hba.conf"
    rules.write_text(f"hostssl all by_certificate 127.0.0.1/32 cert\n{rules.read_text()}")
    for setting, value in (("ssl_ca_file", "root.crt"), ("ssl", "on")):
        administer(
            server.endpoint, sql.SQL("ALTER SYSTEM SET {} = {}").format(sql.Identifier(setting), value)
        )
    server.stop(keep=True)
    server.start()


@pytest.fixture
def password(place: Place) -> str:
    return place.server.password


def test_a_server_is_verified_by_its_authority_and_its_name(place: Place, password: str) -> None:
    full = {"DB_PASSWORD": password, "DB_SSLMODE": "verify-full"}
    assert place.up(**full, PGSSLROOTCERT=str(place.trusted.root)).returncode == 0
    strange = place.up(**full, PGSSLROOTCERT=str(place.other.root))
    assert strange.returncode == 1
    assert "certificate verify failed" in strange.stdout
    renamed = place.up(**full, PGSSLROOTCERT=str(place.trusted.root), DB_HOST="other.example")
    assert renamed.returncode == 1
    assert 'does not match host name "other.example"' in renamed.stdout
    assert "retrying" not in strange.stdout + renamed.stdout
    assert password not in strange.stdout + renamed.stdout


def test_the_url_may_say_all_of_it(place: Place, password: str) -> None:
    root = f"sslmode=verify-full&sslrootcert={place.trusted.root}&hostaddr=127.0.0.1"
    url = f"postgres://{NAME}:{password}@localhost:{place.server.port}/{NAME}?{root}"
    assert typed("version", "--database-url", url, directory=place.source).stdout.strip() == "1"


def test_a_client_logs_in_with_its_certificate(place: Place) -> None:
    certificate, key = place.trusted.issue("client", "by_certificate")
    settings = {
        "DB_SSLMODE": "verify-full",
        "PGSSLROOTCERT": str(place.trusted.root),
        "PGSSLCERT": str(certificate),
        "PGSSLKEY": str(key),
    }
    assert place.up("by_certificate", **settings).returncode == 0


@pytest.mark.parametrize(
    ("issuer", "common_name", "words"),
    [
        ("trusted", "somebody", "authentication failed"),
        ("other", "by_certificate", "TLS certificate verification failed"),
        ("none", "", "authentication failed"),
    ],
)
def test_a_wrong_client_certificate_is_told_and_not_tried_for_a_minute(
    place: Place, tmp_path: Path, issuer: str, common_name: str, words: str
) -> None:
    settings = {"DB_SSLMODE": "verify-full", "PGSSLROOTCERT": str(place.trusted.root)}
    if issuer != "none":
        authority: Authority = getattr(place, issuer)
        certificate, key = authority.issue("wrong", common_name)
        settings |= {"PGSSLCERT": str(certificate), "PGSSLKEY": str(key)}
    done = place.up("by_certificate", **settings)
    assert done.returncode == 1
    assert words in done.stdout
    assert "retrying" not in done.stdout


def test_a_key_that_others_may_read_is_refused_by_name(place: Place) -> None:
    certificate, key = place.trusted.issue("open", "by_certificate")
    key.chmod(0o644)
    settings = {"DB_SSLMODE": "require", "PGSSLCERT": str(certificate), "PGSSLKEY": str(key)}
    done = place.up("by_certificate", **settings)
    assert done.returncode == 1
    assert str(key) in done.stdout
    assert "retrying" not in done.stdout


@pytest.mark.parametrize("form", ["parts", "url"])
def test_the_unix_socket_is_a_host(place: Place, form: str) -> None:
    directory, port = str(place.server.socket_directory), str(place.server.port)
    if form == "parts":
        done = place.up(DB_HOST=directory, PGHOSTADDR="")
        assert done.returncode == 0, done.stdout
        return
    url = f"postgres://{NAME}@/{NAME}?host={directory}&port={port}"
    done = typed("--source", str(place.source), "up", directory=place.source, DATABASE_URL=url)
    assert done.returncode == 0, done.stdout


def test_a_server_that_is_not_there_yet_is_waited_for(place: Place, password: str, tmp_path: Path) -> None:
    log = tmp_path / "log"
    place.server.kill()
    variables = environment({"DATABASE_URL": place.server.dsn(NAME, NAME, password)})
    argv = [PROGRAM, "--source", str(place.source), "up"]
    with (
        log.open("w") as output,
        subprocess.Popen(argv, env=variables, cwd=tmp_path, stdout=output) as process,
    ):
        try:
            eventually("it to be waiting", lambda: "retrying" in log.read_text())
            place.server.start()
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
    assert log.read_text().count("retrying") == 1
    assert password not in log.read_text()


def test_a_signal_ends_the_wait_for_a_server(place: Place, tmp_path: Path) -> None:
    log = tmp_path / "log"
    variables = environment({"DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing"})
    argv = [PROGRAM, "--source", str(place.source), "up"]
    with (
        log.open("w") as output,
        subprocess.Popen(argv, env=variables, cwd=tmp_path, stdout=output) as process,
    ):
        try:
            eventually("it to be waiting", lambda: "retrying" in log.read_text())
            process.terminate()
            assert process.wait(30) == 1
        finally:
            process.kill()
    assert "SIGTERM received while connecting" in log.read_text()


def test_a_signal_ends_an_attempt_to_which_no_server_answers(tmp_path: Path) -> None:
    """Without a limit for the attempt, libpq would wait for two minutes, at each of the addresses."""
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as silent:
        place = f"127.0.0.1:{silent.getsockname()[1]}"
        url = f"postgres://nobody@{place},{place}/nothing?connect_timeout=0"
        argv = [PROGRAM, "--database-url", url, "force", "1"]
        with (
            log.open("w") as output,
            subprocess.Popen(argv, env=environment({}), cwd=tmp_path, stdout=output) as process,
        ):
            try:
                silent.settimeout(60)
                with silent.accept()[0]:
                    process.terminate()
                    assert process.wait(60) == 1
            finally:
                process.kill()
    assert "SIGTERM received while connecting" in log.read_text()


def test_a_standby_is_waited_for_until_it_is_the_primary(place: Place, password: str) -> None:
    assert place.up(DB_PASSWORD=password, DB_SSLMODE="require").returncode == 0
    with _standby(place.server) as standby:
        with psycopg.connect(standby.dsn(NAME, NAME, password)) as connection:
            recovers = connection.execute("SELECT pg_is_in_recovery()").fetchone()
        assert recovers == (True,)
        url = standby.dsn(NAME, NAME, password)
        words = ("--source", str(place.source), "--connect-timeout", "1", "up")
        done = typed(*words, directory=place.source, DATABASE_URL=url)
        assert done.returncode == 1
        assert "retrying" in done.stdout
        assert "the server is a standby" in done.stdout
        assert "target_session_attrs=read-write" in done.stdout
        _promoted_while_waited_for(place, standby, url)
        both = f"postgres://{NAME}:{password}@127.0.0.1:{standby.port},127.0.0.1:{place.server.port}/{NAME}"
        found = typed(
            "version", directory=place.source, DATABASE_URL=f"{both}?target_session_attrs=read-write"
        )
        assert found.stdout.strip() == "1"


def _promoted_while_waited_for(place: Place, standby: Server, url: str) -> None:
    with _waiting(place, url) as (process, log):
        administer(standby.endpoint, sql.SQL("SELECT pg_promote()"))
        assert process.wait(60) == 0, log.read_text()


@contextmanager
def _waiting(place: Place, url: str) -> Iterator[tuple[subprocess.Popen[bytes], Path]]:
    """An ``up`` that waits for its server."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "log"
        argv = [PROGRAM, "--source", str(place.source), "up"]
        variables = environment({"DATABASE_URL": url})
        with (
            log.open("w") as output,
            subprocess.Popen(argv, env=variables, cwd=directory, stdout=output) as process,
        ):
            try:
                eventually("it to be waiting", lambda: "retrying" in log.read_text())
                yield process, log
            finally:
                process.kill()


def test_a_server_that_is_read_only_for_a_while_is_waited_for(place: Place, password: str) -> None:
    _read_only(place.server, "on")
    try:
        with _waiting(place, place.server.dsn(NAME, NAME, password)) as (process, log):
            assert "the server accepts no writes" in log.read_text()
            _read_only(place.server, "off")
            assert process.wait(60) == 0, log.read_text()
    finally:
        _read_only(place.server, "off")


def _read_only(server: Server, value: str) -> None:
    for statement in (
        sql.SQL("ALTER SYSTEM SET default_transaction_read_only = {}").format(sql.Literal(value)),
        sql.SQL("SELECT pg_reload_conf()"),
    ):
        administer(server.endpoint, statement)
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        show = "SHOW default_transaction_read_only"
        eventually("it to be read", lambda: connection.execute(show).fetchone() == (value,))


def test_a_refused_login_is_told_once(place: Place) -> None:
    """``sslmode=prefer`` tries with and without TLS, and a name may have several addresses."""
    done = place.up(DB_PASSWORD="wrong", PGHOSTADDR="", PGHOST="")
    assert done.returncode == 1
    assert done.stdout.count("password authentication failed") == 1
    assert "SQLSTATE 28P01" in done.stdout
    assert "retrying" not in done.stdout
    assert "LOCATION" not in done.stdout


@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("\n", "the password ends with a line break"),
        (" ", "the password ends with white space"),
        ("", ""),
    ],
)
def test_white_space_in_a_password_is_told_when_the_login_is_refused(
    place: Place, password: str, after: str, said: str
) -> None:
    done = place.up(DB_PASSWORD="", PGPASSWORD=(password if after else "wrong") + after)
    assert done.returncode == 1
    assert said in done.stdout
    assert ("the password ends" in done.stdout) == bool(after)
    assert password not in done.stdout


def test_a_password_may_end_with_white_space(place: Place) -> None:
    create_login(place.server.endpoint, "blank", "a blank ")
    administer(place.server.endpoint, sql.SQL("GRANT {} TO blank").format(sql.Identifier(NAME)))
    assert place.up("blank", DB_PASSWORD="a blank ").returncode == 0
    assert place.up("blank\n", DB_PASSWORD="a blank ").returncode == 0


def _standby(primary: Server) -> Server:
    """A streaming standby: a copy of the primary's data, made while that is stopped."""
    standby = start_server(primary.version)
    try:
        standby.stop(keep=True)
        shutil.rmtree(standby.data)
        primary.stop(keep=True)
        subprocess.run(["cp", "-a", str(primary.data), str(standby.data)], check=True)
        primary.start()
        source = f"host={primary.socket_directory} port={primary.port} user=postgres"
        with (standby.data / "postgresql.conf").open("a") as configuration:
            configuration.write(f"primary_conninfo = '{source}'\n")
        (standby.data / "standby.signal").touch()
        standby.password = primary.password
        standby.start()
        streams = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        with psycopg.connect(primary.dsn(), autocommit=True) as connection:
            eventually("the standby to stream", lambda: connection.execute(streams).fetchone() == (1,))
    except BaseException:
        standby.stop("immediate")
        raise
    return standby
