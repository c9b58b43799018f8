"""The operator's client: where each request goes, what it carries, and how answers are read."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web
from kubernetes.aio import client

from fluxbase_migrations.controller.client import kube as kube_module
from fluxbase_migrations.controller.client.kube import METADATA, Kube, KubeError, get_if_allowed
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.core.json_names import Json
from tests.support.api_transport import Request, answered_by

Ask = Callable[[Kube, str], Awaitable[object]]

ASKS: dict[str, Ask] = {
    "get": lambda kube, name: kube.get(Resource.JOBS, "shop", name),
    "a list": lambda kube, name: kube.get(Resource.JOBS, name),
    "find": lambda kube, name: kube.find(Resource.SETS, "shop", name),
    "create": lambda kube, name: kube.create(Resource.JOBS, name, {}),
    "replace": lambda kube, name: kube.replace(Resource.SETS, "shop", name, {}, "status"),
    "patch": lambda kube, name: kube.patch(Resource.PODS, "shop", name, {}),
    "delete": lambda kube, name: kube.delete(Resource.JOBS, "shop", name, "uid", "Background"),
    "a log": lambda kube, name: _all(kube.log("shop", name, {}, silence=1.0)),
    "a watch": lambda kube, name: _all(kube.watch(Resource.SETS, name, {}, silence=1.0)),
    "pages": lambda kube, name: _all(kube.pages(Resource.CONFIG_MAPS, name)),
}


async def _all(arriving: AsyncIterator[Any], arrived: list[Any] | None = None) -> list[Any]:
    found = [] if arrived is None else arrived
    async for one in arriving:
        found.append(one)
    return found


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (path_of(Resource.SETS), "/apis/fluxbase.io/v1alpha1/fluxbasemigrationsets"),
        (path_of(Resource.SETS, "a"), "/apis/fluxbase.io/v1alpha1/namespaces/a/fluxbasemigrationsets"),
        (
            path_of(Resource.SETS, "a", "b.c", "status"),
            "/apis/fluxbase.io/v1alpha1/namespaces/a/fluxbasemigrationsets/b.c/status",
        ),
        (path_of(Resource.JOBS, "a", "b"), "/apis/batch/v1/namespaces/a/jobs/b"),
        (path_of(Resource.PODS, "a", "b", "log"), "/api/v1/namespaces/a/pods/b/log"),
        (path_of(Resource.CONFIG_MAPS, "a", "b"), "/api/v1/namespaces/a/configmaps/b"),
        (path_of(Resource.CLAIMS, "a", "b"), "/api/v1/namespaces/a/persistentvolumeclaims/b"),
        (path_of(Resource.EVENTS, "a"), "/api/v1/namespaces/a/events"),
        (path_of(Resource.NAMESPACES, None, "a"), "/api/v1/namespaces/a"),
        (path_of(Resource.LEASES, "a", "b"), "/apis/coordination.k8s.io/v1/namespaces/a/leases/b"),
    ],
    ids=str,
)
def test_each_resource_is_where_the_api_server_has_it(path: str, expected: str) -> None:
    assert path == expected


@pytest.mark.parametrize("ask", ASKS.values(), ids=ASKS)
@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a?limit=1", "a#b", "%2e%2e", "a b", "A", "ä", "a\n", "a" * 254]
)
async def test_a_name_of_somebody_else_leads_nowhere_else(ask: Ask, name: str) -> None:
    """An empty one would be the collection, and two dots the one above."""
    asked: list[str] = []

    async def answer(request: Request) -> Json:
        asked.append(request.path)
        return {}

    with pytest.raises(ValueError, match="is not the name of an object"):
        await ask(Kube(answered_by(answer)), name)
    assert asked == []


async def test_a_request_carries_what_it_says() -> None:
    requests: list[Request] = []

    async def answer(request: Request) -> Json:
        requests.append(request)
        return {"kind": "Job"}

    kube = Kube(answered_by(answer))
    await kube.get(Resource.JOBS, "a", query={"labelSelector": "x=y,z", "limit": 1})
    await kube.find(Resource.CONFIG_MAPS, "a", "b", accept=METADATA)
    await kube.patch(Resource.JOBS, "a", "b", {"spec": {"x": None}})
    await kube.delete(Resource.JOBS, "a", "b", "uid-1", "Foreground")
    listed, found, patched, deleted = requests
    assert (listed.method, dict(listed.query), listed.body) == (
        "GET",
        {"labelSelector": "x=y,z", "limit": "1"},
        None,
    )
    assert found.headers["Accept"] == METADATA
    assert (patched.method, patched.body) == ("PATCH", {"spec": {"x": None}})
    assert patched.headers["Content-Type"] == "application/merge-patch+json"
    assert (deleted.method, deleted.body) == (
        "DELETE",
        {"propagationPolicy": "Foreground", "preconditions": {"uid": "uid-1"}},
    )


@pytest.mark.parametrize(
    ("status", "uid", "outcome"),
    [
        (404, None, "none"),
        (409, None, "none"),
        (409, "another", "none"),
        (409, "uid-1", "raised"),
        (403, "uid-1", "raised"),
    ],
    ids=["gone", "gone meanwhile", "another of its name", "refused by a webhook", "forbidden"],
)
async def test_only_the_object_that_was_meant_is_deleted(status: int, uid: str | None, outcome: str) -> None:
    async def answer(request: Request) -> Json:
        if request.method == "DELETE":
            raise KubeError(status, "Refused", "not deleted")
        if uid is None:
            raise KubeError(404, "NotFound", "not found")
        return {"metadata": {"uid": uid}}

    deletion = Kube(answered_by(answer)).delete(Resource.JOBS, "a", "b", "uid-1", "Background")
    if outcome == "none":
        assert await deletion is None
        return
    with pytest.raises(KubeError) as raised:
        await deletion
    assert (raised.value.status, raised.value.message) == (status, "not deleted")


@pytest.mark.parametrize("status", [403, 404])
async def test_what_only_explains_may_be_missing(status: int) -> None:
    async def answer(request: Request) -> Json:
        raise KubeError(status, "Reason", "message")

    kube = Kube(answered_by(answer))
    assert await get_if_allowed(kube, Resource.EVENTS, "a") is None
    with pytest.raises(KubeError):
        await kube.get(Resource.EVENTS, "a")


async def test_a_collection_comes_in_pages_until_there_is_no_more() -> None:
    pages = {"": (["a", "b"], "next"), "next": (None, "")}

    async def answer(request: Request) -> Json:
        items, following = pages[request.query.get("continue", "")]
        return {"items": items, "metadata": {"continue": following}}

    found = await _all(Kube(answered_by(answer)).pages(Resource.CONFIG_MAPS, None))
    assert [page["items"] for page in found] == [["a", "b"], []]


@contextlib.asynccontextmanager
async def _connected(host: str) -> AsyncIterator[Kube]:
    configuration = client.Configuration()
    configuration.host = host
    configuration.client_session_kwargs = {"trust_env": False}
    kube = Kube(client.ApiClient(configuration))
    try:
        yield kube
    finally:
        await kube.close()


class Server:
    """An API server over HTTP: it answers as ``content`` says, and then is silent."""

    def __init__(self, status: int = 200, content: bytes = b"") -> None:
        self._answer = status, content
        self.left = asyncio.Event()
        """The other side has closed the connection."""

    async def _serve(self, request: web.Request) -> web.StreamResponse:
        status, content = self._answer
        if status >= 400:
            return web.Response(status=status, body=content)
        response = web.StreamResponse()
        await response.prepare(request)
        await response.write(content)
        try:
            await asyncio.Event().wait()
        finally:
            self.left.set()
        return response

    @contextlib.asynccontextmanager
    async def connected(self) -> AsyncIterator[Kube]:
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._serve)
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        async with _connected(f"http://{host}:{port}") as kube:
            yield kube
        await runner.cleanup()


async def test_a_silent_watch_ends_and_leaves_no_connection() -> None:
    server, lines = Server(content=b"{}\n"), list[bytes]()
    async with server.connected() as kube:
        watching = _all(kube.watch(Resource.SETS, "a", {}, silence=0.05), lines)
        with pytest.raises(KubeError, match=r"(?i)timeout") as raised:
            await watching
        await server.left.wait()
    assert lines == [b"{}\n"]
    assert raised.value.status == 0


async def test_a_log_that_is_not_followed_any_more_leaves_no_connection() -> None:
    server, arrived = Server(content=b"first\n"), asyncio.Event()

    async def follow(kube: Kube) -> None:
        async for _ in kube.log("a", "pod", {"follow": "true"}, silence=60.0):
            arrived.set()

    async with server.connected() as kube:
        following = asyncio.create_task(follow(kube))
        await arrived.wait()
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
        await server.left.wait()


async def test_an_answer_that_does_not_end_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kube_module, "TIMEOUT", 0.05)
    server = Server(content=b"{")
    async with server.connected() as kube:
        with pytest.raises(KubeError, match="GET /api/v1/namespaces/a/pods: ") as raised:
            await kube.get(Resource.PODS, "a")
        await server.left.wait()
    assert raised.value.status == 0


async def test_a_server_that_does_not_answer_is_told_with_the_request() -> None:
    async with _connected("http://127.0.0.1:1") as kube:
        with pytest.raises(KubeError, match="GET /api/v1/namespaces/a/pods: ") as raised:
            await kube.get(Resource.PODS, "a")
    assert (raised.value.status, raised.value.reason) == (0, "Unreachable")


@pytest.mark.parametrize(
    ("content", "reason", "message"),
    [
        (b'{"kind": "Status", "reason": "Expired", "message": "too old"}', "Expired", "too old"),
        (b"upstream connect error", "Gone", "upstream connect error"),
        (b"", "Gone", "Gone"),
        (b"[]", "Gone", "[]"),
    ],
    ids=["a Status", "a proxy's text", "nothing", "other JSON"],
)
async def test_a_refusal_is_read_whoever_it_comes_from(content: bytes, reason: str, message: str) -> None:
    async with Server(410, content).connected() as kube:
        for ask in (kube.get(Resource.PODS, "a"), _all(kube.watch(Resource.PODS, "a", {}, silence=1.0))):
            with pytest.raises(KubeError) as raised:
                await ask
            error = raised.value
            assert (error.status, error.reason, error.message) == (410, reason, message)
