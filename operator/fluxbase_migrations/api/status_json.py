"""The resource's status as JSON: the records of :mod:`fluxbase_migrations.api.status`, read and written."""

from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from fluxbase_migrations.api.status import Condition, SetStatus
from fluxbase_migrations.core.text import visible_in

ADAPTER: Final = TypeAdapter(SetStatus)


def read(status: dict[str, Any] | None) -> SetStatus:
    """Parse ``status``.

    Raises:
        ValueError: it is not ours; what is in there is of no use.
    """
    try:
        return ADAPTER.validate_python(status or {})
    except ValidationError as error:
        raise ValueError(f"the status cannot be read: {error}") from error


def write(status: SetStatus) -> dict[str, Any]:
    """The status as JSON, without what is absent, and with nothing in it that a terminal would obey."""
    dumped = ADAPTER.dump_python(status, mode="json", by_alias=True, exclude_none=True)
    printable: dict[str, Any] = visible_in(dumped)
    return _compact(printable)


def write_conditions(conditions: tuple[Condition, ...]) -> list[dict[str, Any]]:
    """Conditions alone, as :func:`write` writes them."""
    written: list[dict[str, Any]] = write(SetStatus(conditions=conditions))["conditions"]
    return written


def _compact(document: dict[str, Any]) -> dict[str, Any]:
    """Leave out empty lists and objects: absent means the same and reads better."""
    compacted = {
        key: _compact(value) if isinstance(value, dict) else value for key, value in document.items()
    }
    return {key: value for key, value in compacted.items() if value not in ([], {})}
