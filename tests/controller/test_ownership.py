"""Whose database it is: released, looked up, handed over, with the documented rights and no more."""

import secrets
from datetime import UTC, datetime
from typing import Any

import pytest

from fluxbase_migrations.api import conditions, status_json
from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.result import Outcome, Result
from tests.controller.cluster import Cluster, now, told, until
from tests.controller.conftest import Running
from tests.controller.test_lifecycle import done

HERE = DatabaseIdentity("shop", "7001", 16384, "history")
ELSEWHERE = DatabaseIdentity("shop", "7002", 16384, "history")
ONLY_SYSTEM: Json = {"system": {}}


def claimed(owner: Json, cluster: str | None, name: str | None = None) -> Result:
    metadata = owner["metadata"]
    return Result(
        Outcome.CONFLICT,
        observed=True,
        version=6,
        owner=name or f"{metadata['namespace']}/{metadata['name']}",
        owner_uid=metadata["uid"],
        owner_cluster=cluster,
        database=HERE,
    )


async def first(cluster: Cluster) -> Json:
    """A set that owns the database."""
    made = await cluster.make_set("first", tracks=ONLY_SYSTEM)
    await cluster.run("system", 1, done(6, database=HERE), name="first")
    await cluster.reaches("system", "Applied", name="first")
    return made


async def stalled(cluster: Cluster, owner: Json, uid: str | None, name: str | None = None) -> str:
    """A second set on that database; returns what it says."""
    await cluster.make_set(tracks=ONLY_SYSTEM)
    await cluster.run("system", 1, claimed(owner, uid, name))
    found = await cluster.reaches("system", "Failed", "DatabaseClaimed")
    return str(found["message"])


async def no_other_job(cluster: Cluster, operator: Running) -> None:
    """Two looks at the set later there is still one Job."""
    for _ in range(2):
        await operator.has_seen_all(cluster)
    assert [told(job).run for job in await cluster.jobs() if told(job).set.name == "shop"] == [1]


async def test_a_job_names_its_cluster(cluster: Cluster, operator: Running) -> None:
    await cluster.make_set(tracks=ONLY_SYSTEM)
    job = await cluster.next_job("system", 1)
    assert told(job).set.cluster == await cluster.uid()


async def test_a_set_takes_over_when_the_owner_is_deleted(cluster: Cluster, operator: Running) -> None:
    owner = await first(cluster)
    assert f"{cluster.namespace}/first. Delete that set" in await stalled(cluster, owner, await cluster.uid())
    await no_other_job(cluster, operator)
    where = Resource.SETS, cluster.namespace, "first"
    await cluster.kube.delete(*where, owner["metadata"]["uid"], "Background")
    job = await cluster.next_job("system", 2, "shop")
    assert told(job).take_over_from == owner["metadata"]["uid"]


@pytest.mark.parametrize("how", ["disabled", "another database"])
async def test_a_set_takes_over_when_the_owner_lets_go(cluster: Cluster, operator: Running, how: str) -> None:
    """Splitting one set in two, and moving one to another database."""
    owner = await first(cluster)
    await stalled(cluster, owner, await cluster.uid())
    if how == "disabled":
        await cluster.config_map("files", {"001_a.up.sql": "select 1"})
        user = {"source": {"configMap": {"name": "files"}}}
        await cluster.patch_set("first", spec={"tracks": {"system": {"enabled": False}, "user": user}})
    else:
        other = {"urlFrom": {"secretKeyRef": {"name": "other-db", "key": "url"}}}
        await cluster.patch_set("first", spec={"database": other})
        await cluster.run("system", 2, done(6, database=ELSEWHERE), name="first")
    job = await cluster.next_job("system", 2, "shop")
    assert told(job).take_over_from == owner["metadata"]["uid"]
    await cluster.event("TakingOver", "which no longer uses it")


async def test_an_owner_that_cannot_be_looked_at_has_not_let_go(cluster: Cluster, operator: Running) -> None:
    """Only its conditions are about the present spec; what it says of the track is of an older one."""
    owner = await first(cluster)
    await stalled(cluster, owner, await cluster.uid())
    await cluster.patch_set("first", spec={"operator": "another"})  # so that nobody mends it meanwhile
    where = Resource.SETS, cluster.namespace, "first"

    async def said() -> bool:
        body = await cluster.kube.get(*where)
        body["status"]["tracks"]["system"] |= {"phase": "Skipped", "reason": "Disabled"}
        generation = body["metadata"]["generation"]
        told = conditions.failing((), generation, datetime.now(UTC).replace(microsecond=0), "forbidden")
        body["status"] |= {
            "phase": "Skipped",
            "observedGeneration": generation,
            "conditions": status_json.write_conditions(told),
        }
        try:
            await cluster.kube.replace(*where, body, "status")
        except KubeError as error:
            return error.status != 409
        return True

    await until("its status says so", said)
    await no_other_job(cluster, operator)


