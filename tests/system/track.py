"""Running the built-in migrations without the runner: each file as one simple query, in one transaction."""

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg
from psycopg.errors import Diagnostic

from fluxbase_migrations.system import files

Direction = Literal["up", "down"]
Connection = psycopg.Connection[tuple[Any, ...]]

LATEST = 6
EXAMPLES = Path(__file__).parents[2] / "examples" / "shop"


def migration(version: int, direction: Direction) -> bytes:
    (found,) = [
        content
        for name, content in files().items()
        if re.fullmatch(rf"{version:03}_\w+\.{direction}\.sql", name, re.ASCII)
    ]
    return found


@dataclass
class Notices:
    """What the server said while a connection was in use."""

    messages: list[str] = field(default_factory=list)
    hints: list[str] = field(default_factory=list)

    def __call__(self, diagnostic: Diagnostic) -> None:
        self.messages.append(f"{diagnostic.severity_nonlocalized}: {diagnostic.message_primary}")
        self.hints.append(diagnostic.message_hint or "")


def connect(dsn: str, notices: Notices | None = None) -> Connection:
    connection = psycopg.connect(dsn, autocommit=True)
    if notices is not None:
        connection.add_notice_handler(notices)
    return connection


def apply(connection: Connection, version: int, direction: Direction) -> None:
    with connection.transaction():
        connection.execute(migration(version, direction))


def up(connection: Connection, to: int = LATEST) -> None:
    for version in range(1, to + 1):
        apply(connection, version, "up")


def down(connection: Connection) -> None:
    for version in range(LATEST, 0, -1):
        apply(connection, version, "down")


def migrate(dsn: str) -> Notices:
    """The whole system track; returns what the server said."""
    notices = Notices()
    with connect(dsn, notices) as connection:
        up(connection)
    return notices


def roll_back(dsn: str) -> Notices:
    """The whole system track back; returns what the server said."""
    notices = Notices()
    with connect(dsn, notices) as connection:
        down(connection)
    return notices


def run_example(connection: Connection, name: str) -> None:
    """One of the shop's files, statement by statement where it mixes in what cannot run in a transaction."""
    content = (EXAMPLES / name).read_bytes()
    if b"CONCURRENTLY" not in content:
        with connection.transaction():
            connection.execute(content)
        return
    for statement in content.split(b";\n"):
        connection.execute(statement)
