"""What differs from run to run is replaced, and columns stay where they were."""

import pytest

from tests.terminal.normalising import DIGEST, comparable, normalised


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ("INFO Ran migration took=1.3s source=user", "INFO Ran migration took=12ms source=user"),
        ("a  2026-11-26 01:51:19+00:00  8ms   b", "a  2026-01-31 12:00:00+00:00  12ms  b"),
        ("a  1021ms  b", "a  12ms    b"),
        ("  1 ALTER TABLE (line 3) 1.3s: no lock", "  1 ALTER TABLE (line 3) 12ms: no lock"),
        ("  001_a.up.sql: 3ms, 1 transaction", "  001_a.up.sql: 12ms, 1 transaction"),
        ("up 1 001_a.up.sql (3ms)", "up 1 001_a.up.sql (12ms)"),
        ("b  ada@a-long-name.example  failed", "b  ada@laptop               failed"),
        ("b  ada@pc  failed", "b  ada@laptop  failed"),
        ("NAME   105s   x", "NAME   5s     x"),
        ("Retry:             5 times, after 10s", "Retry:             5 times, after 10s"),
        (
            f"the plan sha256:{'0' * 12} of sha256:{'0' * 64}",
            f"the plan sha256:{DIGEST[:12]} of sha256:{DIGEST}",
        ),
        ("on 127.0.0.1:33109", "on localhost:5432"),
    ],
)
def test_a_placeholder_takes_the_room_of_what_it_stands_for(line: str, shown: str) -> None:
    assert normalised(line, {"33109": "5432"}) == shown


def test_widths_of_columns_are_not_compared() -> None:
    assert comparable("a   b  ") == comparable("a b")
