"""docs/moving.md is true: each way is walked, by the command line and by the operator's runner.

No file is run twice: the second one doubles a price.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from dev.peers import write_files
from fluxbase_migrations.api.spec import Spec
from fluxbase_migrations.controller.reconcile import jobs
from fluxbase_migrations.core.job import SetRef
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import Outcome
from tests.runner import test_other_tools as tools
from tests.runner.cases import files
from tests.runner.test_cli import typed
from tests.runner.test_job import Pod
from tests.runner.track import Runner
from tests.support import predecessors
from tests.support.databases import Database

PAGE = (Path(__file__).parents[2] / "docs" / "moving.md").read_text()
PRICE, RAISE = files("adoption/idempotent-looking").values()
OURS = {"001_price.up.sql": PRICE, "002_raise.up.sql": RAISE}


class Way(NamedTuple):
    """How a database came to be what it is before the move."""

    migrate: Callable[[Runner, Path], None]
    """Write the old tool's files below a directory, and migrate the database as it does."""
    newest: int = 2


def by_golang_migrate(runner: Runner, directory: Path) -> None:
    source = write_files(directory / "migrations", OURS)
    predecessors.GolangMigrate().migrate(runner.database.dsn, source)


def by_fluxbase(runner: Runner, directory: Path) -> None:
    source = write_files(directory / "migrations", OURS)
    predecessors.Fluxbase().migrate(runner.database.dsn, source)


def by_flyway(runner: Runner, directory: Path) -> None:
    named = {"V1__price.sql": PRICE, "V2__raise.sql": RAISE}
    source = write_files(directory / "db/migration", named)
    predecessors.Flyway().migrate(runner.database.dsn, source)


def by_goose(runner: Runner, directory: Path) -> None:
    up = "-- +goose Up\n"
    write_files(directory / "db/migrations", {"00001_price.sql": up + PRICE, "00002_raise.sql": up + RAISE})
    runner.query(PRICE + RAISE + tools.GOOSE)
    runner.query("INSERT INTO goose_db_version (version_id, is_applied) VALUES (1, true), (2, true)")


def by_dbmate(runner: Runner, directory: Path) -> None:
    named = {"20240102030405_price.sql": PRICE, "20240102030406_raise.sql": RAISE}
    up = {name: f"-- migrate:up\n{text}\n-- migrate:down\n" for name, text in named.items()}
    write_files(directory / "db/migrations", up)
    runner.query(PRICE + RAISE + tools.DBMATE)
    runner.query("INSERT INTO schema_migrations VALUES ('20240102030405'), ('20240102030406')")


WAYS = {
    "golang-migrate in an init container": Way(by_golang_migrate),
    "Helm hooks": Way(by_golang_migrate),
    "Fluxbase's own start-up migrations": Way(by_fluxbase),
    "Flyway": Way(by_flyway),
    "goose": Way(by_goose),
    "dbmate": Way(by_dbmate, 20240102030406),
}
TYPED = [name for name in WAYS if name != "Helm hooks"]
"""Sections with commands that are typed at a terminal."""


def blocks(heading: str, language: str) -> list[str]:
    """The samples of a section."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


def set_of(heading: str) -> str:
    """The set of a section, as YAML."""
    (text,) = (one for one in blocks(heading, "yaml") if "kind: FluxbaseMigrationSet" in one)
    return text


@pytest.fixture
def runner(database: Database) -> Runner:
    return Runner(database)


def test_every_section_with_a_command_or_a_set_is_tried() -> None:
    headings = re.findall(r"^## (.*)", PAGE, re.MULTILINE)
    assert {one for one in headings if blocks(one, "yaml")} == set(WAYS)
    assert {one for one in headings if blocks(one, "console")} == set(TYPED)
    # tests/e2e types these.
    assert {one for one in headings if blocks(one, "bash")} == {"By the operator", "Helm hooks"}


@pytest.mark.parametrize("heading", TYPED)
def test_the_commands_take_the_database_over(runner: Runner, tmp_path: Path, heading: str) -> None:
    way = WAYS[heading]
    way.migrate(runner, tmp_path)
    words: list[str] = []
    for session in blocks(heading, "console"):
        for part in session.removeprefix("$ ").split("\n$ "):
            command, *expected = part.splitlines()
            program, *words = shlex.split(command)
            assert program == "fluxbase-migrate"
            done = typed(*words, directory=tmp_path, DATABASE_URL=runner.database.dsn)
            said = done.stdout + done.stderr
            assert (done.returncode == 0) == (not expected[0].startswith("ERROR")), said
            for line in expected:
                assert any(one.startswith(line.rstrip("…")) for one in said.splitlines()), said
    assert runner.query("SELECT v FROM price") == [(200,)]
    write_files(tmp_path / "migrations", {f"{way.newest + 1}_next.up.sql": "CREATE TABLE next ();"})
    done = typed(*words, directory=tmp_path, DATABASE_URL=runner.database.dsn)
    assert done.returncode == 0, done.stdout
    assert runner.exists("next")
    assert runner.query("SELECT v FROM price") == [(200,)]


@pytest.mark.parametrize("heading", WAYS)
def test_the_set_takes_the_database_over(runner: Runner, tmp_path: Path, heading: str) -> None:
    way = WAYS[heading]
    way.migrate(runner, tmp_path)
    importing = [
        shlex.split(line)[1:]
        for session in blocks(heading, "console")
        for line in re.findall(r"^\$ (.* import .*)", session, re.MULTILINE)
    ]
    for words in importing:
        assert typed(*words, directory=tmp_path).returncode == 0
    write_files(tmp_path / "migrations", {f"{way.newest + 1}_next.up.sql": "CREATE TABLE next ();"})
    spec = Spec.model_validate(yaml.safe_load(set_of(heading))["spec"])
    owner = SetRef("uid-1", "fluxbase", "shop")
    job = jobs.job_spec(spec, Track.USER, owner, run=1, expected_digest=None)
    pod = Pod(runner.database, tmp_path)
    without = replace(job, paths=(str(tmp_path / "migrations"),), table=None, baseline=None)
    assert pod.run(without).outcome is Outcome.FOREIGN_TABLE
    result = pod.run(replace(job, run=2, paths=(str(tmp_path / "migrations"),)))
    assert (result.outcome, result.version) == (Outcome.APPLIED, way.newest + 1), result.error
    assert result.applied_count == 1
    assert result.baselined == job.baseline
    assert runner.query("SELECT v FROM price") == [(200,)]
