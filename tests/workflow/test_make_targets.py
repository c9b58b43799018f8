"""The documented local workflow, typed: make targets on a directory of files and a database."""

import os
import subprocess
from pathlib import Path

import psycopg
import pytest
import yaml

from tests.support.databases import Database

ROOT = Path(__file__).parents[2]


class Terminal:
    """Types make targets; they act on a scratch directory instead of the repository's."""

    def __init__(self, migrations: Path, database: Database) -> None:
        self.migrations = migrations
        self.database = database

    def make(self, *words: str, code: int = 0) -> str:
        done = subprocess.run(
            ["make", "--no-print-directory", "-C", str(ROOT), *words, f"MIGRATIONS={self.migrations}"],
            env={**os.environ, "DATABASE_URL": self.database.dsn},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        assert done.returncode == code, done.stdout
        return done.stdout

    def has_products(self) -> bool:
        with psycopg.connect(self.database.dsn) as connection:
            return connection.execute("SELECT to_regclass('public.products')").fetchone() != (None,)


@pytest.fixture
def terminal(tmp_path: Path, database: Database) -> Terminal:
    return Terminal(tmp_path / "migrations", database)


def test_the_common_workflow_of_the_documentation(terminal: Terminal) -> None:
    # 1. Create new migration
    terminal.make("migrate-create", "NAME=add_products")
    # 2. Edit the generated files
    (terminal.migrations / "001_add_products.up.sql").write_text("CREATE TABLE products (id int);\n")
    (terminal.migrations / "001_add_products.down.sql").write_text("DROP TABLE products;\n")
    # 3. Apply migration
    terminal.make("migrate-up")
    assert terminal.has_products()
    # 4. Test rollback
    terminal.make("migrate-down")
    assert not terminal.has_products()
    # 5. Reapply
    terminal.make("migrate-up")
    assert terminal.has_products()
    assert terminal.make("migrate-version").splitlines()[-1] == "1"


def test_force_sets_the_version_and_runs_nothing(terminal: Terminal) -> None:
    terminal.make("migrate-create", "NAME=one")
    terminal.make("migrate-create", "NAME=two")
    terminal.make("migrate-force", "VERSION=2")
    assert terminal.make("migrate-version").splitlines()[-1] == "2"
    terminal.make("migrate-up")
    assert terminal.make("migrate-version").splitlines()[-1] == "2"


def test_a_missing_argument_is_asked_for_by_name(terminal: Terminal) -> None:
    assert "NAME=" in terminal.make("migrate-create", code=2)
    assert "VERSION=" in terminal.make("migrate-force", code=2)


def test_the_compose_file_has_what_the_documentation_shows() -> None:
    compose = yaml.safe_load((ROOT / "deploy/docker-compose.yml").read_text())
    fluxbase = compose["services"]["fluxbase"]
    assert fluxbase["environment"]["DB_USER_MIGRATIONS_PATH"] == "/migrations/user"
    assert "./migrations/user:/migrations/user:ro" in fluxbase["volumes"]
