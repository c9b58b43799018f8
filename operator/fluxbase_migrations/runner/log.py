"""Log lines on stdout: ``LEVEL message key=value …`` as Fluxbase prints them, or one JSON object each."""

import contextlib
import errno
import json
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from fluxbase_migrations.core.log_lines import PLAN_LINE, PLAN_MARK, clean, field


class LogFormat(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


class LiveView(Protocol):
    """What a terminal shows while the server works. Its methods raise nothing."""

    def begin(self, file: str, number: int, total: int, statements: int) -> None:
        """A file begins: number ``number`` of ``total``, with so many statements."""

    def tick(
        self, waited: float, statements: tuple[int, int] | None, read_activity: Callable[[], Any]
    ) -> None:
        """The server has been at a message for ``waited`` seconds.

        ``statements`` are the first and the last that it may be at; ``read_activity`` asks the
        server what it does, and may raise.
        """

    def end(self) -> None:
        """The file has ended, in whichever way."""


class Log:
    """Writes one line per message, at once: the operator follows it.

    Where standard output takes nothing any more (a full disk, ``| head``) the run continues: the exit code
    says what has become of the database, and errors go to standard error.
    """

    def __init__(
        self,
        form: LogFormat = LogFormat.TEXT,
        write: Callable[[str], object] | None = None,
        *,
        timestamps: bool = False,
        live: LiveView | None = None,
    ) -> None:
        """``timestamps``: text has them, too. ``live``: what a terminal shows beside the lines."""
        self._form = form
        self._timestamps = timestamps
        self.live = live
        self._write = write or _to_stdout
        self._broken = False

    def info(self, message: str, **fields: Any) -> None:
        """What happens as it should."""
        self._line("INFO", message, fields)

    def warn(self, message: str, **fields: Any) -> None:
        """A problem that does not end the run."""
        self._line("WARN", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Why the run ends."""
        self._line("ERROR", message, fields)

    def plan(self, line: str, **fields: Any) -> None:
        """A line of a plan, which :func:`fluxbase_migrations.core.log_lines.plan_line` finds again."""
        if self._form is LogFormat.JSON:
            self._line("INFO", PLAN_LINE, {**fields, "line": line})
        elif not self._broken:
            self._try_write(f"{PLAN_MARK} {clean(line)}".rstrip())

    def _line(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if self._form is LogFormat.JSON:
            values = {name: _json_value(value) for name, value in fields.items()}
            document = {"time": _now(), "level": level, "msg": clean(message), **values}
            text = json.dumps(document, ensure_ascii=False)
        else:
            pairs = "".join(f" {key}={field(value)}" for key, value in fields.items())
            text = f"{_now()} " if self._timestamps else ""
            text += f"{level} {clean(message)}{pairs}"
        if (self._broken or not self._try_write(text)) and level == "ERROR":
            _to_stderr(text)

    def _try_write(self, text: str) -> bool:
        """Write a line; False, and no further try, where standard output takes nothing any more."""
        try:
            self._write(text + "\n")
        except (OSError, ValueError) as error:
            self._broken = True
            silence_stdout()
            if not isinstance(error, BrokenPipeError):  # the reader of a pipe has left on purpose
                _to_stderr(f"WARN standard output takes no more log lines: {error}; the run continues")
        return not self._broken


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")


def _json_value(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float) else clean(str(value))


def _to_stdout(text: str) -> None:
    if sys.stdout is None:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))
    sys.stdout.write(text)
    sys.stdout.flush()


def _to_stderr(text: str) -> None:
    with contextlib.suppress(OSError, ValueError, AttributeError):
        sys.stderr.write(text + "\n")
        sys.stderr.flush()


def silence_stdout() -> None:
    """Send standard output to the null device, so that flushing what is buffered cannot fail again."""
    with contextlib.suppress(OSError, ValueError, AttributeError):
        devnull = os.open(os.devnull, os.O_WRONLY)
        os.dup2(devnull, sys.stdout.fileno())
        os.close(devnull)
