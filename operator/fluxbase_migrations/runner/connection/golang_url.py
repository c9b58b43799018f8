"""What golang-migrate and its drivers read from a URL's query, beside libpq's own parameters.

golang-migrate takes every name that begins with ``x-`` for itself. Of the rest its drivers (lib/pq, pgx) keep
what they know, and send everything else to the server as a setting of the session.
"""

import re
from dataclasses import field
from typing import Final
from urllib.parse import unquote_plus

from fluxbase_migrations.core.errors import ServerRefused
from fluxbase_migrations.core.golang import BOOLEANS
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection import libpq
from fluxbase_migrations.runner.connection.table_name import TableName

_SCHEME: Final = "postgres"
_GOLANG_SCHEMES: Final = ("pgx5", "pgx", "pgx4")
SCHEMES: Final = (_SCHEME, "postgresql", *_GOLANG_SCHEMES)
"""How the URL of a PostgreSQL database begins, before ``://``."""

_TABLE: Final = "x-migrations-table"
_QUOTED: Final = "x-migrations-table-quoted"
_STATEMENT_TIMEOUT: Final = "x-statement-timeout"
_LOCK_STRATEGY: Final = "x-lock-strategy"

_WITHOUT_EFFECT: Final = frozenset(
    (
        "x-multi-statement",
        "x-multi-statement-max-size",
        "x-lock-table",
        # How lib/pq and pgx talk to the server.
        "binary_parameters",
        "disable_prepared_binary_result",
        "default_query_exec_mode",
        "description_cache_capacity",
        "statement_cache_capacity",
        "statement_cache_mode",
    )
)
_LIBPQ_ALIASES: Final = frozenset(("ssl",))
"""libpq reads ``ssl=true`` of a URL as ``sslmode=require``."""

_SETTING: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_$]*(\.[A-Za-z_][A-Za-z0-9_$]*)*")


@dataclass(frozen=True, slots=True)
class Extensions:
    """What a URL says beside libpq's parameters."""

    table: TableName | None = None
    """``x-migrations-table``; without a schema: in the connection's current one."""
    statement_timeout: float | None = None
    """``x-statement-timeout``, in seconds."""
    settings: dict[str, str] = field(default_factory=dict)
    """The server's settings by name."""


def split(url: str) -> tuple[str, Extensions]:
    """A URL as libpq understands it, and the rest. Connection strings of libpq's other form have no rest.

    Raises:
        ServerRefused: a parameter that is unknown or whose value is unusable; the message has its name, never
            its value.
    """
    base, question, query = url.partition("?")
    scheme, separator, rest = base.partition("://")
    if not separator:
        return url, Extensions()
    if scheme in _GOLANG_SCHEMES:
        base = f"{_SCHEME}://{rest}"
    libpq_pairs: list[str] = []
    other_parameters: dict[str, str] = {}
    for pair in query.split("&") if question else ():
        name = unquote_plus(pair.partition("=")[0])
        if name in libpq.keywords() or name in _LIBPQ_ALIASES:
            libpq_pairs.append(pair)
        elif pair:
            other_parameters.setdefault(name, unquote_plus(pair.partition("=")[2]))
    libpq_query = "?" + "&".join(libpq_pairs) if libpq_pairs else ""
    return base + libpq_query, _extensions(other_parameters)


def _extensions(parameters: dict[str, str]) -> Extensions:
    if parameters.get(_LOCK_STRATEGY, "") not in ("", "advisory"):
        why = "only advisory locks exclude each other; another program with a lock table would not wait"
        raise unusable(_LOCK_STRATEGY, why)
    known = {_TABLE, _QUOTED, _STATEMENT_TIMEOUT, _LOCK_STRATEGY, *_WITHOUT_EFFECT}
    settings = {name.lower(): value for name, value in parameters.items() if name not in known}
    for name in settings:
        if name.startswith("x-") or not _SETTING.fullmatch(name):
            raise unusable(name, "neither libpq, PostgreSQL nor golang-migrate's drivers know it")
    return Extensions(_table(parameters), _timeout(parameters), settings)


def _table(parameters: dict[str, str]) -> TableName | None:
    name = parameters.get(_TABLE, "")
    if not name:
        return None
    quoted = parameters.get(_QUOTED, "") or "false"
    if quoted not in BOOLEANS:
        raise unusable(_QUOTED, "expected true or false")
    if not BOOLEANS[quoted]:
        return TableName("", name)
    parts = re.findall(r'"([^"]*)"', name)
    if not (name.startswith('"') and name.endswith('"')) or not 1 <= len(parts) <= 2 or not all(parts):
        raise unusable(_TABLE, f'with {_QUOTED}, expected "schema"."table" or "table"')
    return TableName(parts[0] if len(parts) == 2 else "", parts[-1])


def _timeout(parameters: dict[str, str]) -> float | None:
    text = parameters.get(_STATEMENT_TIMEOUT, "")
    if not text:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise unusable(_STATEMENT_TIMEOUT, "expected a number of milliseconds")
    return int(text) / 1000


def unusable(name: str, why: str) -> ServerRefused:
    """A parameter of the URL that cannot be honoured."""
    return ServerRefused(
        f"parameter {name[:64]} of the database URL cannot be used: {why}",
        hint="remove it from the URL, or correct it",
    )
