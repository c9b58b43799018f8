"""``history`` fits the terminal, and has another form for programs."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import yaml

from fluxbase_migrations.cli.golang_arguments import without_booleans
from fluxbase_migrations.cli.history import fitted, show
from fluxbase_migrations.core.text import elapsed
from fluxbase_migrations.runner.history.entry import Entry, EntryKind

BEGAN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def entry(**different: Any) -> Entry:
    columns: dict[str, Any] = {
        **dict.fromkeys(("checksum", "done_checksum", "in_doubt", "error", "token", "row_xmin")),
        "id": 1,
        "kind": EntryKind.MIGRATION,
        "version": 2,
        "file": "002_orders.up.sql",
        "direction": "up",
        "from_version": 1,
        "to_version": 2,
        "outcome": "applied",
        "statements": 3,
        "done": 3,
        "proven": True,
        "details": {},
        "attempt": "a",
        "started_at": BEGAN,
        "finished_at": BEGAN + timedelta(seconds=1.5),
        "done_by": "app@shop-7d9f8",
    }
    return Entry(**{**columns, **different})


FAILED = entry(outcome="failed", done=0, error={"message": 'relation "orders" does not exist'})
ROWS = [
    ("STARTED", "TOOK", "WHAT", "FILE", "FROM", "TO", "OUTCOME", "STATEMENTS", "BY", "ERROR"),
    ("2026-01-02 03:04:05", "1.5s", "up", "002_orders.up.sql", "1", "2", "failed", "0/3", "app", "x" * 60),
]


@pytest.mark.parametrize("width", [40, 60, 79, 80, 100, 120, 200])
def test_a_table_is_as_wide_as_the_terminal_and_no_wider(width: int) -> None:
    lines = [
        "  ".join(text.ljust(size) for text, size in zip(row, widths, strict=True)).rstrip()
        for rows in [fitted(ROWS, width)]
        for widths in [[max(map(len, column)) for column in zip(*rows, strict=True)]]
        for row in rows
    ]
    assert max(map(len, lines)) <= max(width, 66)
    assert {"STARTED", "WHAT", "FILE", "OUTCOME", "ERROR"} <= set(lines[0].split())
    if width == 200:
        assert lines[0].split() == list(ROWS[0])


def test_a_column_in_which_nothing_stands_takes_no_room() -> None:
    rows = [ROWS[0], (*ROWS[1][:-1], "")]
    assert "ERROR" not in fitted(rows, 300)[0]


def test_an_empty_history_has_its_heading() -> None:
    assert fitted(ROWS[:1], 300) == [ROWS[0]]


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_program_reads_every_field(capsys: pytest.CaptureFixture[str], form: str, read: Any) -> None:
    assert show([entry(from_version=-1, error={"message": "a\x1b"}), entry(finished_at=None)], form) == 0
    first, second = read(capsys.readouterr().out)
    assert first["startedAt"] == "2026-01-02T03:04:05+00:00"
    assert (first["seconds"], first["fromVersion"], first["toVersion"]) == (1.5, None, 2)
    assert first["error"] == {"message": "a\\x1b"}
    assert (second["finishedAt"], second["seconds"]) == (None, None)


def test_what_is_no_terminal_gets_every_column(capsys: pytest.CaptureFixture[str]) -> None:
    assert show([FAILED], "text") == 0
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == list(ROWS[0])
    assert row.endswith('relation "orders" does not exist')


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        (["history", "--version=1"], ["history", "--version=1"]),
        (["-version=true"], ["-version"]),
        (["up", "-verbose=false"], ["up"]),
    ],
)
def test_a_version_is_a_value_of_history_and_a_switch_of_the_program(
    typed: list[str], kept: list[str]
) -> None:
    assert without_booleans(typed) == kept


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        *((0.0, "0ms"), (0.0271, "27ms"), (0.9994, "999ms"), (0.9999, "1.0s"), (1.25, "1.2s")),
        *(
            (59.94, "59.9s"),
            (59.96, "1m0s"),
            (303, "5m3s"),
            (3599.4, "59m59s"),
            (3600, "1h0m"),
            (7500, "2h5m"),
        ),
    ],
)
def test_a_time_is_read_at_a_glance(seconds: float, shown: str) -> None:
    assert elapsed(seconds) == shown
