"""One directory: both command lines on fresh databases, in turn, and what each leaves there."""

import random
import re
import statistics
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from psycopg import sql

from bench.runner.measure import cost
from dev.peers import APP, GolangMigrate, Ours
from dev.postgres_server import Server
from fluxbase_migrations.core.digest import source_digest
from tests.support.databases import Database, fresh_database

OURS, PEER = "fluxbase-migrate", "golang-migrate"
# pg_dump's comments, and a random word that newer releases write.
_NOISE = re.compile(r"^(--.*|\\(un)?restrict .*|\s*)\n", re.MULTILINE)


@dataclass(frozen=True)
class Left:
    """What one command line left in a database."""

    row: Sequence[Sequence[object]]
    """Version and dirty mark."""
    schema: str
    """By pg_dump, without owners and privileges, as each database has an owner of its own."""
    rows: Sequence[Sequence[object]]
    """How many rows each table has."""


@dataclass
class Compared:
    """One directory."""

    name: str
    files: int
    digest: str
    """Of its files, as the operator computes it: the same digest means the same files."""
    seconds: dict[str, list[float]] = field(default_factory=lambda: {OURS: [], PEER: []})
    errors: dict[str, str] = field(default_factory=dict)
    """The last line of output of each command that failed."""
    same: bool = True
    """Whether both left the same, in every round."""

    @property
    def ratio(self) -> float | None:
        """Our median by golang-migrate's; None: one of them fails."""
        if self.errors:
            return None
        return self.median(OURS) / self.median(PEER)

    def median(self, who: str) -> float:
        return statistics.median(self.seconds[who])

    @property
    def outcome(self) -> str:
        """Whether both do the same, as text for the report."""
        if set(self.errors) == {OURS, PEER}:
            return f"both fail: {self.errors[PEER]}"
        if self.errors:
            [(who, error)] = self.errors.items()
            return f"{who} fails: {error}"
        return "the same" if self.same else "differs"


def compare(server: Server, name: str, directory: Path, rounds: int) -> Compared:
    """Run ``up`` with both, on a fresh database each time."""
    content = {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}
    files = sum(name.endswith(".up.sql") for name in content)
    compared = Compared(name, files, source_digest(content))
    for _ in range(rounds):
        order = [OURS, PEER]
        random.shuffle(order)
        left = {who: _run(server, directory, who, compared) for who in order}
        compared.same = compared.same and left[OURS] == left[PEER]
    return compared


def _run(server: Server, directory: Path, who: str, compared: Compared) -> Left:
    with fresh_database(server.endpoint) as database:
        with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
            connection.execute("CREATE SCHEMA migrations")  # golang-migrate does not make it
            connection.execute("CHECKPOINT")  # so that the run before has no effect on this one
        # As the superuser: what rights a real directory needs is not what is measured.
        url = database.admin_dsn
        peer = Ours(url, directory) if who == OURS else GolangMigrate(url, directory, driver="pgx5")
        try:
            compared.seconds[who].append(cost(peer.argv("up")).seconds)
        except RuntimeError as failure:
            compared.errors[who] = str(failure).strip().splitlines()[-1]
        return _left(server, database)


def _left(server: Server, database: Database) -> Left:
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        tables = connection.execute(
            "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^(pg_|information_schema$)'"
            " AND (schemaname, tablename) <> ('migrations', 'history') ORDER BY 1, 2"
        ).fetchall()
        count = sql.SQL("SELECT count(*) FROM {}")
        rows = [
            (*table, *connection.execute(count.format(sql.Identifier(*table))).fetchall()) for table in tables
        ]
        version_row = sql.SQL("SELECT version, dirty FROM {}").format(sql.Identifier(*APP))
        row = connection.execute(version_row).fetchall() if APP in tables else []
    argv = [str(server.bindir / "pg_dump"), "--schema-only", "--no-owner", "--no-privileges"]
    argv += ["--exclude-schema=migrations", "-d", database.admin_dsn]
    completed = subprocess.run(argv, check=True, capture_output=True, encoding="utf-8")
    return Left(row, _NOISE.sub("", completed.stdout), rows)
