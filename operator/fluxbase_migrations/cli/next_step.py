"""After a failure: the next step as a command that can be copied.

Only where it is known what to do, and not where the error's hint already gives a command.
"""

import argparse
import re
import shlex
from collections.abc import Callable, Sequence
from typing import Any, Final

from fluxbase_migrations.cli import golang_arguments
from fluxbase_migrations.cli.arguments import PROGRAM
from fluxbase_migrations.cli.invocation import RUNNING
from fluxbase_migrations.core.digest import MIGRATION_PATTERN
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome

_AGAIN: Final = frozenset((Outcome.INTERRUPTED, Outcome.TRANSIENT, Outcome.SOURCE_CHANGED))
"""Outcomes that a retry may resolve: the same command goes on where it stopped."""
_TAKE_OVER: Final = re.compile(rf"{PROGRAM} baseline (--from .*?)(?:, or |; | \(|$)")
"""In a hint about another tool's table: the command, which does not know what was typed."""


class Typed:
    """The command as it was typed, to be repeated or changed to another command."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self.runs_files = arguments.command in RUNNING
        self.names_place = {"source", "database_url", golang_arguments.DATABASE} & set(vars(arguments))
        """The typed options that name the files or the database."""

    def again(self) -> str:
        """The same command, with the options that say which files and table are meant."""
        arguments = self._arguments
        words = [getattr(arguments, name, None) for name in ("target", "count")]
        switches = ["--all"] if getattr(arguments, "all", False) else []
        return self.command_line(
            arguments.command, *(str(word) for word in words if word is not None), *switches
        )

    def command_line(self, command: str, *words: str, track: Track | None = None) -> str:
        """Another command on the same track. A URL is never repeated: it may hold a password."""
        options: list[str] = []
        if golang_arguments.DATABASE in self._arguments:
            options += ["-database", "…"]
        elif "database_url" in self._arguments:
            options += ["--database-url", "…"]
        for name in ("source", "track", "table"):
            value: Any = track if name == "track" and track else getattr(self._arguments, name, None)
            if f"--{name}" in words or (name == "source" and command in ("force", "version")):
                continue
            if value is not None:
                options += [f"--{name}", str(value)]
        quoted = [word if word == "…" else shlex.quote(word) for word in (*options, command)]
        return " ".join([PROGRAM, *quoted, *map(shlex.quote, words)])


def next_step(
    outcome: Outcome,
    info: ErrorInfo,
    typed: Typed,
    versions: Callable[[], Sequence[int]],
    *,
    dirty_version: int | None = None,
    track: Track | None = None,
    built_in: bool = False,
) -> str | None:
    """The command to type next; None where no command is known to help.

    Args:
        outcome: How the command ended.
        info: Its error.
        typed: The command itself.
        versions: The versions of the source in order; called only where they matter.
        dirty_version: The recorded dirty version, if that is why it failed.
        track: The track that failed, where it may not be the command's own.
        built_in: The files are the program's own: the user is not told to correct them.
    """
    match outcome:
        case Outcome.DIRTY | Outcome.UNPROVEN:
            return _force(info, typed, versions, dirty_version, track)
        case Outcome.SQL_ERROR if typed.runs_files and info.file:
            return typed.again() if built_in else f"correct {info.file}, then: {typed.again()}"
        case Outcome.INVALID_SOURCE if info.file and not built_in:
            return typed.command_line("validate")
        case Outcome.OUT_OF_ORDER | Outcome.AHEAD_OF_SOURCE | Outcome.MISSING_DOWN_FILE:
            return typed.command_line("status", track=track)
        case Outcome.FOREIGN_TABLE:
            return _take_over(info, typed)
        case _ if outcome in _AGAIN and typed.runs_files:
            return typed.again()
    return None


def _take_over(info: ErrorInfo, typed: Typed) -> str | None:
    """The hint's command, where it needs the options that were typed."""
    match = _TAKE_OVER.search(info.hint or "")
    if match is None or not typed.names_place:
        return None
    return typed.command_line("baseline", *shlex.split(match[1]))


def _force(
    info: ErrorInfo,
    typed: Typed,
    versions: Callable[[], Sequence[int]],
    dirty_version: int | None,
    track: Track | None,
) -> str | None:
    """A force command for each state in which the user may find the database."""
    match = MIGRATION_PATTERN.fullmatch(info.file or "")
    if match is None:
        if dirty_version is None:
            return None
        return f"if version {dirty_version} is complete: {_forced(typed, dirty_version, track)}"
    version = int(match[1])
    before = max((lower for lower in versions() if lower < version), default=NIL)
    complete, undone = (version, before) if match[3] == "up" else (before, version)
    return (
        f"if what {info.file} does is complete: {_forced(typed, complete, track)}; "
        f"if it is undone: {_forced(typed, undone, track)}"
    )


def _forced(typed: Typed, version: int, track: Track | None) -> str:
    words = ["--", "-1"] if version == NIL else [str(version)]
    return typed.command_line("force", *words, track=track)
