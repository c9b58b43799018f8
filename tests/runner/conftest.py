"""A runner on a fresh database."""

import pytest

from tests.runner.track import Runner
from tests.support.databases import Database


@pytest.fixture
def runner(database: Database) -> Runner:
    return Runner(database)
