"""What a round does, drawn from the seed and the round's number: who changes what, and who is killed when."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.migrations import Migration, Shape

SETS = 3
"""In a round, at once."""
SPAN = 5.0
"""Seconds in which everything of a round begins."""
MOST_CHANGES = 4
"""Of one set."""
MOST_KILLS = 3
LONGEST_DOWN = 1.0
"""Seconds until something that was killed is started again."""


class Kind(StrEnum):
    """What somebody does to a set."""

    APPEND = "append a migration"
    BREAK = "append a migration that fails"
    CORRECT = "correct the one that fails"
    FORCE = "force the version before the dirty one"
    LOWER = "lower targetVersion"
    RAISE = "remove targetVersion"
    REQUEST = "change requested-at"
    TAKE_AWAY = "delete the ConfigMap"
    PUT_BACK = "create the ConfigMap again"
    SUSPEND = "suspend"
    RESUME = "resume"
    RECREATE = "delete the set and create it again"


class Victim(StrEnum):
    """Who is killed."""

    OPERATOR = "operator"
    CONTAINER = "container"
    """A Job's process, as when memory runs out."""
    POD = "pod"
    """Deleted by somebody."""
    JOB = "Job"
    """Deleted by somebody."""
    POSTGRES = "PostgreSQL"
    API_SERVER = "API server"
    CONTROL_PLANE = "control plane"
    """API server, etcd and the controllers at once."""


VICTIMS = {
    Victim.OPERATOR: 6,
    Victim.CONTAINER: 4,
    Victim.POD: 2,
    Victim.JOB: 2,
    Victim.POSTGRES: 4,
    Victim.API_SERVER: 2,
    Victim.CONTROL_PLANE: 1,
}
"""How often in proportion; the API server takes seconds to be back."""


@dataclass(frozen=True)
class Change:
    """What is done to a set, so many seconds after the round's begin."""

    at: float
    kind: Kind
    migration: Migration | None = None
    target: int | None = None

    def __str__(self) -> str:
        what = self.kind.value
        if self.migration is not None:
            what += f" ({self.migration.version}, {self.migration.shape})"
        if self.target is not None:
            what += f" to {self.target}"
        return f"{self.at:.2f} s: {what}"


@dataclass(frozen=True)
class Script:
    """One set's part of a round."""

    name: str
    system: bool
    """Whether the system track is on."""
    initial: Sequence[Migration]
    changes: Sequence[Change]

    def __str__(self) -> str:
        begin = f"{self.name}{' with system' if self.system else ''}, {len(self.initial)} migrations"
        return "; ".join([begin, *map(str, self.changes)])


@dataclass(frozen=True)
class Kill:
    """Who is killed, so many seconds after the round's begin, and for how long it stays down."""

    at: float
    victim: Victim
    down: float

    def __str__(self) -> str:
        return f"{self.at:.2f} s: {self.victim} killed, down for {self.down:.2f} s"


@dataclass(frozen=True)
class Plan:
    """A round."""

    number: int
    scripts: Sequence[Script]
    kills: Sequence[Kill]

    @classmethod
    def draw(cls, seed: str, number: int) -> "Plan":
        chance = random.Random(f"{seed}/{number}")
        scripts = [_Drawing(chance).script(f"r{number:03}-{letter}") for letter in "abc"[:SETS]]
        victims = chance.choices([*VICTIMS], weights=[*VICTIMS.values()], k=chance.randint(1, MOST_KILLS))
        kills = [
            Kill(chance.uniform(0.2, SPAN), victim, chance.uniform(0.0, LONGEST_DOWN)) for victim in victims
        ]
        return cls(number, scripts, sorted(kills, key=lambda kill: kill.at))

    def __str__(self) -> str:
        return "\n".join(map(str, [*self.scripts, *self.kills]))


class _Drawing:
    """Draws one set's changes; knows what the set will be like after each, so that each makes sense."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._latest = 0
        self._target: int | None = None
        self._broken = False
        self._missing = False
        self._suspended = False

    def script(self, name: str) -> Script:
        chance = self._chance
        initial = [self._migration() for _ in range(chance.randint(2, 4))]
        times = sorted(chance.uniform(0.0, SPAN) for _ in range(chance.randint(1, MOST_CHANGES)))
        changes = [self._change(at, chance.choice(self._sensible())) for at in times]
        # Nothing stays in the way of a known end. What fails may be left as it is.
        for wanted, kind in (
            (self._missing, Kind.PUT_BACK),
            (self._suspended, Kind.RESUME),
            (self._broken and chance.random() < 0.7, Kind.CORRECT),
        ):
            if wanted:
                changes.append(self._change(SPAN, kind))
        return Script(name, chance.random() < 0.4, initial, changes)

    def _migration(self, *, broken: bool = False) -> Migration:
        self._latest += 1
        shape = self._chance.choice((Shape.ATOMIC, Shape.ATOMIC, Shape.GROUPS, Shape.CONCURRENT))
        return Migration(self._latest, shape, self._chance.uniform(0.0, 0.3), broken)

    def _sensible(self) -> list[Kind]:
        kinds = [Kind.REQUEST, Kind.RECREATE, Kind.RESUME if self._suspended else Kind.SUSPEND]
        kinds.append(Kind.PUT_BACK if self._missing else Kind.TAKE_AWAY)
        if self._target is not None:
            kinds += [Kind.RAISE, Kind.RAISE]
        elif not self._broken:
            kinds += [Kind.LOWER, Kind.LOWER]
        if self._missing:
            return kinds
        if not self._broken:
            kinds += [Kind.APPEND, Kind.APPEND]
        if not self._broken and self._target is None:
            kinds += [Kind.BREAK, Kind.BREAK]
        if self._broken:
            kinds += [Kind.CORRECT, Kind.CORRECT]
            if not self._suspended:
                kinds += [Kind.FORCE, Kind.FORCE]
        return kinds

    def _change(self, at: float, kind: Kind) -> Change:
        match kind:
            case Kind.APPEND:
                return Change(at, kind, migration=self._migration())
            case Kind.BREAK:
                self._broken = True
                return Change(at, kind, migration=self._migration(broken=True))
            case Kind.CORRECT:
                self._broken = False
            case Kind.LOWER:
                self._target = self._chance.randrange(self._latest)
                return Change(at, kind, target=self._target)
            case Kind.RAISE:
                self._target = None
            case Kind.TAKE_AWAY | Kind.PUT_BACK:
                self._missing = kind is Kind.TAKE_AWAY
            case Kind.SUSPEND | Kind.RESUME:
                self._suspended = kind is Kind.SUSPEND
            case _:
                pass
        return Change(at, kind)
