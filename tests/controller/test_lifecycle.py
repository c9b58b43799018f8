"""The way of a set from creation to AppliedFile, and what happens to its Jobs, against a real API server."""

from dataclasses import replace
from typing import Any

import pytest

from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.names import ANNOTATIONS_UNDISTURBED
from fluxbase_migrations.core.result import AppliedFile, ErrorInfo, Outcome, Result
from tests.controller.cluster import Cluster, now, told, until
from tests.controller.conftest import Running

FILES = {"001_a.up.sql": "create table a (id int);", "001_a.down.sql": "drop table a;"}
SOURCE = {"user": {"source": {"configMap": {"name": "files"}}}}


def done(version: int, outcome: Outcome = Outcome.APPLIED, **more: Any) -> Result:
    return Result(outcome, version=version, observed=True, latest=version, source_digest="sha256:x", **more)


def failed(outcome: Outcome, message: str = "no", **more: Any) -> Result:
    return Result(outcome, error=ErrorInfo(message, **more))


async def applied(cluster: Cluster) -> None:
    """Bring the set to Applied on both tracks."""
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=SOURCE)
    await cluster.run("system", 1, done(6))
    await cluster.run("user", 1, done(1))
    await cluster.reaches("user", "Applied")


async def test_both_tracks_run_one_after_the_other_and_the_status_tells(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=SOURCE)
    await cluster.next_job("system", 1)
    assert (await cluster.reaches("user", "Pending", "WaitingForSystem"))["message"]
    assert await cluster.jobs("user") == []
    files = (AppliedFile(6, "jobs", "up", 0.1),)
    await cluster.run("system", 1, done(6, applied=files, applied_count=1))
    job = await cluster.run("user", 1, done(1))
    user = await cluster.reaches("user", "Applied", "Applied")
    found = await cluster.get_set()
    status = found["status"]
    assert status["phase"] == "Applied"
    assert status["observedGeneration"] == found["metadata"]["generation"] == 1
    assert [(one["type"], one["status"]) for one in status["conditions"]] == [("Ready", "True")]
    assert status["tracks"]["system"] | {"version": 6, "dirty": False} == status["tracks"]["system"]
    assert user["job"] == {"name": job["metadata"]["name"], "uid": job["metadata"]["uid"]}
    assert told(job).expected_digest == source_digest({name: text.encode() for name, text in FILES.items()})
    assert told(job).paths == ("/migrations/user",)
    await cluster.event("Applied", "system migrations applied, version 6")
    assert "finalizers" not in found["metadata"]
    assert "annotations" not in found["metadata"]


async def test_nothing_is_written_while_nothing_happens(cluster: Cluster, operator: Running) -> None:
    await applied(cluster)
    await until("Jobs have their ttl", lambda: _ttls(cluster))
    before, looks = await cluster.get_set(), operator.looks()
    await cluster.edit_config_map("files", {"README": "not a migration"})
    await operator.looks_again(looks)
    looks = operator.looks()
    await cluster.patch_set(metadata={"labels": {"a": "b"}})
    await operator.looks_again(looks)
    after = await cluster.get_set()
    assert after["status"] == before["status"]
    assert len(await cluster.jobs()) == 2


async def _ttls(cluster: Cluster) -> bool:
    return all(job["spec"].get("ttlSecondsAfterFinished") == 86400 for job in await cluster.jobs())


