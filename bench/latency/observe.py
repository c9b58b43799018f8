"""Events of a namespace and of its containers; all times are seconds of the same clock.

Objects' own timestamps have a resolution of a second, so an event counts from its arrival here. What the
runtime and the history record has a finer one, on the same machine; it is put on the same clock.
"""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from kubernetes.aio import client, config

from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json

LIMIT = 120.0
"""Seconds after which waiting for an event is given up."""
_WALL_MINUS_MONOTONIC = time.time() - time.monotonic()


def on_our_clock(moment: datetime) -> float:
    """A moment of this machine's wall clock."""
    return moment.timestamp() - _WALL_MINUS_MONOTONIC


@dataclass(frozen=True, slots=True)
class Event:
    """An object as a watch showed it."""

    at: float
    kind: str
    deleted: bool
    body: Json

    @property
    def name(self) -> str:
        return str(self.body["metadata"]["name"])

    @property
    def labels(self) -> dict[str, str]:
        return self.body["metadata"].get("labels") or {}


WATCHED: Final = {
    "set": Resource.SETS,
    "job": Resource.JOBS,
    "pod": Resource.PODS,
    "configmap": Resource.CONFIG_MAPS,
}


class Watches:
    """Everything that watches of a namespace's sets, Jobs, pods and ConfigMaps have shown."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._arrived = asyncio.Event()
        self.events: list[Event] = []

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["Watches"]:
        """Watch for as long as the block lasts."""
        versions = {kind: await self._version(kind) for kind in WATCHED}
        tasks = [asyncio.create_task(self._watch(kind, versions[kind])) for kind in WATCHED]
        try:
            yield self
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _version(self, kind: str) -> str:
        newest = await self._kube.get(WATCHED[kind], self._namespace, query={"limit": 1})
        return str(newest["metadata"]["resourceVersion"])

    async def _watch(self, kind: str, version: str) -> None:
        query = {"resourceVersion": version}
        async for line in self._kube.watch(WATCHED[kind], self._namespace, query, silence=LIMIT):
            event = json.loads(line)
            self.events.append(Event(time.monotonic(), kind, event["type"] == "DELETED", event["object"]))
            self._arrived.set()

    async def until(self, what: str, kind: str, matches: Callable[[Event], bool], since: float) -> Event:
        """The first event of a kind, after ``since``, that ``matches``; waits for it.

        Raises:
            RuntimeError: it did not come in time.
        """
        deadline, checked = time.monotonic() + LIMIT, 0
        while True:
            self._arrived.clear()
            for event in self.events[checked:]:
                if event.kind == kind and event.at >= since and matches(event):
                    return event
            checked = len(self.events)
            if time.monotonic() > deadline:
                raise RuntimeError(f"waited {LIMIT:.0f} s for {what}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._arrived.wait(), 1.0)

    def forget(self) -> None:
        """Drop the events so far."""
        self.events.clear()

    def first(self, kind: str, matches: Callable[[Event], bool], since: float) -> float | None:
        """When the first such event arrived; None: none has."""
        return next(
            (
                event.at
                for event in self.events
                if event.kind == kind and event.at >= since and matches(event)
            ),
            None,
        )


@contextlib.asynccontextmanager
async def connected(kubeconfig: Path) -> AsyncIterator[Kube]:
    """The API server that a kubeconfig names."""
    configuration = client.Configuration()
    await config.load_kube_config(config_file=str(kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    kube = Kube(client.ApiClient(configuration))
    try:
        yield kube
    finally:
        await kube.close()


@dataclass(slots=True)
class Lifetime:
    """Of a container's process."""

    started: float
    ended: float | None = None


class Runtime:
    """When the node's containers started and ended, by containerd's own events."""

    def __init__(self) -> None:
        self.lifetimes: dict[str, Lifetime] = {}

    @contextlib.asynccontextmanager
    async def followed(self, ctr: Sequence[str]) -> AsyncIterator["Runtime"]:
        """Follow for as long as the block lasts; ``ctr`` is the command that talks to containerd."""
        process = await asyncio.create_subprocess_exec(
            *ctr, "events", stdout=asyncio.subprocess.PIPE, limit=2**20
        )
        task = asyncio.create_task(self._read(process))
        try:
            yield self
        finally:
            process.terminate()
            await process.wait()
            await task

    async def _read(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        async for line in process.stdout:
            day, clock, _, _, _, topic, body = line.decode().split(" ", 6)
            if topic not in ("/tasks/start", "/tasks/exit"):
                continue
            event = json.loads(body)
            container = event["container_id"]
            # Nanoseconds, which datetime does not know.
            at = on_our_clock(datetime.fromisoformat(f"{day}T{clock[:15]}+00:00"))
            if topic == "/tasks/start":
                self.lifetimes[container] = Lifetime(at)
            elif event.get("id") == container and container in self.lifetimes:
                self.lifetimes[container].ended = at
