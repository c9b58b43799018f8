"""What every test may use: PostgreSQL servers, and a fresh database on them.

PG_VERSIONS ("15 18" unless set) names the major versions to run on; TEST_DATABASE_URL names a running server
and a superuser of it instead.
"""

import os
import secrets
import signal
from collections.abc import Iterator

import hypothesis
import pytest

from dev.postgres_server import Endpoint, start_server
from tests.support import counts
from tests.support.databases import Database, external_server, fresh_database

EXTERNAL = os.environ.get("TEST_DATABASE_URL", "")
VERSIONS = ["external"] if EXTERNAL else os.environ.get("PG_VERSIONS", "15 18").replace(",", " ").split()
# Of the chaos tests, and of the files that the splitter is tried on.
SEEDS = ("CHAOS_SEED", "SPLIT_SEED")
# No time limit for an example: machines are shared.
hypothesis.settings.register_profile("tests", deadline=None, print_blob=True)
hypothesis.settings.load_profile("tests")


def pytest_configure() -> None:
    """One seed for the random tests of all processes, drawn before they are started."""
    # Under nohup it is ignored, by every program that a test starts, too.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    for name in SEEDS:
        os.environ.setdefault(name, secrets.token_hex(4))


def pytest_report_header() -> str:
    return "seeds: " + " ".join(f"{name}={os.environ[name]}" for name in SEEDS)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How many tests passed on which interpreter."""
    if hasattr(config, "workerinput"):  # one of xdist's, whose tests its parent counts
        return
    terminalreporter.section("interpreters")
    for line in counts.lines(terminalreporter.stats):
        terminalreporter.line(line)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the cluster's tests: they take longest, and mostly wait."""
    items.sort(key=lambda item: item.get_closest_marker("cluster") is None)


@pytest.fixture(scope="session", params=VERSIONS, ids=lambda version: f"pg{version}")
def postgres(request: pytest.FixtureRequest) -> Iterator[Endpoint]:
    """A running server of each version asked for, shared by all tests: leave nothing behind on it."""
    if request.param == "external":
        yield external_server(EXTERNAL)
        return
    with start_server(int(request.param)) as server:
        yield server.endpoint


@pytest.fixture
def database(postgres: Endpoint) -> Iterator[Database]:
    """A fresh database owned by a fresh login; both are dropped afterwards."""
    with fresh_database(postgres) as made:
        yield made
