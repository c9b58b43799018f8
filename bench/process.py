"""What a process has used, as the kernel counted it."""

import contextlib
import os
import re
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu(process: int) -> float:
    """Seconds of CPU."""
    fields = _fields(process)
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_with_children(process: int) -> float:
    """Seconds of CPU, those of its ended children and of the running ones included."""
    total = cpu(process) + _of_children(process)
    children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    for child in children:
        with contextlib.suppress(OSError):  # it may just have ended, and then its parent's figure has it
            total += cpu(int(child))
    return total


def _of_children(process: int) -> float:
    fields = _fields(process)
    return (int(fields[13]) + int(fields[14])) / _TICKS


def _fields(process: int) -> list[str]:
    return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()


def memory(process: int, what: str = "VmRSS") -> float:
    """Resident memory in MB; ``VmHWM`` is the most that it ever was."""
    return _number(process, what) / 1000


def threads(process: int) -> int:
    """How many threads it has."""
    return _number(process, "Threads")


def _number(process: int, what: str) -> int:
    match = re.search(rf"^{what}:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert match, what
    return int(match[1])
