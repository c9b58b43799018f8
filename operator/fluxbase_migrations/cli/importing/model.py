"""What other tools' files are converted to."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import Final

from fluxbase_migrations.core.files import MAX_VERSION
from fluxbase_migrations.core.lazy_dataclass import dataclass

_DIGITS: Final = 3
"""The least number of digits where the migrations get new numbers."""
NO_TITLE: Final = "migration"
"""The title of a file that has none in its name."""


@dataclass(frozen=True, slots=True)
class Section:
    """The part of a file that goes one way."""

    text: str
    file: str
    line: int = 1
    """The line of ``file`` at which it begins."""


@dataclass(frozen=True, slots=True)
class Migration:
    """One version of the other tool."""

    version: str
    """As the tool writes it."""
    title: str
    up: Section
    down: Section | None
    """None: no down file is written."""


@dataclass(frozen=True, slots=True)
class Remark:
    """What cannot be converted, or what is worth knowing."""

    message: str
    file: str | None = None
    line: int | None = None
    is_error: bool = True

    def __str__(self) -> str:
        where = ":".join(str(part) for part in (self.file, self.line) if part is not None)
        kind = "error" if self.is_error else "warning"
        return f"{where}: {kind}: {self.message}" if where else f"{kind}: {self.message}"


@dataclass(frozen=True, slots=True)
class Conversion:
    """The migrations of a directory, and the remarks on them."""

    migrations: Sequence[Migration]
    """In the tool's own order."""
    remarks: Sequence[Remark]
    keep_numbers: bool = True
    """The versions are numbers in ascending order; otherwise they become 1, 2, 3 and so on."""


@dataclass(frozen=True, slots=True)
class Numbered:
    """A migration with its number in the new files, as digits."""

    number: str
    migration: Migration

    def files(self) -> Iterator[tuple[str, Section]]:
        """Yield each file's name and content."""
        yield f"{self.number}_{self.migration.title}.up.sql", self.migration.up
        if self.migration.down is not None:
            yield f"{self.number}_{self.migration.title}.down.sql", self.migration.down


def numbered(conversion: Conversion) -> list[Numbered]:
    """The migrations with their numbers in the new files."""
    if conversion.keep_numbers:
        return [Numbered(migration.version, migration) for migration in conversion.migrations]
    width = max(_DIGITS, len(str(len(conversion.migrations))))
    return [
        Numbered(str(number).zfill(width), migration)
        for number, migration in enumerate(conversion.migrations, 1)
    ]


def are_in_order(versions: Iterable[str]) -> bool:
    """Whether these are numbers that we can keep, each higher than the one before."""
    numbers = []
    for version in versions:
        if not re.fullmatch("[0-9]+", version) or int(version) > MAX_VERSION:
            return False
        numbers.append(int(version))
    return all(before < after for before, after in pairwise(numbers))


def lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield each line with its number; only a line feed ends one, as in the other tools."""
    yield from enumerate(text.split("\n"), 1)


def is_comment(line: str) -> bool:
    """Whether a line has no statement."""
    return not line.strip() or line.lstrip().startswith("--")


def section(file: str, first: int, text_lines: Sequence[str]) -> Section:
    """A section of whole lines; ``first`` is the number of the first one."""
    return Section("\n".join(text_lines).rstrip() + "\n", file, first)


def duplicates(versions: Mapping[str, Sequence[str]]) -> list[Remark]:
    """A remark for each version (→ its files) that more than one file has."""
    return [
        Remark(f"version {version} is that of {' and '.join(files)}", files[-1])
        for version, files in versions.items()
        if len(files) > 1
    ]


ATOMIC: Final = (
    "runs outside a transaction there; here its statements run in transactions as far as PostgreSQL allows, "
    "consecutive ones in one"
)
"""What happens to a file that asks for no transaction."""
