"""What can be seen of a database's locks, sessions and indexes."""

import zlib

import psycopg

from tests.conftest import Database


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
