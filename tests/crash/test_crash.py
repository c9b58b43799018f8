"""Our process, its connection or the server is killed at a random moment; then the same command comes again.

Never is a migration applied twice, never is a row clean over a half-applied file, and the command reaches its
end by itself; where a statement may have taken effect in part, it touches nothing until a person has helped.
Moments are drawn from CRASH_SEED, which a failure prints::

    CRASH_SEED=5f3a99c1 pytest tests/crash -k run-017         # the same plan again
    CRASH_RUNS=5000 pytest tests/crash                        # a soak (`make soak`)

A plan is the same again; where exactly the moment hits depends on the machine.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from dev.peers import environment, write_files
from dev.postgres_server import start_server
from dev.prefork import Prefork
from tests.conftest import VERSIONS
from tests.crash.runs import Arena, Plan, files
from tests.support.background import Background
from tests.support.databases import Database, create_database, create_login

# The background work is for all tests of one process.
pytestmark = pytest.mark.xdist_group("crash")

SEED = os.environ.get("CRASH_SEED") or secrets.token_hex(4)
RUNS = int(os.environ.get("CRASH_RUNS", "300"))
"""Over all server versions together."""

SERVERS = (os.cpu_count() or 1) * 2
"""Of one version at a time: a killed one must not disturb another's run, and much of a run is waiting."""
SERVER_VERSIONS = [int(version) for version in VERSIONS if version.isdecimal()] or [15]
"""The server that TEST_DATABASE_URL names is not ours to kill."""
EACH = -(-RUNS // len(SERVER_VERSIONS))


Crashes = Background[int, Arena, None]
"""By the run's number."""


@pytest.fixture(scope="module", params=SERVER_VERSIONS, ids=lambda version: f"pg{version}")
def crashes(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crashes]:
    """All runs that were selected, on servers of this version."""
    version: int = request.param
    chosen = [getattr(item, "callspec", None) for item in request.session.items]
    numbers = [one.params["number"] for one in chosen if one and one.params.get("crashes") == version]
    directory = tmp_path_factory.mktemp("crash")
    source = write_files(directory / "source", files())
    with ExitStack() as stack:
        arenas = []
        for count in range(min(SERVERS, len(numbers))):
            server = stack.enter_context(start_server(version))
            database = Database(server.endpoint, "crash", "crash", server.password)
            create_login(server.endpoint, database.user, database.password)
            create_database(server.endpoint, database.name, database.user)
            prefork = stack.enter_context(Prefork(environment()))
            arenas.append(Arena(server, database, source, directory / f"ours-{count}", prefork))
        plans = [Plan.draw(f"{SEED}/{version}", number) for number in numbers]
        jobs = {plan.number: partial(Arena.follow, plan=plan) for plan in plans}
        yield stack.enter_context(Background(arenas, jobs))


@pytest.mark.parametrize("number", range(EACH), ids=lambda number: f"run-{number:03}")
def test_a_crash_neither_repeats_nor_halves_a_migration(crashes: Crashes, number: int) -> None:
    try:
        crashes.of(number)
    except AssertionError as error:
        again = f"CRASH_SEED={SEED} pytest tests/crash -k run-{number:03}"
        pytest.fail(f"{again}\n{error}", pytrace=False)
