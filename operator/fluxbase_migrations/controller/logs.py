"""The operator's own log: one line each, as text or JSON."""

import json
import logging
import sys
from datetime import UTC, datetime

from fluxbase_migrations.core.text import visible


class _Json(logging.Formatter):
    """One object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "msg": visible(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return json.dumps(fields, ensure_ascii=False)


class _Text(logging.Formatter):
    """Level and message; what others wrote into the message begins no new line."""

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # logging's own name
        """The line without a traceback."""
        return f"{record.levelname} {visible(record.message)}"


def configure(form: str) -> None:
    """Log to standard output, ``json`` or text."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # A watch that fails is told once, in one line, by us; kopf tells every try, with a traceback.
    # What goes wrong in a handler only kopf knows.
    for name, level in (("aiohttp", "WARNING"), ("kopf", "CRITICAL"), ("kopf.objects", "WARNING")):
        logging.getLogger(name).setLevel(level)
