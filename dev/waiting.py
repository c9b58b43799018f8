"""Waiting for a condition, with an end."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T | None], timeout: float = 60, every: float = 0.02) -> T:
    """Look until there is something true to return; fail with ``what`` was awaited after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while True:
        result = look()
        if result:
            return result
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:g} s for {what}")
        time.sleep(every)
