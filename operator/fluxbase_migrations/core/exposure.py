"""Objects that anon and authenticated reach past row-level security: how they are described, and how many."""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from fluxbase_migrations.core.json_names import JSON_NAMES
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.text import cut, visible

KEPT: Final = 10
"""How many are listed in a run's result and in status."""
_NAME_LIMIT: Final = 200
_STATEMENT_LIMIT: Final = 400
"""Characters. A name with schema has up to 260, and a function's arguments come to that."""


class ExposureKind(StrEnum):
    """Why policies do not protect an object."""

    TABLE = "table without row-level security"
    VERSION_TABLE = "version table of a migration tool"
    PARTITION = "partition without row-level security"
    VIEW = "view with its owner's rights"
    MATERIALIZED_VIEW = "materialized view"
    FOREIGN_TABLE = "foreign table"
    TRUNCATE = "table that can be truncated past its policies"
    PUBLIC_FUNCTION = "SECURITY DEFINER function that everybody may execute"
    LOOSE_FUNCTION = "SECURITY DEFINER function whose search_path is not pinned"


@dataclass(frozen=True, slots=True)
class Exposure:
    """An object that requests reach past every policy."""

    __pydantic_config__ = JSON_NAMES

    kind: str
    """Why no policy protects it: table without row-level security, view with its owner's rights and so on."""
    name: str
    """Its name with schema; a function's with its arguments."""
    roles: tuple[str, ...]
    """Which of anon and authenticated reach it."""
    privileges: tuple[str, ...]
    """What they can do: SELECT, INSERT, UPDATE, DELETE, TRUNCATE, EXECUTE."""
    statement: str | None = None
    """SQL that closes it. Absent where it is too long to be shown."""

    def __str__(self) -> str:
        """Without the statement."""
        access = f": {', '.join(self.roles)} can {', '.join(self.privileges)}" if self.roles else ""
        return f"{self.kind} {self.name}{access}"

    def described(self) -> str:
        """With the statement."""
        return f"{self}; close it with: {self.statement}" if self.statement else str(self)


def bounded(exposures: Sequence[Exposure]) -> tuple[Exposure, ...]:
    """The first few, fit to be shown. A statement is whole or left out: a part could be run, too."""
    return tuple(
        Exposure(
            visible(exposure.kind),
            _short(exposure.name),
            tuple(map(_short, exposure.roles[:2])),
            tuple(map(_short, exposure.privileges[:8])),
            exposure.statement if _is_whole(exposure.statement) else None,
        )
        for exposure in exposures[:KEPT]
    )


def _short(text: str) -> str:
    return cut(visible(text), _NAME_LIMIT)


def _is_whole(statement: str | None) -> bool:
    return statement is not None and len(statement) <= _STATEMENT_LIMIT and visible(statement) == statement


def counted(count: int) -> str:
    """How many there are, in words."""
    return f"{count} object{'' if count == 1 else 's'} reachable past row-level security"


def listed(exposures: Sequence[Exposure], count: int) -> str:
    """The objects in one line, with what closes each, and how many more there are."""
    more = count - len(exposures)
    texts = [exposure.described() for exposure in exposures] + ([f"and {more} more"] if more > 0 else [])
    return "; ".join(texts)
