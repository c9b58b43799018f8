"""Databases of the end-to-end tests: one of its own for each set, on the cluster's server."""

import contextlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
from psycopg import sql

from dev.postgres_server import Endpoint
from tests.support import databases

GATE = 20250131
GATED = (
    f"DO $$ BEGIN WHILE NOT pg_try_advisory_xact_lock({GATE}) LOOP PERFORM pg_sleep(0.1); END LOOP; END $$;\n"
).encode()
"""A migration that takes long while :meth:`Database.gate` is held; a wait for a lock would be told of."""


@dataclass(frozen=True)
class Database(databases.Database):
    """A database of its own on the cluster's server, which has another address inside of pods."""

    inside_host: str
    """The Service's name and port."""

    @property
    def inside(self) -> str:
        """The address from inside pods, as the owner."""
        return f"postgres://{self.user}:{self.password}@{self.inside_host}/{self.name}?sslmode=disable"

    def named(self, name: str) -> "Database":
        """Another one with the same owner."""
        return replace(self, name=name)

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
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
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


def create_database(server: Endpoint, inside_host: str) -> Database:
    """Create a database owned by a login of its own that has CREATEROLE and is no superuser."""
    name = _fresh()
    database = Database(server, name, name, secrets.token_hex(12), inside_host)
    databases.create_login(server, name, database.password)
    databases.create_database(server, name, name)
    return database


def copy_database(database: Database) -> Database:
    """A second database as :func:`create_database` made the first, with its content: a restored backup."""
    copy = database.named(_fresh())
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
    names = map(sql.Identifier, (copy.name, database.name, database.user))
    databases.administer(database.server, statement.format(*names))
    return copy


def recreate_database(database: Database) -> None:
    """Drop it, whoever is connected, and make it again, empty."""
    databases.drop_database(database.server, database.name)
    databases.create_database(database.server, database.name, database.user)


def drop_database(database: Database) -> None:
    """Remove what :func:`create_database` made; roles that the system track shares stay."""
    databases.drop_database(database.server, database.name)
    if database.name == database.user:
        disable = sql.SQL("ALTER ROLE {} NOLOGIN").format(sql.Identifier(database.user))
        databases.administer(database.server, disable)


def _fresh() -> str:
    return f"e2e_{secrets.token_hex(5)}"
