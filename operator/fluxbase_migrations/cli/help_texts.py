"""What ``--help`` shows: commands in groups, and of the shared options those that a command uses.

Every command takes every shared option, so that scripts may put them anywhere; one that has no effect on a
command is left out of its help.
"""

import argparse
import functools
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Final


class Section(StrEnum):
    """Where a shared option stands in a command's help."""

    CONNECTION = "Connection"
    FILES = "Files"
    TABLES = "Tables"
    LIMITS = "Limits (DURATION is like 30s or 5m)"
    FAILURES = "Failures and signals"
    LOG = "Log"


GROUPS: Final[Mapping[str, tuple[str, ...]]] = {
    "Run migrations": ("up", "down", "goto", "run"),
    "See where a database stands": ("status", "version", "plan", "history"),
    "Correct what is recorded": ("force", "baseline"),
    "Work on files": ("create", "validate", "lint", "import"),
    "Set up": ("config", "completion", "system", "job"),
}
"""Every command."""

_CONNECTION: Final = ("database_url", "connect_timeout")
_TABLES: Final = ("track", "table")
_FILES: Final = ("source", "unknown_files")
_LOG: Final = ("log_format", "log_timestamps")
_READING: Final = (*_CONNECTION, *_TABLES, *_LOG)
_RUNNING: Final = (
    *_READING,
    *_FILES,
    "foreign_table",
    *("out_of_order", "lock_timeout", "ddl_lock_timeout", "statement_timeout"),
    *("recovery", "exposure", "on_signal"),
)
USED: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("up", "down", "goto", "run"), _RUNNING),
    "status": (*_READING, *_FILES),
    "plan": (*_READING, *_FILES, "out_of_order"),
    "version": _READING,
    "history": _READING,
    "force": (*_READING, "lock_timeout"),
    "baseline": (*_READING, "lock_timeout"),
    "create": ("source",),
    "validate": _FILES,
    "lint": (*_FILES, *_LOG),
    "import": ("source",),
}
"""The shared options that have an effect on a command; those that are not named show none."""
COMMON: Final = ("database_url", "source", "track")
"""The shared options that the program's own help shows."""

EXAMPLES: Final[Mapping[str, tuple[str, ...]]] = {
    "run": ("run --source migrations", "run --on-signal finish --log-format json"),
    "up": ("up", "up 1", "up --source db/migrations --ddl-lock-timeout 5s"),
    "down": ("down", "down 2", "down --all --yes"),
    "goto": ("goto 3", "goto 20240131120000"),
    "status": ("status", "status --track user -o json"),
    "version": ("version", "version --track system"),
    "plan": ("plan", "plan --to 3", "plan --detailed-exitcode -o json"),
    "history": ("history", "history --version 3", "history --all -o json"),
    "force": ("force 3", "force -- -1"),
    "baseline": ("baseline 7", "baseline --from public.schema_migrations"),
    "create": ("create add_users_table", "create -ext sql -seq add_users_table"),
    "validate": ("validate", "validate --write", "validate db/migrations -o github"),
    "lint": ("lint", "lint --exclude prefer-robust-stmts"),
    "import": ("import flyway db/migration --to migrations", "import goose db --dry-run"),
    "config": ("config", "config -o json"),
    "completion": ("completion bash", "completion zsh", "completion fish"),
    "system": ("system roles --sql", "system roles --sql --login shop"),
    "job": (),
}
"""A few for each command, as they are typed after the program's name."""

EXIT_CODES: Final[Mapping[int, str]] = {
    0: "done, or nothing to do",
    1: "failed, or interrupted with work left",
    2: "usage",
}
"""Of every command."""
OWN_EXIT_CODES: Final[Mapping[str, str]] = {
    "version": "1 also where nothing is applied",
    "status": "1 also where a track is dirty",
    "plan": "1 also where a run would be refused; see --detailed-exitcode",
    "validate": "1 where a file has an error",
    "lint": "1 where anything is found",
    "import": "1 where something is in the way and nothing is written",
}
"""What they mean for some."""


def exit_codes() -> str:
    """Those of every command, in a line."""
    return f"Exit codes: {'; '.join(f'{code} {text}' for code, text in EXIT_CODES.items())}"


def epilog(program: str, command: str) -> str:
    """What follows a command's options."""
    lines = "".join(f"\n  {program} {example}" for example in EXAMPLES[command])
    own = f"Exit code: {OWN_EXIT_CODES[command]}" if command in OWN_EXIT_CODES else ""
    return "\n\n".join(part for part in (own, f"Examples:{lines}" if lines else "") if part)


def overview(texts: Mapping[str, str]) -> str:
    """The commands in their groups, one line each; ``texts`` says what each does."""
    width = max(map(len, texts))
    groups = [
        "\n".join([f"{title}:", *(f"  {name.ljust(width)}  {texts[name]}" for name in names)])
        for title, names in GROUPS.items()
    ]
    return "\n\n".join(groups)


class Formatter(argparse.RawDescriptionHelpFormatter):
    """Texts as they are written; options in a column that leaves room for what they do."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=_width())


@functools.cache
def _width() -> int:
    """Characters in a line of help, as argparse counts them.

    It makes a formatter for each option that is added, and would ask each time, by way of a module that loads
    three for compression.
    """
    columns = os.environ.get("COLUMNS", "")
    if columns.isdecimal() and int(columns):
        return int(columns) - 2
    try:
        return (os.get_terminal_size(sys.__stdout__.fileno()).columns or 80) - 2  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError):
        return 78
