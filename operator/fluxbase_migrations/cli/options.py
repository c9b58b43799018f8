"""The options that every command takes, and the environment variables that stand for them."""

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from fluxbase_migrations.cli import config, golang_arguments, option_values
from fluxbase_migrations.cli.help_texts import Section
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import (
    ENV_LOG_FORMAT,
    ExposurePolicy,
    OutOfOrderPolicy,
    Recovery,
    Track,
    UnknownFiles,
)
from fluxbase_migrations.runner.connection.signals import OnSignal
from fluxbase_migrations.runner.log import LogFormat

DEFAULT_SOURCE: Final = "migrations"
SOURCE_VARIABLE: Final = "DB_USER_MIGRATIONS_PATH"


@dataclass(frozen=True, slots=True)
class Option:
    """An option, which is also an environment variable."""

    flag: str
    variable: str
    parse: Callable[[str], Any]
    metavar: str
    text: str
    section: Section
    repeatable: bool = False
    """Each use on the command line adds to those before; ``parse`` gives a tuple."""
    switch: bool = False
    """It takes no value on the command line; its variable is true or false."""

    @property
    def name(self) -> str:
        """As the parser keeps it."""
        return self.flag.removeprefix("--").replace("-", "_")

    @property
    def default(self) -> str:
        """The default, as the help states it."""
        match = re.search(r"\(default: (.*)\)$", self.text)
        return match[1] if match else "false" if self.switch else ""


def _choice(flag: str, variable: str, kind: type[StrEnum], text: str, section: Section) -> Option:
    return Option(
        flag,
        variable,
        option_values.one_of(kind),
        "|".join(choice.value.lower() for choice in kind),
        text,
        section,
    )


OPTIONS: Final = (
    Option(
        "--database-url",
        "DATABASE_URL",
        option_values.url,
        "URL",
        "the database: postgres://user:password@host:5432/name",
        Section.CONNECTION,
    ),
    Option(
        "--source",
        "FLUXBASE_SOURCE",
        golang_arguments.source_directory,
        "DIR",
        f"directory of the migration files (default: {SOURCE_VARIABLE}, or {DEFAULT_SOURCE})",
        Section.FILES,
    ),
    _choice(
        "--track",
        "FLUXBASE_TRACK",
        Track,
        "whose migrations: yours, or the built-in ones of the platform (default: user)",
        Section.TABLES,
    ),
    Option(
        "--table",
        "FLUXBASE_TABLE",
        option_values.table,
        "SCHEMA.NAME",
        "tracking table (default: migrations.app, or migrations.fluxbase with --track system)",
        Section.TABLES,
    ),
    Option(
        "--foreign-table",
        "FLUXBASE_FOREIGN_TABLES",
        option_values.tables,
        "SCHEMA.NAME",
        "a version table of another program, which says nothing about this one; may be repeated, in the "
        "variable separated by commas",
        Section.TABLES,
        repeatable=True,
    ),
    Option(
        "--connect-timeout",
        "FLUXBASE_CONNECT_TIMEOUT",
        option_values.duration,
        "DURATION",
        "try this long to reach the server; 0 tries once (default: 1m)",
        Section.LIMITS,
    ),
    Option(
        "--lock-timeout",
        "FLUXBASE_LOCK_TIMEOUT",
        option_values.duration,
        "DURATION",
        "wait this long for another migration to end (default: 5m)",
        Section.LIMITS,
    ),
    Option(
        "--ddl-lock-timeout",
        "FLUXBASE_DDL_LOCK_TIMEOUT",
        option_values.duration,
        "DURATION",
        "PostgreSQL's lock_timeout: how long a statement may wait for a table (default: the server's)",
        Section.LIMITS,
    ),
    Option(
        "--statement-timeout",
        "FLUXBASE_STATEMENT_TIMEOUT",
        option_values.duration,
        "DURATION",
        "PostgreSQL's statement_timeout: how long a statement may take (default: no limit)",
        Section.LIMITS,
    ),
    _choice(
        "--log-format",
        ENV_LOG_FORMAT,
        LogFormat,
        "form of the log lines (default: text)",
        Section.LOG,
    ),
    Option(
        "--log-timestamps",
        "FLUXBASE_LOG_TIMESTAMPS",
        option_values.boolean,
        "",
        "put the time in front of each line of text; JSON has it anyway",
        Section.LOG,
        switch=True,
    ),
    _choice(
        "--recovery",
        "FLUXBASE_RECOVERY",
        Recovery,
        "after a failed migration: run it again even where what it left is not known, only where it is, "
        "or never (default: automatic for run, else proven)",
        Section.FAILURES,
    ),
    _choice(
        "--out-of-order",
        "FLUXBASE_OUT_OF_ORDER",
        OutOfOrderPolicy,
        "what to do about files below the recorded version that were never applied (default: warn)",
        Section.FILES,
    ),
    _choice(
        "--exposure",
        "FLUXBASE_EXPOSURE",
        ExposurePolicy,
        "what to do about objects that anon and authenticated reach past row-level security once your "
        "migrations are applied "
        "(default: warn)",
        Section.FAILURES,
    ),
    _choice(
        "--unknown-files",
        "FLUXBASE_UNKNOWN_FILES",
        UnknownFiles,
        "what to do about .sql files whose name is no migration's: refuse the source, or leave them out "
        "(default: fail)",
        Section.FILES,
    ),
    _choice(
        "--on-signal",
        "FLUXBASE_ON_SIGNAL",
        OnSignal,
        "on SIGTERM, SIGINT or SIGHUP: cancel what runs if that rolls it back, let the file finish, or "
        "cancel what runs in any case (default: auto)",
        Section.FAILURES,
    ),
)

