"""golang-migrate's own CLI, pointed at a database that the operator migrated, sees its own tables."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from tests.localcluster.tools import tool

from fluxbase_migrations import system
from tests.e2e.harness import SHOP, Database, MigrationSet, files

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def migrate(database: Database, table: str, directory: Path, *command: str) -> str:
    """Run golang-migrate's CLI; return what it prints, which is all on standard error."""
    where = psycopg.conninfo.conninfo_to_dict(database.outside)
    name = quote(f'"migrations"."{table}"')
    url = (
        f"postgres://{where['user']}:{where['password']}@{where['host']}:{where['port']}/{database.name}"
        f"?sslmode=disable&x-migrations-table={name}&x-migrations-table-quoted=1"
    )
    done = subprocess.run(
        [str(tool("migrate")), "-path", str(directory), "-database", url, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.strip()


def test_both_tracks_read_the_same_and_there_is_nothing_to_do(
    new_set: Callable[..., MigrationSet], tmp_path: Path
) -> None:
    shop = new_set("peer")
    shop.write_secret()
    shop.write_config_map(files(SHOP), create=True)
    shop.apply()
    shop.wait("Applied", version=4)
    for name, data in system.files().items():
        (tmp_path / name).write_bytes(data)
    for table, directory, version in (("fluxbase", tmp_path, "6"), ("app", SHOP, "4")):
        assert migrate(shop.database, table, directory, "version") == version
        assert migrate(shop.database, table, directory, "up") == "no change"
