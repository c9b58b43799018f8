"""Databases with the system track applied, and one on a server that knows nothing of it yet."""

from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from dev.postgres_server import Endpoint
from tests.support.databases import PLATFORM_ROLES, Database, administer, fresh_database
from tests.system.track import Connection, migrate


@pytest.fixture
def database(database: Database) -> Database:
    """As everywhere, on a server where no database has had the system track."""
    for name in PLATFORM_ROLES:
        administer(database.server, sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(name)))
    return database


@pytest.fixture
def platform(database: Database) -> Database:
    """A database of one's own after the whole system track."""
    migrate(database.dsn)
    return database


@pytest.fixture(scope="module")
def standing(postgres: Endpoint) -> Iterator[Database]:
    """A module's database after the whole system track, for tests that leave it as it is."""
    with fresh_database(postgres) as made:
        migrate(made.dsn)
        yield made


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
