"""Before the first file of a track runs: does another version table say that the files were applied already?

golang-migrate keeps its version in ``public.schema_migrations``, or wherever ``x-migrations-table`` says.
Taken for a fresh database, one that it has migrated would get every file a second time.
"""

from collections.abc import Iterable
from typing import Final

from psycopg import errors

from fluxbase_migrations.core.errors import Dirty, ForeignTable, ServerRefused
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import ANNOTATION_FORCE, TRACKING_TABLE, Track
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history.entry import Row
from fluxbase_migrations.runner.history.manual_repair import manual_repair
from fluxbase_migrations.runner.sql import composing as sql

_LISTED: Final = 3
"""How many tables an error names."""

_CANDIDATES: Final = """
SELECT n.nspname, c.relname,
       pg_catalog.has_schema_privilege(n.oid, 'USAGE') AND pg_catalog.has_table_privilege(c.oid, 'SELECT')
       AND NOT pg_catalog.row_security_active(c.oid)
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind IN ('r', 'p') AND c.relpersistence <> 't'
  AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = 'version' AND a.atttypid IN (20, 23))
  AND EXISTS (SELECT FROM pg_catalog.pg_attribute a
              WHERE a.attrelid = c.oid AND a.attname = 'dirty' AND a.atttypid = 16)
  AND 2 = (SELECT pg_catalog.count(*) FROM pg_catalog.pg_attribute a
           WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped)
ORDER BY n.nspname <> 'public', n.nspname, c.relname
"""
"""Every table of exactly golang-migrate's columns, and whether all of its rows can be read. 20, 23 and 16 are
bigint, integer and boolean."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A version table that is not ours."""

    table: TableName
    row: Row | None
    """None: it cannot be read."""

    def __str__(self) -> str:
        said = f"records version {self.row}" if self.row else "cannot be read by this role"
        return f"{self.table} {said}"


@dataclass(slots=True)
class Guard:
    """Refuses to begin at the first file where another version table has a version."""

    track: Track
    foreign: frozenset[TableName] = frozenset()
    """Tables of other programs, by the user's word."""
    done: bool = False
    """Whether the database has been looked at."""

    @classmethod
    def of(cls, track: Track, foreign: Iterable[TableName]) -> "Guard":
        """The other track's own table says nothing about this one."""
        others = (TableName(*TRACKING_TABLE[other]) for other in Track if other is not track)
        return cls(track, frozenset((*others, *foreign)))

    def look(self, session: Session, table: TableName) -> None:
        """Look once, while ``table`` is known to have no row, or seems not to exist.

        Raises:
            ForeignTable: another table has a version.
        """
        if self.done:
            return
        candidates = session.query(_CANDIDATES)
        names = [TableName(schema, name) for schema, name, _ in candidates]
        if table in names and not _is_empty(session, table):
            return  # somebody else has just made it, and it will be read
        self.done = True
        foreign = {one.resolved(session) for one in self.foreign}
        found = [
            one
            for name, (_, _, readable) in zip(names, candidates, strict=True)
            if name != table and name not in foreign and (one := _read(session, name, readable))
        ]
        if found:
            raise _refusal(self.track, table, found)


def recorded(session: Session, other: TableName) -> Row:
    """The version that another version table records, clean.

    Raises:
        ServerRefused: it is no version table, cannot be read, or has no version.
        Dirty: what its version left is not known.
    """
    other = other.resolved(session)
    readable = {TableName(schema, name): readable for schema, name, readable in session.query(_CANDIDATES)}
    if other not in readable:
        raise ServerRefused(f"{other} is not a version table: columns version and dirty, and no others")
    found = _read(session, other, readable[other])
    if found is None or (found.row and found.row.version <= NIL and not found.row.dirty):
        raise ServerRefused(f"{other} records no version", hint="nothing was applied by it: run up")
    if found.row is None:
        raise ServerRefused(str(found), hint="grant SELECT on it, or give its version: baseline V")
    if found.row.dirty:
        why = f"{other} records it, and what the failed file left is not known"
        raise Dirty.of(
            found.row.version, why, hint=manual_repair(found.row, None).replace("force", "baseline")
        )
    return found.row


def _is_empty(session: Session, table: TableName) -> bool:
    found = _read(session, table, readable=True)
    return found is None


def _read(session: Session, table: TableName, readable: bool) -> _Found | None:
    """What a candidate says; None: it has no row, or is gone meanwhile."""
    if not readable:
        return _Found(table, None)
    try:
        rows = session.query(sql.SQL("SELECT version, dirty FROM {} LIMIT 1").format(table.identifier))
    except errors.UndefinedTable:
        return None
    except errors.InsufficientPrivilege:
        return _Found(table, None)
    if not rows:
        return None
    version, dirty = rows[0]
    return _Found(table, Row(version, dirty))


def _refusal(track: Track, table: TableName, found: list[_Found]) -> ForeignTable:
    listed = ", ".join(map(str, found[:_LISTED])) + (" …" if len(found) > _LISTED else "")
    row, name = found[0].row, found[0].table.argument
    version = row.version if row and not row.dirty else "V"
    # What a dirty version left is not known: to force it as it is would declare a failed migration applied.
    force = manual_repair(row, None) if row and row.dirty else f"baseline --from {name}"
    return ForeignTable(
        f"{table} has no version, but {listed}: the files may have been applied already",
        hint=f"to use that table: --table {name}, or x-migrations-table in the URL; to take its version "
        f"over: {force}, or the annotation {ANNOTATION_FORCE}={track}={version}@TOKEN; if it belongs "
        f"to something else: --foreign-table {name}, or spec.tracks.{track}.foreignTables",
    )
