"""The command line of ``kubectl fluxbase``."""

import argparse
from typing import Final

from fluxbase_migrations.cli.completion import SHELLS
from fluxbase_migrations.cli.kubectl.ages import timeout
from fluxbase_migrations.cli.usage import CommandParser
from fluxbase_migrations.core.names import GROUP, KIND, PLURAL, SHORT_NAME, Track

DEFAULT_KEY: Final = "url"
"""Key of the Secret with the database's URL, where none is given."""
_COMMON: Final = (
    (("-n", "--namespace"), "namespace of the set (default: the context's)"),
    (("--context",), "context of the kubeconfig to use (default: the current one)"),
    (("--kubeconfig",), "kubeconfig file (default: KUBECONFIG, then ~/.kube/config)"),
    (("--as",), "user to act as, like kubectl's --as"),
)

EXAMPLES: Final = {
    "list": "list -A -o wide",
    "status": "status shop",
    "describe": "describe shop -n fluxbase",
    "history": "history shop",
    "logs": "logs shop -f",
    "watch": "watch shop --timeout 10m",
    "wait": "wait shop --timeout 10m",
    "plan": "plan shop --full",
    "approve": "approve shop --wait",
    "version": "version",
    "retry": "retry shop --wait",
    "suspend": "suspend shop",
    "resume": "resume shop",
    "rollback": "rollback shop --to 3 --wait",
    "force": "force shop 3 --wait",
    "take-over": "take-over shop --track user",
    "create": "create shop --from-file migrations --database-secret shop-db:url",
    "completion": "completion bash",
}
"""One for each command's help."""
EXIT_CODES: Final = "Exit codes: 0 done; 1 failed, or refused; 2 usage"
"""With ``--wait``, 0 and 1 are those of ``wait``."""

_COMPLETION: Final = (
    "Print what makes a shell complete kubectl-fluxbase. kubectl completes `kubectl fluxbase` by itself: "
    "its own completion must be on (kubectl completion --help), and kubectl_complete-fluxbase on PATH."
)


def parser() -> argparse.ArgumentParser:
    """The command line, for ``main`` and for the documentation's checks."""
    top = CommandParser(
        prog="kubectl fluxbase", description="Look at and steer FluxbaseMigrationSets.", epilog=EXIT_CODES
    )
    for names, text in _COMMON:
        top.add_argument(*names, dest=_destination(names), metavar=_destination(names).upper(), help=text)
    commands = _Commands(top)
    _looking(commands)
    _steering(commands)
    _creating(commands)
    completion = commands.add(
        "completion", "Print what completes kubectl-fluxbase in a shell; see its help.", of_a_set=False
    )
    completion.description = _COMPLETION
    completion.add_argument("shell", choices=SHELLS, metavar="SHELL", help=", ".join(SHELLS))
    return top


def _destination(names: tuple[str, ...]) -> str:
    """``as`` is a word of Python's."""
    return {"--as": "user"}.get(names[-1], names[-1].removeprefix("--"))


class _Commands:
    """The commands of ``top``, each of which takes the common options, too."""

    def __init__(self, top: argparse.ArgumentParser) -> None:
        self._commands = top.add_subparsers(dest="command", metavar="COMMAND")

    def add(self, name: str, text: str, *, of_a_set: bool = True) -> argparse.ArgumentParser:
        # SUPPRESS: an option given before the command must not be reset by the command's own default.
        own = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
        for names, _ in _COMMON:
            own.add_argument(*names, dest=_destination(names), help=argparse.SUPPRESS)
        example = f"Example: kubectl fluxbase {EXAMPLES[name]}"
        command = self._commands.add_parser(name, help=text, description=text, parents=[own], epilog=example)
        if of_a_set:
            command.add_argument(
                "name", type=_name, metavar="SET", help=f"name of the set, like shop or {SHORT_NAME}/shop"
            )
        return command


def _looking(commands: _Commands) -> None:
    every = commands.add("list", "List the sets: versions of both tracks, ready or why not.", of_a_set=False)
    every.add_argument("-A", "--all-namespaces", action="store_true", help="of all namespaces")
    every.add_argument("-o", "--output", choices=("wide", "json", "yaml"), help="form (default: a table)")
    commands.add("status", "Show both tracks: version, phase, what is wrong and what to do.")
    commands.add("describe", "Show everything about a set: spec, status, commands, runs, Events.")
    commands.add("history", "Show what the last runs applied, and how to read the whole history.")
    plan = commands.add("plan", "Show what waits for approval: files, locks, what is destroyed.")
    plan.add_argument("--full", action="store_true", help="statement by statement, from the run's log")
    plan.add_argument("-o", "--output", choices=("json", "yaml"), help="form (default: a table)")
    logs = commands.add("logs", "Print the log of the newest run.")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    logs.add_argument("--track", choices=list(Track), help="track (default: user, if it has run)")
    watch = commands.add("watch", "Follow what happens until the set is Ready or has failed.")
    watch.add_argument(
        "--timeout", type=timeout, metavar="DURATION", help="duration like 10m (default: no limit)"
    )
    wait = commands.add("wait", "Wait until the content that is in the source now is applied.")
    _timeout(wait)
    version = commands.add(
        "version", "Show the version of this program, of the operators and of the resource.", of_a_set=False
    )
    version.add_argument("--client", action="store_true", help="of this program alone, without a cluster")


