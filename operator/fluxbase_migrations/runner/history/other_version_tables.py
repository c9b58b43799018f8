"""Before the first file of a track runs: does another version table say that the files were applied already?

golang-migrate keeps its version in ``public.schema_migrations``, or wherever ``x-migrations-table`` says, and
other tools in tables of their own. If a database that they have migrated were taken
for an empty one, every file would be applied a second time.
"""

import shlex
from collections.abc import Iterable
from typing import Final

from psycopg import errors

from fluxbase_migrations.core.errors import Dirty, ForeignTable, MigrationError, ServerRefused
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import TRACKING_TABLE, Track
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history import other_tools
from fluxbase_migrations.runner.history.entry import Row
from fluxbase_migrations.runner.history.manual_repair import manual_repair
from fluxbase_migrations.runner.history.other_tools import FLUXBASE, GOLANG_MIGRATE, Candidate, Recorded, Tool

_LISTED: Final = 3
"""How many tables an error names."""
_PROGRAM: Final = "fluxbase-migrate"
_FLUXBASE_FILES: Final = TableName("platform", "migrations")
"""Where later releases of Fluxbase keep their table of files. At each start they move every table of the
schema ``migrations`` to ``platform``, or drop it: a version of ours is not safe there."""
_FLUXBASE_SYSTEM: Final = TableName("platform", "fluxbase_migrations")
"""Where they move ``migrations.fluxbase``, which says nothing of a user's files."""
_SAFE: Final = TableName("public", "app_versions")
"""Where our version is safe from them."""


@dataclass(frozen=True, slots=True)
class _OtherTable:
    """A version table of another tool or program, and what it records."""

    table: TableName
    tool: Tool
    recorded: Recorded | None
    """None: it cannot be read."""

    def empties(self, schema: str) -> bool:
        """Whether the program takes our tables out of this schema."""
        ours, _ = TRACKING_TABLE[Track.USER]
        return self.tool is FLUXBASE and self.table == _FLUXBASE_FILES and schema == ours

    def is_settled_by(self, baseline: int | None, ours: TableName) -> bool:
        """Whether ``baseline`` agrees with the table, or stands for one that cannot be read."""
        if self.empties(ours.schema):
            return False
        if baseline is None or self.recorded is None:
            return baseline is not None
        return not self.recorded.failed and self.recorded.number in (None, baseline)

    def __str__(self) -> str:
        return f"the table {self.table} of {self.tool.name} {_description(self.recorded)}"


def _description(recorded: Recorded | None) -> str:
    """The recorded version, as the end of a message about the table."""
    if recorded is None:
        return "cannot be read by this role"
    if not recorded.failed:
        return f"records version {recorded.text}"
    return f"records version {recorded.text} (dirty)"


@dataclass(slots=True)
class Guard:
    """Refuses to begin at the first file where another version table has a version."""

    track: Track
    foreign: frozenset[TableName] = frozenset()
    """Tables that the user has named as those of other programs."""
    baseline: int | None = None
    """The version that the user says the database is at."""
    done: bool = False
    """Whether the database has been checked."""

    @classmethod
    def of(cls, track: Track, foreign: Iterable[TableName], baseline: int | None = None) -> "Guard":
        """A guard for ``track``, which ignores ``foreign`` tables and the other track's own."""
        built_in = [
            TableName(*TRACKING_TABLE[other_track]) for other_track in Track if other_track is not track
        ]
        if track is Track.USER:
            built_in.append(_FLUXBASE_SYSTEM)
        return cls(track, frozenset((*built_in, *foreign)), baseline)

    def check(self, session: Session, table: TableName) -> None:
        """Check once for a database, while ``table`` has no row or does not exist.

        Raises:
            ForeignTable: another table has a version.
        """
        if self.done:
            return
        candidates = other_tools.candidates(session)
        ours = next((candidate for candidate in candidates if candidate.table == table), None)
        if ours is not None and _read(session, ours) is not None:
            return  # a concurrent run has just created it, and it will be read
        self.done = True
        foreign = {table_name.resolved(session) for table_name in self.foreign}
        conflicting = [
            other_table
            for candidate in candidates
            if candidate.table != table
            and candidate.table not in foreign
            and (other_table := _read(session, candidate)) is not None
            and not other_table.is_settled_by(self.baseline, table)
        ]
        if conflicting:
            raise _refusal(self.track, table, conflicting, self.baseline)


