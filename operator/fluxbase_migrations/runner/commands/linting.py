"""What is risky in migration files: squawk's rules, and ours about the transactions that a run uses.

squawk is a linter for PostgreSQL migrations: its rules, its comments (``-- squawk-ignore``) and its
configuration file (``.squawk.toml``) are as its documentation says. Down files undo things, so they are not
checked.
"""

import glob
import json
import shutil
import subprocess
import sysconfig
from collections.abc import Iterator, Sequence
from dataclasses import field
from pathlib import Path
from typing import Any, Final

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import InvalidSource, MigrationError
from fluxbase_migrations.core.extras import PACKAGE, Extra
from fluxbase_migrations.core.files import NIL, Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.commands.validation import Finding
from fluxbase_migrations.runner.sql import lexer, statements
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.statements import StatementKind

PROGRAM: Final = "squawk"
_BATCH: Final = 1000
"""Files of one call: a command line is bounded."""
_RAN: Final = (0, 1)
"""Exit codes: no violation, some violations."""
_REPORTED_BY_VALIDATION: Final = frozenset(("syntax-error", "ban-concurrent-index-creation-in-transaction"))
"""Rules of squawk whose violations PostgreSQL's grammar and our own rules already report."""


@dataclass(frozen=True, slots=True)
class Options:
    """What is passed to squawk."""

    config: str | None = None
    exclude: tuple[str, ...] = ()
    pg_version: str | None = None
    program: str = field(default="")
    """Its path."""

    @property
    def arguments(self) -> list[str]:
        """Squawk's command-line arguments."""
        arguments = [f"--exclude={rule}" for rule in self.exclude]
        arguments += [f"--config={self.config}"] if self.config else []
        return arguments + ([f"--pg-version={self.pg_version}"] if self.pg_version else [])


def program() -> str:
    """Where squawk is: beside our own interpreter, or on PATH.

    Raises:
        MigrationError: it is not installed.
    """
    beside = Path(sysconfig.get_path("scripts")) / PROGRAM
    path = str(beside) if beside.is_file() else shutil.which(PROGRAM)
    if path is None:
        raise MigrationError(
            f"{PROGRAM} is not installed", hint=f"run: pip install '{PACKAGE}[{Extra.LINT}]'"
        )
    return path


def findings(directory: Path, source: MigrationFiles, options: Options) -> list[Finding]:
    """What squawk and our own rules find in the up files, by file and line.

    Raises:
        MigrationError: squawk cannot be run, or does not take the options.
    """
    findings: list[Finding] = []
    in_transaction: list[MigrationFile] = []
    separate: list[MigrationFile] = []
    for file in source:
        if file.direction is not Direction.UP:
            continue
        try:
            prepared = Prepared.of(plan.Step(file.version, file.direction, NIL, file.version, file))
        except InvalidSource:
            continue  # what refuses a file is reported by validation
        findings += _in_own_transaction(prepared, file)
        opens = any(special.kind is StatementKind.BEGIN for special in prepared.specials.values())
        (in_transaction if prepared.atomic and not opens else separate).append(file)
    findings += _squawk(
        directory, in_transaction, [*options.arguments, "--assume-in-transaction"], options.program
    )
    findings += _squawk(directory, separate, options.arguments, options.program)
    return sorted(findings, key=lambda finding: (finding.file or "", finding.line or 0, finding.column or 0))


def _in_own_transaction(prepared: Prepared, file: MigrationFile) -> Iterator[Finding]:
    """CONCURRENTLY, VACUUM and their like between the file's own BEGIN and COMMIT: PostgreSQL refuses it."""
    for group in prepared.groups:
        for index in group.send if group.explicit else ():
            special = prepared.specials.get(index)
            if special is not None and special.kind is StatementKind.ALONE:
                sql = prepared.statements
                line, column = lexer.line_column(sql.sql, sql.starts[index])
                message = f"{statements.tag(sql, index)} cannot run in the transaction that the file opens"
                yield Finding(f"{message}; remove its BEGIN and COMMIT", file.name, line, column)


def _squawk(
    directory: Path, files: Sequence[MigrationFile], arguments: list[str], program: str
) -> Iterator[Finding]:
    for first in range(0, len(files), _BATCH):
        paths = [glob.escape(str(_path(directory, file.name))) for file in files[first : first + _BATCH]]
        completed = subprocess.run(
            [program, "--reporter=json", *arguments, "--", *paths],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            check=False,
        )
        try:
            reported = json.loads(completed.stdout) if completed.returncode in _RAN else None
        except ValueError:
            reported = None
        if reported is None:
            raise _failed(completed.stderr or completed.stdout)
        yield from (
            _finding(violation)
            for violation in reported
            if violation["rule_name"] not in _REPORTED_BY_VALIDATION
        )


def _path(directory: Path, name: str) -> Path:
    """The file as it was read: files may be in the only subdirectory that has some."""
    direct = directory / name
    return direct if direct.is_file() else next(directory.glob(f"*/{glob.escape(name)}"), direct)


def _failed(text: str) -> MigrationError:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return MigrationError(f"{PROGRAM} failed: {lines[0] if lines else 'no output'}")


def _finding(reported: dict[str, Any]) -> Finding:
    """From squawk's JSON, whose lines and columns begin with 0."""
    advice = f"; {reported['help']}" if reported.get("help") else ""
    return Finding(
        f"{reported['rule_name']}: {reported['message']}{advice}",
        Path(str(reported["file"])).name,
        int(reported["line"]) + 1,
        int(reported["column"]) + 1,
        is_error=reported["level"] == "Error",
    )
