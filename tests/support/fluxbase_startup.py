"""What Fluxbase itself does to a database when it starts: tables, and the migration files of a directory.

Fluxbase's own program is not run here: it needs a whole platform around it. This sends the statements that
its releases were seen to send. Releases before these left the files to golang-migrate.
"""

from pathlib import Path
from typing import Final

import psycopg
from psycopg import Connection, sql

SYSTEM_VERSION: Final = 71
"""How many migrations of its own it has applied; they are numbered otherwise than those built in here."""
TABLE: Final = "migrations.app"
LATER_TABLE: Final = "platform.migrations"
"""Where later releases keep the same table, and move the earlier one at their start."""
_SYSTEM: Final = {TABLE: "migrations.fluxbase", LATER_TABLE: "platform.fluxbase_migrations"}
_MOVED: Final = {"app": "migrations", "fluxbase": "fluxbase_migrations"}

COLUMNS: Final = """(
    id UUID PRIMARY KEY DEFAULT gen_random_uuid(), namespace TEXT NOT NULL DEFAULT 'default',
    name TEXT NOT NULL, description TEXT, up_sql TEXT NOT NULL, down_sql TEXT, version INTEGER DEFAULT 1,
    status TEXT DEFAULT 'pending', created_by UUID, applied_by UUID,
    created_at TIMESTAMPTZ DEFAULT NOW() NOT NULL, updated_at TIMESTAMPTZ DEFAULT NOW() NOT NULL,
    applied_at TIMESTAMPTZ, rolled_back_at TIMESTAMPTZ,
    CONSTRAINT unique_migration_namespace UNIQUE (namespace, name),
    CONSTRAINT valid_status CHECK (status IN ('pending', 'applied', 'failed', 'rolled_back')))"""
"""Of its table of files; what refers to its users is left out."""


def start(dsn: str, directory: Path, table: str = TABLE) -> None:
    """Apply each file that the table does not show as applied, in the order of the names."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        _make_tables(connection, table)
        for path in sorted(directory.glob("*.up.sql")):
            _apply(connection, _identifier(table), path.name.removesuffix(".up.sql"), path.read_text())


def move(dsn: str) -> None:
    """Move every table of the schema ``migrations``, as later releases do at each of their starts.

    Whoever made it: one whose new name is taken already is dropped.
    """
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA IF NOT EXISTS platform")
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'migrations'")
        for name in [str(name) for (name,) in tables.fetchall()]:
            new = _MOVED.get(name, name)
            old, moved = sql.Identifier("migrations", name), sql.Identifier("platform", name)
            if connection.execute("SELECT to_regclass(%s)", [f"platform.{new}"]).fetchone() != (None,):
                connection.execute(sql.SQL("DROP TABLE {} CASCADE").format(old))
                continue
            connection.execute(sql.SQL("ALTER TABLE {} SET SCHEMA platform").format(old))
            if new != name:
                connection.execute(sql.SQL("ALTER TABLE {} RENAME TO {}").format(moved, sql.Identifier(new)))
        connection.execute("DROP SCHEMA IF EXISTS migrations CASCADE")


def _make_tables(connection: Connection, table: str) -> None:
    schema, system = table.partition(".")[0], _SYSTEM[table]
    connection.execute(f"CREATE SCHEMA IF NOT EXISTS {schema}".encode())
    connection.execute(f"CREATE TABLE IF NOT EXISTS {table} {COLUMNS}".encode())
    shape = "(version BIGINT NOT NULL PRIMARY KEY, dirty BOOLEAN NOT NULL)"
    connection.execute(f"CREATE TABLE IF NOT EXISTS {system} {shape}".encode())
    row = f"INSERT INTO {system} VALUES ({SYSTEM_VERSION}, false) ON CONFLICT DO NOTHING"
    connection.execute(row.encode())


def _apply(connection: Connection, table: sql.Identifier, name: str, text: str) -> None:
    """In one transaction: the record first, then the file."""
    seen = "SELECT FROM {} WHERE namespace = 'filesystem' AND name = %s AND status = 'applied'"
    if connection.execute(sql.SQL(seen).format(table), [name]).fetchone() is not None:
        return
    record = (
        "INSERT INTO {} (namespace, name, up_sql, status, applied_at)"
        " VALUES ('filesystem', %s, %s, 'applied', now())"
        " ON CONFLICT (namespace, name) DO UPDATE"
        " SET status = 'applied', applied_at = now(), updated_at = now()"
    )
    with connection.transaction():
        connection.execute(sql.SQL(record).format(table), [name, text])
        connection.execute(text.encode())


def _identifier(table: str) -> sql.Identifier:
    return sql.Identifier(*table.split("."))
