"""golang-migrate's command lines, given to both programs as they are: the same table, exit code and files."""

import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest

from dev.peers import environment, golang_migrate, write_files
from dev.postgres_server import Endpoint
from tests.conformance.cases import body
from tests.conformance.twins import reset, state
from tests.support.databases import Database, fresh_database

OURS = str(Path(sys.executable).with_name("fluxbase-migrate"))
FILES = {
    f"{version}_t.{direction}.sql": body(f"{version}/{direction}")
    for version in (1, 2, 3)
    for direction in ("up", "down")
}
SCRIPTS: dict[str, list[str]] = {
    "-path": ["-path {source} -database {url} up", "-path {source} -database {url} version"],
    "--path": ["--path={source} --database={url} up 2", "--path={source} --database={url} down 1"],
    "-source": [
        "-source file://{source} -database {url} goto 2",
        "-source file://{source} -database {url} up",
    ],
    "flags without effect": ["-verbose -prefetch 5 -lock-timeout 20 -path {source} -database {url} up"],
    "down -all": ["-path {source} -database {url} up", "-path {source} -database {url} down -all"],
    "values of switches": [
        "-verbose=true -path {source} -database {url} up",
        "--verbose=F -path {source} -database {url} down -all=1",
    ],
    "a source without slashes": ["-source file:{source} -database {url} up 1"],
    "force": ["-path {source} -database {url} force 2", "-path {source} -database {url} up"],
    "force -1": ["-path {source} -database {url} up 1", "-path {source} -database {url} force -- -1"],
    "another table": ["-path {source} -database {url}&x-migrations-table=mine up 1"],
    "nothing to do": ["-path {source} -database {url} up", "-path {source} -database {url} up"],
    "an unknown command": ["-path {source} -database {url} upp"],
}


def run(
    program: str, arguments: Sequence[str], directory: Path | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [program, *arguments],
        capture_output=True,
        text=True,
        env=environment(),
        cwd=directory or tempfile.gettempdir(),
        timeout=60,
        check=False,
    )


def play(program: str, script: list[str], source: Path, database: Database) -> tuple[object, ...]:
    """Whether each line succeeded, the tracking row, and what ran."""
    reset(database, None, table=False)
    url = f"postgres{database.dsn.removeprefix('postgresql')}"
    arguments = ([part.format(source=source, url=url) for part in line.split()] for line in script)
    succeeded = [run(program, one).returncode == 0 for one in arguments]
    table = "mine" if "=mine" in script[0] else "schema_migrations"
    return (succeeded, *state(database, f"public.{table}"))


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_a_script_goes_on_with_one_word_changed(
    postgres: Endpoint, tmp_path: Path, script: list[str]
) -> None:
    source = write_files(tmp_path / "source", FILES)
    with fresh_database(postgres) as theirs, fresh_database(postgres) as ours:
        assert play(OURS, script, source, ours) == play(golang_migrate(), script, source, theirs)


def test_what_golang_migrate_began_is_gone_on_with(database: Database, tmp_path: Path) -> None:
    reset(database, None, table=False)
    source = write_files(tmp_path / "source", FILES)
    url = f"postgres{database.dsn.removeprefix('postgresql')}"
    both = ["-path", str(source), "-database", url]
    assert run(golang_migrate(), [*both, "up", "2"]).returncode == 0
    assert run(OURS, [*both, "up"]).returncode == 0
    assert run(golang_migrate(), [*both, "version"]).stderr.strip() == "3"
    assert run(OURS, [*both, "version"]).stdout.strip() == "3"


def test_another_source_driver_is_refused(database: Database) -> None:
    done = run(OURS, ["-source", "github://owner/repository", "-database", database.dsn, "up"])
    assert done.returncode == 2
    assert "source driver 'github' is not supported" in done.stderr


CREATED = {
    "a timestamp": "create -ext sql users",
    "a number": "create -ext sql -dir m -seq users",
    "digits": "create -seq -digits 4 -ext .sql -dir m users",
    "seconds": "create -ext sql -format unix users",
    "a layout": "create -ext sql -format 200601021504 users",
    "a zone": "create -ext sql -tz America/New_York users",
    "no zone": "create -ext sql -tz= users",
    "a directory of zones": "create -ext sql -tz America users",
    "a number, by value": "create -ext=sql -seq=true -dir=m users",
    "a timestamp, by value": "create -ext=sql -seq=false -dir=m users",
    "many digits": "create -ext sql -seq -digits 30 -dir m users",
    "no extension": "create -dir m users",
    "no digits": "create -ext sql -seq -digits 0 users",
    "a number with a layout": "create -ext sql -seq -format unix users",
    "no such zone": "create -ext sql -tz Nowhere/At_All users",
}


@pytest.mark.parametrize("line", CREATED.values(), ids=CREATED)
def test_files_are_created_as_golang_migrate_creates_them(tmp_path: Path, line: str) -> None:
    made = {}
    for program in (OURS, golang_migrate()):
        directory = tmp_path / Path(program).name
        (directory / "m").mkdir(parents=True)
        (directory / "m/000007_before.up.sql").touch()
        done = run(program, line.split(), directory)
        names = sorted(str(path.relative_to(directory)) for path in directory.rglob("*users*"))
        numbers = [re.sub(r"[0-9]+", _without_seconds, name) for name in names]
        made[program] = (done.returncode == 0, numbers)
    assert made[OURS] == made[golang_migrate()]


def _without_seconds(found: re.Match[str]) -> str:
    """A timestamp's hour and its number of digits: the two programs may run in different seconds."""
    number = found[0]
    return number if number.startswith("0") else f"{number[: len(number) // 2]} {len(number)}"
