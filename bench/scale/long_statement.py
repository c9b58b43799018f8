"""Measure a long statement, during which the leader is killed, and then the API server.

The statement takes as long as the caller says; the operators' timers are not changed. The requests to the API
server in each third of it say what an hour of it would cost.
"""

import asyncio
import contextlib
import time
from collections.abc import Mapping
from dataclasses import dataclass

import psycopg

from bench.scale import audit
from bench.scale.control_plane import ControlPlane, follow, ready
from bench.scale.kubelet import kubelet
from bench.scale.node import WatchingNode
from bench.scale.operator_process import OperatorProcess
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process.lease import DEFAULT_NAME
from fluxbase_migrations.core.json_names import Json
from tests.controller.cluster import until

SET = "shop"
DOWN = 2.0
"""Seconds for which the API server is away."""
SETTLES = 120.0
"""Seconds to wait for anything but the statement."""
NOTICE = 10.0
"""Seconds at most for the status to show that the next file runs."""
LONG, NEXT = "002_long.up.sql", "003_next.up.sql"
NEXT_FILE = "the next file runs"
WINDOWS = ("undisturbed", "the leader is killed", "the API server is restarted")


@dataclass(frozen=True)
class Long:
    """One run."""

    seconds: float
    """That the statement took, at least."""
    new_leader_seconds: float
    """From the leader's end until the other replica held the Lease."""
    asked: Mapping[str, Mapping[str, int]]
    """Requests of all replicas in each third of the statement."""
    window_seconds: Mapping[str, float]
    progress: Mapping[str, str]
    """The file that the status showed after each of them, and when the next one had run for a while."""
    executed: Mapping[str, int]
    """How often each file took effect, by its own row in the database."""
    recorded: Mapping[str, int]
    """The same, by the history."""
    runs: int
    restarts: int
    """Of replicas that had ended by themselves, as they do when they cannot renew the Lease."""
    machine: str = ""

    def a_minute(self, window: str, verb: str = "") -> float:
        """Requests a minute that are not about the Lease, of all verbs or one."""
        counts = {what: count for what, count in self.asked[window].items() if what.startswith(verb)}
        return audit.without_lease(counts) / self.window_seconds[window] * 60

    @property
    def once(self) -> bool:
        """Whether every file took effect exactly once, in one run."""
        counts = [*self.executed.values(), *self.recorded.values()]
        return self.runs == 1 and all(count == 1 for count in counts)


async def measure(plane: ControlPlane, seconds: float, *, kill: bool = True) -> Long:
    """Run a set whose second file takes so long; ``kill``: the leader gets SIGKILL, otherwise SIGTERM."""
    async with plane.namespace() as (namespace, node), plane.postgres() as server:
        url = await plane.database(server, namespace, SET)
        with psycopg.connect(url) as connection:
            connection.execute("CREATE TABLE executed (file text NOT NULL)")
        files = {"metadata": {"name": "files"}, "data": _files(seconds)}
        await plane.kube.create(Resource.CONFIG_MAPS, namespace, files)
        operators = [
            plane.operator(namespace, namespace, pod=f"replica-{number}", progress=True) for number in (1, 2)
        ]
        async with kubelet(plane.kube, node, plane.directory):
            run = _Run(plane, node, operators, seconds, url)
            try:
                return await run.measure(kill)
            finally:
                await run.leave()
                for operator in operators:
                    operator.program.end()


def _files(seconds: float) -> dict[str, str]:
    waits = {"001_first.up.sql": 0.0, LONG: seconds, NEXT: _notice(seconds) + 2, "004_last.up.sql": 0.0}
    return {
        name: f"INSERT INTO executed VALUES ('{name}');\nSELECT pg_sleep({wait});\n"
        for name, wait in waits.items()
    }


def _notice(seconds: float) -> float:
    return min(NOTICE, seconds / 3)


