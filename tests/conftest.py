"""What every test may use: PostgreSQL servers, and a fresh database on them.

PG_VERSIONS ("15 18" unless set) names the major versions to run on; TEST_DATABASE_URL names a running server
and a superuser of it instead.
"""

import contextlib
import os
import secrets
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from typing import LiteralString
from urllib.parse import parse_qsl, unquote, urlsplit

import hypothesis
import psycopg
import pytest
from psycopg import sql

from dev.postgres_server import Endpoint, start_server
from tests.support import counts

EXTERNAL = os.environ.get("TEST_DATABASE_URL", "")
VERSIONS = ["external"] if EXTERNAL else os.environ.get("PG_VERSIONS", "15 18").replace(",", " ").split()
# Of the chaos tests, and of the files that the splitter is tried on.
SEEDS = ("CHAOS_SEED", "SPLIT_SEED")
# No time limit for an example: machines are shared.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")
# What the system track makes on the whole server.
PLATFORM_ROLES = ("anon", "authenticated", "service_role")


@dataclass(frozen=True)
class Database:
    """A database made for one test, and the login that owns it: CREATEROLE, no superuser."""

    server: Endpoint
    name: str
    user: str
    password: str

    @property
    def dsn(self) -> str:
        """As the owner."""
        return self.server.dsn(self.name, self.user, self.password)

    @property
    def admin_dsn(self) -> str:
        """The same database as the server's superuser."""
        return self.server.dsn(self.name)


def pytest_configure() -> None:
    """One seed for the random tests of all processes, drawn before they are started."""
    # Under nohup it is ignored, by every program that a test starts, too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in SEEDS:
        os.environ.setdefault(name, secrets.token_hex(4))


def pytest_report_header() -> str:
    return "seeds: " + " ".join(f"{name}={os.environ[name]}" for name in SEEDS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many tests passed on which interpreter."""
    if hasattr(config, "workerinput"):  # one of xdist's, whose tests its parent counts
        return
    terminalreporter.section("interpreters")
    for line in counts.lines(terminalreporter.stats):
        terminalreporter.line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the cluster's tests: they take longest, and mostly wait."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"pg{version}")
def postgres(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """A running server of each version asked for, shared by all tests: leave nothing behind on it."""
    if request.param == "external":
        yield external_server(EXTERNAL)
        return
    with start_server(int(request.param)) as server:
        yield server.endpoint


@pytest.fixture
def database(postgres: Endpoint) -> Iterator[Database]:
    """A fresh database owned by a fresh login; both are dropped afterwards."""
    with fresh_database(postgres) as made:
        yield made


@contextlib.contextmanager
def fresh_database(server: Endpoint) -> Iterator[Database]:
    """For fixtures of another scope than `database`, and tests that need a second one."""
    name = f"test_{secrets.token_hex(6)}"
    made = Database(server, name, name, secrets.token_hex(8))
    create_login(server, made.user, made.password)
    create_database(server, made.name, made.user)
    yield made
    drop_database(server, made.name)
    drop_platform_roles(server)
    drop_role(server, made.user)


def administer(server: Endpoint, statement: sql.SQL | sql.Composed, database: str = "postgres") -> None:
    """Run one statement as the superuser, outside a transaction."""
    with psycopg.connect(server.dsn(database), autocommit=True) as connection:
        connection.execute(statement)


def create_login(
    server: Endpoint, name: str, password: str, attributes: LiteralString = "CREATEROLE"
) -> None:
    statement = sql.SQL("CREATE ROLE {} LOGIN {} PASSWORD {}")
    administer(server, statement.format(sql.Identifier(name), sql.SQL(attributes), sql.Literal(password)))


def create_database(server: Endpoint, name: str, owner: str) -> None:
    # template0 is never connected to, so several tests can copy it at once.
    statement = sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE template0")
    administer(server, statement.format(sql.Identifier(name), sql.Identifier(owner)))
    if server.version < 15:
        # Since 15 it belongs to the database's owner anyhow.
        administer(server, sql.SQL("ALTER SCHEMA public OWNER TO {}").format(sql.Identifier(owner)), name)


def drop_database(server: Endpoint, name: str) -> None:
    administer(server, sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def drop_role(server: Endpoint, name: str) -> None:
    """Drop a role that owns nothing any more, along with the memberships it has granted."""
    administer(server, sql.SQL("DROP OWNED BY {}").format(sql.Identifier(name)))
    administer(server, sql.SQL("DROP ROLE {}").format(sql.Identifier(name)))


def drop_platform_roles(server: Endpoint) -> None:
    """Drop what the system track made on the whole server, unless another database still needs it."""
    for name in PLATFORM_ROLES:
        with contextlib.suppress(psycopg.errors.DependentObjectsStillExist):
            administer(server, sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


def external_server(url: str) -> Endpoint:
    """The server that TEST_DATABASE_URL names."""
    with psycopg.connect(url) as connection:
        version = connection.info.server_version // 10000
    parts = urlsplit(url)
    return Endpoint(
        version=version,
        host=parts.hostname or "127.0.0.1",
        port=parts.port or 5432,
        user=unquote(parts.username or "postgres"),
        password=unquote(parts.password or ""),
        parameters=dict(parse_qsl(parts.query)),
    )
