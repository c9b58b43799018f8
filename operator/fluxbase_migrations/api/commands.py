"""Commands given as annotations, and the digest of a track's inputs that covers them."""

import hashlib
import re
from datetime import datetime
from typing import Final

from fluxbase_migrations.core.digest import digest_of
from fluxbase_migrations.core.job import ForceCommand, TakeOverCommand
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.text import visible

_FORCE: Final = re.compile(r"(system|user)=(-?[0-9]{1,19})@(\S{1,128})", re.ASCII)
_TAKE_OVER: Final = re.compile(r"(system|user)=([0-9a-zA-Z-]{1,64})@(\S{1,128})", re.ASCII)
_MAX_VERSION: Final = 2**63 - 1
_MAX_VALUE: Final = 253


@dataclass(frozen=True, slots=True)
class Annotation:
    """A command as found on the set."""

    value: str
    manager: str | None = None
    """The field manager that wrote it."""
    time: datetime | None = None


def bounded(value: str) -> str:
    """The value as status keeps it: itself, or its digest where it is too long or not fit to be shown."""
    if len(value) <= _MAX_VALUE and visible(value) == value:
        return value
    return f"sha256:{hashlib.sha256(value.encode()).hexdigest()}"


def parse_force(value: str) -> tuple[Track, ForceCommand]:
    """Parse ``<track>=<version>@<token>``.

    Raises:
        ValueError: malformed, with how to write it.
    """
    match = _FORCE.fullmatch(value)
    if not match or visible(value) != value or not -1 <= int(match[2]) <= _MAX_VERSION:
        raise ValueError(
            f"{value[:80]!r} is not <track>=<version>@<token>, for example user=4@2025-01-31T12:00:00Z; "
            "the version is -1 (nothing applied) or higher"
        )
    return Track(match[1]), ForceCommand(int(match[2]), match[3])


def parse_take_over(value: str) -> tuple[Track, TakeOverCommand]:
    """Parse ``<track>=<uid of the owner>@<token>``.

    Raises:
        ValueError: malformed, with how to write it.
    """
    match = _TAKE_OVER.fullmatch(value)
    if not match or visible(value) != value:
        raise ValueError(
            f"{value[:80]!r} is not <track>=<uid of the owner>@<token>; status.tracks.<track>.claimedBy.uid "
            "is the owner's uid, and kubectl fluxbase take-over writes the annotation"
        )
    return Track(match[1]), TakeOverCommand(match[2], match[3])


def inputs_digest(base: str) -> str:
    """Everything that decides a run's end state, apart from commands: these are in force only for a time."""
    return digest_of(base, None, None)
