"""What both programs say to a command line without a command, or with words that they do not know."""

import argparse
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final

from fluxbase_migrations.core.text import visible

USAGE_ERROR: Final = 2
"""The exit code, as argparse's."""


class CommandParser(argparse.ArgumentParser):
    """Its ``command`` is mandatory; the error for an unknown one names the nearest instead of all."""

    instead: ClassVar[Mapping[str, str]] = {}
    """Commands of other programs, and what to do here."""

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if action.dest == "command" and action.choices is not None and value not in action.choices:
            message = self.instead.get(value) or _unknown(value, action.choices)
            raise argparse.ArgumentError(None, f"{message}; {self.prog} --help lists the commands")
        super()._check_value(action, value)


def _unknown(word: str, commands: Iterable[str]) -> str:
    from difflib import get_close_matches  # only a typo needs it

    nearest = get_close_matches(word, commands, n=1)
    return f"unknown command {word!r}" + (f", did you mean {nearest[0]}?" if nearest else "")


def parse(
    parser: argparse.ArgumentParser, words: Sequence[str] | None, shown: Callable[[str], str] = visible
) -> argparse.Namespace:
    """Parse the words; without a command the help is printed, as by kubectl.

    Args:
        parser: Of the program.
        words: What was typed; None: the process's own arguments.
        shown: Makes a word fit to be printed.

    Raises:
        SystemExit: the words are not understood.
    """
    given, surplus = parser.parse_known_args(words)
    if given.command is None:
        parser.print_help(sys.stderr)
        raise SystemExit(USAGE_ERROR)
    if surplus:
        command = f"{parser.prog} {given.command}"
        message = f"unknown argument {shown(surplus[0])}; {command} --help shows what it takes"
        parser.exit(USAGE_ERROR, f"{command}: error: {message}\n")
    return given
