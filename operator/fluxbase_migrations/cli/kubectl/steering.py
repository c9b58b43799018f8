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


def rollback(found: Json, track: Track, target: int | None) -> Json:
    """The merge patch for a track's target; None removes it, and with it the plugin's leave to roll back."""
    change: dict[str, Any] = {"targetVersion": target}
    before = found.get("spec", {}).get("tracks", {}).get(track, {}).get("rollback")
    if target is not None and before != Rollback.ALLOW:
        change["rollback"] = str(Rollback.ALLOW)
    if target is None and _is_ours(found, track, "rollback"):
        change["rollback"] = None  # a null removes the field
    return {"spec": {"tracks": {str(track): change}}}


def _is_ours(found: Json, track: Track, field: str) -> bool:
    """Whether the plugin wrote a field of a track last."""
    for entry in found["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1", {}).get("f:spec", {}).get("f:tracks", {}).get(f"f:{track}", {})
        if entry.get("manager") == MANAGER and f"f:{field}" in fields:
            return True
    return False


def unknown_version(
    found: Json, track: Track, version: int, read_config_map: Callable[[str], Json]
) -> str | None:
    """Why ``version`` is none that a force should record; None if it is one, or nobody can tell.

    ``read_config_map`` raises LookupError where there is none of that name.
    """
    if version == NIL:
        return None
    source = found.get("spec", {}).get("tracks", {}).get(track, {}).get("source")
    if source is not None and "persistentVolumeClaim" in source:
        latest = found.get("status", {}).get("tracks", {}).get(track, {}).get("latest")
        known = latest is None or version <= latest
        return None if known else f"the last run found versions up to {latest} on the volume"
    try:
        versions = source_files(found, track, read_config_map).versions
    except LookupError as error:
        return str(error)
    except InvalidSource:
        return None
    if version in versions:
        return None
    there = f"it has {versions[0]} to {versions[-1]}" if versions else "it has no migration files"
    return f"the {track} track's source has no version {version}: {there}"
