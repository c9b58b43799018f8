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
    """Figures for all tracks together."""

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
    """Count what the plan of all tracks does."""
    files = [file for track in tracks for file in track.files]
    statements = [(file, statement) for file in files for statement in file.statements]
    locks = [
        Strongest(file, statement, touch)
        for file, statement in statements
        for touch in statement.effect.touches
        if touch.relation.state is State.EXISTS
    ]
    return Summary(
        len(files),
        len(statements),
        max(locks, key=_weight, default=None),
        _relations(locks, Work.REWRITE),
        _relations(locks, Work.SCAN),
        sum(bool(statement.effect.destructive) for _, statement in statements),
        sum(bool(statement.effect.unknown) for _, statement in statements),
    )


def _weight(strongest: Strongest) -> tuple[int, int, int]:
    touch = strongest.touch
    return touch.lock.strength, touch.work.grade, touch.relation.bytes or 0


def _relations(locks: Sequence[Strongest], work: Work) -> int:
    return len({lock.touch.relation.name for lock in locks if lock.touch.work is work})
