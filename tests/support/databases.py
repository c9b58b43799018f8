"""Databases made for tests, and what can be seen of their locks, sessions and indexes."""

import contextlib
import secrets
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, LiteralString
from urllib.parse import parse_qsl, unquote, urlsplit

import psycopg
from psycopg import sql

from dev.postgres_server import Endpoint

PLATFORM_ROLES = ("anon", "authenticated", "service_role")
"""What the system track makes on the whole server."""


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

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        """Ask it as the server's superuser."""
        with psycopg.connect(self.admin_dsn, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []


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


def lock_id(table: tuple[str, str], database: str) -> int:
    """golang-migrate's: a checksum of schema, table and database name, salted, in 32 bits."""
    return zlib.crc32("\0".join((*table, database)).encode()) * 1486364155 % 2**32


def lock_waiters(observer: psycopg.Connection) -> int:
    """How many sessions of this database wait for an advisory lock inside PostgreSQL."""
    found = observer.execute(
        "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    ).fetchone()
    return int(found[0]) if found else 0


def clients(observer: psycopg.Connection) -> int:
    """How many processes are connected to this database, the observer included."""
    found = observer.execute(
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND backend_type = 'client backend'"
    ).fetchone()
    return int(found[0]) if found else 0


def invalid_indexes(database: Database) -> list[str]:
    """What a failed CREATE INDEX CONCURRENTLY left."""
    with psycopg.connect(database.dsn) as connection:
        rows = connection.execute("SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid")
        return [name for (name,) in rows]
