"""What had migrated a database before us, run as it really is, and what it keeps about that."""

import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import psycopg

from dev import flyway
from dev.peers import environment, golang_migrate, write_files
from tests.support import fluxbase_startup

FILES = {
    number: "CREATE TABLE IF NOT EXISTS journal (file text NOT NULL);\n"
    f"INSERT INTO journal VALUES ('{number}');\n"
    for number in (1, 2, 3, 4)
}
"""By version: each can run twice without an error, and leaves a row whenever it runs."""
APPLIED = (1, 2)
"""What the predecessor applies; the others are for us."""


class Predecessor(Protocol):
    """A program that migrates a database from a directory of files."""

    @property
    def table(self) -> str:
        """Where it keeps its version or history."""

    @property
    def directory(self) -> str:
        """Where its files are kept, as the page about moving has it."""

    def name_of(self, version: int) -> str:
        """What it calls a file."""

    def migrate(self, dsn: str, directory: Path) -> None:
        """Bring the database to the newest file of the directory."""


@dataclass(frozen=True)
class GolangMigrate:
    """Its released command line, with its defaults."""

    table: str = "public.schema_migrations"
    directory: str = "migrations"

    def name_of(self, version: int) -> str:
        return ours(version)

    def migrate(self, dsn: str, directory: Path) -> None:
        url = dsn.replace("postgresql://", "postgres://")
        argv = [golang_migrate(), "-path", str(directory), "-database", url, "up"]
        done = subprocess.run(
            argv, env=environment(), capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr


@dataclass(frozen=True)
class Flyway:
    """Its library, with its defaults."""

    numbering: str = "{}"
    """How it writes a version; its own numbers may have dots."""
    table: str = flyway.HISTORY
    directory: str = "db/migration"

    def name_of(self, version: int) -> str:
        return f"V{self.numbering.format(version)}__journal.sql"

    def migrate(self, dsn: str, directory: Path) -> None:
        flyway.Flyway(dsn, directory).migrate()


@dataclass(frozen=True)
class Fluxbase:
    """The start of a Fluxbase that keeps a table of files."""

    table: str = fluxbase_startup.TABLE
    directory: str = "migrations"

    def name_of(self, version: int) -> str:
        return ours(version)

    def migrate(self, dsn: str, directory: Path) -> None:
        fluxbase_startup.start(dsn, directory, self.table)


PREDECESSORS: Mapping[str, Predecessor] = {
    "golang-migrate": GolangMigrate(),
    "Flyway": Flyway(),
    "Fluxbase's start-up": Fluxbase(),
    "a later Fluxbase's start-up": Fluxbase(fluxbase_startup.LATER_TABLE),
}


def ours(version: int) -> str:
    """Our name of a file."""
    return f"{version}_journal.up.sql"


def write(directory: Path, tool: Predecessor, *versions: int) -> Path:
    """Write the files of these versions, named as the tool has them."""
    return write_files(directory, {tool.name_of(version): FILES[version] for version in versions})


def journal(dsn: str) -> list[str]:
    """What has run, once for each time."""
    return [str(file) for (file,) in _rows(dsn, "SELECT file FROM journal ORDER BY file")]


def kept(dsn: str, tool: Predecessor) -> list[tuple[Any, ...]]:
    """Everything in the tool's own table."""
    return _rows(dsn, f"SELECT * FROM {tool.table} ORDER BY 1")


def _rows(dsn: str, query: str) -> list[tuple[Any, ...]]:
    with psycopg.connect(dsn, autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()
