"""Migration files: what their names mean, and whether their bytes can be run.

golang-migrate's rules (its ``source/parse.go`` and ``source/migration.go``), except that a file that it skips
silently is an error or a warning here: see ``docs/compatibility.md``.
"""

import bisect
import codecs
import hashlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import field
from enum import StrEnum
from functools import cached_property
from typing import Final

from fluxbase_migrations.core.digest import MIGRATION_PATTERN, source_digest
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import UnknownFiles

NIL: Final = -1
"""golang-migrate's version of a database on which nothing is applied."""
MAX_VERSION: Final = 2**63 - 1
"""The tracking column is a bigint. golang-migrate panics from here on, and skips the file above 2^64-1."""
EXPECTED: Final = (
    "expected <version>_<title>.up.sql or <version>_<title>.down.sql, like 001_create_users.up.sql"
)
LEAVE_OUT: Final = "to leave such files out, set unknownFiles: Warn (--unknown-files warn)"
_OTHER_TOOLS: Final = (
    (r"[VUR][0-9._]*__.*[.]sql", "flyway"),
    (r"[0-9]+_.*[.]sql", "goose (or dbmate)"),
)
"""How files of other tools are called, and what converts them."""
_DECODE_CHUNK: Final = 1 << 20


class Direction(StrEnum):
    """Which way a file takes the database."""

    UP = "up"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class ParsedName:
    """What a migration file's name says."""

    version: int
    title: str
    direction: Direction
    extension: str


def parse_name(name: str) -> ParsedName | None:
    """Read a file name by golang-migrate's pattern; None if it does not match.

    Raises:
        InvalidSource: the version does not fit PostgreSQL's bigint.
    """
    match = MIGRATION_PATTERN.fullmatch(name)
    if match is None:
        return None
    digits = match[1].lstrip("0") or "0"
    if len(digits) > 19 or int(digits) > MAX_VERSION:
        raise InvalidSource(
            f"the version {match[1]} is above {MAX_VERSION}, the largest that a migration can have",
            file=name,
            hint="give the file a smaller number",
        )
    return ParsedName(int(digits), match[2], Direction(match[3]), match[4])


def _import_hint(name: str) -> str:
    """The end of a hint: the command that converts a file of another tool; empty if the name is none's."""
    tool = next((tool for pattern, tool in _OTHER_TOOLS if re.fullmatch(pattern, name, re.DOTALL)), None)
    return f"; to convert another tool's files: fluxbase-migrate import {tool} DIR" if tool else ""


@dataclass(frozen=True, slots=True)
class MigrationFile:
    """One file of the source, with its bytes as they were read."""

    name: str
    version: int
    title: str
    direction: Direction
    content: bytes = field(repr=False)

    @property
    def sql(self) -> bytes:
        """The bytes to send: without a UTF-8 byte-order mark, which PostgreSQL takes for a syntax error."""
        return self.content.removeprefix(codecs.BOM_UTF8)

    @property
    def checksum(self) -> str:
        """sha256 of the file as it was read, in hexadecimal."""
        return hashlib.sha256(self.content).hexdigest()

    def check(self) -> None:
        """Refuse a file that cannot be SQL text.

        Raises:
            InvalidSource: a NUL byte, UTF-16, or invalid UTF-8, with the line.
        """
        content = self.content
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            raise InvalidSource(
                "the file is UTF-16", file=self.name, line=1, column=1, hint="save it as UTF-8 and try again"
            )
        nul = content.find(b"\0")
        if nul >= 0:
            line = content.count(b"\n", 0, nul) + 1
            raise InvalidSource(
                f"a NUL byte at offset {nul}: PostgreSQL would stop reading there",
                file=self.name,
                line=line,
                hint="remove it; if it stands in data, write it as an escape, like '\\x00'::bytea",
            )
        offset = invalid_utf8(content)
        if offset is not None:
            line = content.count(b"\n", 0, offset) + 1
            raise InvalidSource(
                f"byte 0x{content[offset]:02x} at offset {offset} is not UTF-8",
                file=self.name,
                line=line,
                hint="save the file as UTF-8 and try again",
            )


