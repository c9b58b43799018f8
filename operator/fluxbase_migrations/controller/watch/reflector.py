"""Watches ConfigMaps, metadata only, and keeps nothing: what nobody has asked for is dropped unread."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from fluxbase_migrations.controller.client.kube import (
    METADATA,
    METADATA_LIST,
    Kube,
    KubeError,
    NamespacedName,
    number,
)
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapReader, version_of
from fluxbase_migrations.core.json_names import Json

logger = logging.getLogger(__name__)

SILENCE: Final = 75.0
"""Seconds without any line, bookmarks included (one a minute), after which the stream counts as dead."""
SERVER_TIMEOUT: Final = 280
"""Seconds after which the API server ends the stream; it resumes at the last resourceVersion."""
WATCH_EVERY: Final = 1.0
"""Seconds from one watch to the next of an API server, or something before it, that ends each at once."""
_FIRST_PAUSE: Final = 0.5
_MAX_PAUSE: Final = 10.0
"""Seconds: when we have our rights again, what was missed is not to wait for long."""


class Gone(Exception):
    """The resourceVersion is too old: what happened since is not known."""


class Reflector:
    """Tells ``sources`` of the ConfigMaps of one namespace, or all, and ``changed`` of each change."""

    def __init__(
        self,
        kube: Kube,
        namespace: str | None,
        sources: ConfigMapReader,
        *,
        changed: Callable[[NamespacedName], None],
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._sources = sources
        self._changed = changed
        self.settled = asyncio.Event()
        """Set when it watches, or is known not to be let."""
        self.failure: str | None = None
        """What the API server says, while it does not let us watch."""

    async def run(self) -> None:
        """Watch for ever."""
        pause = _FIRST_PAUSE
        version: str | None = None
        logged: str | None = None
        loop, began = asyncio.get_running_loop(), -WATCH_EVERY
        while True:
            try:
                if version is None:
                    version = await self._begin()
                    self.failure = None
                    self.settled.set()
                await asyncio.sleep(began + WATCH_EVERY - loop.time())
                began = loop.time()
                async for reached in self._events(version):
                    version, pause, logged = reached, _FIRST_PAUSE, None
            except Gone:
                version = None
                self._sources.lost(self._namespace)
            except KubeError as error:
                self._sources.lost(self._namespace)
                silent = error.status == 0 and "timeout" in str(error).lower()
                self.failure = None if silent else str(error)
                self.settled.set()
                level = logging.DEBUG if silent or str(error) == logged else logging.WARNING
                logger.log(level, "watching ConfigMaps: %s; retrying every %.0f s", error, _MAX_PAUSE)
                logged = str(error)
                version = None
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE)

    async def _begin(self) -> str:
        """The resourceVersion to watch from; what was asked for before is compared with how it is there.

        As long as nothing was, one object's metadata is all that it costs.
        """
        accept = f"{METADATA_LIST},application/json"
        before = self._sources.asked_for()
        versions: dict[NamespacedName, str] = {}
        if any(self._namespace in (None, namespace) for namespace, _ in before):
            async for found in self._kube.pages(Resource.CONFIG_MAPS, self._namespace, accept):
                versions |= _versions(found["items"], before)
        else:
            found = await self._kube.get(
                Resource.CONFIG_MAPS, self._namespace, query={"limit": 1}, accept=accept
            )
        reached = str(found["metadata"]["resourceVersion"])
        for key in self._sources.listed(self._namespace, before, versions, number(reached)):
            self._changed(key)
        return reached

    async def _events(self, version: str) -> AsyncIterator[str]:
        """Yield the resourceVersion after each event, until the stream ends."""
        query: dict[str, str | int] = {
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": SERVER_TIMEOUT,
        }
        accept = f"{METADATA},application/json"
        watched = Resource.CONFIG_MAPS, self._namespace
        async for line in self._kube.watch(*watched, query, accept=accept, silence=SILENCE):
            event = json.loads(line)
            found = event["object"]
            if event["type"] == "ERROR":
                if found.get("code") == 410:
                    raise Gone
                raise KubeError(found.get("code", 0), found.get("reason", ""), found.get("message", ""))
            metadata = found["metadata"]
            if event["type"] != "BOOKMARK":
                key, at = (metadata["namespace"], metadata["name"]), number(metadata["resourceVersion"])
                present = None if event["type"] == "DELETED" else version_of(found)
                if self._sources.note(key, at, present):
                    self._changed(key)
            yield metadata["resourceVersion"]


def _versions(items: Sequence[Json], wanted: frozenset[NamespacedName]) -> dict[NamespacedName, str]:
    """The version of each ConfigMap that somebody has asked for, and that is not being deleted."""
    found = {(one["metadata"]["namespace"], one["metadata"]["name"]): version_of(one) for one in items}
    return {key: version for key, version in found.items() if key in wanted and version is not None}


def reflectors(
    kube: Kube,
    namespaces: Sequence[str],
    sources: ConfigMapReader,
    *,
    changed: Callable[[NamespacedName], None],
) -> list[Reflector]:
    """One for each namespace, or one for all."""
    scopes: Sequence[str | None] = namespaces or (None,)
    return [Reflector(kube, scope, sources, changed=changed) for scope in scopes]
