"""golang-migrate's own arguments, which a script may go on using when it changes the program's name.

Go takes an option with one dash or two. What an option cannot mean here is refused; what has no effect here
is accepted. The names and defaults are those that golang-migrate's `-help` prints.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import unquote

from fluxbase_migrations.core.golang import BOOLEANS

DATABASE: Final = "golang_database"
"""The argument that holds the URL of `-database`; the tracking table is then golang-migrate's."""
DEFAULT_TABLE: Final = "schema_migrations"
"""In the connection's current schema, unless the URL's x-migrations-table names another one."""

INSTEAD: Final = {"drop": "drop is left out: drop and create the database, with dropdb and createdb"}
"""Its commands that are not here."""

_SWITCHES: Final = frozenset(("all", "help", "seq", "verbose", "version"))
"""golang-migrate's options without a value, without their dashes."""


def without_booleans(arguments: Sequence[str]) -> list[str]:
    """The arguments with `-seq=true` as `-seq`, and without `-seq=false`: Go takes a value for a switch."""
    switches = _SWITCHES - {"version"} if "history" in arguments else _SWITCHES  # `history --version=1`
    kept = []
    for argument in arguments:
        name, _, value = argument.partition("=")
        if name.lstrip("-") in switches and name[:1] == "-" and value in BOOLEANS:
            kept += [name] if BOOLEANS[value] else []
        else:
            kept.append(argument)
    return kept


def source_directory(text: str) -> str:
    """The directory of `-source`: `file://` and a path, absolute or not; Go's parser takes `file:` as well.

    Raises:
        argparse.ArgumentTypeError: another driver.
    """
    scheme, separator, path = text.partition("://")
    if not separator:
        return unquote(text.removeprefix("file:")) if text.startswith("file:") else text
    if scheme != "file":
        raise argparse.ArgumentTypeError(
            f"source driver {scheme!r} is not supported; copy the files to a directory and give -path DIR"
        )
    return unquote(path)


def add_options(
    parser: argparse.ArgumentParser, url: Callable[[str], str], seconds: Callable[[str], float]
) -> None:
    """The options that stand before golang-migrate's commands; `--help` does not show them."""

    def hidden(*flags: str, **options: Any) -> None:
        parser.add_argument(*flags, help=argparse.SUPPRESS, default=argparse.SUPPRESS, **options)

    hidden("-path", "--path", "-source", dest="source", type=source_directory)
    hidden("-database", "--database", dest=DATABASE, type=url)
    hidden("-lock-timeout", dest="lock_timeout", type=seconds)
    hidden("-prefetch", "--prefetch", dest="prefetch", type=int)
    hidden("-verbose", "--verbose", dest="verbose", action="store_true")


def add_create_options(parser: argparse.ArgumentParser) -> None:
    """The options of golang-migrate's `create`; the others need the first."""
    group = parser.add_argument_group("as golang-migrate's create")

    def option(name: str, **options: Any) -> None:
        group.add_argument(f"-{name}", f"--{name}", default=argparse.SUPPRESS, **options)

    option("ext", metavar="E", help="number files as golang-migrate does; the extension is sql")
    option("dir", metavar="D", help="where to make them (default: the current directory)")
    option("seq", action="store_true", help="the next number instead of a timestamp")
    option("digits", type=int, metavar="N", help="digits of the number (default: 6)")
    option("format", metavar="F", help="form of the timestamp: a Go layout, unix or unixNano")
    option("tz", metavar="Z", help="time zone of the timestamp (default: UTC)")
