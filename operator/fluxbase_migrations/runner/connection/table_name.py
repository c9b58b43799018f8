"""Names of tables: of a version table, which users may choose, and of ``migrations.history``."""

import re
from typing import Final

from fluxbase_migrations.core.errors import ServerRefused
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import HISTORY_TABLE, QUALIFIED_TABLE
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.sql import composing as sql


@dataclass(frozen=True, slots=True)
class TableName:
    """A table's schema and name, unquoted."""

    schema: str
    """Empty: the connection's current schema, which :meth:`resolved` looks up."""
    name: str

    @property
    def identifier(self) -> sql.Identifier:
        """For :mod:`fluxbase_migrations.runner.sql.composing`."""
        return sql.Identifier(self.schema, self.name)

    def quoted(self, session: Session) -> bytes:
        """For statements sent as bytes."""
        return self.identifier.as_bytes(session.pgconn)

    def resolved(self, session: Session) -> "TableName":
        """With its schema.

        Raises:
            ServerRefused: no schema of the search_path exists.
        """
        if self.schema:
            return self
        (schema,) = session.query("SELECT pg_catalog.current_schema()")[0]
        if schema is None:
            raise ServerRefused(
                f"no schema for the tracking table {self.name}: none of the search_path exists",
                hint='name the schema: --table schema.name, or x-migrations-table="schema"."name" in the URL',
            )
        return TableName(schema, self.name)

    @property
    def argument(self) -> str:
        """As :meth:`parse` reads it."""
        return ".".join(_quoted(part) if set(part) & set('."') else part for part in (self.schema, self.name))

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}" if self.schema else self.name

    @classmethod
    def parse(cls, text: str) -> "TableName":
        """Read ``schema.name``, either part in double quotes if it holds a dot.

        Raises:
            ValueError: anything else.
        """
        match = re.fullmatch(QUALIFIED_TABLE, text.strip())
        if match is None:
            raise ValueError(f"{text!r} is not schema.name")
        return cls(_unquoted(match[1]), _unquoted(match[3]))


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _unquoted(name: str) -> str:
    return name[1:-1].replace('""', '"') if name.startswith('"') else name


HISTORY: Final = TableName("migrations", HISTORY_TABLE)
"""The history of every tracking table of a database."""
