"""The command line of ``fluxbase-migrate``: every command with its arguments."""

import argparse
import re
from collections.abc import Collection
from typing import Any, Final, NoReturn

from fluxbase_migrations.cli import golang_arguments, help_texts, option_values, own_version
from fluxbase_migrations.cli.completion import SHELLS
from fluxbase_migrations.cli.importing import Tool
from fluxbase_migrations.cli.options import add_shared_options
from fluxbase_migrations.cli.usage import CommandParser
from fluxbase_migrations.core.text import visible

PROGRAM: Final = own_version.PROGRAM
DETAILED_EXITCODE: Final = "--detailed-exitcode"

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
    commands = _Commands(top)
    _add_running(commands)
    _add_reading(commands)
    _add_of_files(commands)
    _add_others(commands)
    # Shared, because a command's own namespace replaces what stands before the command.
    collected: dict[str, tuple[Any, ...]] = {}
    add_shared_options(top, help_texts.COMMON, collected, "Common options")
    golang_arguments.add_options(top, option_values.url, option_values.duration)
    for name, command in commands.parsers.items():
        if words is None or name in words:
            add_shared_options(command, help_texts.USED.get(name, ()), collected)
            golang_arguments.add_options(command, option_values.url, option_values.duration)
    summary = "PostgreSQL migrations, compatible with golang-migrate's files and version tables."
    top.description = f"{summary}\n\n{help_texts.overview(commands.texts)}"
    return top


