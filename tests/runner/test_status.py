"""``fluxbase-migrate status``: where each migration of both tracks stands."""

import json
import subprocess
from pathlib import Path
from typing import LiteralString

import psycopg
import pytest

from dev.peers import environment, write_files
from dev.waiting import eventually
from fluxbase_migrations.core.files import Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.runner.history.entry import Row
from fluxbase_migrations.runner.history.overview import FileState, migrations
from tests.runner.test_cli import PROGRAM, typed
from tests.runner.track import Runner
from tests.support.databases import Database

FILES = {
    "001_one.up.sql": "CREATE TABLE one ();",
    "001_one.down.sql": "DROP TABLE one;",
    "003_three.up.sql": "CREATE TABLE three ();",
}


def said(database: Database, directory: Path, *words: str) -> tuple[int, list[str]]:
    done = typed("status", *words, directory=directory, DATABASE_URL=database.dsn)
    return done.returncode, done.stdout.splitlines()


def cells(lines: list[str], version: str) -> list[str]:
    (row,) = [line for line in lines if line.split()[:2] == ["user", version]]
    return row.split()


def test_a_fresh_database_has_everything_pending(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", FILES)
    code, lines = said(database, tmp_path)
    assert code == 0
    assert lines[0].split() == ["TRACK", "VERSION", "FILE", "STATE", "APPLIED", "TOOK", "BY"]
    assert [line.split()[3] for line in lines if line.startswith("system ")] == ["pending"] * 6
    assert cells(lines, "1")[2:4] == ["001_one.up.sql", "pending"]
    assert lines[-2:] == [
        "system: migrations.fluxbase: no version; 6 pending",
        "user: migrations.app: no version; 2 pending",
    ]


def test_each_state_is_told(database: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / "migrations", FILES)
    assert typed("up", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 0
    write_files(
        source,
        {
            "001_one.up.sql": "CREATE TABLE one (id int);",
            "002_two.up.sql": "CREATE TABLE two ();",
            "004_four.up.sql": "SELECT no_such_column;",
            "005_five.up.sql": "SELECT 1;",
        },
    )
    (source / "003_three.up.sql").unlink()
    code, lines = said(database, tmp_path, "--track", "user")
    assert code == 0
    assert cells(lines, "1")[3:6] == ["applied,", "edited", "since"]
    assert cells(lines, "2")[3:] == ["out", "of", "order"]
    assert cells(lines, "3")[3:6] == ["applied,", "no", "file"]
    assert cells(lines, "4")[3:] == ["pending"]
    write_files(source, {"003_three.up.sql": FILES["003_three.up.sql"]})
    assert typed("up", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 1
    code, lines = said(database, tmp_path, "--track", "user")
    assert code == 1, "dirty"
    assert cells(lines, "4")[3] == "dirty"
    assert cells(lines, "5")[3] == "pending"
    assert 'failed: 004_four.up.sql:1:8: column "no_such_column" does not exist' in lines[-1]
    assert "version 4 (dirty)" in lines[-2]
    (user,) = json.loads("\n".join(said(database, tmp_path, "--track", "user", "-o", "json")[1]))
    (dirty,) = [one for one in user["migrations"] if one["state"] == "dirty"]
    assert dirty["appliedAt"] is None


def test_what_golang_migrate_applied_has_nobody(database: Database, runner: Runner, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", FILES)
    runner.query(
        "CREATE SCHEMA migrations;"
        " CREATE TABLE migrations.app (version bigint PRIMARY KEY, dirty boolean NOT NULL);"
        " INSERT INTO migrations.app VALUES (1, false)"
    )
    _, lines = said(database, tmp_path)
    assert cells(lines, "1") == ["user", "1", "001_one.up.sql", "applied"]
    assert cells(lines, "3")[3] == "pending"


def test_programs_read_it_too(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", FILES)
    assert typed("up", "1", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 0
    code, lines = said(database, tmp_path, "-o", "json")
    assert code == 0
    system, user = json.loads("\n".join(lines))
    assert (system["track"], system["version"], len(system["migrations"])) == ("system", None, 6)
    assert (user["table"], user["version"], user["dirty"]) == ("migrations.app", 1, False)
    assert user["refused"] is None
    assert [(one["version"], one["state"], one["by"] is None) for one in user["migrations"]] == [
        (1, "applied", False),
        (3, "pending", True),
    ]


@pytest.mark.parametrize(
    ("row", "states"),
    [
        (Row(), [FileState.PENDING, FileState.PENDING]),
        (Row(1, False), [FileState.APPLIED, FileState.PENDING]),
        (Row(1, True), [FileState.DIRTY, FileState.PENDING]),
        (Row(2, False), [FileState.APPLIED, FileState.APPLIED]),
        (Row(9, False), [FileState.APPLIED, FileState.APPLIED, FileState.FILE_GONE]),
        (Row(0, False), [FileState.FILE_GONE, FileState.PENDING, FileState.PENDING]),
        (Row(-1, True), [FileState.DIRTY, FileState.PENDING, FileState.PENDING]),
        (Row(9, True), [FileState.APPLIED, FileState.APPLIED, FileState.DIRTY]),
    ],
)
def test_without_a_history_the_row_decides(row: Row, states: list[FileState]) -> None:
    files = {
        (version, Direction.UP): MigrationFile(f"{version}_t.up.sql", version, "t", Direction.UP, b"")
        for version in (1, 2)
    }
    assert [one.state for one in migrations(row, [], MigrationFiles(files))] == states


@pytest.mark.parametrize("command", ["status", "version", "history"])
def test_a_signal_ends_a_look_at_a_table_that_somebody_has_locked(
    database: Database, tmp_path: Path, command: str
) -> None:
    write_files(tmp_path / "migrations", FILES)
    assert typed("up", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 0
    waiting: LiteralString = (
        "SELECT count(*) FROM pg_locks WHERE NOT granted"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    )
    log = tmp_path / "log"
    with psycopg.connect(database.dsn) as holder, log.open("w") as output:
        holder.execute("LOCK TABLE migrations.app, migrations.history")
        variables = environment({"DATABASE_URL": database.dsn})
        with subprocess.Popen([PROGRAM, command], env=variables, cwd=tmp_path, stdout=output) as process:
            try:
                eventually("it to wait", lambda: holder.execute(waiting).fetchall() == [(1,)])
                process.terminate()
                assert process.wait(60) == 1
            finally:
                process.kill()
    assert log.read_text() == "ERROR SIGTERM received\n"
