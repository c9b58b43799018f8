"""Whether a file fits into the container's memory: a process that needs more is killed without a message.

Held at once are the files of the source, and twice the statement that is being sent: libpq keeps its text and
a message with a copy of it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import MigrationFiles

if TYPE_CHECKING:
    from fluxbase_migrations.runner.sql.prepared_file import Prepared

BASE: Final = 60 << 20
"""Bytes. What a run takes without any file."""
_PER_STATEMENT: Final = 16
CONTROL_GROUPS: Final = (
    Path("/sys/fs/cgroup/memory.max"),
    Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
)
"""Where a container sees its own limit, with control groups of version 2 and of version 1."""
_UNLIMITED: Final = 1 << 60


def limit(control_groups: Sequence[Path] = CONTROL_GROUPS) -> int | None:
    """Bytes that this container may use, as its control group has it; None is no limit."""
    for text in map(_read, control_groups):
        if text.isdecimal() and 0 < int(text) < _UNLIMITED:
            return int(text)
    return None


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""


def require(available: int | None, source: MigrationFiles, prepared: "Prepared") -> None:
    """Check that a file can be run in the memory there is.

    Raises:
        InvalidSource: it needs more; the message says how much.
    """
    if available is None:
        return
    needed = BASE + source.size + prepared.memory
    needed += _PER_STATEMENT * len(prepared.statements)
    if needed <= available:
        return
    largest = f"its largest statement has {mebibytes(prepared.largest)} MiB"
    raise too_large(largest, needed, available, prepared.step.label)


def too_large(reason: str, needed: int, available: int, file: str | None = None) -> InvalidSource:
    """The error, with the number to set."""
    size = mebibytes(needed)
    return InvalidSource(
        f"{size} MiB of memory are needed, and this container may use {available >> 20} MiB: {reason}",
        file=file,
        hint=f"set spec.job.resources.limits.memory to at least {size}Mi, or use smaller files",
    )


def mebibytes(size: int) -> int:
    """A size in MiB, rounded up."""
    return -(-size >> 20)
