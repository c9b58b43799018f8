"""``fluxbase-migrate`` as people type it."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import Database
from tests.peers import Ours, environment, write_files

PROGRAM = str(Path(sys.executable).with_name("fluxbase-migrate"))
FILES = {
    "001_a.up.sql": "CREATE TABLE a (i int);",
    "001_a.down.sql": "DROP TABLE a;",
    "002_b.up.sql": "CREATE TABLE b (i int);",
    "002_b.down.sql": "DROP TABLE b;",
}


def typed(*words: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *words],
        env=environment(variables),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_run_reads_as_the_documentation_shows(database: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / "user", FILES)
    variables = {"DATABASE_URL": database.dsn, "DB_USER_MIGRATIONS_PATH": str(source)}
    done = typed("run", directory=tmp_path, **variables)
    assert done.returncode == 0, done.stdout
    assert [
        line for line in done.stdout.splitlines() if " Applying " not in line and "BYPASSRLS" not in line
    ] == [
        "INFO Running database migrations...",
        "INFO Running system migrations...",
        "INFO Migrations applied successfully source=system version=6",
        f"INFO Running user migrations... path={source}",
        "INFO Migrations applied successfully source=user version=2",
        "INFO Database migrations completed successfully",
    ]
    again = typed("run", directory=tmp_path, **variables)
    assert "INFO No new migrations to apply source=system" in again.stdout
    assert "INFO No new migrations to apply source=user" in again.stdout


def test_down_takes_a_number_or_all_but_not_both(tmp_path: Path) -> None:
    done = typed("down", "2", "--all", "--yes", directory=tmp_path)
    assert done.returncode == 2
    assert "a number or --all" in done.stderr


def test_run_skips_the_user_track_that_is_not_configured(database: Database, tmp_path: Path) -> None:
    done = typed("run", directory=tmp_path, DATABASE_URL=database.dsn, DB_USER_MIGRATIONS_PATH="")
    assert done.returncode == 0
    assert "user migrations" not in done.stdout


def test_a_developers_afternoon(database: Database, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"DATABASE_URL={database.dsn}\n")
    write_files(tmp_path / "migrations", FILES)
    for words, code, said in (
        (("version",), 1, "no migration"),
        (("up", "1"), 0, "version=1"),
        (("up",), 0, "version=2"),
        (("up",), 0, "no change"),
        (("version",), 0, "2"),
        (("down",), 0, "version=1"),
        (("goto", "2", "--lock-timeout", "3s"), 0, "version=2"),
        (("--log-format", "JSON", "force", "1"), 0, '"version": 1'),
        (("force", "--", "-1"), 0, "version=-1"),
        (("down",), 1, "file does not exist"),
        (("history", "-n", "3"), 0, "force"),
        (("up", "--all"), 2, ""),
        (("force", "x"), 2, ""),
    ):
        done = typed(*words, directory=tmp_path)
        assert (done.returncode, said in done.stdout) == (code, True), (words, done.stdout, done.stderr)
        assert database.password not in done.stdout + done.stderr


def test_down_all_asks_first(database: Database, tmp_path: Path) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", FILES))
    assert ours.run("up").code == 0
    assert ours.run("down", "--all", stdin="n\n").code == 1
    assert "2" in ours.run("version").output
    assert ours.run("down", "--all", stdin="y\n").code == 0
    assert "no migration" in ours.run("version").output


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FLUXBASE_LOCK_TIMEOUT", "soon"), ("FLUXBASE_TRACK", "other"), ("FLUXBASE_TABLE", "app")],
)
def test_a_variable_that_cannot_be_understood_is_a_usage_error(
    tmp_path: Path, variable: str, value: str
) -> None:
    done = typed("version", directory=tmp_path, **{variable: value})
    assert done.returncode == 2
    assert value in done.stderr


def test_the_password_is_not_in_a_failed_logins_output(database: Database, tmp_path: Path) -> None:
    done = typed(
        "version", "--database-url", database.dsn.replace(database.user, "nobody"), directory=tmp_path
    )
    assert done.returncode == 1
    assert database.password not in done.stdout + done.stderr
