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
"""How often an approval is retried because the set was modified in the meantime."""


def _annotate(cluster: Cluster, annotation: str, value: str) -> None:
    cluster.patch({"metadata": {"annotations": {annotation: value}}})


def _report(cluster: Cluster, options: argparse.Namespace, text: str) -> int:
    """Print what was requested, and wait for the outcome if the options say so."""
    print(f"{cluster.namespace}/{cluster.name}: {text}", flush=True)
    if not options.wait:
        return DONE
    return DONE if follow(cluster, options.timeout, passing=may_pass) else FAILED


def _confirmed(cluster: Cluster, options: argparse.Namespace, lines: Sequence[str]) -> bool:
    """Print what will happen; on a terminal, ask for confirmation."""
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


def _config_map_reader(cluster: Cluster) -> Callable[[str], Json]:
    """Reads a ConfigMap; raises LookupError, with the reason, where it cannot be read."""

    def read(name: str) -> Json:
        config_map = _or_why(lambda: cluster.config_map(name))
        if isinstance(config_map, str):
            raise LookupError(config_map)
        return config_map

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
    return _report(cluster, options, f"asked for another run ({ANNOTATION_REQUESTED_AT}={value})")


def _force(cluster: Cluster, options: argparse.Namespace) -> int:
    if options.version < NIL:
        return error(f"version {options.version}: give a version, or -1 for nothing applied", USAGE)
    migration_set, track = cluster.read(), Track(options.track)
    unknown = steering.unknown_version(migration_set, track, options.version, _config_map_reader(cluster))
    if unknown and not options.yes:
        return error(f"{unknown}; add --yes to record version {options.version} anyway", USAGE)
    if not _confirmed(
        cluster, options, preview.force(migration_set, track, options.version, _config_map_reader(cluster))
    ):
        return FAILED
    value = f"{options.track}={options.version}@{secrets.token_hex(6)}"
    _annotate(cluster, ANNOTATION_FORCE, value)
    return _report(cluster, options, f"asked to record {value.partition('@')[0]}, clean")


def _take_over(cluster: Cluster, options: argparse.Namespace) -> int:
    claims = set_view.claims(cluster.read())
    owned = {track: owner for track, owner in claims.items() if options.track in (None, track)}
    if not owned:
        return error(f"{options.track or 'no'} track: no other set is known to own it")
    track, owner = next(iter(owned.items()))
    _annotate(cluster, ANNOTATION_TAKE_OVER, f"{track}={owner['uid']}@{secrets.token_hex(6)}")
    if len(owned) > 1:
        print("another track is owned by another set, too: run this again when the first is taken over")
    return _report(cluster, options, f"asked to take the {track} track over from {owner['name']}")


def _rollback(cluster: Cluster, options: argparse.Namespace) -> int:
    migration_set, track = cluster.read(), Track(options.track)
    if not _confirmed(
        cluster, options, preview.rollback(migration_set, track, options.to, _config_map_reader(cluster))
    ):
        return FAILED
    cluster.patch(steering.rollback(migration_set, track, options.to))
    target = "the latest version" if options.to is None else f"version {options.to}"
    return _report(cluster, options, f"{options.track} track is to be at {target}")


def _plan(cluster: Cluster, options: argparse.Namespace) -> int:
    migration_set = cluster.read()
    plan = plan_view.waiting(migration_set)
    if options.output:
        print(plan_view.as_text(plan_view.document(migration_set, plan), options.output))
    elif plan is None:
        print(visible(plan_view.none_waits(migration_set)))
    else:
        _print(plan_view.render(migration_set, plan, layout.columns()))
        if options.full:
            _print(_full_plan(cluster, migration_set, plan))
        print(f"\nnext: {next_step(migration_set)}")
    return DONE


def _full_plan(cluster: Cluster, migration_set: Json, plan: Json) -> Iterator[str]:
    """The plan's text, from the log of the run that made it, if that is still there."""
    pods = cluster.pods(logs.selector(migration_set))
    for track in map(Track, plan["tracks"]):
        pod = plan_view.pod_of(pods, migration_set, track)
        text = (
            plan_view.full_text(cluster.log_text(pod), migration_set["status"]["tracks"][track]["plan"])
            if pod
            else None
        )
        yield ""
        if text is None:
            yield f"{track}: the log with the plan is gone; to make it again: kubectl fluxbase retry"
        yield from text or ()


