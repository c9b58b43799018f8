"""Running a process and measuring its cost."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.peers import environment

LIMIT = 900.0
"""Seconds after which a process is killed and the benchmark fails."""

# Linux counts a parent's memory as its child's peak, so a small process of its own starts each contender.
LAUNCHER = """
import json, os, sys, time
began = time.monotonic()
pid = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, 2, 1)])
_, status, usage = os.wait4(pid, 0)
seconds = time.monotonic() - began
cpu = usage.ru_utime + usage.ru_stime
print(json.dumps([os.waitstatus_to_exitcode(status), seconds, usage.ru_maxrss / 1024, cpu]))
"""


@dataclass(frozen=True)
class Cost:
    """Of one process, from its start to its end."""

    seconds: float
    """Wall time, the interpreter's start included."""
    megabytes: float
    """Peak resident memory."""
    cpu: float = 0.0
    """Seconds of CPU of the process itself."""
    server_cpu: float = 0.0
    """The same of the server's processes, where it was measured."""


def cost(argv: Sequence[str]) -> Cost:
    """Run a command that must succeed.

    Raises:
        RuntimeError: it failed; the message has its last output.
    """
    completed = subprocess.run(
        [sys.executable, "-I", "-S", "-c", LAUNCHER, *argv],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        env=environment(),
        cwd=tempfile.gettempdir(),
        timeout=LIMIT,
        check=True,
    )
    code, seconds, megabytes, cpu = json.loads(completed.stdout)
    if code != 0:
        tail = completed.stderr[-1000:].decode(errors="replace")
        raise RuntimeError(f"{Path(argv[0]).name} ended with {code}: {tail}")
    return Cost(seconds, megabytes, cpu)
