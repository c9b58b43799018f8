"""Where the database is, from ``DATABASE_URL``, ``DB_*`` or libpq's own ``PG*`` variables."""

import os
import re
from collections.abc import Mapping
from dataclasses import field
from typing import Final

from psycopg import conninfo, errors

from fluxbase_migrations.core.defaults import CONNECT_PATIENCE
from fluxbase_migrations.core.errors import ServerRefused
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import APPLICATION_NAME, TRACKING_TABLE, Track
from fluxbase_migrations.runner.connection import golang_url, libpq
from fluxbase_migrations.runner.connection.golang_url import Extensions
from fluxbase_migrations.runner.connection.session import Settings
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.log import Log

PARTS: Final = {
    "DB_HOST": "host",
    "DB_PORT": "port",
    "DB_NAME": "dbname",
    "DB_USER": "user",
    "DB_PASSWORD": "password",
    "DB_SSLMODE": "sslmode",
}
"""Variables, and the parameters of libpq that they stand for."""
_LIBPQ_PLACES: Final = ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE")
"""Variables of libpq; any of them says which database to use."""

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
_OF_OPTION: Final = re.compile(r' for connection option "(\w+)"$')
"""How libpq ends a message about the value of one of its parameters."""
_FORM: Final = re.compile(rf"(?:{'|'.join(golang_url.SCHEMES)})://|\w+\s*=")
"""How a URL begins, or libpq's other form, ``host=… dbname=…``."""


class NotConfigured(ServerRefused):
    """Neither an option nor a variable says which database to use."""


@dataclass(frozen=True, slots=True)
class Dsn:
    """Which database, and what its URL says beside libpq's parameters."""

    parameters: dict[str, str] = field(repr=False)
    """Libpq's; what is absent is libpq's business (``PG*``, ``~/.pgpass``)."""
    hidden: list[str] = field(repr=False)
    """What must never be printed."""
    url: Extensions = field(default_factory=Extensions)

    def settings(
        self,
        statement_timeout: float | None = None,
        ddl_lock_timeout: float | None = None,
        connect_patience: float = CONNECT_PATIENCE,
    ) -> Settings:
        """The session's settings; the arguments, in seconds, win over the URL."""
        if statement_timeout is None:
            statement_timeout = self.url.statement_timeout
        return Settings(statement_timeout, ddl_lock_timeout, connect_patience, self.url.settings)

    def foreign(self, track: Track) -> tuple[TableName, ...]:
        """What the URL says of another track's tracking table than ``track``'s."""
        return (self.url.table,) if self.url.table is not None and track is not Track.USER else ()

    def table(self, track: Track, chosen: TableName | None, log: Log) -> TableName | None:
        """The tracking table of ``track``: ``chosen`` by an option, or the URL's; None: the track's own.

        The URL's is that of the application's migrations, never of the built-in ones.
        """
        of_url = self.url.table
        if of_url is None:
            return chosen
        if chosen is None and track is Track.USER:
            return of_url
        used = chosen or TableName(*TRACKING_TABLE[track])
        if (used.schema if of_url.schema else "", used.name) != (of_url.schema, of_url.name):
            log.info("the URL's x-migrations-table is not used", source=track.value, table=used, url=of_url)
        return chosen


def read(environment: Mapping[str, str], url: str | None = None) -> Dsn:
    """The database that is meant; ``url`` or else ``DATABASE_URL`` wins over ``DB_*``.

    White space around a URL, a user and the other parts is dropped: it comes from files that became Secrets.
    In a password it may be meant.

    Raises:
        NotConfigured: there is none.
        ServerRefused: the URL cannot be used; the message does not repeat it.
    """
    url = (url or environment.get("DATABASE_URL", "")).strip()
    parameters, extensions = _of_url(url) if url else (_of_parts(environment), Extensions())
    if not url and not parameters and not any(environment.get(name) for name in _LIBPQ_PLACES):
        raise _not_configured(environment)
    if "user" not in parameters and (user := environment.get("PGUSER", "").strip()):
        parameters["user"] = user
    resolved = libpq.resolve(parameters)
    if resolved.problem is not None:
        raise _unusable(_without_values(resolved.problem))
    for key, value in DEFAULTS.items():
        if not resolved.values.get(key):
            parameters[key] = value
    if options := resolved.values.get("options"):
        parameters["options"] = options  # of PGOPTIONS or the service file; ours are added to them
    return Dsn(parameters, _secrets(parameters, environment), extensions)


def _of_url(url: str) -> tuple[dict[str, str], Extensions]:
    _refuse_ambiguous(url)
    libpq_url, extensions = golang_url.split(url)
    try:
        parsed = conninfo.conninfo_to_dict(libpq_url)
    except errors.ProgrammingError as error:
        raise _unusable(_without_values(str(error).strip())) from None
    return {key: str(value) for key, value in parsed.items() if value is not None}, extensions


def _of_parts(environment: Mapping[str, str]) -> dict[str, str]:
    parameters = {}
    for name, key in PARTS.items():
        value = environment.get(name, "")
        if value := value if key == "password" else value.strip():
            parameters[key] = value
    return parameters


def _not_configured(environment: Mapping[str, str]) -> NotConfigured:
    empty = " (DATABASE_URL is empty)" if "DATABASE_URL" in environment else ""
    return NotConfigured(
        f"no database is configured{empty}",
        hint="set --database-url or DATABASE_URL (postgres://user:password@host:5432/name), or DB_HOST, "
        "DB_NAME, DB_USER and DB_PASSWORD, or libpq's PGHOST, PGDATABASE, PGUSER, …",
    )


def _refuse_ambiguous(url: str) -> None:
    """Libpq would take a part of such a password for a host, a port or a name, and show it in its errors."""
    if not _FORM.match(url):
        raise _unusable("the URL does not begin with postgres://")
    before, _, query = url.partition("://")[2].partition("?")
    authority, slash, path = before.partition("/")
    if before.count("@") > 1:
        raise _unusable("more than one @ (one in the password is written %40)")
    if slash and "@" in path:
        raise _unusable("a / before the @ (one in the password is written %2F)")
    if "@" not in authority and "@" in query:
        raise _unusable("a ? before the @ (one in the password is written %3F)")


def _without_values(problem: str) -> str:
    """Libpq's message with nothing of what it quotes but the name of a parameter of its own."""
    match = _OF_OPTION.search(problem)
    named = match[0] if match and match[1] in libpq.keywords() else ""
    return _QUOTED.sub("…", problem.removesuffix(named)) + named


def _unusable(why: str) -> ServerRefused:
    return ServerRefused(
        f"the database's connection parameters cannot be read: {why}",
        hint="expected postgres://user:password@host:5432/name?sslmode=…, special characters in the "
        "password percent-encoded (DB_HOST, DB_USER, DB_PASSWORD, … take them as they are)",
    )


def password_of(parameters: Mapping[str, str]) -> str:
    """The password that libpq will use, as far as it is not in a file."""
    return parameters.get("password") or os.environ.get("PGPASSWORD", "")


def _secrets(parameters: Mapping[str, str], environment: Mapping[str, str]) -> list[str]:
    """What must never be printed, but for what libpq's errors tell anyway, like the user's name."""
    values = [parameters.get(name) for name in ("password", "sslpassword")]
    values += [environment.get(name) for name in ("DB_PASSWORD", "PGPASSWORD")]
    public = {parameters.get(name) or environment.get(variable) for name, variable in _NOT_SECRET.items()}
    return list(dict.fromkeys(value for value in values if value and value not in public))


_NOT_SECRET: Final = {"user": "PGUSER", "dbname": "PGDATABASE", "host": "PGHOST"}
