"""``status`` fits the terminal, and has colours there."""

import pytest

from fluxbase_migrations.cli import output, status
from fluxbase_migrations.runner.commands.verbs import TrackOverview
from fluxbase_migrations.runner.history.entry import Row
from fluxbase_migrations.runner.history.overview import FileState, Migration
from tests.unit.test_history import entry


def dirty(name: str) -> TrackOverview:
    error = {"message": "no such type", "file": name, "line": 2, "column": 7, "sql_state": "42704"}
    failed = entry(file=name, outcome="failed", error=error | {"statement": "1 of 2", "of_tomorrow": 1})
    return TrackOverview(
        "user", "migrations.app", Row(2, True), [Migration(2, name, FileState.DIRTY, failed)]
    )


@pytest.mark.parametrize(
    ("width", "columns"),
    [
        (106, ["TRACK", "VERSION", "FILE", "STATE", "APPLIED", "TOOK", "BY"]),
        (90, ["TRACK", "VERSION", "FILE", "STATE", "APPLIED", "TOOK"]),
        (82, ["TRACK", "VERSION", "FILE", "STATE", "APPLIED"]),
        (81, ["TRACK", "VERSION", "FILE", "STATE"]),
        (40, ["TRACK", "VERSION", "FILE", "STATE"]),
    ],
)
def test_the_table_is_as_wide_as_the_terminal(
    width: int, columns: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "terminal_width", lambda: width)
    status.show([dirty("002_a_name_of_some_length.up.sql")], "text")
    heading, *lines = capsys.readouterr().out.splitlines()
    assert heading.split() == columns
    assert len(lines[0]) <= width
    assert max(map(len, lines)) <= max(width, 50), "but for a word that is longer"


@pytest.mark.parametrize("paints", [True, False])
def test_states_have_colours_where_there_are_any(
    paints: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(output, "paints", lambda: paints)
    status.show([dirty("002_dirty.up.sql")], "text")
    row = capsys.readouterr().out.splitlines()[1]
    assert ("002_dirty.up.sql  \x1b[31mdirty\x1b[0m  2026" in row) == paints
    assert ("\x1b" in row) == paints


def test_a_failure_is_told_with_its_place(capsys: pytest.CaptureFixture[str]) -> None:
    status.show([dirty("002_a.up.sql")], "text")
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "user: migrations.app: version 2 (dirty)",
        "  failed: 002_a.up.sql:2:7: no such type (SQLSTATE 42704)",
    ]
