"""Slots are for work, against a real API server: what cannot start keeps nobody out."""

from typing import Any

from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.result import Outcome
from tests.controller.cluster import Cluster, until
from tests.controller.conftest import fresh_namespace
from tests.controller.test_lifecycle import SOURCE, done


async def job_of(cluster: Cluster, name: str) -> Json:
    async def there() -> Json | None:
        return next((job for job in await cluster.jobs() if _set(job) == name), None)

    found: Json = await until(f"a Job of {name}", there)
    return found


def _set(job: Json) -> str:
    name: str = job["metadata"]["annotations"]["fluxbase.io/set"]
    return name


async def stuck(cluster: Cluster, name: str) -> Json:
    """Let a set's Job wait for a Secret that is not there; returns its pod."""
    pod = await cluster.make_pod(await job_of(cluster, name))
    await cluster.waiting(pod, "CreateContainerConfigError", 'secret "shop-db" not found')
    return pod


async def test_jobs_that_cannot_start_give_their_slots_to_others_and_count_again_when_they_start(
    cluster: Cluster, start_operator: Any
) -> None:
    await start_operator(max_concurrent_jobs=2)
    for name in ("stuck-1", "stuck-2"):
        await cluster.make_set(name)
    pods = {name: await stuck(cluster, name) for name in ("stuck-1", "stuck-2")}
    for name in ("good", "better"):
        await cluster.make_set(name)
    running = {name: await cluster.make_pod(await job_of(cluster, name)) for name in ("good", "better")}
    for name, pod in running.items():
        await cluster.running(pod)
        await cluster.reaches("system", "Running", name=name)
    # The Secrets are there: both start, beyond the limit, and count.
    for name, pod in pods.items():
        await cluster.running(pod)
        await cluster.reaches("system", "Running", name=name)
    await cluster.terminated(running["good"], done(6).to_json())
    await cluster.reaches("system", "Applied", name="good")
    await cluster.make_set("late")
    found = await cluster.reaches("system", "Pending", "Queued", name="late")
    assert f"limit (2) reached, 0 ahead; slots are held by migrations: 3 in {cluster.namespace}" in str(
        found["message"]
    )
    await cluster.terminated(running["better"], done(6).to_json())
    await cluster.terminated(pods["stuck-1"], done(6).to_json())
    await job_of(cluster, "late")


async def test_a_namespace_may_not_have_more_than_its_own_limit(
    cluster: Cluster, kube: Kube, start_operator: Any
) -> None:
    other = Cluster(kube, await fresh_namespace(kube))
    await start_operator(
        namespaces=(cluster.namespace, other.namespace),
        max_concurrent_jobs=10,
        max_concurrent_jobs_per_namespace=1,
    )
    await cluster.make_set("first")
    first = await cluster.make_pod(await job_of(cluster, "first"))
    await cluster.make_set("second")
    found = await cluster.reaches("system", "Pending", "Queued", name="second")
    assert "maxConcurrentJobsPerNamespace limit (1) reached, 0 ahead" in found["message"]
    await other.make_set("elsewhere")
    await job_of(other, "elsewhere")
    await cluster.running(first)
    await cluster.terminated(first, done(6, Outcome.NO_CHANGE).to_json())
    await job_of(cluster, "second")


async def test_a_set_that_has_begun_is_done_before_the_next_one_begins(
    cluster: Cluster, start_operator: Any
) -> None:
    await cluster.config_map("files", {"001_a.up.sql": "select 1"})
    await start_operator(max_concurrent_jobs=1)
    names = ("first", "second")
    await cluster.make_set("first", tracks=SOURCE)
    await job_of(cluster, "first")
    await cluster.make_set("second", tracks=SOURCE)
    await cluster.reaches("system", "Pending", "Queued", name="second")
    for name in names:
        await cluster.run("system", 1, done(6), name)
        await cluster.run("user", 1, done(1), name)
        await cluster.reaches("user", "Applied", name=name)
    assert [_set(job) for job in await cluster.jobs()] == [*names[:1] * 2, *names[1:] * 2]
