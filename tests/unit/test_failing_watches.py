"""Watches that fail, or that the API server ends, again and again."""

import asyncio
import contextlib
import json
import threading
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.watch import handlers
from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapReader
from fluxbase_migrations.controller.watch.reflector import Gone, Reflector
from fluxbase_migrations.controller.watch.store import ObjectKind
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import GROUP, KIND, PLURAL, VERSION
from tests.support.api_transport import Request, answered_by

NAMESPACE = "apps"
RESOURCES: Final = {
    f"{GROUP}/{VERSION}": {PLURAL: KIND},
    "batch/v1": {"jobs": "Job"},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
    "v1": {"pods": "Pod", "namespaces": "Namespace", "events": "Event"},
}
CLUSTERWIDE: Final = ("namespaces", "customresourcedefinitions")


class Server:
    """As much of an API server as kopf needs; it refuses the lists of ``refused``, and may end each watch."""

    def __init__(self, *refused: str, ends: bool = False) -> None:
        self._refused = refused
        self._ends = ends
        self.watched: Counter[str] = Counter()
        """How often each kind was watched."""
        self._closing = asyncio.Event()
        app = web.Application()
        app.router.add_get("/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)

    async def start(self, kubeconfig: Path) -> None:
        """Serve, and say where."""
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        found = {
            "current-context": "test",
            "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
            "clusters": [{"name": "test", "cluster": {"server": f"http://{host}:{port}"}}],
            "users": [{"name": "test", "user": {"token": "test"}}],
        }
        await asyncio.to_thread(kubeconfig.write_text, json.dumps(found))

    async def stop(self) -> None:
        self._closing.set()
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path = request.path
        if path == "/api":
            return web.json_response({"versions": ["v1"]})
        if path == "/apis":
            return web.json_response({"groups": [_group(one) for one in RESOURCES if "/" in one]})
        found = RESOURCES.get(path.split("/", 2)[2])
        if found is not None:
            return web.json_response({"resources": [_resource(*one) for one in found.items()]})
        if "watch" in request.query:
            return await self._watch(request)
        if path.rpartition("/")[2] in self._refused:
            return web.json_response({"code": 403, "message": "no", "reason": "Forbidden"}, status=403)
        return web.json_response({"metadata": {"resourceVersion": "5"}, "items": []})

    async def _watch(self, request: web.Request) -> web.StreamResponse:
        """A watch in which nothing happens."""
        self.watched[request.path.rpartition("/")[2]] += 1
        response = web.StreamResponse()
        await response.prepare(request)
        if not self._ends:
            await self._closing.wait()
        return response


def _group(name: str) -> Json:
    version = {"groupVersion": name, "version": name.partition("/")[2]}
    return {"name": name.partition("/")[0], "versions": [version], "preferredVersion": version}


def _resource(plural: str, kind: str) -> Json:
    verbs = ["get", "list", "watch", "patch"]
    scope = {"namespaced": plural not in CLUSTERWIDE}
    return {"name": plural, "kind": kind, "singularName": kind.lower(), "verbs": verbs, **scope}


async def status_of_failure() -> int | None:
    """What a watch of the namespace fails with."""
    try:
        await handlers.watch((NAMESPACE,), listed=lambda *_: None, changed=lambda *_: None)
    except Exception as error:
        return getattr(error, "status", None)
    return None


async def test_watches_that_fail_leave_no_thread_behind(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Of the three kinds, one is refused while the watches of the others go on."""
    monkeypatch.setattr(handlers, "_RETRIES", (0.3,))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    server = Server("jobs")
    await server.start(tmp_path / "kubeconfig")
    before = set(threading.enumerate())
    try:
        for _ in range(6):
            assert await status_of_failure() == 403
    finally:
        await server.stop()
    left = [one for one in set(threading.enumerate()) - before if one.name == "kopf"]
    for one in left:
        await asyncio.to_thread(one.join, handlers.STOP_SECONDS)
    assert not [one for one in left if one.is_alive()]


class Impatient(Kube):
    """An API server that ends each watch of ConfigMaps at once, as ``ends``."""

    def __init__(self, ends: Exception | None) -> None:
        super().__init__(answered_by(self._answer))
        self.asked: Counter[str] = Counter()
        self._ends = ends

    async def _answer(self, request: Request) -> Json | AsyncIterator[bytes]:
        if "watch" in request.query:
            self.asked["watch"] += 1
            return self._lines_of_a_watch()
        self.asked["list"] += 1
        return {"items": [], "metadata": {"resourceVersion": "5"}}

    async def _lines_of_a_watch(self) -> AsyncIterator[bytes]:
        if self._ends:
            raise self._ends
        bookmark = {"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "6"}}}
        yield json.dumps(bookmark).encode()


@pytest.mark.parametrize(
    "ends", [None, Gone(), KubeError(0, "Broken", "broken")], ids=["ended", "too old", "broken"]
)
async def test_a_watch_of_config_maps_that_ends_at_once_does_not_begin_at_once(
    ends: Exception | None,
) -> None:
    kube = Impatient(ends)
    reflector = Reflector(kube, NAMESPACE, ConfigMapReader(kube), changed=lambda key: None)
    running = asyncio.create_task(reflector.run())
    for _ in range(500):
        await asyncio.sleep(0)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    assert kube.asked["watch"] == 1
    assert kube.asked["list"] <= 2


def test_each_watch_is_asked_for_once_a_second_at_most() -> None:
    pace = handlers.Pace()
    assert pace.wait("/jobs", now=10.0) == 0.0
    assert pace.wait("/pods", now=10.0) == 0.0, "another watch"
    assert pace.wait("/jobs", now=10.25) == 0.75
    assert pace.wait("/jobs", now=11.0) == 1.0, "after the one that waits"
    assert pace.wait("/jobs", now=60.0) == 0.0


async def test_kopf_does_not_watch_again_at_once_what_the_api_server_has_ended(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    asked: Counter[str] = Counter()
    each_twice = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Counted(handlers.Pace):
        def wait(self, path: str, now: float) -> float:
            asked[path] += 1
            if len(asked) == len(ObjectKind) and min(asked.values()) > 1:
                loop.call_soon_threadsafe(each_twice.set)
            return super().wait(path, now)

    monkeypatch.setattr(handlers, "Pace", Counted)
    monkeypatch.setattr(handlers, "WATCH_EVERY", 3600.0)
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    server = Server(ends=True)
    await server.start(tmp_path / "kubeconfig")
    watching = asyncio.create_task(status_of_failure())
    try:
        async with asyncio.timeout(60):
            await each_twice.wait()
        assert server.watched == dict.fromkeys(ObjectKind, 1)
    finally:
        watching.cancel()
        await asyncio.wait({watching})
        await server.stop()
