"""The command line's arguments: every command and option, and their environment variables."""

import argparse
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from enum import StrEnum
from typing import Any, Final, NoReturn

from fluxbase_migrations.cli import config, golang_arguments, help_texts, own_version, process_list
from fluxbase_migrations.cli.completion import SHELLS
from fluxbase_migrations.cli.help_texts import Section
from fluxbase_migrations.cli.importing import Tool
from fluxbase_migrations.cli.usage import CommandParser
from fluxbase_migrations.core.files import MAX_VERSION, NIL
from fluxbase_migrations.core.golang import BOOLEANS
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import (
    ENV_LOG_FORMAT,
    QUALIFIED_TABLE,
    ExposurePolicy,
    OutOfOrderPolicy,
    Recovery,
    Track,
    UnknownFiles,
)
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.connection.signals import OnSignal
from fluxbase_migrations.runner.log import LogFormat

PROGRAM: Final = own_version.PROGRAM
DEFAULT_SOURCE: Final = "migrations"
DETAILED_EXITCODE: Final = "--detailed-exitcode"
SOURCE_VARIABLE: Final = "DB_USER_MIGRATIONS_PATH"

MOST_MILLISECONDS: Final = 2**31 - 1
"""PostgreSQL's settings are 32 bits wide: the largest duration, a little more than 24 days."""
_LONGEST: Final = f"{MOST_MILLISECONDS // 3_600_000}h{MOST_MILLISECONDS // 60_000 % 60}m"

_CONNECTION: Final = re.compile(r"(://|password\s*=).*", re.DOTALL | re.IGNORECASE)
"""From where a connection string in the wrong place may hold a password."""


def without_connection(message: str) -> str:
    """A usage error's text up to a connection string that it quotes."""
    return _CONNECTION.sub(r"\1…", message)


class _Parser(CommandParser):
    """Its errors quote what was typed, but no password."""

    instead = golang_arguments.INSTEAD

    def error(self, message: str) -> NoReturn:
        super().error(visible(without_connection(message)))


def _one_of(kind: type[StrEnum]) -> Callable[[str], StrEnum]:
    """An option's value among an enumeration's, in any case."""

    def parse(text: str) -> StrEnum:
        for choice in kind:
            if choice.value.lower() == text.strip().lower():
                return choice
        raise argparse.ArgumentTypeError(f"{text!r} is not one of {', '.join(kind)}")

    return parse


def _seconds(text: str) -> float:
    try:
        duration = config.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    if duration * 1000 > MOST_MILLISECONDS:
        raise argparse.ArgumentTypeError(f"{text!r} is too long; the largest duration is {_LONGEST}")
    if 0 < duration < 0.001:
        raise argparse.ArgumentTypeError(f"{text!r} is too short; the smallest duration is 1ms, 0 is none")
    return duration


def _version(text: str) -> int:
    digits = text.lstrip("0") or text[-1:]
    if not digits.isascii() or not digits.isdigit() or len(digits) > 19 or int(digits) > MAX_VERSION:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version")
    return int(digits)


def _boolean(text: str) -> bool:
    value = BOOLEANS.get(text.strip().lower())
    if value is None:
        raise argparse.ArgumentTypeError(f"{text!r} is not true or false")
    return value


def _count(text: str) -> int:
    try:
        return _version(text)
    except argparse.ArgumentTypeError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number") from None


def _forced(text: str) -> int:
    return NIL if text == str(NIL) else _version(text)


def _url(text: str) -> str:
    process_list.hide(text)
    if not text.strip():
        raise argparse.ArgumentTypeError("the URL is empty")
    return text


def _table(text: str) -> str:
    if not re.fullmatch(QUALIFIED_TABLE, text.strip()):
        raise argparse.ArgumentTypeError(f"{text!r} is not schema.name")
    return text


def _tables(text: str) -> tuple[str, ...]:
    """Tables, separated by commas."""
    tables = tuple(re.findall(r'\s*((?:"(?:[^"]|"")*"|[^",])+)\s*(?:,|$)', text))
    for name in tables:
        if not re.fullmatch(QUALIFIED_TABLE, name):
            raise argparse.ArgumentTypeError(f"{name!r} is not schema.name")
    return tables


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
        flag, variable, _one_of(kind), "|".join(choice.value.lower() for choice in kind), text, section
    )


