"""Migration files on a volume: how they get there, and what makes the operator look at them again."""

import contextlib
import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dev.localcluster.cluster import Cluster
from tests.e2e.conftest import DEPLOYMENT, Report, a_set, kube_for, operator_pods
from tests.e2e.harness import ROOT, Kube, MigrationSet, eventually, fluxbase

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewVolumeSet = Callable[[str], MigrationSet]

CLAIM = "fluxbase-migrations"
MOUNT = "/migrations/user"


@pytest.fixture(scope="module")
def volume_release(cluster: Cluster) -> Iterator[Kube]:
    """A release whose pod mounts a volume for migration files."""
    kube = kube_for(cluster, "-".join(filter(None, ("e2e-volumes", os.environ.get("PYTEST_XDIST_WORKER")))))
    repository, _, tag = cluster.ensure_image().rpartition(":")
    cluster.kubectl("delete", "namespace", kube.namespace, "--ignore-not-found", timeout=240)
    cluster.kubectl("create", "namespace", kube.namespace)
    cluster.kubectl("label", "namespace", kube.namespace, "pod-security.kubernetes.io/enforce=restricted")
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    cluster.helm(
        "upgrade", "--install", "fluxbase", str(ROOT / "deploy/helm/fluxbase"), "--namespace", kube.namespace,
        "--set", f"image.repository={repository},image.tag={tag}",
        "--set", f"migrationsPersistence.enabled=true,config.database.userMigrationsPath={MOUNT}",
        "--wait", "--timeout", "3m",
    )  # fmt: skip
    yield kube
    cluster.kubectl("delete", "namespace", kube.namespace, "--wait=false")


@pytest.fixture
def new_set(cluster: Cluster, volume_release: Kube, tmp_path: Path) -> Iterator[NewVolumeSet]:
    """Make a set of the user track alone, with its Secret."""
    with contextlib.ExitStack() as stack:

        def make(name: str) -> MigrationSet:
            shop = stack.enter_context(a_set(cluster, volume_release, name, tmp_path))
            shop.write_secret()
            return shop

        yield make


def reads(shop: MigrationSet, claim: str = CLAIM, path: str | None = None, **track: Any) -> None:
    """Apply the set with its files in a directory of a claim, by default the one of its name."""
    source = {"persistentVolumeClaim": {"claimName": claim, "path": path or shop.name}}
    shop.apply(tracks={"system": {"enabled": False}, "user": {"source": source, **track}})


def copy(shop: MigrationSet, *numbers: int) -> None:
    """`kubectl cp` a directory with these migrations to the set's directory."""
    local = shop.scratch / secrets.token_hex(4) / shop.name
    local.mkdir(parents=True)
    for number in numbers:
        (local / f"{number:03}_t.up.sql").write_text(f"CREATE TABLE public.t{number} (id int);\n")
    [pod] = operator_pods(shop.kube)
    shop.kube.run("cp", f"{local}/", f"{shop.kube.namespace}/{pod.removeprefix('pod/')}:{MOUNT}/")


def claim(kube: Kube, name: str, mode: str = "ReadWriteOnce", size: str = "1Mi") -> None:
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": name},
            "spec": {"accessModes": [mode], "resources": {"requests": {"storage": size}}},
        }
    )


def one_operator(kube: Kube) -> None:
    kube.run("rollout", "status", DEPLOYMENT, "--timeout=120s")
    eventually("one operator pod", lambda: len(operator_pods(kube)) == 1)


