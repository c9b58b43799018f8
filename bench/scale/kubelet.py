"""The part of a kubelet that gives the logs of a node's pods, which the API server asks for."""

import asyncio
import contextlib
import ssl
import subprocess
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from bench.scale.node import WatchingNode
from fluxbase_migrations.controller.client.kube import Kube
from tests.chaos.node import NAME, Container
from tests.controller.api_server import free_port

EVERY = 0.2
"""Seconds between two reads of a log."""


class _Log:
    """A container's log, each line with the time at which it was first seen."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._read = 0
        self.lines: list[bytes] = []

    def read(self) -> None:
        """Add the lines that have been written since the last call."""
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as log:
            log.seek(self._read)
            text = log.read()
            whole = text[: text.rfind(b"\n") + 1]
            self._read += len(whole)
            stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ").encode()
            self.lines += [stamp + b" " + line for line in whole.splitlines(keepends=True)]


class Kubelet:
    """Answers the API server's requests for logs."""

    def __init__(self, node: WatchingNode, directory: Path) -> None:
        self._node = node
        self._directory = directory
        self._logs: dict[str, _Log] = {}

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """``/containerLogs/NAMESPACE/POD/CONTAINER``, with ``timestamps`` and to the end where it says so."""
        containers = [
            container
            for container in self._node.containers.values()
            if container.pod == request.match_info["pod"]
        ]
        if not containers:
            raise web.HTTPNotFound
        [container] = containers
        response = web.StreamResponse(headers={"Content-Type": "text/plain"})
        await response.prepare(request)
        with contextlib.suppress(ConnectionError):  # the API server may be killed
            await self._send(container, response, request.query)
        return response

    async def _send(
        self, container: Container, response: web.StreamResponse, query: Mapping[str, str]
    ) -> None:
        log = self._logs.setdefault(container.uid, _Log(self._directory / container.uid / "log"))
        log.read()
        sent = max(0, len(log.lines) - int(query.get("tailLines", "1000000")))
        while True:
            over = container.exited is not None or query.get("follow") != "true"
            log.read()
            for line in log.lines[sent:]:
                await response.write(line if query.get("timestamps") == "true" else line.partition(b" ")[2])
            sent = len(log.lines)
            if over:
                return
            await asyncio.sleep(EVERY)


@contextlib.asynccontextmanager
async def kubelet(kube: Kube, node: WatchingNode, directory: Path) -> AsyncIterator[None]:
    """Serve the logs of a node's pods, and make the Node whose address the API server looks up."""
    key, certificate = directory / "kubelet.key", directory / "kubelet.crt"
    options = ["-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", f"/CN={NAME}"]
    argv = ["openssl", "req", "-x509", *options, "-keyout", str(key), "-out", str(certificate)]
    await asyncio.to_thread(subprocess.run, argv, check=True, capture_output=True)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    app = web.Application()
    app.add_routes(
        [web.get("/containerLogs/{namespace}/{pod}/{container}", Kubelet(node, node.directory).answer)]
    )
    runner = web.AppRunner(app, shutdown_timeout=1.0)
    await runner.setup()
    port = free_port()
    await web.TCPSite(runner, "127.0.0.1", port, ssl_context=context).start()
    node_object = await kube.create("/api/v1/nodes", None, {"metadata": {"name": NAME}})
    status = {
        "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}],
        "daemonEndpoints": {"kubeletEndpoint": {"Port": port}},
    }
    await kube.patch("/api/v1/nodes", None, NAME, {"status": status}, "status")
    try:
        yield
    finally:
        await kube.delete("/api/v1/nodes", None, NAME, node_object["metadata"]["uid"], "Background")
        await runner.cleanup()
