"""The demo: the chart, and the example of a shop, until its migrations are applied; then one that fails."""

import json
from collections.abc import Sequence

from dev.localcluster.cluster import Cluster
from dev.localcluster.layout import FLUXBASE, REPOSITORY
from dev.localcluster.report import Progress, wait_until
from fluxbase_migrations.core.digest import source_digest

CHART = REPOSITORY / "deploy/helm/fluxbase"
SHOP = REPOSITORY / "examples/shop"
NAMESPACE = FLUXBASE
SET = ("fbms/shop", "-n", NAMESPACE)
APPLIED_TIMEOUT_SECONDS = 180


def install(cluster: Cluster, progress: Progress) -> str:
    """Install the chart and apply the example; returns what `kubectl get fbms` shows.

    Raises:
        ClusterError: The chart does not install, or the example is not Applied in time; says its status.
    """
    images = cluster.chart_images(progress)
    with progress.step("install the chart"):
        install_chart(cluster, images)
    with progress.step("apply examples/shop"):
        apply_shop(cluster)
        await_user(cluster, "Applied")
    return cluster.kubectl("get", "fbms", "-n", NAMESPACE)


def install_chart(cluster: Cluster, images: Sequence[str], *options: str, namespace: str = NAMESPACE) -> None:
    """Install or upgrade the release `fluxbase` with these images, and wait for its Deployment."""
    settings = ",".join([*images, "image.pullPolicy=IfNotPresent"])
    # Helm never upgrades a CRD.
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(CHART / "crds"))
    release = ("upgrade", "--install", FLUXBASE, str(CHART), "--namespace", namespace, "--create-namespace")
    cluster.helm(*release, "--set", settings, *options)
    cluster.kubectl(
        "rollout", "status", f"deployment/{FLUXBASE}", "-n", namespace, "--timeout=120s", timeout=150
    )


def apply_shop(cluster: Cluster) -> None:
    """Create the example's Secret, ConfigMap and FluxbaseMigrationSet, or bring them up to date."""
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "shop-db", "namespace": NAMESPACE},
        "stringData": {"url": cluster.dsn(inside=True)},
    }
    cluster.apply(secret)
    if cluster.kubectl("get", *SET, "--ignore-not-found", "-o", "name"):
        undo_failure(cluster)
    write_files(cluster, "migrations")
    cluster.kubectl("apply", "-n", NAMESPACE, "-f", str(SHOP / "migrationset.yaml"))


def write_files(cluster: Cluster, *directories: str) -> None:
    """Put the files of these directories of the example into the ConfigMap."""
    files = [f"--from-file={SHOP / directory}" for directory in directories]
    config_map = cluster.kubectl(
        "create", "configmap", "user-migrations", *files, "-n", NAMESPACE, "--dry-run=client", "-o", "json"
    )
    cluster.apply(json.loads(config_map))


def undo_failure(cluster: Cluster) -> None:
    """Roll the example back to its version before ``make demo-failure``, even if that was interrupted."""
    version = cluster.kubectl("get", *SET, "-o", "jsonpath={.status.tracks.user.version}")
    if version != "5":
        return
    write_files(cluster, "migrations", "fixed")
    await_user(cluster, "Applied", "RolledBack")
    set_target(cluster, 4)
    await_user(cluster, "RolledBack")
    write_files(cluster, "migrations")
    set_target(cluster, None)
    await_user(cluster, "Applied")


def set_target(cluster: Cluster, version: int | None) -> None:
    """Set the user track's target and allow it to roll back; None removes both."""
    change = {"targetVersion": version, "rollback": None if version is None else "Allow"}
    patch = json.dumps({"spec": {"tracks": {"user": change}}})
    cluster.kubectl("patch", *SET, "--type=merge", "-p", patch)


def await_user(cluster: Cluster, *phases: str) -> None:
    """Wait until the example is in one of these phases for its current ConfigMap and spec."""

    def status() -> str:
        return cluster.kubectl("get", *SET, "-o", "jsonpath={.status}")

    def is_reached() -> bool:
        migration_set = json.loads(cluster.kubectl("get", *SET, "-o", "json"))
        config_map = json.loads(
            cluster.kubectl("get", "configmap", "user-migrations", "-n", NAMESPACE, "-o", "json")
        )
        state = migration_set.get("status", {})
        current = state.get("observedGeneration") == migration_set["metadata"]["generation"]
        digest = source_digest({name: text.encode() for name, text in config_map["data"].items()})
        read = state.get("tracks", {}).get("user", {}).get("sourceDigest") == digest
        return bool(current and read) and state.get("phase") in phases

    wait_until(
        f"fbms/shop to be {' or '.join(phases)}",
        is_reached,
        timeout=APPLIED_TIMEOUT_SECONDS,
        why_not=status,
        interval=0.3,
    )