def _steering(commands: _Commands) -> None:
    retry = commands.add(
        "retry", "Run again: looks at the source afresh and tries a failed migration once more."
    )
    _waiting(retry)
    approve = commands.add("approve", "Approve the plan that waits: it runs, and nothing else does.")
    approve.add_argument("--digest", help="digest of the plan that is meant, or its first 12 digits or more")
    approve.add_argument("--yes", action="store_true", help="do not ask")
    _waiting(approve)
    commands.add("suspend", "Start no further run; a running one ends undisturbed.")
    commands.add("resume", "Undo suspend.")
    rollback = commands.add("rollback", "Bring a track to another version, by its down files if lower.")
    rollback.add_argument(
        "--to",
        required=True,
        type=_target,
        metavar="VERSION",
        help="version; 0: everything; latest: no target",
    )
    rollback.add_argument(
        "--track", choices=list(Track), default=Track.USER, help="track (default: %(default)s)"
    )
    rollback.add_argument("--yes", action="store_true", help="do not ask")
    _waiting(rollback)
    force = commands.add("force", "Set the tracking row to a version, clean, without running anything.")
    force.add_argument("version", type=int, metavar="VERSION", help="version to record; -1: nothing applied")
    force.add_argument(
        "--track", choices=list(Track), default=Track.USER, help="track (default: %(default)s)"
    )
    force.add_argument(
        "--yes", action="store_true", help="do not ask; record even a version that the source does not have"
    )
    _waiting(force)
    take_over = commands.add("take-over", "Take a track of the database over from the set that owns it.")
    take_over.add_argument(
        "--track", choices=list(Track), help="track (default: the one that another set owns)"
    )
    _waiting(take_over)


def _creating(commands: _Commands) -> None:
    create = commands.add("create", "Create a set, and ConfigMaps with its migration files.")
    create.add_argument(
        "--from-file", required=True, metavar="DIR", help="directory with the files of the user track"
    )
    create.add_argument(
        "--database-secret",
        required=True,
        metavar="NAME[:KEY]",
        help=f"Secret with the database's URL (default key: {DEFAULT_KEY})",
    )
    create.add_argument(
        "--config-map", metavar="NAME", help="name of the ConfigMap (default: SET-migrations)"
    )
    create.add_argument(
        "--baseline", type=_baseline, metavar="VERSION", help="version that the database is at already"
    )
    create.add_argument("--suspend", action="store_true", help="start no run before kubectl fluxbase resume")
    create.add_argument(
        "--dry-run",
        choices=("none", "client", "server"),
        default="none",
        help="create nothing: print the objects, or have the API server check them too",
    )
    create.add_argument("-o", "--output", choices=("json", "yaml"), help="print the objects")
    _waiting(create)


def _waiting(command: argparse.ArgumentParser) -> None:
    command.add_argument("--wait", action="store_true", help="wait for the outcome; it is the exit code")
    _timeout(command)


def _timeout(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--timeout",
        type=timeout,
        metavar="DURATION",
        default=300.0,
        help="duration like 5m, or seconds (default: 5m)",
    )


def _name(text: str) -> str:
    """A set's name, as kubectl takes it."""
    kind, slash, name = text.rpartition("/")
    if slash and kind.removesuffix(f".{GROUP}").lower() not in (SHORT_NAME, KIND.lower(), PLURAL):
        raise argparse.ArgumentTypeError(
            f"{text!r} is no FluxbaseMigrationSet; give its name, or {SHORT_NAME}/NAME"
        )
    if not name:
        raise argparse.ArgumentTypeError(f"{text!r} names no set")
    return name


def _target(text: str) -> int | None:
    """A version, or None for ``latest``."""
    if text == "latest":
        return None
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"{text!r} is neither a version nor latest")
    return int(text)


def _baseline(text: str) -> int:
    """A version that has been applied."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a version from 1")
    return int(text)
