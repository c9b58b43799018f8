"""Sources that the operator cannot, or must not, look into."""

from typing import Any

from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.result import Outcome, Result
from tests.controller.cluster import Cluster, told
from tests.controller.conftest import Running
from tests.controller.test_lifecycle import done


def volume(**more: Any) -> dict[str, Any]:
    source = {"persistentVolumeClaim": {"claimName": "files"}}
    return {"system": {"enabled": False}, "user": {"source": source, **more}}


async def claim(cluster: Cluster, mode: str) -> None:
    body = {
        "metadata": {"name": "files"},
        "spec": {"accessModes": [mode], "resources": {"requests": {"storage": "1Mi"}}},
    }
    await cluster.kube.create(Resource.CLAIMS, cluster.namespace, body)


async def test_a_claim_that_is_not_there_is_the_schedulers_to_report(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set(tracks=volume())
    job = await cluster.next_job("user", 1)
    assert (told(job).volume, told(job).expected_digest) == (True, None)
    pod = await cluster.make_pod(job)
    unscheduled = {
        "type": "PodScheduled",
        "status": "False",
        "reason": "Unschedulable",
        "message": 'persistentvolumeclaim "files" not found',
    }
    await cluster.pod_status(pod, conditions=[unscheduled])
    found = await cluster.reaches("user", "Pending", "Unschedulable")
    assert 'persistentvolumeclaim "files" not found' in found["message"]


async def test_an_empty_volume_is_skipped_until_it_is_looked_at_again(
    cluster: Cluster, operator: Running, start_operator: Any
) -> None:
    await cluster.make_set(tracks=volume(allowEmpty=True))
    await cluster.run("user", 1, Result(Outcome.SOURCE_EMPTY))
    await cluster.reaches("user", "Skipped", "SourceEmpty")
    await operator.stop()
    crashed = await start_operator()
    await crashed.looks_again(0)
    await cluster.reaches("user", "Skipped", "SourceEmpty")
    await crashed.stop()
    # kubectl rollout restart gives the operator's pods this annotation.
    await start_operator(restarted_at="2026-01-01T00:00:00Z")
    await cluster.run("user", 2, done(3))
    await cluster.reaches("user", "Applied")


async def test_an_empty_volume_that_must_not_be_empty_is_looked_at_again_by_itself(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.make_set(tracks=volume(), retry={"backoff": "5s"})
    await cluster.run("user", 1, Result(Outcome.SOURCE_EMPTY))
    found = await cluster.reaches("user", "Pending", "SourceEmpty")
    assert "files, path ." in found["message"]
    await cluster.run("user", 2, done(3))
    await cluster.reaches("user", "Applied")


async def test_a_volume_is_looked_at_on_its_interval(cluster: Cluster, operator: Running) -> None:
    await cluster.make_set(tracks=volume(recheckInterval="10s"))
    await cluster.run("user", 1, done(3))
    await cluster.reaches("user", "Applied")
    await cluster.run("user", 2, done(3, Outcome.NO_CHANGE), routine=True)
    await cluster.next_job("user", 3)
    await cluster.reaches("user", "Applied")


async def test_a_claim_for_one_pod_only_is_refused(cluster: Cluster, operator: Running) -> None:
    await claim(cluster, "ReadWriteOncePod")
    await cluster.make_set(tracks=volume())
    found = await cluster.reaches("user", "Failed", "UnsupportedAccessMode")
    assert "ReadWriteOncePod" in found["message"]
    assert await cluster.jobs() == []


async def test_the_operators_own_claim_keeps_a_job_on_its_node(cluster: Cluster, start_operator: Any) -> None:
    await start_operator(claim="files", claim_node_bound=True, node_name="node-7", user=10001)
    await cluster.make_set(tracks=volume())
    job = await cluster.next_job("user", 1)
    pod = job["spec"]["template"]["spec"]
    (term,) = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"][
        "nodeSelectorTerms"
    ]
    assert term == {"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["node-7"]}]}
    assert pod["securityContext"]["fsGroup"] == pod["securityContext"]["runAsUser"] == 10001
    (mount,) = pod["containers"][0]["volumeMounts"]
    assert mount == {"name": "source", "mountPath": "/migrations/user", "readOnly": True}


async def test_another_namespaces_claim_of_that_name_keeps_no_job_anywhere(
    cluster: Cluster, start_operator: Any
) -> None:
    await start_operator(
        claim="files", claim_node_bound=True, node_name="node-7", pod_namespace="fluxbase", user=10001
    )
    await cluster.make_set(tracks=volume())
    job = await cluster.next_job("user", 1)
    assert "affinity" not in job["spec"]["template"]["spec"]


async def test_several_config_maps_are_one_source(cluster: Cluster, operator: Running) -> None:
    await cluster.config_map("one", {"001_a.up.sql": "select 1"})
    source = {"configMaps": [{"name": "one"}, {"name": "two"}]}
    await cluster.make_set(tracks={"system": {"enabled": False}, "user": {"source": source}})
    found = await cluster.reaches("user", "Pending", "SourceMissing")
    assert "ConfigMap two not found" in found["message"]
    await cluster.config_map("two", {"001_a.up.sql": "select 1"}, immutable=True)
    found = await cluster.reaches("user", "Failed", "InvalidSource")
    assert "two ConfigMaps, one and two" in found["message"]
    await cluster.edit_config_map("one", {"001_a.up.sql": None, "002_b.up.sql": "select 2"})
    job = await cluster.next_job("user", 1)
    assert told(job).paths == ("/migrations/user/0", "/migrations/user/1")
    assert told(job).files == ("002_b.up.sql", "001_a.up.sql")
    pod = job["spec"]["template"]["spec"]
    assert [
        one["valueFrom"] for one in pod["containers"][0]["env"] if one["name"].startswith("FLUXBASE_FILE_")
    ] == [
        {"configMapKeyRef": {"name": "one", "key": "002_b.up.sql", "optional": True}},
        {"configMapKeyRef": {"name": "two", "key": "001_a.up.sql", "optional": True}},
    ]
    assert not pod.get("volumes")


async def test_large_config_maps_are_mounted(cluster: Cluster, operator: Running) -> None:
    await cluster.config_map("one", {"001_a.up.sql": "-" * 100_000})
    source = {"configMap": {"name": "one"}}
    await cluster.make_set(tracks={"system": {"enabled": False}, "user": {"source": source}})
    job = await cluster.next_job("user", 1)
    (mount,) = job["spec"]["template"]["spec"]["containers"][0]["volumeMounts"]
    assert mount == {"name": "source-0", "mountPath": "/migrations/user", "readOnly": True}
    assert (told(job).paths, told(job).files) == (("/migrations/user",), ())


async def test_secrets_are_never_asked_for(cluster: Cluster, operator: Running, server: Any) -> None:
    """The operator's rights are those of docs/operator.md: a single request for a Secret would be refused."""
    await cluster.make_set()
    await cluster.next_job("system", 1)
    reviews = "/apis/authorization.k8s.io/v1/subjectaccessreviews"
    for verb in ("get", "list", "watch"):
        attributes = {"verb": verb, "resource": "secrets", "namespace": cluster.namespace}
        body = {"spec": {"user": "operator", "resourceAttributes": attributes}}
        try:
            review = await cluster.kube.create(reviews, None, body)
        except KubeError as error:  # pragma: no cover - the administrator may ask
            raise AssertionError(str(error)) from error
        assert review["status"]["allowed"] is False
