"""Everything that the chaos tests kill: a control plane, PostgreSQL, Jobs and the operator, all their own."""

import asyncio
import contextlib
import json
import os
import random
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from math import inf
from pathlib import Path

from dev.postgres_server import Server, start_server
from dev.programs import Program
from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import GROUP, PLURAL
from tests.chaos import database
from tests.chaos.history import History
from tests.chaos.node import Container, Node
from tests.chaos.plan import Company, Kill, Other, Victim
from tests.conftest import VERSIONS
from tests.controller.api_server import ApiServer, free_port, programs, start
from tests.controller.conftest import credentials, fresh_namespace, install

OPERATOR = "operator"
"""The operator's user, for the API server."""
POSTGRES = max((int(version) for version in VERSIONS if version.isdecimal()), default=15)
CONTROLLERS = ("job-controller", "garbage-collector-controller", "ttl-after-finished-controller")
RESTART = 1.0
"""Seconds until a program that ended is started again."""
PATIENCE = 2.0
"""Seconds to wait for a container that could be killed."""
SLOTS = 2
"""maxConcurrentJobs: fewer than sets."""
OTHER_NAME = "canary"
"""The other operator's name, where it has one."""

# Who deleted which Job, and what the operator had read before.
AUDIT = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "users": [OPERATOR], "verbs": ["delete"], "resources": [{"group": "batch"}]},
        {"level": "Metadata", "users": [OPERATOR], "verbs": ["list"], "resources": [{"group": ""}]},
        {"level": "None"},
    ],
}


class World:
    """All of it; made by :func:`world`."""

    def __init__(
        self,
        server: ApiServer,
        controllers: Program,
        operator: Program,
        postgres: Server,
        kube: Kube,
        namespace: str,
        node: Node,
        history: History,
        jobs: History,
        directory: Path,
        audit: Path,
    ) -> None:
        self.server = server
        self.controllers = controllers
        self.operator = operator
        self.postgres = postgres
        self.kube = kube
        self.namespace = namespace
        self.node = node
        self.history = history
        """Of the sets."""
        self.jobs = jobs
        """Of the Jobs."""
        self.other: Program | None = None
        """The operator of another release, while there is one."""
        self.parts: set[asyncio.Task[None]] = set()
        """What goes on all the time."""
        self._directory = directory
        self._audit = audit
        self._busy = {victim: asyncio.Lock() for victim in Victim}

    def operators_requests(self) -> list[Json]:
        """What the audit log has of the operator, oldest first."""
        lines = self._audit.read_text(errors="replace").splitlines() if self._audit.exists() else []
        found = []
        for line in lines:
            # The last line before a kill may be cut.
            with contextlib.suppress(ValueError):
                found.append(json.loads(line))
        return found

    def check(self) -> None:
        """See that everything goes on; raises what ended it otherwise."""
        for part in self.parts:
            assert not part.done(), f"ended: {part.exception()}"

    async def keep_running(self) -> None:
        """Start again what has ended by itself, as a cluster does."""
        while True:
            await asyncio.sleep(RESTART)
            parts = [(self.operator, Victim.OPERATOR), (self.controllers, Victim.API_SERVER)]
            if self.other is not None:
                parts.append((self.other, Victim.OPERATOR))
            for program, victim in parts:
                if not self._busy[victim].locked():
                    program.start()

    @contextlib.asynccontextmanager
    async def accompanied(self, other: Other) -> AsyncIterator[None]:
        """Beside what is done in the block, another release's operator comes and, where so drawn, goes."""
        visit = asyncio.create_task(self._visit(other), name="other operator")
        try:
            yield
            if other.until is not None:
                await visit
        finally:
            visit.cancel()
            await asyncio.gather(visit, return_exceptions=True)

    async def _visit(self, other: Other) -> None:
        if other.company is Company.NONE:
            return
        await asyncio.sleep(other.since)
        name = OTHER_NAME if other.company is Company.OTHER_NAME else ""
        program = _operator(self.server, self.namespace, self._directory, release="other", name=name)
        try:
            program.start()
            self.other = program
            await asyncio.sleep(inf if other.until is None else other.until - other.since)
        finally:
            self.other = None
            await asyncio.to_thread(program.end)

    async def strike(self, kill: Kill, chance: random.Random, prefix: str) -> str:
        """Kill, and start again; returns what happened. Only pods whose set's name begins so are hit."""
        match kill.victim:
            case Victim.OPERATOR:
                return await self._strike_operator(kill, chance)
            case Victim.POSTGRES:
                async with self._busy[kill.victim]:
                    await asyncio.to_thread(self.postgres.kill)
                    await asyncio.sleep(kill.down)
                    await asyncio.to_thread(self.postgres.start)
            case Victim.API_SERVER | Victim.CONTROL_PLANE:
                async with self._busy[Victim.API_SERVER]:
                    await self._strike_control_plane(kill)
            case Victim.CONTAINER | Victim.POD | Victim.JOB:
                return await self._strike_run(kill, chance, prefix)
        return str(kill)

    async def _strike_operator(self, kill: Kill, chance: random.Random) -> str:
        async with self._busy[kill.victim]:
            other = chance.random() < 0.5 and self.other
            program = other or self.operator
            program.kill()
            await asyncio.sleep(kill.down)
            if program is not other or self.other is other:  # it may have been removed meanwhile
                program.start()
        return f"{kill}{', the other one' if other else ''}"

    async def _strike_control_plane(self, kill: Kill) -> None:
        self.server.program.kill()
        # On one machine with it; and left alone, it would look for the API server ever more rarely.
        self.controllers.kill()
        if kill.victim is Victim.CONTROL_PLANE:
            self.server.etcd.kill()
        await asyncio.sleep(kill.down)
        self.server.etcd.start()
        await asyncio.to_thread(self.server.start)
        self.controllers.start()

    async def _strike_run(self, kill: Kill, chance: random.Random, prefix: str) -> str:
        until = asyncio.get_running_loop().time() + PATIENCE
        while asyncio.get_running_loop().time() < until:
            found = [one for one in self.node.containers.values() if one.set_name.startswith(prefix)]
            alive = [one for one in found if not one.deleted and one.seen_ended is None]
            if kill.victim is Victim.CONTAINER:
                alive = [one for one in alive if one.runs]
            if alive:
                return await self._strike_one(kill, chance.choice(alive))
            await asyncio.sleep(0.02)
        return f"{kill}: there was none"

    async def _strike_one(self, kill: Kill, one: Container) -> str:
        told = f"{kill}: {one.pod}, {'running' if one.runs else 'not running'}"
        if kill.victim is Victim.CONTAINER:
            if one.process is not None:
                with contextlib.suppress(ProcessLookupError):
                    one.process.kill()
            return told
        resource, name, uid = Resource.PODS, one.pod, one.uid
        if kill.victim is Victim.JOB:
            resource, name, uid = Resource.JOBS, one.job, one.job_uid
        try:
            await self.kube.delete(resource, self.namespace, name, uid, "Background")
        except KubeError as error:
            return f"{told}; not deleted: {error}"
        return told


