"""Printing a command's result to standard output."""

import os
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from fluxbase_migrations.core.text import elapsed
from fluxbase_migrations.runner.log import silence_stdout

if TYPE_CHECKING:
    from fluxbase_migrations.runner.history.entry import Entry


def is_terminal() -> bool:
    """Whether standard output is a terminal on which a line can be rewritten."""
    try:
        return sys.stdout.isatty() and os.environ.get("TERM", "") not in ("", "dumb")
    except (ValueError, AttributeError):
        return False


def colours() -> bool:
    """Whether a terminal's text may have colours: https://no-color.org, and CLICOLOR=0."""
    return not os.environ.get("NO_COLOR") and os.environ.get("CLICOLOR", "1") != "0"


def terminal_width() -> int | None:
    """Characters in a line of the terminal that standard output is; None where it is none."""
    try:
        if not sys.stdout.isatty():
            return None
        return os.get_terminal_size(sys.stdout.fileno()).columns or None
    except (OSError, ValueError, AttributeError):
        return None


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    """``rows`` in columns as wide as their widest cell; the first row is the heading."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


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
