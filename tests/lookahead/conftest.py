"""A runner on a fresh database, as the tests of the runner have it."""

from tests.runner.conftest import runner as runner
