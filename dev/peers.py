"""The two command lines under comparison, ours and golang-migrate's, as their users run them.

Both are separate processes with an environment of their own: nothing but the arguments reaches them.
GOLANG_MIGRATE names a binary to use instead of the one that is built (and cached) from its released source.
"""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from dev.localcluster.tools import tool
from dev.prefork import Prefork

APP = ("migrations", "app")
"""Schema and name of the user track's version table."""

LIMIT = 120.0
"""Seconds after which a process counts as hanging."""


@dataclass(frozen=True)
class Finished:
    """A process that has ended."""

    argv: Sequence[str]
    code: int
    output: str
    """Both streams, as a terminal shows them."""
    seconds: float

    @property
    def command(self) -> str:
        """The command and its output, without the connection string, for a failed assertion."""
        words = [re.sub(r"://[^@]*@", "://…@", word) for word in self.argv]
        return f"{' '.join(words)}\nexit code {self.code}\n{self.output}"


@dataclass(frozen=True)
class Peer:
    """One of the two command lines on one database, source directory and tracking table."""

    dsn: str
    source: Path
    table: tuple[str, str] = APP

    def argv(self, *command: str) -> list[str]:
        raise NotImplementedError

    def run(self, *command: str, stdin: str = "", timeout: float = LIMIT) -> Finished:
        """Run to the end; a process that exceeds ``timeout`` seconds is killed and the test fails."""
        argv = self.argv(*command)
        began = time.monotonic()
        done = subprocess.run(
            argv,
            input=stdin,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            encoding="utf-8",
            errors="replace",
            env=environment(),
            cwd=tempfile.gettempdir(),
            timeout=timeout,
            check=False,
        )
        return Finished(argv, done.returncode, done.stdout, time.monotonic() - began)

    def start(self, *command: str, log: Path) -> "Started":
        """Start a process in a group of its own; its output goes to ``log``."""
        argv = self.argv(*command)
        with log.open("wb") as output:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=environment(),
                cwd=tempfile.gettempdir(),
                start_new_session=True,
            )
        return Started(argv, process, log, time.monotonic())


@dataclass(frozen=True)
class Started:
    """A process that may still run."""

    argv: Sequence[str]
    process: subprocess.Popen[bytes]
    log: Path
    began: float

    def finish(self, timeout: float = LIMIT) -> Finished:
        """Wait for its end; kill it and fail after ``timeout`` seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            output = self.log.read_text(errors="replace")
            raise AssertionError(f"still running after {timeout:g} s: {self.argv[-1]}\n{output}") from None
        return Finished(
            self.argv,
            self.process.returncode,
            self.log.read_text(errors="replace"),
            time.monotonic() - self.began,
        )

    def kill(self) -> None:
        """SIGKILL, as the kernel does when memory runs out."""
        self.process.kill()


@dataclass(frozen=True)
class Ours(Peer):
    """``fluxbase-migrate``, installed beside the interpreter that runs the tests."""

    options: Sequence[str] = ()
    prefork: Prefork | None = None
    """Fork from it instead of starting a new interpreter."""

    def run(self, *command: str, stdin: str = "", timeout: float = LIMIT) -> Finished:
        """Run to the end; a process that exceeds ``timeout`` seconds is killed and the test fails."""
        if self.prefork is None:
            return super().run(*command, stdin=stdin, timeout=timeout)
        argv = self.argv(*command)
        began = time.monotonic()
        code, output = self.prefork.run(argv[1:], stdin, timeout)
        return Finished(argv, code, output, time.monotonic() - began)

    def argv(self, *command: str) -> list[str]:
        program = str(Path(sys.executable).with_name("fluxbase-migrate"))
        where = ["--database-url", self.dsn, "--source", str(self.source), "--table", ".".join(self.table)]
        return [program, *where, *self.options, *command]


@dataclass(frozen=True)
class GolangMigrate(Peer):
    """golang-migrate's own command line."""

    driver: Literal["postgres", "pgx5"] = "postgres"

    def argv(self, *command: str) -> list[str]:
        table = quote('"{}"."{}"'.format(*self.table), safe="")
        url = f"{self.driver}{self.dsn.removeprefix('postgresql')}"
        url += f"{'&' if '?' in url else '?'}x-migrations-table={table}&x-migrations-table-quoted=1"
        return [golang_migrate(), "-path", str(self.source), "-database", url, *command]


def golang_migrate() -> str:
    """Path of golang-migrate's binary."""
    return os.environ.get("GOLANG_MIGRATE") or str(tool("migrate"))


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """What a process needs to run, and nothing that names a database."""
    kept = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "VIRTUAL_ENV", "COVERAGE_PROCESS_START")
    return {name: os.environ[name] for name in kept if name in os.environ} | dict(extra or {})


def write_files(directory: Path, files: Mapping[str, str | bytes]) -> Path:
    """Write migration files; returns the directory."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (directory / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return directory
