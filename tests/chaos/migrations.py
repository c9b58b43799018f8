"""The migrations of the chaos tests: each records in the database what it executed, up and down.

``public.executed`` keeps every body that was committed, in order, so that twice or by half can be seen.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import StrEnum


class Shape(StrEnum):
    """How a file runs."""

    ATOMIC = "atomic"
    """In one transaction with its version row."""
    GROUPS = "groups"
    """With transactions of its own: the row is dirty meanwhile."""
    CONCURRENT = "concurrent"
    """With a statement that cannot be in a transaction: likewise."""


@dataclass(frozen=True)
class Migration:
    """A pair of files. ``seconds`` is how long it sleeps on the way up."""

    version: int
    shape: Shape
    seconds: float
    broken: bool = False
    """Whether its up file ends in an error."""

    def files(self) -> dict[str, str]:
        """Name and content of both files."""
        return {self._name("up"): self._up(), self._name("down"): self._down()}

    def bodies(self, direction: str) -> list[str]:
        """What a complete run of one of the files leaves in ``public.executed``."""
        parts = 2 if direction == "up" and self.shape is not Shape.ATOMIC else 1
        return [f"{self.version} {direction} {part}" for part in range(parts)]

    def _name(self, direction: str) -> str:
        return f"{self.version:03}_it.{direction}.sql"

    def _up(self) -> str:
        table, pause = f"public.it_{self.version}", f"SELECT pg_sleep({self.seconds:.3f});"
        first, *rest = (_record(body) for body in self.bodies("up"))
        end = ["SELECT 1 / 0;"] if self.broken else []
        create = f"CREATE TABLE {table} (i int);"
        if self.broken:
            # Whatever its shape will be: nothing of it may stay.
            return "\n".join([create, first, pause, *end])
        match self.shape:
            case Shape.ATOMIC:
                lines = [create, first, pause]
            case Shape.GROUPS:
                lines = ["BEGIN;", create, first, "COMMIT;", pause, *rest]
            case Shape.CONCURRENT:
                index = f"CREATE INDEX CONCURRENTLY it_{self.version}_i ON {table} (i);"
                lines = [create, first, index, pause, *rest]
        return "\n".join(lines)

    def _down(self) -> str:
        (body,) = self.bodies("down")
        return f"DROP TABLE public.it_{self.version};\n{_record(body)}"


def _record(body: str) -> str:
    return f"INSERT INTO public.executed (body) VALUES ('{body}');"


@dataclass
class Source:
    """What a set's ConfigMap is to hold."""

    migrations: dict[int, Migration] = field(default_factory=dict)

    @property
    def latest(self) -> int:
        """The highest version."""
        return max(self.migrations)

    @property
    def broken(self) -> int | None:
        """The version that fails."""
        return next((one.version for one in self.migrations.values() if one.broken), None)

    def put(self, migration: Migration) -> None:
        """Add it, or replace the one of its version."""
        self.migrations[migration.version] = migration

    def correct(self) -> None:
        """Replace what is broken."""
        for version, one in self.migrations.items():
            self.migrations[version] = replace(one, broken=False)

    def files(self) -> dict[str, str]:
        """Every file."""
        return {name: text for one in self.migrations.values() for name, text in one.files().items()}


def executed_in_full(
    migrations: Iterable[Migration], executed: list[str], *, interrupted: int | None = None
) -> dict[int, list[str]]:
    """What each version did, in order: ``up`` and ``down``.

    What ``interrupted`` did last may be a part of it.

    Raises:
        AssertionError: a file was executed by half, or twice in a row, or down before up.
    """
    known = {one.version: one for one in migrations}
    found: dict[int, list[str]] = {version: [] for version in known}
    rest: dict[int, list[str]] = {version: [] for version in known}
    for body in executed:
        version = int(re.match(r"\d+", body)[0])  # type: ignore[index]
        rest[version].append(body)
    for version, bodies in rest.items():
        while bodies:
            direction = "down" if len(found[version]) % 2 else "up"
            expected = known[version].bodies(direction)
            if version == interrupted and bodies == expected[: len(bodies)] != expected:
                break
            told = f"version {version} did {found[version]}, then {bodies}; expected {expected}"
            assert bodies[: len(expected)] == expected, told
            del bodies[: len(expected)]
            found[version].append(direction)
    return found
