"""``fluxbase-migrate plan -o json``."""

import json
from collections.abc import Sequence
from typing import Any

from fluxbase_migrations.cli import rehearsal
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.runner.lookahead.effect import Touch
from fluxbase_migrations.runner.lookahead.pending import FilePlan, StatementPlan, TrackPlan
from fluxbase_migrations.runner.lookahead.rehearsal import Rehearsal
from fluxbase_migrations.runner.lookahead.summary import summary


def document(tracks: Sequence[TrackPlan], rehearsed: Rehearsal | None) -> str:
    """The plan as JSON, with the rehearsal if there was one."""
    totals = summary(tracks)
    plan: dict[str, Any] = {
        "pending": totals.files,
        "strongestLock": totals.strongest.touch.lock.value if totals.strongest else None,
        "destructive": totals.destructive > 0,
        "unknown": totals.unknown > 0,
        "tracks": [_track(track) for track in tracks],
    }
    if rehearsed is not None:
        plan["rehearsal"] = rehearsal.as_json(rehearsed, tracks)
    return json.dumps(plan, indent=2, ensure_ascii=False)


def _track(track: TrackPlan) -> dict[str, Any]:
    return {
        "track": track.label,
        "table": str(track.table),
        "version": None if track.row.version < 0 else track.row.version,
        "dirty": track.row.dirty,
        "warnings": list(track.warnings),
        "error": describe(track.error) if track.error else None,
        "files": [_file_json(file) for file in track.files],
    }


def _file_json(file: FilePlan) -> dict[str, Any]:
    return {
        "version": file.step.version,
        "file": file.step.file.name if file.step.file else None,
        "direction": file.step.direction.value,
        "checksum": file.step.file.checksum if file.step.file else None,
        "atomic": file.atomic,
        "why": file.why,
        "dirty": file.dirty,
        "hasDownFile": file.has_down,
        "error": describe(file.error) if file.error else None,
        "statements": [_statement_json(statement) for statement in file.statements],
    }


def _statement_json(statement: StatementPlan) -> dict[str, Any]:
    return {
        "number": statement.number,
        "line": statement.line,
        "transaction": statement.group,
        "tag": statement.effect.tag,
        "relations": [_touch_json(touch) for touch in statement.effect.touches],
        "destructive": list(statement.effect.destructive),
        "unknown": list(statement.effect.unknown),
        "notes": list(statement.effect.notes),
    }


def _touch_json(touch: Touch) -> dict[str, Any]:
    return {
        "relation": touch.relation.name,
        "state": touch.relation.state.value,
        "bytes": touch.relation.bytes,
        "rows": touch.relation.rows,
        "lock": touch.lock.value,
        "blocks": [blocked.value for blocked in touch.lock.blocks],
        "work": touch.work.name.lower().replace("_", "-"),
        "certain": touch.certain,
        "why": touch.why,
    }
