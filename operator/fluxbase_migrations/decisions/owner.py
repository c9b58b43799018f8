"""The set that owns a track of a database, as another set reads it."""

from enum import StrEnum
from typing import Final


class OwnerState(StrEnum):
    """What is known of the owner."""

    PRESENT = "present"
    DELETED = "deleted"
    RELEASED = "released"
    """It is there, and its status says that it released the track."""
    UNREADABLE = "unreadable"
    """It is in a namespace that the operator may not read."""
    ELSEWHERE = "elsewhere"
    """Not here, nor known to have been here: of another cluster, or of a namespace that was deleted."""


RELEASED_STATES: Final = (OwnerState.DELETED, OwnerState.RELEASED)
"""The track may be taken over without asking."""

EXPLANATIONS: Final[dict[OwnerState | None, str]] = {
    None: "",
    OwnerState.PRESENT: "",
    OwnerState.DELETED: ", which was deleted",
    OwnerState.RELEASED: ", which no longer uses it",
    OwnerState.UNREADABLE: ", in a namespace that this operator may not read",
    OwnerState.ELSEWHERE: ", which is not in this cluster, or was in a namespace that has been deleted",
}
"""Follows the owner's name in messages."""
