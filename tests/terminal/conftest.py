"""Shells: on a database of their own, or on a cluster."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from dev.postgres_server import Endpoint
from tests.support.databases import Database
from tests.terminal.cluster import LiveCluster, live_cluster
from tests.terminal.recording import Shell
from tests.terminal.shop import shop_database, variables


@pytest.fixture
def shop(postgres: Endpoint) -> Iterator[Database]:
    with shop_database(postgres) as database:
        yield database


@pytest.fixture
def shell(shop: Database, tmp_path: Path) -> Iterator[Shell]:
    """Types commands in an empty directory, with DATABASE_URL set."""
    made = Shell(tmp_path, variables(DATABASE_URL=shop.dsn), {f"{shop.server.port}": "5432"})
    yield made
    made.close()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCluster]:
    with live_cluster(tmp_path_factory.mktemp("cluster")) as started:
        yield started


@pytest.fixture
def cluster_database(cluster: LiveCluster) -> Iterator[Database]:
    """The database that the Secret ``shop-db`` leads to; afterwards nothing is left in the namespace."""
    with cluster.database() as database:
        yield database


@pytest.fixture
def cluster_shell(cluster: LiveCluster, cluster_database: Database, tmp_path: Path) -> Iterator[Shell]:
    """Types commands in an empty directory, with a kubeconfig whose namespace is ``fluxbase``."""
    made = Shell(tmp_path, cluster.variables())
    yield made
    made.close()