OPTIONS: Final = (
    Option(
        "--database-url",
        "DATABASE_URL",
        _url,
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
        _table,
        "SCHEMA.NAME",
        "tracking table (default: migrations.app, or migrations.fluxbase with --track system)",
        Section.TABLES,
    ),
    Option(
        "--foreign-table",
        "FLUXBASE_FOREIGN_TABLES",
        _tables,
        "SCHEMA.NAME",
        "a version table of another program, which says nothing about this one; may be repeated, in the "
        "variable separated by commas",
        Section.TABLES,
        repeatable=True,
    ),
    Option(
        "--connect-timeout",
        "FLUXBASE_CONNECT_TIMEOUT",
        _seconds,
        "DURATION",
        "try this long to reach the server; 0 tries once (default: 1m)",
        Section.LIMITS,
    ),
    Option(
        "--lock-timeout",
        "FLUXBASE_LOCK_TIMEOUT",
        _seconds,
        "DURATION",
        "wait this long for another migration to end (default: 5m)",
        Section.LIMITS,
    ),
    Option(
        "--ddl-lock-timeout",
        "FLUXBASE_DDL_LOCK_TIMEOUT",
        _seconds,
        "DURATION",
        "PostgreSQL's lock_timeout: how long a statement may wait for a table (default: the server's)",
        Section.LIMITS,
    ),
    Option(
        "--statement-timeout",
        "FLUXBASE_STATEMENT_TIMEOUT",
        _seconds,
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
        _boolean,
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


def parser(words: Collection[str] | None = None) -> argparse.ArgumentParser:
    """Every command and option; options may stand before or after the command.

    With the ``words`` that are to be parsed, a command that is not among them lacks the shared options:
    they take most of the time here.
    """
    top = _Parser(
        prog=PROGRAM,
        usage=f"{PROGRAM} [OPTION …] COMMAND [ARGUMENT] [OPTION …]",
        formatter_class=help_texts.Formatter,
        epilog=f"{PROGRAM} COMMAND --help shows a command's options, with examples; they may also stand\n"
        "before the command. Options come from the command line, then the environment, then .env, then\n"
        "fluxbase.yaml; golang-migrate's own (-path, -source, -database, …) mean what they mean there.\n\n"
        f"{help_texts.exit_codes()}",
    )
    top.add_argument("-help", action="help", help=argparse.SUPPRESS)
    top.add_argument(
        *own_version.WORDS,
        action="version",
        version=own_version.LINE,
        help="print this program's version",
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", help=argparse.SUPPRESS, prog=PROGRAM)
    texts: dict[str, str] = {}

    def add(name: str, text: str, argument: str = "") -> argparse.ArgumentParser:
        texts[name] = text
        return commands.add_parser(
            name,
            usage=f"{PROGRAM} {name} {argument}".rstrip() + " [OPTION …]",
            help=text,
            description=text,
            formatter_class=help_texts.Formatter,
            epilog=help_texts.epilog(PROGRAM, name),
        )

    add("run", "apply system, then user migrations, as a platform start does")
    add("job", "run what FLUXBASE_JOB describes (the operator's Jobs do this)")
    up = add("up", "apply all migrations, or the next N", "[N]")
    up.add_argument("count", nargs="?", type=_count, metavar="N", help="how many files (default: all)")
    down = add("down", "revert the last migration, the last N, or all", "[N | --all [--yes]]")
    down.add_argument("count", nargs="?", type=_count, metavar="N", help="how many files (default: 1)")
    down.add_argument("--all", action="store_true", help="revert everything; asks first")
    down.add_argument("--yes", action="store_true", help="do not ask")
    down.add_argument("-all", action="store_true", dest="all_unasked", help=argparse.SUPPRESS)
    goto = add("goto", "go up or down to version V", "V")
    goto.add_argument("target", type=_version, metavar="V", help="a version of the source")
    force = add("force", "record version V as applied and clean, running nothing", "V")
    force.add_argument("target", type=_forced, metavar="V", help="a version; -1: nothing is applied")
    baseline = add(
        "baseline", "record the version of a database that something else has migrated", "V | --from TABLE"
    )
    baseline.add_argument("target", nargs="?", type=_version, metavar="V", help="a version of the source")
    baseline.add_argument(
        "--from",
        dest="other",
        type=_table,
        metavar="SCHEMA.NAME",
        help="take the version over from the table of golang-migrate or another tool, which stays as it is",
    )
    add("version", "print the recorded version")
    status = add("status", "print where each migration of both tracks stands", "[-o text|json]")
    status.add_argument(
        "-o",
        dest="form",
        choices=["text", "json"],
        default="text",
        help="output format (default: %(default)s)",
    )
    _add_plan(add("plan", "print what would run now: statements, locks, rewrites, losses", "[N | --to V]"))
    _add_history(add("history", "print what was done, by whom and when", "[-n N | --all] [--version V]"))
    create = add("create", "make an empty pair of files with the next number or timestamp", "NAME")
    create.add_argument("name", metavar="NAME", help="like add_users_table")
    golang_arguments.add_create_options(create)
    validate = add("validate", "check the files by themselves, without a database", "[DIR]")
    validate.add_argument(
        "directory", nargs="?", metavar="DIR", help="directory of the files (default: --source)"
    )
    validate.add_argument(
        "--write", action="store_true", help="record the files' checksums in migrations.sum"
    )
    validate.add_argument(
        "-o",
        dest="form",
        choices=["text", "json", "github"],
        default="text",
        help="output format (default: %(default)s)",
    )
    importing = add(
        "import",
        "convert another tool's migration files to up and down files",
        "|".join(Tool) + " DIR [--to DIR] [--dry-run]",
    )
    importing.add_argument(
        "tool", choices=[tool.value for tool in Tool], metavar="TOOL", help=", ".join(Tool)
    )
    importing.add_argument("directory", metavar="DIR", help="directory of the tool's files")
    importing.add_argument("--to", metavar="DIR", help="directory to write ours to (default: --source)")
    importing.add_argument("--dry-run", action="store_true", help="print the report, write nothing")
    _add_lint(add("lint", "check the files, and find what is risky in them (squawk)", "[DIR]"))
    system = add("system", "print what an administrator runs before the first migration", "roles --sql")
    system.add_argument("topic", choices=["roles"], metavar="roles", help="the platform's three roles")
    system.add_argument("--sql", action="store_true", required=True, help="as SQL, for psql")
    system.add_argument(
        "--login", metavar="NAME", help="also make the application's login NAME a member of them"
    )
    configuration = add("config", "print which settings hold, and where each comes from", "[-o text|json]")
    configuration.add_argument(
        "-o",
        dest="form",
        choices=["text", "json"],
        default="text",
        help="output format (default: %(default)s)",
    )
    completion = add("completion", "print what completes commands and options in a shell", "|".join(SHELLS))
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    # Shared, because a command's own namespace replaces what stands before the command.
    collected: dict[str, tuple[Any, ...]] = {}
    add_shared_options(top, help_texts.COMMON, collected, "Common options")
    golang_arguments.add_options(top, _url, _seconds)
    for name, command in commands.choices.items():
        if words is None or name in words:
            add_shared_options(command, help_texts.USED.get(name, ()), collected)
            golang_arguments.add_options(command, _url, _seconds)
    summary = "PostgreSQL migrations, compatible with golang-migrate's files and version tables."
    top.description = f"{summary}\n\n{help_texts.overview(texts)}"
    return top


def _add_history(history: argparse.ArgumentParser) -> None:
    number = history.add_mutually_exclusive_group()
    number.add_argument("-n", type=_count, default=20, metavar="N", help="the last N entries (default: 20)")
    number.add_argument("--all", action="store_true", help="every entry")
    history.add_argument(
        "--version", type=_version, dest="of_version", metavar="V", help="only what was done with version V"
    )
    history.add_argument(
        "-o",
        dest="form",
        choices=["text", "wide", "json", "yaml"],
        default="text",
        help="text is fitted to the terminal, wide is not (default: %(default)s)",
    )


def _add_lint(lint: argparse.ArgumentParser) -> None:
    lint.add_argument(
        "directory", nargs="?", metavar="DIR", help="directory of the files (default: --source)"
    )
    lint.add_argument("--config", metavar="FILE", help="squawk's configuration (default: .squawk.toml)")
    lint.add_argument(
        "--exclude", action="append", metavar="RULE", help="a rule to leave out; may be repeated"
    )
    lint.add_argument("--pg-version", metavar="V", help="the server's version, like 15.0")
    lint.add_argument(
        "-o",
        dest="form",
        choices=["text", "json", "github"],
        default="text",
        help="output format (default: %(default)s)",
    )


def _add_plan(plan: argparse.ArgumentParser) -> None:
    plan.add_argument("count", nargs="?", type=_count, metavar="N", help="only the next N files, as up N")
    plan.add_argument("--to", type=_version, metavar="V", help="up or down to version V, as goto V")
    plan.add_argument(
        DETAILED_EXITCODE,
        action="store_true",
        help="2 where something would run, 0 where nothing would, 1 for every error",
    )
    plan.add_argument(
        "-o",
        dest="form",
        choices=["text", "json"],
        default="text",
        help="output format (default: %(default)s)",
    )
    plan.add_argument(
        "--rehearse",
        type=_url,
        metavar="URL",
        help="run the files on this other database, a copy to throw away, and tell what they really did",
    )


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
