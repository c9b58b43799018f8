"""Watches that lag by seconds, against a real API server: each run has one Job, and its end is told."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.watch.namespace_watch import Watch
from fluxbase_migrations.controller.watch.store import ObjectKind, Stored
from fluxbase_migrations.core.names import LABEL_NAME
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from tests.controller.cluster import Cluster, told, until
from tests.controller.test_lifecycle import FILES, SOURCE, done

LAG = 3.0
"""Seconds."""


@pytest.fixture
def delayed(monkeypatch: pytest.MonkeyPatch) -> Callable[[frozenset[ObjectKind]], None]:
    """Let the watches of some kinds show everything late; what they list at first comes in time."""

    def delay(kinds: frozenset[ObjectKind]) -> None:
        shown = Watch._changed

        def late(self: Watch, one: Stored, gone: bool) -> None:
            after = LAG if one.kind in kinds else 0.0
            asyncio.get_running_loop().call_later(after, shown, self, one, gone)

        monkeypatch.setattr(Watch, "_changed", late)

    return delay


@pytest.mark.parametrize(
    "kinds",
    [
        pytest.param(frozenset({ObjectKind.SET}), id="of sets"),
        pytest.param(frozenset({ObjectKind.JOB}), id="of Jobs"),
        pytest.param(frozenset({ObjectKind.POD}), id="of pods"),
        pytest.param(frozenset(ObjectKind), id="of all"),
    ],
)
async def test_nothing_runs_twice_while_watches_lag(
    cluster: Cluster,
    start_operator: Any,
    delayed: Callable[[frozenset[ObjectKind]], None],
    kinds: frozenset[ObjectKind],
) -> None:
    delayed(kinds)
    running = await start_operator()
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=SOURCE, retry={"backoff": "1s"})
    for track, run, result in (
        ("system", 1, done(6)),
        ("user", 1, Result(Outcome.TRANSIENT, error=ErrorInfo("deadlock detected", sql_state="40P01"))),
        ("user", 2, done(1)),
    ):
        pod = await cluster.make_pod(await cluster.next_job(track, run))
        running.operator._queue.add((cluster.namespace, "shop"))  # it looks while the store is old
        await cluster.running(pod)
        await cluster.terminated(pod, result.to_json(), 0 if result.outcome.succeeded else 1)
        await cluster.complete(pod)
        running.operator._queue.add((cluster.namespace, "shop"))
    await cluster.reaches("user", "Applied")
    await cluster.edit_config_map("files", {"002_b.up.sql": "select 2"})
    await cluster.run("user", 3, done(2), routine=True)

    async def second() -> bool:
        return (await cluster.track("user")).get("version") == 2

    await until("the second file is applied", second)
    assert [told(job).run for job in await cluster.jobs("user")] == [2, 3]
    assert Counter(running.writes())["POST", "jobs"] == 4
    assert (await cluster.track("user"))["attempts"] == 1


async def test_a_job_that_lost_its_label_for_a_while_is_known_again(
    cluster: Cluster, start_operator: Any
) -> None:
    """To a watch with a selector it was deleted."""
    running = await start_operator()
    await cluster.make_set()
    job = await cluster.next_job("system", 1)
    store, where = running.operator._store, (Resource.JOBS, cluster.namespace, job["metadata"]["name"])

    async def label(value: str | None) -> None:
        await cluster.kube.patch(*where, {"metadata": {"labels": {LABEL_NAME: value}}})

    async def known() -> bool:
        return any(one.uid == job["metadata"]["uid"] for one in store.all(ObjectKind.JOB))

    async def unknown() -> bool:
        return not await known()

    await until("its Job is known", known)
    for _ in range(2):
        await label(None)
        await until("the Job is gone from the watch", unknown)
        await label(job["metadata"]["labels"][LABEL_NAME])
        await until("the Job is back", known)
