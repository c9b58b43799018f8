"""``fluxbase-migrate validate``: what is found in files alone, and where."""

import json
import subprocess
from pathlib import Path

import pytest

from dev.peers import write_files
from tests.runner.test_cli import typed

GOOD = {
    "001_users.up.sql": "CREATE TABLE users (id int);\n",
    "001_users.down.sql": "DROP TABLE users;\n",
    "002_name.up.sql": "ALTER TABLE users ADD name text;\n",
    "002_name.down.sql": "ALTER TABLE users DROP name;\n",
}


def validated(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return typed("validate", *words, directory=directory)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    return write_files(tmp_path / "migrations", GOOD)


def test_good_files_have_no_findings(tmp_path: Path, migrations: Path) -> None:
    done = validated(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "4 files: 0 errors, 0 warnings\n"


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("003_a.up.sql", "SELECT 1;\nCREATE TABEL x ();", "003_a.up.sql:2:8: error: syntax error at or near"),
        ("003_a.up.sql", "SELECT 'é',\n 1 frm x y;", "003_a.up.sql:2:8: error: syntax error at or near"),
        ("003_a.up.sql", "SELECT 1; /* never\n ends", "003_a.up.sql:1:11: error:"),
        ("003_a.up.sql", "\\\\i other.sql", "003_a.up.sql:1:1: error:"),
        ("003_a.up.sql", "COPY t FROM STDIN;", "003_a.up.sql:1:1: error:"),
        ("003_a.up.sql", b"SELECT 'caf\xe9';", "003_a.up.sql:1: error: byte 0xe9"),
        ("2_again.up.sql", "SELECT 1;", "error: version 2 has two up files"),
        ("seed.sql", "SELECT 1;", "seed.sql: error: not a migration's name"),
    ],
)
def test_an_error_has_its_place_and_exit_code_1(
    tmp_path: Path, migrations: Path, name: str, content: str | bytes, says: str
) -> None:
    write_files(migrations, {name: content.replace("\\\\", "\\") if isinstance(content, str) else content})
    done = validated(tmp_path)
    assert done.returncode == 1
    assert says in done.stdout


def test_a_statement_that_nests_too_deeply_for_the_tree_is_no_error(tmp_path: Path, migrations: Path) -> None:
    write_files(migrations, {"002_name.up.sql": f"SELECT {' || '.join(['name'] * 200)} FROM users;"})
    done = validated(tmp_path)
    assert (done.returncode, done.stdout) == (0, "")


def test_strings_are_read_as_the_file_has_them_read(tmp_path: Path, migrations: Path) -> None:
    setting = "SET standard_conforming_strings = off; SELECT 'it\\'s', b'1';\n"
    write_files(migrations, {"002_name.down.sql": setting})
    assert validated(tmp_path).stdout == ""
    write_files(migrations, {"002_name.down.sql": f"{setting}SELEC 1"})
    assert validated(tmp_path).stdout.startswith("migrations/002_name.down.sql:2:1: error: syntax error")


def test_any_name_of_a_migration_can_stand_among_the_checksums(tmp_path: Path, migrations: Path) -> None:
    write_files(migrations, {f"003_a\u2028b.{way}.sql": "SELECT 1" for way in ("up", "down")})
    assert validated(tmp_path, "--write").returncode == 0
    sums = migrations / "migrations.sum"
    sums.write_bytes(sums.read_bytes().replace(b"\n", b"\r\n"))
    assert (validated(tmp_path).returncode, validated(tmp_path).stdout) == (0, "")


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        (
            "003_a.up.sql",
            "SELECT 1;",
            "migrations/003_a.up.sql: warning: no down file: it cannot be rolled back",
        ),
        ("003_a.down.sql", "SELECT 1;", "migrations/003_a.down.sql: warning: version 3 has no up file"),
        ("005_a.up.sql", "SELECT 1;", "migrations: warning: no version 3 to 4 between 2 and 5"),
        ("003_a.up.sql", "-- nothing\n", "migrations/003_a.up.sql: warning: the file has no statement"),
    ],
)
def test_a_warning_leaves_the_exit_code_alone(
    tmp_path: Path, migrations: Path, name: str, content: str, says: str
) -> None:
    write_files(migrations, {name: content})
    done = validated(tmp_path)
    assert done.returncode == 0
    assert says in done.stdout.splitlines()


def test_timestamps_have_no_gaps(tmp_path: Path) -> None:
    names = ("20250101000000", "20250301000000")
    write_files(
        tmp_path / "migrations",
        {f"{name}_t.{direction}.sql": "SELECT 1;" for name in names for direction in ("up", "down")},
    )
    assert validated(tmp_path).stdout == ""


def test_files_are_held_to_their_recorded_checksums(tmp_path: Path, migrations: Path) -> None:
    assert validated(tmp_path, "--write").returncode == 0
    subprocess.run(["sha256sum", "--check", "--quiet", "migrations.sum"], cwd=migrations, check=True)
    assert validated(tmp_path).returncode == 0
    write_files(migrations, {"001_users.up.sql": "CREATE TABLE users ();", "003_new.up.sql": "SELECT 1;"})
    (migrations / "002_name.down.sql").unlink()
    done = validated(tmp_path)
    assert done.returncode == 1
    for part in (
        "001_users.up.sql: error: edited since migrations.sum was written",
        "002_name.down.sql: error: migrations.sum records it, but the file does not exist",
        "003_new.up.sql: error: migrations.sum does not record it",
    ):
        assert part in done.stdout
    assert validated(tmp_path, "--write").returncode == 0


def test_the_checksums_may_be_damaged(tmp_path: Path, migrations: Path) -> None:
    (migrations / "migrations.sum").write_text("what is this\n")
    done = validated(tmp_path)
    assert done.returncode == 1
    assert "migrations.sum:1: error: not a line of sha256sum" in done.stdout


def test_machines_read_it_too(tmp_path: Path, migrations: Path) -> None:
    write_files(migrations, {"003_a.up.sql": "SELEC 1;"})
    found = json.loads(validated(tmp_path, "-o", "json").stdout)
    assert [(one["file"], one["line"], one["is_error"]) for one in found] == [
        ("003_a.up.sql", 1, True),
        ("003_a.up.sql", None, False),
    ]
    shown = validated(tmp_path, "-o", "github").stdout.splitlines()
    assert shown[0].startswith("::error file=migrations/003_a.up.sql,line=1,col=1::syntax error")


def test_a_directory_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    done = validated(tmp_path, "elsewhere")
    assert done.returncode == 1
    assert "elsewhere" in done.stdout
