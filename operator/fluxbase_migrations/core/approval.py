"""Approval of plans: what a plan is identified by, and what is shown of it.

A plan's digest covers what will run and where: the track and its table, the database, the recorded version,
how far the history was, and each file with its content. Locks and sizes are not part of it: they vary.
"""

import re
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, Final

from fluxbase_migrations.core.digest import digest_of
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.json_names import JSON_NAMES
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.text import cut, visible

LISTED: Final = 10
"""How many files of a plan are named in results and status."""
SHORT: Final = 12
"""Digits of a digest that name a plan in messages."""
LOCKS: Final = (
    "ACCESS SHARE",
    "ROW SHARE",
    "ROW EXCLUSIVE",
    "SHARE UPDATE EXCLUSIVE",
    "SHARE",
    "SHARE ROW EXCLUSIVE",
    "EXCLUSIVE",
    "ACCESS EXCLUSIVE",
)
"""PostgreSQL's table locks, weakest first."""
_VALUE: Final = r"(sha256:[0-9a-f]{64})(?:@\S{1,128})?"


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """One file that would run."""

    __pydantic_config__ = JSON_NAMES

    version: int
    """The migration's version."""
    name: str
    """The file's name."""
    direction: str
    """up or down."""

    def __post_init__(self) -> None:
        """A file's name holds whatever its author put there."""
        object.__setattr__(self, "name", visible(self.name))

    def __str__(self) -> str:
        """For messages."""
        return self.name


@dataclass(frozen=True, slots=True)
class PlanStart:
    """Where a plan begins: with the files, all that its digest is made from."""

    __pydantic_config__ = JSON_NAMES

    version: int | None = None
    """The version that the first file starts from; absent: nothing applied."""
    failed_version: int | None = None
    """The migration that has left the database dirty; its recovery comes first."""
    failed_direction: str | None = None
    """The direction of that migration."""
    entry: int = 0
    """The newest entry of the track in migrations.history; 0: none. With each run there are newer ones."""
    database: DatabaseIdentity | None = None
    """The database that the plan is for."""


def plan_start(database: dict[str, Any] | None = None, **fields: Any) -> PlanStart:
    """Parse a plan's start from JSON."""
    return PlanStart(**fields, database=DatabaseIdentity(**database) if database else None)


@dataclass(frozen=True, slots=True)
class TrackPlan:
    """What a run of one track would do, if it were approved."""

    __pydantic_config__ = JSON_NAMES

    digest: str
    """Identifies the plan: the database, its recorded version, and the files with their content."""
    count: int = 0
    """How many files would run."""
    files: tuple[PlannedFile, ...] = ()
    """The first of them."""
    to_version: int | None = None
    """The version after the last file; absent: nothing applied."""
    start: PlanStart = PlanStart()
    """Where the plan begins."""
    baseline: int | None = None
    """The baseline that would be recorded first."""
    strongest_lock: str | None = None
    """The strongest lock that would be taken on an existing relation, like ACCESS EXCLUSIVE. Absent: none, or
    not known."""
    locked: str | None = None
    """The relation that it would be taken on."""
    destructive: int | None = None
    """How many statements destroy something. Absent: not known."""
    unknown: int | None = None
    """How many statements have effects that cannot be told without running them. Absent: all of them."""

    def __post_init__(self) -> None:
        """Names from the database and from files are made visible."""
        if self.locked is not None:
            object.__setattr__(self, "locked", visible(self.locked))
        database = self.start.database
        if database is not None:
            start = replace(self.start, database=replace(database, name=visible(database.name)))
            object.__setattr__(self, "start", start)

    def shortened(self, items: int, chars: int) -> "TrackPlan":
        """With fewer files, and shorter names."""
        files = tuple(replace(file, name=cut(file.name, chars)) for file in self.files[:items])
        return replace(self, files=files, locked=cut(self.locked, chars) if self.locked else None)


@dataclass(frozen=True, slots=True)
class ApprovedPlan:
    """The approved plan of one track: its digest, and what that is made from."""

    digest: str
    start: PlanStart


def set_digest(plans: Iterable[tuple[str, str]]) -> str:
    """The digest of a set's plan: of its tracks with something to run, each with the digest of its plan."""
    return digest_of("set", *(part for plan in plans for part in plan))


def continues(planned: DatabaseIdentity | None, present: DatabaseIdentity | None) -> bool:
    """Whether ``present`` is the database that a plan was made for, with perhaps more known of it now."""
    if planned is None or present is None:
        return planned is present
    pairs = (
        (planned.system_identifier, present.system_identifier),
        (planned.oid, present.oid),
        (planned.history_id, present.history_id),
    )
    return all(before is None or before == now for before, now in pairs)


def approved_digest(value: str) -> str:
    """The digest in a value of the annotation: ``<digest>``, or ``<digest>@<token>``.

    Raises:
        ValueError: malformed, with how to write it.
    """
    match = re.fullmatch(_VALUE, value, re.ASCII)
    if match is None or visible(value) != value:
        raise ValueError(
            f"{value[:80]!r} is not the digest of a plan; status.plan.digest is, and kubectl fluxbase "
            "approve writes the annotation"
        )
    return match[1]


def short(digest: str) -> str:
    """A digest as messages show it; ``kubectl fluxbase approve --digest`` takes it."""
    kind, _, digits = digest.partition(":")
    return f"{kind}:{digits[:SHORT]}"


def files_wait(count: int) -> str:
    """``1 file waits``, ``2 files wait``."""
    return "1 file waits" if count == 1 else f"{count} files wait"


def risks(lock: str | None, destructive: int | None, unknown: int | None) -> str:
    """What to know before a plan is approved, for messages."""
    parts = [f"strongest lock {lock}"] if lock else []
    if destructive:
        parts.append("destructive")
    if destructive is None or unknown is None:
        parts.append("effects unknown")
    elif unknown:
        parts.append("effects not known in full")
    return ", ".join(parts) or "locks nothing that exists"
