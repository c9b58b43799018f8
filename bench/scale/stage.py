"""A control plane and an operator of their own, and sets that are at rest.

One set is brought to Applied by the operator; the others get its status, as spec and files are the same.
So a thousand sets are there within seconds, and the operator finds nothing to do about any of them.
"""

import asyncio
import contextlib
import copy
import os
import re
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path

from dev.programs import Program
from fluxbase_migrations.controller.client import paths
from fluxbase_migrations.controller.client.kube import Kube
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
"""Requests that make sets."""
PATIENCE = 600.0
"""Seconds for the operator to look at every set."""
QUIET = 1.5
QUIET_CPU = 0.1
"""Seconds of CPU within ``QUIET`` seconds that a quiet operator uses at most."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Stage:
    """What is measured, and what it runs on."""

    server: ApiServer
    kube: Kube
    cluster: Cluster
    operator: Program
    port: int
    made: int = 0
    gone: set[int] = field(default_factory=set)
    """Numbers of sets that were deleted again."""
    template: Json = field(default_factory=dict)

    @property
    def process(self) -> int:
        """The operator's process."""
        assert self.operator._process is not None
        return self.operator._process.pid

    def cpu(self) -> float:
        """Seconds of CPU that the operator has used."""
        fields = Path(f"/proc/{self.process}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    def memory(self, what: str = "VmRSS") -> float:
        """Of the operator, in MB; ``VmHWM`` is the most that it ever was."""
        found = re.search(rf"{what}:\s+(\d+) kB", Path(f"/proc/{self.process}/status").read_text())
        assert found
        return int(found[1]) / 1000

    def looks(self) -> int:
        """How often the operator has looked at a set, by its metrics."""
        with contextlib.suppress(OSError), urllib.request.urlopen(self._metrics, timeout=60) as answer:  # noqa: S310 - our own
            text = answer.read().decode()
            found = re.search(r"^fluxbase_migrations_reconcile_seconds_count (\S+)", text, re.MULTILINE)
            return int(float(found[1])) if found else 0
        return 0

    @property
    def _metrics(self) -> str:
        return f"http://127.0.0.1:{self.port}/metrics"

    def requests(self, since: int) -> Counter[str]:
        """Verb and resource of the operator's requests, by the audit log from the byte ``since``."""
        return Counter(f"{verb} {resource}" for verb, resource in self.server.requests(since))

    def mark(self) -> int:
        """Where the audit log ends now."""
        return self.server.audit_log.stat().st_size

    async def make_template(self) -> None:
        """Bring one set to Applied, and take its Jobs away as Kubernetes does after a while."""
        await self.cluster.config_map("files-template", FILES)
        await self.cluster.make_set("template", tracks=tracks("files-template"))
        await self.cluster.run("system", 1, done(6, pending=0), "template")
        await self.cluster.run("user", 1, done(4, pending=0), "template")
        await self.cluster.reaches("user", "Applied", name="template")
        for pod in (await self.kube.get(paths.pods(self.cluster.namespace)))["items"]:
            await self.cluster.remove_pod(pod)
        for job in await self.cluster.jobs():
            path = paths.job(self.cluster.namespace, job["metadata"]["name"])
            await self.kube.delete(path, job["metadata"]["uid"], "Background")
        self.template = await self.cluster.get_set("template")
        await self.kube.delete(
            paths.one_set(self.cluster.namespace, "template"), self.template["metadata"]["uid"], "Background"
        )

    async def grow(self, size: int) -> None:
        """Make sets at rest until there are ``size``."""
        until = size + len(self.gone)
        queue = iter(range(self.made, until))

        async def work() -> None:
            for number in queue:
                await self._make(number)

        await asyncio.gather(*(work() for _ in range(AT_ONCE)))
        self.made = until

    def numbers(self) -> list[int]:
        """Of the sets that there are."""
        return [number for number in range(self.made) if number not in self.gone]

    async def _make(self, number: int) -> None:
        namespace, name = self.cluster.namespace, set_name(number)
        files = await self.cluster.config_map(f"files-{name}", FILES)
        spec = {**self.template["spec"], "tracks": tracks(f"files-{name}")}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
        made = await self.kube.create(paths.sets(namespace), body)
        status = copy.deepcopy(self.template["status"])
        status["tracks"]["user"].get("source", {})["objects"] = [version_of(files)]
        await self.kube.replace(paths.set_status(namespace, name), {**made, "status": status})

    async def steady(self, begun: float) -> float:
        """Wait until the operator has looked at every set and is quiet; seconds from ``begun`` until then.

        Asking for its metrics costs more than a look at a set, so the process' CPU tells when it is quiet.
        """
        samples: list[tuple[float, float]] = []
        while time.monotonic() < begun + PATIENCE:
            samples.append((time.monotonic(), self.cpu()))
            recent = [one for one in samples if one[0] > samples[-1][0] - QUIET]
            used = samples[-1][1] - recent[0][1]
            if used < QUIET_CPU and samples[-1][0] - begun > QUIET and self.looks() >= len(self.numbers()):
                return recent[0][0] - begun
            await asyncio.sleep(0.1)
        missing = len(self.numbers()) - self.looks()
        raise RuntimeError(f"{missing} sets were not looked at; {self.operator.log_tail()}")


def set_name(number: int) -> str:
    return f"set-{number:05}"


def tracks(config_map: str) -> Json:
    return {"system": {}, "user": {"source": {"configMap": {"name": config_map}}}}


@contextlib.asynccontextmanager
async def stage(directory: Path, code: Path) -> AsyncIterator[Stage]:
    """Start the control plane; the operator, of the checkout ``code``, is started by whoever measures it."""
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
            operator = Program(argv, directory / "operator.log", environment)
            made = Stage(server, kube, Cluster(kube, namespace), operator, port)
            try:
                with operator:
                    await made.make_template()
                yield made
            finally:
                operator.end()
        finally:
            await kube.close()
