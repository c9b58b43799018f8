"""The operator as a process: its memory, its health, its leader election, its end."""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process.lease import DEFAULT_NAME
from fluxbase_migrations.core.names import GROUP, PLURAL, Track
from tests.controller.api_server import ApiServer, free_port
from tests.controller.cluster import RBAC, Cluster, until
from tests.controller.conftest import fresh_namespace, install

UNRELATED = int(os.environ.get("UNRELATED_CONFIG_MAPS", "500"))
CONTENT = "x" * 100 * 1024
LIMIT_KIB = 20 * 1024


@contextlib.asynccontextmanager
async def process(
    server: ApiServer, cluster: Cluster, **environment: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, int]]:
    """A running operator and its port; killed at the end if it still runs."""
    port = free_port()
    given = {
        "PATH": os.environ["PATH"],
        "KUBECONFIG": str(server.kubeconfig(admin=False)),
        "WATCH_NAMESPACES": cluster.namespace,
        "POD_NAMESPACE": cluster.namespace,
        "MIGRATION_IMAGE": "example.com/fluxbase-migrations:test",
        "HTTP_PORT": str(port),
        **environment,
    }
    running = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "fluxbase_migrations.controller", env=given
    )
    try:
        yield running, port
    finally:
        if running.returncode is None:
            running.kill()
        await running.wait()


async def fetched(port: int, path: str) -> tuple[int, str] | None:
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}{path}") as answer,
        ):
            return answer.status, await answer.text()
    except aiohttp.ClientError:
        return None


async def healthy(port: int) -> None:
    async def there() -> bool:
        return await fetched(port, "/healthz") == (200, "ok")

    await until("the operator is healthy", there, 40)


def resident_kib(running: asyncio.subprocess.Process) -> int:
    for line in Path(f"/proc/{running.pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError("no VmRSS")


async def _steady_kib(running: asyncio.subprocess.Process) -> int | None:
    """Its memory once that is the same a second later: nothing is being loaded or read any more."""
    before = resident_kib(running)
    await asyncio.sleep(1)
    return before if resident_kib(running) == before else None


async def test_unrelated_config_maps_cost_no_memory(server: ApiServer, cluster: Cluster) -> None:
    await cluster.make_set(tracks={"user": {"source": {"configMap": {"name": "files"}}}})
    async with process(server, cluster) as (first, port):
        await healthy(port)
        await cluster.reaches("user", "Pending", "SourceMissing")
        before = await until("its memory is as it stays", lambda: _steady_kib(first))
        room = asyncio.Semaphore(10)

        async def make(number: int) -> None:
            async with room:
                await cluster.config_map(f"unrelated-{number}", {"data": CONTENT})

        await asyncio.gather(*(make(number) for number in range(UNRELATED)))
        # It has kept up: a ConfigMap that counts is noticed.
        await cluster.config_map("files", {})
        await cluster.reaches("user", "Pending", "SourceEmpty", seconds=2)
        grown = resident_kib(first) - before
        assert grown < LIMIT_KIB, f"{grown} KiB more after {UNRELATED} ConfigMaps of 100 KiB"
    async with process(server, cluster) as (second, port):
        await healthy(port)
        await cluster.edit_config_map("files", {"001_a.up.sql": "select 1"})
        await cluster.reaches("user", "Pending", "WaitingForSystem")
        grown = resident_kib(second) - before
        assert grown < LIMIT_KIB, f"{grown} KiB more when started among {UNRELATED} ConfigMaps of 100 KiB"


async def test_it_stops_on_a_signal_and_tells_what_it_did(server: ApiServer, cluster: Cluster) -> None:
    await cluster.make_set()
    async with process(server, cluster) as (running, port):
        await cluster.next_job("system", 1)
        await healthy(port)
        answer = await fetched(port, "/metrics")
        assert answer is not None
        assert 'fluxbase_migrations_jobs_created_total{track="system"} 1.0' in answer[1]
        labels = f'name="shop",namespace="{cluster.namespace}",track="{Track.USER}"'
        assert f"fluxbase_migrations_version{{{labels}}} NaN" in answer[1]
        running.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(running.wait(), 10) == 0


async def test_a_missing_setting_is_told(server: ApiServer, cluster: Cluster) -> None:
    async with process(server, cluster, MIGRATION_IMAGE="") as (running, _):
        assert await asyncio.wait_for(running.wait(), 20) == 2


async def test_an_operator_that_is_refused_at_its_start_asks_again(
    server: ApiServer, cluster: Cluster
) -> None:
    """As for a moment by an API server that has just started itself."""
    where = f"{RBAC}/rolebindings", cluster.namespace
    binding = await cluster.kube.get(*where, "operator")
    await cluster.kube.delete(*where, "operator", binding["metadata"]["uid"], "Background")
    await cluster.make_set()
    async with process(server, cluster) as (running, port):
        await healthy(port)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(running.wait(), 2)
        await cluster.kube.create(*where, {**binding, "metadata": {"name": "operator"}})
        await cluster.next_job("system", 1)


async def test_a_watch_that_fails_begins_anew(server: ApiServer, kube: Kube) -> None:
    """Here because there is nothing to watch any more, for a while."""
    cluster = Cluster(kube, await fresh_namespace(kube))
    where = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", None, f"{PLURAL}.{GROUP}"

    async def gone() -> bool:
        return await kube.find(*where) is None

    async with process(server, cluster) as (running, port):
        await healthy(port)
        await cluster.make_set("first")
        await cluster.next_job("system", 1)
        found = await kube.get(*where)
        await kube.delete(*where, found["metadata"]["uid"], "Background")
        await until("the resource is gone", gone, 40)
        await install(server)
        await cluster.make_set("second")

        async def seen() -> object:
            return (await cluster.status("second")).get("phase")

        await until("the set is seen", seen, 100)
        assert running.returncode is None


async def test_of_two_replicas_one_leads_and_the_other_follows(server: ApiServer, cluster: Cluster) -> None:
    async def holder() -> str:
        found = await cluster.kube.find(Resource.LEASES, cluster.namespace, DEFAULT_NAME)
        name: str = found["spec"]["holderIdentity"] if found else ""
        return name

    async with process(server, cluster, POD_NAME="first") as (first, _):
        await until("the first leads", lambda: _is(holder, "first"), 40)
        async with process(server, cluster, POD_NAME="second") as (_, port):
            await healthy(port)
            assert await holder() == "first"
            first.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(first.wait(), 10) == 0
            await until("the second leads", lambda: _is(holder, "second"), 10)
            await cluster.make_set()
            await cluster.next_job("system", 1)


async def _is(holder: object, name: str) -> bool:
    return await holder() == name  # type: ignore[operator, no-any-return]
