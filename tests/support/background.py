"""Cases worked off in the background, several at a time, while each test waits for its own.

A test per case names what failed; a process per case is mostly waiting, so one at a time would take long.
"""

from collections.abc import Callable, Hashable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import SimpleQueue
from types import TracebackType
from typing import Generic, Self, TypeVar

Key = TypeVar("Key", bound=Hashable)
Place = TypeVar("Place")
Outcome = TypeVar("Outcome")


class Background(Generic[Key, Place, Outcome]):
    """Each job is done once, at a place of its own while it lasts (a database, a server)."""

    def __init__(self, places: Sequence[Place], jobs: Mapping[Key, Callable[[Place], Outcome]]) -> None:
        self._free: SimpleQueue[Place] = SimpleQueue()
        for place in places:
            self._free.put(place)
        self._pool = ThreadPoolExecutor(max(1, len(places)))
        self._running: dict[Key, Future[Outcome]] = {
            key: self._pool.submit(self._do, job) for key, job in jobs.items()
        }

    def of(self, key: Key) -> Outcome:
        """What that job returned; its exception, if it raised one."""
        return self._running[key].result()

    def _do(self, job: Callable[[Place], Outcome]) -> Outcome:
        place = self._free.get()
        try:
            return job(place)
        finally:
            self._free.put(place)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Start no further job, and wait for those under way."""
        self._pool.shutdown(cancel_futures=True)
