"""Whether a file fits into the memory that the container may use: one that does not is killed without a word.

Held at once are the files of the source, and twice the statement that is being sent: libpq keeps its text,
and the message made of it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import Source
from fluxbase_migrations.core.names import ENV_MEMORY_LIMIT
from fluxbase_migrations.runner.prepared import Prepared

BASE: Final = 60 << 20
"""Bytes. What a run takes without any file."""
_PER_STATEMENT: Final = 16
_CGROUP: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
_UNLIMITED: Final = 1 << 60


def limit(environment: Mapping[str, str]) -> int | None:
    """Bytes that this process may use: what the Job says, or else its control group; None is no limit."""
    for text in (environment.get(ENV_MEMORY_LIMIT, ""), *map(_read, _CGROUP)):
        if text.isdecimal() and 0 < int(text) < _UNLIMITED:
            return int(text)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def require(available: int | None, source: Source, prepared: Prepared) -> None:
    """See that a file can be run in the memory there is.

    Raises:
        InvalidSource: it needs more; the message says how much.
    """
    if available is None:
        return
    needed = BASE + sum(len(one.content) for one in source) + prepared.memory
    needed += _PER_STATEMENT * len(prepared.statements)
    if needed <= available:
        return
    raise InvalidSource(
        f"the file needs {_mebibytes(needed)} MiB of memory, and this container may use "
        f"{available >> 20} MiB; its largest statement has {_mebibytes(prepared.largest)} MiB",
        file=prepared.step.label,
        hint=f"set spec.job.resources.limits.memory to at least {_mebibytes(needed)}Mi, or cut the file",
    )


def _mebibytes(size: int) -> int:
    return -(-size >> 20)
