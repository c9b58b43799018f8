"""``fluxbase-migrate validate``: what is wrong with the files, without any database."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.errors import MigrationError
from fluxbase_migrations.core.names import UnknownFiles
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.commands import validation
from fluxbase_migrations.runner.commands.source import read_directories, scan
from fluxbase_migrations.runner.commands.validation import SUMS, Finding
from fluxbase_migrations.runner.log import Log


def validate(directory: Path, form: str, *, write: bool, unknown_files: UnknownFiles) -> int:
    """Print what was found; returns 1 if anything is an error, else 0."""
    log = Log(write=lambda _line: None)  # what it would say is among the findings
    sums = directory / SUMS
    try:
        source = scan(read_directories([str(directory)], log), unknown_files, log)
        if write:
            sums.write_text(validation.write_sums(source), encoding="utf-8")
        recorded = validation.read_sums(sums.read_text(encoding="utf-8")) if sums.exists() else None
        found = validation.findings(source, recorded)
        count = len(source)
    except MigrationError as error:
        found, count = [validation.of_error(error.info)], 0
    except (OSError, UnicodeDecodeError) as error:
        found, count = [Finding(f"cannot use {sums}: {error}")], 0
    return show(directory, found, count, form)


def show(directory: Path, found: Sequence[Finding], count: int, form: str) -> int:
    """Print findings about ``count`` files; returns 1 if anything is an error, else 0."""
    code = output.answer(_lines(directory, found, form))
    wrong = sum(one.is_error for one in found)
    if form == "text":
        counts = f"{_counted(wrong, 'error')}, {_counted(len(found) - wrong, 'warning')}"
        print(f"{_counted(count, 'file')}: {counts}", file=sys.stderr)
    return 1 if wrong else code


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _lines(directory: Path, found: Sequence[Finding], form: str) -> list[str]:
    match form:
        case "json":
            return [json.dumps([asdict(one) for one in found], indent=2)]
        case "github":
            return [_github(directory, one) for one in found]
        case _:
            return [visible(_text(directory, one)) for one in found]


def _text(directory: Path, one: Finding) -> str:
    kind = "error" if one.is_error else "warning"
    if one.file is None:
        return f"{directory}: {kind}: {one.message}"
    place = ":".join(str(part) for part in (directory / one.file, one.line, one.column) if part is not None)
    return f"{place}: {kind}: {one.message}"


def _github(directory: Path, one: Finding) -> str:
    """A workflow command; its own separators are escaped as GitHub's documentation says."""
    fields = {"file": directory / one.file if one.file else directory, "line": one.line, "col": one.column}
    where = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in fields.items() if value is not None)
    return f"::{'error' if one.is_error else 'warning'} {where}::{_escaped(one.message)}"


def _escaped(value: object, more: str = "") -> str:
    text = str(value)
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
