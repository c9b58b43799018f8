"""SIGTERM, SIGINT and SIGHUP: the handler records them, and the run ends where it is safe to stop.

Python as PID 1 ignores SIGTERM until a handler is set, so a handler is set first of all.
"""

import os
import select
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from types import FrameType
from typing import Final

from fluxbase_migrations.core.errors import Interrupted

MARGIN: Final = 10.0
"""Seconds before the grace period's end at which a statement outside a transaction is cancelled."""


class OnSignal(StrEnum):
    """What to do with the file that is running; no further one starts."""

    AUTO = "auto"
    """Cancel an atomic file (it is rolled back); let a statement outside a transaction go on."""
    FINISH = "finish"
    """Let it come to its end, all its groups included."""
    CANCEL = "cancel"
    """Cancel what runs; what an earlier group has committed stays."""


class Stop:
    """Whether the run was asked to end, and how long it may take to."""

    def __init__(self, policy: OnSignal = OnSignal.AUTO, grace_period: float = 120.0) -> None:
        self.policy = policy
        self.grace_period = grace_period
        self.signal: str | None = None
        self._since = 0.0
        self._at_once = False
        self._reader, self._writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __del__(self) -> None:
        """Close the pipe: a program has one for as long as it runs, a process of tests has hundreds."""
        os.close(self._reader)
        os.close(self._writer)

    def install(self) -> None:
        """Handle SIGTERM, SIGINT and SIGHUP from now on; what ``nohup`` ignores stays ignored."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            if number is signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
                continue
            signal.signal(number, self._handle)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        name = signal.Signals(number).name
        self.request(name)
        if self._at_once:
            raise Interrupted(f"{name} received")

    @contextmanager
    def at_once(self) -> Iterator[None]:
        """While nothing is done that could be left half done, a signal ends any wait by an exception.

        Raises:
            Interrupted: a signal came, wherever the program was.
        """
        self._at_once = True
        try:
            if self.signal is not None:
                raise Interrupted(f"{self.signal} received")
            yield
        finally:
            self._at_once = False

    def request(self, name: str) -> None:
        """Ask the run to end, as a signal would."""
        if self.signal is None:
            self.signal, self._since = name, time.monotonic()
        else:
            self.policy = OnSignal.CANCEL  # the second request: no more waiting
        os.write(self._writer, b"!")

    @property
    def fileno(self) -> int:
        """Becomes readable when a signal arrives, so that a wait on a socket ends."""
        return self._reader

    def wait(self, seconds: float) -> None:
        """Sleep until a signal arrives."""
        select.select([self._reader], [], [], seconds)

    def drain(self) -> None:
        """Empty :attr:`fileno`, so that it becomes readable again only by another signal."""
        try:
            os.read(self._reader, 64)
        except BlockingIOError:
            return

    def should_cancel(self, atomic: bool) -> bool:
        """Whether the statement that is running should be cancelled now."""
        if self.signal is None:
            return False
        if self.policy is OnSignal.CANCEL or (self.policy is OnSignal.AUTO and atomic):
            return True
        return self._late

    @property
    def should_leave_file(self) -> bool:
        """Whether a file in groups should be left before its next group."""
        return self.signal is not None and (self.policy is not OnSignal.FINISH or self._late)

    @property
    def _late(self) -> bool:
        return time.monotonic() - self._since > max(0.0, self.grace_period - MARGIN)
