"""Measure many sets at once, each with a database of its own, beside twice as many Jobs that do nothing.

Pods are processes, which a node like that of the chaos tests starts; everything else is real. Three batches
run in random order: the sets, the Jobs with as many at once as there are slots, and all Jobs at once.
"""

import asyncio
import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import mean

from bench import process
from bench.scale import nothing
from bench.scale.control_plane import SLOTS, ControlPlane, follow, ready
from bench.scale.operator_process import OperatorProcess
from bench.scale.stage import FILES, set_name, tracks
from dev.postgres_server import Server
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import LABEL_SET, LABEL_TRACK

PATIENCE = 900.0
"""Seconds for all of them."""
BATCHES = ("sets", "slots", "all")
FIRST = "first"
"""The set whose Job is the model of those that do nothing; it is not counted."""


@dataclass(frozen=True)
class AtOnce:
    """One run; times are seconds from the first object's creation, in order."""

    applied: Sequence[float]
    """Of each set."""
    operator_cpu: float
    nothing: Sequence[float]
    """Until each Job that does nothing was Complete, with as many at once as the sets' Jobs."""
    nothing_at_once: Sequence[float]
    """The same, with all Jobs created at once."""
    cpu: Mapping[str, Mapping[str, float]]
    """Seconds of CPU of each part, by batch."""
    restarts: int
    """Of the operator, which ends when the API server does not answer for long."""
    machine: str = ""

    @property
    def first(self) -> float:
        return self.applied[0]

    @property
    def whole(self) -> float:
        return self.applied[-1]

    @property
    def mean_share(self) -> float:
        """Mean time to Applied, of the whole."""
        return mean(self.applied) / self.whole

    @property
    def ratio(self) -> float:
        """All sets' time by that of twice as many Jobs that do nothing."""
        return self.whole / self.nothing[-1]

    @property
    def ratio_at_once(self) -> float:
        """The same, where the Jobs are created at once."""
        return self.whole / self.nothing_at_once[-1]

    def __str__(self) -> str:
        return (
            f"{len(self.applied)} sets at once: first Applied after {self.first:.1f} s, all after"
            f" {self.whole:.1f} s, mean {self.mean_share:.2f} of that;"
            f" operator {self.operator_cpu / len(self.applied):.3f} s of CPU for each,"
            f" {self.restarts} restarts."
            f" {len(self.nothing)} Jobs that do nothing: {self.nothing[-1]:.1f} s with as many at once"
            f" (ratio {self.ratio:.2f}), {self.nothing_at_once[-1]:.1f} s all at once"
            f" (ratio {self.ratio_at_once:.2f})"
        )


async def measure(plane: ControlPlane, count: int) -> AtOnce:
    """Run the three batches."""
    async with plane.namespace() as (namespace, _), plane.postgres() as server:
        files = {"metadata": {"name": "files"}, "data": FILES}
        await plane.kube.create(Resource.CONFIG_MAPS, namespace, files)
        names = [set_name(number) for number in range(count)]
        urls = {name: await plane.database(server, namespace, name) for name in [FIRST, *names]}
        async with plane.operator(namespace, namespace).running() as operator:
            await operator.ready()
            template = await _model(plane, namespace)
            secret = {"metadata": {"name": FIRST}, "stringData": {"url": urls[FIRST]}}
            objects = [files, secret]
            seconds: dict[str, Sequence[float]] = {}
            cpu: dict[str, dict[str, float]] = {}
            batches = [*BATCHES]
            random.shuffle(batches)
            for batch in batches:
                before = _spent(plane, operator, server)
                match batch:
                    case "sets":
                        seconds[batch] = await _sets(plane, namespace, names)
                    case "slots":
                        seconds[batch] = await nothing.measure(plane, template, objects, 2 * count, SLOTS)
                    case "all":
                        seconds[batch] = await nothing.measure(plane, template, objects, 2 * count, 2 * count)
                after = _spent(plane, operator, server)
                cpu[batch] = {who: after[who] - before[who] for who in after}
                print(f"{batch}: all after {seconds[batch][-1]:.1f} s", flush=True)
        return AtOnce(
            seconds["sets"], cpu["sets"]["operator"], seconds["slots"], seconds["all"], cpu, operator.restarts
        )


def _spent(plane: ControlPlane, operator: OperatorProcess, server: Server) -> dict[str, float]:
    """Seconds of CPU until now."""
    own = os.times()
    return {
        "operator": operator.cpu(),
        "API server": process.cpu(plane.server.program.pid),
        "etcd": process.cpu(plane.server.etcd.pid),
        "controllers": process.cpu(plane.controllers.pid),
        "PostgreSQL": process.cpu_with_children(server.pid),
        "the Jobs' processes": own.children_user + own.children_system,
        "the node": own.user + own.system,
    }


async def _model(plane: ControlPlane, namespace: str) -> Json:
    """Bring one set to Applied; its user track's Job becomes one that does nothing."""
    await _sets(plane, namespace, [FIRST])
    query = {"labelSelector": f"{LABEL_SET}={FIRST},{LABEL_TRACK}=user"}
    [job] = (await plane.kube.get(Resource.JOBS, namespace, query=query))["items"]
    return nothing.job_that_does_nothing(job)


async def _sets(plane: ControlPlane, namespace: str, names: Sequence[str]) -> list[float]:
    """Make these sets; seconds until each was Applied."""
    at: dict[str, float] = {}

    def see(now: float, body: Json) -> bool:
        if body["metadata"]["name"] in names and ready(body):
            at.setdefault(body["metadata"]["name"], now)
        return len(at) == len(names)

    watching = asyncio.create_task(follow(plane, Resource.SETS, namespace, see, PATIENCE))
    begun = time.monotonic()
    await asyncio.gather(*(plane.make_set(namespace, name, tracks("files")) for name in names))
    await watching
    return sorted(moment - begun for moment in at.values())
