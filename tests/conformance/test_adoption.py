"""What golang-migrate itself has applied, with its own table, is not applied again."""

import subprocess
from pathlib import Path

from dev.peers import environment, golang_migrate, write_files
from tests.runner.cases import files
from tests.runner.test_adoption import OTHER, ours
from tests.runner.track import Runner
from tests.support.databases import Database


def test_what_golang_migrate_applied_is_not_applied_again(database: Database, tmp_path: Path) -> None:
    runner = Runner(database)
    source = str(write_files(tmp_path / "source", files("adoption/idempotent-looking")))
    url = runner.database.dsn.replace("postgresql://", "postgres://")
    argv = [golang_migrate(), "-path", source, "-database", url, "up"]
    subprocess.run(argv, check=True, env=environment(), capture_output=True, timeout=60)
    code, _ = ours(runner, tmp_path, source, "up")
    assert code == 1
    code, said = ours(runner, tmp_path, source, "up", "--table", OTHER)
    assert (code, "no change" in said) == (0, True)
    code, said = ours(
        runner, tmp_path, source, "up", DATABASE_URL=f"{url}&x-migrations-table=schema_migrations"
    )
    assert (code, "no change" in said) == (0, True)
    assert ours(runner, tmp_path, source, "force", "2")[0] == 0
    code, said = ours(runner, tmp_path, source, "up")
    assert (code, "no change" in said) == (0, True)
    assert runner.query("SELECT v FROM price") == [(200,)]
