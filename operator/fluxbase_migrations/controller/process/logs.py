"""The operator's own log: one line each, as text or JSON.

Logged texts are often written by users of other namespaces: none may end a line or forge another.
"""

import json
import logging
import sys
from datetime import UTC, datetime

from fluxbase_migrations.core.text import visible


class _Text(logging.Formatter):
    """``LEVEL message`` on one line, the traceback included."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as text."""
        return visible(super().format(record))


class _Json(logging.Formatter):
    """A JSON object on each line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        fields = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "msg": visible(record.getMessage()),
        }
        if record.exc_info:
            fields["exception"] = visible(self.formatException(record.exc_info))
        return json.dumps(fields, ensure_ascii=False)


def configure(form: str) -> None:
    """Log to standard output, as ``json`` or as text."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(_Json() if form == "json" else _Text("%(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)
    # The operator logs a failing watch once, in one line; kopf would log every try, with a traceback.
    # Errors in a handler are logged by kopf only.
    for name, level in (("aiohttp", "WARNING"), ("kopf", "CRITICAL"), ("kopf.objects", "WARNING")):
        logging.getLogger(name).setLevel(level)
