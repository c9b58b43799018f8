"""``kubectl fluxbase``: does by name what the resource's fields and annotations do."""

import argparse
import secrets
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

from fluxbase_migrations.cli.kubectl import logs, set_view, steering
from fluxbase_migrations.cli.kubectl.steering import MANAGER
from fluxbase_migrations.core.extras import Extra, missing
from fluxbase_migrations.core.names import (
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    GROUP,
    KIND,
    PLURAL,
    VERSION,
    Track,
)
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.commands.process import prepare_streams
from fluxbase_migrations.runner.log import silence_stdout

DONE, FAILED, USAGE = 0, 1, 2


def parser() -> argparse.ArgumentParser:
    """The command line, for ``main`` and for the documentation's checks."""
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("-n", "--namespace", help="namespace of the set (default: the context's)")
    common.add_argument("--context", help="context of the kubeconfig to use (default: the current one)")
    common.add_argument("--kubeconfig", help="kubeconfig file (default: KUBECONFIG, then ~/.kube/config)")

    top = argparse.ArgumentParser(
        prog="kubectl fluxbase", description="Look at and steer FluxbaseMigrationSets.", parents=[common]
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, text: str) -> argparse.ArgumentParser:
        # SUPPRESS: an option given before the command must not be reset by the command's own default.
        own = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
        for option in ("-n", "--namespace"), ("--context",), ("--kubeconfig",):
            own.add_argument(*option, help=argparse.SUPPRESS)
        command = commands.add_parser(name, help=text, description=text, parents=[own])
        command.add_argument("name", type=_name, help="name of the set, like shop or fbms/shop")
        return command

    add("status", "Show both tracks: version, phase, what is wrong and what to do.")
    add("retry", "Run again: looks at the source afresh and tries a failed migration once more.")
    logs = add("logs", "Print the log of the newest run.")
    logs.add_argument("-f", "--follow", action="store_true", help="go on until the run ends")
    logs.add_argument("--track", choices=list(Track), help="(default: user, if it has run)")
    add("suspend", "Start no further run; a running one ends undisturbed.")
    add("resume", "Undo suspend.")
    wait = add("wait", "Wait until the content that is in the source now is applied.")
    wait.add_argument("--timeout", type=float, default=300, help="seconds (default: %(default)s)")
    rollback = add("rollback", "Bring a track to another version, by its down files where that is lower.")
    rollback.add_argument(
        "--to", required=True, type=_target, help="version; 0: everything; latest: no target"
    )
    rollback.add_argument("--track", choices=list(Track), default=Track.USER, help="(default: %(default)s)")
    force = add("force", "Set the tracking row to a version, clean, without running anything.")
    force.add_argument("version", type=int, help="version to record; -1: nothing applied")
    force.add_argument("--track", choices=list(Track), default=Track.USER, help="(default: %(default)s)")
    force.add_argument("--yes", action="store_true", help="record a version that the source does not have")
    take_over = add("take-over", "Take a track of the database over from the set that owns it.")
    take_over.add_argument("--track", choices=list(Track), help="(default: the one that another set owns)")
    return top


def _name(text: str) -> str:
    """A set's name, as kubectl takes it."""
    kind, slash, name = text.rpartition("/")
    if slash and kind.removesuffix(f".{GROUP}").lower() not in ("fbms", KIND.lower(), PLURAL):
        raise argparse.ArgumentTypeError(f"{text!r} is no FluxbaseMigrationSet; give its name, or fbms/NAME")
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


class Cluster:
    """The one set that a command is about, and its API server."""

    def __init__(self, options: argparse.Namespace) -> None:
        # Imported here: 0.4 s that `--help` need not wait for.
        from kubernetes import client
        from kubernetes import config as untyped

        config: Any = untyped
        config.load_kube_config(config_file=options.kubeconfig, context=options.context)
        contexts, active = config.list_kube_config_contexts(config_file=options.kubeconfig)
        chosen = next((one for one in contexts if one["name"] == options.context), active)
        self.namespace: str = options.namespace or chosen["context"].get("namespace") or "default"
        self.name: str = options.name
        self._sets = client.CustomObjectsApi()
        self._core = client.CoreV1Api()
        self._address = (GROUP, VERSION, self.namespace, PLURAL, self.name)

    def read(self) -> dict[str, Any]:
        """The set, as the API server has it."""
        found: Any = self._sets.get_namespaced_custom_object(*self._address)
        return dict(found)

    def patch(self, body: dict[str, Any]) -> None:
        """Merge ``body`` into the set."""
        self._sets.patch_namespaced_custom_object(*self._address, body, field_manager=MANAGER)

    def pods(self, selector: str) -> list[dict[str, Any]]:
        """Pods of the set's namespace, as JSON."""
        found = self._core.list_namespaced_pod(self.namespace, label_selector=selector)
        return [set_view.as_json(self._core.api_client, one) for one in found.items]

    def log(self, pod: dict[str, Any], *, follow: bool) -> None:
        """Print the log of one of :meth:`pods`."""
        logs.show(self._core, self.namespace, pod, follow=follow)

    def config_map(self, name: str) -> dict[str, Any]:
        """A ConfigMap of the set's namespace, as JSON.

        Raises:
            LookupError: there is none of that name.
        """
        from kubernetes.client.exceptions import ApiException

        try:
            found = self._core.read_namespaced_config_map(name, self.namespace)
        except ApiException as error:
            if error.status == 404:
                raise LookupError(f"ConfigMap {name} not found") from error
            raise
        return set_view.as_json(self._core.api_client, found)


def _annotate(cluster: Cluster, annotation: str, value: str) -> None:
    cluster.patch({"metadata": {"annotations": {annotation: value}}})


