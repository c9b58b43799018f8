"""Measure sets at rest: a restart, CPU and requests at rest, and the time from a change to its Job."""

import asyncio
import json
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from bench.scale.stage import Stage, set_name
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.names import ANNOTATION_SET

CHANGES = 100
"""ConfigMaps that are changed, one after the other."""


@dataclass(frozen=True)
class AtRest:
    """One number of sets."""

    sets: int
    restart_seconds: float
    """From the process's start until each set was reconciled."""
    restart_cpu: float
    restart_requests: dict[str, int]
    memory: float
    """MB."""
    peak: float
    rest_seconds: float
    rest_cpu: float
    rest_requests: dict[str, int]
    change_seconds: Sequence[float]
    """From the request that changes a ConfigMap to the Job's creation, as a watch shows it."""
    machine: str = ""

    def restarted(self, what: str) -> int:
        """Requests of a kind that a restart made."""
        return sum(count for request, count in self.restart_requests.items() if request.startswith(what))

    @property
    def a_minute(self) -> float:
        """Requests a minute at rest that are not about the Lease."""
        own = sum(count for request, count in self.rest_requests.items() if not request.endswith(" leases"))
        return own / self.rest_seconds * 60

    def change(self, part: float) -> float:
        """Seconds within which this part of the changes had their Jobs."""
        return sorted(self.change_seconds)[int((len(self.change_seconds) - 1) * part)]


async def measure(stage: Stage, size: int, rest: float, changes: int = CHANGES) -> AtRest:
    """Create sets until there are ``size``, and measure."""
    await stage.grow(size)
    mark, begun = stage.mark(), time.monotonic()
    stage.operator.program.start()
    seconds = await stage.operator.steady(begun, len(stage.numbers()))
    restart_cpu = stage.operator.cpu()
    await asyncio.sleep(2)  # the audit log is written a moment later
    requests = dict(stage.requests(mark))
    mark, cpu = stage.mark(), stage.operator.cpu()
    await asyncio.sleep(rest)
    rest_cpu = stage.operator.cpu() - cpu
    rest_requests = dict(stage.requests(mark))
    memory = stage.operator.memory()
    change_seconds = await _changes(stage, changes)
    peak = stage.operator.memory("VmHWM")
    stage.operator.program.end()
    return AtRest(
        size, seconds, restart_cpu, requests, memory, peak, rest, rest_cpu, rest_requests, change_seconds
    )


async def _changes(stage: Stage, count: int) -> list[float]:
    """Change ConfigMaps, and wait for each Job; afterwards these sets are deleted."""
    numbers = stage.numbers()
    chosen = random.Random(stage.created).sample(numbers, min(count, len(numbers)))
    arrived: asyncio.Queue[tuple[str, float]] = asyncio.Queue()
    watching = asyncio.create_task(_watch_jobs(stage, arrived))
    seconds = []
    try:
        for number in chosen:
            name = set_name(number)
            begun = time.monotonic()
            await stage.cluster.edit_config_map(f"files-{name}", {"005_new.up.sql": "SELECT 1"})
            async with asyncio.timeout(60):
                while True:
                    owner, at = await arrived.get()
                    if owner == name:
                        break
            seconds.append(at - begun)
            await asyncio.sleep(0.2)
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
    namespace = stage.cluster.namespace
    for number in chosen:
        name = set_name(number)
        uid = (await stage.cluster.get_set(name))["metadata"]["uid"]
        await stage.kube.delete(Resource.SETS, namespace, name, uid, "Background")
        stage.deleted.add(number)
    return seconds


async def _watch_jobs(stage: Stage, arrived: asyncio.Queue[tuple[str, float]]) -> None:
    namespace = stage.cluster.namespace
    newest = await stage.kube.get(Resource.JOBS, namespace, query={"limit": 1})
    query = {"resourceVersion": newest["metadata"]["resourceVersion"]}
    async for line in stage.kube.watch(Resource.JOBS, namespace, query, silence=600.0):
        event = json.loads(line)
        if event["type"] == "ADDED":
            name = event["object"]["metadata"]["annotations"][ANNOTATION_SET]
            arrived.put_nowait((name, time.monotonic()))
