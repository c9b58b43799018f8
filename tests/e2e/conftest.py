"""The chart installed on the local cluster, and sets with a database of their own.

The release lives beside the demo's: it watches only the namespaces made here, both of which enforce the
restricted Pod Security standard.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from dev.localcluster.cluster import Cluster
from dev.localcluster.lifecycle import up
from tests.e2e.database import (
    Database,
    copy_database,
    create_database,
    drop_database,
    recreate_database,
)
from tests.e2e.harness import Kube, MigrationSet, eventually
from tests.e2e.scenarios import Scenario
from tests.e2e.watching import StatusWatch
from tests.support.databases import external_server

ROOT = Path(__file__).parents[2]
REPORTS = ROOT / "build/reports"
Report = Callable[[str, MigrationSet, str], None]
"""Notes a fault, the set that shows it, and its message."""
# Each process of a parallel run has a release of its own.
NAMESPACE = "-".join(filter(None, ("e2e", os.environ.get("PYTEST_XDIST_WORKER"))))
OTHER_NAMESPACE = f"{NAMESPACE}-other"
DEPLOYMENT = "deployment/fluxbase"
SECOND = "canary"
"""Another release of the chart in the same namespace."""


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    """The local cluster, started if need be, or the one that KUBECONFIG and IMAGE name."""
    return up(operator_image=False)


@pytest.fixture(scope="session")
def release(cluster: Cluster) -> Iterator[Kube]:
    """The chart of this tree with the images of this tree, watching the tests' namespaces."""
    namespaces = (NAMESPACE, OTHER_NAMESPACE)
    cluster.kubectl("delete", "namespace", *namespaces, "--ignore-not-found", "--wait", timeout=240)
    for namespace in namespaces:
        create_namespace(cluster, namespace)
    # Helm never upgrades a CRD, and the cluster may be older than this tree.
    cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
    helm_upgrade(cluster)
    yield kube_for(cluster, NAMESPACE)
    cluster.kubectl("delete", "namespace", *namespaces, "--wait=false")


def create_namespace(cluster: Cluster, name: str) -> None:
    cluster.kubectl("create", "namespace", name)
    cluster.kubectl("label", "namespace", name, "pod-security.kubernetes.io/enforce=restricted")


def helm_upgrade(cluster: Cluster, *values: str, release: str = "fluxbase") -> None:
    """Install or upgrade the release, with these values beside the tests' own."""
    given = (
        *cluster.chart_images(),
        f"watchNamespaces={{{NAMESPACE},{OTHER_NAMESPACE}}}",
        *values,
    )
    cluster.helm(
        "upgrade", "--install", release, str(ROOT / "deploy/helm/fluxbase"), "--namespace", NAMESPACE,
        *(argument for value in given for argument in ("--set", value)),
        "--wait", "--timeout", "2m",
    )  # fmt: skip


def kube_for(cluster: Cluster, namespace: str) -> Kube:
    return Kube([str(cluster.tools["kubectl"]), f"--kubeconfig={cluster.kubeconfig}"], namespace)


@pytest.fixture(scope="session")
def statuses(release: Kube) -> list[StatusWatch]:
    """What the operator writes, as it comes."""
    return [StatusWatch(release), StatusWatch(replace(release, namespace=OTHER_NAMESPACE))]


@pytest.fixture
def kube(release: Kube, statuses: list[StatusWatch]) -> Iterator[Kube]:
    """The release's namespace. Whatever is written to a set meanwhile must follow kstatus' rules."""
    yield release
    assert [wrong for watch in statuses for wrong in watch.wrong()] == []


@pytest.fixture
def new_set(cluster: Cluster, kube: Kube, tmp_path: Path) -> Iterator[Callable[[str], MigrationSet]]:
    """Make a set's name, database and helper; what is created is removed after the test."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(a_set(cluster, kube, name, tmp_path))


@pytest.fixture
def new_set_elsewhere(
    cluster: Cluster, kube: Kube, tmp_path: Path
) -> Iterator[Callable[[str], MigrationSet]]:
    """The same in a namespace that may be given a quota, or be deleted."""
    with contextlib.ExitStack() as stack:
        there = replace(kube, namespace=OTHER_NAMESPACE)
        yield lambda name: stack.enter_context(a_set(cluster, there, name, tmp_path))


@contextlib.contextmanager
def a_set(cluster: Cluster, kube: Kube, name: str, scratch: Path) -> Iterator[MigrationSet]:
    with a_database(cluster) as database:
        # `shop` itself is what the documentation shows; the others may run twice in one namespace.
        unique = name if name == "shop" else f"{name}-{secrets.token_hex(3)}"
        made = MigrationSet(kube, database, unique, scratch)
        try:
            yield made
            assert str(urlsplit(database.inside).password) not in made.shown(), "a credential is shown"
        finally:
            made.delete()
            kube.run("delete", "secret", made.secret, "--ignore-not-found")
            kube.run("delete", "configmap", made.config_map, "--ignore-not-found")


@contextlib.contextmanager
def a_database(cluster: Cluster) -> Iterator[Database]:
    """A database on the cluster's server, dropped afterwards."""
    server = external_server(cluster.dsn(role="postgres", database="postgres"))
    inside = urlsplit(cluster.dsn(role="postgres", database="postgres", inside=True))
    database = create_database(server, f"{inside.hostname}:{inside.port or 5432}")
    try:
        yield database
    finally:
        drop_database(database)