def _status(cluster: Cluster, options: argparse.Namespace) -> int:
    print(set_view.render(cluster.read()))
    return DONE


def _retry(cluster: Cluster, options: argparse.Namespace) -> int:
    value = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(2)}"
    _annotate(cluster, ANNOTATION_REQUESTED_AT, value)
    print(f"{cluster.namespace}/{cluster.name}: asked for another run ({ANNOTATION_REQUESTED_AT}={value})")
    return DONE


def _force(cluster: Cluster, options: argparse.Namespace) -> int:
    if options.version < -1:
        print(f"error: version {options.version}: give a version, or -1 for nothing applied", file=sys.stderr)
        return USAGE
    unknown = steering.unknown_version(
        cluster.read(), Track(options.track), options.version, cluster.config_map
    )
    if unknown and not options.yes:
        print(f"error: {unknown}; add --yes to record version {options.version} anyway", file=sys.stderr)
        return USAGE
    value = f"{options.track}={options.version}@{secrets.token_hex(6)}"
    _annotate(cluster, ANNOTATION_FORCE, value)
    print(f"{cluster.namespace}/{cluster.name}: asked to record {value.partition('@')[0]}, clean")
    return DONE


def _take_over(cluster: Cluster, options: argparse.Namespace) -> int:
    claims = set_view.claims(cluster.read())
    owned = {track: owner for track, owner in claims.items() if options.track in (None, track)}
    if not owned:
        print(f"error: {options.track or 'no'} track: no other set is known to own it", file=sys.stderr)
        return FAILED
    track, owner = next(iter(owned.items()))
    _annotate(cluster, ANNOTATION_TAKE_OVER, f"{track}={owner['uid']}@{secrets.token_hex(6)}")
    print(f"{cluster.namespace}/{cluster.name}: asked to take the {track} track over from {owner['name']}")
    if len(owned) > 1:
        print("another track is owned by another set, too: run this again when the first is taken over")
    return DONE


def _rollback(cluster: Cluster, options: argparse.Namespace) -> int:
    cluster.patch(steering.rollback(cluster.read(), Track(options.track), options.to))
    target = "the latest version" if options.to is None else f"version {options.to}"
    print(f"{cluster.namespace}/{cluster.name}: {options.track} track is to be at {target}")
    return DONE


def _suspend(cluster: Cluster, options: argparse.Namespace) -> int:
    suspended = options.command == "suspend"
    cluster.patch({"spec": {"suspend": suspended}})
    print(f"{cluster.namespace}/{cluster.name}: {'suspended' if suspended else 'resumed'}")
    return DONE


def _logs(cluster: Cluster, options: argparse.Namespace) -> int:
    pod = logs.newest(cluster.pods(logs.selector(cluster.read())), options.track)
    if pod is None or not logs.has_started(pod):
        what = (
            "no run has a pod any more" if pod is None else f"pod {pod['metadata']['name']} has not started"
        )
        print(
            f"error: {cluster.namespace}/{cluster.name}: {what}; see kubectl fluxbase status", file=sys.stderr
        )
        return FAILED
    cluster.log(pod, follow=options.follow)
    return DONE


def _wait(cluster: Cluster, options: argparse.Namespace) -> int:
    deadline = time.monotonic() + options.timeout
    shown = ""
    while True:
        found = cluster.read()
        state = set_view.progress(found, cluster.config_map)
        if state.text != shown:
            shown = state.text
            print(f"{cluster.namespace}/{cluster.name}: {visible(shown)}", flush=True)
        if state.done is not None:
            return DONE if state.done else FAILED
        if time.monotonic() > deadline:
            print(f"error: not Applied after {options.timeout:g} s", file=sys.stderr)
            return FAILED
        time.sleep(0.5)


COMMANDS: dict[str, Callable[[Cluster, argparse.Namespace], int]] = {
    "status": _status,
    "logs": _logs,
    "retry": _retry,
    "force": _force,
    "take-over": _take_over,
    "rollback": _rollback,
    "suspend": _suspend,
    "resume": _suspend,
    "wait": _wait,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return 0 done, 1 failed, 2 usage. A reader that has seen enough is no failure."""
    prepare_streams()
    try:
        try:
            return _command(arguments)
        finally:  # also where argparse ends the program
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        silence_stdout()
        return DONE
    except OSError as error:
        silence_stdout()
        print(f"error: {visible(str(error))}", file=sys.stderr)
        return FAILED


def _command(arguments: Sequence[str] | None) -> int:
    options = parser().parse_args(arguments)
    try:
        from kubernetes.client.exceptions import ApiException
        from kubernetes.config.config_exception import ConfigException
        from urllib3.exceptions import HTTPError
    except ModuleNotFoundError as error:
        print(f"error: {missing(error, Extra.KUBECTL)}", file=sys.stderr)
        return FAILED

    try:
        cluster = Cluster(options)
        return COMMANDS[options.command](cluster, options)
    except ConfigException as error:
        print(f"error: no cluster to talk to: {error}; give --kubeconfig or set KUBECONFIG", file=sys.stderr)
    except HTTPError as error:
        print(f"error: the API server does not answer: {error}", file=sys.stderr)
    except ApiException as error:
        where = f"{options.namespace or 'the current namespace'}"
        if error.status == 404:
            print(f"error: there is no FluxbaseMigrationSet {options.name} in {where}", file=sys.stderr)
        else:
            print(
                f"error: the API server refused: {visible(set_view.api_message(error.body, error.reason))}",
                file=sys.stderr,
            )
    except KeyboardInterrupt:
        return 130
    return FAILED


if __name__ == "__main__":
    sys.exit(main())
