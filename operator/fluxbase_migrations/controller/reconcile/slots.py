"""How many Jobs may run at once, over all sets and in each namespace, and which are next.

A slot is held while a container runs, or is about to. A Job that cannot start holds none; when it starts, it
takes one again, even above the limit.
"""

from collections.abc import Callable, Collection, Hashable, Mapping
from dataclasses import dataclass, field, replace
from typing import Final, Generic, TypeVar

from fluxbase_migrations.decisions.observed import Queue

Holder = TypeVar("Holder", bound=Hashable)

_NAMED: Final = 3
"""How many namespaces a message names at most."""


@dataclass(slots=True)
class _Line(Generic[Holder]):
    """One namespace: how many slots it holds, and its queue, in the order of the requests."""

    held: int = 0
    served: int = 0
    """The turn at which it last took a slot."""
    begun: dict[Holder, None] = field(default_factory=dict)
    """Queued, of sets that have begun."""
    fresh: dict[Holder, None] = field(default_factory=dict)
    """Queued, of sets that have not."""

    def of(self, *, begun: bool) -> dict[Holder, None]:
        """The queue of holders that have begun, or of those that have not."""
        return self.begun if begun else self.fresh


class Slots(Generic[Holder]):
    """``wake`` is called with each queued holder that can take a slot which has become free.

    Sets that have begun come first, so that a set's tracks run one after the other and not all user tracks at
    the end. Then comes the namespace that holds the fewest slots, and of several the one that was served
    longest ago; within a namespace, holders are served in the order of their requests. So no namespace can
    starve the others.
    """

    def __init__(
        self,
        limit: int,
        wake: Callable[[Holder], None],
        namespace: Callable[[Holder], str],
        namespace_limit: int = 0,
    ) -> None:
        """``namespace_limit`` applies to each namespace; 0: no limit."""
        self._limit = limit
        self._wake = wake
        self._namespace = namespace
        self._namespace_limit = namespace_limit
        self._held: set[Holder] = set()
        self._waiting: dict[Holder, bool] = {}
        """All queued holders, and whether each has begun."""
        self._lines: dict[str, _Line[Holder]] = {}
        """By namespace, as long as it has a holder of a slot or a queued one."""
        self._turn = 0

    @property
    def held(self) -> int:
        """How many slots are held."""
        return len(self._held)

    def holds(self, holder: Holder) -> bool:
        """Whether ``holder`` has a slot."""
        return holder in self._held

    def waits(self, holder: Holder) -> bool:
        """Whether ``holder`` is queued."""
        return holder in self._waiting

    def hold(self, holder: Holder) -> None:
        """Take a slot, whatever the limits: the container runs, or is about to."""
        if holder in self._held:
            return
        line = self._line(holder)
        self._leave(holder)
        self._held.add(holder)
        self._turn += 1
        line.held += 1
        line.served = self._turn
        self._lines[self._namespace(holder)] = line

    def queue_of(self, holder: Holder, *, begun: bool = False, idle: Collection[Holder] = ()) -> Queue | None:
        """What ``holder`` would have to wait for if it requested a slot now; None: it may take one.

        ``begun`` says whether its set has begun already; ``idle`` are other holders of its namespace whose
        slots will be released. The queue itself is not changed.
        """
        if holder in self._held:
            return None
        namespace, before = self._namespace(holder), (self._held, self._lines, self._waiting)
        line = self._lines.get(namespace, _Line())
        released = self._held & set(idle)
        line = replace(line, held=line.held - len(released), begun=dict(line.begun), fresh=dict(line.fresh))
        self._held, self._lines = self._held - released, {**self._lines, namespace: line}
        self._waiting = dict(self._waiting)
        try:
            self.wait(holder, begun=begun)
            return None if holder in self._next() else self.queue(holder)
        finally:
            self._held, self._lines, self._waiting = before

    def wait(self, holder: Holder, *, begun: bool = False) -> None:
        """Queue for a slot; before all that have not, if its set has ``begun``, now or at an earlier call."""
        begun = begun or self._waiting.get(holder, False)
        if holder in self._held or self._waiting.get(holder) is begun:
            return
        self._leave(holder)
        self._waiting[holder] = begun
        self._line(holder).of(begun=begun)[holder] = None

    def leave(self, holder: Holder) -> None:
        """Leave the queue; a slot that is held stays held."""
        if holder not in self._held:
            self.release(holder)

    def release(self, holder: Holder, *, wake: bool = True) -> None:
        """Give the slot back, or leave the queue.

        Without ``wake``, call :meth:`wake_next` afterwards.
        """
        if holder not in self._held and holder not in self._waiting:
            return
        if holder in self._held:
            self._held.discard(holder)
            self._line(holder).held -= 1
        self._leave(holder)
        if wake:
            self.wake_next()

    def wake_next(self) -> None:
        """Wake the queued holders for which a slot is free."""
        for holder in self._next():
            self._wake(holder)

    def queue(self, holder: Holder) -> Queue:
        """Why ``holder``, which is queued, waits: how many are ahead of it, and who holds the slots."""
        own = self._namespace(holder)
        full = self._free() > 0 and self._is_full(self._lines[own].held)
        holders = sorted(
            ((name, line.held) for name, line in self._lines.items() if line.held),
            key=lambda count: (-count[1], count[0]),
        )
        if full:
            holders = [(own, self._lines[own].held)]
        return Queue(
            setting="maxConcurrentJobsPerNamespace" if full else "maxConcurrentJobs",
            limit=self._namespace_limit if full else self._limit,
            ahead=self._ahead(holder, {own: self._lines[own]} if full else self._lines),
            holders=tuple(holders[:_NAMED]),
            others=max(len(holders) - _NAMED, 0),
        )

    def _ahead(self, holder: Holder, lines: Mapping[str, _Line[Holder]]) -> int:
        """How many of ``lines`` are served before ``holder``, if no slot is released before.

        A namespace's level is how many slots it holds by the time it takes the next one. At the same level,
        those that hold as many now are served first, then the others, in the order of the level below.
        """
        begun = self._waiting[holder]
        own = self._line(holder)
        level = self._level(own, begun=begun)
        place = list(own.of(begun=begun)).index(holder)
        ahead = place if begun else place + sum(len(line.begun) for line in lines.values())
        own_comes = False
        for line in lines.values():
            if line is own:
                own_comes = True  # namespaces that never had a slot are served in the order of their requests
                continue
            line_level = self._level(line, begun=begun)
            order = (-line_level, *self._age(line, begun=begun), own_comes)
            first = order < (-level, *self._age(own, begun=begun), True)
            ahead += min(max(level + place - line_level + first, 0), len(line.of(begun=begun)))
        return ahead

    def _level(self, line: _Line[Holder], *, begun: bool) -> int:
        """How many slots it holds when the first that has ``begun``, or the first that has not, is served."""
        return line.held if begun else line.held + len(line.begun)

    def _age(self, line: _Line[Holder], *, begun: bool) -> tuple[bool, int, int]:
        """Sorts lines of the same level by when they were, or will have been, served last."""
        return not begun and bool(line.begun), -line.held, line.served

    def _free(self) -> int:
        return max(self._limit - len(self._held), 0)

    def _is_full(self, held: int) -> bool:
        return 0 < self._namespace_limit <= held

    def _line(self, holder: Holder) -> _Line[Holder]:
        return self._lines.setdefault(self._namespace(holder), _Line())

    def _leave(self, holder: Holder) -> None:
        """Leave the queue. A namespace without any holder, of a slot or queued, loses its turn."""
        begun = self._waiting.pop(holder, None)
        line = self._line(holder)
        if begun is not None:
            del line.of(begun=begun)[holder]
        if not (line.held or line.begun or line.fresh):
            del self._lines[self._namespace(holder)]

    def _next(self) -> list[Holder]:
        """The queued holders that get the slots which are free now."""
        chosen = list[Holder]()
        turn = self._turn
        state = {name: (line.held, line.served) for name, line in self._lines.items()}
        for begun in (True, False):
            lines = {name: iter(line.of(begun=begun)) for name, line in self._lines.items()}
            while lines and len(chosen) < self._free():
                best = min(lines, key=lambda name: state[name])
                holder = next(lines[best], None)
                if holder is None or self._is_full(state[best][0]):
                    del lines[best]
                    continue
                chosen.append(holder)
                turn += 1
                state[best] = state[best][0] + 1, turn
        return chosen
