"""CONTRIBUTING's walks: a real run passes the functions that each lists, in this order."""

import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.controller.cluster import Cluster
from tests.support.databases import Database
from tests.walks.recording import Calls, recorded
from tests.walks.world import World

ROOT = Path(__file__).parents[2]
_WALK = re.compile(r"^### Walk: ([^\n]+)\n(.*?)(?=^##|\Z)", re.MULTILINE | re.DOTALL)
_STEP = re.compile(r"^\d+\. `([\w.]+:[\w.]+)`", re.MULTILINE)


def walks() -> dict[str, list[str]]:
    """The functions of each walk, as module:function, from CONTRIBUTING."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    return {title: _STEP.findall(steps) for title, steps in _WALK.findall(text)}


KEY = "a set's key, from the watch to the status"
FILE = "a file's bytes, from the ConfigMap to the server"
ERROR = "a PostgreSQL error, from the server to the status"


def passes(calls: Calls, title: str) -> None:
    """Fail with the first step of the walk that was not taken, or not there."""
    missed = calls.misses(walks()[title])
    assert missed is None, f"{title}: {missed} was not called after the step before it; mend CONTRIBUTING.md"


@pytest.fixture
def handlers() -> Iterator[None]:
    """The runner takes signals over, as a process of its own may."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize(
    ("walk", "missed"),
    [
        pytest.param(["a:f", "b:g"], None, id="in order"),
        pytest.param(["a:f", "c:h"], None, id="with others between"),
        pytest.param(["b:g", "a:f"], "a:f", id="in another order"),
        pytest.param(["a:f", "d:i", "b:g"], "d:i", id="one is not called"),
        pytest.param(["a:f", "a:f"], "a:f", id="once too often"),
    ],
)
def test_a_walk_that_is_not_taken_is_noticed(walk: list[str], missed: str | None) -> None:
    assert Calls(["a:f", "b:g", "c:h"]).misses(walk) == missed


def test_there_are_three_walks_with_steps() -> None:
    assert {KEY, FILE, ERROR} == set(walks())
    assert all(len(steps) >= 8 for steps in walks().values())


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning", "ignore::ResourceWarning")
async def test_a_key_passes_from_the_watch_to_the_status(
    cluster: Cluster, start_operator: Callable[..., Any]
) -> None:
    with recorded() as calls:
        await start_operator()
        await cluster.make_set()
        await cluster.next_job("system", 1)
    passes(calls, KEY)


def test_a_file_passes_from_the_config_map_to_the_server(
    database: Database, tmp_path: Path, handlers: None
) -> None:
    world = World({"001_a.up.sql": "CREATE TABLE a (i int);"})
    with recorded() as calls:
        world.reconcile()
        world.run_job(database, tmp_path / "termination-log")
    world.reconcile()
    assert world.ready["status"] == "True"
    passes(calls, FILE)


def test_an_error_passes_from_the_server_to_the_status(
    database: Database, tmp_path: Path, handlers: None
) -> None:
    world = World({"001_a.up.sql": "CREATE TABLE a (i int);\nALTER TABLE b ADD COLUMN j int;"})
    world.reconcile()
    with recorded() as calls:
        world.run_job(database, tmp_path / "termination-log")
        world.reconcile()
    assert 'relation "b" does not exist' in world.ready["message"]
    passes(calls, ERROR)
