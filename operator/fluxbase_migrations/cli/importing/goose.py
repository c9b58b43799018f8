"""goose: ``00001_name.sql`` with ``-- +goose Up``, ``Down``, ``StatementBegin`` and so on.

Its markers are whole lines, also in quotes and comments: goose does not parse SQL when it searches for them.
"""

import re
from collections.abc import Mapping
from dataclasses import field
from typing import Final

from fluxbase_migrations.cli.importing.model import (
    ATOMIC,
    NO_TITLE,
    Conversion,
    Migration,
    Remark,
    are_in_order,
    duplicates,
    is_comment,
    lines,
    section,
)
from fluxbase_migrations.core.lazy_dataclass import dataclass

_NAME: Final = re.compile(r"([0-9]+)_(.*)\.sql", re.ASCII | re.DOTALL)
_GO: Final = re.compile(r"[0-9]+_.*(?<!_test)\.go", re.DOTALL)


def convert(files: Mapping[str, str]) -> Conversion:
    """The migrations of a directory's files, name → content."""
    remarks: list[Remark] = []
    migrations: list[Migration] = []
    versions: dict[str, list[str]] = {}
    for name, text in sorted(files.items()):
        if _GO.fullmatch(name):
            remarks.append(Remark("a migration in Go: write it in SQL", name))
        match = _NAME.fullmatch(name)
        if match is None:
            if name.endswith(".sql"):
                remarks.append(Remark("not a name of goose's: NUMBER_name.sql", name))
            continue
        file = _File(name)
        file.read(text)
        remarks += file.remarks
        number = match[1].lstrip("0") or "0"
        versions.setdefault(number, []).append(name)
        if number == "0":
            remarks.append(Remark("goose's versions begin with 1", name))
        if file.up is not None:
            up = section(name, *file.up)
            down = section(name, *file.down) if file.down is not None else None
            migrations.append(Migration(match[1], match[2] or NO_TITLE, up, down))
    remarks += duplicates(versions)
    migrations.sort(key=lambda migration: int(migration.version))
    return Conversion(migrations, remarks, are_in_order(migration.version for migration in migrations))


@dataclass(slots=True)
class _File:
    name: str
    remarks: list[Remark] = field(default_factory=list)
    up: tuple[int, list[str]] | None = None
    """Number of the first line, and the lines."""
    down: tuple[int, list[str]] | None = None
    block: int | None = None
    """The line of a StatementBegin that has not ended."""

    def read(self, text: str) -> None:
        for number, line in lines(text):
            if line.lstrip().startswith("--") and "+goose" in line:
                self._marker(number, line)
            elif (current := self.down or self.up) is not None:
                current[1].append(line)
            elif not is_comment(line):
                self._error(number, "a statement before -- +goose Up")
                return
        if self.up is None and not self.remarks:
            self._error(None, "there is no -- +goose Up")
        if self.block is not None:
            self._error(self.block, "this StatementBegin has no StatementEnd")

    def _error(self, line: int | None, message: str) -> None:
        self.remarks.append(Remark(message, self.name, line))

    def _marker(self, number: int, line: str) -> None:
        word = " ".join(line.removeprefix("--").replace("+goose", " ", 1).split()).lower()
        if not line.startswith("--"):
            return self._error(number, "white space before a marker, which goose refuses")
        match word:
            case "up" if self.up is None and self.down is None:
                self.up = (number + 1, [])
            case "down" if self.up is not None and self.down is None and self.block is None:
                self.down = (number + 1, [])
            case "statementbegin" if self.up is not None and self.block is None:
                self.block = number
                self._add("")
            case "statementend" if self.block is not None:
                self.block = None
                self._add("" if self._is_ended() else ";")
            case "no transaction":
                self.remarks.append(Remark(f"NO TRANSACTION: {ATOMIC}", self.name, number, is_error=False))
                self._add("")
            case "envsub off":
                self._add("")
            case "envsub on":
                self._error(number, "ENVSUB: put the values of the variables into the file")
            case "up" | "down" | "statementbegin" | "statementend":
                self._error(number, f"{line.strip()} in the wrong place, which goose refuses")
            case _:
                self._error(number, f"{line.strip()} is no marker that is known")
        return None

    def _add(self, line: str) -> None:
        """Add a line in place of a marker, so that line numbers stay the same."""
        current = self.down or self.up
        if current is not None:
            current[1].append(line)

    def _is_ended(self) -> bool:
        """Whether the block ends with a semicolon; without it, the next statement would be part of it."""
        current = self.down or self.up
        text_lines = [line for line in current[1] if line.strip()] if current else []
        return bool(text_lines) and text_lines[-1].rstrip().endswith(";") and not is_comment(text_lines[-1])
