"""Measure a PostgreSQL server with fewer connections than there are slots: sets must wait, not fail."""

import time
from dataclasses import dataclass, field

from bench.scale.control_plane import SLOTS, ControlPlane, follow, ready
from bench.scale.stage import set_name
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Phase
from fluxbase_migrations.core.result import Outcome

PATIENCE = 1200.0
"""Seconds for all of them."""
RESERVED = 3
"""Connections that are kept for superusers."""


@dataclass(frozen=True)
class Full:
    """One run."""

    sets: int
    slots: int
    connections: int
    """That are left for the sets."""
    hold_seconds: float
    """For which each set's file keeps its connection."""
    seconds: float
    """From the first set's creation until all were Applied."""
    waits: int
    """How often a set was seen to begin to wait for the server."""
    waiting_sets: int
    """How many did."""
    failed: int
    """How many were ever seen to have failed."""
    refused: int
    """Connections that the server refused because it was full, by its log."""
    machine: str = ""

    def __str__(self) -> str:
        return (
            f"{self.sets} sets, {self.slots} slots and a server with {self.connections} connections left,"
            f" each kept for {self.hold_seconds:g} s: all Applied after {self.seconds:.1f} s,"
            f" {self.failed} failed;"
            f" {self.waiting_sets} sets waited {self.waits} times (Unreachable),"
            f" and the server refused {self.refused} connections"
        )


@dataclass
class _ObservedSets:
    """The sets by what the watch has shown of them."""

    sets: int
    applied: set[str] = field(default_factory=set)
    failed: set[str] = field(default_factory=set)
    waiting: set[str] = field(default_factory=set)
    """Names of those that wait now."""
    waits: list[str] = field(default_factory=list)

    def see(self, _: float, body: Json) -> bool:
        name = body["metadata"]["name"]
        track = ((body.get("status") or {}).get("tracks") or {}).get("user") or {}
        waits = track.get("phase") == Phase.PENDING and track.get("reason") == Outcome.UNREACHABLE
        if waits and name not in self.waiting:
            self.waits.append(name)
        (self.waiting.add if waits else self.waiting.discard)(name)
        if track.get("phase") == Phase.FAILED:
            self.failed.add(name)
        if ready(body):
            self.applied.add(name)
        return len(self.applied) == self.sets


async def measure(plane: ControlPlane, sets: int, connections: int, hold: float) -> Full:
    """Create sets with only a user track, all of them on one such server."""
    observed = _ObservedSets(sets)
    files = {"001_hold.up.sql": f"CREATE TABLE held (id bigint);\nSELECT pg_sleep({hold});"}
    settings = {
        "max_connections": str(connections + RESERVED),
        "superuser_reserved_connections": str(RESERVED),
        # They would count as connections, too.
        "max_wal_senders": "0",
    }
    async with plane.namespace() as (namespace, _), plane.postgres(settings) as server:
        await plane.kube.create(
            Resource.CONFIG_MAPS, namespace, {"metadata": {"name": "files"}, "data": files}
        )
        names = [set_name(number) for number in range(sets)]
        for name in names:
            await plane.database(server, namespace, name)
        source = {"source": {"configMap": {"name": "files"}}}
        async with plane.operator(namespace, namespace).running() as operator:
            await operator.ready()
            begun = time.monotonic()
            for name in names:
                await plane.make_set(namespace, name, {"system": {"enabled": False}, "user": source})
            await follow(plane, Resource.SETS, namespace, observed.see, PATIENCE)
            seconds = time.monotonic() - begun
        refused = server.log.read_text(errors="replace").count("FATAL:  ")
    return Full(
        sets,
        SLOTS,
        connections,
        hold,
        seconds,
        len(observed.waits),
        len(set(observed.waits)),
        len(observed.failed),
        refused,
    )
