"""What a file has made of its session, as the history records it with each position."""

from collections.abc import Mapping
from dataclasses import asdict, field
from typing import Any, Final

from fluxbase_migrations.core.lazy_dataclass import dataclass

_CANNOT_BE_RESTORED: Final = {
    "temporary": "temporary objects",
    "prepared": "prepared statements",
    "cursors": "open cursors",
    "listening": "LISTEN",
}


@dataclass(frozen=True, slots=True)
class SessionState:
    """A session, as far as a file's later statements can depend on it."""

    role: str
    """The setting: ``none`` where no role was set."""
    session_user: str
    current_user: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Those set in this session, and ``search_path``."""
    custom: Mapping[str, str | None] = field(default_factory=dict)
    """Settings with a dot in their name that the file mentions."""
    temporary: bool = False
    prepared: bool = False
    cursors: bool = False
    listening: bool = False

    def to_json(self) -> dict[str, Any]:
        """For the history's details."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: object) -> "SessionState | None":
        """What :meth:`to_json` wrote; None if it is something else: not known."""
        if not isinstance(value, dict) or not set(cls.__slots__) <= set(value):
            return None
        return cls(**{name: value[name] for name in cls.__slots__})

    @property
    def blocker(self) -> str | None:
        """The parts that cannot be restored in another session; None if there are none."""
        blockers = [text for name, text in _CANNOT_BE_RESTORED.items() if getattr(self, name)]
        return ", ".join(blockers) or None
