"""Watches ConfigMaps, metadata only, and keeps nothing: each event is looked up in the references."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

from fluxbase_migrations.controller import paths
from fluxbase_migrations.controller.kube import METADATA, METADATA_LIST, Kube, KubeError
from fluxbase_migrations.controller.sources import Key

logger = logging.getLogger(__name__)

SILENCE: Final = 75.0
"""Seconds without any line, bookmarks included (one a minute), after which the stream counts as dead."""
SERVER_TIMEOUT: Final = 280
"""Seconds after which the API server ends the stream; it goes on from where it was."""
_FIRST_PAUSE: Final = 0.5
_MAX_PAUSE: Final = 10.0
"""Seconds: when we have our rights again, what was missed is not to wait for long."""


class Gone(Exception):
    """The resourceVersion is too old: what happened since is not known."""


class Reflector:
    """Reports ConfigMaps of one namespace, or all: ``changed`` for each change, ``unsure`` after a gap."""

    def __init__(
        self,
        kube: Kube,
        namespace: str | None,
        *,
        changed: Callable[[Key], None],
        unsure: Callable[[], None],
    ) -> None:
        self._kube = kube
        self._namespace = namespace
        self._changed = changed
        self._unsure = unsure
        self.failure: str | None = None
        """What the API server says, while it does not let us watch."""

    async def run(self) -> None:
        """Watch for ever."""
        pause = _FIRST_PAUSE
        version: str | None = None
        told: str | None = None
        while True:
            try:
                if version is None:
                    version = await self._newest()
                    self.failure = None
                    self._unsure()
                async for reached in self._events(version):
                    version, pause, told = reached, _FIRST_PAUSE, None
            except Gone:
                version = None
            except KubeError as error:
                silent = error.status == 0 and "timeout" in str(error).lower()
                self.failure = None if silent else str(error)
                level = logging.DEBUG if silent or str(error) == told else logging.WARNING
                logger.log(level, "watching ConfigMaps: %s; retrying every %.0f s", error, _MAX_PAUSE)
                told = str(error)
                version = None
                await asyncio.sleep(pause)
                pause = min(pause * 2, _MAX_PAUSE)

    async def _newest(self) -> str:
        """The collection's resourceVersion, at the cost of one object's metadata."""
        found = await self._kube.get(
            paths.config_maps(self._namespace), {"limit": 1}, accept=f"{METADATA_LIST},application/json"
        )
        return str(found["metadata"]["resourceVersion"])

    async def _events(self, version: str) -> AsyncIterator[str]:
        """Yield the resourceVersion after each event, until the stream ends."""
        query: dict[str, str | int] = {
            "watch": "true",
            "resourceVersion": version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": SERVER_TIMEOUT,
        }
        path = paths.config_maps(self._namespace)
        async for line in self._kube.lines(path, query, f"{METADATA},application/json", SILENCE):
            event = json.loads(line)
            found = event["object"]
            if event["type"] == "ERROR":
                if found.get("code") == 410:
                    raise Gone
                raise KubeError(found.get("code", 0), found.get("reason", ""), found.get("message", ""))
            metadata = found["metadata"]
            if event["type"] != "BOOKMARK":
                self._changed((metadata["namespace"], metadata["name"]))
            yield metadata["resourceVersion"]


def reflectors(
    kube: Kube,
    namespaces: Sequence[str],
    *,
    changed: Callable[[Key], None],
    unsure: Callable[[], None],
) -> list[Reflector]:
    """One for each namespace, or one for all."""
    scopes: Sequence[str | None] = namespaces or (None,)
    return [Reflector(kube, scope, changed=changed, unsure=unsure) for scope in scopes]
