"""Requests as the platform's gateway makes them: one login, and for each request a role and its claims."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, LiteralString

from psycopg import sql

from tests.system.track import Connection

ADA = "6f1c9f0e-6a0b-4b7e-9d0c-0f1f3f0d7a51"
BOB = "0b6a3a52-0d2f-4c38-8ad5-3b1f7a4a9c02"


@contextmanager
def acting(connection: Connection, role: str, /, **claims: str) -> Iterator[Connection]:
    """As the platform's gateway does for each request; what was done is kept."""
    with connection.transaction():
        connection.execute("SELECT set_config('request.jwt.claims', %s, true)", [json.dumps(claims)])
        connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        yield connection
        # These are the whole transaction's, and the test's own may go on.
        connection.execute("SET LOCAL ROLE NONE")
        connection.execute("SET LOCAL request.jwt.claims = ''")


def rows(connection: Connection, query: LiteralString, role: str, /, **claims: str) -> list[tuple[Any, ...]]:
    with acting(connection, role, **claims):
        return connection.execute(query).fetchall()


def changed(connection: Connection, statement: LiteralString, role: str, /, **claims: str) -> int:
    with acting(connection, role, **claims):
        return connection.execute(statement).rowcount
