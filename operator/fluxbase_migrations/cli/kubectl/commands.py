"""What each command of ``kubectl fluxbase`` does: reads, changes, prints; the deciding is elsewhere."""

import argparse
import secrets
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import TypeVar

from fluxbase_migrations.cli.kubectl import (
    creating,
    describe,
    documents,
    history,
    layout,
    logs,
    plan_view,
    preview,
    set_list,
    set_view,
    status,
    steering,
    versions,
)
from fluxbase_migrations.cli.kubectl.arguments import DEFAULT_KEY
from fluxbase_migrations.cli.kubectl.cluster import Cluster
from fluxbase_migrations.cli.kubectl.following import follow
from fluxbase_migrations.cli.kubectl.next_step import next_step
from fluxbase_migrations.core.approval import short
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    Track,
)
from fluxbase_migrations.core.text import visible

T = TypeVar("T")

DONE, FAILED, USAGE = 0, 1, 2
_TRIES = 10
"""How often an approval is tried again because the set was written meanwhile."""


def _annotate(cluster: Cluster, annotation: str, value: str) -> None:
    cluster.patch({"metadata": {"annotations": {annotation: value}}})


def _asked(cluster: Cluster, options: argparse.Namespace, text: str) -> int:
    """Say what was asked for, and wait for the outcome if that is wanted."""
    print(f"{cluster.namespace}/{cluster.name}: {text}", flush=True)
    if not options.wait:
        return DONE
    return DONE if follow(cluster, options.timeout, passing=may_pass) else FAILED


def _agreed(cluster: Cluster, options: argparse.Namespace, lines: Sequence[str]) -> bool:
    """Say what will happen; on a terminal, ask."""
    start = "" if lines[0].startswith(f"{cluster.namespace}/") else f"{cluster.namespace}/{cluster.name}, "
    print(f"{start}{visible(lines[0])}", file=sys.stderr)
    for line in lines[1:]:
        print(visible(line), file=sys.stderr)
    if options.yes or sys.stdin is None or not sys.stdin.isatty():
        return True
    print("Go on? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() in ("y", "yes"):
        return True
    print("nothing was changed", file=sys.stderr)
    return False


def _reading(cluster: Cluster) -> Callable[[str], Json]:
    """Reads a ConfigMap; that it may not be read hinders no command, and is told."""

    def read(name: str) -> Json:
        found = _or_why(lambda: cluster.config_map(name))
        if isinstance(found, str):
            raise LookupError(found)
        return found

    return read


def error(text: str, code: int = FAILED) -> int:
    """Say why a command ends, and return its exit code."""
    print(f"error: {visible(text)}", file=sys.stderr)
    return code


def _status(cluster: Cluster, options: argparse.Namespace) -> int:
    print(status.render(cluster.read(), layout.columns()))
    return DONE


def _retry(cluster: Cluster, options: argparse.Namespace) -> int:
    value = f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}-{secrets.token_hex(2)}"
    _annotate(cluster, ANNOTATION_REQUESTED_AT, value)
    return _asked(cluster, options, f"asked for another run ({ANNOTATION_REQUESTED_AT}={value})")


def _force(cluster: Cluster, options: argparse.Namespace) -> int:
    if options.version < NIL:
        return error(f"version {options.version}: give a version, or -1 for nothing applied", USAGE)
    found, track = cluster.read(), Track(options.track)
    unknown = steering.unknown_version(found, track, options.version, _reading(cluster))
    if unknown and not options.yes:
        return error(f"{unknown}; add --yes to record version {options.version} anyway", USAGE)
    if not _agreed(cluster, options, preview.force(found, track, options.version, _reading(cluster))):
        return FAILED
    value = f"{options.track}={options.version}@{secrets.token_hex(6)}"
    _annotate(cluster, ANNOTATION_FORCE, value)
    return _asked(cluster, options, f"asked to record {value.partition('@')[0]}, clean")


