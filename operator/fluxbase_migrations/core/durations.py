"""Durations as the resource writes them: Go's notation, like ``90s`` or ``1h30m``."""

import re
from typing import Final

_NUMBER: Final = r"([0-9]{1,10}ms|[0-9]{1,6}(\.[0-9]{1,3})?(ms|s|m|h))"
PATTERN: Final = rf"^{_NUMBER}([0-9]{{1,4}}(\.[0-9]{{1,3}})?(ms|s|m|h)){{0,3}}$"
"""What the resource's schema accepts: at most a hundred years, which every reader can hold."""
ADVICE: Final = "write a duration like 90s, 5m or 1h30m; numbers have at most six digits"

_SYNTAX: Final = re.compile(r"([0-9]+(\.[0-9]+)?(ms|s|m|h))+", re.ASCII)
_PART: Final = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h)", re.ASCII)
_SECONDS: Final = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(text: str) -> float:
    """Seconds in a duration such as ``1h30m``.

    Raises:
        ValueError: not a duration.
    """
    if not _SYNTAX.fullmatch(text):
        raise ValueError(f"{text!r} is not a duration; write it like 90s, 5m or 1h30m")
    return sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(text))
