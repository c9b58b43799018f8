"""``fluxbase-migrate status``: both tracks, version by version."""

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.history.overview import FileState, Migration

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands.verbs import TrackOverview

_HEAD = ("TRACK", "VERSION", "FILE", "STATE", "APPLIED", "TOOK", "BY")


def show(tracks: Sequence["TrackOverview"], form: str) -> int:
    """Print every version, then a line for each track; returns 1 where one is dirty or refused, else 0."""
    code = output.answer(_json(tracks) if form == "json" else _table(tracks))
    return 1 if any(track.row.dirty or track.refused for track in tracks) else code


def _table(tracks: Sequence["TrackOverview"]) -> list[str]:
    rows = [_HEAD, *(_row(track.label, one) for track in tracks for one in track.migrations)]
    refused = [f"{track.label}: {describe(track.refused)}" for track in tracks if track.refused]
    return [*output.table(rows), "", *map(visible, (*map(_summary, tracks), *refused))]


def _row(track: str, one: Migration) -> tuple[str, ...]:
    entry = one.entry
    applied = took = by = ""
    if entry is not None:
        by = entry.done_by
        applied = (entry.finished_at or entry.started_at).isoformat(sep=" ", timespec="seconds")
        took = output.took(entry)
    return track, str(one.version), visible(one.name), one.state.value, applied, took, visible(by)


def _summary(track: "TrackOverview") -> str:
    parts = [track.table + (": no version" if track.row.version < 0 else f": version {track.row}")]
    counts = Counter(one.state for one in track.migrations if one.state is not FileState.DIRTY)
    parts += [f"{count} {state}" for state, count in counts.items()]
    failed = next((one.entry for one in track.migrations if one.state is FileState.DIRTY), None)
    if failed is not None and failed.error:
        parts.append(f"failed: {failed.error.get('message', '')}")
    return f"{track.label}: {'; '.join(parts)}"


def _json(tracks: Sequence["TrackOverview"]) -> list[str]:
    return [json.dumps([_track(track) for track in tracks], indent=2, ensure_ascii=False)]


def _track(track: "TrackOverview") -> dict[str, Any]:
    return {
        "track": track.label,
        "table": track.table,
        "version": None if track.row.version < 0 else track.row.version,
        "dirty": track.row.dirty,
        "refused": describe(track.refused) if track.refused else None,
        "migrations": [
            {
                "version": one.version,
                "file": one.name,
                "state": one.state.value,
                "appliedAt": one.entry.finished_at.isoformat()
                if one.entry and one.entry.finished_at and one.state is not FileState.DIRTY
                else None,
                "by": one.entry.done_by if one.entry else None,
            }
            for one in track.migrations
        ],
    }
