"""What cannot be looked at is seen: in the status, by an Event, by the pod's readiness; never as Ready."""

import copy
from typing import Any

import kopf
import pytest

from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.watch import handlers, namespace_watch
from fluxbase_migrations.core.job import JobSpec, SetRef
from fluxbase_migrations.core.names import API_VERSION, ENV_JOB, KIND, Track
from fluxbase_migrations.decisions.actions import job_name
from tests.controller.cluster import RBAC, Cluster, until
from tests.controller.conftest import Running, fresh_namespace
from tests.controller.test_lifecycle import SOURCE, applied, done

BROKEN = {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": "x"}}}
"""The API server takes it for a set's, and would refuse it for a Job's."""
VOLUME = {"source": {"persistentVolumeClaim": {"claimName": "files"}}}


def conditions(status: dict[str, Any]) -> dict[str, tuple[str, str]]:
    return {one["type"]: (one["status"], one["reason"]) for one in status.get("conditions", ())}


async def is_failing(cluster: Cluster) -> bool:
    return conditions(await cluster.status()).get("Reconciling") == ("True", "ReconcileError")


async def test_a_set_that_cannot_be_looked_at_is_not_ready_any_more(
    cluster: Cluster, start_operator: Any
) -> None:
    await start_operator(claim="files", claim_node_bound=True, node_name="node-7")
    await cluster.make_set(tracks={"user": VOLUME})
    await cluster.run("system", 1, done(6))
    await cluster.run("user", 1, done(1))
    await cluster.reaches("user", "Applied")
    await cluster.patch_set(spec={"job": {"affinity": BROKEN}})
    await until("it says so", lambda: is_failing(cluster))
    found = await cluster.get_set()
    assert conditions(found["status"])["Ready"] == ("False", "ReconcileError")
    assert found["status"]["observedGeneration"] == found["metadata"]["generation"]
    assert found["status"]["tracks"]["user"]["version"] == 1
    event = await cluster.event("ReconcileError")
    assert event["type"] == "Warning"
    await cluster.patch_set(spec={"job": {"affinity": None}})

    async def ready() -> bool:
        return conditions(await cluster.status()).get("Ready") == ("True", "Applied")

    await until("it is Ready again", ready)


async def test_a_new_set_that_cannot_be_looked_at_says_so(cluster: Cluster, start_operator: Any) -> None:
    await start_operator(claim="files", claim_node_bound=True, node_name="node-7")
    await cluster.make_set(tracks={"user": VOLUME}, job={"affinity": BROKEN})
    await until("it says so", lambda: is_failing(cluster))
    assert (await cluster.status())["phase"] == "Pending"


HOSTILE: dict[str, dict[str, dict[str, str]]] = {
    "a huge run": {"labels": {"fluxbase.io/run": "9" * 60}},
    "a late run of another name": {"labels": {"fluxbase.io/run": "1000000"}},
    "no number": {"labels": {"fluxbase.io/run": "seven"}},
    "an unknown track": {"labels": {"fluxbase.io/track": "everything"}},
    "another path": {"annotations": {"fluxbase.io/set": "../../../../../../api/v1/secrets"}},
    "an escape": {"annotations": {"fluxbase.io/set": "a\nERROR forged\x1b[2J"}},
}


@pytest.mark.parametrize("before", [True, False], ids=["before the operator", "after it"])
async def test_labels_and_annotations_of_a_job_are_anybodys(
    cluster: Cluster, start_operator: Any, before: bool
) -> None:
    if not before:
        await start_operator()
    await cluster.config_map("files", {"001_a.up.sql": "select 1"})
    made = await cluster.make_set(tracks=SOURCE, suspend=True)
    for number, change in enumerate(HOSTILE.values()):
        await cluster.kube.create(Resource.JOBS, cluster.namespace, forged(made, number, change))
    if before:
        await start_operator()
    await cluster.patch_set(spec={"suspend": False})
    await cluster.run("system", 1, done(6))
    await cluster.run("user", 1, done(1))
    await cluster.reaches("user", "Applied")
    assert conditions(await cluster.status())["Ready"][0] == "True"


def forged(owner: dict[str, Any], number: int, change: dict[str, dict[str, str]]) -> dict[str, Any]:
    """A Job that a tenant made to look like the operator's."""
    uid = owner["metadata"]["uid"]
    metadata: dict[str, Any] = {
        "name": f"forged-{number}",
        "labels": {
            "app.kubernetes.io/name": "fluxbase-migration",
            "fluxbase.io/set": "shop",
            "fluxbase.io/set-uid": uid,
            "fluxbase.io/track": "user",
            "fluxbase.io/run": "3",
        },
        "annotations": {"fluxbase.io/set": "shop"},
        "ownerReferences": [
            {"apiVersion": API_VERSION, "kind": KIND, "name": "shop", "uid": uid, "controller": True}
        ],
    }
    for kind, values in change.items():
        metadata[kind] = metadata[kind] | values
    security = {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    job = JobSpec(SetRef(uid, "n", "shop"), Track.USER, run=99)
    container = {
        "name": "migrate",
        "image": "example.com/none",
        "env": [{"name": ENV_JOB, "value": job.to_json()}],
        "securityContext": security,
    }
    pod = {"restartPolicy": "Never", "containers": [container]}
    return {"metadata": metadata, "spec": {"suspend": True, "template": {"spec": pod}}}


async def test_a_run_number_goes_on_from_the_jobs_of_a_lost_status(
    cluster: Cluster, operator: Running
) -> None:
    """What counts is a Job that only this set's run can have: its name is made of both."""
    await applied(cluster)
    found = await cluster.get_set()
    uid = found["metadata"]["uid"]
    assert {job["metadata"]["name"] for job in await cluster.jobs("user")} == {
        job_name("shop", uid, Track.USER, 1)
    }


async def test_rights_that_were_lost_are_tried_again_and_the_readiness_tells(
    cluster: Cluster, kube: Kube, start_operator: Any
) -> None:
    other = Cluster(kube, await fresh_namespace(kube))
    running: Running = await start_operator(namespaces=(cluster.namespace, other.namespace))
    await cluster.make_set()
    await other.make_set()
    await cluster.next_job("system", 1)
    await other.next_job("system", 1)
    assert running.operator.readiness_error() is None
    where = f"{RBAC}/rolebindings", other.namespace
    binding = await kube.get(*where, "operator")
    await kube.delete(*where, "operator", binding["metadata"]["uid"], "Background")
    await other.patch_set(spec={"retry": {"limit": 3}})

    async def readiness_error() -> bool:
        return other.namespace in str(running.operator.readiness_error())

    await until("the readiness tells", readiness_error)
    assert running.operator.health_error() is None
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    await cluster.event("Requested", "now")
    restored = {**copy.deepcopy(binding), "metadata": {"name": "operator"}}
    await other.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    await kube.create(*where, restored)
    await until("it goes on", lambda: _told(other), seconds=15)

    async def ready() -> bool:
        return running.operator.readiness_error() is None

    await until("it is ready", ready, seconds=90)


async def test_a_namespace_that_may_not_be_read_keeps_no_other_waiting(
    cluster: Cluster, start_operator: Any
) -> None:
    running: Running = await start_operator(namespaces=("not-there", cluster.namespace))
    await cluster.make_set()
    await cluster.next_job("system", 1)
    assert running.operator.health_error() is None
    assert "the namespace not-there cannot be watched" in str(running.operator.readiness_error())


async def test_a_namespace_that_may_not_be_watched_any_more_gives_its_slot_back_until_it_may(
    cluster: Cluster, kube: Kube, start_operator: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody sees the end of its Job, and no request is refused for a set that is left as it is."""
    monkeypatch.setattr(namespace_watch, "PAUSE", 0.2)
    monkeypatch.setattr(handlers, "_RETRIES", (0.1,))
    settings = handlers._settings

    def short_lived() -> kopf.OperatorSettings:
        """Rights count when a watch begins."""
        found = settings()
        found.watching.server_timeout = 1
        return found

    monkeypatch.setattr(handlers, "_settings", short_lived)
    other = Cluster(kube, await fresh_namespace(kube))
    running: Running = await start_operator(
        namespaces=(cluster.namespace, other.namespace), max_concurrent_jobs=1
    )
    await other.make_set()
    pod = await other.make_pod(await other.next_job("system", 1))
    await other.running(pod)
    await other.reaches("system", "Running")
    await cluster.make_set()
    await cluster.reaches("system", "Pending", "Queued")
    where = f"{RBAC}/rolebindings", other.namespace
    binding = await kube.get(*where, "operator")
    await kube.delete(*where, "operator", binding["metadata"]["uid"], "Background")
    await cluster.next_job("system", 1, seconds=60)  # after three refusals, one second and more apart
    assert "forbidden" in str(running.operator.readiness_error())
    await kube.create(*where, {**binding, "metadata": {"name": "operator"}})
    slots = running.operator._reconciler._slots

    async def counted() -> bool:
        return slots.held == 2

    await until("the Job that runs counts again", counted)


async def _told(cluster: Cluster) -> bool:
    return any(one["reason"] == "Requested" for one in await cluster.events())
