"""What ``kubectl fluxbase`` changes of a set, and what it asks about first: pure functions of the set."""

from collections.abc import Callable
from typing import Any, Final

from fluxbase_migrations.cli.kubectl.set_view import source_files
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Rollback, Track

MANAGER: Final = "kubectl-fluxbase"
"""Field manager of what the plugin writes, by which it knows it again."""


def rollback(migration_set: Json, track: Track, target: int | None) -> Json:
    """The merge patch for a track's target; None removes it, and ``rollback`` if the plugin has set that."""
    change: dict[str, Any] = {"targetVersion": target}
    before = migration_set.get("spec", {}).get("tracks", {}).get(track, {}).get("rollback")
    if target is not None and before != Rollback.ALLOW:
        change["rollback"] = str(Rollback.ALLOW)
    if target is None and _is_ours(migration_set, track, "rollback"):
        change["rollback"] = None  # a null removes the field
    return {"spec": {"tracks": {str(track): change}}}


def _is_ours(migration_set: Json, track: Track, field: str) -> bool:
    """Whether the plugin wrote a field of a track last."""
    for entry in migration_set["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1", {}).get("f:spec", {}).get("f:tracks", {}).get(f"f:{track}", {})
        if entry.get("manager") == MANAGER and f"f:{field}" in fields:
            return True
    return False


def unknown_version(
    migration_set: Json, track: Track, version: int, read_config_map: Callable[[str], Json]
) -> str | None:
    """Why ``version`` is none that a force should record; None if it may, or if that is not known.

    ``read_config_map`` raises LookupError where there is none of that name.
    """
    if version == NIL:
        return None
    source = migration_set.get("spec", {}).get("tracks", {}).get(track, {}).get("source")
    if source is not None and "persistentVolumeClaim" in source:
        latest = migration_set.get("status", {}).get("tracks", {}).get(track, {}).get("latest")
        is_known = latest is None or version <= latest
        return None if is_known else f"the last run found versions up to {latest} on the volume"
    try:
        versions = source_files(migration_set, track, read_config_map).versions
    except LookupError as error:
        return str(error)
    except InvalidSource:
        return None
    if version in versions:
        return None
    there = f"it has {versions[0]} to {versions[-1]}" if versions else "it has no migration files"
    return f"the {track} track's source has no version {version}: {there}"
