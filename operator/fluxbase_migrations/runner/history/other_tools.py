"""Version tables of other migration tools: how each is recognised, and what it says was applied.

A table is recognised by its columns, and where those alone would fit an application's own table, by its name
as well. Columns and defaults are those of the tables that the tools themselves make on PostgreSQL.
"""

from collections.abc import Mapping
from typing import Final, LiteralString

from psycopg import errors

from fluxbase_migrations.core.files import MAX_VERSION, NIL
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.sql import composing as sql

_DIGITS: Final = len(str(MAX_VERSION))
_INTEGER: Final = frozenset(("bigint", "integer"))
_TEXT: Final = frozenset(("character varying", "text", "character"))
_BOOLEAN: Final = frozenset(("boolean",))
_ANY: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Tool:
    """A program that keeps a version table."""

    name: str
    columns: Mapping[str, frozenset[str]]
    """Columns that it must have, with the types that each may have; none: any."""
    newest: LiteralString
    """Selects of its table what was applied last: text for a person, our number for it or NULL, and whether
    that failed. No row, or NULL for the text: nothing was applied."""
    applied: LiteralString = ""
    """Selects of its table each version that was applied, as our number, and whether everything below it
    counts as applied as well. Empty: it keeps the newest alone, or its numbers are not ours."""
    tables: frozenset[str] = frozenset()
    """Names that the table may have; empty: any, as its columns are unmistakable."""
    exact: bool = False
    """It has no other columns."""
    importer: str | None = None
    """What `fluxbase-migrate import` calls it."""
    same_files: bool = False
    """Its files are ours as they are."""

    def fits(self, table: str, columns: Mapping[str, str]) -> bool:
        """Whether a table of this name and these columns (name → type) is this tool's."""
        if self.tables and table not in self.tables:
            return False
        if self.exact and len(columns) != len(self.columns):
            return False
        return all(
            name in columns and (not types or columns[name].partition("(")[0] in types)
            for name, types in self.columns.items()
        )


# In these queries columns become text before anything is done with them: for varchar, an operator that
# a user has created could be used instead of PostgreSQL's.

GOLANG_MIGRATE: Final = Tool(
    "golang-migrate",
    {"version": _INTEGER, "dirty": _BOOLEAN},
    "SELECT version::text, version, dirty FROM {} WHERE version >= 0 OR dirty LIMIT 1",
    exact=True,
    same_files=True,
)
FLUXBASE: Final = Tool(
    "Fluxbase's own start-up",
    {"namespace": _TEXT, "name": _TEXT, "up_sql": _TEXT, "status": _TEXT},
    # It records each file by its name, 001_create_posts; other namespaces are those of its API.
    "SELECT number::text, number, false FROM (SELECT pg_catalog.max("
    "pg_catalog.substring(name::text, '^[0-9]+')::numeric) AS number"
    " FROM {} WHERE namespace::text = 'filesystem' AND status::text = 'applied') AS newest",
    "SELECT pg_catalog.substring(name::text, '^[0-9]+')::numeric, false"
    " FROM {} WHERE namespace::text = 'filesystem' AND status::text = 'applied' AND name::text ~ '^[0-9]'",
    same_files=True,
)
_FLYWAY: Final = Tool(
    "Flyway",
    {
        "installed_rank": _INTEGER,
        "version": _TEXT,
        "description": _TEXT,
        "type": _TEXT,
        "script": _TEXT,
        "checksum": _INTEGER,
        "success": _BOOLEAN,
    },
    # An undone version has a newer row that says so. Our number is the same only where all are whole ones.
    "SELECT version::text, CASE WHEN pg_catalog.bool_and(version::text ~ '^[0-9]+$') OVER ()"
    " THEN version::text::numeric END, NOT success"
    " FROM (SELECT DISTINCT ON (version) * FROM {} WHERE version IS NOT NULL"
    " ORDER BY version, installed_rank DESC) AS latest"
    " WHERE type::text NOT LIKE 'UNDO%' AND type::text <> 'DELETE'"
    " ORDER BY success, CASE WHEN version::text ~ '^[0-9]+([._][0-9]+)*$' THEN"
    " pg_catalog.string_to_array(pg_catalog.translate(version::text, '_', '.'), '.')::numeric[] END"
    " DESC NULLS LAST, installed_rank DESC LIMIT 1",
    "SELECT version::text::numeric, type::text = 'BASELINE'"
    " FROM (SELECT DISTINCT ON (version) * FROM {} WHERE version::text ~ '^[0-9]+$'"
    " ORDER BY version, installed_rank DESC) AS latest"
    " WHERE type::text NOT LIKE 'UNDO%' AND type::text <> 'DELETE'",
    importer="flyway",
)
_GOOSE: Final = Tool(
    "goose",
    {"id": _INTEGER, "version_id": _INTEGER, "is_applied": _BOOLEAN, "tstamp": _ANY},
    # Older releases keep a row for each way that a version went; version 0 is made with the table.
    "SELECT version_id::text, version_id, false"
    " FROM (SELECT DISTINCT ON (version_id) * FROM {} ORDER BY version_id, id DESC) AS latest"
    " WHERE is_applied AND version_id > 0 ORDER BY latest.version_id DESC LIMIT 1",
    "SELECT version_id, false FROM (SELECT DISTINCT ON (version_id) * FROM {}"
    " ORDER BY version_id, id DESC) AS latest WHERE is_applied",
    exact=True,
    importer="goose",
)
_DBMATE: Final = Tool(
    "dbmate (or Ruby on Rails)",
    {"version": _TEXT},
    "SELECT version::text, CASE WHEN version::text ~ '^[0-9]+$' THEN version::text::numeric END, false"
    " FROM {} ORDER BY 2 DESC NULLS LAST, 1 DESC LIMIT 1",
    "SELECT version::text::numeric, false FROM {} WHERE version::text ~ '^[0-9]+$'",
    tables=frozenset(("schema_migrations",)),
    exact=True,
    importer="dbmate",
)
_ATLAS: Final = Tool(
    "Atlas",
    {"version": _TEXT, "type": _INTEGER, "applied": _INTEGER, "total": _INTEGER, "error": _TEXT},
    # Versions with a full stop in front are its own notes; it orders the others as text.
    "SELECT version::text, CASE WHEN version::text ~ '^[0-9]+$' THEN version::text::numeric END,"
    " applied < total OR COALESCE(error::text, '') <> ''"
    " FROM {} WHERE version::text NOT LIKE '.%' ORDER BY version::text COLLATE \"C\" DESC LIMIT 1",
    tables=frozenset(("atlas_schema_revisions",)),
)
_ALEMBIC: Final = Tool(
    "Alembic",
    {"version_num": _TEXT},
    "SELECT pg_catalog.string_agg(version_num::text, ', ' ORDER BY version_num), NULL::numeric, false"
    " FROM {}",
    tables=frozenset(("alembic_version",)),
    exact=True,
)
_DJANGO: Final = Tool(
    "Django",
    {"id": _INTEGER, "app": _TEXT, "name": _TEXT, "applied": _ANY},
    "SELECT pg_catalog.concat(app, '.', name), NULL::numeric, false FROM {} ORDER BY id DESC LIMIT 1",
    tables=frozenset(("django_migrations",)),
    exact=True,
)
_SQITCH: Final = Tool(
    "Sqitch",
    {"change_id": _TEXT, "change": _TEXT, "project": _TEXT, "committed_at": _ANY, "planned_at": _ANY},
    # A plan's changes get the numbers of their order; with several projects in one registry there is none.
    "SELECT change::text, CASE WHEN (SELECT pg_catalog.count(DISTINCT project) FROM {}) = 1"
    " THEN pg_catalog.count(*) OVER () END, false FROM {} ORDER BY committed_at DESC LIMIT 1",
    tables=frozenset(("changes",)),
    importer="sqitch-plan",
)
TOOLS: Final = (
    GOLANG_MIGRATE,
    FLUXBASE,
    _FLYWAY,
    _GOOSE,
    _DBMATE,
    _ATLAS,
    _ALEMBIC,
    _DJANGO,
    _SQITCH,
)