def _take_over(cluster: Cluster, options: argparse.Namespace) -> int:
    claims = set_view.claims(cluster.read())
    owned = {track: owner for track, owner in claims.items() if options.track in (None, track)}
    if not owned:
        return error(f"{options.track or 'no'} track: no other set is known to own it")
    track, owner = next(iter(owned.items()))
    _annotate(cluster, ANNOTATION_TAKE_OVER, f"{track}={owner['uid']}@{secrets.token_hex(6)}")
    if len(owned) > 1:
        print("another track is owned by another set, too: run this again when the first is taken over")
    return _asked(cluster, options, f"asked to take the {track} track over from {owner['name']}")


def _rollback(cluster: Cluster, options: argparse.Namespace) -> int:
    found, track = cluster.read(), Track(options.track)
    if not _agreed(cluster, options, preview.rollback(found, track, options.to, _reading(cluster))):
        return FAILED
    cluster.patch(steering.rollback(found, track, options.to))
    target = "the latest version" if options.to is None else f"version {options.to}"
    return _asked(cluster, options, f"{options.track} track is to be at {target}")


def _plan(cluster: Cluster, options: argparse.Namespace) -> int:
    found = cluster.read()
    plan = plan_view.waiting(found)
    if options.output:
        print(plan_view.as_text(plan_view.document(found, plan), options.output))
    elif plan is None:
        print(visible(plan_view.none_waits(found)))
    else:
        _print(plan_view.render(found, plan, layout.columns()))
        if options.full:
            _print(_full_plan(cluster, found, plan))
        print(f"\nnext: {next_step(found)}")
    return DONE


def _full_plan(cluster: Cluster, found: Json, plan: Json) -> Iterator[str]:
    """The plan's text, from the log of the run that made it, if that is still there."""
    pods = cluster.pods(logs.selector(found))
    for track in map(Track, plan["tracks"]):
        pod = plan_view.pod_of(pods, found, track)
        text = (
            plan_view.full_text(cluster.log_text(pod), found["status"]["tracks"][track]["plan"])
            if pod
            else None
        )
        yield ""
        if text is None:
            yield f"{track}: the log with the plan is gone; to make it again: kubectl fluxbase retry"
        yield from text or ()


def _approve(cluster: Cluster, options: argparse.Namespace) -> int:
    """Approve what is shown, and only that: another plan is another decision."""
    found = cluster.read()
    plan = plan_view.waiting(found)
    if plan is None:
        return error(plan_view.none_waits(found))
    try:
        if options.digest and not plan_view.is_meant(plan, options.digest):
            return error(f"another plan waits for approval: {plan['digest']}; see kubectl fluxbase plan")
    except ValueError as problem:
        return error(str(problem), USAGE)
    if not options.yes and (sys.stdin is None or not sys.stdin.isatty()):
        return error("add --yes to approve the plan without being asked", USAGE)
    if not _agreed(cluster, options, plan_view.render(found, plan, layout.columns())):
        return FAILED
    for _ in range(_TRIES):
        if cluster.patch_unchanged(plan_view.approval(found, plan)):
            return _asked(cluster, options, f"approved the plan {short(plan['digest'])}")
        found = cluster.read()  # whatever was written meanwhile: it may be the same plan still
        if (now := plan_view.waiting(found)) is None or now["digest"] != plan["digest"]:
            return error("the plan has changed meanwhile; nothing was approved; see kubectl fluxbase plan")
    return error("the set changes too often; nothing was approved; try again")


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
        return error(f"{cluster.namespace}/{cluster.name}: {what}; see kubectl fluxbase status")
    cluster.log(pod, follow=options.follow)
    return DONE


def _follow(cluster: Cluster, options: argparse.Namespace) -> int:
    return DONE if follow(cluster, options.timeout, passing=may_pass) else FAILED


def _list(cluster: Cluster, options: argparse.Namespace) -> int:
    found = cluster.sets(everywhere=options.all_namespaces)
    if options.output in ("json", "yaml"):
        print(documents.as_list(found, options.output))
        return DONE
    if not found:
        where = "the cluster" if options.all_namespaces else f"namespace {cluster.namespace}"
        print(f"no FluxbaseMigrationSet in {where}", file=sys.stderr)
        return DONE
    _print(
        set_list.rows(
            found,
            datetime.now(UTC),
            layout.columns(),
            namespaces=options.all_namespaces,
            wide=options.output == "wide",
        )
    )
    return DONE