@contextlib.asynccontextmanager
async def world(directory: Path, chance: random.Random) -> AsyncIterator[World]:
    """Start everything; stop it at the end."""
    policy, audit = directory / "policy.json", directory / "audit.log"
    policy.write_text(json.dumps(AUDIT))
    async with AsyncExitStack() as stack:
        options = (
            f"--audit-policy-file={policy}",
            f"--audit-log-path={audit}",
            # So that what etcd has of Jobs can be read, too.
            "--storage-media-type=application/json",
        )
        server = await asyncio.to_thread(stack.enter_context, start(directory, *options))
        await asyncio.to_thread(asyncio.run, install(server))
        postgres = await asyncio.to_thread(start_server, POSTGRES, settings=database.SETTINGS)
        stack.enter_context(postgres)
        with credentials(server, admin=True):
            kube = await Kube.connect()
        stack.push_async_callback(kube.close)
        namespace = await fresh_namespace(kube)
        history = stack.enter_context(History(server.etcd_url, f"{GROUP}/{PLURAL}/{namespace}"))
        jobs = stack.enter_context(History(server.etcd_url, f"jobs/{namespace}"))
        controllers = stack.enter_context(start_controllers(server, directory))
        node = Node(kube, namespace, directory / "node", chance)
        (directory / "node").mkdir()
        operator = stack.enter_context(_operator(server, namespace, directory))
        made = World(
            server, controllers, operator, postgres, kube, namespace, node, history, jobs, directory, audit
        )
        for part in (node.run(), made.keep_running()):
            task = asyncio.create_task(part)
            made.parts.add(task)
        try:
            yield made
        finally:
            for task in made.parts:
                task.cancel()
            await asyncio.gather(*made.parts, return_exceptions=True)


def start_controllers(server: ApiServer, directory: Path) -> Program:
    """Kubernetes' own controllers of Jobs and of garbage."""
    argv: list[Path | str] = [
        programs() / "kube-controller-manager",
        f"--kubeconfig={server.kubeconfig(admin=True)}",
        f"--controllers={','.join(CONTROLLERS)}",
        "--leader-elect=false",
        "--secure-port=0",
        "--kube-api-qps=500",
        "--kube-api-burst=500",
    ]
    return Program(argv, directory / "kube-controller-manager.log")


def _operator(
    server: ApiServer, namespace: str, directory: Path, *, release: str = "operator", name: str = ""
) -> Program:
    environment = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(server.kubeconfig(admin=False)),
        "WATCH_NAMESPACES": namespace,
        "POD_NAMESPACE": namespace,
        "POD_NAME": release,
        "LEASE_NAME": release,
        "OPERATOR_NAME": name,
        "MAX_CONCURRENT_JOBS": str(SLOTS),
        "MIGRATION_IMAGE": f"example.com/fluxbase-migrations:{release}",
        "HTTP_PORT": str(free_port()),
        # There is no kubelet to ask for logs.
        "PROGRESS": "false",
    }
    argv = [sys.executable, "-m", "fluxbase_migrations.controller"]
    return Program(argv, directory / f"{release}.log", environment)