def test_a_job_reads_its_directory_read_only_and_on_the_node_of_the_operator(new_set: NewVolumeSet) -> None:
    shop = new_set("reader")
    copy(shop, 1, 2)
    reads(shop)
    shop.wait("Applied", version=2)
    [job] = shop.jobs("user")
    pod = shop.kube.get("job", job)["spec"]["template"]["spec"]
    [mount] = pod["containers"][0]["volumeMounts"]
    assert mount == {"name": "source", "mountPath": MOUNT, "readOnly": True}
    [operator] = shop.kube.get("pod", "-l", "app.kubernetes.io/name=fluxbase")["items"]
    node = {"key": "metadata.name", "operator": "In", "values": [operator["spec"]["nodeName"]]}
    required = pod["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert required == {"nodeSelectorTerms": [{"matchFields": [node]}]}
    assert pod["securityContext"]["fsGroup"] == operator["spec"]["securityContext"]["fsGroup"]
    assert f"INFO Running user migrations... path={MOUNT}/{shop.name}" in shop.kube.run("logs", f"job/{job}")


def test_new_files_are_noticed_on_a_rollout_restart_and_not_on_a_crash(new_set: NewVolumeSet) -> None:
    shop, witness = new_set("restarted"), new_set("witness")
    copy(shop, 1)
    reads(shop)
    shop.wait("Applied", version=1)
    copy(shop, 1, 2)
    shop.kube.run("delete", "pod", "-l", "app.kubernetes.io/name=fluxbase", "--wait")
    one_operator(shop.kube)
    # Something that does start a Job, as the proof that the new pod has looked at all sets.
    copy(witness, 1)
    reads(witness)
    witness.wait("Applied", version=1)
    assert (len(shop.jobs()), shop.track()["version"]) == (1, 1), "a crash asks for nothing"

    shop.kube.run("rollout", "restart", DEPLOYMENT)
    shop.wait("Applied", version=2)
    assert shop.database.times_applied() == {"001_t.up.sql": 1, "002_t.up.sql": 1}
    eventually("the witness to have been looked at, too", lambda: len(witness.jobs()) == 2)
    one_operator(shop.kube)


def test_an_empty_directory_is_skipped_until_a_request_finds_files(new_set: NewVolumeSet) -> None:
    shop = new_set("empty")
    reads(shop, allowEmpty=True)
    assert shop.wait("Skipped")["tracks"]["user"]["reason"] == "SourceEmpty"
    assert "kubectl rollout restart" in shop.track()["message"]
    copy(shop, 1)
    shop.kube.run("annotate", "fbms", shop.name, "fluxbase.io/requested-at=first")
    shop.wait("Applied", version=1)
    copy(shop, 1, 2)
    fluxbase(shop, "retry")
    assert "Applied" in fluxbase(shop, "wait")
    assert shop.track()["version"] == 2
    assert len(shop.jobs()) == 2, "the last two Jobs are kept"


def test_the_one_directory_below_is_read_where_kubectl_cp_nested(new_set: NewVolumeSet) -> None:
    shop = new_set("nested")
    [pod] = operator_pods(shop.kube)
    shop.kube.run("exec", pod, "--", "mkdir", "-p", f"{MOUNT}/outer-{shop.name}")
    copy(shop, 1)
    shop.kube.run("exec", pod, "--", "mv", f"{MOUNT}/{shop.name}", f"{MOUNT}/outer-{shop.name}/")
    reads(shop, path=f"outer-{shop.name}")
    shop.wait("Applied", version=1)
    [job] = shop.jobs("user")
    assert f"subdirectory={shop.name}" in shop.kube.run("logs", f"job/{job}")


def test_new_files_are_noticed_on_the_interval(new_set: NewVolumeSet) -> None:
    shop = new_set("interval")
    copy(shop, 1)
    reads(shop, recheckInterval="10s")
    shop.wait("Applied", version=1)
    copy(shop, 1, 2)
    shop.wait("Applied", version=2)


def test_files_that_are_gone_leave_the_database_ahead(new_set: NewVolumeSet, report: Report) -> None:
    shop = new_set("gone")
    copy(shop, 1)
    reads(shop)
    shop.wait("Applied", version=1)
    [pod] = operator_pods(shop.kube)
    shop.kube.run("exec", pod, "--", "rm", "-r", f"{MOUNT}/{shop.name}")
    shop.kube.run("annotate", "fbms", shop.name, "fluxbase.io/requested-at=now")
    assert shop.wait("Failed")["tracks"]["user"]["reason"] == "AheadOfSource"
    assert shop.database.row("user") == [(1, False)]
    report("files gone", shop, shop.message())
    copy(shop, 1)
    shop.kube.run("annotate", "fbms", shop.name, "fluxbase.io/requested-at=again", "--overwrite")
    shop.wait("Applied", version=1)


def test_a_missing_claim_is_shown_and_its_creation_noticed(new_set: NewVolumeSet, report: Report) -> None:
    shop = new_set("missing")
    reads(shop, claim=shop.name, path=".")
    message = shop.wait_message(f'persistentvolumeclaim "{shop.name}" not found')
    report("missing claim", shop, message)
    claim(shop.kube, shop.name)
    shop.wait("Pending", reason="SourceEmpty")
    shop.kube.run("delete", "pvc", shop.name, "--wait=false")


def test_an_unbound_claim_is_shown_and_its_correction_noticed(new_set: NewVolumeSet, report: Report) -> None:
    shop = new_set("unbound")
    claim(shop.kube, shop.name, size="1Ti")
    reads(shop, claim=shop.name, path=".")
    message = shop.wait_message("didn't find available persistent volumes to bind")
    report("unbound claim", shop, message)
    shop.kube.run("delete", "pvc", shop.name, "--wait")
    claim(shop.kube, shop.name)
    shop.wait("Pending", reason="SourceEmpty")
    shop.kube.run("delete", "pvc", shop.name, "--wait=false")


def test_a_claim_for_one_pod_only_is_refused_with_the_way_out(new_set: NewVolumeSet, report: Report) -> None:
    shop = new_set("one-pod")
    claim(shop.kube, shop.name, mode="ReadWriteOncePod")
    reads(shop, claim=shop.name, path=".")
    assert shop.wait("Failed")["tracks"]["user"]["reason"] == "UnsupportedAccessMode"
    assert "Use ReadWriteOnce or ReadWriteMany." in shop.message()
    assert shop.condition("Stalled")["status"] == "True"
    report("claim for one pod", shop, shop.message())
    assert shop.jobs() == []
    copy(shop, 1)
    reads(shop)
    shop.wait("Applied", version=1)
    shop.kube.run("delete", "pvc", shop.name, "--wait=false")
