"""Which tests run on every interpreter: files, splitter, runner, recovery, system track."""

from collections.abc import Sequence
from typing import Final

from dev.localcluster.layout import REPOSITORY

EVERYWHERE: Final = ("tests/unit", "tests/splitting", "tests/runner", "tests/system", "tests/crash")
ENVIRONMENT: Final = {"PG_VERSIONS": "15", "CRASH_RUNS": "20"}
"""Less of what .venv's interpreter does in full; what the user sets wins."""

WITHOUT: Final = ("-m", "not clients")
"""No test of Python needs PostgreSQL's client programs, which the image lacks."""
NO_TESTS: Final = 5
"""Pytest's exit code where nothing was selected."""


def choose(arguments: Sequence[str]) -> list[str] | None:
    """Pytest's arguments for them; None if files are asked for, and none of them is among these.

    Args:
        arguments: What the user gave for the whole run: options, and paths with or without ``::``.
    """
    paths = [word for word in arguments if _is_path(word)]
    options = [word for word in arguments if not _is_path(word)]
    if not paths:
        return [*WITHOUT, *options, *EVERYWHERE]
    here = [word for word in paths if _path(word).startswith(tuple(f"{part}/" for part in EVERYWHERE))]
    here += [part for part in EVERYWHERE if any(f"{part}/".startswith(f"{_path(word)}/") for word in paths)]
    return [*WITHOUT, *options, *here] if here else None


def _path(word: str) -> str:
    return word.partition("::")[0].removeprefix("./").rstrip("/")


def _is_path(word: str) -> bool:
    return not word.startswith("-") and (REPOSITORY / _path(word)).exists()


def exit_code(code: int, arguments: Sequence[str]) -> int:
    """Pytest's, where the user chose tests of which none may be among these: that is no failure then."""
    return 0 if code == NO_TESTS and arguments else code