async def test_restarting_the_operator_creates_no_job(
    cluster: Cluster, operator: Running, start_operator: Any
) -> None:
    await applied(cluster)
    before = await cluster.get_set()
    await operator.stop()
    second = await start_operator()
    await second.looks_again(0)
    assert len(await cluster.jobs()) == 2
    assert (await cluster.get_set())["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


async def test_the_operator_may_die_at_any_point_of_a_run(
    cluster: Cluster, operator: Running, start_operator: Any
) -> None:
    await cluster.make_set()
    job = await cluster.next_job("system", 1)
    await operator.stop()
    pod = await cluster.make_pod(job)
    await cluster.running(pod)
    second = await start_operator()
    await cluster.reaches("system", "Running")
    await second.stop()
    await cluster.terminated(pod, done(6).to_json())
    await start_operator()
    await cluster.reaches("system", "Applied")
    assert len(await cluster.jobs()) == 1


async def test_a_missing_config_map_is_told_and_noticed_within_two_seconds(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set(tracks={"system": {"enabled": False}, **SOURCE})
    found = await cluster.reaches("user", "Pending", "SourceMissing")
    assert "ConfigMap files not found" in found["message"]
    await cluster.config_map("files", {})
    await cluster.reaches("user", "Pending", "SourceEmpty", seconds=2)
    await cluster.edit_config_map("files", {"create_users.sql": "select 1"})
    await cluster.reaches("user", "Failed", "InvalidSource", seconds=2)
    await cluster.edit_config_map("files", {"create_users.sql": None, **FILES})
    await cluster.reaches("user", "Pending", "Starting", seconds=2)
    await cluster.next_job("user", 1)
    assert len(await cluster.jobs()) == 1


async def test_a_job_that_has_not_started_gives_way_to_newer_content(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks={"system": {"enabled": False}, **SOURCE})
    first = await cluster.next_job("user", 1)
    pod = await cluster.make_pod(first)
    await cluster.waiting(pod, "CreateContainerConfigError", 'secret "shop-db" not found')
    found = await cluster.reaches("user", "Pending", "CreateContainerConfigError")
    assert 'secret "shop-db" not found' in found["message"]
    await cluster.edit_config_map("files", {"002_b.up.sql": "select 2"})
    await cluster.reaches("user", "Pending", "Replacing")
    await cluster.collect(first)
    second = await cluster.next_job("user", 2)
    assert told(second).expected_digest != told(first).expected_digest
    assert second["metadata"]["name"] != first["metadata"]["name"]


async def test_a_run_in_flight_is_left_alone_and_the_newer_wish_follows(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks={"system": {"enabled": False}, **SOURCE})
    job = await cluster.next_job("user", 1)
    pod = await cluster.make_pod(job)
    await cluster.running(pod)
    await cluster.reaches("user", "Running")
    await cluster.edit_config_map("files", {"002_b.up.sql": "select 2"})
    await cluster.patch_set(spec={"lockTimeout": "1m", "suspend": True})
    await until("the newer wish is seen", lambda: _says(cluster, "will be applied after this run"))
    await until("the new spec is seen", lambda: _is_reconciling(cluster, 2))
    assert "deletionTimestamp" not in (await cluster.jobs())[0]["metadata"]
    await cluster.terminated(pod, done(1).to_json())
    await cluster.reaches("user", "Pending", "Suspended")
    assert {one["type"] for one in (await cluster.status())["conditions"]} == {"Ready", "Stalled"}
    await cluster.patch_set(spec={"suspend": False})
    await cluster.next_job("user", 2)


async def _is_reconciling(cluster: Cluster, generation: int) -> bool:
    conditions = (await cluster.status())["conditions"]
    return any((one["type"], one["observedGeneration"]) == ("Reconciling", generation) for one in conditions)


async def _says(cluster: Cluster, text: str) -> bool:
    return text in (await cluster.track("user"))["message"]


async def test_a_failure_is_told_in_full_and_mended_by_new_content(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks={"system": {"enabled": False}, **SOURCE})
    error = ErrorInfo(
        'default for column "status" cannot be cast',
        file="001_a.up.sql",
        line=7,
        sql_state="42804",
        hint="Drop the default first.",
    )
    await cluster.run("user", 1, Result(Outcome.SQL_ERROR, version=1, dirty=True, observed=True, error=error))
    found = await cluster.reaches("user", "Failed", "SQLError")
    assert found["dirty"] is True
    assert found["error"]["sqlState"] == "42804"
    event = await cluster.event("SQLError", "001_a.up.sql:7")
    assert event["type"] == "Warning"
    assert "42804" in event["message"]
    assert "Drop the default first." in event["message"]
    status = await cluster.status()
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Ready": "False",
        "Stalled": "True",
    }
    await cluster.edit_config_map("files", {"001_a.up.sql": "select 1"})
    await cluster.run("user", 2, done(1))
    assert (await cluster.reaches("user", "Applied"))["dirty"] is False


async def test_an_unready_world_is_tried_again_without_limit(cluster: Cluster, operator: Running) -> None:
    await cluster.make_set(retry={"limit": 0, "backoff": "200ms"})
    readiness_error = (
        Outcome.UNREACHABLE,
        Outcome.AUTHENTICATION_FAILED,
        Outcome.SERVER_REFUSED,
        Outcome.LOCK_HELD,
    )
    for run, outcome in enumerate(readiness_error, start=1):
        await cluster.run("system", run, failed(outcome))
    await cluster.run("system", len(readiness_error) + 1, done(6))
    await cluster.reaches("system", "Applied")


async def test_another_version_table_stops_a_track_until_the_set_says_what_it_is(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set()
    await cluster.run("system", 1, failed(Outcome.FOREIGN_TABLE))
    await cluster.reaches("system", "Failed", "ForeignTable")
    await cluster.patch_set(spec={"tracks": {"system": {"foreignTables": ["public.schema_migrations"]}}})
    assert told(await cluster.next_job("system", 2)).foreign_tables == ("public.schema_migrations",)


async def test_a_baseline_and_a_table_reach_the_runs_and_what_was_recorded_is_told(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=SOURCE)
    await cluster.run("system", 1, done(6))
    await cluster.run("user", 1, failed(Outcome.FOREIGN_TABLE))
    await cluster.reaches("user", "Failed", "ForeignTable")
    await cluster.patch_set(spec={"tracks": {"user": {"baseline": 1}}})
    second = told(await cluster.run("user", 2, done(1, Outcome.NO_CHANGE, baselined=1)))
    assert (second.table, second.baseline) == (None, 1)
    assert (await cluster.reaches("user", "Applied"))["version"] == 1
    await cluster.event("Baselined", "user: baseline recorded, version 1")
    await cluster.patch_set(spec={"tracks": {"user": {"table": "public.versions"}}})
    moved = await cluster.run("user", 3, replace(failed(Outcome.FOREIGN_TABLE), observed=True))
    assert told(moved).table == "public.versions"
    assert "version" not in await cluster.reaches("user", "Failed", "ForeignTable")


async def test_the_other_tracks_table_is_no_news_to_a_track(cluster: Cluster, operator: Running) -> None:
    await cluster.config_map("files", FILES)
    tracks = {
        "system": {**SOURCE["user"], "table": "app.platform"},
        "user": {**SOURCE["user"], "foreignTables": ["app.jobs"]},
    }
    await cluster.make_set(tracks=tracks)
    assert told(await cluster.run("system", 1, done(1))).foreign_tables == ()
    assert told(await cluster.next_job("user", 1)).foreign_tables == ("app.jobs", "app.platform")


async def test_a_run_without_result_is_tried_again_until_the_limit(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set(retry={"limit": 1, "backoff": "200ms"})
    for run in (1, 2):
        pod = await cluster.make_pod(await cluster.next_job("system", run))
        await cluster.running(pod)
        await cluster.reaches("system", "Running")
        await cluster.terminated(pod, "", 137, "OOMKilled")
    found = await cluster.reaches("system", "Failed", "ResultMissing")
    assert "OOMKilled" in found["message"]
    assert found["attempts"] == 2
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    job = await cluster.next_job("system", 3)
    assert told(job).requested is True
    await cluster.event("Requested", "now")


async def test_a_job_that_the_api_server_refuses_waits_for_a_correction(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set(job={"tolerations": [{"key": "a", "operator": "Perhaps"}]})
    found = await cluster.reaches("system", "Failed", "JobRefused")
    assert "tolerations" in found["message"]
    await cluster.patch_set(spec={"job": {"tolerations": None}})
    await cluster.next_job("system", 1)
    await cluster.reaches("system", "Pending", "Starting")


async def test_force_is_obeyed_once(cluster: Cluster, operator: Running) -> None:
    await applied(cluster)
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/force": "user=1@first"}})
    job = await cluster.run("user", 2, done(1, obeyed=("force",)))
    force = told(job).force
    assert force is not None
    assert (force.version, force.token) == (1, "first")
    await cluster.reaches("user", "Applied")
    await cluster.edit_config_map("files", {"002_b.up.sql": "select 2"})
    job = await cluster.run("user", 3, done(2))
    assert told(job).force is None
    await cluster.reaches("user", "Applied")
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/force": "everything"}})
    await cluster.event("CommandRefused")
    assert len(await cluster.jobs("system")) == 1
    assert (await cluster.get_set())["metadata"]["annotations"]["fluxbase.io/force"] == "everything"


async def test_old_jobs_are_collected_except_the_last_two(cluster: Cluster, operator: Running) -> None:
    await cluster.make_set()
    await cluster.run("system", 1, done(6))
    for run in (2, 3, 4):
        await cluster.reaches("system", "Applied")
        await cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": str(run)}})
        await cluster.run("system", run, done(6, Outcome.NO_CHANGE))
    await cluster.reaches("system", "Applied")

    async def kept() -> bool:
        return [told(job).run for job in await cluster.jobs("system")] == [3, 4] or len(
            await cluster.jobs("system")
        ) == 2

    await until("two Jobs are left", kept)
    assert sorted(told(job).run for job in await cluster.jobs("system")) == [3, 4]


async def test_a_set_made_again_waits_for_the_pods_of_its_predecessor(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set()
    first = await cluster.next_job("system", 1)
    pod = await cluster.make_pod(first)
    await cluster.running(pod)
    await cluster.reaches("system", "Running")
    uid = (await cluster.get_set())["metadata"]["uid"]
    await cluster.kube.delete(Resource.SETS, cluster.namespace, "shop", uid, "Background")
    await cluster.make_set()
    await cluster.reaches("system", "Pending", "WaitingForPreviousPods")
    await cluster.remove_pod(pod)
    # As the garbage collector does; until then the Job might make another pod.
    where = Resource.JOBS, cluster.namespace, first["metadata"]["name"]
    await cluster.kube.delete(*where, first["metadata"]["uid"], "Background")

    async def other() -> bool:
        return any(job["metadata"]["name"] != first["metadata"]["name"] for job in await cluster.jobs())

    await until("a Job of the new set", other)


@pytest.mark.parametrize("limit", [1, 2])
async def test_no_more_jobs_at_once_than_allowed(cluster: Cluster, start_operator: Any, limit: int) -> None:
    await start_operator(max_concurrent_jobs=limit)
    names = [f"set-{number}" for number in range(4)]
    for name in names:
        await cluster.make_set(name)
    await until("the rest is queued", lambda: _queued(cluster, names, len(names) - limit))
    await until("the others have Jobs", lambda: _count(cluster, limit))
    assert len(await cluster.jobs()) == limit
    for job in await cluster.jobs():
        pod = await cluster.make_pod(job)
        await cluster.terminated(pod, done(6).to_json())
    await until("others follow", lambda: _count(cluster, 2 * limit))
    assert len(await cluster.jobs()) == 2 * limit


async def _queued(cluster: Cluster, names: list[str], count: int) -> bool:
    return [(await cluster.track("system", name)).get("reason") for name in names].count("Queued") == count


async def _count(cluster: Cluster, count: int) -> bool:
    return len(await cluster.jobs()) >= count


async def test_jobs_that_are_there_at_the_start_count_before_any_other_is_created(
    cluster: Cluster, operator: Running, start_operator: Any
) -> None:
    names = [f"set-{number}" for number in range(3)]
    for name in names:
        await cluster.make_set(name)
    await until("a Job each", lambda: _count(cluster, len(names)))
    await operator.stop()
    for name in ("another", "first-by-name"):
        await cluster.make_set(name)
    await start_operator(max_concurrent_jobs=3)
    await until("the new ones are queued", lambda: _queued(cluster, ["another", "first-by-name"], 2))
    assert len(await cluster.jobs()) == 3


async def test_a_namespace_that_cannot_be_watched_blinds_to_no_other(
    cluster: Cluster, start_operator: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """As when a watched namespace was deleted, and with it our rights."""
    running: Running = await start_operator(namespaces=("gone", cluster.namespace))

    async def told() -> bool:
        return "watching the namespace gone failed" in caplog.text

    await until("it is told", told, 60)
    await cluster.make_set()
    await cluster.next_job("system", 1)
    assert f"watching the namespace {cluster.namespace}" not in caplog.text
    assert running.operator.health_error() is None


async def test_a_lost_node_is_told_and_nothing_starts_until_the_pod_is_gone(
    cluster: Cluster, operator: Running
) -> None:
    """The node controller marks the pods of a silent node not ready; only a person may remove them."""
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks={"system": {"enabled": False}, **SOURCE}, retry={"backoff": "200ms"})
    job = await cluster.next_job("user", 1)
    pod = await cluster.make_pod(job)
    await cluster.running(pod)
    await cluster.reaches("user", "Running", "Running")
    lost = {"type": "Ready", "status": "False", "lastTransitionTime": now()}
    await cluster.pod_status(pod, conditions=[lost])
    found = await cluster.reaches("user", "Running", "NodeLost")
    names = f"job/{job['metadata']['name']} pod/{pod['metadata']['name']}"
    assert f"kubectl delete {names} --force --grace-period=0" in found["message"]
    assert (await cluster.event("NodeLost"))["type"] == "Warning"
    looks = operator.looks()
    await cluster.edit_config_map("files", {"002_b.up.sql": "select 2"})
    await operator.looks_again(looks)
    assert len(await cluster.jobs()) == 1
    await cluster.remove_pod(pod)
    await cluster.collect(job)
    await cluster.next_job("user", 2)


async def test_a_sidecar_that_never_ends_keeps_neither_the_next_run_nor_its_node(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set()
    pod = await cluster.make_pod(await cluster.next_job("system", 1))
    await cluster.running(pod)
    await cluster.reaches("system", "Running")
    await cluster.terminated(pod, done(6).to_json(), pod_phase="Running")
    await cluster.reaches("system", "Applied")

    async def free() -> bool:
        found = await cluster.kube.get(Resource.PODS, cluster.namespace, pod["metadata"]["name"])
        return not ANNOTATIONS_UNDISTURBED.keys() & found["metadata"]["annotations"].keys()

    assert ANNOTATIONS_UNDISTURBED.keys() <= pod["metadata"]["annotations"].keys()
    await until("the pod may be evicted", free)
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    await cluster.next_job("system", 2)
