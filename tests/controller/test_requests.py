"""What the operator costs the API server."""

import asyncio
import contextlib
import sys
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.watch.parsing import set_of
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from tests.controller.api_server import ApiServer
from tests.controller.cluster import Cluster, until
from tests.controller.conftest import Running
from tests.controller.test_lifecycle import applied, done

SPAN = 3
"""Seconds of which the requests are counted."""


async def test_a_run_costs_six_writes(cluster: Cluster, operator: Running) -> None:
    await cluster.make_set()
    await cluster.run("system", 1, done(6))
    await until("all is written", lambda: _count(operator, 6))
    await operator.has_seen_all(cluster)
    assert Counter(operator.writes()) == {
        ("PUT", "status"): 3,  # planned, running, ended
        ("POST", "jobs"): 1,
        ("PATCH", "jobs"): 1,  # ttlSecondsAfterFinished
        ("POST", "events"): 1,
    }


async def test_both_tracks_cost_eleven_writes(cluster: Cluster, operator: Running) -> None:
    await applied(cluster)
    await until("all is written", lambda: _count(operator, 11))
    await operator.has_seen_all(cluster)
    assert Counter(operator.writes())["PUT", "status"] == 5  # the end of one track is the plan of the other
    assert len(operator.writes()) == 11


async def _count(operator: Running, count: int) -> bool:
    return len(operator.writes()) >= count


async def test_an_idle_set_costs_nothing(cluster: Cluster, operator: Running) -> None:
    await applied(cluster)
    await until("all is written", lambda: _count(operator, 11))
    await operator.has_seen_all(cluster)
    operator.requests.clear()
    looks = operator.looks()
    await cluster.edit_config_map("files", {"README": "not a migration"})
    await operator.looks_again(looks)
    assert operator.requests == [("GET", path_of(Resource.CONFIG_MAPS, cluster.namespace, "files"))]
    operator.requests.clear()
    key = (cluster.namespace, "shop")
    for _ in range(3):
        looks = operator.looks()
        operator.operator._queue.add(key)
        await operator.looks_again(looks)
    assert operator.requests == []


async def test_a_restart_costs_the_lists_alone(
    cluster: Cluster, server: ApiServer, operator: Running, start_operator: Any
) -> None:
    """However many sets and ConfigMaps there are."""
    names = [f"set-{number}" for number in range(30)]
    for name in names:
        await cluster.config_map(name, {"001_a.up.sql": "select 1"})
        source = {"configMap": {"name": name}}
        await cluster.make_set(name, suspend=True, tracks={"system": {}, "user": {"source": source}})
    await until("all were looked at", lambda: _told_of(cluster, names))
    await operator.stop()
    since = server.audit_log.stat().st_size
    second: Running = await start_operator()
    await until("all were looked at again", lambda: _looked(second, len(names)))
    await asyncio.sleep(1)  # the audit log is written a moment later
    requests = Counter(server.requests(since))
    assert {verb for verb, _ in requests} <= {"list", "watch"}, requests
    assert {resource for _, resource in requests} == {"fluxbasemigrationsets", "jobs", "pods", "configmaps"}
    assert requests.total() <= 10, requests


async def _told_of(cluster: Cluster, names: list[str]) -> bool:
    return all([(await cluster.status(name))["observedGeneration"] == 1 for name in names])


async def _looked(running: Running, count: int) -> bool:
    return running.looks() >= count


async def test_failing_sets_make_no_hot_loop(cluster: Cluster, operator: Running) -> None:
    names = [f"set-{number}" for number in range(10)]
    for name in names:
        await cluster.make_set(name, retry={"limit": 100, "backoff": "1s"})
    failed = Result(Outcome.UNREACHABLE, error=ErrorInfo("no route to host"))

    async def fail(name: str) -> None:
        async def own() -> Any:
            jobs = await cluster.jobs("system")
            return [job for job in jobs if job["metadata"]["annotations"]["fluxbase.io/set"] == name]

        (job,) = await until(f"a Job of {name}", own)
        pod = await cluster.make_pod(job)
        await cluster.terminated(pod, failed.to_json(), 1)
        await cluster.reaches("system", "Pending", name=name)

    for name in names:
        await fail(name)
    for name in names:
        await cluster.next_job("system", 2, name)
        await operator.has_seen_all(cluster, name)
    operator.requests.clear()
    await asyncio.sleep(SPAN)
    # Their second Jobs wait for pods that nobody makes; each may be looked at a few times, for its Events.
    assert len(operator.requests) < 15 * len(names), Counter(operator.writes())
    assert len(operator.writes()) <= 2 * len(names)


