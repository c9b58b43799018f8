"""Tables and lines that fit the terminal; where there is none, nothing is cut or wrapped."""

import os
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from fluxbase_migrations.core.text import cut, visible

_GAP: Final = "   "  # as kubectl's
_NARROWEST: Final = 12
"""No column is made narrower: it would be unreadable."""


def columns() -> int | None:
    """How wide the terminal is: COLUMNS, or what the terminal says; None where standard output is none."""
    setting = os.environ.get("COLUMNS", "")
    if setting.isdecimal() and int(setting) > 0:
        return int(setting)
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def table(
    rows: Sequence[Sequence[str]], width: int | None, flexible: Iterable[int] = (), *, wrap: bool = False
) -> list[str]:
    """``rows``, the first of which is the heading, in columns.

    Where they are too wide, ``flexible`` columns are cut, the first named first; with ``wrap``, the last
    column goes on below itself instead.
    """
    cells = [[visible(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    if width is not None:
        for number in (len(widths) - 1,) if wrap else flexible:
            excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
            if excess > 0:
                widths[number] = max(widths[number] - excess, min(widths[number], _NARROWEST))
    return [line for row in cells for line in _row(row, widths, wrap=wrap)]


def _row(row: Sequence[str], widths: Sequence[int], *, wrap: bool) -> Iterator[str]:
    *cells, last = row
    first, *continuation = _wrapped(last, widths[-1], indent=0) if wrap else [cut(last, widths[-1])]
    cells = [cut(cell, size).ljust(size) for cell, size in zip(cells, widths[:-1], strict=True)]
    yield _GAP.join([*cells, first]).rstrip()
    before = " " * len(_GAP.join([*cells, ""]))
    yield from (before + line for line in continuation)


def fitted(lines: Iterable[str], width: int | None) -> list[str]:
    """``lines``, each wrapped below its own beginning."""
    if width is None:
        return list(lines)
    return [part for line in lines for part in _wrapped(line, width)]


def _wrapped(line: str, width: int, indent: int | None = None) -> list[str]:
    """Words stay whole; ``indent`` of the further lines is four more than the first's, unless given."""
    if indent is None:
        indent = min(len(line) - len(line.lstrip()) + 4, width // 2)
    return textwrap.wrap(
        line,
        max(width, 1),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]
