"""Many migration processes at once on one database, with CREATE INDEX CONCURRENTLY among the files.

Ours apply each migration exactly once, never hang and are never a deadlock's victim. golang-migrate's
processes deadlock each other around CREATE INDEX CONCURRENTLY (its issue #960) and may end dirty;
whatever they leave, nothing is applied twice.
"""

import re
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest

from dev.peers import APP, Finished, GolangMigrate, Ours, Peer, Started, write_files
from dev.postgres_server import Endpoint, Server, start_server
from dev.waiting import eventually
from tests.conformance.cases import body
from tests.conformance.twins import message, reset, state
from tests.conftest import EXTERNAL, VERSIONS
from tests.support.databases import (
    Database,
    clients,
    external_server,
    fresh_database,
    invalid_indexes,
    lock_id,
    lock_waiters,
)

# One process: races with each other are enough.
pytestmark = pytest.mark.xdist_group("races")

CROWD = 30
LIMIT = 60.0
"""Seconds in which every process has ended, or hangs."""

LAST = 9
GATE = "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1);\n"
"""Lasts until the test lets go of lock 1."""

ALONE = {
    "1_first.up.sql": body("1"),
    "2_index.up.sql": "CREATE INDEX CONCURRENTLY executed_body ON public.executed (body);",
    "3_table.up.sql": "CREATE TABLE public.three (i int);" + body("3"),
    "4_index.up.sql": "CREATE UNIQUE INDEX CONCURRENTLY executed_id_body ON public.executed (id, body);",
    "5_table.up.sql": "CREATE TABLE public.five (i int);" + body("5"),
    "6_table.up.sql": "CREATE TABLE public.six (i int);" + body("6"),
    "7_index.up.sql": "CREATE INDEX CONCURRENTLY five_i ON public.five (i);",
    "8_table.up.sql": "ALTER TABLE public.six ADD COLUMN j int;" + body("8"),
    "9_last.up.sql": body("9"),
}
"""Files that golang-migrate can run as well: nothing stands beside CREATE INDEX CONCURRENTLY."""

BESIDE = ALONE | {
    "2_index.up.sql": body("2 before") + ALONE["2_index.up.sql"] + body("2 after"),
    "4_index.up.sql": f"BEGIN; {body('4 before')} COMMIT; {ALONE['4_index.up.sql']} {body('4 after')}",
}
"""Files that only ours can run."""


@dataclass(frozen=True)
class Arena:
    """A server of our own, whose log can be read."""

    endpoint: Endpoint
    server: Server | None
    """None: a server that somebody else runs, and whose log we cannot see."""

    def victims(self) -> list[str]:
        """Log lines of our sessions that a deadlock ended."""
        if self.server is None:
            return []
        lines = self.server.log.read_text(errors="replace").splitlines()
        return [line for line in lines if re.search(r"app=fluxbase\S* state=40P01", line)]


@pytest.fixture(scope="module", params=VERSIONS, ids=lambda version: f"pg{version}")
def arena(request: pytest.FixtureRequest) -> Iterator[Arena]:
    if EXTERNAL:
        yield Arena(external_server(EXTERNAL), None)
        return
    settings = {
        "log_line_prefix": "%m [%p] app=%a state=%e ",
        "max_connections": "200",
        "deadlock_timeout": "200ms",
    }
    with start_server(int(request.param), settings=settings) as server:
        yield Arena(server.endpoint, server)


@pytest.fixture
def database(arena: Arena) -> Iterator[Database]:
    with fresh_database(arena.endpoint) as made:
        reset(made, None, table=False)
        yield made


def test_thirty_of_ours_apply_each_migration_once(arena: Arena, database: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / "source", BESIDE)
    ended = race([Ours(database.dsn, source)] * CROWD, tmp_path)
    assert [one.command for one in ended if one.code != 0] == []
    assert [message(one) for one in ended].count("no change") == CROWD - 1
    bodies = ("1", "2 before", "2 after", "3", "4 before", "4 after", "5", "6", "8", "9")
    assert state(database) == (((LAST, False),), bodies)
    assert invalid_indexes(database) == []
    assert arena.victims() == []


def test_thirty_of_ours_on_a_database_that_has_no_tracking_schema_yet(
    arena: Arena, database: Database, tmp_path: Path
) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as owner:
        owner.execute("DROP SCHEMA migrations")
    source = write_files(tmp_path / "source", {"1_one.up.sql": body("1")})
    ended = race([Ours(database.dsn, source)] * CROWD, tmp_path)
    assert [one.command for one in ended if one.code != 0] == []
    assert state(database) == (((1, False),), ("1",))
    assert arena.victims() == []


