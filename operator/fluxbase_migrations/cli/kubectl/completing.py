"""Completion of ``kubectl fluxbase``: words of the command line, and names from the cluster.

kubectl (1.26 and later) runs the program ``kubectl_complete-fluxbase`` for each TAB, and reads what cobra
prints: a word in each line, its description behind a tab, and a last line that tells the shell what else to
offer. Who types ``kubectl-fluxbase`` has the shell ask that program itself.
"""

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import IntEnum
from threading import Thread
from typing import Any, Final, NoReturn

from fluxbase_migrations.cli import completion
from fluxbase_migrations.cli.completion import Completer
from fluxbase_migrations.cli.kubectl.arguments import parser

PROGRAM: Final = "kubectl-fluxbase"
PATIENCE: Final = 3.0
"""Seconds that a TAB waits for names from the cluster, whatever hangs: the network, a credential plugin."""


class Directive(IntEnum):
    """Cobra's ShellCompDirective: what the shell itself adds."""

    FILES = 0
    NO_FILES = 4
    DIRECTORIES = 16


def main() -> NoReturn:
    """``kubectl_complete-fluxbase WORD …``: the last word is the one to complete, and may be empty.

    A TAB shows no errors: what cannot be known is not offered.
    """
    lines: list[str] = []
    try:
        _silence()
        lines = answer_kubectl(sys.argv[1:])
    finally:
        if sys.stdout is not None:
            sys.stdout.write("".join(f"{line}\n" for line in lines))
            sys.stdout.flush()
        os._exit(0 if lines else 1)  # a thread may still wait for the cluster


def _silence() -> None:
    """Credential plugins inherit these streams: they must not prompt or print while a line is being typed."""
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 2)


def answer_shell() -> NoReturn:
    """Answer a shell that completes ``kubectl-fluxbase``, in argcomplete's protocol."""
    try:
        import argcomplete
        from argcomplete.completers import DirectoriesCompleter, FilesCompleter
    except ModuleNotFoundError:
        raise SystemExit(1) from None
    top = _parser()
    completion.attach(top, lambda action: _completer(action, DirectoriesCompleter(), FilesCompleter()))
    argcomplete.autocomplete(top, always_complete_options=False)
    raise SystemExit(1)


def answer_kubectl(words: Sequence[str]) -> list[str]:
    """The lines that kubectl reads; none without argcomplete."""
    try:
        import argcomplete
    except ModuleNotFoundError:
        return []
    directive = Directive.NO_FILES

    def left_to_the_shell(what: Directive) -> Completer:
        def complete(**_typed: Any) -> list[str]:
            nonlocal directive
            directive = what
            return []

        return complete

    top = _parser()
    directories, files = map(left_to_the_shell, (Directive.DIRECTORIES, Directive.FILES))
    completion.attach(top, lambda action: _completer(action, directories, files))
    *before, last = words or [""]
    line = f"{shlex.join([PROGRAM, *before])} {last}"
    # Without a shell's quoting, which kubectl's script adds.
    os.environ.update(
        {completion.ASKED: "1", "COMP_LINE": line, "COMP_POINT": str(len(line.encode()))}
        | {"_ARGCOMPLETE_IFS": "\n", "_ARGCOMPLETE_DFS": "\t", "_ARGCOMPLETE_SHELL": "fish"}
    )
    out = io.StringIO()
    with contextlib.suppress(_EndError):
        argcomplete.autocomplete(
            top, always_complete_options=False, append_space=False, output_stream=out, exit_method=_end
        )
    return [*(word.rstrip() for word in out.getvalue().splitlines()), f":{directive.value}"]


def _parser() -> argparse.ArgumentParser:
    """With the common options behind each command, too, where help does not repeat them."""
    top = parser()
    texts = {action.dest: action.help for action in top._actions}
    for command in completion.parsers(top):
        for action in command._actions:
            if action.help == argparse.SUPPRESS:
                action.help = texts.get(action.dest, action.help)
    return top


class _EndError(Exception):
    """argcomplete ends the process when it has answered."""


def _end(_code: int) -> NoReturn:
    raise _EndError


def _completer(action: argparse.Action, directories: Completer, files: Completer) -> Completer | None:
    match action.dest:
        case "name":
            return _names(_sets)
        case "namespace":
            return _names(_namespaces)
        case "context":
            return _names(_contexts)
        case "kubeconfig":
            return files
        case "from_file":
            return directories
    return None if action.choices else completion.nothing


def _names(read: Callable[[argparse.Namespace], Iterable[str]]) -> Completer:
    """A completer of names, with or without a kind in front: ``shop``, ``fbms/shop``."""

    def complete(prefix: str, parsed_args: argparse.Namespace, **_typed: Any) -> list[str]:
        kind, slash, _ = prefix.rpartition("/")
        if getattr(parsed_args, "command", None) == "create" and read is _sets:
            return []  # a new name
        names = within(PATIENCE, lambda: read(parsed_args))
        return [f"{kind}{slash}{name}" for name in names]

    return complete


def within(seconds: float, read: Callable[[], Iterable[str]]) -> list[str]:
    """What ``read`` returns, or nothing where that takes longer, or fails."""
    names: list[str] = []

    def run() -> None:
        try:
            names.extend(read())
        except Exception:  # no cluster, no right to list, no client installed: nothing to offer
            names.clear()

    thread = Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    return [] if thread.is_alive() else names


def _sets(options: argparse.Namespace) -> list[str]:
    from fluxbase_migrations.cli.kubectl.cluster import Cluster

    return Cluster(options).names_of_sets(PATIENCE)


def _namespaces(options: argparse.Namespace) -> list[str]:
    from fluxbase_migrations.cli.kubectl.cluster import Cluster

    return Cluster(options).names_of_namespaces(PATIENCE)


def _contexts(options: argparse.Namespace) -> list[str]:
    from kubernetes import config as untyped

    config: Any = untyped
    contexts, _ = config.list_kube_config_contexts(config_file=getattr(options, "kubeconfig", None))
    return [context["name"] for context in contexts]
