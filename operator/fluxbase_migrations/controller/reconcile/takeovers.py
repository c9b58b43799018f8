"""Sets that have lost a track to another set: only a run of theirs finds that out, so one must be started."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime

from fluxbase_migrations.api.status import TrackStatus
from fluxbase_migrations.controller.client.kube import NamespacedName
from fluxbase_migrations.core.names import Track


@dataclass(frozen=True, slots=True)
class Loss:
    """A track that was taken over, by the status of the taker."""

    former: NamespacedName
    """The former owner."""
    uid: str
    """Its uid when it lost the track."""
    at: datetime


class Takeovers:
    """All losses that are in the statuses of sets that have taken a track over (takers)."""

    def __init__(self) -> None:
        self._by_taker: dict[tuple[NamespacedName, Track], Loss] = {}
        self._takers: dict[NamespacedName, set[tuple[NamespacedName, Track]]] = defaultdict(set)
        """By former owner: the takers and tracks."""

    def note(self, taker: NamespacedName, track: Track, record: TrackStatus) -> NamespacedName | None:
        """Record the status of a taker's track; returns the former owner if the loss is new."""
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
        """By track that was taken over from ``former``: its uid then, and the time of the last takeover."""
        losses: dict[Track, Loss] = {}
        for taker, track in self._takers.get(former, ()):
            loss = self._by_taker[taker, track]
            if track not in losses or losses[track].at < loss.at:
                losses[track] = loss
        return {track: (loss.uid, loss.at) for track, loss in losses.items()}

    def forget(self, taker: NamespacedName) -> None:
        """Drop the losses in the status of a set that is gone."""
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
        """How many losses are recorded."""
        return len(self._by_taker)


def _loss(record: TrackStatus) -> Loss | None:
    owner, taken_at = record.taken_from, record.taken_at
    if owner is None or owner.uid is None or taken_at is None:
        return None
    namespace, _, name = owner.name.partition("/")
    return Loss((namespace, name), owner.uid, taken_at)
