"""A queue of keys: each is queued at most once, and none is worked on twice at the same time."""

import asyncio
import contextlib
import heapq
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

Key = TypeVar("Key", bound=Hashable)

FIRST_BACKOFF: Final = 0.5
"""Seconds until a key whose work failed is tried again; doubled each time."""
MAX_BACKOFF: Final = 300.0


class WorkQueue(Generic[Key]):
    """De-duplicating, serial per key, with delays and backoff. For one event loop.

    ``clock`` returns monotonic seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due: dict[Key, float] = {}
        """When each queued key is due; entries of the heap that differ are outdated."""
        self._heap: list[tuple[float, int, Key]] = []
        self._order = 0
        self._active: dict[Key, float] = {}
        """Keys being worked on, since when."""
        self._failures: dict[Key, int] = {}
        self._changed = asyncio.Event()

    def __len__(self) -> int:
        """How many keys are due, or are being worked on."""
        now = self._clock()
        return len(self._active) + sum(due <= now for due in self._due.values())

    def add(self, key: Key, delay: float = 0.0) -> None:
        """Queue ``key`` for in ``delay`` seconds; if it is due earlier already, that stays."""
        due = self._clock() + delay
        if self._due.get(key, due + 1.0) <= due:
            return
        self._due[key] = due
        self._order += 1
        heapq.heappush(self._heap, (due, self._order, key))
        self._changed.set()

    async def get(self) -> Key:
        """The next key that is due; call :meth:`done` or :meth:`failed` with it afterwards."""
        while True:
            self._changed.clear()
            wait = None
            while self._heap:
                due, _, key = self._heap[0]
                if self._due.get(key) != due:
                    heapq.heappop(self._heap)
                    continue
                if due > self._clock():
                    wait = due - self._clock()
                    break
                heapq.heappop(self._heap)
                if key in self._active:
                    continue  # stays in _due: done() puts it back
                del self._due[key]
                self._active[key] = self._clock()
                return key
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(wait):  # wait_for swallows a cancellation before Python 3.12
                    await self._changed.wait()

    def done(self, key: Key) -> None:
        """Mark the work on ``key`` as done. If the key was added again since, it is queued."""
        self._failures.pop(key, None)
        self._release(key)

    def failed(self, key: Key, longest: float = MAX_BACKOFF) -> float:
        """The work on ``key`` failed: queue it again with backoff, of ``longest`` seconds at most.

        Returns the backoff in seconds.
        """
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        delay = min(FIRST_BACKOFF * 2.0 ** min(count, 30), longest)
        self._release(key)
        self.add(key, delay)
        return delay

    def failures(self, key: Key) -> int:
        """How often in a row the work on ``key`` has failed."""
        return self._failures.get(key, 0)

    def _release(self, key: Key) -> None:
        self._active.pop(key, None)
        due = self._due.get(key)
        if due is not None:
            self._order += 1
            heapq.heappush(self._heap, (due, self._order, key))
        self._changed.set()

    def stuck_for(self) -> float:
        """Seconds that the oldest key has been due or worked on."""
        now = self._clock()
        oldest = min([*self._active.values(), *self._due.values()], default=now)
        return max(now - oldest, 0.0)