FAULTS = {
    "unreachable": Result(Outcome.UNREACHABLE, error=ErrorInfo("no route to host")),
    "login": Result(Outcome.AUTHENTICATION_FAILED, error=ErrorInfo("password authentication failed")),
    "deadlock": Result(Outcome.TRANSIENT, error=ErrorInfo("deadlock detected", sql_state="40P01")),
    "statement": Result(
        Outcome.SQL_ERROR, version=1, dirty=True, observed=True, error=ErrorInfo("syntax error")
    ),
    "changed": Result(Outcome.SOURCE_CHANGED, error=ErrorInfo("the files changed")),
    "killed": None,
    "secret": None,
    "map": None,
    "files": None,
    "refused": None,
}
"""How the runs of sets end, by the first part of their names; None: without a result, or they never start."""
MINUTE = 60


@pytest.mark.timeout(600)
async def test_a_minute_with_a_hundred_failing_sets(
    cluster: Cluster, server: ApiServer, start_operator: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Ten sets of each fault. Each run fails at once: nothing but the backoff holds the next back."""
    await start_operator(max_concurrent_jobs=200)
    await cluster.config_map("bad", {"create_users.sql": "select 1"})
    user_only = {"enabled": False}
    specs: dict[str, Any] = {
        "map": {"tracks": {"system": user_only, "user": {"source": {"configMap": {"name": "none"}}}}},
        "files": {"tracks": {"system": user_only, "user": {"source": {"configMap": {"name": "bad"}}}}},
        "refused": {"job": {"tolerations": [{"key": "a", "operator": "Perhaps"}]}},
    }
    names = [f"{fault}-{number}" for number in range(10) for fault in FAULTS]
    async with _failing_runs(cluster):
        for name in names:
            await cluster.make_set(name, **specs.get(name.partition("-")[0], {}))
        await until("all have failed", lambda: _with_an_event(cluster, names), seconds=180)
        since = server.audit_log.stat().st_size
        await asyncio.sleep(MINUTE)
        requests = Counter(server.requests(since))
    total = sum(requests.values())
    writes = sum(count for (verb, _), count in requests.items() if verb not in ("get", "list", "watch"))
    with capsys.disabled():
        told = ", ".join(f"{verb} {resource} {count}" for (verb, resource), count in requests.most_common())
        sys.stdout.write(
            f"\n100 failing sets, {MINUTE} s: {total} requests, {writes} of them writes: {told}\n"
        )
    # By default a set is tried again after 10, 20, 40 s, and SourceChanged after 1, 2, 4, 8, 16, 32 s.
    assert total < 100 * 60
    assert writes < 100 * 12


@contextlib.asynccontextmanager
async def _failing_runs(cluster: Cluster) -> AsyncIterator[None]:
    """Have a pod for every Job, which fails as :data:`FAULTS` says, or never starts."""

    async def work() -> None:
        known: set[str] = set()
        while True:
            for job in await cluster.jobs():
                if job["metadata"]["uid"] not in known:
                    known.add(job["metadata"]["uid"])
                    with contextlib.suppress(KubeError):  # the Job is being replaced
                        await _fail(cluster, job)
            await asyncio.sleep(0.2)

    task = asyncio.create_task(work())
    try:
        yield
        assert not task.done(), task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def _fail(cluster: Cluster, job: Json) -> None:
    fault = (set_of(job) or "").partition("-")[0]
    pod = await cluster.make_pod(job)
    if fault == "secret":
        await cluster.waiting(pod, "CreateContainerConfigError", 'secret "shop-db" not found')
        return
    result = FAULTS[fault]
    await cluster.terminated(pod, result.to_json() if result else "", 1, "Error")


async def _with_an_event(cluster: Cluster, names: list[str]) -> bool:
    told = {one["involvedObject"]["name"] for one in await cluster.events() if one["type"] == "Warning"}
    return told >= set(names)
