"""``fluxbase-migrate config``: the effective settings, and where each comes from. Nothing secret is shown."""

import argparse
import json
from collections.abc import Iterator, Mapping
from typing import Any, Final

from psycopg import pq

from fluxbase_migrations.cli import golang_arguments, output
from fluxbase_migrations.cli.options import DEFAULT_SOURCE, OPTIONS, SOURCE_VARIABLE, Option
from fluxbase_migrations.core.errors import ServerRefused
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import TRACKING_TABLE, Track
from fluxbase_migrations.core.text import decoded, visible
from fluxbase_migrations.runner.connection import dsn
from fluxbase_migrations.runner.connection.dsn import Dsn
from fluxbase_migrations.runner.connection.golang_url import Extensions
from fluxbase_migrations.runner.connection.masking import scrub_connection_error

FLAG: Final = "command line"
DEFAULT: Final = "default"
MASKED: Final = "********"

_URL: Final = "database_url"
_KEYWORDS: Final = (
    *("host", "hostaddr", "port", "dbname", "user", "password", "passfile", "service"),
    *("sslmode", "sslrootcert", "sslcert", "sslkey"),
)
"""Those of libpq that say which database is meant; each may come from another place."""
_SECRET: Final = frozenset(("password",))
_ALWAYS: Final = frozenset(("host", "port", "dbname", "user"))
"""Parameters that are shown even where they are not set."""

Located = Mapping[str, tuple[str, str]]
"""Variables with their values, and the layers that these come from."""


@dataclass(frozen=True, slots=True)
class Setting:
    """One effective setting."""

    name: str
    value: str
    place: str
    """Flags, one of the layers of ``config``, or the default."""
    given_by: str = ""
    """The flag or the variable."""


def show(arguments: argparse.Namespace, located: Located) -> int:
    """Print every setting; returns 1 if the database's settings cannot be read."""
    settings, problem, database = list[Setting](), None, None
    try:
        database = _read(arguments, located)
        settings += _parameters(database, arguments, located)
    except dsn.NotConfigured:
        settings.append(Setting("database", "not configured", DEFAULT))
    except ServerRefused as error:
        problem = str(error)
        settings.append(Setting("database", problem, *_url_place(arguments, located)))
    options = {option.name: _option(option, arguments, located) for option in OPTIONS if option.name != _URL}
    settings += (
        options | _by_track(options, arguments) | _by_url(options, database, arguments, located)
    ).values()
    code = output.answer(_json(settings) if arguments.form == "json" else _table(settings))
    return 1 if problem else code


def _read(arguments: argparse.Namespace, located: Located) -> Dsn:
    """The database's settings.

    Raises:
        ServerRefused: they cannot be read.
    """
    variables = {name: decoded(value) for name, (value, _) in located.items()}
    url = _given_url(arguments)
    return dsn.read(variables, None if url is None else decoded(url))


def _given_url(arguments: argparse.Namespace) -> str | None:
    url: str | None = getattr(arguments, golang_arguments.DATABASE, getattr(arguments, _URL, None))
    return url


def _parameters(database: Dsn, arguments: argparse.Namespace, located: Located) -> Iterator[Setting]:
    """The settings of the connection."""
    variables = {name: decoded(value) for name, (value, _) in located.items()}
    url = _given_url(arguments)
    with_url = bool(url or variables.get("DATABASE_URL", "").strip())
    parts = {keyword: variable for variable, keyword in dsn.PARTS.items()}
    known = {option.keyword.decode(): option for option in pq.Conninfo.get_defaults()}
    for keyword in _KEYWORDS:
        value = database.parameters.get(keyword)
        variable = (known[keyword].envvar or b"").decode()
        place: tuple[str, str] = DEFAULT, ""
        if value and with_url and not (keyword == "user" and value == variables.get(variable, "").strip()):
            place = _url_place(arguments, located)
        elif value and located.get(parts.get(keyword, ""), ("", ""))[0].strip():
            place = located[parts[keyword]][1], parts[keyword]
        elif variable in located:
            value, place = value or variables[variable], (located[variable][1], variable)
        else:
            value = value or (known[keyword].val or b"").decode(errors="replace")
        if value or keyword in _ALWAYS:
            printable = MASKED if keyword in _SECRET else scrub_connection_error(value or "", database.hidden)
            yield Setting(f"database.{keyword}", printable, *place)


def _by_track(options: Mapping[str, Setting], arguments: argparse.Namespace) -> dict[str, Setting]:
    """The tracking table where only the track decides on it."""
    track = Track(options["track"].value)
    if options["table"].place != DEFAULT:
        return {}
    if golang_arguments.DATABASE in arguments and track is Track.USER:
        return {"table": Setting("table", golang_arguments.DEFAULT_TABLE, FLAG, "-database")}
    return {"table": Setting("table", ".".join(TRACKING_TABLE[track]), DEFAULT)}


def _by_url(
    options: Mapping[str, Setting], database: Dsn | None, arguments: argparse.Namespace, located: Located
) -> dict[str, Setting]:
    """What the URL says of the table and the time limit, where no option does."""
    url, place = database.url if database else Extensions(), _url_place(arguments, located)
    settings = {}
    if url.table is not None and options["table"].place == DEFAULT and options["track"].value == Track.USER:
        settings["table"] = Setting("table", str(url.table), *place)
    if url.statement_timeout is not None and options["statement_timeout"].place == DEFAULT:
        settings["statement_timeout"] = Setting("statement-timeout", _text(url.statement_timeout), *place)
    return settings


def _url_place(arguments: argparse.Namespace, located: Located) -> tuple[str, str]:
    if golang_arguments.DATABASE in arguments:
        return FLAG, "-database"
    if _URL in arguments:
        return FLAG, "--database-url"
    return located.get("DATABASE_URL", ("", DEFAULT))[1], "DATABASE_URL" if "DATABASE_URL" in located else ""


def _option(option: Option, arguments: argparse.Namespace, located: Located) -> Setting:
    name = option.flag.removeprefix("--")
    if option.name in arguments:
        return Setting(name, _text(getattr(arguments, option.name)), FLAG, option.flag)
    for variable in (option.variable, *((SOURCE_VARIABLE,) if option.name == "source" else ())):
        value, place = located.get(variable, ("", ""))
        if value:
            parsed = option.parse(value) if variable == option.variable else value
            return Setting(name, _text(parsed), place, variable)
    return Setting(name, DEFAULT_SOURCE if option.name == "source" else option.default, DEFAULT)


def _text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case float():
            return f"{value:g}s"
        case tuple():
            return ", ".join(map(str, value))
        case str() if type(value) is not str:  # an enumeration's, as it is typed
            return value.lower()
    return str(value)


def _table(settings: list[Setting]) -> list[str]:
    rows = [
        (
            setting.name,
            visible(setting.value),
            f"{setting.given_by} ({setting.place})" if setting.given_by else setting.place,
        )
        for setting in settings
    ]
    return output.table([("SETTING", "VALUE", "FROM"), *rows])


def _json(settings: list[Setting]) -> list[str]:
    documents = [
        {
            "setting": setting.name,
            "value": visible(setting.value),
            "from": setting.place,
            "givenBy": setting.given_by or None,
        }
        for setting in settings
    ]
    return [json.dumps(documents, indent=2, ensure_ascii=False)]
