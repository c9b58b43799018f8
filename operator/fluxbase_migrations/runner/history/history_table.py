"""``migrations.history``: the table that holds the entries; see ``entry``."""

import getpass
import os
import socket
from dataclasses import field
from datetime import datetime
from typing import Any, Final

from psycopg import errors

from fluxbase_migrations.core.errors import ServerRefused
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import HISTORY, TableName
from fluxbase_migrations.runner.history import version_table
from fluxbase_migrations.runner.history.columns import Columns, rendered
from fluxbase_migrations.runner.history.entry import Entry, EntryKind
from fluxbase_migrations.runner.sql import composing as sql

_COLUMNS: Final = {
    "id": "bigint",
    "table_schema": "text",
    "table_name": "text",
    "kind": "text",
    "version": "bigint",
    "file": "text",
    "direction": "text",
    "checksum": "text",
    "from_version": "bigint",
    "to_version": "bigint",
    "outcome": "text",
    "statements": "integer",
    "done": "integer",
    "done_checksum": "text",
    "in_doubt": "integer",
    "proven": "boolean",
    "error": "jsonb",
    "details": "jsonb",
    "started_at": "timestamp with time zone",
    "finished_at": "timestamp with time zone",
    "done_by": "text",
    "attempt": "uuid",
    "token": "text",
    "row_xmin": "xid",
}

_CREATE: Final = sql.SQL("""CREATE TABLE {table} (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    table_schema text NOT NULL,
    table_name text NOT NULL,
    kind text NOT NULL,
    version bigint,
    file text,
    direction text,
    checksum text,
    from_version bigint,
    to_version bigint,
    outcome text NOT NULL,
    statements integer,
    done integer,
    done_checksum text,
    in_doubt integer,
    proven boolean NOT NULL DEFAULT true,
    error jsonb,
    details jsonb,
    started_at timestamptz NOT NULL,
    finished_at timestamptz,
    done_by text NOT NULL,
    attempt uuid NOT NULL,
    token text,
    row_xmin xid
)""")


_ISO: Final = """'YYYY-MM-DD"T"HH24:MI:SS.USTZH:TZM'"""
"""psycopg reads times only where DateStyle is ISO, and a database may have another default."""
_READ: Final = (
    "id, kind, version, file, direction, checksum, from_version, to_version, outcome, statements, done,"
    " done_checksum, in_doubt, proven, error, details, token, attempt::pg_catalog.text,"
    f" pg_catalog.to_char(started_at, {_ISO}), pg_catalog.to_char(finished_at, {_ISO}), done_by,"
    " row_xmin::pg_catalog.text"
)


def _entry(row: tuple[Any, ...]) -> Entry:
    *fields, xmin = row
    fields[1] = EntryKind(fields[1])
    fields[15] = fields[15] or {}
    fields[18:20] = [datetime.fromisoformat(time) if time else None for time in fields[18:20]]
    fields.append(None if xmin is None else int(xmin))
    return Entry(*fields)


def whoami() -> str:
    """Who runs this: operating system user and host, no more."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a numeric user without a passwd entry, as in most containers
        user = str(os.getuid())
    return f"{user}@{socket.gethostname()}"


@dataclass(slots=True)
class HistoryTable:
    """The entries of one tracking table."""

    table: TableName
    done_by: str = field(default_factory=whoami)

    def exists(self, session: Session) -> bool:
        """Whether the history is there.

        Raises:
            ServerRefused: a table of that name is there and is not a history.
        """
        columns = version_table.columns(session, HISTORY)
        if columns is None:
            return False
        missing = {name: kind for name, kind in _COLUMNS.items() if columns.get(name) != kind}
        if missing:
            raise ServerRefused(
                f"{HISTORY} is not the migration history: it lacks {_listed(missing)}",
                hint=f"it has {_listed(columns)}; rename that table",
            )
        return True

    def ensure(self, session: Session) -> None:
        """Create the history if it is missing."""
        if self.exists(session):
            return
        version_table.ensure_schema(session, HISTORY.schema)
        version_table.create(session, _CREATE.format(table=HISTORY.identifier), HISTORY)
        self.exists(session)

    def require(self, session: Session) -> None:
        """Check, before a file runs, that it can be recorded.

        Raises:
            ServerRefused: missing privileges.
        """
        version_table.require(session, self.table, "SELECT", "INSERT", "DELETE")
        version_table.require(session, HISTORY, "SELECT", "INSERT", "UPDATE")

    def has(self, session: Session, entry: int) -> bool:
        """Whether an entry is still there: a file may have dropped the history's schema."""
        return bool(
            session.query(sql.SQL("SELECT 1 FROM {} WHERE id = %s").format(HISTORY.identifier), (entry,))
        )

    def entries(
        self,
        session: Session,
        *,
        newest_first: bool = False,
        limit: int | None = None,
        version: int | None = None,
    ) -> list[Entry]:
        """This table's entries, oldest first by default; with ``version``, only those about it."""
        order = sql.SQL("DESC") if newest_first else sql.SQL("ASC")
        query = sql.SQL(
            "SELECT {} FROM {} WHERE table_schema = %s AND table_name = %s"
            " AND (%s::pg_catalog.int8 IS NULL OR version = %s) ORDER BY id {} LIMIT %s"
        ).format(sql.SQL(_READ), HISTORY.identifier, order)
        try:
            rows = session.query(query, (self.table.schema, self.table.name, version, version, limit))
        except errors.InsufficientPrivilege as error:
            raise version_table.missing_privilege(
                session, HISTORY, f"the role may not read {HISTORY}", error
            ) from None
        return [_entry(row) for row in rows]

    def insert(self, session: Session, columns: Columns) -> bytes:
        """The INSERT for one entry."""
        columns = {
            "table_schema": self.table.schema,
            "table_name": self.table.name,
            "done_by": self.done_by,
            **columns,
        }
        names = ", ".join(columns).encode()
        values = b", ".join(rendered(session, value) for value in columns.values())
        return b"INSERT INTO %b (%b) VALUES (%b)" % (HISTORY.quoted(session), names, values)

    def update(self, session: Session, entry: int, columns: Columns) -> bytes:
        """The UPDATE of one entry."""
        assignments = b", ".join(
            name.encode() + b" = " + rendered(session, value) for name, value in columns.items()
        )
        target = HISTORY.quoted(session)
        condition = b"%b.id OPERATOR(pg_catalog.=) %d" % (target, entry)
        return b"UPDATE %b SET %b WHERE %b" % (target, assignments, condition)


def _listed(columns: dict[str, str]) -> str:
    return ", ".join(f"{name} {kind}" for name, kind in columns.items())
