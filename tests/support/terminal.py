"""A pseudo-terminal: what a program writes there, and what then stands on the screen."""

import codecs
import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

CLEAR: Final = "\r\x1b[2K"
"""Back to the beginning of the line, which is emptied: the only way in which our programs redraw."""
COLOUR: Final = re.compile(r"\x1b\[[\d;]*m")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b-\x1a\x1c-\x1f\x7f]|\x1b(?!\[[\d;]*m)")
ROWS: Final = 24


class Terminal:
    """A program on a pseudo-terminal, and all that it has written there.

    Args:
        directory: Where it runs.
        argv: The program and its arguments.
        variables: All of its environment.
        columns: The terminal's width.
        stderr: Standard error: ``subprocess.PIPE`` keeps it away from the terminal; None leaves it there.
    """

    def __init__(
        self,
        directory: Path,
        argv: Sequence[str],
        *,
        variables: Mapping[str, str],
        columns: int = 100,
        stderr: int | None = subprocess.PIPE,
    ) -> None:
        self._ours, theirs = pty.openpty()
        self.text = ""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, columns, 0, 0))
        self.process = subprocess.Popen(
            argv,
            env=dict(variables),
            cwd=directory,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs if stderr is None else stderr,
        )
        os.close(theirs)

    def read(self, until: Callable[[str], Any], seconds: float = 60) -> str:
        """What was written until then, or until the program has ended."""
        deadline = time.monotonic() + seconds
        while not until(self.text):
            assert time.monotonic() < deadline, self.text
            if not select.select([self._ours], [], [], 1)[0]:
                continue
            try:
                self.text += self._decoder.decode(os.read(self._ours, 65536))
            except OSError:  # the program has closed its end
                break
        return self.text

    def type(self, line: str) -> None:
        """Type a line, which the terminal echoes."""
        os.write(self._ours, f"{line}\n".encode())

    def end(self, code: int = 0, seconds: float = 60) -> str:
        """All that it wrote, once it has ended with that exit code."""
        self.read(lambda _text: False, seconds)
        assert self.process.wait(seconds) == code, self.text
        if self.process.stderr is not None:
            self.process.stderr.close()
        os.close(self._ours)
        return self.text


def screen(text: str) -> list[str]:
    """The lines that stand on the screen after ``text``, as long as they are, with their colours.

    Raises:
        ValueError: ``text`` has a control character that is not known here.
    """
    lines = [line.rstrip("\r").split(CLEAR)[-1] for line in text.split("\n")]
    for line in lines:
        if found := _CONTROL.search(line):
            raise ValueError(f"what does {found[0]!r} do in {line!r}?")
    return lines if lines[-1] else lines[:-1]


def plain(line: str) -> str:
    """``line`` without its colours."""
    return COLOUR.sub("", line)
