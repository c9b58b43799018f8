"""The demo's last step: the chart, and the example of a shop, until its migrations are applied."""

import json

from tests.localcluster.cluster import Cluster
from tests.localcluster.layout import FLUXBASE, REPOSITORY
from tests.localcluster.report import Progress, wait_until

CHART = REPOSITORY / "deploy/helm/fluxbase"
SHOP = REPOSITORY / "examples/shop"
NAMESPACE = FLUXBASE
APPLIED_TIMEOUT_SECONDS = 180


def install(cluster: Cluster, progress: Progress) -> str:
    """Install the chart and apply the example; returns what `kubectl get fbms` shows.

    Raises:
        ClusterError: The chart does not install, or the example is not Applied in time; says its status.
    """
    image = cluster.ensure_image(progress)
    with progress.step("install the chart"):
        install_chart(cluster, image)
    with progress.step("apply examples/shop"):
        apply_shop(cluster)
        _await_applied(cluster)
    return cluster.kubectl("get", "fbms", "-n", NAMESPACE)


def install_chart(cluster: Cluster, image: str, *options: str, namespace: str = NAMESPACE) -> None:
    """Install or upgrade the release `fluxbase` with an image, and wait for its Deployment."""
    repository, _, tag = image.rpartition(":")
    settings = f"image.repository={repository},image.tag={tag},image.pullPolicy=IfNotPresent"
    release = ("upgrade", "--install", FLUXBASE, str(CHART), "--namespace", namespace, "--create-namespace")
    cluster.helm(*release, "--set", settings, *options)
    cluster.kubectl(
        "rollout", "status", f"deployment/{FLUXBASE}", "-n", namespace, "--timeout=120s", timeout=150
    )


def apply_shop(cluster: Cluster, namespace: str = NAMESPACE) -> None:
    """Create the example's Secret, ConfigMap and FluxbaseMigrationSet, or bring them up to date."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop-db", "namespace": namespace},
        "stringData": {"url": cluster.dsn(inside=True)},
    }
    cluster.apply(secret)
    files = f"--from-file={SHOP / 'migrations'}"
    create = (
        "create",
        "configmap",
        "user-migrations",
        files,
        "-n",
        namespace,
        "--dry-run=client",
        "-o",
        "json",
    )
    cluster.apply(json.loads(cluster.kubectl(*create)))
    cluster.kubectl("apply", "-n", namespace, "-f", str(SHOP / "migrationset.yaml"))


def _await_applied(cluster: Cluster) -> None:
    name = ("fbms/shop", "-n", NAMESPACE)

    def status() -> str:
        return cluster.kubectl("get", *name, "-o", "jsonpath={.status}")

    def applied() -> bool:
        found = json.loads(cluster.kubectl("get", *name, "-o", "json"))
        state = found.get("status", {})
        current = state.get("observedGeneration") == found["metadata"]["generation"]
        return bool(current) and state.get("phase") == "Applied"

    wait_until(
        "fbms/shop to be Applied", applied, timeout=APPLIED_TIMEOUT_SECONDS, why_not=status, interval=0.3
    )
