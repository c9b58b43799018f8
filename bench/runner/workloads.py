"""What is migrated: sets of files, and the SQL that must run before them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

COUNT = 1000
MANY = 10_000
LARGE = 100 * 2**20
"""Bytes of the large file."""


@dataclass(frozen=True)
class Workload:
    """A set of migration files."""

    name: str
    title: str
    prepare: str
    """SQL to run first, for each contender."""
    directory: Path

    @property
    def files(self) -> list[Path]:
        return sorted(self.directory.iterdir())


def inserts(parent: Path, count: int = COUNT) -> Workload:
    """One INSERT a file."""
    texts = {
        f"{number:05}_insert.up.sql": f"INSERT INTO bench (id, body) VALUES ({number}, 'file {number}');\n"
        for number in range(1, count + 1)
    }
    directory = _write(parent / f"inserts-{count}", texts)
    table = "CREATE TABLE bench (id int PRIMARY KEY, body text NOT NULL)"
    return Workload(f"inserts-{count}", f"{count:,} files, one INSERT each", table, directory)


def tables(parent: Path, count: int = COUNT) -> Workload:
    """One CREATE TABLE a file."""
    texts = {
        f"{number:05}_table.up.sql": (
            f"CREATE TABLE bench_{number} (id bigint PRIMARY KEY, name text NOT NULL, made timestamptz);\n"
        )
        for number in range(1, count + 1)
    }
    directory = _write(parent / f"tables-{count}", texts)
    return Workload(f"tables-{count}", f"{count:,} files, one CREATE TABLE each", "SELECT 1", directory)


def large(parent: Path, size: int = LARGE) -> Workload:
    """One file of single-row INSERTs."""
    directory = _write(parent / "large", {})
    with (directory / "00001_large.up.sql").open("w") as out:
        for line in _rows(size):
            out.write(line)
    table = "CREATE TABLE bench (id int, body text NOT NULL)"
    return Workload("large", f"one file of {size / 2**20:.0f} MiB of INSERTs", table, directory)


def _rows(size: int) -> Iterator[str]:
    body, written, number = "x" * 950, 0, 0
    while written < size:
        number += 1
        line = f"INSERT INTO bench (id, body) VALUES ({number}, '{body}');\n"
        written += len(line)
        yield line


def _write(directory: Path, texts: Mapping[str, str]) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (directory / name).write_text(text)
    return directory