@pytest.mark.parametrize("known", [True, False], ids=["another cluster", "a claim that does not say"])
async def test_the_set_of_another_cluster_is_never_gone(
    cluster: Cluster, operator: Running, known: bool
) -> None:
    """Staging gets production's URL. Handing over on purpose is how a cluster is installed again."""
    production: Json = {"metadata": {"namespace": cluster.namespace, "name": "production", "uid": "uid-1"}}
    text = await stalled(cluster, production, "another" if known else None)
    assert "which is not in this cluster" in text
    assert "kubectl fluxbase take-over shop" in text
    await no_other_job(cluster, operator)
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/take-over": "system=uid-1@token"}})
    name = f"{cluster.namespace}/production"
    result = done(6, database=HERE, obeyed=("take-over",), taken_from=name, taken_from_uid="uid-1")
    job = await cluster.run("system", 2, result)
    command = told(job).take_over
    assert command is not None
    assert (command.uid, command.token) == ("uid-1", "token")
    assert told(job).command_database == HERE
    found = await cluster.reaches("system", "Applied")
    assert found["takenFrom"] == {"name": name, "uid": "uid-1"}
    await cluster.event("TakenOver", f"{name} (uid uid-1)")
    assert (await cluster.status())["commands"]["takeOver"]["state"] == "Obeyed"


async def test_an_owner_s_name_is_no_path(cluster: Cluster, operator: Running) -> None:
    """It is read from the database, where others may write."""
    owner: Json = {"metadata": {"uid": "uid-1"}}
    path = f"{cluster.namespace}/../../../../../../../api/v1/namespaces/kube-system/secrets"
    text = await stalled(cluster, owner, await cluster.uid(), name=path)
    assert "which is not in this cluster" in text
    await no_other_job(cluster, operator)


async def test_an_owner_that_may_not_be_looked_up_is_named_with_the_command(
    cluster: Cluster, operator: Running
) -> None:
    """Moving a set to another namespace, which the old one's operator does not share."""
    forbidden = f"test-{secrets.token_hex(4)}"
    await cluster.kube.create(Resource.NAMESPACES, None, {"metadata": {"name": forbidden}})
    owner: Json = {"metadata": {"namespace": forbidden, "name": "shop", "uid": "uid-1"}}
    text = await stalled(cluster, owner, "uid-of-namespace")
    assert f"{forbidden}/shop, in a namespace that this operator may not read" in text
    assert "kubectl fluxbase take-over shop" in text
    await no_other_job(cluster, operator)


async def test_the_former_owner_sees_that_it_lost_the_track(
    cluster: Cluster, operator: Running, start_operator: Any
) -> None:
    owner = await first(cluster)
    uid = owner["metadata"]["uid"]
    await stalled(cluster, owner, await cluster.uid())
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/take-over": f"system={uid}@token"}})
    name = f"{cluster.namespace}/first"
    result = done(6, database=HERE, obeyed=("take-over",), taken_from=name, taken_from_uid=uid)
    # The API server's times are whole seconds.
    before = (await cluster.track("system", "first"))["finishedAt"]
    await until("the next second", lambda: _is_past(before))
    await cluster.run("system", 2, result)
    await cluster.reaches("system", "Applied")
    second = await cluster.get_set()
    await cluster.run("system", 2, claimed(second, await cluster.uid()), name="first", routine=True)
    found = await cluster.reaches("system", "Failed", "DatabaseClaimed", name="first")
    assert f"{cluster.namespace}/shop" in found["message"]
    # A new operator, which remembers nothing, does not look again.
    await operator.stop()
    restarted = await start_operator()
    for one in ("shop", "first"):
        await restarted.has_seen_all(cluster, one)
    assert len([job for job in await cluster.jobs() if told(job).set.name == "first"]) == 2


async def _is_past(time: str) -> bool:
    return now() > time


async def test_another_database_drops_the_facts_before_any_run(cluster: Cluster, operator: Running) -> None:
    await first(cluster)
    assert (await cluster.status("first"))["database"]["systemIdentifier"] == "7001"
    other = {"urlFrom": {"secretKeyRef": {"name": "other-db", "key": "url"}}}
    await cluster.patch_set("first", spec={"database": other})
    await cluster.next_job("system", 2, "first")
    status = await cluster.status("first")
    assert "database" not in status
    assert "version" not in status["tracks"]["system"]

    async def seen() -> bool:
        track = await cluster.track("system", "first")
        return bool(track.get("database", {}).get("systemIdentifier") == "7002")

    await cluster.run("system", 2, done(3, database=ELSEWHERE), name="first")
    await until("the new one is read", seen)
