"""A runner on a fresh database."""

import pytest

from tests.conftest import Database
from tests.runner.track import Runner


@pytest.fixture
def runner(database: Database) -> Runner:
    return Runner(database)
