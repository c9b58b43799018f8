"""Measure watched namespaces that are given as a list, with a set at rest in each."""

import asyncio
import time
from dataclasses import dataclass

from bench.scale import audit
from bench.scale.control_plane import ControlPlane, follow, ready
from bench.scale.stage import FILES, tracks
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, KIND
from tests.controller.conftest import fresh_namespace

SET = "shop"
SETTLES = 60.0
"""Seconds for the first set to be Applied."""
PATIENCE = 120.0
"""Seconds for an operator to be steady."""
FLUSH = 2.0
"""Seconds until the audit log has all requests."""


@dataclass(frozen=True)
class Listed:
    """One number of namespaces."""

    namespaces: int
    steady_seconds: float | None
    """From the process's start until each set was reconciled and the operator is quiet; None: never."""
    steady_cpu: float
    steady_requests: dict[str, int]
    memory: float
    """MB."""
    threads: int
    rest_seconds: float
    rest_requests: dict[str, int]
    rest_cpu: float
    restarts: int
    """Of the operator, which ends when it cannot renew its Lease."""
    machine: str = ""

    @property
    def a_minute(self) -> float:
        """Requests a minute at rest that are not about the Lease."""
        return audit.without_lease(self.rest_requests) / self.rest_seconds * 60

    @property
    def begun_with(self) -> int:
        """Requests until it is steady."""
        return audit.without_lease(self.steady_requests)


async def measure(plane: ControlPlane, sizes: list[int], rest: float) -> list[Listed]:
    """Bring one set to Applied, give its status to one in each namespace, and start operators."""
    body = await _model(plane)
    names: list[str] = []
    results = []
    for size in sizes:
        while len(names) < size:
            names.append(await fresh_namespace(plane.kube))
            await _at_rest(plane, names[-1], body)
        results.append(await _operator(plane, names[:size], rest))
        print(f"{size} namespaces: steady after {results[-1].steady_seconds} s", flush=True)
    return results


async def _operator(plane: ControlPlane, names: list[str], rest: float) -> Listed:
    log = plane.server.audit_log
    at, begun = time.time(), time.monotonic()
    listed = plane.operator(",".join(names), names[0], pod=f"listed-{len(names)}")
    async with listed.running() as operator:
        try:
            seconds = await operator.steady(begun, len(names), PATIENCE)
        except RuntimeError:  # the report says so
            return Listed(len(names), None, 0.0, {}, 0.0, 0, rest, {}, 0.0, operator.restarts)
        cpu = operator.cpu()
        await operator.ready()
        await asyncio.sleep(FLUSH)
        quiet, quiet_cpu = time.time(), operator.cpu()
        started = audit.requests(log, at, quiet)
        await asyncio.sleep(rest)
        until, used = time.time(), operator.cpu() - quiet_cpu
        memory, threads = operator.memory(), operator.threads()
        await asyncio.sleep(FLUSH)
        requests = audit.requests(log, quiet, until)
        spent = memory, threads, rest, dict(requests), used
        return Listed(len(names), seconds, cpu, dict(started), *spent, operator.restarts)


async def _model(plane: ControlPlane) -> Json:
    """A set that an operator has brought to Applied."""
    bodies: list[Json] = []

    def see(_: float, body: Json) -> bool:
        bodies.append(body)
        return ready(body)

    async with plane.namespace() as (namespace, _), plane.postgres() as server:
        await plane.database(server, namespace, SET)
        await plane.kube.create(
            Resource.CONFIG_MAPS, namespace, {"metadata": {"name": "files"}, "data": FILES}
        )
        async with plane.operator(namespace, namespace).running():
            await plane.make_set(namespace, SET, tracks("files"))
            await follow(plane, Resource.SETS, namespace, see, SETTLES)
        return bodies[-1]


async def _at_rest(plane: ControlPlane, namespace: str, model: Json) -> None:
    await plane.kube.create(Resource.CONFIG_MAPS, namespace, {"metadata": {"name": "files"}, "data": FILES})
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": SET}, "spec": model["spec"]}
    created = await plane.kube.create(Resource.SETS, namespace, body)
    await plane.kube.replace(Resource.SETS, namespace, SET, {**created, "status": model["status"]}, "status")
