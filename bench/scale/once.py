"""Measure many sets at once: each with a database of its own, all made within moments.

Pods are processes, which the chaos tests' node starts; everything else is real.
"""

import asyncio
import json
import os
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import mean

from bench.scale.stage import FILES, set_name, tracks
from fluxbase_migrations.controller.client import paths
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, KIND
from tests.chaos.database import Database
from tests.chaos.world import World, world

PATIENCE = 900.0
"""Seconds for all of them."""
_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class AtOnce:
    """One batch; times are seconds from the first set's creation to each set's Applied, in order."""

    applied: Sequence[float]
    operator_cpu: float

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

    def __str__(self) -> str:
        return (
            f"{len(self.applied)} sets at once: first Applied after {self.first:.1f} s, all after"
            f" {self.whole:.1f} s, mean {self.mean_share:.2f} of that;"
            f" operator {self.operator_cpu / len(self.applied):.3f} s of CPU for each"
        )


async def measure(directory: Path, count: int) -> AtOnce:
    """Make ``count`` sets, and wait until all are Applied."""
    async with world(directory, random.Random(1)) as here:
        databases = [await asyncio.to_thread(Database.create, here.postgres) for _ in range(count)]
        for number, database in enumerate(databases):
            secret = {"metadata": {"name": set_name(number)}, "stringData": {"url": database.url}}
            await here.kube.create(f"/api/v1/namespaces/{here.namespace}/secrets", secret)
        files = {"metadata": {"name": "files"}, "data": FILES}
        await here.kube.create(paths.config_maps(here.namespace), files)
        cpu, begun = _cpu(here), time.monotonic()
        await asyncio.gather(*(_make(here, set_name(number)) for number in range(count)))
        applied = await asyncio.wait_for(_applied(here, count, begun), PATIENCE)
        return AtOnce(applied, _cpu(here) - cpu)


async def _make(here: World, name: str) -> None:
    secret = {"secretKeyRef": {"name": name, "key": "url"}}
    spec = {"database": {"urlFrom": secret}, "tracks": tracks("files")}
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": name}, "spec": spec}
    await here.kube.create(paths.sets(here.namespace), body)


async def _applied(here: World, count: int, begun: float) -> list[float]:
    at: dict[str, float] = {}
    query = {"watch": "true", "resourceVersion": "0"}
    while len(at) < count:
        here.check()
        async for line in here.kube.lines(paths.sets(here.namespace), query, None, silence=PATIENCE):
            body: Json = json.loads(line)["object"]
            conditions = (body.get("status") or {}).get("conditions") or ()
            if any((one["type"], one["status"]) == ("Ready", "True") for one in conditions):
                at.setdefault(body["metadata"]["name"], time.monotonic() - begun)
            if len(at) == count:
                break
        await asyncio.sleep(0.1)  # the API server ends a watch now and then
    return sorted(at.values())


def _cpu(here: World) -> float:
    """Seconds of CPU that the operator has used."""
    assert here.operator._process is not None
    fields = Path(f"/proc/{here.operator._process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
