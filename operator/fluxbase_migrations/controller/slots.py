"""How many Jobs may work at once, over all sets and for each namespace, and who is next.

A slot is for work: it is held while a container runs, or is about to. A Job that cannot start holds none,
and is counted again when it starts, whatever the limit then.
"""

from collections import Counter
from collections.abc import Callable, Hashable
from typing import Final, Generic, TypeVar

from fluxbase_migrations.core.observed import Queue

Holder = TypeVar("Holder", bound=Hashable)

_NAMED: Final = 3
"""Namespaces that a message names at most."""


class Slots(Generic[Holder]):
    """``wake`` is called with each holder that should ask again because a slot is free.

    Next is who waits in the namespace that holds the fewest slots, and of several such the one that was
    served longest ago; in a namespace, who has begun, and then who asked first. So a namespace with a
    thousand sets keeps no other out.
    """

    def __init__(
        self,
        limit: int,
        wake: Callable[[Holder], None],
        namespace: Callable[[Holder], str],
        namespace_limit: int = 0,
    ) -> None:
        """``namespace_limit`` is that of each namespace; 0: none."""
        self._limit = limit
        self._wake = wake
        self._namespace = namespace
        self._namespace_limit = namespace_limit
        self._held: set[Holder] = set()
        self._waiting: dict[Holder, bool] = {}
        """In the order of asking; whether it has begun."""
        self._served: dict[str, int] = {}
        """When each namespace that is held or waited for last took a slot, in turns."""
        self._turn = 0

    @property
    def held(self) -> int:
        """How many are taken."""
        return len(self._held)

    def holds(self, holder: Holder) -> bool:
        """Whether it has a slot."""
        return holder in self._held

    def waits(self, holder: Holder) -> bool:
        """Whether it stands in line."""
        return holder in self._waiting

    def hold(self, holder: Holder) -> None:
        """Its container runs, or is about to; it counts, whatever the limits."""
        self._waiting.pop(holder, None)
        if holder not in self._held:
            self._held.add(holder)
            self._turn += 1
            self._served[self._namespace(holder)] = self._turn

    def reserve(self, holder: Holder) -> bool:
        """Take a slot if one is free for this holder; release it if it turns out not to be needed."""
        if holder in self._held:
            return True
        if holder not in self._next(also=holder):
            return False
        self.hold(holder)
        return True

    def wait(self, holder: Holder, *, begun: bool = False) -> None:
        """Stand in line; ahead in its namespace's line if what it belongs to has ``begun`` already."""
        if holder not in self._held:
            self._waiting.setdefault(holder, begun)

    def leave(self, holder: Holder) -> None:
        """Stand in line no longer; a slot that is held stays held."""
        if holder not in self._held:
            self.release(holder)

    def release(self, holder: Holder) -> None:
        """Its container has ended or cannot start, or there is no Job; and it does not wait for one."""
        if holder not in self._held and holder not in self._waiting:
            return
        self._held.discard(holder)
        self._waiting.pop(holder, None)
        self._forget(self._namespace(holder))
        for following in self._next():
            self._wake(following)

    def queue(self, holder: Holder) -> Queue:
        """Why ``holder`` waits: how many are ahead of it, and who has the slots."""
        own, counts, lines = self._namespace(holder), self._counts(), self._lines(also=holder)
        place = lines[own].index(holder)
        full = self._free() > 0 and self._is_full(own, counts)
        level = counts[own] + place
        """How many its namespace holds when it is served."""
        ahead = place
        for other, line in lines.items():
            if other != own and not full:
                before = level - counts[other] + (self._served.get(other, 0) < self._served.get(own, 0))
                ahead += min(max(before, 0), len(line))
        holders = sorted(counts.items(), key=lambda one: (-one[1], one[0]))
        if full:
            holders = [(own, counts[own])]
        return Queue(
            setting="maxConcurrentJobsPerNamespace" if full else "maxConcurrentJobs",
            limit=self._namespace_limit if full else self._limit,
            ahead=ahead,
            holders=tuple(holders[:_NAMED]),
            others=max(len(holders) - _NAMED, 0),
        )

    def _free(self) -> int:
        return max(self._limit - len(self._held), 0)

    def _counts(self) -> Counter[str]:
        """How many slots each namespace holds."""
        return Counter(map(self._namespace, self._held))

    def _is_full(self, namespace: str, counts: Counter[str]) -> bool:
        return 0 < self._namespace_limit <= counts[namespace]

    def _lines(self, also: Holder | None = None) -> dict[str, list[Holder]]:
        """Who waits in each namespace, in order; ``also`` at the end unless it does already."""
        lines: dict[str, list[Holder]] = {}
        waiting = self._waiting if also is None or also in self._waiting else {**self._waiting, also: False}
        for holder in sorted(waiting, key=lambda one: not waiting[one]):
            lines.setdefault(self._namespace(holder), []).append(holder)
        return lines

    def _next(self, also: Holder | None = None) -> list[Holder]:
        """Who gets the slots that are free now; ``also`` is asking."""
        free, chosen = self._free(), list[Holder]()
        if free == 0:
            return chosen
        lines, counts, served, turn = self._lines(also), self._counts(), dict(self._served), self._turn
        while len(chosen) < free:
            lines = {one: line for one, line in lines.items() if line and not self._is_full(one, counts)}
            if not lines:
                break
            best = min(lines, key=lambda one: (counts[one], served.get(one, 0)))
            chosen.append(lines[best].pop(0))
            counts[best] += 1
            turn += 1
            served[best] = turn
        return chosen

    def _forget(self, namespace: str) -> None:
        """Keep no turn of a namespace in which nobody holds or waits."""
        if not any(self._namespace(one) == namespace for one in (*self._held, *self._waiting)):
            self._served.pop(namespace, None)
