"""What the API server makes of the resource: what it refuses, what it fills in."""

from typing import Any

import pytest

from fluxbase_migrations.api.spec import Spec
from fluxbase_migrations.cli.kubectl import steering
from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile import jobs
from fluxbase_migrations.core.job import JobSpec, SetRef
from fluxbase_migrations.core.names import API_VERSION, KIND, Track
from tests.controller.cluster import Cluster

URL = {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}
PARTS = {"host": "db", "name": "shop", "user": "shop"}
CLAIM = {"persistentVolumeClaim": {"claimName": "files"}}
FILES = {"configMap": {"name": "files"}}


def user(**track: Any) -> dict[str, Any]:
    return {"database": URL, "tracks": {"user": track}}


REFUSED = {
    "no database": ({}, "database"),
    "neither urlFrom nor connection": ({"database": {}}, "exactly one of urlFrom and connection"),
    "both urlFrom and connection": (
        {"database": {**URL, "connection": PARTS}},
        "exactly one of urlFrom and connection",
    ),
    "a connection without user": (
        {"database": {"connection": {"host": "db", "name": "shop"}}},
        "exactly one of user and userFrom",
    ),
    "verify-full without a certificate": (
        {"database": {"connection": {**PARTS, "sslMode": "verify-full"}}},
        "sslRootCertFrom",
    ),
    "an unknown sslMode": ({"database": {"connection": {**PARTS, "sslMode": "always"}}}, "sslMode"),
    "two certificates": (
        {
            "database": {
                "connection": {
                    **PARTS,
                    "sslRootCertFrom": {
                        "secretKeyRef": {"name": "a", "key": "b"},
                        "configMapKeyRef": {"name": "a", "key": "b"},
                    },
                }
            }
        },
        "exactly one of secretKeyRef and configMapKeyRef",
    ),
    "a source without kind": (user(source={}), "exactly one of configMap"),
    "two kinds of source": (user(source={**FILES, **CLAIM}), "exactly one of configMap"),
    "no ConfigMaps": (user(source={"configMaps": []}), "configMaps"),
    "the same ConfigMap twice": (user(source={"configMaps": [{"name": "a"}, {"name": "a"}]}), "Duplicate"),
    "recheckInterval with a ConfigMap": (
        user(source=FILES, recheckInterval="1m"),
        "recheckInterval is for a persistentVolumeClaim",
    ),
    "a recheckInterval that is too short": (user(source=CLAIM, recheckInterval="1s"), "at least 10s"),
    "a recheckInterval that is none": (user(source=CLAIM, recheckInterval="soon"), "recheckInterval"),
    "an absolute path in a volume": (
        user(source={"persistentVolumeClaim": {"claimName": "files", "path": "/etc"}}),
        "relative",
    ),
    "a path out of a volume": (
        user(source={"persistentVolumeClaim": {"claimName": "files", "path": "a/../.."}}),
        "relative",
    ),
    "a negative targetVersion": (user(source=FILES, targetVersion=-1), "targetVersion"),
    "a foreign table without a schema": (user(source=FILES, foreignTables=["versions"]), "foreignTables"),
    "no foreign table": (user(source=FILES, foreignTables=[]), "foreignTables"),
    "a foreign table twice": (user(source=FILES, foreignTables=["a.b", "a.b"]), "foreignTables"),
    "a table without a schema": (user(source=FILES, table="versions"), "tracks.user.table"),
    "a table in quotes": (user(source=FILES, table='"migrations"."app"'), "tracks.user.table"),
    "the history as a table": (
        user(source=FILES, table="migrations.history"),
        "it is the history of all tracks",
    ),
    "a table for the built-in files": (
        {"database": URL, "tracks": {"system": {"table": "public.versions"}}},
        "tracks.system.table needs a source",
    ),
    "the system track's table": (
        user(source=FILES, table="migrations.fluxbase"),
        "both tracks have the same table",
    ),
    "one table for both tracks": (
        {
            "database": URL,
            "tracks": {
                "system": {"source": FILES, "table": "a.b"},
                "user": {"source": FILES, "table": "a.b"},
            },
        },
        "both tracks have the same table",
    ),
    "the user track's table for the other track": (
        {"database": URL, "tracks": {"system": {"source": FILES, "table": "migrations.app"}}},
        "both tracks have the same table",
    ),
    "a baseline of nothing": (user(source=FILES, baseline=0), "baseline"),
    "an unknown rollback": (user(source=FILES, rollback="Maybe"), "Forbid"),
    "unknownFiles that is neither": (user(source=FILES, unknownFiles="Ignore"), "Warn"),
    "a statementTimeout that PostgreSQL cannot hold": (
        {"database": URL, "statementTimeout": "597h"},
        "statementTimeout.*at most 596h",
    ),
    "a ddlLockTimeout that PostgreSQL cannot hold": (
        {"database": URL, "ddlLockTimeout": "2147483648ms"},
        "ddlLockTimeout.*at most 596h",
    ),
    "nothing to do": (
        {"database": URL, "tracks": {"system": {"enabled": False}, "user": {}}},
        "nothing to do",
    ),
    "both tracks disabled beside a source": (
        {
            "database": URL,
            "tracks": {"system": {"enabled": False}, "user": {"enabled": False, "source": FILES}},
        },
        "nothing to do",
    ),
    "no pause between tries": ({"database": URL, "retry": {"backoff": "0s"}}, "at least 100ms"),
    "an interval that nobody can hold": (
        user(source=CLAIM, recheckInterval="99999999999h"),
        "write a duration like 90s",
    ),
    "a sum that nobody can hold": (
        user(source=CLAIM, recheckInterval="999999h999999h999999h"),
        "write a duration like 90s",
    ),
    "a timeout that is none": ({"database": URL, "lockTimeout": "5 minutes"}, "write a duration like 90s"),
    "a host with a NUL": (
        {"database": {"connection": {**PARTS, "host": "db\0"}}},
        "control characters are not allowed",
    ),
    "a user with a new line": (
        {"database": {"connection": {**PARTS, "user": "a\nb"}}},
        "control characters are not allowed",
    ),
    "an amount that is none": (
        {"database": URL, "job": {"resources": {"requests": {"cpu": "abc"}}}},
        "resources.requests.cpu.*write an amount like 500m",
    ),
    "an amount that is our advice": (
        {
            "database": URL,
            "job": {"resources": {"limits": {"cpu": "write an amount like 500m, 0.5 or 512Mi"}}},
        },
        "resources.limits.cpu.*write an amount like 500m",
    ),
    "an amount below nothing": (
        {"database": URL, "job": {"resources": {"requests": {"cpu": -1}}}},
        "resources.requests.cpu",
    ),
    "an amount that is an object": (
        {"database": URL, "job": {"resources": {"requests": {"cpu": {"a": 1}}}}},
        "resources.requests.cpu",
    ),
    "an operator that is no name": ({"database": URL, "operator": "Blue!"}, "operator"),
    "a retry limit without end": ({"database": URL, "retry": {"limit": 1000}}, "limit"),
    "our own labels": (
        {"database": URL, "job": {"podLabels": {"app.kubernetes.io/name": "fluxbase"}}},
        "the operator's own",
    ),
}


