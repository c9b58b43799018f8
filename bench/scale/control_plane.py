"""A control plane with what makes pods of Jobs, nodes whose pods are processes, PostgreSQL, and operators."""

import asyncio
import contextlib
import json
import os
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack
from pathlib import Path

from bench.scale.node import WatchingNode
from bench.scale.operator_process import OperatorProcess
from dev.postgres_server import Server, start_server
from dev.programs import Program
from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, KIND
from tests.chaos.world import start_controllers
from tests.controller import api_server
from tests.controller.api_server import OPERATOR, ApiServer
from tests.controller.conftest import credentials, fresh_namespace, install
from tests.support.databases import create_database, create_login

POSTGRES = 15
SLOTS = 20
"""maxConcurrentJobs, as the chart has it."""
LOGIN = "bench"
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [{"level": "Metadata", "users": [OPERATOR]}, {"level": "None"}],
}
"""A watch is logged when it begins, too: a killed API server does not log its end."""


class ControlPlane:
    """The control plane without operators; created by :func:`control_plane`."""

    def __init__(self, server: ApiServer, controllers: Program, kube: Kube, directory: Path) -> None:
        self.server = server
        self.controllers = controllers
        self.kube = kube
        self.directory = directory
        self._nodes: set[asyncio.Task[None]] = set()

    def check(self) -> None:
        """Raise the exception that has ended a node, if one has."""
        for task in self._nodes:
            if task.done():
                task.result()

    @contextlib.asynccontextmanager
    async def namespace(self, name: str = "") -> AsyncIterator[tuple[str, WatchingNode]]:
        """A fresh namespace, and the node that runs its pods."""
        name = await fresh_namespace(self.kube, name)
        node = WatchingNode(self.kube, name, self.directory / name)
        task = asyncio.create_task(node.run(), name=f"node of {name}")
        self._nodes.add(task)
        try:
            yield name, node
        finally:
            self._nodes.discard(task)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    @contextlib.asynccontextmanager
    async def postgres(self, settings: Mapping[str, str] | None = None) -> AsyncIterator[Server]:
        """A server with a role that can own databases."""
        with await asyncio.to_thread(start_server, POSTGRES, settings=settings) as server:
            create_login(server.endpoint, LOGIN, server.password)
            yield server

    async def database(self, server: Server, namespace: str, name: str) -> str:
        """A database, and the Secret of that name that leads there; returns the URL."""
        database = name.replace("-", "_")
        await asyncio.to_thread(create_database, server.endpoint, database, LOGIN)
        url = server.dsn(database, LOGIN)
        secret = {"metadata": {"name": name}, "stringData": {"url": url}}
        await self.kube.create("/api/v1/secrets", namespace, secret)
        return url

    async def make_set(self, namespace: str, name: str, tracks: Json) -> None:
        """Create a set for the database of that name."""
        secret = {"secretKeyRef": {"name": name, "key": "url"}}
        spec = {"database": {"urlFrom": secret}, "tracks": tracks}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
        await self.kube.create(Resource.SETS, namespace, body)

    def operator(
        self, namespaces: str, own: str, *, slots: int = SLOTS, pod: str = "operator", progress: bool = False
    ) -> OperatorProcess:
        """One that is not started yet; ``pod`` is its name among the replicas, ``own`` its own namespace."""
        port = api_server.free_port()
        environment = {
            "PATH": os.environ["PATH"],
            "KUBECONFIG": str(self.server.kubeconfig(admin=False)),
            "WATCH_NAMESPACES": namespaces,
            "POD_NAMESPACE": own,
            "POD_NAME": pod,
            "MIGRATION_IMAGE": "example.com/fluxbase-migrations:bench",
            "MAX_CONCURRENT_JOBS": str(slots),
            "HTTP_PORT": str(port),
            "PROGRESS": str(progress).lower(),
        }
        argv = [sys.executable, "-m", "fluxbase_migrations.controller"]
        return OperatorProcess(Program(argv, self.directory / f"{pod}-{own}.log", environment), port)


@contextlib.asynccontextmanager
async def control_plane(directory: Path) -> AsyncIterator[ControlPlane]:
    """Start etcd, API server and controllers; stop them at the end."""
    policy = directory / "audit.json"
    policy.write_text(json.dumps(AUDIT))
    async with AsyncExitStack() as stack:
        starting = api_server.start(directory, f"--audit-policy-file={policy}")
        server = await asyncio.to_thread(stack.enter_context, starting)
        await asyncio.to_thread(asyncio.run, install(server))
        with credentials(server, admin=True):
            kube = await Kube.connect()
        stack.push_async_callback(kube.close)
        controllers = stack.enter_context(start_controllers(server, directory))
        yield ControlPlane(server, controllers, kube, directory)


def ready(body: Json) -> bool:
    """Whether a set's status says Ready for its present generation."""
    status = body.get("status") or {}
    return status.get("observedGeneration") == body["metadata"]["generation"] and any(
        (condition["type"], condition["status"]) == ("Ready", "True")
        for condition in status.get("conditions") or ()
    )


async def follow(
    plane: ControlPlane,
    resource: Resource,
    namespace: str,
    see: Callable[[float, Json], bool],
    patience: float,
) -> None:
    """Call ``see`` with each object of a watch, and when it came, until it returns True; not for deletions.

    Raises:
        TimeoutError: ``patience`` seconds are over.
    """
    query = {"resourceVersion": "0"}
    async with asyncio.timeout(patience):
        while True:
            with contextlib.suppress(KubeError):
                async for line in plane.kube.watch(resource, namespace, query, silence=patience):
                    event = json.loads(line)
                    exists = event["type"] in ("ADDED", "MODIFIED")
                    if exists and see(time.monotonic(), event["object"]):
                        return
            plane.check()
            await asyncio.sleep(0.1)  # the API server ends a watch now and then
