"""What a rollback or a force will do, shown before it is requested: pure functions of set and files."""

from collections.abc import Callable, Iterator
from typing import Final

from fluxbase_migrations.cli.kubectl.set_view import source_files
from fluxbase_migrations.core.errors import MigrationError, describe
from fluxbase_migrations.core.files import NIL, Direction
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Rollback, Track
from fluxbase_migrations.core.plan import Plan, name_of, to_target

_MOST: Final = 20
"""Files that are listed."""

ReadConfigMap = Callable[[str], Json]
"""Raises LookupError, with a text for a person, where there is none of that name."""


def rollback(
    migration_set: Json, track: Track, target: int | None, read_config_map: ReadConfigMap
) -> list[str]:
    """The files that the new target would run, as lines."""
    state = _state(migration_set, track)
    current = state.get("version", NIL)
    goal = "the latest version" if target is None else name_of(target or NIL)
    heading = f"{track} track: from {name_of(current)}{_dirty(state)} to {goal}"
    if state.get("pending") is None:
        return [f"{heading}; no run has read the database yet, so the files are not known"]
    return [heading, *_planned(migration_set, track, current, target, Rollback.ALLOW, read_config_map)]


def force(migration_set: Json, track: Track, version: int, read_config_map: ReadConfigMap) -> list[str]:
    """What is recorded, and what the operator runs after that, as lines."""
    state = _state(migration_set, track)
    is_read = state.get("pending") is not None
    before = f"{name_of(state.get('version', NIL))}{_dirty(state)}" if is_read else "not known"
    spec = _spec(migration_set, track)
    allowed = Rollback(spec.get("rollback", Rollback.FORBID))
    return [
        f"{track} track: records {name_of(version)}, clean, and runs nothing; recorded now: {before}",
        "after that, the operator goes on from there:",
        *_planned(migration_set, track, version, spec.get("targetVersion"), allowed, read_config_map),
    ]


def _planned(
    migration_set: Json,
    track: Track,
    current: int,
    target: int | None,
    allowed: Rollback,
    read_config_map: ReadConfigMap,
) -> Iterator[str]:
    """The files of the plan, or why there is none."""
    if "persistentVolumeClaim" in _spec(migration_set, track).get("source", {}):
        yield "  the files are on a volume, which only a run can read"
        return
    try:
        plan = to_target(source_files(migration_set, track, read_config_map), current, target, allowed)
    except LookupError as error:
        yield f"  no file can run: {error}"
    except MigrationError as error:
        yield f"  no file can run: {describe(error.info)}"
    else:
        yield from _listed(plan)


def _listed(plan: Plan) -> Iterator[str]:
    if not plan.steps:
        yield "  no file runs"
        return
    kind = "down" if plan.steps[0].direction is Direction.DOWN else "up"
    yield f"  {len(plan.steps)} {kind} file{'s' if len(plan.steps) > 1 else ''}:"
    yield from (f"    {step.label}" for step in plan.steps[:_MOST])
    if len(plan.steps) > _MOST:
        yield f"    and {len(plan.steps) - _MOST} more"


def _spec(migration_set: Json, track: Track) -> Json:
    spec: Json = migration_set.get("spec", {}).get("tracks", {}).get(track, {})
    return spec


def _state(migration_set: Json, track: Track) -> Json:
    state: Json = migration_set.get("status", {}).get("tracks", {}).get(track, {})
    return state


def _dirty(state: Json) -> str:
    return " (dirty)" if state.get("dirty") else ""