class _Commands:
    """The commands of a parser, in the order in which they are completed."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._subparsers = top.add_subparsers(
            dest="command", metavar="COMMAND", help=argparse.SUPPRESS, prog=PROGRAM
        )
        self.parsers: dict[str, argparse.ArgumentParser] = {}
        self.texts: dict[str, str] = {}
        """What each does, in a line."""

    def add(self, name: str, text: str, usage: str = "") -> argparse.ArgumentParser:
        """A command; ``usage`` are its own arguments."""
        self.texts[name] = text
        self.parsers[name] = command = self._subparsers.add_parser(
            name,
            usage=f"{PROGRAM} {name} {usage}".rstrip() + " [OPTION …]",
            help=text,
            description=text,
            formatter_class=help_texts.Formatter,
            epilog=help_texts.epilog(PROGRAM, name),
        )
        return command


def _add_running(commands: _Commands) -> None:
    """Commands that run files, or record a version instead."""
    commands.add("run", "apply system, then user migrations, as a platform start does")
    commands.add("job", "run what FLUXBASE_JOB describes (the operator's Jobs do this)")
    up = commands.add("up", "apply all migrations, or the next N", "[N]")
    up.add_argument(
        "count", nargs="?", type=option_values.count, metavar="N", help="how many files (default: all)"
    )
    down = commands.add("down", "revert the last migration, the last N, or all", "[N | --all [--yes]]")
    down.add_argument(
        "count", nargs="?", type=option_values.count, metavar="N", help="how many files (default: 1)"
    )
    down.add_argument("--all", action="store_true", help="revert everything; asks first")
    down.add_argument("--yes", action="store_true", help="do not ask")
    down.add_argument("-all", action="store_true", dest="all_unasked", help=argparse.SUPPRESS)
    goto = commands.add("goto", "go up or down to version V", "V")
    goto.add_argument("target", type=option_values.version, metavar="V", help="a version of the source")
    force = commands.add("force", "record version V as applied and clean, running nothing", "V")
    force.add_argument(
        "target", type=option_values.forced_version, metavar="V", help="a version; -1: nothing is applied"
    )
    baseline = commands.add(
        "baseline", "record the version of a database that something else has migrated", "V | --from TABLE"
    )
    baseline.add_argument(
        "target", nargs="?", type=option_values.version, metavar="V", help="a version of the source"
    )
    baseline.add_argument(
        "--from",
        dest="other",
        type=option_values.table,
        metavar="SCHEMA.NAME",
        help="take the version over from the table of golang-migrate or another tool, which stays as it is",
    )


def _add_reading(commands: _Commands) -> None:
    """Commands that only look at the database."""
    commands.add("version", "print the recorded version")
    status = commands.add("status", "print where each migration of both tracks stands", "[-o text|json]")
    _add_form(status, "text", "json")
    plan = commands.add(
        "plan", "print what would run now: statements, locks, rewrites, losses", "[N | --to V]"
    )
    plan.add_argument(
        "count", nargs="?", type=option_values.count, metavar="N", help="only the next N files, as up N"
    )
    plan.add_argument(
        "--to", type=option_values.version, metavar="V", help="up or down to version V, as goto V"
    )
    plan.add_argument(
        DETAILED_EXITCODE,
        action="store_true",
        help="2 where something would run, 0 where nothing would, 1 for every error",
    )
    _add_form(plan, "text", "json")
    plan.add_argument(
        "--rehearse",
        type=option_values.url,
        metavar="URL",
        help="run the files on this other database, a copy to throw away, and tell what they really did",
    )
    history = commands.add("history", "print what was done, by whom and when", "[-n N | --all] [--version V]")
    number = history.add_mutually_exclusive_group()
    number.add_argument(
        "-n", type=option_values.count, default=20, metavar="N", help="the last N entries (default: 20)"
    )
    number.add_argument("--all", action="store_true", help="every entry")
    history.add_argument(
        "--version",
        type=option_values.version,
        dest="of_version",
        metavar="V",
        help="only what was done with version V",
    )
    _add_form(history, "text", "wide", "json", "yaml", text="text is fitted to the terminal, wide is not")


def _add_of_files(commands: _Commands) -> None:
    """Commands that need no database."""
    create = commands.add("create", "make an empty pair of files with the next number or timestamp", "NAME")
    create.add_argument("name", metavar="NAME", help="like add_users_table")
    golang_arguments.add_create_options(create)
    validate = commands.add("validate", "check the files by themselves, without a database", "[DIR]")
    _add_directory(validate)
    validate.add_argument(
        "--write", action="store_true", help="record the files' checksums in migrations.sum"
    )
    _add_form(validate, "text", "json", "github")
    importing = commands.add(
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
    lint = commands.add("lint", "check the files, and find what is risky in them (squawk)", "[DIR]")
    _add_directory(lint)
    lint.add_argument("--config", metavar="FILE", help="squawk's configuration (default: .squawk.toml)")
    lint.add_argument(
        "--exclude", action="append", metavar="RULE", help="a rule to leave out; may be repeated"
    )
    lint.add_argument("--pg-version", metavar="V", help="the server's version, like 15.0")
    _add_form(lint, "text", "json", "github")


def _add_others(commands: _Commands) -> None:
    """Commands about the server's roles and this program itself."""
    system = commands.add(
        "system", "print what an administrator runs before the first migration", "roles --sql"
    )
    system.add_argument("topic", choices=["roles"], metavar="roles", help="the platform's three roles")
    system.add_argument("--sql", action="store_true", required=True, help="as SQL, for psql")
    system.add_argument(
        "--login", metavar="NAME", help="also make the application's login NAME a member of them"
    )
    config = commands.add("config", "print which settings hold, and where each comes from", "[-o text|json]")
    _add_form(config, "text", "json")
    completion = commands.add(
        "completion", "print what completes commands and options in a shell", "|".join(SHELLS)
    )
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))


def _add_directory(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "directory", nargs="?", metavar="DIR", help="directory of the files (default: --source)"
    )


def _add_form(command: argparse.ArgumentParser, *forms: str, text: str = "output format") -> None:
    """``-o``; the first form is the default."""
    command.add_argument(
        "-o", dest="form", choices=forms, default=forms[0], help=f"{text} (default: %(default)s)"
    )
