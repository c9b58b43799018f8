"""kopf's part: watching. Nothing is decided here: objects and lists go into the store.

kopf gets a thread and an event loop of its own: it takes over signals, and when it stops it cancels every
task of its loop that is younger than itself.

kopf calls a handler for each object, but does not report that a list is complete, or what is missing in it.
So whole lists are taken from its HTTP session, and kopf continues with the watch. That also saves it a task,
a call and memory for each of thousands of objects that have not changed.
"""

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

import aiohttp
import kopf

from fluxbase_migrations.controller.client.kube import CHUNK, number
from fluxbase_migrations.controller.watch.parsing import SELECTOR
from fluxbase_migrations.controller.watch.reflector import WATCH_EVERY
from fluxbase_migrations.controller.watch.store import Listed, ObjectKind, Stored
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import GROUP, PLURAL, VERSION

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 3.0
"""How long kopf may take to stop."""
_GRACE: Final = 0.5
"""Seconds that kopf's tasks have to end after each cancellation."""
_CANCELLATIONS: Final = 4
_RETRIES: Final = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Seconds between two tries of a request; the last is how late a watch may be after an outage."""

OnList = Callable[[ObjectKind, Listed], None]
OnEvent = Callable[[Stored, bool], None]
"""Is called with an object, and whether it is gone."""


async def watch(namespaces: Sequence[str], *, listed: OnList, changed: OnEvent) -> None:
    """Watch sets, and their Jobs and pods, until cancelled. Both functions are called in this event loop.

    ``listed`` is called with each kind when it was listed: at the start, and whenever a watch has a gap.
    """
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def report(function: Callable[..., None], *arguments: Any) -> None:
        """Call in our loop, which may be closed already while kopf stops."""
        if not stop.is_set():
            loop.call_soon_threadsafe(function, *arguments)

    ended: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(_unretrieved)
        # Reported from inside, when the first of kopf's tasks ends: asyncio.run() then waits for kopf's
        # thread that waits for ``stop``, and a watch whose session is closed for a login that never comes.
        try:
            tasks = await kopf.spawn_tasks(
                registry=_registry(partial(report, listed), partial(report, changed)),
                settings=_settings(),
                standalone=True,
                clusterwide=not namespaces,
                namespaces=namespaces,
                stop_flag=stop,
            )
            first, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        except BaseException as error:
            report(end, error)
            raise
        errors = (task.exception() for task in first if not task.cancelled())
        report(end, next((error for error in errors if error is not None), None))
        stopping = asyncio.create_task(kopf.run_tasks(tasks), name="stop kopf")
        await asyncio.wait({stopping}, timeout=_GRACE)
        await _cancel_others()

    def work() -> None:
        with contextlib.suppress(BaseException):  # it has been reported
            asyncio.run(run())

    # A daemon: a process that receives SIGTERM must not wait for kopf.
    thread = threading.Thread(target=work, name="kopf", daemon=True)
    thread.start()
    try:
        await ended
    finally:
        stop.set()
        await asyncio.to_thread(thread.join, STOP_SECONDS)


async def _cancel_others() -> None:
    """End the other tasks of this event loop.

    kopf cancels each of its tasks once and waits without limit. A watch whose session is closed at
    that moment may continue, and would keep its thread and its connections.
    """
    for _ in range(_CANCELLATIONS):
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks, timeout=_GRACE)


def _unretrieved(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Log an error that kopf does not raise: of several watches that fail, it raises only the first error."""
    logger.debug("kopf: %s", context.get("exception") or context["message"])


class Pace:
    """Spaces out kopf's watches: kopf starts the next at once when the API server ends one."""

    def __init__(self) -> None:
        self._free: dict[str, float] = {}
        """By path: the time from which it may be watched again."""

    def wait(self, path: str, now: float) -> float:
        """Seconds until ``path`` may be watched; each call reserves a time for one watch."""
        start = max(now, self._free.get(path, now))
        self._free[path] = start + WATCH_EVERY
        return start - now

    async def keep(
        self, _: aiohttp.ClientSession, __: object, request: aiohttp.TraceRequestStartParams
    ) -> None:
        """Called before a request is sent; a watch resumes where the last one ended, so nothing is missed."""
        if "watch" in request.url.query:
            await asyncio.sleep(self.wait(request.url.path, time.monotonic()))


class Lists:
    """Takes the lists of watched objects out of the API server's answers; a list may have several pages."""

    def __init__(self, listed: Callable[[ObjectKind, Listed], None]) -> None:
        self._listed = listed
        self._parts: dict[ObjectKind, list[Stored]] = {}

    def take(self, path: str, query: Mapping[str, str], answer: Json) -> Json:
        """The answer that kopf gets: where it is a list of watched objects, without the items."""
        plural = path.rpartition("/")[2]
        if plural not in tuple(ObjectKind) or "items" not in answer or "watch" in query:
            return answer
        kind, metadata = ObjectKind(plural), answer["metadata"]
        if "continue" not in query:
            self._parts[kind] = []
        self._parts[kind] += [Stored.of(kind, item) for item in answer["items"]]
        if not metadata.get("continue"):
            self._listed(kind, Listed(self._parts.pop(kind), number(metadata.get("resourceVersion"))))
        return {**answer, "items": []}

    def session(self, info: kopf.ConnectionInfo) -> kopf.AiohttpSession:
        """An HTTP session for kopf with these credentials, which passes its answers to :meth:`take`."""
        take, trace = self.take, aiohttp.TraceConfig()
        trace.on_request_start.append(Pace().keep)

        class Response(aiohttp.ClientResponse):
            async def json(self, **options: Any) -> Any:
                return take(self.url.path, self.url.query, await super().json(**options))

        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=info.as_ssl_context()),
            headers=info.as_http_headers(),
            proxy=info.proxy_url,
            trust_env=False,
            response_class=Response,
            trace_configs=[trace],
        )
        return kopf.AiohttpSession(
            server=info.server,
            default_namespace=info.default_namespace,
            priority=info.priority,
            expiration=info.expiration,
            aiohttp_session=session,
        )


def _registry(
    listed: Callable[[ObjectKind, Listed], None], changed: Callable[[Stored, bool], None]
) -> kopf.OperatorRegistry:
    """Handlers for sets, Jobs and pods, and the way to log in."""
    registry, lists = kopf.OperatorRegistry(), Lists(listed)

    @kopf.on.login(registry=registry)
    async def login(**kwargs: Any) -> kopf.AiohttpSession | None:
        """Log in as the pod's service account, or by the kubeconfig."""
        info = kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)
        return lists.session(info) if info else None

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=registry, param=ObjectKind.SET)
    @kopf.on.event("batch", "v1", "jobs", registry=registry, param=ObjectKind.JOB)
    @kopf.on.event("", "v1", "pods", registry=registry, param=ObjectKind.POD)
    async def on_event(event: Any, param: Any = None, **_: Any) -> None:
        changed(Stored.of(ObjectKind(param), event["object"]), event["type"] == "DELETED")

    return registry


def _settings() -> kopf.OperatorSettings:
    """Settings with which kopf only watches: it writes to no object, and creates no Events."""
    settings = kopf.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    settings.peering.standalone = True
    settings.networking.trust_env = False
    settings.networking.error_backoffs = _RETRIES
    settings.process.ultimate_exiting_timeout = None
    settings.queueing.idle_timeout = 1.0
    settings.watching.chunk_size = CHUNK
    settings.watching.label_selectors["batch", "v1", "jobs"] = SELECTOR
    settings.watching.label_selectors["", "v1", "pods"] = SELECTOR
    return settings