@pytest.mark.parametrize(("spec", "why"), REFUSED.values(), ids=REFUSED.keys())
async def test_refused(cluster: Cluster, spec: dict[str, Any], why: str) -> None:
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "shop"}, "spec": spec}
    with pytest.raises(KubeError, match=why) as refused:
        await cluster.kube.create(Resource.SETS, cluster.namespace, body, {"dryRun": "All"})
    assert refused.value.status == 422
    for internal in ("rule:", "no such overload", "evaluation", "strconv"):
        assert internal not in refused.value.message


@pytest.mark.parametrize("text", ["0s", "500ms", "1.5s", "90m", "1h30m", "596h", "2147483647ms"])
async def test_timeouts_that_are_taken(cluster: Cluster, text: str) -> None:
    spec = {"database": URL, "lockTimeout": text, "ddlLockTimeout": text, "statementTimeout": text}
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "shop"}, "spec": spec}
    await cluster.kube.create(Resource.SETS, cluster.namespace, body, {"dryRun": "All"})


FULL = {
    "database": {
        "connection": {
            **PARTS,
            "sslMode": "verify-full",
            "passwordFrom": {"secretKeyRef": {"name": "db", "key": "password"}},
            "sslRootCertFrom": {"configMapKeyRef": {"name": "ca", "key": "ca.crt"}},
        }
    },
    "tracks": {
        "system": {"targetVersion": 5},
        "user": {
            "source": {"persistentVolumeClaim": {"claimName": "files", "path": "sql"}},
            "targetVersion": 2**62,
            "rollback": "Allow",
            "outOfOrder": "Fail",
            "unknownFiles": "Warn",
            "foreignTables": ["public.schema_migrations", '"My.App"."v"'],
            "table": "My App.versions",
            "baseline": 2**62,
            "recheckInterval": "1h30m",
        },
    },
    "recovery": "Manual",
    "retry": {"limit": 0, "backoff": "1.5s"},
    "suspend": True,
    "lockTimeout": "10m",
    "ddlLockTimeout": "5s",
    "statementTimeout": "2147483647ms",
    "job": {
        "activeDeadlineSeconds": 3600,
        "ttlSecondsAfterFinished": 0,
        "resources": {"requests": {"cpu": 0.5}, "limits": {"memory": "1Gi", "cpu": 2}},
        "nodeSelector": {"kubernetes.io/os": "linux"},
        "tolerations": [{"key": "a", "operator": "Exists"}],
        "affinity": {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [
                        {"matchExpressions": [{"key": "a", "operator": "In", "values": ["b"]}]}
                    ]
                }
            }
        },
        "serviceAccountName": "migrations",
        "imagePullSecrets": [{"name": "registry"}],
        "podLabels": {"team": "shop"},
        "podAnnotations": {"sidecar.istio.io/inject": "false"},
    },
}


