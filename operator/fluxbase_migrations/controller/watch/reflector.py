"""Watches ConfigMaps, metadata only, and keeps nothing: those that no set refers to are dropped unread."""

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
"""Seconds without any line, bookmarks included (one a minute), after which the stream counts as broken."""
SERVER_TIMEOUT: Final = 280
"""Seconds after which the API server ends the stream; it resumes at the last resourceVersion."""
WATCH_EVERY: Final = 1.0
"""Seconds between the starts of two watches: an API server or a proxy may end each at once."""
_FIRST_PAUSE: Final = 0.5
_MAX_PAUSE: Final = 10.0
"""Seconds: short, so that missed changes follow soon when rights are given back."""


class Gone(Exception):
    """The API server does not have the changes since this resourceVersion any more (410)."""


class Reflector:
    """Reports the ConfigMaps of one namespace, or all, to ``sources``, and each change to ``changed``."""

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
        """Set when the watch has started, or has failed."""
        self.failure: str | None = None
        """The API server's message while the watch fails."""

    async def run(self) -> None:
        """Watch until cancelled."""
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
        """List the ConfigMaps, report those that have changed, and return the resourceVersion to watch from.

        As long as no set refers to any of them, only one object's metadata is requested.
        """
        accept = f"{METADATA_LIST},application/json"
        before = self._sources.referenced()
        versions: dict[NamespacedName, str] = {}
        if any(self._namespace in (None, namespace) for namespace, _ in before):
            async for page in self._kube.pages(Resource.CONFIG_MAPS, self._namespace, accept):
                versions |= _versions(page["items"], before)
        else:
            page = await self._kube.get(
                Resource.CONFIG_MAPS, self._namespace, query={"limit": 1}, accept=accept
            )
        reached = str(page["metadata"]["resourceVersion"])
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
            body = event["object"]
            if event["type"] == "ERROR":
                if body.get("code") == 410:
                    raise Gone
                raise KubeError(body.get("code", 0), body.get("reason", ""), body.get("message", ""))
            metadata = body["metadata"]
            if event["type"] != "BOOKMARK":
                key, at = (metadata["namespace"], metadata["name"]), number(metadata["resourceVersion"])
                present = None if event["type"] == "DELETED" else version_of(body)
                if self._sources.note(key, at, present):
                    self._changed(key)
            yield metadata["resourceVersion"]


def _versions(items: Sequence[Json], referenced: frozenset[NamespacedName]) -> dict[NamespacedName, str]:
    """The version of each ConfigMap that a set refers to, and that is not being deleted."""
    versions = {(body["metadata"]["namespace"], body["metadata"]["name"]): version_of(body) for body in items}
    return {key: version for key, version in versions.items() if key in referenced and version is not None}


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
