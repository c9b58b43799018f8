"""The values of options and arguments: each function reads one kind.

All of them raise ``argparse.ArgumentTypeError``, whose text argparse shows.
"""

import argparse
import re
from collections.abc import Callable
from enum import StrEnum
from typing import Final

from fluxbase_migrations.cli import config, process_list
from fluxbase_migrations.core.files import MAX_VERSION, NIL
from fluxbase_migrations.core.golang import BOOLEANS
from fluxbase_migrations.core.names import QUALIFIED_TABLE

MOST_MILLISECONDS: Final = 2**31 - 1
"""PostgreSQL's settings are 32 bits wide: the largest duration, a little more than 24 days."""
_LONGEST: Final = f"{MOST_MILLISECONDS // 3_600_000}h{MOST_MILLISECONDS // 60_000 % 60}m"


def one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """An option's value among an enumeration's, in any case."""

    def parse(text: str) -> StrEnum:
        for choice in kind:
            if choice.value.lower() == text.strip().lower():
                return choice
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(kind)}")

    return parse


def duration(text: str) -> float:
    """Seconds, from a duration like ``1h30m``; 0 is no limit."""
    try:
        seconds = config.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if seconds * 1000 > MOST_MILLISECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is too long; the largest duration is {_LONGEST}")
    if 0 < seconds < 0.001:
        raise argparse.ArgumentTypeError(f"{text!r} is too short; the smallest duration is 1ms, 0 is none")
    return seconds


def version(text: str) -> int:
    """A migration's version."""
    digits = text.lstrip("0") or text[-1:]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19 or int(digits) > MAX_VERSION:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version")
    return int(digits)


def boolean(text: str) -> bool:
    """``true``, ``no`` and so on, as Go reads them."""
    value = BOOLEANS.get(text.strip().lower())
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return value


def count(text: str) -> int:
    """A number of files or entries."""
    try:
        return version(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def forced_version(text: str) -> int:
    """As :func:`version`, or -1, golang-migrate's word for nothing applied."""
    return NIL if text == str(NIL) else version(text)


def url(text: str) -> str:
    """A connection URL, which is hidden from the list of processes."""
    process_list.hide(text)
    if not text.strip():
        raise argparse.ArgumentTypeError("the URL is empty")
    return text


def table(text: str) -> str:
    """The name of a table, ``schema.name``."""
    if not re.fullmatch(QUALIFIED_TABLE, text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not schema.name")
    return text


def tables(text: str) -> tuple[str, ...]:
    """Tables, separated by commas."""
    tables = tuple(re.findall(r'\s*((?:"(?:[^"]|"")*"|[^",])+)\s*(?:,|$)', text))
    for name in tables:
        if not re.fullmatch(QUALIFIED_TABLE, name):
            raise argparse.ArgumentTypeError(f"{name!r} is not schema.name")
    return tables
