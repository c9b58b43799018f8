"""``fluxbase-migrate plan --rehearse``: what the files really did on a copy."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from fluxbase_migrations.cli.wrapping import wrapped
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.runner.lookahead.effect import State
from fluxbase_migrations.runner.lookahead.pending import TrackPlan
from fluxbase_migrations.runner.lookahead.rehearsal import Comparison, Rehearsal
from fluxbase_migrations.runner.lookahead.rehearsed_file import RanFile, RanStatement

_LINES: Final = 20
"""Of a difference between two schemas."""
Foretold = Mapping[tuple[str, int], Mapping[str, int]]
"""By file and statement, the strength of the lock that the plan has for each relation."""


def text(seen: Rehearsal, tracks: Sequence[TrackPlan]) -> Iterator[str]:
    """For people; the second time that a file runs is one line."""
    yield ""
    yield from wrapped(f"rehearsal on database {seen.database}", 0)
    for warning in seen.warnings:
        yield from wrapped(f"warning: {warning}", 2)
    known = foretold(tracks)
    again: set[str] = set()
    for file in seen.files:
        yield from wrapped(f"{file.name}: {file.seconds:.3f}s, {_transactions(file.transactions)}", 2)
        if file.name not in again:
            for one in file.statements:
                yield from _statement(file, one, known)
        if file.error is not None:
            yield from wrapped(f"error: {describe(file.error)}", 4)
        again.add(file.name)
    for comparison in seen.comparisons:
        yield from _comparison(comparison)


def _transactions(count: int) -> str:
    return "1 transaction" if count == 1 else f"{count} transactions"


def _statement(file: RanFile, one: RanStatement, known: Foretold) -> Iterator[str]:
    locks = ", ".join(f"{lock} on {name}" for name, lock in one.locks) or "no further lock on what exists"
    sampled = " (sampled)" if one.sampled else ""
    yield from wrapped(f"{one.number} {one.tag} (line {one.line}) {one.seconds:.3f}s: {locks}{sampled}", 4)
    more = surprises(file, one, known)
    if more:
        yield from wrapped(f"not in the plan: {', '.join(more)}", 8)


def _comparison(one: Comparison) -> Iterator[str]:
    if one.same is None:
        yield from wrapped(f"{one.what}: schema not compared, {one.why}", 2)
        return
    yield from wrapped(f"{one.what}: {'the same schema' if one.same else 'another schema'}", 2)
    for line in one.difference[:_LINES]:
        yield from wrapped(line, 6)
    if more := one.difference[_LINES:]:
        yield from wrapped(f"and {len(more)} more lines", 6)


def foretold(tracks: Sequence[TrackPlan]) -> Foretold:
    """What the plan has for each statement, by file and number."""
    return {
        (file.step.label, one.number): {
            touch.relation.name: touch.lock.strength
            for touch in one.effect.touches
            if touch.relation.state is State.EXISTS
        }
        for track in tracks
        for file in track.files
        for one in file.statements
    }


def surprises(file: RanFile, one: RanStatement, known: Foretold) -> list[str]:
    """The locks that are stronger than the plan has them, or that it has not at all."""
    planned = known.get((file.name, one.number))
    if planned is None:  # a down file, run only to go back
        return []
    return [f"{lock} on {name}" for name, lock in one.locks if lock.strength > planned.get(name, 0)]


def as_json(seen: Rehearsal, tracks: Sequence[TrackPlan]) -> dict[str, Any]:
    """For programs."""
    known = foretold(tracks)
    return {
        "database": seen.database,
        "warnings": list(seen.warnings),
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
                        "number": one.number,
                        "line": one.line,
                        "tag": one.tag,
                        "seconds": round(one.seconds, 6),
                        "locks": {name: lock.value for name, lock in one.locks},
                        "sampled": one.sampled,
                        "notInThePlan": surprises(file, one, known),
                    }
                    for one in file.statements
                ],
            }
            for file in seen.files
        ],
        "schema": [
            {"after": one.what, "same": one.same, "why": one.why, "difference": list(one.difference)}
            for one in seen.comparisons
        ],
    }
