"""How many Jobs may be unfinished at once, over all sets, in the order in which they asked."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

Holder = TypeVar("Holder", bound=Hashable)


class Slots(Generic[Holder]):
    """``wake`` is called with each holder that should ask again because a slot is free."""

    def __init__(self, limit: int, wake: Callable[[Holder], None]) -> None:
        self._limit = limit
        self._wake = wake
        self._held: set[Holder] = set()
        self._waiting: dict[Holder, None] = {}
        """In the order of asking."""

    @property
    def held(self) -> int:
        """How many are taken."""
        return len(self._held)

    def hold(self, holder: Holder) -> None:
        """Its Job exists already; it counts, whatever the limit."""
        self._waiting.pop(holder, None)
        self._held.add(holder)

    def reserve(self, holder: Holder) -> bool:
        """Take a slot if one is free for this holder; release it if it turns out not to be needed."""
        if holder in self._held:
            return True
        free = self._limit - len(self._held)
        ahead = list(self._waiting).index(holder) if holder in self._waiting else len(self._waiting)
        if ahead >= free:
            return False
        self.hold(holder)
        return True

    def wait(self, holder: Holder) -> None:
        """Stand in line."""
        if holder not in self._held:
            self._waiting.setdefault(holder)

    def release(self, holder: Holder) -> None:
        """Its Job has ended, or there was none, and it does not wait for one."""
        if holder not in self._held and holder not in self._waiting:
            return
        self._held.discard(holder)
        self._waiting.pop(holder, None)
        for following in list(self._waiting)[: max(self._limit - len(self._held), 0)]:
            self._wake(following)
