"""Watches that fail, or that the API server ends, again and again."""

import asyncio
import json
import threading
from pathlib import Path
from typing import Final

import pytest
from aiohttp import web

from fluxbase_migrations.controller.watch import handlers
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import GROUP, KIND, PLURAL, VERSION

NAMESPACE = "apps"
RESOURCES: Final = {
    f"{GROUP}/{VERSION}": {PLURAL: KIND},
    "batch/v1": {"jobs": "Job"},
    "apiextensions.k8s.io/v1": {"customresourcedefinitions": "CustomResourceDefinition"},
    "v1": {"pods": "Pod", "namespaces": "Namespace", "events": "Event"},
}
CLUSTERWIDE: Final = ("namespaces", "customresourcedefinitions")


class Server:
    """As much of an API server as kopf needs, which refuses the lists of ``refused``."""

    def __init__(self, *refused: str) -> None:
        self._refused = refused
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
        kubeconfig.write_text(json.dumps(found))

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
        response = web.StreamResponse()
        await response.prepare(request)
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
