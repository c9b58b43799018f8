"""Log lines on stdout: ``LEVEL message key=value …`` as Fluxbase prints them, or one JSON object each."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any


class LogFormat(StrEnum):
    """How a line looks."""

    TEXT = "text"
    JSON = "json"


class Log:
    """Writes one line per message, at once: the operator follows it."""

    def __init__(
        self, form: LogFormat = LogFormat.TEXT, write: Callable[[str], object] | None = None
    ) -> None:
        self._form = form
        self._write = write or sys.stdout.write
        self._flush = sys.stdout.flush if write is None else None

    def info(self, message: str, **fields: Any) -> None:
        """What happens as it should."""
        self._line("INFO", message, fields)

    def warn(self, message: str, **fields: Any) -> None:
        """What somebody should look at; the run goes on."""
        self._line("WARN", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Why the run ends."""
        self._line("ERROR", message, fields)

    def _line(self, level: str, message: str, fields: dict[str, Any]) -> None:
        if self._form is LogFormat.JSON:
            now = datetime.now(UTC).isoformat(timespec="milliseconds")
            text = json.dumps(
                {"time": now, "level": level, "msg": message, **fields}, ensure_ascii=False, default=str
            )
        else:
            pairs = "".join(f" {key}={_value(value)}" for key, value in fields.items())
            text = f"{level} {message}{pairs}".replace("\r", " ").replace("\n", " ")
        self._write(text + "\n")
        if self._flush:
            self._flush()


def _value(value: Any) -> str:
    text = str(value)
    return json.dumps(text, ensure_ascii=False) if any(one in text for one in ' "=\n') or not text else text