def test_ours_builds_indexes_while_fifteen_golang_migrates_wait_for_its_lock(
    arena: Arena, database: Database, tmp_path: Path
) -> None:
    """Ours holds the lock and fifteen golang-migrate's wait in it: its index builds are nobody's victim."""
    source = write_files(tmp_path / "source", ALONE | {"1_first.up.sql": GATE + body("1")})
    ours, theirs = Ours(database.dsn, source), GolangMigrate(database.dsn, source)
    with psycopg.connect(database.dsn, autocommit=True) as gate, ExitStack() as running:
        gate.execute("SELECT pg_advisory_lock(1)")
        first = start(ours, tmp_path / "first", running)
        eventually("the first of ours to run its first file", lambda: lock_waiters(gate) == 1)
        golang = [start(theirs, tmp_path / f"golang-{number}", running) for number in range(CROWD // 2)]
        others = [start(ours, tmp_path / f"ours-{number}", running) for number in range(CROWD // 2 - 1)]
        eventually("golang-migrate's to wait", lambda: lock_waiters(gate) == CROWD // 2 + 1, LIMIT)
        gate.execute("SELECT pg_advisory_unlock(1)")
        done = [one.finish(LIMIT) for one in [first, *others]]
        peers_ended = [one.finish(LIMIT) for one in golang]
    assert [one.command for one in done if one.code != 0] == []
    assert {message(one).partition(" version")[0] for one in peers_ended} <= {"Dirty database", "no change"}
    assert state(database) == (((LAST, False),), ("1", "3", "5", "6", "8", "9"))
    assert invalid_indexes(database) == []
    assert arena.victims() == []


def test_fifteen_of_ours_and_fifteen_golang_migrates_from_a_standing_start(
    arena: Arena, database: Database, tmp_path: Path
) -> None:
    """Whoever comes first. A dirty row of golang-migrate's is refused by ours until a person repairs it."""
    source = write_files(tmp_path / "source", ALONE)
    pair: list[Peer] = [Ours(database.dsn, source), GolangMigrate(database.dsn, source)]
    ended = race(pair * (CROWD // 2), tmp_path)
    ours = [one for one in ended if "fluxbase-migrate" in one.argv[0]]
    assert len(ours) == CROWD // 2
    failed = [one for one in ours if one.code != 0]
    refused = [one for one in failed if message(one).startswith("Dirty database version")]
    assert [one.command for one in failed if one not in refused] == []
    if refused:
        assert any(one.code != 0 for one in ended if one not in ours), (
            "nobody but ours can have left it dirty"
        )
        repair(database, ours=pair[0])
    assert state(database) == (((LAST, False),), ("1", "3", "5", "6", "8", "9"))
    assert invalid_indexes(database) == []
    assert arena.victims() == []


def race(crowd: Sequence[Peer], logs: Path) -> list[Finished]:
    """Start all with the way barred, open it when all are connected, and wait until each has ended."""
    with psycopg.connect(crowd[0].dsn, autocommit=True) as gate, ExitStack() as running:
        name = gate.info.dbname
        gate.execute("SELECT pg_advisory_lock(%s)", [lock_id(APP, f"/{name}")])
        started = [start(one, logs / f"log-{number}", running) for number, one in enumerate(crowd)]
        eventually("all to be connected", lambda: clients(gate) > len(crowd), LIMIT)
        gate.execute("SELECT pg_advisory_unlock_all()")
        return [one.finish(LIMIT) for one in started]


def start(peer: Peer, log: Path, running: ExitStack) -> Started:
    """Start ``up``; it ends with the test at the latest."""
    started = peer.start("up", log=log)
    running.callback(started.kill)
    return started


def repair(database: Database, ours: Peer) -> None:
    """What a person does about golang-migrate's failed CREATE INDEX CONCURRENTLY."""
    ((version, dirty),), _ = state(database)
    assert dirty
    with psycopg.connect(database.dsn, autocommit=True) as owner:
        for name in invalid_indexes(database):
            owner.execute(f"DROP INDEX {name}")
    forced = ours.run("force", "--", str(version - 1 or -1))
    assert forced.code == 0, forced.command
    done = ours.run("up")
    assert done.code == 0, done.command
