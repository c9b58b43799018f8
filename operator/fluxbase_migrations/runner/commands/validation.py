"""What is wrong with migration files, without a database: for CI, and before a commit."""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import InvalidSource, describe
from fluxbase_migrations.core.files import NIL, Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import SUMS
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.runner.sql import grammar, lexer
from fluxbase_migrations.runner.sql.prepared_file import Prepared

_SUM: Final = re.compile(r"([0-9a-f]{64}) [ *](.+)")
_NUMBERED: Final = 10**7
"""Versions from here on are timestamps, between which there are gaps."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that is wrong, or may be."""

    message: str
    file: str | None = None
    line: int | None = None
    column: int | None = None
    is_error: bool = True


def findings(source: MigrationFiles, sums: Mapping[str, str] | None) -> list[Finding]:
    """All findings; ``sums`` are the recorded checksums by file name, None: none are recorded."""
    results = [Finding(text, is_error=False) for text in source.warnings]
    for file in sorted(source, key=lambda file: (file.version, file.direction is Direction.DOWN)):
        results += _of_file(file)
    results += _of_numbers(source)
    results += [] if sums is None else _of_sums(source, sums)
    return results


def _of_file(file: MigrationFile) -> Iterator[Finding]:
    try:
        file.check()
        prepared = Prepared.of(plan.Step(file.version, file.direction, NIL, file.version, file))
    except InvalidSource as error:
        yield of_error(error.info)
        return
    if not prepared.statements and file.direction is Direction.UP:
        yield Finding("the file has no statement", file.name, is_error=False)
    for index in range(len(prepared.statements)):
        yield from _of_statement(prepared, index)


def _of_statement(prepared: Prepared, index: int) -> Iterator[Finding]:
    """What PostgreSQL's grammar says of one statement."""
    import postgast
    from google.protobuf.message import DecodeError

    statements, file = prepared.statements, prepared.file
    start, end = statements.starts[index], statements.ends[index]
    if b"\\" in statements.sql[start:end] and not statements.conforming_at(index):
        return  # the parser knows strings only as they are with standard_conforming_strings on
    if grammar.too_deep(statements.sql[start:end]):
        return
    try:
        text = statements.sql[start:end].decode()
        postgast.parse(text)
    except postgast.PgQueryError as error:
        at = start + len(text[: max(error.cursorpos - 1, 0)].encode())
        line, column = lexer.line_column(statements.sql, at)
        yield Finding(error.message, file.name if file else None, line, column)
    except DecodeError:
        return  # it is a statement whose tree nests too deeply to be decoded


def _of_numbers(source: MigrationFiles) -> Iterator[Finding]:
    for version in source.versions:
        up, down = (source.get(version, direction) for direction in Direction)
        if up is None and down is not None:
            yield Finding(f"version {version} has no up file", down.name, is_error=False)
        if down is None and up is not None:
            yield Finding("no down file: it cannot be rolled back", up.name, is_error=False)
    for before, after in zip(source.versions, source.versions[1:], strict=False):
        if after < _NUMBERED and after - before > 1:
            missing = f"{before + 1}" if after - before == 2 else f"{before + 1} to {after - 1}"
            yield Finding(f"no version {missing} between {before} and {after}", is_error=False)


def _of_sums(source: MigrationFiles, sums: Mapping[str, str]) -> Iterator[Finding]:
    present = {file.name: file.checksum for file in source}
    for name in sorted(present.keys() | sums.keys()):
        if name not in present:
            yield Finding(f"{SUMS} records it, but the file does not exist", name)
        elif name not in sums:
            yield Finding(f"{SUMS} does not record it; to add it: validate --write", name)
        elif present[name] != sums[name]:
            yield Finding(f"edited since {SUMS} was written; to accept it: validate --write", name)


def of_error(info: ErrorInfo) -> Finding:
    """The finding for an error that refuses a file before it runs."""
    where = ErrorInfo(info.message, statement=info.statement, detail=info.detail, hint=info.hint)
    return Finding(describe(where), info.file, info.line, info.column)


def read_sums(text: str) -> dict[str, str]:
    """Checksums by file name.

    Raises:
        InvalidSource: a line that is not sha256sum's, with its number.
    """
    sums = {}
    # Not splitlines(): a name may contain Unicode's other line ends.
    for number, ended in enumerate(text.split("\n"), 1):
        line = ended.removesuffix("\r")
        if not line.strip() or line.startswith("#"):
            continue
        match = _SUM.fullmatch(line)
        if match is None:
            raise InvalidSource("not a line of sha256sum", file=SUMS, line=number, hint="validate --write")
        sums[match[2]] = match[1]
    return sums


def write_sums(files: Iterable[MigrationFile]) -> str:
    """The content of :data:`SUMS`."""
    return "".join(f"{file.checksum}  {file.name}\n" for file in sorted(files, key=lambda file: file.name))