def invalid_utf8(content: bytes) -> int | None:
    """Offset of the first byte that is not UTF-8, without decoding a large file in one piece."""
    if content.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")()
    for start in range(0, len(content), _DECODE_CHUNK):
        buffered = len(decoder.getstate()[0])
        try:
            decoder.decode(
                content[start : start + _DECODE_CHUNK], final=start + _DECODE_CHUNK >= len(content)
            )
        except UnicodeDecodeError as error:
            return start - buffered + error.start
    return None


class MigrationFiles:
    """A track's migration files, by version and direction.

    ``warnings`` are sentences for the person who wrote the files.
    """

    def __init__(
        self, files: Mapping[tuple[int, Direction], MigrationFile], warnings: tuple[str, ...] = ()
    ) -> None:
        self._files = dict(files)
        self.versions: tuple[int, ...] = tuple(sorted({version for version, _ in self._files}))
        self.warnings = warnings

    @classmethod
    def scan(
        cls, files: Mapping[str, bytes], unknown_files: UnknownFiles = UnknownFiles.FAIL
    ) -> "MigrationFiles":
        """Sort ``files`` (name → bytes) into migrations.

        Names that start with a dot are ignored (editors, ``._*`` of macOS archives), and so is
        everything that neither is a migration nor ends in ``.sql``.

        Raises:
            InvalidSource: a ``.sql`` file whose name is no migration's (unless those are to be left out), a
                version above bigint, or two files of one version and direction.
        """
        migrations: dict[tuple[int, Direction], MigrationFile] = {}
        warnings: list[str] = []
        for name in sorted(files):
            parsed = _parsed(name, unknown_files, warnings)
            if parsed is None:
                continue
            version, direction = parsed.version, parsed.direction
            if (existing := migrations.get((version, direction))) is not None:
                raise InvalidSource(
                    f"version {version} has two {direction} files: {existing.name}, {name}",
                    file=name,
                    hint="give one of them another number",
                )
            migrations[version, direction] = MigrationFile(
                name, version, parsed.title, direction, files[name]
            )
        return cls(migrations, tuple(warnings))

    def get(self, version: int, direction: Direction) -> MigrationFile | None:
        """The file that takes ``version`` up or down; None if there is none."""
        return self._files.get((version, direction))

    def __contains__(self, version: object) -> bool:
        return (version, Direction.UP) in self._files or (version, Direction.DOWN) in self._files

    def __iter__(self) -> Iterator[MigrationFile]:
        return iter(self._files.values())

    def __len__(self) -> int:
        return len(self._files)

    @property
    def latest(self) -> int | None:
        """The highest version."""
        return self.versions[-1] if self.versions else None

    @cached_property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(len(file.content) for file in self._files.values())

    @cached_property
    def digest(self) -> str:
        """See :func:`fluxbase_migrations.core.digest.source_digest`."""
        return source_digest({file.name: file.content for file in self._files.values()})

    def previous(self, version: int) -> int:
        """The version before ``version``; :data:`NIL` before the first."""
        index = bisect.bisect_left(self.versions, version)
        return self.versions[index - 1] if index else NIL


def _parsed(name: str, unknown_files: UnknownFiles, warnings: list[str]) -> ParsedName | None:
    """The parts of a migration's name; None where the file is none. Adds to ``warnings``."""
    if name.startswith("."):
        return None
    parsed = parse_name(name)
    if parsed is not None:
        if parsed.extension.lower() != "sql":
            warnings.append(f"{name} counts as a migration although it does not end in .sql")
        return parsed
    if not name.lower().endswith(".sql"):
        return None
    if unknown_files is UnknownFiles.FAIL:
        hint = f"{EXPECTED}; {LEAVE_OUT}{_import_hint(name)}"
        raise InvalidSource("not a migration's name", file=name, hint=hint)
    warnings.append(f"{name} is ignored: not a migration's name, {EXPECTED}")
    return None
