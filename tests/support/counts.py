"""How many tests passed on which interpreter, said just before pytest's closing line.

TEST_COUNTS names a file that the runs of one command share: each adds its line, and shows those before it.
TEST_INTERPRETER says whose interpreter it is, where that is not the virtual environment's name.
"""

import os
import platform
import sys
from collections.abc import Mapping, Sized
from pathlib import Path
from typing import Final

OUTCOMES: Final = ("passed", "failed", "error", "skipped")


def line(stats: Mapping[str, Sized]) -> str:
    """This interpreter, and its counts of outcomes."""
    owner = os.environ.get("TEST_INTERPRETER") or Path(sys.prefix).name
    counts = [f"{len(stats[outcome])} {outcome}" for outcome in OUTCOMES if stats.get(outcome)]
    return f"Python {platform.python_version()} of {owner}: {', '.join(counts) or 'no tests ran'}"


def lines(stats: Mapping[str, Sized]) -> list[str]:
    """One line for each run of the command so far; this one's, the last, is added to the file."""
    own = line(stats)
    name = os.environ.get("TEST_COUNTS")
    if not name:
        return [own]
    file = Path(name)
    before = file.read_text().splitlines() if file.exists() else []
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("a") as opened:
        opened.write(f"{own}\n")
    return [*before, own]
