"""An operator as a process of its own: its CPU and memory, and when it is idle."""

import asyncio
import contextlib
import re
import time
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass

from bench import process
from dev.programs import Program

RESTART = 1.0
"""Seconds until an operator that has ended is started again."""
READY = 60.0
"""Seconds for an operator to lead."""
PATIENCE = 600.0
"""Seconds for it to reconcile every set."""
QUIET = 1.5
QUIET_CPU = 0.1
"""Seconds of CPU within ``QUIET`` seconds that a quiet operator uses at most."""


@dataclass
class OperatorProcess:
    """Its program, and the port of its metrics."""

    program: Program
    port: int
    restarts: int = 0
    """How often it had ended by itself, as it does when it cannot renew its Lease for ten seconds."""

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator["OperatorProcess"]:
        """Run throughout the block; one that ends by itself is started again, as the kubelet does."""
        with self.program:
            keeping = asyncio.create_task(self.keep_running(), name="keep the operator running")
            try:
                yield self
            finally:
                keeping.cancel()
                await asyncio.gather(keeping, return_exceptions=True)

    async def keep_running(self) -> None:
        """Start it whenever it does not run, until cancelled."""
        while True:
            await asyncio.sleep(RESTART)
            if not self.program.runs():
                self.program.start()
                self.restarts += 1

    def cpu(self) -> float:
        """Seconds of CPU that it has used."""
        return process.cpu(self.program.pid)

    def memory(self, what: str = "VmRSS") -> float:
        """In MB; ``VmHWM`` is the most that it ever was."""
        return process.memory(self.program.pid, what)

    def threads(self) -> int:
        """How many threads it has."""
        return process.threads(self.program.pid)

    async def ready(self) -> None:
        """Wait until it leads and watches.

        Raises:
            RuntimeError: it does not; with its log.
        """
        until = time.monotonic() + READY
        while time.monotonic() < until:
            if await asyncio.to_thread(self._get, "readyz"):
                return
            await asyncio.sleep(0.1)
        raise RuntimeError(f"the operator does not lead\n{self.program.log_tail()}")

    def reconciles(self) -> int:
        """The number of reconciles, by its metrics."""
        text = self._get("metrics")
        match = re.search(r"^fluxbase_migrations_reconcile_seconds_count (\S+)", text, re.MULTILINE)
        return int(float(match[1])) if match else 0

    async def steady(self, begun: float, sets: int, patience: float = PATIENCE) -> float:
        """Wait until it has reconciled every set and is quiet; seconds from ``begun`` until then.

        Reading its metrics costs more than a reconcile, so the process' CPU tells when it is quiet.

        Raises:
            RuntimeError: it has not within ``patience`` seconds.
        """
        samples: list[tuple[float, float]] = []
        while time.monotonic() < begun + patience:
            if not self.program.runs():
                samples.clear()
                await asyncio.sleep(0.1)
                continue
            samples.append((time.monotonic(), self.cpu()))
            recent = [sample for sample in samples if sample[0] > samples[-1][0] - QUIET]
            used = samples[-1][1] - recent[0][1]
            if used < QUIET_CPU and samples[-1][0] - begun > QUIET and self.reconciles() >= sets:
                return recent[0][0] - begun
            await asyncio.sleep(0.1)
        raise RuntimeError(f"{sets - self.reconciles()} sets were not looked at; {self.program.log_tail()}")

    def _get(self, what: str) -> str:
        """The response's text; empty on an error."""
        url = f"http://127.0.0.1:{self.port}/{what}"
        with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=60) as answer:
            text: str = answer.read().decode()
            return text
        return ""
