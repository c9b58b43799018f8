"""A watch of one namespace, or of all, that begins anew whenever it fails.

Each namespace has its own: one that was deleted, with our rights in it, must not blind us to the others.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from fluxbase_migrations.controller import handlers
from fluxbase_migrations.controller.handlers import SetEvent
from fluxbase_migrations.controller.sources import Key

logger = logging.getLogger(__name__)

PAUSE: Final = 10.0
"""Seconds from a failure to the next try: when all is well again, what was missed is not to wait for long."""
LASTS_AFTER: Final = 60.0
"""Seconds after which a watch counts as one that works, even where there is no set to be seen."""


class Watch:
    """Tells which set to look at, and since when it could not."""

    def __init__(
        self,
        namespace: str | None,
        *,
        set_changed: Callable[[SetEvent], None],
        belonging_changed: Callable[[Key], None],
        failed: Callable[[str | None], None],
    ) -> None:
        """``namespace`` is None for all; ``failed`` gets it when something may have been missed."""
        self._namespace = namespace
        self._set_changed = set_changed
        self._belonging_changed = belonging_changed
        self._failed = failed
        self._blind_since: float | None = None

    async def run(self) -> None:
        """Watch until cancelled."""
        namespaces = () if self._namespace is None else (self._namespace,)
        before = None
        while True:
            lasts = asyncio.get_running_loop().call_later(LASTS_AFTER, self.sees)
            try:
                await handlers.watch(
                    namespaces, set_changed=self._see, belonging_changed=self._belonging_changed
                )
                told = "it ended"
            except Exception as error:  # kopf lets every error of the API server's through
                told = f"{type(error).__name__}: {getattr(error, 'message', None) or error}"
            finally:
                lasts.cancel()
            news = self._blind_since is None or told != before
            before = told
            self.sees_nothing()
            level = logging.WARNING if news else logging.DEBUG
            logger.log(level, "watching %s failed: %s; retrying every %.0f s", self.where, told, PAUSE)
            self._failed(self._namespace)
            await asyncio.sleep(PAUSE)

    @property
    def where(self) -> str:
        """What it watches, in words."""
        return f"the namespace {self._namespace}" if self._namespace else "all namespaces"

    def sees(self) -> None:
        """It works."""
        self._blind_since = None

    def sees_nothing(self) -> None:
        """It does not; since when is remembered."""
        if self._blind_since is None:
            self._blind_since = time.monotonic()

    def blind_for(self) -> float:
        """Seconds since it failed; 0 if it works."""
        return 0.0 if self._blind_since is None else time.monotonic() - self._blind_since

    def _see(self, event: SetEvent) -> None:
        self.sees()
        self._set_changed(event)