@pytest.fixture
def new_database(cluster: Cluster) -> Iterator[Callable[[], Database]]:
    """Make another empty database, with a login of its own."""
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(a_database(cluster))


@pytest.fixture
def restored() -> Iterator[Callable[[Database], Database]]:
    """Make a copy of a database, as a restored backup is one."""
    with contextlib.ExitStack() as stack:

        def restore(database: Database) -> Database:
            copy = copy_database(database)
            stack.callback(drop_database, copy)
            return copy

        yield restore


@pytest.fixture
def made_again() -> Callable[[Database], None]:
    """Drop a database and make it again, empty, for the same login."""
    return recreate_database


@pytest.fixture(scope="module")
def report(request: pytest.FixtureRequest) -> Iterator[Report]:
    """Collect what a person saw into a table of build/reports, named for the module."""
    rows: list[str] = ["| fault | READY reason | message | Events |", "| --- | --- | --- | --- |"]

    def add(fault: str, shop: MigrationSet, message: str) -> None:
        reason = shop.condition("Ready").get("reason", "")
        events = "<br>".join(sorted({event for event in shop.events() if event.startswith("Warning")}))
        cells = (fault, reason, message, events)
        rows.append("| " + " | ".join(re.sub(r"\s+", " ", cell).replace("|", "\\|") for cell in cells) + " |")

    yield add
    REPORTS.mkdir(parents=True, exist_ok=True)
    name = f"{request.path.stem.removeprefix('test_')}-{os.environ.get('PYTEST_XDIST_WORKER', 'all')}.md"
    (REPORTS / name).write_text("\n".join(rows) + "\n")


@pytest.fixture
def scenario(cluster: Cluster) -> Iterator[Callable[[str], Scenario]]:
    """Begin a scenario of docs/scenarios.md; another cluster than ours may use other words."""
    begun: list[Scenario] = []

    def begin(title: str) -> Scenario:
        begun.append(Scenario(title, strict=cluster.node is not None))
        return begun[-1]

    yield begin
    for one in begun:
        one.close()


@pytest.fixture
def restart_operator(kube: Kube) -> Callable[[], None]:
    """End the operator's pod and wait for the next one."""

    def restart() -> None:
        kube.run("delete", "pod", "-l", "app.kubernetes.io/name=fluxbase", "--wait")
        kube.run("rollout", "status", DEPLOYMENT, "--timeout=60s")

    return restart


@pytest.fixture
def other_namespace_made_again(cluster: Cluster, release: Kube) -> Callable[[], None]:
    """Make the other namespace afresh after somebody deleted it; its Role comes with the chart."""

    def make() -> None:
        create_namespace(cluster, OTHER_NAMESPACE)
        helm_upgrade(cluster)

    return make


@pytest.fixture
def two_operators(cluster: Cluster, release: Kube) -> Iterator[None]:
    """Have two replicas, of which one leads."""
    helm_upgrade(cluster, "replicas=2")
    yield
    helm_upgrade(cluster)


@pytest.fixture
def second_release(cluster: Cluster, release: Kube) -> Iterator[Callable[..., None]]:
    """Install the chart once more, beside the release, with these values; it is removed after the test."""
    yield lambda *values: helm_upgrade(cluster, *values, release=SECOND)
    cluster.helm("uninstall", SECOND, "--namespace", NAMESPACE, "--wait")


@pytest.fixture
def operator_stopped(kube: Kube) -> Callable[[], AbstractContextManager[None]]:
    """Have no operator for a while."""

    @contextlib.contextmanager
    def stopped() -> Iterator[None]:
        kube.run("scale", DEPLOYMENT, "--replicas=0")
        kube.run("wait", "pod", "-l", "app.kubernetes.io/name=fluxbase", "--for=delete", "--timeout=60s")
        try:
            yield
        finally:
            kube.run("scale", DEPLOYMENT, "--replicas=1")
            kube.run("rollout", "status", DEPLOYMENT, "--timeout=60s")

    return stopped


@pytest.fixture
def operator_image(kube: Kube) -> Iterator[Callable[[str | None], None]]:
    """Have the operator start Jobs with another image; None: theirs again."""
    (container,) = kube.get(DEPLOYMENT)["spec"]["template"]["spec"]["containers"]
    own = next(one["value"] for one in container["env"] if one["name"] == "MIGRATION_IMAGE")
    used = own

    def use(image: str | None) -> None:
        nonlocal used
        used = image or own
        kube.run("set", "env", DEPLOYMENT, f"MIGRATION_IMAGE={used}")
        kube.run("rollout", "status", DEPLOYMENT, "--timeout=60s")
        eventually("one operator pod", lambda: len(operator_pods(kube)) == 1)

    yield use
    if used != own:
        use(None)


def operator_pods(kube: Kube) -> list[str]:
    return kube.run("get", "pod", "-l", "app.kubernetes.io/name=fluxbase", "-o", "name").split()
