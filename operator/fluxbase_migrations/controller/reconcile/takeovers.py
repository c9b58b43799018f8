"""Sets that have lost a track to another one: only a run of theirs can tell them, so it must be started."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from fluxbase_migrations.api.status import TrackStatus
from fluxbase_migrations.controller.client.kube import NamespacedName
from fluxbase_migrations.core.names import Track


@dataclass(frozen=True, slots=True)
class Loss:
    """What a status says of a track that was taken over."""

    former: NamespacedName
    """The former owner."""
    uid: str
    """Its uid then."""
    at: datetime


class Takeovers:
    """What the statuses of the takers say. Nothing is kept of a taker that is gone, or says it no more."""

    def __init__(self) -> None:
        self._by_taker: dict[tuple[NamespacedName, Track], Loss] = {}
        self._takers: dict[NamespacedName, set[tuple[NamespacedName, Track]]] = defaultdict(set)
        """By former owner."""

    def note(self, taker: NamespacedName, track: Track, record: TrackStatus) -> NamespacedName | None:
        """Remember what a taker's status says; returns the former owner where that is news."""
        loss = _loss(record)
        if loss == self._by_taker.get((taker, track)):
            return None
        self._forget(taker, track)
        if loss is None:
            return None
        self._by_taker[taker, track] = loss
        self._takers[loss.former].add((taker, track))
        return loss.former

    def lost(self, former: NamespacedName) -> dict[Track, tuple[str, datetime]]:
        """By track: from which uid of ``former``, and when, it was taken over last."""
        losses: dict[Track, Loss] = {}
        for taker, track in self._takers.get(former, ()):
            loss = self._by_taker[taker, track]
            if track not in losses or losses[track].at < loss.at:
                losses[track] = loss
        return {track: (loss.uid, loss.at) for track, loss in losses.items()}

    def forget(self, taker: NamespacedName) -> None:
        """A set is gone."""
        for track in Track:
            self._forget(taker, track)

    def _forget(self, taker: NamespacedName, track: Track) -> None:
        loss = self._by_taker.pop((taker, track), None)
        if loss is None:
            return
        self._takers[loss.former].discard((taker, track))
        if not self._takers[loss.former]:
            del self._takers[loss.former]

    def __len__(self) -> int:
        """How many there are."""
        return len(self._by_taker)


def _loss(record: TrackStatus) -> Loss | None:
    owner, taken_at = record.taken_from, record.taken_at
    if owner is None or owner.uid is None or taken_at is None:
        return None
    namespace, _, name = owner.name.partition("/")
    return Loss((namespace, name), owner.uid, taken_at)
