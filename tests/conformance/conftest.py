"""Twin databases, and the comparisons made on them in the background."""

import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from functools import partial

import pytest

from dev.peers import environment
from dev.postgres_server import Endpoint
from dev.prefork import Prefork
from tests.conformance import cases
from tests.conformance.cases import Case
from tests.conformance.differences import Difference
from tests.conformance.twins import Seen, Twins
from tests.support.background import Background
from tests.support.databases import fresh_database

WORKERS = (os.cpu_count() or 1) + 1  # a process waits for its server some of the time

Comparisons = Background[str, Twins, tuple[Seen, Seen, str]]
"""By the case's id: ours, golang-migrate's, and what both said."""


@pytest.fixture(scope="session")
def comparisons(
    request: pytest.FixtureRequest, postgres: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Comparisons]:
    """All cases that were selected, on this server."""
    directory = tmp_path_factory.mktemp("conformance")
    with ExitStack() as stack:

        def twins() -> Twins:
            ours, theirs = (stack.enter_context(fresh_database(postgres)) for _ in range(2))
            return Twins(ours, theirs, directory, stack.enter_context(Prefork(environment())))

        jobs = {case.id: partial(Twins.compare, case=case) for case in selected(request.session.items)}
        yield stack.enter_context(Background([twins() for _ in range(WORKERS)], jobs))


def selected(items: Iterable[pytest.Item]) -> list[Case]:
    """The cases of these tests, each once."""
    found: dict[str, Case] = {}
    for item in items:
        callspec = getattr(item, "callspec", None)
        for parameter in callspec.params.values() if callspec else ():
            if isinstance(parameter, Case):
                found[parameter.id] = parameter
            elif isinstance(parameter, Difference):
                found |= {case.id: case for case in parameter.among(cases.every())}
    return list(found.values())