def recorded(session: Session, table: TableName, ours: TableName) -> int:
    """The version that another version table records, clean, to be kept in ``ours``.

    Raises:
        ServerRefused: it is no version table, cannot be read, has no version that is ours as well, or belongs
            to a program that would take ``ours`` away.
        Dirty: what its version left is not known.
    """
    table = table.resolved(session)
    candidate = next(
        (candidate for candidate in other_tools.candidates(session) if candidate.table == table), None
    )
    if candidate is None:
        tool_names = ", ".join(tool.name for tool in other_tools.TOOLS)
        raise ServerRefused(
            f"{table} is not a version table of a known tool",
            hint=f"known are the tables of {tool_names}; for any other, give the version: baseline V",
        )
    other_table = _read(session, candidate)
    if other_table is None:
        raise ServerRefused(f"{table} records no version", hint="nothing was applied by it: run up")
    if other_table.recorded is None:
        raise ServerRefused(str(other_table), hint="grant SELECT on it, or give its version: baseline V")
    if other_table.recorded.failed:
        raise _failed(other_table, other_table.recorded)
    if other_table.recorded.number is None:
        raise ServerRefused(
            str(other_table),
            hint=f"its version is not a number of this program; {_by_number(other_table.tool)}",
        )
    if other_table.empties(ours.schema):
        command = shlex.join(_takeover_command(Track.USER, ours, other_table))
        raise ServerRefused(
            f"the program that keeps {table} empties the schema {ours.schema} at each start",
            hint=f"keep our version elsewhere: {command}",
        )
    return other_table.recorded.number


def _failed(other_table: _OtherTable, recorded: Recorded) -> MigrationError:
    if recorded.number is None or other_table.tool is not GOLANG_MIGRATE:
        return ServerRefused(
            f"{other_table}: a migration has failed", hint=f"repair it with {other_table.tool.name} first"
        )
    why = f"{other_table.table} records it, and what the failed file left is not known"
    repair = manual_repair(Row(recorded.number), None).replace("force", "baseline")
    return Dirty.of(recorded.number, why, hint=repair)


def _read(session: Session, candidate: Candidate) -> _OtherTable | None:
    """What a candidate records; None: nothing was applied, or the table was dropped since."""
    recorded: Recorded | None = None
    if candidate.readable:
        try:
            recorded = other_tools.newest(session, candidate.table, candidate.tool)
        except errors.InsufficientPrivilege:
            return _OtherTable(candidate.table, candidate.tool, None)
        if recorded is None:
            return None
    return _OtherTable(candidate.table, candidate.tool, recorded)


def _refusal(
    track: Track, table: TableName, conflicting: list[_OtherTable], baseline: int | None
) -> ForeignTable:
    listed = ", ".join(map(str, conflicting[:_LISTED])) + (" …" if len(conflicting) > _LISTED else "")
    first = conflicting[0]
    name = shlex.quote(first.table.argument)
    outside = ""
    if first.empties(table.schema):
        outside = f", outside the schema {table.schema}, which that program empties at each start"
    also = "" if baseline is None or outside else f" and the baseline is {baseline}"
    use = (
        f"to use that table: --table {name}, x-migrations-table in the URL, or "
        f"spec.tracks.{track}.table: {first.table.argument}; "
    )
    return ForeignTable(
        f"{table} has no version{also}, but {listed}: the files may have been applied already",
        hint=f"{use if first.tool is GOLANG_MIGRATE else ''}to take its version over{outside}: "
        f"{_takeover_hint(track, table, first)}; if it belongs to something else: --foreign-table {name}, "
        f"or spec.tracks.{track}.foreignTables",
    )


def _takeover_hint(track: Track, table: TableName, other_table: _OtherTable) -> str:
    """How to take over the version of a table: a command, and the field of the set."""
    recorded, tool = other_table.recorded, other_table.tool
    if recorded is not None and recorded.failed:
        # What a failed version left is not known: to force it as it is would declare it applied.
        if tool is GOLANG_MIGRATE and recorded.number is not None:
            return manual_repair(Row(recorded.number), None)
        return f"a migration has failed, repair it with {tool.name} first"
    if recorded is None or recorded.number is None:
        return _by_number(tool)
    way = f"{shlex.join(_takeover_command(track, table, other_table))}, or "
    if other_table.empties(table.schema):
        way += f"spec.tracks.{track}.table: {_SAFE.argument} and "
    way += f"spec.tracks.{track}.baseline: {recorded.number}"
    if tool.same_files:
        return way
    if tool.importer is None:
        return f"{way}, if your files have the same numbers"
    return f"{way} (its files: {_PROGRAM} import {tool.importer} DIR)"


def _takeover_command(track: Track, table: TableName, other_table: _OtherTable) -> list[str]:
    """The words that record the version of a table in ours."""
    ours = _SAFE if other_table.empties(table.schema) else table
    options = ["--table", ours.argument] if ours != TableName(*TRACKING_TABLE[track]) else []
    if track is not Track.USER:
        options += ["--track", track.value]
    return [_PROGRAM, "baseline", "--from", other_table.table.argument, *options]


def _by_number(tool: Tool) -> str:
    """The hint where only the files tell the number."""
    if tool.importer is not None:
        command = f"{_PROGRAM} import {tool.importer} DIR"
        return f"{_PROGRAM} baseline NUMBER, which {command} says of each of its files"
    return f"{_PROGRAM} baseline NUMBER, the number of your newest file whose content is in the database"
