"""What a tracking row was, and when, from the notes that a database takes."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Any

from fluxbase_migrations.core.files import NIL

Interval = tuple[float, float]
"""From and until, seconds of the clock."""


@dataclass(frozen=True)
class State:
    """A tracking row since ``at``, seconds of the clock; no version: nothing applied."""

    at: float
    version: int | None
    dirty: bool


def states(notes: Sequence[tuple[Any, ...]]) -> list[State]:
    """What notes (table, transaction, inserted, version, dirty, time of its commit) make of a row.

    A transaction's last note is what it left.
    """
    found = []
    for _, (*_, last) in groupby(notes, key=lambda note: note[1]):
        _, _, inserted, version, dirty, at = last
        found.append(State(at, version if inserted and version != NIL else None, bool(inserted and dirty)))
    return found


def since(born: float, found: Sequence[State]) -> list[State]:
    """The states from ``born`` on, beginning with the one that the row was in then."""
    before = [state for state in found if state.at <= born]
    begin = [State(born, before[-1].version, before[-1].dirty)] if before else [State(born, None, False)]
    return [*begin, *(state for state in found if state.at > born)]


def intervals(found: Sequence[State]) -> list[Interval]:
    """When a row was dirty."""
    dirty: list[Interval] = []
    began: float | None = None
    for state in found:
        if state.dirty and began is None:
            began = state.at
        elif not state.dirty and began is not None:
            dirty.append((began, state.at))
            began = None
    return [*dirty, (began, inf)] if began is not None else dirty
