"""Databases of the end-to-end tests: one of its own for each set, on the cluster's server."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import psycopg
from psycopg import sql

GATE = 20250131
GATED = (
    f"DO $$ BEGIN WHILE NOT pg_try_advisory_xact_lock({GATE}) LOOP PERFORM pg_sleep(0.1); END LOOP; END $$;\n"
).encode()
"""A migration that takes long while :meth:`Database.gate` is held; a wait for a lock would be told of."""


@dataclass(frozen=True)
class Database:
    """A database of its own on the cluster's server: the address from here, and the one from inside pods."""

    outside: str
    inside: str
    name: str

    @property
    def as_owner(self) -> str:
        """The address from here, as the login that pods use."""
        user, here = urlsplit(self.inside), urlsplit(self.outside)
        netloc = f"{user.username}:{user.password}@{here.hostname}:{here.port}"
        return here._replace(netloc=netloc).geturl()

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.outside, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def row(self, track: str) -> list[tuple[int, bool]]:
        """The tracking table's content."""
        table = {"system": "fluxbase", "user": "app"}[track]
        if self.query(f"SELECT to_regclass('migrations.{table}')") == [(None,)]:
            return []
        return [
            (version, dirty)
            for version, dirty in self.query(f"SELECT version, dirty FROM migrations.{table}")
        ]

    @contextlib.contextmanager
    def gate(self) -> Iterator[None]:
        """Keep a migration that runs :data:`GATED` waiting."""
        with psycopg.connect(self.outside, autocommit=True) as connection:
            connection.execute("SELECT pg_advisory_lock(%s)", [GATE])
            yield

    def times_applied(self, track: str = "user") -> dict[str, int]:
        """How often each file went up, by the history."""
        table = {"system": "fluxbase", "user": "app"}[track]
        rows = self.query(
            "SELECT file, count(*) FROM migrations.history"
            f" WHERE table_name = '{table}' AND direction = 'up' AND outcome = 'applied' GROUP BY file"
        )
        return {str(file): int(count) for file, count in rows}


def create_database(server_outside: str, inside_host: str) -> Database:
    """Create a database owned by a login of its own that has CREATEROLE and is no superuser.

    ``server_outside`` is a superuser's DSN reachable from here; ``inside_host`` the Service's name and port.
    """
    name = f"e2e_{secrets.token_hex(5)}"
    password = secrets.token_hex(12)
    with psycopg.connect(server_outside, autocommit=True) as connection:
        login = sql.Identifier(name)
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(login, sql.Literal(password))
        )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(login, login))
    outside = urlsplit(server_outside)._replace(path=f"/{name}").geturl()
    return Database(outside, f"postgres://{name}:{password}@{inside_host}/{name}?sslmode=disable", name)


def copy_database(server_outside: str, database: Database) -> Database:
    """A second database as :func:`create_database` made the first, with its content: a restored backup."""
    name = f"e2e_{secrets.token_hex(5)}"
    with psycopg.connect(server_outside, autocommit=True) as connection:
        connection.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(
                *map(sql.Identifier, (name, database.name, database.name))
            )
        )
    outside, inside = (
        urlsplit(address)._replace(path=f"/{name}").geturl()
        for address in (database.outside, database.inside)
    )
    return Database(outside, inside, name)


def recreate_database(server_outside: str, database: Database) -> None:
    """Drop it, whoever is connected, and make it again, empty."""
    with psycopg.connect(server_outside, autocommit=True) as connection:
        name = sql.Identifier(database.name)
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(name, name))


def drop_database(server_outside: str, database: Database) -> None:
    """Remove what :func:`create_database` made; roles that the system track shares stay."""
    with psycopg.connect(server_outside, autocommit=True) as connection:
        name = sql.Identifier(database.name)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        if connection.execute("SELECT FROM pg_roles WHERE rolname = %s", [database.name]).fetchone():
            connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(name))
