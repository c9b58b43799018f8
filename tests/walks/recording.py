"""Which functions of the product are called, in which order."""

import contextlib
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any, Final

PACKAGE: Final = "fluxbase_migrations."


class Calls(list[str]):
    """``module:function`` of each call, in order; the module without the package's name."""

    def record(self, frame: FrameType, event: str, _argument: Any) -> None:
        """Take a call down; for :func:`sys.setprofile`."""
        module = frame.f_globals.get("__name__", "")
        if event == "call" and module.startswith(PACKAGE):
            self.append(f"{module.removeprefix(PACKAGE)}:{frame.f_code.co_qualname}")

    def misses(self, walk: list[str]) -> str | None:
        """The first step of ``walk`` that was not taken after those before it; None: all were, in order."""
        calls = iter(self)
        return next((step for step in walk if step not in calls), None)


@contextlib.contextmanager
def recorded() -> Iterator[Calls]:
    """Record this thread, and those that are started within the block."""
    calls = Calls()
    threading.setprofile(calls.record)
    sys.setprofile(calls.record)
    try:
        yield calls
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
