"""A program that a test runs beside itself, kills, and starts again."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

END_SECONDS = 10.0


class Program:
    """One process at a time of one command line; as a context manager it runs throughout the block.

    ``environment`` is its whole environment; None: our own. Its output is appended to ``log``.
    """

    def __init__(
        self, argv: Sequence[Path | str], log: Path, environment: Mapping[str, str] | None = None
    ) -> None:
        self._argv = [*argv]
        self._log = log
        self._environment = environment
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, unless it runs."""
        if self.runs():
            return
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self._argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment,
            )

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None, "it was never started"
        return self._process.pid

    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait for its end."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def end(self) -> None:
        """SIGTERM; a program that ignores it is killed."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def log_tail(self, lines: int = 30) -> str:
        """The last lines of its output."""
        if not self._log.exists():
            return "(it has said nothing)"
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-lines:])

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.end()
