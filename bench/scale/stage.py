"""A control plane and an operator of their own, and sets that are at rest.

One set is brought to Applied by the operator; the others get its status, as spec and files are the same.
So a thousand sets exist within seconds, and the operator has nothing to do for any of them.
"""

import asyncio
import contextlib
import copy
import os
import sys
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from bench.scale.operator_process import OperatorProcess
from dev.programs import Program
from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.watch.config_map_reader import version_of
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, KIND
from tests.controller import api_server
from tests.controller.api_server import ApiServer
from tests.controller.cluster import Cluster
from tests.controller.conftest import credentials, fresh_namespace, install
from tests.controller.test_lifecycle import done

FILES = {f"00{number}_step.up.sql": f"CREATE TABLE step_{number} (id bigint)" for number in range(1, 5)}
AT_ONCE = 20
"""Concurrent requests that create sets."""


@dataclass
class Stage:
    """The operator that is measured, and the control plane that it uses."""

    server: ApiServer
    kube: Kube
    cluster: Cluster
    operator: OperatorProcess
    created: int = 0
    deleted: set[int] = field(default_factory=set)
    """Numbers of sets that were deleted again."""
    template: Json = field(default_factory=dict)

    def requests(self, since: int) -> Counter[str]:
        """Verb and resource of the operator's requests, by the audit log from the byte ``since``."""
        return Counter(f"{verb} {resource}" for verb, resource in self.server.requests(since))

    def mark(self) -> int:
        """The present size of the audit log, for :meth:`requests`."""
        return self.server.audit_log.stat().st_size

    async def make_template(self) -> None:
        """Bring one set to Applied, and delete its Jobs as Kubernetes does after their TTL."""
        await self.cluster.config_map("files-template", FILES)
        await self.cluster.make_set("template", tracks=tracks("files-template"))
        await self.cluster.run("system", 1, done(6, pending=0), "template")
        await self.cluster.run("user", 1, done(4, pending=0), "template")
        await self.cluster.reaches("user", "Applied", name="template")
        for pod in (await self.kube.get(Resource.PODS, self.cluster.namespace))["items"]:
            await self.cluster.remove_pod(pod)
        for job in await self.cluster.jobs():
            name, uid = job["metadata"]["name"], job["metadata"]["uid"]
            await self.kube.delete(Resource.JOBS, self.cluster.namespace, name, uid, "Background")
        self.template = await self.cluster.get_set("template")
        await self.kube.delete(
            Resource.SETS, self.cluster.namespace, "template", self.template["metadata"]["uid"], "Background"
        )

    async def grow(self, size: int) -> None:
        """Create sets at rest until there are ``size``."""
        until = size + len(self.deleted)
        queue = iter(range(self.created, until))

        async def work() -> None:
            for number in queue:
                await self._make(number)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        self.created = until

    def numbers(self) -> list[int]:
        """The numbers of the existing sets."""
        return [number for number in range(self.created) if number not in self.deleted]

    async def _make(self, number: int) -> None:
        namespace, name = self.cluster.namespace, set_name(number)
        files = await self.cluster.config_map(f"files-{name}", FILES)
        spec = {**self.template["spec"], "tracks": tracks(f"files-{name}")}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
        created = await self.kube.create(Resource.SETS, namespace, body)
        status = copy.deepcopy(self.template["status"])
        status["tracks"]["user"].get("source", {})["objects"] = [version_of(files)]
        await self.kube.replace(Resource.SETS, namespace, name, {**created, "status": status}, "status")


def set_name(number: int) -> str:
    return f"set-{number:05}"


def tracks(config_map: str) -> Json:
    return {"system": {}, "user": {"source": {"configMap": {"name": config_map}}}}


@contextlib.asynccontextmanager
async def stage(directory: Path, code: Path) -> AsyncIterator[Stage]:
    """Start the control plane; the operator, of the checkout ``code``, is started by the caller."""
    with api_server.start(directory) as server:
        await asyncio.to_thread(asyncio.run, install(server))
        with credentials(server, admin=True):
            kube = await Kube.connect()
        try:
            namespace = await fresh_namespace(kube)
            port = api_server.free_port()
            environment = {
                "PATH": os.environ["PATH"],
                "PYTHONPATH": str(code / "operator"),
                "KUBECONFIG": str(server.kubeconfig(admin=False)),
                "WATCH_NAMESPACES": namespace,
                "POD_NAMESPACE": namespace,
                "POD_NAME": "operator",
                "MIGRATION_IMAGE": "example.com/fluxbase-migrations:bench",
                "MAX_CONCURRENT_JOBS": "1000",
                "HTTP_PORT": str(port),
                "PROGRESS": "false",
            }
            argv = [sys.executable, "-m", "fluxbase_migrations.controller"]
            operator = OperatorProcess(Program(argv, directory / "operator.log", environment), port)
            new_stage = Stage(server, kube, Cluster(kube, namespace), operator)
            try:
                async with operator.running():
                    await new_stage.make_template()
                yield new_stage
            finally:
                operator.program.end()
        finally:
            await kube.close()
