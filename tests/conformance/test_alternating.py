"""Both command lines take turns on one database: each continues where the other stopped."""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

import pytest

from dev.peers import GolangMigrate, Ours, Peer, write_files
from tests.conformance.cases import FIXTURE, Row
from tests.conformance.twins import message, reset, state
from tests.support.databases import Database

# The background work is for all tests of one process.
pytestmark = pytest.mark.xdist_group("conformance")

Step = tuple[tuple[str, ...], Row | None, tuple[str, ...]]
"""A command, the row after it, and the bodies it executes."""

WALK: Sequence[Step] = (
    (("up", "1"), (1, False), ("1/up",)),
    (("up", "1"), (3, False), ("3/up",)),
    (("up", "1"), (4, False), ("4/up",)),
    (("up", "1"), (5, False), ()),
    (("up", "1"), (7, False), ("7/up",)),
    (("up",), (7, False), ()),
    (("down", "1"), (5, False), ("7/down",)),
    (("down", "1"), (4, False), ("5/down",)),
    (("down", "1"), (3, False), ("4/down",)),
    (("down", "1"), (1, False), ()),
    (("down", "1"), None, ("1/down",)),
    (("goto", "4"), (4, False), ("1/up", "3/up", "4/up")),
    (("goto", "1"), (1, False), ("4/down",)),
    (("force", "5"), (5, False), ()),
    (("up",), (7, False), ("7/up",)),
    (("goto", "3"), (3, False), ("7/down", "5/down", "4/down")),
    (("force", "--", "-1"), None, ()),
    (("up",), (7, False), ("1/up", "3/up", "4/up", "7/up")),
)


@pytest.fixture
def pair(database: Database, tmp_path: Path) -> tuple[Ours, GolangMigrate]:
    reset(database, None)
    source = write_files(tmp_path / "source", FIXTURE)
    return Ours(database.dsn, source), GolangMigrate(database.dsn, source, driver="pgx5")


@pytest.mark.parametrize("first", ["ours", "golang-migrate"])
def test_each_goes_on_where_the_other_stopped(
    first: str, pair: tuple[Ours, GolangMigrate], database: Database
) -> None:
    turns = cycle(pair if first == "ours" else reversed(pair))
    executed: tuple[str, ...] = ()
    for number, (command, row, bodies) in enumerate(WALK, 1):
        done = next(turns).run(*command)
        assert done.code == 0, f"step {number}\n{done.command}"
        executed += bodies
        assert state(database) == (() if row is None else (row,), executed), f"step {number}\n{done.command}"


def test_both_read_the_same_version_after_either_wrote_it(
    pair: tuple[Ours, GolangMigrate],
) -> None:
    for writer in pair:
        for version in ("1", "4", "-1", "99"):
            assert writer.run("force", "--", version).code == 0
            ours, theirs = (reader.run("version") for reader in pair)
            assert (ours.code, message(ours)) == (theirs.code, message(theirs)), ours.command


def test_each_refuses_what_the_other_left_dirty(pair: tuple[Ours, GolangMigrate], database: Database) -> None:
    """golang-migrate never says what its failed file left, so ours does not go on by itself either."""
    ours, theirs = pair
    write_files(ours.source, {"3_three.up.sql": "SELECT 1/0;"})
    assert theirs.run("up").code == 1
    refused = ours.run("up")
    assert (refused.code, message(refused)) == (1, "Dirty database version 3"), refused.command
    assert ours.run("force", "1").code == 0
    assert ours.run("up").code == 1
    assert state(database)[0] == ((3, True),)
    refused = theirs.run("up")
    assert (refused.code, message(refused)) == (1, "Dirty database version 3"), refused.command
    write_files(ours.source, FIXTURE)
    assert theirs.run("force", "1").code == 0
    finish: Peer = ours
    assert finish.run("up").code == 0
    assert state(database) == (((7, False),), ("1/up", "3/up", "4/up", "7/up"))
