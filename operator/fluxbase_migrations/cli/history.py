"""``fluxbase-migrate history``: the history as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.text import visible

if TYPE_CHECKING:
    from fluxbase_migrations.runner.history.entry import Entry

_HEAD = ("STARTED", "TOOK", "WHAT", "FILE", "FROM", "TO", "OUTCOME", "STATEMENTS", "BY", "ERROR")


def show(entries: Sequence["Entry"]) -> int:
    """Print one line per entry, oldest first; returns the exit code."""
    return output.answer(output.table([_HEAD, *(tuple(map(visible, _row(entry))) for entry in entries)]))


def _row(entry: "Entry") -> tuple[str, ...]:
    what = entry.direction or entry.kind.value
    statements = "" if entry.statements is None else f"{entry.done or 0}/{entry.statements}"
    return (
        entry.started_at.isoformat(sep=" ", timespec="seconds"),
        output.took(entry),
        what,
        entry.file or "",
        _version(entry.from_version),
        _version(entry.to_version),
        entry.outcome + ("" if entry.proven else " (unproven)"),
        statements,
        entry.done_by,
        str((entry.error or {}).get("message", "")),
    )


def _version(version: int | None) -> str:
    return "" if version is None else "-" if version < 0 else str(version)
