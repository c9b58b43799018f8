"""``fluxbase-migrate validate``: what is wrong with the files, without a database."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.errors import MigrationError
from fluxbase_migrations.core.names import SUMS, UnknownFiles
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.commands import validation
from fluxbase_migrations.runner.commands.source import read_directories, scan
from fluxbase_migrations.runner.commands.validation import Finding
from fluxbase_migrations.runner.log import Log


def validate(directory: Path, form: str, *, write: bool, unknown_files: UnknownFiles) -> int:
    """Print the findings about the files; returns 1 if any is an error, else 0."""
    log = Log(write=lambda _line: None)  # its warnings are among the findings
    sums = directory / SUMS
    try:
        source = scan(read_directories([str(directory)], log), unknown_files, log)
        if write:
            sums.write_text(validation.write_sums(source), encoding="utf-8")
        recorded = validation.read_sums(sums.read_text(encoding="utf-8")) if sums.exists() else None
        findings = validation.findings(source, recorded)
        count = len(source)
    except MigrationError as error:
        findings, count = [validation.of_error(error.info)], 0
    except (OSError, UnicodeDecodeError) as error:
        findings, count = [Finding(f"cannot use {sums}: {error}")], 0
    return show(directory, findings, count, form)


def show(directory: Path, findings: Sequence[Finding], count: int, form: str) -> int:
    """Print findings about ``count`` files; returns 1 if any is an error, else 0."""
    code = output.answer(_lines(directory, findings, form))
    error_count = sum(finding.is_error for finding in findings)
    if form == "text":
        counts = f"{_counted(error_count, 'error')}, {_counted(len(findings) - error_count, 'warning')}"
        print(f"{_counted(count, 'file')}: {counts}", file=sys.stderr)
    return 1 if error_count else code


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _lines(directory: Path, findings: Sequence[Finding], form: str) -> list[str]:
    match form:
        case "json":
            return [json.dumps([asdict(finding) for finding in findings], indent=2)]
        case "github":
            return [_github(directory, finding) for finding in findings]
        case _:
            return [visible(_text(directory, finding)) for finding in findings]


def _text(directory: Path, finding: Finding) -> str:
    kind = "error" if finding.is_error else "warning"
    if finding.file is None:
        return f"{directory}: {kind}: {finding.message}"
    place = ":".join(
        str(part) for part in (directory / finding.file, finding.line, finding.column) if part is not None
    )
    return f"{place}: {kind}: {finding.message}"


def _github(directory: Path, finding: Finding) -> str:
    """A workflow command; its own separators are escaped as GitHub's documentation says."""
    fields = {
        "file": directory / finding.file if finding.file else directory,
        "line": finding.line,
        "col": finding.column,
    }
    where = ",".join(f"{key}={_escaped(value, ':,')}" for key, value in fields.items() if value is not None)
    return f"::{'error' if finding.is_error else 'warning'} {where}::{_escaped(finding.message)}"


def _escaped(value: object, more: str = "") -> str:
    text = str(value)
    for character in f"%\r\n{more}":
        text = text.replace(character, f"%{ord(character):02X}")
    return text
