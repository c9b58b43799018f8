"""JSON: its objects, and how records are named in it, which is the API's camelCase."""

from typing import Any, Final


def camel(name: str) -> str:
    """``sql_state`` as ``sqlState``."""
    first, *rest = name.split("_")
    return first + "".join(word.title() for word in rest)


Json = dict[str, Any]
"""An object as it comes out of a JSON document, or goes into one."""

JSON_NAMES: Final[Any] = {
    "alias_generator": camel,
    "populate_by_name": True,
    "use_attribute_docstrings": True,
}
"""For :mod:`fluxbase_migrations.api.status_json`, which reads and writes these records as JSON."""
