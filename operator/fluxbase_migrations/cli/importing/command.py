"""Reading another tool's directory, checking what comes out, and writing all of it or nothing."""

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.cli.importing import Tool, dbmate, flyway, goose, sqitch
from fluxbase_migrations.cli.importing.model import Conversion, Numbered, Remark, Section, numbered
from fluxbase_migrations.core.errors import MigrationError
from fluxbase_migrations.core.files import MigrationFiles, parse_name
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.text import visible


@dataclass(frozen=True, slots=True)
class _Reader:
    convert: Callable[[Mapping[str, str]], Conversion]
    table: str
    """Where the tool keeps its version unless it is told otherwise."""
    directories: bool = False
    """It reads directories below, too."""


_READERS: Final = {
    Tool.FLYWAY: _Reader(flyway.convert, "public.flyway_schema_history", directories=True),
    Tool.DBMATE: _Reader(dbmate.convert, "public.schema_migrations"),
    Tool.GOOSE: _Reader(goose.convert, "public.goose_db_version"),
    Tool.SQITCH: _Reader(sqitch.convert, "sqitch.changes", directories=True),
}
_UNREAD: Final = frozenset(
    (".go", ".java", ".class", ".kt", ".groovy", ".py", ".sh", ".bash", ".ps1", ".cmd", ".bat")
)
"""Endings of files that matter, but whose content does not."""
_READ: Final = frozenset((".sql", ".conf", ".plan"))


def import_files(tool: Tool, directory: Path, target: Path, *, dry_run: bool) -> int:
    """Convert; prints the report, and returns 1 where nothing was written because something is in the way."""
    reader = _READERS[tool]
    try:
        files, unreadable = _read(directory, reader.directories)
        conversion = reader.convert(files)
        made = numbered(conversion)
        contents = dict(file for one in made for file in one.files())
        remarks = [*unreadable, *conversion.remarks, *_in_the_way(target)]
        if not any(one.is_error for one in remarks):
            remarks += _checked(contents)
        if not made and not any(one.is_error for one in remarks):
            remarks.append(Remark(f"there are no migrations of {tool}'s in {directory}"))
        refused = any(one.is_error for one in remarks)
        if not refused and not dry_run:
            _write(target, contents)
    except OSError as error:
        print(visible(f"ERROR cannot import {directory}: {error}"), file=sys.stderr)
        return 1
    for remark in remarks:
        print(visible(str(remark)), file=sys.stderr)
    if refused:
        print("nothing was written", file=sys.stderr)
        return 1
    done = "would be written" if dry_run else "written"
    counts = f"{_counted(len(made), 'migration')}, {_counted(len(contents), 'file')}"
    print(f"{counts} {done} to {visible(str(target))}", file=sys.stderr)
    return output.answer(map(visible, _report(made, _next(conversion, made, reader.table))))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _read(directory: Path, below: bool) -> tuple[dict[str, str], list[Remark]]:
    """The texts by path below ``directory``, and what is no text."""
    found, remarks = {}, []
    paths = list(directory.iterdir())  # rglob() would take one that is missing for empty
    for path in sorted(directory.rglob("*") if below else paths):
        name = path.relative_to(directory).as_posix()
        if not path.is_file() or path.suffix not in _READ | _UNREAD:
            continue
        try:
            found[name] = path.read_bytes().decode("utf-8-sig") if path.suffix in _READ else ""
        except UnicodeDecodeError as error:
            remarks.append(Remark(f"it is not UTF-8: {error.reason} at offset {error.start}", name))
    return found, remarks


def _in_the_way(target: Path) -> list[Remark]:
    if not target.is_dir():
        return []
    present = sorted(path.name for path in target.iterdir() if path.suffix == ".sql")
    if not present:
        return []
    return [Remark(f"{target} has {present[0]} already: choose an empty directory with --to")]


def _checked(contents: Mapping[str, Section]) -> list[Remark]:
    """What the runner would refuse of the files, with its place in the original."""
    from fluxbase_migrations.runner.commands import validation

    if strange := [name for name in contents if parse_name(name) is None]:
        return [Remark(f"{name} is no name for a migration") for name in strange]
    try:
        source = MigrationFiles.scan({name: one.text.encode() for name, one in contents.items()})
    except MigrationError as error:
        return [Remark(str(error))]
    found = (one for one in validation.findings(source, None) if one.is_error and one.file)
    return [
        Remark(one.message, origin.file, one.line and origin.line + one.line - 1)
        for one in found
        if one.file and (origin := contents[one.file])
    ]


def _write(target: Path, contents: Mapping[str, Section]) -> None:
    """All of them; what was written is taken away again where one cannot be.

    Raises:
        OSError: as the system says.
    """
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name, one in contents.items():
            path = target / name
            with path.open("x", encoding="utf-8", newline="") as file:
                written.append(path)
                file.write(one.text)
    except OSError:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _report(made: Sequence[Numbered], last: Sequence[str]) -> list[str]:
    rows = [("VERSION", "FROM", "TO")]
    for one in made:
        rows += [(one.migration.version, origin.file, name) for name, origin in one.files()]
    return [*output.table(rows), "", *last]


def _next(conversion: Conversion, made: Sequence[Numbered], table: str) -> list[str]:
    """What takes a database over that the tool has migrated."""
    newest = made[-1]
    if conversion.keep_numbers or table == _READERS[Tool.SQITCH].table:
        return [f"a database that has them: fluxbase-migrate baseline --from {table}"]
    return [
        f"a database that is at {newest.migration.version}: fluxbase-migrate baseline {int(newest.number)}",
        "at another version: the number in TO beside it; not --from, because the numbers are new",
    ]
