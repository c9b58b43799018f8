"""A database with the system track applied, and servers on which its roles do not exist yet."""

import psycopg
import pytest
from psycopg import sql

from tests.conftest import PLATFORM_ROLES, Database, administer
from tests.postgres_server import Endpoint
from tests.system.track import Connection, migrate


@pytest.fixture(autouse=True)
def _no_platform_roles(request: pytest.FixtureRequest) -> None:
    """Every test here starts where no database of the server has had the system track."""
    if "postgres" in request.fixturenames:
        server: Endpoint = request.getfixturevalue("postgres")
        for name in PLATFORM_ROLES:
            administer(server, sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))


@pytest.fixture
def platform(database: Database) -> Database:
    """The database after the whole system track."""
    migrate(database.dsn)
    return database


def roles(server: Endpoint) -> set[str]:
    """Which of the platform's roles exist."""
    with psycopg.connect(server.dsn()) as connection:
        rows = connection.execute(
            "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", [list(PLATFORM_ROLES)]
        ).fetchall()
    return {name for (name,) in rows}


def bypasses_policies(connection: Connection, role: str) -> bool:
    (bypasses,) = connection.execute(
        "SELECT rolbypassrls FROM pg_roles WHERE rolname = %s", [role]
    ).fetchall()[0]
    return bool(bypasses)
