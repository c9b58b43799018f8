"""Durations as the resource writes them."""

import pytest

from fluxbase_migrations.core import durations


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0s", 0.0),
        ("250ms", 0.25),
        ("1.5s", 1.5),
        ("90s", 90.0),
        ("5m", 300.0),
        ("1h30m", 5400.0),
        ("1h2m3s4ms", 3723.004),
        ("999999h", 3599996400.0),
        ("2147483647ms", 2147483.647),
    ],
)
def test_what_a_duration_is_in_seconds(text: str, seconds: float) -> None:
    assert durations.seconds(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "1", "s", "-1s", "1 h", "1d", "1h\n", "1e3s", "٣s"])
def test_anything_else_is_told(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration; write it like 90s"):
        durations.seconds(text)
