"""``fluxbase-migrate history``: the history as a table, fitted to the terminal, or for programs."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from fluxbase_migrations.cli import output
from fluxbase_migrations.core.text import visible, visible_in

if TYPE_CHECKING:
    from fluxbase_migrations.runner.history.entry import Entry

_HEAD: Final = ("STARTED", "TOOK", "WHAT", "FILE", "FROM", "TO", "OUTCOME", "STATEMENTS", "BY", "ERROR")
_LEFT_OUT: Final = ("STATEMENTS", "FROM", "BY", "TO", "TOOK")
"""Columns that a narrow terminal has no room for, the least important first."""
_CUT: Final = {"ERROR": 12, "FILE": 16}
"""Columns that are shortened where that is not enough, and the characters that stay of them."""


def show(entries: Sequence["Entry"], form: str = "wide") -> int:
    """Print one line per entry, oldest first; returns the exit code.

    ``form`` is ``text``, which is fitted to a terminal, ``wide``, ``json`` or ``yaml``.
    """
    if form in ("json", "yaml"):
        return output.answer(_for_programs([_document(entry) for entry in entries], form))
    rows = [_HEAD, *(tuple(map(visible, _row(entry))) for entry in entries)]
    width = output.terminal_width() if form == "text" else None
    return output.answer(output.table(rows if width is None else fitted(rows, width)))


def fitted(rows: Sequence[Sequence[str]], width: int) -> list[tuple[str, ...]]:
    """``rows``, of which the first is the heading, in at most ``width`` characters if that is possible."""
    return output.fitted(rows, width, _LEFT_OUT, _CUT)


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


def _document(entry: "Entry") -> dict[str, Any]:
    ended = entry.finished_at
    return {
        "startedAt": entry.started_at.isoformat(),
        "finishedAt": None if ended is None else ended.isoformat(),
        "seconds": None if ended is None else round((ended - entry.started_at).total_seconds(), 3),
        "kind": entry.kind.value,
        "direction": entry.direction,
        "file": entry.file,
        "version": _applied(entry.version),
        "fromVersion": _applied(entry.from_version),
        "toVersion": _applied(entry.to_version),
        "outcome": entry.outcome,
        "proven": entry.proven,
        "statements": entry.statements,
        "done": entry.done,
        "by": entry.done_by,
        "error": entry.error,
    }


def _applied(version: int | None) -> int | None:
    return None if version is None or version < 0 else version


def _for_programs(documents: list[dict[str, Any]], form: str) -> list[str]:
    printable = visible_in(documents)
    if form == "json":
        return [json.dumps(printable, indent=2, ensure_ascii=False)]
    import yaml  # slow to import, needed for this form only

    return [yaml.safe_dump(printable, sort_keys=False, allow_unicode=True).rstrip("\n")]
