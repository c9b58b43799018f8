"""Where the database is, from ``DATABASE_URL``, ``DB_*`` or libpq's own ``PG*`` variables."""

import re
from collections.abc import Mapping
from typing import Final

from psycopg import ProgrammingError, conninfo

from fluxbase_migrations.core.errors import ServerRefused

APPLICATION_NAME: Final = "fluxbase-migrate"

_PARTS: Final = {
    "DB_HOST": "host",
    "DB_PORT": "port",
    "DB_NAME": "dbname",
    "DB_USER": "user",
    "DB_PASSWORD": "password",
    "DB_SSLMODE": "sslmode",
}

DEFAULTS: Final = {
    "connect_timeout": "10",
    "application_name": APPLICATION_NAME,
    "keepalives": "1",
    "keepalives_idle": "30",
    "keepalives_interval": "10",
    "keepalives_count": "3",
    "tcp_user_timeout": "60000",
}
"""A dead server must be noticed within a minute or so."""

_QUOTED: Final = re.compile(r'".*"', re.DOTALL)
"""What libpq quotes of a URL that it cannot read may be any part of a password."""

_GOLANG_SCHEMES: Final = ("pgx5://", "pgx://", "pgx4://")


def parameters(environment: Mapping[str, str], url: str | None = None) -> dict[str, str]:
    """Libpq's connection parameters; what is absent is libpq's business (``PG*``, ``~/.pgpass``).

    ``url`` or else ``DATABASE_URL`` wins over ``DB_*``. golang-migrate's ``x-…`` query parameters and
    its driver schemes are understood and dropped.

    Raises:
        ServerRefused: the URL cannot be read; the message does not repeat it.
    """
    url = url or environment.get("DATABASE_URL")
    found: dict[str, str] = {}
    if url:
        _refuse_ambiguous(url)
        try:
            parsed = conninfo.conninfo_to_dict(_without_extensions(url))
        except ProgrammingError as error:
            raise _unreadable(_QUOTED.sub("…", str(error).strip())) from None
        found = {key: str(value) for key, value in parsed.items() if value is not None}
    else:
        found = {key: value for name, key in _PARTS.items() if (value := environment.get(name))}
    for key, value in DEFAULTS.items():
        found.setdefault(key, value)
    if "PGCONNECT_TIMEOUT" in environment and not (url and "connect_timeout" in url):
        found["connect_timeout"] = environment["PGCONNECT_TIMEOUT"]
    if "PGAPPNAME" in environment and "application_name" not in (url or ""):
        found["application_name"] = environment["PGAPPNAME"]
    return found


def _refuse_ambiguous(url: str) -> None:
    """Libpq would take a part of such a password for a host, a port or a name, and show it in its errors."""
    authority, slash, path = url.partition("://")[2].partition("?")[0].partition("/")
    if (authority + path).count("@") > 1:
        raise _unreadable("more than one @ (one in the password is written %40)")
    if slash and "@" in path:
        raise _unreadable("a / before the @ (one in the password is written %2F)")


def _without_extensions(url: str) -> str:
    """Drop what only golang-migrate reads from its URLs."""
    for scheme in _GOLANG_SCHEMES:
        if url.startswith(scheme):
            url = "postgres://" + url.removeprefix(scheme)
    base, question, query = url.partition("?")
    if not question or "://" not in base:
        return url
    kept = [pair for pair in query.split("&") if not pair.startswith("x-")]
    return base + ("?" + "&".join(kept) if kept else "")


def _unreadable(why: str) -> ServerRefused:
    return ServerRefused(
        f"the database URL cannot be read: {why}",
        hint="expected postgres://user:password@host:5432/name?sslmode=…, special characters in the "
        "password percent-encoded (DB_HOST, DB_USER, DB_PASSWORD, … take them as they are)",
    )


def secrets(found: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """What must never be printed."""
    names = ("password", "sslpassword")
    return [value for name in names if (value := found.get(name))] + [
        value for name in ("DB_PASSWORD", "PGPASSWORD") if (value := environment.get(name))
    ]


def scrub(text: str, hidden: list[str]) -> str:
    """Replace every secret in ``text``."""
    for secret in sorted(filter(None, hidden), key=len, reverse=True):
        if len(secret) > 2:
            text = text.replace(secret, "***")
    return text