def _approve(cluster: Cluster, options: argparse.Namespace) -> int:
    """Approve what is shown, and only that: another plan is another decision."""
    migration_set = cluster.read()
    plan = plan_view.waiting(migration_set)
    if plan is None:
        return error(plan_view.none_waits(migration_set))
    try:
        if options.digest and not plan_view.is_meant(plan, options.digest):
            return error(f"another plan waits for approval: {plan['digest']}; see kubectl fluxbase plan")
    except ValueError as problem:
        return error(str(problem), USAGE)
    if not options.yes and (sys.stdin is None or not sys.stdin.isatty()):
        return error("add --yes to approve the plan without being asked", USAGE)
    if not _confirmed(cluster, options, plan_view.render(migration_set, plan, layout.columns())):
        return FAILED
    for _ in range(_TRIES):
        if cluster.patch_unchanged(plan_view.approval(migration_set, plan)):
            return _report(cluster, options, f"approved the plan {short(plan['digest'])}")
        migration_set = cluster.read()  # it was modified, but its plan may be the same
        if (latest := plan_view.waiting(migration_set)) is None or latest["digest"] != plan["digest"]:
            return error("the plan has changed; nothing was approved; see kubectl fluxbase plan")
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
    migration_sets = cluster.sets(everywhere=options.all_namespaces)
    if options.output in ("json", "yaml"):
        print(documents.as_list(migration_sets, options.output))
        return DONE
    if not migration_sets:
        where = "the cluster" if options.all_namespaces else f"namespace {cluster.namespace}"
        print(f"no FluxbaseMigrationSet in {where}", file=sys.stderr)
        return DONE
    _print(
        set_list.rows(
            migration_sets,
            datetime.now(UTC),
            layout.columns(),
            namespaces=options.all_namespaces,
            wide=options.output == "wide",
        )
    )
    return DONE


def _describe(cluster: Cluster, options: argparse.Namespace) -> int:
    migration_set = cluster.read()
    related = describe.Related(
        jobs=_or_why(lambda: cluster.jobs(logs.selector(migration_set))),
        events=_or_why(lambda: cluster.events(migration_set["metadata"]["uid"])),
    )
    _print(describe.describe(migration_set, related, datetime.now(UTC), layout.columns()))
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
    from kubernetes.client.exceptions import ApiException

    new_set = _new_set(options, cluster.namespace)
    bodies = creating.objects(new_set, _files(options.from_file))
    # Dry run of all before the first is created: a name that is taken leaves nothing behind.
    dry_run_results = []
    for body in bodies:
        try:
            dry_run_results.append(cluster.create(body, dry_run=True))
        except ApiException as problem:
            if problem.status != 409:
                raise
            error(f"the API server refused: {set_view.api_message(problem.body, problem.reason)}")
            if body["kind"] == "ConfigMap" and len(bodies) == 2:  # the other one is the set
                step = creating.replacing(body["metadata"]["name"], cluster.namespace, options.from_file)
                print(f"next: {visible(step)}", file=sys.stderr)
            return FAILED
    dry = options.dry_run == "server"
    created = []
    for body, dry_run_result in zip(bodies, dry_run_results, strict=True):
        created.append(dry_run_result if dry else cluster.create(body))
        if not options.output:  # one by one: also where a later one fails, it is known what was created
            kind, name = body["kind"].lower(), body["metadata"]["name"]
            print(f"{kind}/{name} created{' (server dry run)' if dry else ''}", flush=True)
    if options.output:
        print(documents.as_file(created, options.output), flush=True)
    if dry or not options.wait:
        return DONE
    return DONE if follow(cluster, options.timeout, passing=may_pass) else FAILED


def dry_run(options: argparse.Namespace) -> int:
    """Objects for a file, made without a cluster."""
    bodies = creating.objects(_new_set(options, options.namespace), _files(options.from_file))
    print(documents.as_file(bodies, options.output or "yaml"))
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
