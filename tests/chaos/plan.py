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
LONGEST_BRIEF = 1.0
"""Seconds until something that was given is removed again."""


class Kind(StrEnum):
    """What somebody does to a set."""

    APPEND = "append a migration"
    BREAK = "append a migration that fails"
    CORRECT = "correct the one that fails"
    FORCE = "force the version before the dirty one, or the one that it has"
    LOWER = "lower targetVersion"
    RAISE = "remove targetVersion"
    REQUEST = "change requested-at"
    TAKE_AWAY = "delete the ConfigMap"
    PUT_BACK = "create the ConfigMap again"
    SUSPEND = "suspend"
    RESUME = "resume"
    RECREATE = "delete the set and create it again"
    HAND_OVER = "create another set and let it take over"
    SWITCH = "name the other operator"
    MOVE = "name another Secret, of a new database"
    RETURN = "name the former Secret again"
    EXCHANGE = "put a new database into the Secret"
    COPY = "put a copy of the database into the Secret"
    REMAKE = "drop the database and create it again"
    BACK_UP = "copy the database"
    RESTORE = "put the copy in the database's place"


UNDONE_BY = {
    Kind.LOWER: Kind.RAISE,
    Kind.SUSPEND: Kind.RESUME,
    Kind.REQUEST: Kind.REQUEST,
    Kind.FORCE: Kind.FORCE,
}
"""What may be given and removed again; commands by removing their annotation."""


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


class Company(StrEnum):
    """The operator of another release in the namespace."""

    NONE = "no other operator"
    OTHER_NAME = "another operator by another name"
    SAME_NAME = "another operator that feels responsible, too"


COMPANY = {Company.NONE: 5, Company.OTHER_NAME: 3, Company.SAME_NAME: 2}
"""How often in proportion."""


@dataclass(frozen=True)
class Change:
    """What is done to a set, so many seconds after the round's begin."""

    at: float
    kind: Kind
    migration: Migration | None = None
    target: int | None = None
    brief: float | None = None
    """Seconds until it is undone; None: it is not."""

    def __str__(self) -> str:
        what = self.kind.value
        if self.migration is not None:
            what += f" ({self.migration.version}, {self.migration.shape})"
        if self.target is not None:
            what += f" to {self.target}"
        if self.brief is not None:
            what += f", undone after {self.brief:.2f} s"
        return f"{self.at:.2f} s: {what}"


@dataclass(frozen=True)
class Script:
    """One set's part of a round."""

    name: str
    system: bool
    """Whether the system track is on."""
    initial: Sequence[Migration]
    changes: Sequence[Change]
    manual: bool = False
    """Whether plans have to be approved; somebody approves each that is shown."""

    def __str__(self) -> str:
        kind = f"{' with system' if self.system else ''}{' by approval' if self.manual else ''}"
        begin = f"{self.name}{kind}, {len(self.initial)} migrations"
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
class Other:
    """The other operator, and when it is there, in seconds after the round's begin."""

    company: Company
    since: float = 0.0
    until: float | None = None
    """None: to the end."""

    def __str__(self) -> str:
        if self.company is not Company.SAME_NAME:
            return self.company.value
        return f"{self.company}, {self.since:.2f} s to {self.until or SPAN:.2f} s"


@dataclass(frozen=True)
class Plan:
    """A round."""

    number: int
    scripts: Sequence[Script]
    kills: Sequence[Kill]
    other: Other

    @classmethod
    def draw(cls, seed: str, number: int) -> "Plan":
        chance = random.Random(f"{seed}/{number}")
        (company,) = chance.choices([*COMPANY], weights=[*COMPANY.values()])
        other = Other(company)
        if company is Company.SAME_NAME:
            # Briefly: two that meet leave it to one of them until that one's Job has ended.
            since = chance.uniform(0.0, SPAN / 2)
            other = Other(company, since, chance.uniform(since + 1.0, SPAN))
        letters = "abc"[:SETS]
        scripts = [_Drawing(chance, other).script(f"r{number:03}-{letter}") for letter in letters]
        victims = chance.choices([*VICTIMS], weights=[*VICTIMS.values()], k=chance.randint(1, MOST_KILLS))
        kills = [
            Kill(chance.uniform(0.2, SPAN), victim, chance.uniform(0.0, LONGEST_DOWN)) for victim in victims
        ]
        return cls(number, scripts, sorted(kills, key=lambda kill: kill.at), other)

    def __str__(self) -> str:
        return "\n".join(map(str, [*self.scripts, *self.kills, self.other]))


