"""Completion in shells: the script that a shell evaluates, and the program's answers to the shell.

The shell runs the program for each TAB (argcomplete's protocol), so that nothing can be out of date.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any, Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.extras import Extra, missing

ASKED: Final = "_ARGCOMPLETE"
"""The environment variable that the shell sets when it asks for completions."""
SHELLS: Final = ("bash", "zsh", "fish")

Completer = Callable[..., Any]
"""What argcomplete calls with ``prefix`` and ``parsed_args`` for the words that may follow."""


def script(program: str, shell: str, extra: Extra = Extra.COMPLETION) -> int:
    """Print what ``shell`` evaluates so that it completes ``program``; returns the exit code."""
    try:
        from argcomplete.shell_integration import shellcode
    except ModuleNotFoundError as error:
        print(f"{program}: error: {missing(error, extra)}", file=sys.stderr)
        return 1
    return output.answer([shellcode([program], shell=shell).rstrip("\n")])


def answer(parser: argparse.ArgumentParser) -> None:
    """Give the shell the possible words at the cursor, and end the process; none without argcomplete."""
    try:
        import argcomplete
    except ModuleNotFoundError:
        raise SystemExit(1) from None
    attach(parser, of_files)
    argcomplete.autocomplete(parser, always_complete_options=False)


def attach(parser: argparse.ArgumentParser, completer: Callable[[argparse.Action], Completer | None]) -> None:
    """Give each argument its completer; those for which there is none keep argcomplete's own."""
    for command_parser in parsers(parser):
        for action in command_parser._actions:
            value_completer = completer(action)
            if value_completer is not None:
                action.completer = value_completer  # type: ignore[attr-defined]


def of_files(action: argparse.Action) -> Completer | None:
    """Completers for directories and the words of a metavar; argcomplete's own are choices and files."""
    from argcomplete.completers import ChoicesCompleter, DirectoriesCompleter

    metavar = str(action.metavar or "")
    if metavar == "DIR":
        return DirectoriesCompleter()
    if "|" in metavar:
        return ChoicesCompleter(dict.fromkeys(metavar.split("|"), ""))
    return None if action.choices or metavar == "FILE" else nothing


def nothing(**_typed: Any) -> list[str]:
    """No completions for a number, a URL or a name, where a shell would offer files."""
    return []


def parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    """The program's parser and those of its commands."""
    subparsers = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(command for action in subparsers for command in action.choices.values())]
