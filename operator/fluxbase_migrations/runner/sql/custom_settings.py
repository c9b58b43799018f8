"""Custom settings that a file names: PostgreSQL lists them nowhere."""

import re
from collections.abc import Iterator
from typing import Final

from fluxbase_migrations.runner.sql import lexer
from fluxbase_migrations.runner.sql.lexer import Statements

_SET_CONFIG: Final = re.compile(rb"set_config\s*\(\s*'([^']+)'", re.IGNORECASE)
_SET_IN_BODY: Final = re.compile(
    rb"\bset\s+(?:session\s+)?([a-z_\x80-\xff][\w$\x80-\xff]*(?:\.[a-z_\x80-\xff][\w$\x80-\xff]*)+)",
    re.IGNORECASE,
)
"""In a DO, or a function, wherever it stands: a name too many does no harm."""
_SET: Final = re.compile(rb"(?:SET|RESET)\s", re.IGNORECASE)


def names(statements: Statements) -> tuple[str, ...]:
    """Custom settings that a file's SETs and calls of ``set_config`` name, those in its bodies too."""
    named: set[str] = set()
    for index, (start, end) in enumerate(zip(statements.starts, statements.ends, strict=True)):
        if _SET.match(statements.sql, start, end):
            named.update(_set_by(statements.text(index)))
    for pattern in (_SET_CONFIG, _SET_IN_BODY):
        named.update(name.decode("utf-8", "replace") for name in pattern.findall(statements.sql))
    return tuple(sorted(name for name in named if "." in name and not name.startswith("fluxbase.")))


def _set_by(statement: bytes) -> Iterator[str]:
    tokens = [*lexer.tokens(statement, 0, len(statement))]
    words = tokens[2:] if tokens[1:2] and tokens[1].upper() in (b"SESSION", b"LOCAL") else tokens[1:]
    parts = []
    for token in words:
        if token != b"." and (token == b"=" or token.upper() == b"TO"):
            break
        parts.append(token)
    if len(parts) >= 3 and parts[1] == b".":
        yield b"".join(part.strip(b'"') for part in parts).decode("utf-8", "replace")
