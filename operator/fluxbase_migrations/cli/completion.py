"""Completion in shells: the script that a shell evaluates, and the program's answers to the shell.

The shell runs the program for each TAB (argcomplete's protocol), so that nothing can be out of date.
"""

import argparse
import sys
from typing import Any, Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.extras import Extra, missing

ASKED: Final = "_ARGCOMPLETE"
"""The environment variable that the shell sets when it asks for completions."""


def script(program: str, shell: str) -> int:
    """Print what ``shell`` evaluates so that it completes ``program``; returns the exit code."""
    try:
        from argcomplete.shell_integration import shellcode
    except ModuleNotFoundError as error:
        print(f"{program}: error: {missing(error, Extra.COMPLETION)}", file=sys.stderr)
        return 1
    return output.answer([shellcode([program], shell=shell).rstrip("\n")])


def answer(parser: argparse.ArgumentParser) -> None:
    """Give the shell the possible words at the cursor, and end the process; none without argcomplete."""
    try:
        import argcomplete
        from argcomplete.completers import ChoicesCompleter, DirectoriesCompleter
    except ModuleNotFoundError:
        raise SystemExit(1) from None

    def completer(action: argparse.Action) -> Any:
        metavar = str(action.metavar or "")
        if metavar == "DIR":
            return DirectoriesCompleter()
        if "|" in metavar:
            return ChoicesCompleter(dict.fromkeys(metavar.split("|"), ""))
        return None if action.choices or metavar == "FILE" else _nothing

    for command_parser in _parsers(parser):
        for action in command_parser._actions:
            value_completer = completer(action)
            if value_completer is not None:
                action.completer = value_completer  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def _nothing(**_typed: Any) -> list[str]:
    """No completions for a number, a URL or a name, where a shell would offer files."""
    return []


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    subparsers = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    return [parser, *(command for action in subparsers for command in action.choices.values())]
