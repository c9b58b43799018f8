"""The digest of a plan, and whether what is left to run is the rest of a plan."""

from collections.abc import Sequence

from fluxbase_migrations.core.approval import PlanStart
from fluxbase_migrations.core.digest import digest_of
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.plan import Step


def plan_digest(track: str, table: str, start: PlanStart, steps: Sequence[Step]) -> str:
    """The digest of one track's plan."""
    database = start.database
    identity = (database.system_identifier, database.oid, database.history_id) if database else ()
    failed = start.failed_version, start.failed_direction
    where = (track, table, len(identity), *identity, start.version, *failed, start.entry)
    return digest_of("track", *where, *(part for step in steps for part in _parts(step)))


def _parts(step: Step) -> tuple[str | int | None, ...]:
    file = step.file
    if file is None:
        return step.version, step.direction, None, None
    return step.version, step.direction, file.name, file.checksum


def is_rest_of(steps: Sequence[Step], plan: Sequence[Step]) -> bool:
    """Whether ``steps`` are ``plan`` without some of its first ones, with the same content."""
    remainder = plan[len(plan) - len(steps) :] if len(steps) <= len(plan) else ()
    return [*map(_parts, steps)] == [*map(_parts, remainder)]


def version_of(recorded: int) -> int | None:
    """A recorded version as results and status have it."""
    return None if recorded == NIL else recorded


def recorded(version: int | None) -> int:
    """The inverse of :func:`version_of`."""
    return NIL if version is None else version
