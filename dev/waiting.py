"""Waiting for a condition, with an end."""

import time
from collections.abc import Callable


def eventually(what: str, holds: Callable[[], bool], timeout: float = 60, every: float = 0.02) -> None:
    """Look until it holds; fail, naming ``what`` was awaited, after ``timeout`` seconds."""
    deadline = time.monotonic() + timeout
    while not holds():
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}")
        time.sleep(every)