def _describe(cluster: Cluster, options: argparse.Namespace) -> int:
    found = cluster.read()
    related = describe.Related(
        jobs=_or_why(lambda: cluster.jobs(logs.selector(found))),
        events=_or_why(lambda: cluster.events(found["metadata"]["uid"])),
    )
    _print(describe.describe(found, related, datetime.now(UTC), layout.columns()))
    return DONE


def _history(cluster: Cluster, options: argparse.Namespace) -> int:
    _print(history.history(cluster.read(), datetime.now(UTC), layout.columns()))
    return DONE


def _version(cluster: Cluster, options: argparse.Namespace) -> int:
    operators = _or_why(lambda: cluster.operators(everywhere=True))
    if isinstance(operators, str):
        operators = _or_why(lambda: cluster.operators(everywhere=False))
    _print(versions.cluster(operators, _or_why(cluster.resource), layout.columns()))
    return DONE


def may_pass(problem: Exception) -> str | None:
    """Why the API server gives no answer now, if it may give one later."""
    from kubernetes.client.exceptions import ApiException
    from urllib3.exceptions import HTTPError

    if isinstance(problem, HTTPError):
        return "the API server does not answer"
    if isinstance(problem, ApiException) and (problem.status == 429 or (problem.status or 0) >= 500):
        return f"the API server is not ready: {set_view.api_message(problem.body, problem.reason)}"
    return None


def _or_why(read: Callable[[], T]) -> T | str:
    """What the API server gives, or why it does not: a view shows the rest all the same."""
    from kubernetes.client.exceptions import ApiException

    try:
        return read()
    except ApiException as problem:
        return set_view.api_message(problem.body, problem.reason)


def _create(cluster: Cluster, options: argparse.Namespace) -> int:
    wanted = _new_set(options, cluster.namespace)
    made = creating.objects(wanted, _files(options.from_file))
    # All are tried before the first is made: a name that is taken leaves nothing behind.
    tried = [cluster.create(one, dry_run=True) for one in made]
    dry = options.dry_run == "server"
    created = []
    for body, seen in zip(made, tried, strict=True):
        created.append(seen if dry else cluster.create(body))
        if not options.output:  # one by one: what has been created is known also where the next cannot be
            kind, name = body["kind"].lower(), body["metadata"]["name"]
            print(f"{kind}/{name} created{' (server dry run)' if dry else ''}", flush=True)
    if options.output:
        print(documents.as_file(created, options.output), flush=True)
    if dry or not options.wait:
        return DONE
    return DONE if follow(cluster, options.timeout, passing=may_pass) else FAILED


def dry_run(options: argparse.Namespace) -> int:
    """Objects for a file, made without a cluster."""
    made = creating.objects(_new_set(options, options.namespace), _files(options.from_file))
    print(documents.as_file(made, options.output or "yaml"))
    return DONE


def _new_set(options: argparse.Namespace, namespace: str | None) -> creating.NewSet:
    secret, _, key = options.database_secret.partition(":")
    return creating.NewSet(
        options.name,
        namespace,
        secret,
        key or DEFAULT_KEY,
        options.config_map or f"{options.name}-migrations",
        options.baseline,
        options.suspend,
    )


def _files(directory: str) -> dict[str, bytes]:
    from fluxbase_migrations.runner.commands.source import read_directories
    from fluxbase_migrations.runner.log import Log

    return read_directories([directory], Log(write=lambda line: print(line, end="", file=sys.stderr)))


def _print(lines: Iterable[str]) -> None:
    for line in lines:
        print(line)


COMMANDS: dict[str, Callable[[Cluster, argparse.Namespace], int]] = {
    "list": _list,
    "status": _status,
    "describe": _describe,
    "history": _history,
    "logs": _logs,
    "plan": _plan,
    "approve": _approve,
    "watch": _follow,
    "wait": _follow,
    "retry": _retry,
    "force": _force,
    "take-over": _take_over,
    "rollback": _rollback,
    "suspend": _suspend,
    "resume": _suspend,
    "create": _create,
    "version": _version,
}
