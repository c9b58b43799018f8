"""Where in a file an error stands: the server counts within the message, our own statements included."""

import bisect
import re
from collections.abc import Sequence
from typing import Final

from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.simple_query import QueryPart, SqlFailure

SYNTAX_ERROR: Final = "42601"
READ_ONLY: Final = "25006"
_NO_SUCH_CHARACTER: Final = frozenset(("22P05", "22021"))
"""A character that the database's encoding lacks; no statement of the message has run."""
_HEXADECIMAL: Final = re.compile(r"0x([0-9a-f]{2})\b")
_CONTINUATION: Final = bytes(range(0x80, 0xC0))
_READ_ONLY_STATEMENT: Final = re.compile(
    rb"(?:SET|BEGIN|START)\b.*?(?:READ\s+ONLY|read_only)\b", re.IGNORECASE | re.DOTALL
)


def locate(
    failure: SqlFailure, parts: Sequence[QueryPart], statements: Statements
) -> tuple[int | None, int | None]:
    """Index of the file's statement that failed, and the byte offset of the error in the file.

    Both None: a statement of ours failed.
    """
    if failure.sqlstate in _NO_SUCH_CHARACTER and not failure.replies:
        offset = _untranslatable(failure, parts)
    elif failure.position is not None:
        offset = _offset(failure, parts)
    else:
        offset = None
    if offset is not None:
        return _statement_at(statements, offset), offset
    count = failure.completed
    for part in parts:
        if count < part.results:
            if part.origin is not None:
                index = part.first + count
                return index, statements.starts[index]
            index_or_none = _behind(failure, part, statements)
            return index_or_none, None if index_or_none is None else statements.starts[index_or_none]
        count -= part.results
    return None, None


def _offset(failure: SqlFailure, parts: Sequence[QueryPart]) -> int | None:
    """Byte offset in the file of a place that the server gives within the message."""
    remaining, last = (failure.position or 1) - 1, None
    for part in parts:
        length = _length(failure, part)
        if part.origin is not None:
            last = part
            if remaining <= length:
                return part.origin + (remaining if failure.counts_bytes else _bytes(part.sql, remaining))
        elif remaining < length:
            # A statement that lacks its end goes on in ours: the place is where the file's text ends.
            incomplete = last is not None and failure.sqlstate == SYNTAX_ERROR
            return (last.origin or 0) + len(last.sql.rstrip()) if last and incomplete else None
        remaining -= length
    return None


def _length(failure: SqlFailure, part: QueryPart) -> int:
    """Length of a part of the message, in the unit of the server's positions."""
    return len(part.sql) if failure.counts_bytes else _characters(part.sql)


def _characters(text: bytes) -> int:
    """How many characters UTF-8 holds: every byte but the continuation bytes."""
    return len(text) if text.isascii() else len(text.translate(None, _CONTINUATION))


def _bytes(text: bytes, characters: int) -> int:
    """How many bytes the first ``characters`` of UTF-8 take, without decoding all of a large text."""
    if text.isascii():
        return characters
    position = 0
    while characters > 0 and position < len(text):
        piece = text[position : position + max(1, characters)]
        length = _characters(piece)
        if length == 0:  # the last bytes of a character
            position += len(piece)
            continue
        position, characters = position + len(piece), characters - length
    while position < len(text) and text[position] in _CONTINUATION:
        position += 1
    return position


def _untranslatable(failure: SqlFailure, parts: Sequence[QueryPart]) -> int | None:
    """Where the character stands that the database's encoding lacks; the server names only its bytes."""
    character = bytes(int(digits, 16) for digits in _HEXADECIMAL.findall(failure.message))
    for part in parts:
        if part.origin is not None and character and (index := part.sql.find(character)) >= 0:
            return part.origin + index
    return None


def _behind(failure: SqlFailure, ours: QueryPart, statements: Statements) -> int | None:
    """The file's statement that made one of our own fail; None if none did."""
    if not len(statements):
        return None
    if ours.constraints:
        return _last_about(failure.table, statements)
    if failure.sqlstate == READ_ONLY:
        return _last_read_only(statements)
    return None


def _last_read_only(statements: Statements) -> int | None:
    """The last statement that makes the transaction read-only; None if its text does not show it."""
    for index in reversed(range(len(statements))):
        if _READ_ONLY_STATEMENT.match(statements.sql, statements.starts[index], statements.ends[index]):
            return index
    return None


def _last_about(table: str | None, statements: Statements) -> int:
    """The last statement that names a table; the last of all, if none does."""
    name = (table or "").encode()
    for index in reversed(range(len(statements))) if name else ():
        if statements.sql.find(name, statements.starts[index], statements.ends[index]) >= 0:
            return index
    return len(statements) - 1


def _statement_at(statements: Statements, offset: int) -> int | None:
    index = bisect.bisect_right(statements.starts, offset) - 1
    return max(index, 0) if len(statements) else None


def beyond_the_file(failure: SqlFailure, parts: Sequence[QueryPart]) -> bool:
    """Whether the place of the error is in our own text."""
    remaining = (failure.position or 1) - 1
    for part in parts:
        length = _length(failure, part)
        if remaining < length:
            return part.origin is None
        remaining -= length
    return True
