"""Databases of one server migrated at the same moment: they share the roles and no lock."""

import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from dev.postgres_server import Endpoint
from tests.support.databases import (
    PLATFORM_ROLES,
    Database,
    create_database,
    create_login,
    drop_database,
    drop_platform_roles,
    drop_role,
)
from tests.system.conftest import roles
from tests.system.track import Connection, connect, down, up

DATABASES = 6
ROUNDS = 4
TIMEOUT = 60.0  # seconds, for one round


@pytest.fixture(scope="module", params=["one login", "a login each"])
def fleet(request: pytest.FixtureRequest, postgres: Endpoint) -> Iterator[list[Database]]:
    """Six empty databases, and no roles yet."""
    drop_platform_roles(postgres)
    prefix = f"test_fleet_{secrets.token_hex(4)}"
    password = secrets.token_hex(8)
    shared = request.param == "one login"
    made = []
    for number in range(DATABASES):
        login = prefix if shared else f"{prefix}_{number}"
        if number == 0 or not shared:
            create_login(postgres, login, password)
        made.append(Database(postgres, f"{prefix}_{number}", login, password))
        create_database(postgres, made[-1].name, login)
    yield made
    for database in made:
        drop_database(postgres, database.name)
    drop_platform_roles(postgres)
    for login in {database.user for database in made}:
        drop_role(postgres, login)


def together(work: list[tuple[Database, Callable[[Connection], None]]]) -> None:
    """Do it all at one moment, a connection each; the first error is raised."""
    gate = Barrier(len(work))

    def one(database: Database, task: Callable[[Connection], None]) -> None:
        with connect(database.dsn) as connection:
            gate.wait(TIMEOUT)
            task(connection)

    with ThreadPoolExecutor(len(work)) as pool:
        running = [pool.submit(one, database, task) for database, task in work]
        for future in running:
            future.result(TIMEOUT)


def test_none_fails_when_no_role_exists_yet(fleet: list[Database]) -> None:
    server = fleet[0].server
    for _ in range(ROUNDS):
        together([(database, up) for database in fleet])
        assert roles(server) == set(PLATFORM_ROLES)
        together([(database, down) for database in fleet])
        # Each may have seen that another, about to commit as well, still needed a role.
        drop_platform_roles(server)
        assert roles(server) == set()


def test_none_fails_when_others_roll_back_and_drop_the_roles(fleet: list[Database]) -> None:
    server = fleet[0].server
    one, others = fleet[0], fleet[1:3]
    for _ in range(ROUNDS * 2):
        together([(one, up)])
        together([(one, down), *((database, up) for database in others)])
        assert roles(server) == set(PLATFORM_ROLES)
        together([(database, down) for database in others])
        drop_platform_roles(server)
