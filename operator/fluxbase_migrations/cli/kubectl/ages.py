"""Durations and ages as kubectl prints them: ``45s``, ``5m30s``, ``2d3h``; and as its options take them."""

import argparse
from datetime import datetime, timedelta
from typing import Final

from fluxbase_migrations.core import durations

UNKNOWN: Final = "<unknown>"
_MINUTE, _HOUR, _DAY, _YEAR = 60, 3_600, 86_400, 365 * 86_400
_SCALES: Final = (
    # below this age: its unit, and the unit of the rest; None: no rest is shown
    (2 * _MINUTE, 1, None),
    (10 * _MINUTE, _MINUTE, 1),
    (3 * _HOUR, _MINUTE, None),
    (8 * _HOUR, _HOUR, _MINUTE),
    (2 * _DAY, _HOUR, None),
    (8 * _DAY, _DAY, _HOUR),
    (2 * _YEAR, _DAY, None),
    (8 * _YEAR, _YEAR, _DAY),
)
_UNITS: Final = {1: "s", _MINUTE: "m", _HOUR: "h", _DAY: "d", _YEAR: "y"}


def short(span: timedelta) -> str:
    """At most two units, the larger ones alone where the smaller does not matter any more."""
    seconds = max(int(span.total_seconds()), 0)  # clocks differ: a time in the future counts as now
    large, small = next(((large, small) for below, large, small in _SCALES if seconds < below), (_YEAR, None))
    text = f"{seconds // large}{_UNITS[large]}"
    rest = seconds % large // small if small else 0
    return f"{text}{rest}{_UNITS[small]}" if small and rest else text


def age(stamp: object, now: datetime) -> str:
    """How long ago a time stamp of the API server was."""
    moment = moment_of(stamp)
    return UNKNOWN if moment is None else short(now - moment)


def moment_of(stamp: object) -> datetime | None:
    """A time stamp of the API server; None where there is none."""
    try:
        return datetime.fromisoformat(str(stamp))
    except ValueError:
        return None


def timeout(text: str) -> float:
    """Seconds of an option: a duration like ``90s`` or ``5m``, or a number of seconds."""
    try:
        seconds = float(text) if text.replace(".", "", 1).isdecimal() else durations.seconds(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return seconds
