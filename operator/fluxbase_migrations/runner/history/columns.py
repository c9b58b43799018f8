"""An entry's columns on their way to the server: values, or expressions that the server is to evaluate."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection.session import Session


@dataclass(frozen=True, slots=True)
class Expression:
    """SQL in the place of a value; everything in it is quoted already."""

    sql: bytes


NOW: Final = Expression(b"pg_catalog.clock_timestamp()")
TRANSACTION_START: Final = Expression(b"pg_catalog.now()")
NEW_UUID: Final = Expression(b"pg_catalog.gen_random_uuid()")

Value = str | int | dict[str, Any] | Expression | None
"""A dictionary is for a jsonb column."""
Columns = Mapping[str, Value]


def ago(seconds: float) -> Expression:
    """The time that was ``seconds`` before now, by the server's clock."""
    return Expression(NOW.sql + b" OPERATOR(pg_catalog.-) '%.3f s'::pg_catalog.interval" % seconds)


def rendered(session: Session, value: Value) -> bytes:
    """``value`` as SQL."""
    if isinstance(value, Expression):
        return value.sql
    if isinstance(value, StrEnum):
        return b"'%b'" % value.encode()  # words of ours, which need no quoting
    if isinstance(value, bool):
        return b"true" if value else b"false"
    return session.json(value) if isinstance(value, dict) else session.literal(value)