class _Run:
    """One run, step by step."""

    def __init__(
        self,
        plane: ControlPlane,
        node: WatchingNode,
        operators: list[OperatorProcess],
        seconds: float,
        url: str,
    ) -> None:
        self._plane = plane
        self._node = node
        self._namespace = node.namespace
        self._operators = operators
        self._seconds = seconds
        self._url = url
        self._windows: dict[str, tuple[float, float]] = {}
        self._progress: dict[str, str] = {}
        self._restarting: list[asyncio.Task[None]] = []

    async def measure(self, kill: bool) -> Long:
        first, second = self._operators
        first.program.start()
        await first.ready()
        second.program.start()
        self._restarting.append(asyncio.create_task(second.keep_running()))
        source = {"source": {"configMap": {"name": "files"}}}
        await self._plane.make_set(self._namespace, SET, {"system": {"enabled": False}, "user": source})
        await self._shows(LONG)
        begun = time.monotonic()
        await self._window(WINDOWS[0], begun + self._seconds / 3)
        self._progress[WINDOWS[0]] = await self._shown()
        killed = time.monotonic()
        (first.program.kill if kill else first.program.end)()
        await until("the other replica leads", lambda: self._led_by("replica-2"), SETTLES)
        took = time.monotonic() - killed
        first.program.start()
        self._restarting.append(asyncio.create_task(first.keep_running()))
        await self._window(WINDOWS[1], begun + self._seconds * 2 / 3)
        self._progress[WINDOWS[1]] = await self._shown()
        await self._restart()
        await self._window(WINDOWS[2], begun + self._seconds - 1)
        self._progress[WINDOWS[2]] = await self._shown()
        await until("the next file runs", self._runs_next, SETTLES)
        with contextlib.suppress(AssertionError):  # the report has the file that is shown instead
            await self._shows(NEXT, _notice(self._seconds))
        self._progress[NEXT_FILE] = await self._shown()
        body = await self._applied()
        await asyncio.sleep(2.0)  # the audit log is written a moment later
        log = self._plane.server.audit_log
        requests = {name: dict(audit.requests(log, *span)) for name, span in self._windows.items()}
        spans = {name: end - begin for name, (begin, end) in self._windows.items()}
        executed, recorded = await asyncio.to_thread(self._counts)
        runs = int(body["status"]["tracks"]["user"]["run"])
        spent = self._seconds, took, requests, spans
        return Long(*spent, self._progress, executed, recorded, runs, first.restarts + second.restarts)

    async def leave(self) -> None:
        """Stop restarting the replicas."""
        for task in self._restarting:
            task.cancel()
        await asyncio.gather(*self._restarting, return_exceptions=True)

    async def _window(self, name: str, until_then: float) -> None:
        """Wait until then; the requests in the meantime count for the window ``name``."""
        begin = time.time()
        await asyncio.sleep(max(1.0, until_then - time.monotonic()))
        self._windows[name] = begin, time.time()

    async def _restart(self) -> None:
        """Restart the API server, and the controllers, which would back off ever longer without it."""
        server = self._plane.server
        server.program.kill()
        self._plane.controllers.kill()
        await asyncio.sleep(DOWN)
        await asyncio.to_thread(server.start)
        self._plane.controllers.start()

    async def _led_by(self, pod: str) -> bool:
        lease = await self._plane.kube.get(Resource.LEASES, self._namespace, DEFAULT_NAME)
        return str(lease["spec"].get("holderIdentity") or "").startswith(pod)

    async def _track(self) -> Json:
        body = await self._plane.kube.get(Resource.SETS, self._namespace, SET)
        track: Json = ((body.get("status") or {}).get("tracks") or {}).get("user") or {}
        return track

    async def _shown(self) -> str:
        """The file whose progress the status shows."""
        return str(((await self._track()).get("progress") or {}).get("file", ""))

    async def _shows(self, file: str, seconds: float = SETTLES) -> None:
        async def is_shown() -> bool:
            return await self._shown() == file

        await until(f"the progress of {file} is shown", is_shown, seconds)

    async def _runs_next(self) -> bool:
        """By the pod's own log."""
        logs = [self._node.directory / container.uid / "log" for container in self._node.containers.values()]
        return any(f"file={NEXT}" in log.read_text() for log in logs if log.exists())

    async def _applied(self) -> Json:
        bodies: list[Json] = []

        def see(_: float, body: Json) -> bool:
            bodies.append(body)
            return ready(body)

        await follow(self._plane, Resource.SETS, self._namespace, see, self._seconds + SETTLES)
        return bodies[-1]

    def _counts(self) -> tuple[dict[str, int], dict[str, int]]:
        """How often each file took effect, and how often the history says so."""
        with psycopg.connect(self._url) as connection:
            executed = connection.execute("SELECT file, count(*) FROM executed GROUP BY file ORDER BY file")
            executions = {file: int(count) for file, count in executed}
            recorded = connection.execute(
                "SELECT version::text, count(*) FROM migrations.history"
                " WHERE kind = 'migration' AND outcome = 'applied' GROUP BY version ORDER BY version"
            )
            return executions, {version: int(count) for version, count in recorded}
