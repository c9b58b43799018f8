"""Ages, tables and lines of ``kubectl fluxbase``."""

import argparse
import fcntl
import itertools
import os
import struct
import subprocess
import sys
import termios
from datetime import UTC, datetime, timedelta

import pytest

from fluxbase_migrations.cli.kubectl.ages import UNKNOWN, age, short, timeout
from fluxbase_migrations.cli.kubectl.arguments import EXAMPLES, parser
from fluxbase_migrations.cli.kubectl.commands import COMMANDS
from fluxbase_migrations.cli.kubectl.layout import columns, fitted, table
from fluxbase_migrations.cli.kubectl.program import main

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        ({"seconds": -5}, "0s"),
        ({"seconds": 119}, "119s"),
        ({"seconds": 120}, "2m"),
        ({"seconds": 330}, "5m30s"),
        ({"minutes": 10, "seconds": 59}, "10m"),
        ({"minutes": 179}, "179m"),
        ({"hours": 3}, "3h"),
        ({"hours": 7, "minutes": 59}, "7h59m"),
        ({"hours": 8, "minutes": 59}, "8h"),
        ({"hours": 47}, "47h"),
        ({"days": 2}, "2d"),
        ({"days": 2, "hours": 3}, "2d3h"),
        ({"days": 8, "hours": 3}, "8d"),
        ({"days": 729}, "729d"),
        ({"days": 730}, "2y"),
        ({"days": 800}, "2y70d"),
        ({"days": 8 * 365 + 3}, "8y"),
    ],
)
def test_a_duration_is_kubectls(span: dict[str, int], text: str) -> None:
    assert short(timedelta(**span)) == text


@pytest.mark.parametrize(
    ("stamp", "text"),
    [("2026-01-29T09:00:00Z", "2d3h"), ("2026-01-31T11:55:00+00:00", "5m"), (None, UNKNOWN), ("", UNKNOWN)],
)
def test_an_age_is_told_from_a_time_stamp(stamp: str | None, text: str) -> None:
    assert age(stamp, NOW) == text


@pytest.mark.parametrize(("text", "seconds"), [("300", 300), ("0.5", 0.5), ("5m", 300), ("1h30m", 5400)])
def test_a_timeout_is_a_duration_or_seconds(text: str, seconds: float) -> None:
    assert timeout(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "soon", "5 m", "nan", "inf", "1.2.3"])
def test_what_is_no_timeout_is_a_usage_error(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        timeout(text)


ROWS = [("NAME", "REASON", "MESSAGE"), ("a-long-name", "x" * 30, "y" * 60), ("b", "", "short")]


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_a_table_is_cut_to_the_terminal(width: int) -> None:
    assert max(map(len, table(ROWS, width, (2, 1)))) <= width


def test_the_first_of_the_flexible_columns_gives_way_first() -> None:
    (_, long, _) = table(ROWS, 80, (2, 1))
    assert "x" * 30 in long
    assert long.endswith("y…")


@pytest.mark.parametrize("width", [None, 1000])
def test_where_there_is_room_nothing_is_cut(width: int | None) -> None:
    assert "…" not in "".join(table(ROWS, width, (2, 1)))


def test_a_table_is_never_so_narrow_that_it_says_nothing() -> None:
    (_, long, _) = table(ROWS, 1, (2, 1))
    assert len(long.split()[-1]) == len(long.split()[-2]) == 12
    assert "a-long-name" in long


def test_the_last_column_can_go_on_below_itself() -> None:
    rows = [("TYPE", "MESSAGE"), ("Warning", "one two three four five")]
    assert table(rows, 24, wrap=True) == [
        "TYPE      MESSAGE",
        "Warning   one two three",
        "          four five",
    ]


@pytest.mark.parametrize("wrap", [True, False])
def test_nobodys_text_passes_for_another_row(wrap: bool) -> None:
    rows = [("A", "B"), ("x\ny", "\x1b[31mred\n")]
    assert len(table(rows, 200, (1,), wrap=wrap)) == 2
    assert "\x1b" not in "".join(table(rows, 200, (1,), wrap=wrap))


def test_lines_are_wrapped_below_their_own_beginning() -> None:
    made = fitted(["  one two three four", "", "five"], 12)
    assert made == ["  one two", "      three", "      four", "", "five"]


def test_without_a_terminal_lines_are_left_alone() -> None:
    line = " ".join(itertools.repeat("word", 100))
    assert fitted([line], None) == [line]


@pytest.mark.parametrize(("given", "width"), [("72", 72), ("0", None), ("wide", None), ("", None)])
def test_the_terminals_width_can_be_given(
    given: str, width: int | None, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", given)
    assert columns() == width


@pytest.mark.parametrize("width", [40, 133])
def test_the_terminal_says_how_wide_it_is(width: int) -> None:
    code = "from fluxbase_migrations.cli.kubectl import layout; print(layout.columns())"
    environment = {name: value for name, value in os.environ.items() if name != "COLUMNS"}
    ours, theirs = os.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, width, 0, 0))
        subprocess.run([sys.executable, "-c", code], stdout=theirs, env=environment, check=True, timeout=60)
        assert os.read(ours, 100).split() == [str(width).encode()]
    finally:
        os.close(ours)
        os.close(theirs)


def test_every_command_has_an_example_that_can_be_typed() -> None:
    assert EXAMPLES.keys() == COMMANDS.keys() | {"completion"}
    for name, example in EXAMPLES.items():
        assert parser().parse_args(example.split()).command == name


@pytest.mark.parametrize("name", ["--namespace", "--context", "--kubeconfig", "--as"])
def test_common_options_are_explained_once_and_taken_everywhere(name: str) -> None:
    assert name in parser().format_help()
    for example in EXAMPLES.values():
        given = parser().parse_args([*example.split(), name, "x"])
        assert "x" in (given.namespace, given.context, given.kubeconfig, given.user)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        pytest.param([], "Look at and steer FluxbaseMigrationSets.", id="no command: the help"),
        pytest.param(["stauts"], "unknown command 'stauts', did you mean status?", id="a typo"),
        pytest.param(
            ["wait", "shop", "--for", "x"],
            "kubectl fluxbase wait: error: unknown argument --for; kubectl fluxbase wait --help shows",
            id="an option that the command does not have",
        ),
    ],
)
def test_a_command_line_that_is_not_understood_is_answered_with_what_would_do(
    capsys: pytest.CaptureFixture[str], words: list[str], said: str
) -> None:
    with pytest.raises(SystemExit) as ended:
        main(words)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
