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
    """Where the tool keeps its version by default."""
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
"""Endings of files whose names matter, but whose content is not read."""
_READ: Final = frozenset((".sql", ".conf", ".plan"))


def import_files(tool: Tool, directory: Path, target: Path, *, dry_run: bool) -> int:
    """Convert the files and print the report; returns 1 if nothing was written because of an error."""
    reader = _READERS[tool]
    try:
        files, unreadable = _read(directory, reader.directories)
        conversion = reader.convert(files)
        migrations = numbered(conversion)
        contents = dict(file for migration in migrations for file in migration.files())
        remarks = [*unreadable, *conversion.remarks, *_existing_files(target)]
        if not any(remark.is_error for remark in remarks):
            remarks += _check(contents)
        if not migrations and not any(remark.is_error for remark in remarks):
            remarks.append(Remark(f"there are no migrations of {tool}'s in {directory}"))
        refused = any(remark.is_error for remark in remarks)
        if not refused and not dry_run:
            _write(target, contents)
    except OSError as error:
        where = "" if error.filename in (None, str(directory)) else f"{error.filename}: "
        print(visible(f"ERROR cannot import {directory}: {where}{error.strerror}"), file=sys.stderr)
        return 1
    for remark in remarks:
        print(visible(str(remark)), file=sys.stderr)
    if refused:
        print("nothing was written", file=sys.stderr)
        return 1
    verb = "would be written" if dry_run else "written"
    counts = f"{_counted(len(migrations), 'migration')}, {_counted(len(contents), 'file')}"
    print(f"{counts} {verb} to {visible(str(target))}", file=sys.stderr)
    return output.answer(map(visible, _report(migrations, _next(conversion, migrations, reader.table))))


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _read(directory: Path, below: bool) -> tuple[dict[str, str], list[Remark]]:
    """The texts by path below ``directory``, and a remark for each file that is not UTF-8."""
    texts, remarks = {}, []
    paths = list(directory.iterdir())  # raises for a missing directory, where rglob() finds nothing
    for path in sorted(directory.rglob("*") if below else paths):
        name = path.relative_to(directory).as_posix()
        if not path.is_file() or path.suffix not in _READ | _UNREAD:
            continue
        try:
            texts[name] = path.read_bytes().decode("utf-8-sig") if path.suffix in _READ else ""
        except UnicodeDecodeError as error:
            remarks.append(Remark(f"it is not UTF-8: {error.reason} at offset {error.start}", name))
    return texts, remarks


def _existing_files(target: Path) -> list[Remark]:
    if not target.is_dir():
        return []
    present = sorted(path.name for path in target.iterdir() if path.suffix == ".sql")
    if not present:
        return []
    return [Remark(f"{target} has {present[0]} already: choose an empty directory with --to")]


def _check(contents: Mapping[str, Section]) -> list[Remark]:
    """What the runner would refuse in the files, with its place in the original."""
    from fluxbase_migrations.runner.commands import validation

    if unknown := [name for name in contents if parse_name(name) is None]:
        return [Remark(f"{name} is no name for a migration") for name in unknown]
    try:
        source = MigrationFiles.scan({name: section.text.encode() for name, section in contents.items()})
    except MigrationError as error:
        return [Remark(str(error))]
    errors = (finding for finding in validation.findings(source, None) if finding.is_error and finding.file)
    return [
        Remark(finding.message, origin.file, finding.line and origin.line + finding.line - 1)
        for finding in errors
        if finding.file and (origin := contents[finding.file])
    ]


def _write(target: Path, contents: Mapping[str, Section]) -> None:
    """Write all files; if one cannot be written, those written before are removed.

    Raises:
        OSError: as the system says.
    """
    target.mkdir(parents=True, exist_ok=True)
    written: list[Path] = []
    try:
        for name, section in contents.items():
            path = target / name
            with path.open("x", encoding="utf-8", newline="") as file:
                written.append(path)
                file.write(section.text)
    except OSError:
        for path in written:
            path.unlink(missing_ok=True)
        raise


def _report(migrations: Sequence[Numbered], advice: Sequence[str]) -> list[str]:
    rows = [("VERSION", "FROM", "TO")]
    for numbered_migration in migrations:
        version = numbered_migration.migration.version
        rows += [(version, origin.file, name) for name, origin in numbered_migration.files()]
    return [*output.table(rows), "", *advice]


def _next(conversion: Conversion, migrations: Sequence[Numbered], table: str) -> list[str]:
    """The command that takes over a database which the tool has migrated."""
    newest = migrations[-1]
    if conversion.keep_numbers or table == _READERS[Tool.SQITCH].table:
        return [f"a database that has them: fluxbase-migrate baseline --from {table}"]
    return [
        f"a database that is at {newest.migration.version}: fluxbase-migrate baseline {int(newest.number)}",
        "at another version: the number in TO beside it; not --from, because the numbers are new",
    ]