class _Drawing:
    """Draws one set's changes; knows what the set will be like after each, so that each makes sense."""

    def __init__(self, chance: random.Random, other: Other) -> None:
        self._chance = chance
        self._other = other
        self._latest = 0
        self._target: int | None = None
        self._broken = False
        self._missing = False
        self._suspended = False
        self._moved = False
        self._backed_up = False

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
        return Script(name, chance.random() < 0.4, initial, changes, manual=chance.random() < 0.3)

    def _migration(self, *, broken: bool = False) -> Migration:
        self._latest += 1
        shape = self._chance.choice((Shape.ATOMIC, Shape.ATOMIC, Shape.GROUPS, Shape.CONCURRENT))
        return Migration(self._latest, shape, self._chance.uniform(0.0, 0.3), broken)

    def _sensible(self) -> list[Kind]:
        kinds = [Kind.REQUEST, Kind.RECREATE, Kind.RESUME if self._suspended else Kind.SUSPEND]
        kinds.append(Kind.PUT_BACK if self._missing else Kind.TAKE_AWAY)
        kinds += self._about_databases()
        if self._other.company is Company.OTHER_NAME:
            kinds += [Kind.SWITCH, Kind.SWITCH]
        if self._target is not None:
            kinds += [Kind.RAISE, Kind.RAISE]
        elif not self._broken:
            kinds += [Kind.LOWER, Kind.LOWER]
        if self._missing:
            return kinds
        if not self._suspended:
            kinds += [Kind.HAND_OVER, Kind.FORCE, Kind.FORCE]
        if not self._broken:
            kinds += [Kind.APPEND, Kind.APPEND]
        if not self._broken and self._target is None:
            kinds += [Kind.BREAK, Kind.BREAK]
        if self._broken:
            kinds += [Kind.CORRECT, Kind.CORRECT]
        return kinds

    def _about_databases(self) -> list[Kind]:
        kinds = [Kind.MOVE, Kind.EXCHANGE, Kind.COPY, Kind.REMAKE]
        if self._moved:
            kinds.append(Kind.RETURN)
        kinds += [Kind.RESTORE] * 3 if self._backed_up else [Kind.BACK_UP]
        return kinds

    def _change(self, at: float, kind: Kind) -> Change:
        brief = None
        if kind in UNDONE_BY and self._chance.random() < 0.4:
            brief = self._chance.uniform(0.0, LONGEST_BRIEF)
        match kind:
            case Kind.APPEND:
                return Change(at, kind, migration=self._migration())
            case Kind.BREAK:
                self._broken = True
                return Change(at, kind, migration=self._migration(broken=True))
            case Kind.CORRECT:
                self._broken = False
            case Kind.LOWER:
                target = self._chance.randrange(self._latest)
                self._target = target if brief is None else None
                return Change(at, kind, target=target, brief=brief)
            case Kind.RAISE:
                self._target = None
            case Kind.TAKE_AWAY | Kind.PUT_BACK:
                self._missing = kind is Kind.TAKE_AWAY
            case Kind.SUSPEND | Kind.RESUME:
                self._suspended = kind is Kind.SUSPEND and brief is None
            case Kind.MOVE:
                self._moved = True
            case Kind.BACK_UP | Kind.RESTORE:
                self._backed_up = kind is Kind.BACK_UP
            case _:
                pass
        return Change(at, kind, brief=brief)
