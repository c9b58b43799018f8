"""Several installations: each looks after its own sets, and two that meet on one set do not fight over it."""

from typing import Any

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ANNOTATION_CONTESTED
from tests.controller.cluster import Cluster, until
from tests.controller.test_lifecycle import done


async def conflicts(cluster: Cluster, count: int) -> list[Json]:
    """Wait for so many Events about operators that meet."""

    async def there() -> list[Json]:
        found = [one for one in await cluster.events() if one["reason"] == "OperatorConflict"]
        return found if len(found) >= count else []

    found: list[Json] = await until(f"{count} Events", there)
    return found


async def test_who_finds_a_job_of_another_operator_steps_back_and_both_tell(
    cluster: Cluster, start_operator: Any
) -> None:
    first = await start_operator(lease_name="blue")
    await cluster.make_set()
    job = await cluster.next_job("system", 1)
    # Another image would have a Job that has not started replaced.
    second = await start_operator(lease_name="green", image="example.com/other:test")
    found = await conflicts(cluster, 2)
    texts = sorted(one["message"] for one in found)
    blue, green = f"operator {cluster.namespace}/blue", f"operator {cluster.namespace}/green"
    assert (
        f"{blue} runs the Job {job['metadata']['name']} for this set; {green} leaves the set to it"
        in texts[0]
    )
    assert f"{green} watches this set, too, and leaves it to {blue}" in texts[1]
    assert f"kubectl delete job {job['metadata']['name']}" in texts[0]
    (there,) = await cluster.jobs()
    assert "deletionTimestamp" not in there["metadata"]
    assert there["metadata"]["annotations"][ANNOTATION_CONTESTED] == f"{cluster.namespace}/green"
    assert not [one for one in second.writes() if one[1] == "status"]
    await cluster.run("system", 1, done(6))
    await cluster.reaches("system", "Applied")
    await first.stop()
    # The other one is left, and goes on.
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    await cluster.run("system", 2, done(6))
    await cluster.reaches("system", "Applied")


async def test_each_operator_looks_after_the_sets_that_name_it(cluster: Cluster, start_operator: Any) -> None:
    await start_operator(lease_name="one")
    await start_operator(lease_name="two", operator_name="canary")
    await cluster.make_set("plain")
    await cluster.make_set("new", operator="canary")
    await cluster.make_set("nobodys", operator="elsewhere")
    await until("both have a Job", lambda: _count(cluster, 2))
    makers = {
        job["metadata"]["annotations"]["fluxbase.io/set"]: job["metadata"]["annotations"][
            "fluxbase.io/operator"
        ]
        for job in await cluster.jobs()
    }
    assert makers == {"plain": f"{cluster.namespace}/one", "new": f"{cluster.namespace}/two"}
    assert await cluster.status("nobodys") == {"observedGeneration": -1}


async def test_a_set_that_is_handed_over_is_taken_up_with_its_job(
    cluster: Cluster, start_operator: Any
) -> None:
    await start_operator(lease_name="one")
    await start_operator(lease_name="two", operator_name="canary")
    await cluster.make_set()
    job = await cluster.next_job("system", 1)
    pod = await cluster.make_pod(job)
    await cluster.running(pod)
    await cluster.reaches("system", "Running")
    await cluster.patch_set(spec={"operator": "canary"})
    await cluster.terminated(pod, done(6).to_json())
    await cluster.reaches("system", "Applied")
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    following = await cluster.next_job("system", 2)
    assert following["metadata"]["annotations"]["fluxbase.io/operator-name"] == "canary"
    assert not [one for one in await cluster.events() if one["reason"] == "OperatorConflict"]


async def _count(cluster: Cluster, count: int) -> bool:
    return len(await cluster.jobs()) >= count
