"""What a process has used, as the kernel counted it."""

import os
import re
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu(process: int) -> float:
    """Seconds of CPU."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def memory(process: int, what: str = "VmRSS") -> float:
    """Resident memory in MB; ``VmHWM`` is the most that it ever was."""
    return _number(process, what) / 1000


def threads(process: int) -> int:
    """How many threads it has."""
    return _number(process, "Threads")


def _number(process: int, what: str) -> int:
    found = re.search(rf"^{what}:\s+(\d+)", Path(f"/proc/{process}/status").read_text(), re.MULTILINE)
    assert found, what
    return int(found[1])
