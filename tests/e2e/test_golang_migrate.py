"""golang-migrate's own CLI, pointed at a database that the operator migrated, sees its own tables."""

from collections.abc import Callable
from pathlib import Path

import pytest

from dev.peers import GolangMigrate
from fluxbase_migrations import system
from tests.e2e.harness import SHOP, MigrationSet, files

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


def test_both_tracks_read_the_same_and_there_is_nothing_to_do(
    new_set: Callable[..., MigrationSet], tmp_path: Path
) -> None:
    shop = new_set("peer")
    shop.write_secret()
    shop.write_config_map(files(SHOP), create=True)
    shop.apply()
    shop.wait("Applied", version=4)
    built_in = tmp_path / "system"
    built_in.mkdir()
    for name, data in system.files().items():
        (built_in / name).write_bytes(data)
    for table, directory, version in (("fluxbase", built_in, "6"), ("app", SHOP, "4")):
        dsn = shop.database.server.dsn(shop.database.name, sslmode="disable")
        peer = GolangMigrate(dsn, directory, ("migrations", table))
        assert peer.run("version").output.strip() == version
        done = peer.run("up")
        assert (done.code, done.output.strip()) == (0, "no change")
