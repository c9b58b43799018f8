"""``fluxbase-migrate plan --rehearse``: what the files did on a copy of the database."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.text import elapsed
from fluxbase_migrations.runner.lookahead.effect import State
from fluxbase_migrations.runner.lookahead.pending import TrackPlan
from fluxbase_migrations.runner.lookahead.rehearsal import Comparison, Rehearsal
from fluxbase_migrations.runner.lookahead.rehearsed_file import RanFile, RanStatement
from fluxbase_migrations.runner.lookahead.wrapping import wrapped

_LINES: Final = 20
"""Of a difference between two schemas."""
PlannedLocks = Mapping[tuple[str, int], Mapping[str, int]]
"""By file and statement, the strength of the lock that the plan has for each relation."""


def text(rehearsal: Rehearsal, tracks: Sequence[TrackPlan]) -> Iterator[str]:
    """For people; the second time that a file runs is one line."""
    yield ""
    yield from wrapped(f"rehearsal on database {rehearsal.database}", 0)
    for warning in rehearsal.warnings:
        yield from wrapped(f"warning: {warning}", 2)
    known = planned_locks(tracks)
    shown: set[str] = set()
    for file in rehearsal.files:
        yield from wrapped(f"{file.name}: {elapsed(file.seconds)}, {_transactions(file.transactions)}", 2)
        if file.name not in shown:
            for statement in file.statements:
                yield from _statement(file, statement, known)
        if file.error is not None:
            yield from wrapped(f"error: {describe(file.error)}", 4)
        shown.add(file.name)
    for comparison in rehearsal.comparisons:
        yield from _comparison(comparison)


def _transactions(count: int) -> str:
    return "1 transaction" if count == 1 else f"{count} transactions"


def _statement(file: RanFile, statement: RanStatement, known: PlannedLocks) -> Iterator[str]:
    locks = (
        ", ".join(f"{lock} on {name}" for name, lock in statement.locks) or "no further lock on what exists"
    )
    sampled = " (sampled)" if statement.sampled else ""
    which = f"{statement.number} {statement.tag} (line {statement.line})"
    yield from wrapped(f"{which} {elapsed(statement.seconds)}: {locks}{sampled}", 4)
    more = unplanned(file, statement, known)
    if more:
        yield from wrapped(f"not in the plan: {', '.join(more)}", 8)


def _comparison(comparison: Comparison) -> Iterator[str]:
    if comparison.same is None:
        yield from wrapped(f"{comparison.what}: schema not compared, {comparison.why}", 2)
        return
    yield from wrapped(f"{comparison.what}: {'the same schema' if comparison.same else 'another schema'}", 2)
    for line in comparison.difference[:_LINES]:
        yield from wrapped(line, 6)
    if more := comparison.difference[_LINES:]:
        yield from wrapped(f"and {len(more)} more lines", 6)


def planned_locks(tracks: Sequence[TrackPlan]) -> PlannedLocks:
    """The locks that the plan has for each statement."""
    return {
        (file.step.label, statement.number): {
            touch.relation.name: touch.lock.strength
            for touch in statement.effect.touches
            if touch.relation.state is State.EXISTS
        }
        for track in tracks
        for file in track.files
        for statement in file.statements
    }


def unplanned(file: RanFile, statement: RanStatement, known: PlannedLocks) -> list[str]:
    """The locks that are stronger than in the plan, or not in the plan at all."""
    planned = known.get((file.name, statement.number))
    if planned is None:  # a down file, run only to go back
        return []
    return [f"{lock} on {name}" for name, lock in statement.locks if lock.strength > planned.get(name, 0)]


def as_json(rehearsal: Rehearsal, tracks: Sequence[TrackPlan]) -> dict[str, Any]:
    """For programs."""
    known = planned_locks(tracks)
    return {
        "database": rehearsal.database,
        "warnings": list(rehearsal.warnings),
        "files": [
            {
                "file": file.name,
                "version": file.version,
                "direction": file.direction.value,
                "seconds": round(file.seconds, 6),
                "transactions": file.transactions,
                "error": describe(file.error) if file.error else None,
                "statements": [
                    {
                        "number": statement.number,
                        "line": statement.line,
                        "tag": statement.tag,
                        "seconds": round(statement.seconds, 6),
                        "locks": {name: lock.value for name, lock in statement.locks},
                        "sampled": statement.sampled,
                        "notInThePlan": unplanned(file, statement, known),
                    }
                    for statement in file.statements
                ],
            }
            for file in rehearsal.files
        ],
        "schema": [
            {
                "after": comparison.what,
                "same": comparison.same,
                "why": comparison.why,
                "difference": list(comparison.difference),
            }
            for comparison in rehearsal.comparisons
        ],
    }
