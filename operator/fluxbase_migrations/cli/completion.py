"""Completion in shells: the script that a shell evaluates, and what the program answers when it asks.

The shell runs the program for each TAB (argcomplete's protocol), so that nothing can be out of date.
"""

import argparse
import sys
from typing import Any, Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.extras import Extra, missing

ASKED: Final = "_ARGCOMPLETE"
"""The variable with which the shell asks."""


def script(program: str, shell: str) -> int:
    """Print what ``shell`` evaluates so that it completes ``program``; returns the exit code."""
    try:
        from argcomplete.shell_integration import shellcode
    except ModuleNotFoundError as error:
        print(f"{program}: error: {missing(error, Extra.COMPLETION)}", file=sys.stderr)
        return 1
    return output.answer([shellcode([program], shell=shell).rstrip("\n")])


def answer(parser: argparse.ArgumentParser) -> None:
    """Tell the shell what may stand at the cursor, and end the process; without argcomplete, nothing may."""
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

    for one in _parsers(parser):
        for action in one._actions:
            found = completer(action)
            if found is not None:
                action.completer = found  # type: ignore[attr-defined]
    argcomplete.autocomplete(parser, always_complete_options=False)


def _nothing(**_typed: Any) -> list[str]:
    """A number, a URL, a name: not the files that a shell would offer."""
    return []


def _parsers(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    subparsers = [one for one in parser._actions if isinstance(one, argparse._SubParsersAction)]
    return [parser, *(command for one in subparsers for command in one.choices.values())]
