"""What one statement does, as far as it can be known before it runs."""

from collections.abc import Iterable
from dataclasses import field, replace
from enum import StrEnum

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.lookahead.modes import Lock


class Work(StrEnum):
    """What happens to the rows of one relation; the weakest first."""

    CATALOG = "catalog only"
    """Not a row is touched."""
    ROWS = "reads or changes rows"
    """As its query's plan needs."""
    EMPTIED = "is emptied"
    """Without reading its rows."""
    MAY_SCAN = "may be scanned"
    SCAN = "is scanned"
    MAY_REWRITE = "may be rewritten"
    REWRITE = "is rewritten"

    @property
    def grade(self) -> int:
        """Of two kinds of work on one relation, the one with the higher number is shown."""
        return tuple(Work).index(self)


@dataclass(frozen=True, slots=True)
class Relation:
    """A relation as the plan shows it."""

    name: str
    """With its schema, quoted where it must be."""
    bytes: int | None = None
    """On disk, without indexes; None: not known, or none."""
    rows: int | None = None
    """The catalog's estimate; None: never analyzed."""
    state: "State" = field(default_factory=lambda: State.EXISTS)
    oid: int = 0


class State(StrEnum):
    """Whether a relation is there when the plan is made."""

    EXISTS = "exists"
    NEW = "new"
    """An earlier statement of the plan creates it."""
    UNKNOWN = "not found"
    """It is not there, and nothing in the plan that can be read creates it."""


@dataclass(frozen=True, slots=True)
class Touch:
    """One relation that a statement locks."""

    relation: Relation
    lock: Lock
    work: Work = Work.CATALOG
    certain: bool = True
    """False: only in some cases, which depend on rows or on PostgreSQL's query plan."""
    why: str = ""
    """Where it is not named in the statement: what leads to it."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What a statement locks, loses and may do."""

    tag: str
    """Its command tag, like ALTER TABLE."""
    touches: tuple[Touch, ...] = ()
    destructive: tuple[str, ...] = ()
    """What is lost."""
    unknown: tuple[str, ...] = ()
    """What cannot be known without running it."""
    notes: tuple[str, ...] = ()


def merged(touches: Iterable[Touch]) -> tuple[Touch, ...]:
    """One touch per relation: its strongest lock and its hardest work, in order of first mention."""
    strongest: dict[tuple[int, str], Touch] = {}
    for touch in touches:
        key = touch.relation.oid, touch.relation.name
        known = strongest.get(key)
        strongest[key] = touch if known is None else _both(known, touch)
    return tuple(strongest.values())


def _both(first: Touch, second: Touch) -> Touch:
    stronger = max(first, second, key=lambda touch: (touch.lock.strength, touch.certain))
    harder = max(first.work, second.work, key=lambda work: work.grade)
    return replace(stronger, work=harder, why=first.why if not first.why else stronger.why or second.why)
