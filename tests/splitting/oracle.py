"""libpg_query, PostgreSQL's own scanner and grammar, as the judge of where statements begin and end."""

import re
from dataclasses import dataclass
from typing import Final

import postgast

from fluxbase_migrations.runner.sql import lexer

_EDGE: Final = re.compile(rb"/\*|\*/")
_LINE: Final = re.compile(rb"[ \t\r\n\f\v]+|--[^\n\r]*")


@dataclass(frozen=True)
class Verdict:
    """How many statements a text has, or that libpg_query refuses it; and where we differ."""

    statements: int
    refused: bool = False
    difference: str = ""


def judge(text: str) -> Verdict:
    """Hold our splitting of a text to libpg_query's; only blanks and comments may be counted differently."""
    sql = text.encode()
    try:
        parsed = postgast.parse(text)
    except postgast.PgQueryError:
        return Verdict(0, refused=True)
    theirs = [(one.stmt_location, one.stmt_location + one.stmt_len or len(sql)) for one in parsed.stmts]
    theirs = [(start, len(sql) if end == start else end) for start, end in theirs]
    found = lexer.split(sql)
    ours = list(zip(found.starts, found.ends, strict=True))
    return Verdict(len(theirs), difference=_difference(sql, theirs, ours))


def _difference(sql: bytes, theirs: list[tuple[int, int]], ours: list[tuple[int, int]]) -> str:
    for number, ((start, end), (our_start, our_end)) in enumerate(zip(theirs, ours, strict=False), 1):
        if not is_blank(sql[min(start, our_start) : max(start, our_start)]):
            return f"statement {number} begins at {our_start} for us, at {start} for PostgreSQL: {sql!r}"
        if not is_blank(sql[min(end, our_end) : max(end, our_end)]):
            return f"statement {number} ends at {our_end} for us, at {end} for PostgreSQL: {sql!r}"
    if len(theirs) != len(ours):
        return f"{len(ours)} statements for us, {len(theirs)} for PostgreSQL: {sql!r}"
    return ""


def is_blank(sql: bytes) -> bool:
    """Whether there is nothing but white space and comments, decided without our lexer."""
    position = 0
    while position < len(sql):
        if match := _LINE.match(sql, position):
            position = match.end()
        elif sql.startswith(b"/*", position):
            depth = 0
            for edge in _EDGE.finditer(sql, position):
                depth += 1 if edge[0] == b"/*" else -1
                if depth == 0:
                    position = edge.end()
                    break
            else:
                return False
        else:
            return False
    return True
