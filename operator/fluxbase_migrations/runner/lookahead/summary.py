"""A whole plan in a few figures."""

from collections.abc import Iterable, Sequence

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.lookahead.effect import State, Touch, Work
from fluxbase_migrations.runner.lookahead.pending import FilePlan, StatementPlan, TrackPlan


@dataclass(frozen=True, slots=True)
class Strongest:
    """The strongest lock on a relation that is there; of several, the one with the hardest work."""

    file: FilePlan
    statement: StatementPlan
    touch: Touch


@dataclass(frozen=True, slots=True)
class Summary:
    """Of all tracks together."""

    files: int = 0
    statements: int = 0
    strongest: Strongest | None = None
    """None: nothing that is there is locked, as far as is known."""
    rewritten: int = 0
    """Relations."""
    scanned: int = 0
    """Relations."""
    destructive: int = 0
    """Statements."""
    unknown: int = 0
    """Statements of which something is not known."""


def summary(tracks: Iterable[TrackPlan]) -> Summary:
    """Count."""
    files = [file for track in tracks for file in track.files]
    every = [(file, one) for file in files for one in file.statements]
    found = [
        Strongest(file, one, touch)
        for file, one in every
        for touch in one.effect.touches
        if touch.relation.state is State.EXISTS
    ]
    return Summary(
        len(files),
        len(every),
        max(found, key=_weight, default=None),
        _relations(found, Work.REWRITE),
        _relations(found, Work.SCAN),
        sum(bool(one.effect.destructive) for _, one in every),
        sum(bool(one.effect.unknown) for _, one in every),
    )


def _weight(one: Strongest) -> tuple[int, int, int]:
    touch = one.touch
    return touch.lock.strength, touch.work.grade, touch.relation.bytes or 0


def _relations(found: Sequence[Strongest], work: Work) -> int:
    return len({one.touch.relation.name for one in found if one.touch.work is work})