async def test_every_field_is_taken_as_it_is_written(cluster: Cluster) -> None:
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "shop"}, "spec": FULL}
    made = await cluster.kube.create(Resource.SETS, cluster.namespace, body, {"fieldValidation": "Strict"})
    assert contains(made["spec"], FULL)
    assert contains(Spec.model_validate(made["spec"]).model_dump(mode="json", by_alias=True), FULL)


def contains(whole: Any, part: Any) -> bool:
    if isinstance(part, dict):
        return all(key in whole and contains(whole[key], value) for key, value in part.items())
    if isinstance(part, list):
        return len(whole) == len(part) and all(map(contains, whole, part))
    return bool(whole == part)


async def test_defaults_are_filled_in_and_a_new_set_does_not_look_current(cluster: Cluster) -> None:
    made = await cluster.make_set()
    assert made["status"] == {"observedGeneration": -1}
    assert Spec.model_validate(made["spec"]) == Spec.model_validate({"database": made["spec"]["database"]})
    assert made["spec"]["tracks"]["system"]["enabled"] is True
    assert made["spec"]["recovery"] == "Automatic"


async def test_a_table_shows_what_matters(cluster: Cluster) -> None:
    await cluster.make_set()
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    table = await cluster.kube.get(Resource.SETS, cluster.namespace, accept=accept)
    shown = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 0]
    wide = [column["name"] for column in table["columnDefinitions"] if column["priority"] == 1]
    assert shown == ["Name", "Ready", "Phase", "System", "User", "Dirty", "Pending", "Age"]
    assert wide == ["Message"]


@pytest.mark.parametrize("spec", [FULL, {"database": URL}, {**user(source={"configMaps": [{"name": "a"}]})}])
async def test_jobs_and_their_pods_are_let_into_a_restricted_namespace(
    cluster: Cluster, kube: Kube, settings: Settings, spec: dict[str, Any]
) -> None:
    parsed = Spec.model_validate(spec)
    for track in Track:
        owner = SetRef("0b5b4c3e-0000-4000-8000-000000000000", cluster.namespace, "a.very.long.name" * 15)
        told = jobs.job_spec(parsed, track, owner, run=1, expected_digest="sha256:x")
        assert JobSpec.from_json(told.to_json()) == told
        assert told.table == jobs.track_spec(parsed, track).table
        assert told.baseline == jobs.track_spec(parsed, track).baseline
        body = jobs.manifest(
            parsed, settings, told, name="job", inputs_digest="sha256:i", template="sha256:t"
        )
        made = await kube.create(
            Resource.JOBS, cluster.namespace, body, {"dryRun": "All", "fieldValidation": "Strict"}
        )
        pod = {**made["spec"]["template"], "apiVersion": "v1", "kind": "Pod"}
        pod["metadata"] = {**pod["metadata"], "name": "pod"}
        await kube.create(
            Resource.PODS, cluster.namespace, pod, {"dryRun": "All", "fieldValidation": "Strict"}
        )


async def test_a_rollback_of_the_plugin_leaves_nothing_behind(cluster: Cluster) -> None:
    """The API server's own record of who wrote which field tells what may be taken back."""
    made = await cluster.make_set(tracks={"user": {"source": FILES}})
    path = path_of(Resource.SETS, cluster.namespace, "shop")

    async def patched(found: dict[str, Any], target: int | None) -> dict[str, Any]:
        body, query = steering.rollback(found, Track.USER, target), {"fieldManager": steering.MANAGER}
        return await cluster.kube._request("PATCH", path, query=query, body=body)

    back = await patched(made, 1)
    track = back["spec"]["tracks"]["user"]
    assert (track["targetVersion"], track["rollback"]) == (1, "Allow")
    again = await patched(back, None)
    assert again["spec"] == made["spec"]
