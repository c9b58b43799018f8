"""``fluxbase-migrate status``: both tracks, version by version, fitted to the terminal."""

import json
import textwrap
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.cli.output import Colour
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.core.text import visible
from fluxbase_migrations.runner.history.overview import FileState, Migration

if TYPE_CHECKING:
    from fluxbase_migrations.runner.commands.verbs import TrackOverview

_HEAD: Final = ("TRACK", "VERSION", "FILE", "STATE", "APPLIED", "TOOK", "BY")
_LEFT_OUT: Final = ("BY", "TOOK", "APPLIED")
"""Columns that a narrow terminal has no room for, the least important first."""
_CUT: Final = {"FILE": 16}
"""The column that is shortened where that is not enough, and the characters that stay of it."""
_COLOURS: Final = {
    FileState.APPLIED: Colour.GREEN,
    FileState.EDITED: Colour.YELLOW,
    FileState.FILE_GONE: Colour.YELLOW,
    FileState.OUT_OF_ORDER: Colour.YELLOW,
    FileState.DIRTY: Colour.RED,
}


def show(tracks: Sequence["TrackOverview"], form: str) -> int:
    """Print every version, then a line for each track; returns 1 where one is dirty or refused, else 0."""
    code = output.answer(_json(tracks) if form == "json" else _table(tracks))
    return 1 if any(track.row.dirty or track.refused for track in tracks) else code


def _table(tracks: Sequence["TrackOverview"]) -> list[str]:
    rows: list[tuple[str, ...]] = [
        _HEAD,
        *(_row(track.label, migration) for track in tracks for migration in track.migrations),
    ]
    width = output.terminal_width()
    if width is not None:
        rows = output.fitted(rows, width, _LEFT_OUT, _CUT)
    colours = {state.value: colour for state, colour in _COLOURS.items()} if output.paints() else None
    summaries = (line for track in tracks for line in _summary(track, width))
    # With commands to be copied: in one piece.
    refused = (f"{track.label}: {describe(track.refused)}" for track in tracks if track.refused)
    return [*output.table(rows, colours), "", *summaries, *map(visible, refused)]


def _row(track: str, migration: Migration) -> tuple[str, ...]:
    entry = migration.entry
    applied = took = by = ""
    if entry is not None:
        by = entry.done_by
        applied = (entry.finished_at or entry.started_at).isoformat(sep=" ", timespec="seconds")
        took = output.took(entry)
    return (
        track,
        str(migration.version),
        visible(migration.name),
        migration.state.value,
        applied,
        took,
        visible(by),
    )


def _summary(track: "TrackOverview", width: int | None) -> Iterator[str]:
    for indent, text in _facts(track):
        line = " " * indent + visible(text)
        yield from [line] if width is None else _wrapped(line, width, indent + 4)


def _wrapped(line: str, width: int, indent: int) -> list[str]:
    return textwrap.wrap(
        line, width, subsequent_indent=" " * indent, break_long_words=False, break_on_hyphens=False
    )


def _facts(track: "TrackOverview") -> Iterator[tuple[int, str]]:
    """Texts, and how far they are indented."""
    parts = [track.table + (": no version" if track.row.version < 0 else f": version {track.row}")]
    counts = Counter(
        migration.state for migration in track.migrations if migration.state is not FileState.DIRTY
    )
    parts += [f"{count} {state}" for state, count in counts.items()]
    yield 0, f"{track.label}: {'; '.join(parts)}"
    failed = next(
        (migration.entry for migration in track.migrations if migration.state is FileState.DIRTY), None
    )
    if failed is not None and failed.error:
        yield 2, f"failed: {_failure(failed.error)}"


def _failure(error: dict[str, Any]) -> str:
    """An error of the history, as the log had it, without the statement's number."""
    names = ("file", "line", "column", "sql_state", "effect")
    fields = {name: error[name] for name in names if name in error}
    return describe(ErrorInfo(str(error.get("message", "")), **fields))


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
                "version": migration.version,
                "file": migration.name,
                "state": migration.state.value,
                "appliedAt": migration.entry.finished_at.isoformat()
                if migration.entry and migration.entry.finished_at and migration.state is not FileState.DIRTY
                else None,
                "by": migration.entry.done_by if migration.entry else None,
            }
            for migration in track.migrations
        ],
    }
