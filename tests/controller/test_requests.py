"""What the operator costs the API server."""

import asyncio
from collections import Counter
from typing import Any

from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from tests.controller.cluster import Cluster, until
from tests.controller.conftest import Running
from tests.controller.test_lifecycle import applied, done


async def test_a_run_costs_six_writes(cluster: Cluster, operator: Running) -> None:
    await cluster.make_set()
    await cluster.run("system", 1, done(6))
    await until("all is written", lambda: _count(operator, 6))
    await asyncio.sleep(1)
    assert Counter(operator.writes()) == {
        ("PUT", "status"): 3,  # planned, running, ended
        ("POST", "jobs"): 1,
        ("PATCH", "jobs"): 1,  # ttlSecondsAfterFinished
        ("POST", "events"): 1,
    }


async def test_both_tracks_cost_eleven_writes(cluster: Cluster, operator: Running) -> None:
    await applied(cluster)
    await until("all is written", lambda: _count(operator, 11))
    await asyncio.sleep(1)
    assert Counter(operator.writes())["PUT", "status"] == 5  # the end of one track is the plan of the other
    assert len(operator.writes()) == 11


async def _count(operator: Running, count: int) -> bool:
    return len(operator.writes()) >= count


async def test_an_idle_set_costs_nothing(cluster: Cluster, operator: Running) -> None:
    await applied(cluster)
    await asyncio.sleep(1)
    operator.requests.clear()
    await asyncio.sleep(3)
    assert [path for _, path in operator.requests if "configmaps" not in path] == []


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
    await asyncio.sleep(2)
    operator.requests.clear()
    await asyncio.sleep(3)
    # Their second Jobs wait for pods that nobody makes; each may be looked at a few times, for its Events.
    assert len(operator.requests) < 15 * len(names), Counter(operator.writes())
    assert len(operator.writes()) <= 2 * len(names)
