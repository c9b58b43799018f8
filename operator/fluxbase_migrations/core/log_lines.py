"""The runner's log lines that the operator reads: what they say, and how they are distinguished from others.

A line is recognized by its level and its whole message, which are fixed here: texts of files, servers and
sessions are only ever values of fields, quoted.
"""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from fluxbase_migrations.core.text import shortened, visible

INFO: Final = "INFO"
APPLYING: Final = "Applying migration"
REVERTING: Final = "Reverting migration"
RAN: Final = "Ran migration"
"""After a file, with its time. It does not say that the file is applied: that may not be on disk yet."""
WAITING: Final = "Waiting for a lock"
GOES_ON: Final = "The lock was granted"
PLAN: Final = "Plan"
"""Before the lines of a plan that waits for approval, with its digest."""
PLAN_LINE: Final = "Plan line"
PLAN_MARK: Final = "|"
"""Begins a plan's line in the log as text: what files and relations are called can pass for no other line."""
FROM_SERVER: Final = "PostgreSQL"
"""Before a notice or warning of the server's, which a file may have raised itself."""

TEXT_LIMIT: Final = 3000
"""Characters of a message or value: a container runtime cuts lines at 16 KiB, and what it cuts off could pass
for a line of its own."""

_PAIR: Final = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s"]+)')
_FIELDS: Final = re.compile(rf"(?: {_PAIR.pattern})+")
_READ: Final = (APPLYING, REVERTING, WAITING, GOES_ON)


def field(value: Any) -> str:
    """A field's value as a line of text shows it: quoted where it would run into the next field."""
    text = clean(str(value))
    if not text or any(character in text for character in ' "='):
        return json.dumps(text, ensure_ascii=False)
    return text


def clean(text: str) -> str:
    """Without control characters, and short enough for a line."""
    return shortened(visible(text), TEXT_LIMIT)


def parse(line: str) -> tuple[str, Mapping[str, Any]] | None:
    """Message and fields of a line that the operator reads; None for any other line."""
    if line.startswith("{"):
        return _parse_json(line)
    for message in _READ:
        start = f"{INFO} {message}"
        if line.startswith(start) and _FIELDS.fullmatch(line, len(start)):
            return message, {name: _unquoted(value) for name, value in _PAIR.findall(line, len(start))}
    return None


def plan_line(line: str) -> str | None:
    """The line of a plan that a line of the log holds; None for any other line."""
    if line.startswith(PLAN_MARK):
        return visible(line.removeprefix(PLAN_MARK).removeprefix(" "))
    if not line.startswith("{"):
        return None
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    of_plan = isinstance(fields, dict) and fields.get("msg") == PLAN_LINE
    return visible(str(fields.get("line", ""))) if of_plan else None


def _parse_json(line: str) -> tuple[str, Mapping[str, Any]] | None:
    try:
        fields = json.loads(line)
    except ValueError:
        return None
    if not isinstance(fields, dict) or fields.get("level") != INFO or fields.get("msg") not in _READ:
        return None
    return fields["msg"], fields


def _unquoted(value: str) -> str:
    if not value.startswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value
