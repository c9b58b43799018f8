"""``kubectl fluxbase list``: one line for each set."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from fluxbase_migrations.cli.kubectl.ages import age
from fluxbase_migrations.cli.kubectl.layout import table
from fluxbase_migrations.cli.kubectl.set_view import condition
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track

_NONE: Final = "<none>"
_HEADING: Final = ("NAME", "READY", "PHASE", "SYSTEM", "USER", "PENDING", "REASON", "AGE")


def rows(sets: list[Json], now: datetime, width: int | None, *, namespaces: bool, wide: bool) -> list[str]:
    """A table by namespace and name; ``wide`` tells the message, too."""
    heading = (*(("NAMESPACE",) if namespaces else ()), *_HEADING, *(("MESSAGE",) if wide else ()))
    ordered = sorted(
        sets,
        key=lambda migration_set: (migration_set["metadata"]["namespace"], migration_set["metadata"]["name"]),
    )
    lines = [tuple(_cells(migration_set, now, namespaces=namespaces, wide=wide)) for migration_set in ordered]
    flexible = [heading.index("MESSAGE")] if wide else []
    return table([heading, *lines], width, [*flexible, heading.index("REASON")])


def _cells(migration_set: Json, now: datetime, *, namespaces: bool, wide: bool) -> Iterator[str]:
    metadata, status = migration_set["metadata"], migration_set.get("status", {})
    ready = condition(migration_set, "Ready")
    if namespaces:
        yield metadata["namespace"]
    yield metadata["name"]
    yield ready.get("status", "Unknown")
    yield status.get("phase", _NONE)
    for track in Track:
        yield _version(status.get("tracks", {}).get(track, {}))
    yield str(status.get("pending", _NONE))
    yield ready.get("reason", _NONE)
    yield age(metadata.get("creationTimestamp"), now)
    if wide:
        yield ready.get("message", _NONE)


def _version(track: Json) -> str:
    version = track.get("version")
    dirty = " (dirty)" if track.get("dirty") else ""
    return f"{_NONE if version is None else version}{dirty}"
