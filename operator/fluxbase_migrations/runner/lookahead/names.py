"""The parser's enumerations by name."""

from functools import cache
from typing import Any


@cache
def _enumeration(kind: str) -> Any:
    import postgast

    return getattr(postgast.pg_query_pb2, kind)


def enum(kind: str, value: int) -> str:
    """The name of a value, like ``AT_AddColumn`` of ``AlterTableType``."""
    return str(_enumeration(kind).Name(value))