_IN_SECTIONS: Final = sorted(OPTIONS, key=lambda option: tuple(Section).index(option.section))


def _adding(option: Option, collected: dict[str, tuple[Any, ...]]) -> Callable[[str], tuple[Any, ...]]:
    def parse(text: str) -> tuple[Any, ...]:
        collected[option.name] = (*collected.get(option.name, ()), *option.parse(text))
        return collected[option.name]

    return parse


def add_shared_options(
    to: argparse.ArgumentParser,
    listed: Sequence[str],
    collected: dict[str, tuple[Any, ...]],
    title: str | None = None,
) -> None:
    """Every shared option; help shows those that are ``listed``, below ``title`` or in their sections."""
    groups: dict[str, argparse._ArgumentGroup] = {}
    for option in _IN_SECTIONS:
        under: argparse._ActionsContainer = to
        text = argparse.SUPPRESS
        if option.name in listed:
            name = title or option.section
            under = groups[name] = groups.get(name) or to.add_argument_group(name)
            text = f"{option.text} [{option.variable}]"
        if option.switch:
            under.add_argument(option.flag, action="store_true", help=text, default=argparse.SUPPRESS)
            continue
        parse = _adding(option, collected) if option.repeatable else option.parse
        under.add_argument(
            option.flag, type=parse, help=text, metavar=option.metavar, default=argparse.SUPPRESS
        )


def chosen_options(arguments: argparse.Namespace, variables: Mapping[str, str]) -> dict[str, Any]:
    """The options by name: flags, or else variables.

    Raises:
        ConfigError: a variable that cannot be understood.
    """
    chosen: dict[str, Any] = {}
    for option in OPTIONS:
        if option.name in arguments:
            chosen[option.name] = getattr(arguments, option.name)
        elif value := variables.get(option.variable):
            try:
                chosen[option.name] = option.parse(value)
            except argparse.ArgumentTypeError as error:
                raise config.ConfigError(f"{option.variable}: {error}") from None
    if golang_arguments.DATABASE in arguments:
        chosen["database_url"] = getattr(arguments, golang_arguments.DATABASE)
        chosen["default_table"] = golang_arguments.DEFAULT_TABLE
    return chosen
