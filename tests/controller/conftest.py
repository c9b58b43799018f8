"""A real API server for the session, a namespace for each test, and the operator running against it."""

import asyncio
import contextlib
import gc
import re
import secrets
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from fluxbase_migrations.controller.app import Operator
from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process.settings import Settings
from tests.controller import api_server
from tests.controller.cluster import RBAC, Cluster, until
from tests.controller.watched import every_write_checked

ROOT = Path(__file__).resolve().parents[2]
CRD = ROOT / "crds" / "fluxbase.io_fluxbasemigrationsets.yaml"

STOPPED_WITHIN = 60  # seconds; kopf takes its time on a busy machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let pass what aiohttp leaves: it closes TLS connections a moment after its session."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[api_server.ApiServer]:
    """One API server with our resource installed."""
    with api_server.start(tmp_path_factory.mktemp("api-server")) as started:
        asyncio.run(install(started))
        yield started


async def install(started: api_server.ApiServer) -> None:
    """Install our resource, and wait until it is served."""
    with credentials(started, admin=True):
        kube = await Kube.connect()
        try:
            await kube.create("/apis/apiextensions.k8s.io/v1/customresourcedefinitions", None, _crd())
            await until("our resource is served", lambda: _served(kube))
        finally:
            await kube.close()


def _crd() -> dict[str, Any]:
    definition: dict[str, Any] = yaml.safe_load(CRD.read_text())
    return definition


async def _served(kube: Kube) -> bool:
    try:
        return "items" in await kube.get(Resource.SETS)
    except KubeError:  # 429 while its storage is being set up
        return False


@contextlib.contextmanager
def credentials(started: api_server.ApiServer, *, admin: bool) -> Iterator[None]:
    """KUBECONFIG for what is connected within the block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("KUBECONFIG", str(started.kubeconfig(admin=admin)))
        # The client reads the variable when it is imported.
        patch.setattr(
            "kubernetes.aio.config.kube_config.KUBE_CONFIG_DEFAULT_LOCATION",
            str(started.kubeconfig(admin=admin)),
        )
        yield


@pytest.fixture
async def kube(server: api_server.ApiServer) -> AsyncIterator[Kube]:
    """The API server, as administrator."""
    with credentials(server, admin=True):
        connected = await Kube.connect()
    yield connected
    await connected.close()


@pytest.fixture
async def cluster(kube: Kube) -> AsyncIterator[Cluster]:
    """A fresh namespace, in which every write of a set is checked."""
    namespace = await fresh_namespace(kube)
    async with every_write_checked(kube, namespace):
        yield Cluster(kube, namespace)


async def fresh_namespace(kube: Kube, name: str = "") -> str:
    """The name of one in which only restricted pods are let in, with the operator's rights and no more."""
    namespace = name or f"test-{secrets.token_hex(4)}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    await kube.create(Resource.NAMESPACES, None, {"metadata": {"name": namespace, "labels": labels}})
    role = {"metadata": {"name": "operator"}, "rules": documented_rules()}
    await kube.create(f"{RBAC}/roles", namespace, role)
    await kube.create(
        f"{RBAC}/rolebindings",
        namespace,
        {
            "metadata": {"name": "operator"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "operator"},
            "subjects": [{"kind": "User", "name": "operator", "apiGroup": "rbac.authorization.k8s.io"}],
        },
    )
    return namespace


def documented_rules() -> list[dict[str, list[str]]]:
    """The rights that docs/operator.md tells administrators to give."""
    text = (ROOT / "docs" / "operator.md").read_text()
    rules = []
    for line in text.splitlines():
        found = re.match(r"\| (?:`([a-z0-9.]+)`|\(core\)) \| `([a-z/]+)` \| ([a-z, ]+) \|", line)
        if found:
            verbs = [verb.strip() for verb in found[3].split(",")]
            rules.append({"apiGroups": [found[1] or ""], "resources": [found[2]], "verbs": verbs})
    return rules


KINDS = ("status", "jobs", "events")


@dataclass
class Running:
    """An operator that runs in this process."""

    operator: Operator
    stop: Callable[[], Any]
    requests: list[tuple[str, str]]
    """Method and path of every request of ours; kopf's watches are not among them."""

    def looks(self) -> int:
        """How often it has looked at a set."""
        samples = (one for metric in self.operator._metrics.reconcile.collect() for one in metric.samples)
        return int(next(one.value for one in samples if one.name.endswith("_count")))

    async def looks_again(self, since: int) -> None:
        """Wait until it has looked after :meth:`looks` gave ``since``, and has nothing left to do."""

        async def looked() -> bool:
            return self.looks() > since and len(self.operator._queue) == 0

        await until("it looks again", looked)

    async def has_seen_all(self, cluster: Cluster, name: str = "shop") -> None:
        """Wait until it has looked at a set after everything that has happened to it until now."""
        since = self.looks()
        await cluster.patch_set(name, metadata={"labels": {"look": secrets.token_hex(4)}})
        await self.looks_again(since)

    def writes(self) -> list[tuple[str, str]]:
        """What kind of object was written, and how."""
        paths = [(method, path.split("/")) for method, path in self.requests if method != "GET"]
        return [(method, path[-1] if path[-1] in KINDS else path[-2]) for method, path in paths]


@pytest.fixture
def settings(cluster: Cluster) -> Settings:
    """The operator's settings in tests."""
    return Settings(
        image="example.com/fluxbase-migrations:test",
        namespaces=(cluster.namespace,),
        pod_name="operator-test",
        pod_namespace=cluster.namespace,
        http_port=0,
        progress=False,
    )


@pytest.fixture
async def start_operator(
    server: api_server.ApiServer, settings: Settings
) -> AsyncIterator[Callable[..., Any]]:
    """Start an operator with its documented rights; those still running at the end are stopped."""
    started: list[tuple[asyncio.Event, asyncio.Task[None]]] = []

    async def start(**changes: Any) -> Running:
        with credentials(server, admin=False):
            connected = await Kube.connect()
        stop = asyncio.Event()
        requests: list[tuple[str, str]] = []
        send = connected._send

        async def counted(method: str, path: str, *more: Any, **options: Any) -> Any:
            requests.append((method, path))
            return await send(method, path, *more, **options)

        connected._send = counted  # type: ignore[method-assign]
        operator = Operator(replace(settings, **changes), connected)

        async def run() -> None:
            with credentials(server, admin=False):
                try:
                    await operator.run(stop)
                finally:
                    await connected.close()

        task = asyncio.create_task(run(), name="operator")
        started.append((stop, task))

        async def halt() -> None:
            stop.set()
            await asyncio.wait_for(task, STOPPED_WITHIN)

        return Running(operator, halt, requests)

    yield start
    for stop, task in started:
        stop.set()
        await asyncio.wait_for(task, STOPPED_WITHIN)
    # On a busy machine kopf's loop ends before its connections are closed; later tests are not to blame.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


@pytest.fixture
async def operator(start_operator: Callable[..., Any]) -> Running:
    """A running operator."""
    running: Running = await start_operator()
    return running
