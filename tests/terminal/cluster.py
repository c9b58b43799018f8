"""A control plane with a running operator, PostgreSQL, and a node whose pods are processes: for kubectl.

All of it runs in a thread with an event loop of its own, so that tests only type.
"""

import asyncio
import json
import subprocess
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from bench.scale.control_plane import ControlPlane, control_plane
from bench.scale.kubelet import kubelet
from dev.postgres_server import Server
from fluxbase_migrations import __version__
from fluxbase_migrations.core.json_names import Json
from tests.controller.api_server import programs
from tests.support.databases import Database
from tests.terminal.shop import shop_database, variables

NAMESPACE = "fluxbase"
DEPLOYMENTS = "/apis/apps/v1/deployments"
IMAGE = f"fluxbase/fluxbase-migrations:{__version__}"
START = 120.0
"""Seconds for all of it to start."""
END = 60
"""Seconds for the pods of a test to go."""


class LiveCluster:
    """What a test of kubectl may use."""

    def __init__(self, plane: ControlPlane, server: Server) -> None:
        self._plane = plane
        self._server = server
        self._kubectl = plane.directory / "bin" / "kubectl"
        self._kubectl.parent.mkdir()
        self._kubectl.symlink_to(programs() / "kubectl")
        self._kubeconfig = plane.directory / "docs.kubeconfig"
        config = json.loads(plane.server.kubeconfig(admin=True).read_text())
        config["contexts"][0]["context"]["namespace"] = NAMESPACE
        self._kubeconfig.write_text(json.dumps(config))

    @contextmanager
    def database(self) -> Iterator[Database]:
        """A database, and the Secret ``shop-db`` with its URL; afterwards the namespace is emptied."""
        with shop_database(self._server.endpoint) as database:
            self.kubectl("create", "secret", "generic", "shop-db", f"--from-literal=url={database.dsn}")
            try:
                yield database
            finally:
                self.kubectl("delete", "fbms,configmaps,secrets", "--all")
                self.kubectl("wait", "pods", "--all", "--for=delete", f"--timeout={END}s")

    def kubectl(self, *words: str) -> str:
        """Have something done that the docs do not show."""
        argv = [str(self._kubectl), *words]
        done = subprocess.run(
            argv, env=self.variables(), capture_output=True, text=True, check=False, timeout=2 * END
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def variables(self) -> dict[str, str]:
        """An environment in which ``kubectl`` is the real one, for the namespace of the docs."""
        home = str(self._plane.directory)
        return variables(str(self._kubectl.parent), KUBECONFIG=str(self._kubeconfig), HOME=home)


@contextmanager
def live_cluster(directory: Path) -> Iterator[LiveCluster]:
    """Start everything; stop it at the end."""
    started, stop = threading.Event(), threading.Event()
    found: list[LiveCluster] = []
    failed: list[BaseException] = []

    async def run() -> None:
        async with _started(directory) as cluster:
            found.append(cluster)
            started.set()
            await asyncio.to_thread(stop.wait)

    def thread() -> None:
        try:
            asyncio.run(run())
        except BaseException as error:
            failed.append(error)
        finally:
            started.set()

    running = threading.Thread(target=thread, name="cluster")
    running.start()
    try:
        assert started.wait(START)
        if failed:
            raise failed[0]
        yield found[0]
    finally:
        stop.set()
        running.join()
    if failed:
        raise failed[0]


@asynccontextmanager
async def _started(directory: Path) -> AsyncIterator[LiveCluster]:
    async with (
        control_plane(directory) as plane,
        plane.namespace(NAMESPACE) as (_, node),
        kubelet(plane.kube, node, directory),
        plane.postgres() as server,
    ):
        operator = plane.operator(NAMESPACE, NAMESPACE, progress=True)
        await plane.kube.create(DEPLOYMENTS, NAMESPACE, _deployment())
        counts = {"readyReplicas": 1, "replicas": 1, "availableReplicas": 1}
        await plane.kube.patch(DEPLOYMENTS, NAMESPACE, "fluxbase", {"status": counts}, "status")
        async with operator.running():
            await operator.ready()
            yield LiveCluster(plane, server)


def _deployment() -> Json:
    """As the chart makes it; here the operator's process is none of a pod's."""
    labels = {"app.kubernetes.io/name": "fluxbase"}
    pod = {
        "metadata": {"labels": labels},
        "spec": {"containers": [{"name": "operator", "image": IMAGE}]},
    }
    return {
        "metadata": {"name": "fluxbase", "labels": {**labels, "app.kubernetes.io/version": __version__}},
        "spec": {"replicas": 1, "selector": {"matchLabels": labels}, "template": pod},
    }
