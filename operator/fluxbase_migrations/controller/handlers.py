"""kopf's part: watching. A handler only says which set to look at.

kopf gets a thread and an event loop of its own: it takes over signals, and when it stops it cancels every
task of its loop that is younger than itself.
"""

import asyncio
import contextlib
import logging
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import kopf

from fluxbase_migrations.controller.jobs import SELECTOR
from fluxbase_migrations.controller.seen import set_of
from fluxbase_migrations.controller.sources import Key
from fluxbase_migrations.core.names import GROUP, PLURAL, VERSION

logger = logging.getLogger(__name__)

STOP_SECONDS: Final = 3.0
"""How long kopf may take to stop."""
_RETRIES: Final = (0.5, 1.0, 2.0, 3.0, 5.0)
"""Seconds between two tries of a request; the last is how late a watch may be after an outage."""


@dataclass(frozen=True, slots=True)
class SetEvent:
    """A set was made, changed or deleted."""

    key: Key
    uid: str
    resource_version: str
    deleted: bool
    listed: bool
    """It is what was there when the watch began."""


async def watch(
    namespaces: Sequence[str],
    *,
    set_changed: Callable[[SetEvent], None],
    belonging_changed: Callable[[Key], None],
) -> None:
    """Watch sets, and their Jobs and pods, until cancelled. Both functions are called in this event loop.

    ``belonging_changed`` gets the key of the set that the Job or pod belongs to.
    """
    loop, stop = asyncio.get_running_loop(), threading.Event()

    def report(function: Callable[[Any], None], *arguments: Any) -> None:
        """Call in our loop, which may be closed already while kopf stops."""
        if not stop.is_set():
            loop.call_soon_threadsafe(function, *arguments)

    operator = kopf.operator(
        registry=_registry(partial(report, set_changed), partial(report, belonging_changed)),
        settings=_settings(),
        standalone=True,
        clusterwide=not namespaces,
        namespaces=namespaces,
        stop_flag=stop,
    )
    ended: asyncio.Future[None] = loop.create_future()

    def end(error: BaseException | None) -> None:
        if not ended.done():
            ended.set_exception(error) if error else ended.set_result(None)

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(_unretrieved)
        # Reported from inside: asyncio.run() then waits for kopf's thread that waits for ``stop``.
        try:
            await operator
        except BaseException as error:
            report(end, error)
            raise
        report(end, None)

    def work() -> None:
        with contextlib.suppress(BaseException):  # it has been reported
            asyncio.run(run())

    # A daemon: a process that is told to stop must not wait for kopf.
    thread = threading.Thread(target=work, name="kopf", daemon=True)
    thread.start()
    try:
        await ended
    finally:
        stop.set()
        await asyncio.to_thread(thread.join, STOP_SECONDS)


def _unretrieved(_: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Of several watches that fail, kopf raises the first one's error and forgets the others'."""
    logger.debug("kopf: %s", context.get("exception") or context["message"])


def _registry(
    set_changed: Callable[[SetEvent], object], belonging_changed: Callable[[Key], object]
) -> kopf.OperatorRegistry:
    """Handlers for sets, Jobs and pods, and the way to log in."""
    found = kopf.OperatorRegistry()

    @kopf.on.login(registry=found)
    async def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        """As the pod's service account, or by the kubeconfig."""
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=found)
    async def on_set(event: Any, **_: Any) -> None:
        metadata = event["object"]["metadata"]
        set_changed(
            SetEvent(
                key=(metadata["namespace"], metadata["name"]),
                uid=metadata["uid"],
                resource_version=metadata["resourceVersion"],
                deleted=event["type"] == "DELETED",
                listed=event["type"] is None,
            )
        )

    @kopf.on.event("batch", "v1", "jobs", registry=found)
    @kopf.on.event("", "v1", "pods", registry=found)
    async def on_belonging(event: Any, **_: Any) -> None:
        metadata = event["object"]["metadata"]
        name = set_of(event["object"])
        if name:
            belonging_changed((metadata["namespace"], name))

    return found


def _settings() -> kopf.OperatorSettings:
    """Make kopf a watcher: it writes nothing, on nobody's objects."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.peering.standalone = True
    found.networking.trust_env = False
    found.networking.error_backoffs = _RETRIES
    found.process.ultimate_exiting_timeout = None
    found.queueing.idle_timeout = 1.0
    found.watching.label_selectors["batch", "v1", "jobs"] = SELECTOR
    found.watching.label_selectors["", "v1", "pods"] = SELECTOR
    return found
