"""A watch of one namespace, or of all, that starts again whenever it fails, and fills the store.

Each namespace has a watch of its own: when a namespace is deleted, with the rights in it, the others go on.
"""

import asyncio
import logging
import time
from collections.abc import Callable
from typing import Final

from fluxbase_migrations.controller.watch import handlers
from fluxbase_migrations.controller.watch.store import Listed, ObjectKind, Store, Stored

logger = logging.getLogger(__name__)

PAUSE: Final = 10.0
"""Seconds from a failure to the next try: short, so that missed changes follow soon."""


LISTED_WITHIN: Final = 60.0
"""Seconds for the list of one kind. kopf checks only at its start which resources exist."""


class Watch:
    """Fills the store, reports what has changed in it, and since when the watch has failed."""

    def __init__(
        self,
        namespace: str | None,
        store: Store,
        *,
        complete: Callable[[str | None], None],
        changed: Callable[[Stored, bool], None],
        failed: Callable[[], None],
    ) -> None:
        """``namespace`` is None for all.

        ``complete`` is called when all kinds have been listed, at the start and when rights are given back;
        ``changed`` only afterwards, with an object and whether it is gone; ``failed`` after each failure.
        """
        self.namespace = namespace
        self._store = store
        self._on_complete = complete
        self._on_change = changed
        self._on_failure = failed
        self._listed_kinds: set[ObjectKind] = set()
        self.is_complete = False
        """All kinds have been listed: what is not in the store did not exist at some time since then."""
        self.has_failed = False
        self.refusal: str | None = None
        """The API server's message while it refuses the watch: the store is not updated any more."""
        self._stale_since: float | None = None
        self._limit: asyncio.Timeout | None = None
        """The time limit of the watch until all kinds are listed."""

    async def run(self) -> None:
        """Watch until cancelled."""
        namespaces = () if self.namespace is None else (self.namespace,)
        failure_before, refused_before = None, False
        while True:
            self._listed_kinds.clear()
            self.mark_stale()
            refused = False
            try:
                async with asyncio.timeout(LISTED_WITHIN) as self._limit:
                    await handlers.watch(namespaces, listed=self._listed, changed=self._changed)
                failure = "it ended"
            except Exception as error:  # kopf raises every error of the API server
                failure = f"{type(error).__name__}: {getattr(error, 'message', None) or error}"
                refused = getattr(error, "status", None) == 403
                if refused and refused_before:  # an API server that has just started may refuse once
                    self.refusal = str(getattr(error, "message", None) or error)
                if self._limit and self._limit.expired():
                    missing = ", ".join(sorted(set(ObjectKind) - self._listed_kinds))
                    failure = f"no list of {missing} within {LISTED_WITHIN:.0f} s"
            finally:
                self._limit = None
            is_new = self._stale_since is None or failure != failure_before
            failure_before, refused_before = failure, refused
            self.mark_stale()
            self.has_failed = True
            level = logging.WARNING if is_new else logging.DEBUG
            logger.log(level, "watching %s failed: %s; retrying every %.0f s", self.where, failure, PAUSE)
            self._on_failure()
            await asyncio.sleep(PAUSE)

    @property
    def where(self) -> str:
        """What it watches, in words."""
        return f"the namespace {self.namespace}" if self.namespace else "all namespaces"

    def mark_synced(self) -> None:
        """Record that the watch delivers again."""
        self._stale_since = None

    def mark_stale(self) -> None:
        """Record that the watch has failed, and when, unless it had before."""
        if self._stale_since is None:
            self._stale_since = time.monotonic()

    def stale_for(self) -> float:
        """Seconds since the watch has failed; 0 while it delivers."""
        return 0.0 if self._stale_since is None else time.monotonic() - self._stale_since

    def _listed(self, kind: ObjectKind, listed: Listed) -> None:
        changed, gone = self._store.replace(kind, self.namespace, listed)
        self._listed_kinds.add(kind)
        all_listed = self._listed_kinds >= set(ObjectKind)
        if self._limit and self._limit.when() is not None:
            now = asyncio.get_running_loop().time()
            self._limit.reschedule(None if all_listed else now + LISTED_WITHIN)
        if all_listed:
            self.mark_synced()
            self.has_failed = False
            if self.refusal or not self.is_complete:
                self.is_complete, self.refusal = True, None
                self._on_complete(self.namespace)
                return
        if self.is_complete:
            for stored in changed:
                self._on_change(stored, False)
            for stored in gone:
                self._on_change(stored, True)

    def _changed(self, stored: Stored, gone: bool) -> None:
        if gone:
            self._store.remove(stored.kind, stored.uid, stored.version)
        has_changed = gone or self._store.put(stored)
        if has_changed and self.is_complete:
            self._on_change(stored, gone)
