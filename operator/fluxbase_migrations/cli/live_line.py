"""A live line in the terminal while files run: file, duration, statement, and what the server waits for.

Imported only where standard output is a terminal. It is drawn by the runner's loop that waits for the server,
every half second, so it needs neither a thread nor a library; for a file that is faster nothing is drawn.
"""

import contextlib
import os
import sys
import time
import unicodedata
from collections.abc import Callable, Collection, Iterator
from typing import Final

from fluxbase_migrations.cli.output import Colour
from fluxbase_migrations.core.text import elapsed, visible
from fluxbase_migrations.runner.connection.activity import Activity

LOOK_EVERY: Final = 2.0
"""Seconds between two queries of the server's activity."""
_CLEAR: Final = "\r\x1b[2K"
_MODE, _POSITION = "mode", "position"
"""What can be left out: the mode of a lock that is waited for, and the statement's position."""
_HOLDER: Final = 2
"""Of who holds that lock, so many parts stay: the process, and its application."""
_LEVELS: Final = {"WARN": Colour.YELLOW, "ERROR": Colour.RED}


class LiveLine:
    """Writes the live line, and the log lines above it. ``clock`` returns monotonic seconds."""

    def __init__(self, *, colours: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._colours = colours
        self._clock = clock
        self._file = ""
        self._statements = 0
        self._at: tuple[int, int] | None = None
        self._began = 0.0
        self._next_look = 0.0
        self._activity = Activity()
        self._blind = False
        """A query of the activity has failed: it is not tried again."""
        self._drawn = False

    def write(self, text: str) -> None:
        """Write a log line in place of the live line, which the next tick draws again.

        Raises:
            OSError: standard output cannot be written to.
        """
        clear, self._drawn = (_CLEAR if self._drawn else ""), False
        sys.stdout.write(clear + (self._coloured(text) if self._colours else text))
        sys.stdout.flush()

    def begin(self, file: str, number: int, total: int, statements: int) -> None:
        """Start the line of a file, ``number`` of ``total``."""
        self._file = f"{file} ({number} of {total})"
        self._statements, self._at = statements, None
        self._began = self._clock()
        self._next_look, self._activity = self._began + LOOK_EVERY / 2, Activity()

    def tick(self, waited: float, statements: tuple[int, int] | None, look: Callable[[], Activity]) -> None:
        """Draw the line; calls ``look``, which queries the server, every LOOK_EVERY seconds at most."""
        if not self._file:
            return
        self._at = statements
        if self._clock() >= self._next_look and not self._blind:
            try:
                self._activity = look()
            except Exception:  # no connection is left, of the server or a pooler
                self._blind, self._activity = True, Activity()
            self._next_look = self._clock() + LOOK_EVERY
        self._draw()

    def end(self) -> None:
        """Remove the line: nothing runs any more."""
        self._file = ""
        if self._drawn:
            self._drawn = False
            self._put(_CLEAR)

    def text(self, width: int | None = None) -> str:
        """What the line says, in at most ``width`` columns: what is least important goes first."""
        holder = self._activity.wait.holder.split(", ") if self._activity.wait else []
        for leaving in ((), (_MODE,), (_MODE, _POSITION)):
            for count in range(max(len(holder), _HOLDER), _HOLDER - 1, -1):
                line = visible(" | ".join(self._words(leaving, ", ".join(holder[:count]))))
                if width is None or _columns_of(line) <= width:
                    return line
        return fitted(line, width or 0)

    def _words(self, leaving: Collection[str], holder: str) -> Iterator[str]:
        """The line's parts without those that are to be left out."""
        yield self._file
        yield elapsed(max(1.0, self._clock() - self._began))
        if self._at is not None and self._statements > 1 and _POSITION not in leaving:
            yield _position(*self._at, self._statements)
        activity = self._activity
        if activity.index_phase is not None:
            percent = "" if activity.index_percent is None else f" {activity.index_percent}%"
            what = "" if "index" in activity.index_phase else "index: "
            yield f"{what}{activity.index_phase}{percent}"
        if activity.wait is not None:
            mode, on, relation = activity.wait.lock.partition(" on ")
            lock = relation if on and _MODE in leaving else mode + on + relation
            yield f"waits for {lock}, {holder}"

    def _draw(self) -> None:
        line = self.text(_width() - 1)
        self._drawn = True
        self._put(_CLEAR + (Colour.DIM(line) if self._colours else line))

    def _put(self, text: str) -> None:
        """Write to the terminal; the run continues if that is gone."""
        with contextlib.suppress(OSError, ValueError, AttributeError):
            sys.stdout.write(text)
            sys.stdout.flush()

    @staticmethod
    def _coloured(text: str) -> str:
        for level, colour in _LEVELS.items():
            before, separator, after = text.partition(f"{level} ")
            if separator and " " not in before.strip():  # at the beginning, or behind a time
                return f"{before}{colour(level)} {after}"
        return text


def _position(first: int, last: int, total: int) -> str:
    if (first, last) == (1, total):
        return f"{total} statements"
    at = f"statement {first}" if first == last else f"statements {first} to {last}"
    return f"{at} of {total}"


def fitted(text: str, width: int) -> str:
    """``text``, cut to at most ``width`` columns of a terminal."""
    if text.isascii():
        return text if len(text) <= width else text[: max(0, width - 1)] + "…"
    room, kept = width, ""
    for place, character in enumerate(text):
        needs = _columns(character)
        if needs > room - (place + 1 < len(text)):
            return kept + "…"
        room, kept = room - needs, kept + character
    return kept


def _columns_of(text: str) -> int:
    return len(text) if text.isascii() else sum(map(_columns, text))


def _columns(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in ("W", "F") else 1


def _width() -> int:
    try:
        return os.get_terminal_size(sys.stdout.fileno()).columns or 80
    except (OSError, ValueError):
        return 80
