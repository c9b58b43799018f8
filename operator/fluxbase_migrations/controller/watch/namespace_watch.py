"""A watch of one namespace, or of all, that starts again whenever it fails, and fills the store.

Each namespace has a watch of its own: when one is deleted, with the rights in it, the others go on.
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
"""Seconds for the list of one kind. kopf looks for a resource only when it starts."""


class Watch:
    """Fills the store, tells what has changed in it, and since when it could not."""

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

        ``complete`` is called when all kinds have been listed, at the beginning and when we have got rights
        back; ``changed`` only afterwards, with an object and whether it is gone.
        """
        self.namespace = namespace
        self._store = store
        self._on_complete = complete
        self._on_change = changed
        self._on_failure = failed
        self._listed_kinds: set[ObjectKind] = set()
        self.is_complete = False
        """The store has had everything that there was: what is not in it did not exist at some time since."""
        self.has_failed = False
        self.refusal: str | None = None
        """What the API server says, while it does not let us watch: the store grows old, for however long."""
        self._stale_since: float | None = None
        self._limit: asyncio.Timeout | None = None
        """Of a watch, until it has listed everything."""

    async def run(self) -> None:
        """Watch until cancelled."""
        namespaces = () if self.namespace is None else (self.namespace,)
        before, refused_before = None, False
        while True:
            self._listed_kinds.clear()
            self.mark_stale()
            refused = False
            try:
                async with asyncio.timeout(LISTED_WITHIN) as self._limit:
                    await handlers.watch(namespaces, listed=self._listed, changed=self._changed)
                failure = "it ended"
            except Exception as error:  # kopf lets every error of the API server's through
                failure = f"{type(error).__name__}: {getattr(error, 'message', None) or error}"
                refused = getattr(error, "status", None) == 403
                if refused and refused_before:  # once, one that has just started may say so
                    self.refusal = str(getattr(error, "message", None) or error)
                if self._limit and self._limit.expired():
                    missing = ", ".join(sorted(set(ObjectKind) - self._listed_kinds))
                    failure = f"no list of {missing} within {LISTED_WITHIN:.0f} s"
            finally:
                self._limit = None
            news = self._stale_since is None or failure != before
            before, refused_before = failure, refused
            self.mark_stale()
            self.has_failed = True
            level = logging.WARNING if news else logging.DEBUG
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
            for one in changed:
                self._on_change(one, False)
            for one in gone:
                self._on_change(one, True)

    def _changed(self, one: Stored, gone: bool) -> None:
        if gone:
            self._store.remove(one.kind, one.uid, one.version)
        news = gone or self._store.put(one)
        if news and self.is_complete:
            self._on_change(one, gone)