_CANDIDATES: Final = """
SELECT n.nspname, c.relname,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
       AND NOT pg_catalog.row_security_active(c.oid),
       a.attname, pg_catalog.format_type(a.atttypid, a.atttypmod)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
JOIN pg_catalog.pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND (c.relname = ANY (%s::text[]) OR EXISTS (
    SELECT FROM pg_catalog.pg_attribute o
    WHERE o.attrelid = c.oid AND o.attname IN ('dirty', 'up_sql', 'installed_rank', 'version_id')))
ORDER BY n.nspname <> 'public', n.nspname, c.relname
"""
"""The columns of every table that may be one of these, and whether all of its rows can be read."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A version table of a tool."""

    table: TableName
    tool: Tool
    readable: bool


@dataclass(frozen=True, slots=True)
class Recorded:
    """What such a table says was applied last."""

    text: str
    """For a person."""
    number: int | None
    """Our version; None: the table alone does not tell it."""
    failed: bool


def candidates(session: Session) -> list[Candidate]:
    """Every table of every tool, in all schemas."""
    table_names = sorted({name for tool in TOOLS for name in tool.tables})
    tables: dict[tuple[str, str], tuple[bool, dict[str, str]]] = {}
    for schema, name, readable, column, kind in session.query(_CANDIDATES, (table_names,)):
        tables.setdefault((schema, name), (readable, {}))[1][column] = kind
    return [
        Candidate(TableName(schema, name), tool, readable)
        for (schema, name), (readable, columns) in tables.items()
        if (tool := recognised(name, columns)) is not None
    ]


def recognised(table: str, columns: Mapping[str, str]) -> Tool | None:
    """The tool whose table has this name and these columns."""
    return next((tool for tool in TOOLS if tool.fits(table, columns)), None)


def newest(session: Session, table: TableName, tool: Tool) -> Recorded | None:
    """What the table says; None: nothing was applied, or the table was dropped in the meantime.

    Raises:
        errors.InsufficientPrivilege: this role may not read it.
    """
    places = (table.identifier,) * tool.newest.count("{}")
    try:
        rows = session.query(sql.SQL(tool.newest).format(*places))
    except errors.UndefinedTable:
        return None
    if not rows or rows[0][0] is None:
        return None
    text, number, failed = rows[0]
    fits = number is not None and len(str(number)) <= _DIGITS and int(number) <= MAX_VERSION
    return Recorded(text, int(number) if fits else None, failed)


def applied(session: Session, table: TableName, tool: Tool) -> tuple[frozenset[int], int]:
    """What a tool with :attr:`Tool.applied` has applied, and below which version all counts as applied."""
    rows = session.query(sql.SQL(tool.applied).format(table.identifier))
    numbers = [(int(number), below) for number, below in rows if len(str(number)) <= _DIGITS]
    floor = max((number for number, below in numbers if below), default=NIL)
    return frozenset(number for number, _ in numbers), floor
