"""``fluxbase-migrate plan``: what would run now, for people and for programs."""

import argparse
import re
import sys
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from fluxbase_migrations.cli import output, plan_json, rehearsal
from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.runner.commands.verbs import Setup
from fluxbase_migrations.runner.connection import dsn
from fluxbase_migrations.runner.lookahead import plan_text
from fluxbase_migrations.runner.lookahead.pending import Target, TrackPlan, pending
from fluxbase_migrations.runner.lookahead.rehearsal import Rehearsal, rehearse

PENDING: Final = 2
"""Exit code of ``--detailed-exitcode`` where something is to run, as terraform's."""
_COLOURS: Final = {
    "DESTROYS": output.Colour.RED,
    "error": output.Colour.RED,
    "UNKNOWN": output.Colour.YELLOW,
    "warning": output.Colour.YELLOW,
}
"""Of words at the beginning of a line, before its colon."""
_NOT_REHEARSED: Final = "not rehearsed: the files would be refused, or the recorded version is dirty"


def plan(setup: Setup, tracks: list[tuple[Track, MigrationFiles]], given: argparse.Namespace) -> int:
    """Compute the plan, rehearse it if requested, and print both; returns the exit code."""
    planned = pending(setup, tracks, Target(given.count, given.to))
    if given.rehearse is None or not any(track.files for track in planned):
        return show(planned, given.form, detailed=given.detailed_exitcode)
    if any(track.failed or track.row.dirty for track in planned):
        print(_NOT_REHEARSED, file=sys.stderr)  # standard output is the plan's
        return show(planned, given.form, detailed=False) or 1
    seen = rehearse(setup, _copy(setup, given.rehearse), planned, [source for _, source in tracks])
    return show(planned, given.form, detailed=given.detailed_exitcode, seen=seen)


def _copy(setup: Setup, url: str) -> Setup:
    """The same settings on the database of ``url``."""
    read = dsn.read({}, url)
    before = setup.settings
    settings = read.settings(before.statement_timeout, before.ddl_lock_timeout, before.connect_patience)
    hidden = [*setup.hidden, *read.hidden]
    return replace(setup, parameters=read.parameters, hidden=hidden, settings=settings)


def show(tracks: Sequence[TrackPlan], form: str, *, detailed: bool, seen: Rehearsal | None = None) -> int:
    """Print the plan; returns 1 if a run would be refused, else 0, or with ``detailed`` :data:`PENDING`."""
    code = output.answer([plan_json.document(tracks, seen)] if form == "json" else _lines(tracks, seen))
    if code or any(track.failed for track in tracks) or (seen is not None and seen.failed):
        return 1
    return PENDING if detailed and any(track.files for track in tracks) else 0


def _lines(tracks: Sequence[TrackPlan], seen: Rehearsal | None) -> Iterator[str]:
    paint = _coloured if output.paints() else str
    yield from map(paint, _text(tracks, seen))


def _text(tracks: Sequence[TrackPlan], seen: Rehearsal | None) -> Iterator[str]:
    yield from plan_text.lines(tracks)
    if seen is not None:
        yield from rehearsal.text(seen, tracks)


def _coloured(line: str) -> str:
    """``line`` with the word in colour that says what it is about."""
    match = re.match(r" +(\w+):", line)
    colour = _COLOURS.get(match[1]) if match else None
    return line if match is None or colour is None else line.replace(match[1], colour(match[1]), 1)
