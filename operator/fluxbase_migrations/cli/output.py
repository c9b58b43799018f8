"""Printing a command's result to standard output."""

import os
import sys
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import TYPE_CHECKING

from fluxbase_migrations.core.text import cut, elapsed
from fluxbase_migrations.runner.log import silence_stdout

if TYPE_CHECKING:
    from fluxbase_migrations.runner.history.entry import Entry


class Colour(StrEnum):
    """Of the terminal's own palette, which its user has made readable on light or dark."""

    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"

    def __call__(self, text: str) -> str:
        """``text`` in this colour."""
        return f"\x1b[{self}m{text}\x1b[0m"


def is_terminal() -> bool:
    """Whether standard output is a terminal on which a line can be rewritten."""
    try:
        return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except (ValueError, AttributeError):
        return False


def colours() -> bool:
    """Whether a terminal's text may have colours: https://no-color.org, and CLICOLOR=0."""
    return not os.environ.get("NO_COLOR") and os.environ.get("CLICOLOR", "1") != "0"


def paints() -> bool:
    """Whether what is printed may have colours."""
    return is_terminal() and colours()


def terminal_width() -> int | None:
    """Characters in a line of the terminal that standard output is; None where it is none."""
    try:
        if not sys.stdout.isatty():
            return None
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def table(rows: Sequence[Sequence[str]], colours: Mapping[str, Colour] | None = None) -> list[str]:
    """``rows`` in columns as wide as their widest cell; the first row is the heading.

    ``colours`` are those of whole cells, by their text.
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        *cells, last = [(text, text.ljust(width)) for text, width in zip(row, widths, strict=True)]
        padded = [*(_painted(text, cell, colours or {}) for text, cell in cells)]
        lines.append("  ".join([*padded, _painted(last[0], last[0], colours or {})]).rstrip())
    return lines


def _painted(text: str, cell: str, colours: Mapping[str, Colour]) -> str:
    return cell.replace(text, colours[text](text)) if text in colours else cell


def fitted(
    rows: Sequence[Sequence[str]], width: int, left_out: Sequence[str], shortened: Mapping[str, int]
) -> list[tuple[str, ...]]:
    """``rows``, of which the first is the heading, in at most ``width`` characters if that is possible.

    Columns in which nothing stands take no room. ``left_out`` are columns that a narrow terminal has no room
    for, the least important first; ``shortened`` those that are cut where that is not enough, and the
    characters that stay of them.
    """
    columns = {name: column for name, *column in zip(*rows, strict=True) if any(column) or len(rows) == 1}
    for name in left_out:
        if _width(columns) > width:
            columns.pop(name, None)
    for name, least in shortened.items():
        excess = _width(columns) - width
        if excess > 0 and name in columns:
            kept = max(least, len(name), max(map(len, columns[name])) - excess)
            columns[name] = [cut(text, kept) for text in columns[name]]
    return list(zip(*([name, *column] for name, column in columns.items()), strict=True))


def _width(columns: Mapping[str, Sequence[str]]) -> int:
    widths = [max(map(len, (name, *column))) for name, column in columns.items()]
    return sum(widths) + 2 * (len(widths) - 1)


def took(entry: "Entry") -> str:
    """How long the history's entry took; empty while it has not ended."""
    if entry.finished_at is None:
        return ""
    return elapsed((entry.finished_at - entry.started_at).total_seconds())


def answer(lines: Iterable[str]) -> int:
    """Print ``lines``; the exit code is 1 where they cannot be written.

    A reader that closes the pipe early (``| head``) is no error.
    """
    text = "".join(f"{line}\n" for line in lines)
    try:
        if sys.stdout is None:
            raise OSError("it is closed")
        sys.stdout.write(text)
        sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
    except OSError as error:
        silence_stdout()
        print(f"ERROR cannot write to standard output: {error}", file=sys.stderr)
        return 1
    return 0
