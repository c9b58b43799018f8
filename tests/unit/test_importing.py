"""`fluxbase-migrate import`: other tools' files become ours, or nothing is written."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from dev.peers import write_files
from fluxbase_migrations.cli.importing import Tool, dbmate, flyway, goose, sqitch
from fluxbase_migrations.cli.importing.command import import_files
from fluxbase_migrations.cli.importing.model import Conversion, numbered
from fluxbase_migrations.cli.migrate import main

PLAN = """\
%syntax-version=1.0.0
%project=shop

# the beginning
schema 2024-01-02T03:04:05Z A B <a@example.com> # Adds the schema
api/users [schema] 2024-01-02T03:04:06Z A B <a@example.com> # Adds users
@v1 2024-01-02T03:04:07Z A B <a@example.com> # Tag
api/users [api/users@v1] 2024-01-03T03:04:05Z A B <a@example.com> # Users again
"""


def outcome(conversion: Conversion) -> dict[str, str]:
    """Ours, name → content."""
    return {name: one.text for made in numbered(conversion) for name, one in made.files()}


def errors(conversion: Conversion) -> list[str]:
    return [str(one) for one in conversion.remarks if one.is_error]


GOOSE = {
    "up and down": (
        {"00001_a.sql": "-- a comment\n-- +goose Up\nCREATE TABLE a ();\n\n-- +goose Down\nDROP TABLE a;\n"},
        {"00001_a.up.sql": "CREATE TABLE a ();\n", "00001_a.down.sql": "DROP TABLE a;\n"},
    ),
    "no down": ({"1_a.sql": "-- +goose Up\nSELECT 1;"}, {"1_a.up.sql": "SELECT 1;\n"}),
    "a down that does nothing": (
        {"1_a.sql": "-- +goose Up\nSELECT 1;\n-- +goose Down\n"},
        {"1_a.up.sql": "SELECT 1;\n", "1_a.down.sql": "\n"},
    ),
    "a block gets the semicolon that ended it there": (
        {
            "1_a.sql": "-- +goose UP\n-- +goose StatementBegin\nSELECT '-- no'\n-- +goose StatementEnd\n"
            "SELECT 2;"
        },
        {"1_a.up.sql": "\nSELECT '-- no'\n;\nSELECT 2;\n"},
    ),
    "a block that has one": (
        {"1_a.sql": "-- +goose Up\n--+goose StatementBegin\nSELECT 1;\n-- +goose StatementEnd\nSELECT 2;"},
        {"1_a.up.sql": "\nSELECT 1;\n\nSELECT 2;\n"},
    ),
    "what looks like a variable is text": (
        {"1_a.sql": "-- +goose Up\nSELECT '${A}';"},
        {"1_a.up.sql": "SELECT '${A}';\n"},
    ),
    "numbers, not names, give the order": (
        {"10_b.sql": "-- +goose Up\nSELECT 2;", "9_a.sql": "-- +goose Up\nSELECT 1;"},
        {"9_a.up.sql": "SELECT 1;\n", "10_b.up.sql": "SELECT 2;\n"},
    ),
}
NOT_GOOSE: dict[str, tuple[dict[str, str], str]] = {
    "a migration in Go": ({"1_a.go": ""}, "1_a.go: error: a migration in Go"),
    "substitution": ({"1_a.sql": "-- +goose ENVSUB ON\n-- +goose Up\nSELECT 1;"}, "1_a.sql:1: error: ENVSUB"),
    "no Up": ({"1_a.sql": "-- nothing"}, "there is no -- +goose Up"),
    "a statement before Up": ({"1_a.sql": "SELECT 1;\n-- +goose Up\n"}, "1_a.sql:1: error: a statement"),
    "Down first": ({"1_a.sql": "-- +goose Down\n-- +goose Up\n"}, "in the wrong place"),
    "a block that never ends": (
        {"1_a.sql": "-- +goose Up\n-- +goose StatementBegin\nSELECT 1;"},
        "1_a.sql:2: error: this StatementBegin has no StatementEnd",
    ),
    "an unknown marker": ({"1_a.sql": "-- +goose Up\n-- +goose Sideways\n"}, "is no marker that is known"),
    "an indented marker": ({"1_a.sql": " -- +goose Up\n"}, "white space before a marker"),
    "one version twice": (
        {"1_a.sql": "-- +goose Up\n", "01_b.sql": "-- +goose Up\n"},
        "version 1 is that of 01_b.sql and 1_a.sql",
    ),
    "version 0": ({"0_a.sql": "-- +goose Up\n"}, "goose's versions begin with 1"),
    "a file without a number": ({"seed.sql": ""}, "not a name of goose's"),
}
DBMATE = {
    "up and down": (
        {"20240102030405_a.sql": "-- migrate:up\nCREATE TABLE a ();\n\n-- migrate:down\nDROP TABLE a;\n"},
        {
            "20240102030405_a.up.sql": "CREATE TABLE a ();\n",
            "20240102030405_a.down.sql": "DROP TABLE a;\n",
        },
    ),
    "without a name": ({"1.sql": "--migrate:up\nSELECT 1;"}, {"1_migration.up.sql": "SELECT 1;\n"}),
    "an option": (
        {"1_a.sql": "-- migrate:up transaction:false\nVACUUM;"},
        {"1_a.up.sql": "VACUUM;\n"},
    ),
    "names, not numbers, give the order": (
        {"10_b.sql": "-- migrate:up\nSELECT 1;", "9_a.sql": "-- migrate:up\nSELECT 2;"},
        {"001_b.up.sql": "SELECT 1;\n", "002_a.up.sql": "SELECT 2;\n"},
    ),
    "a file without a number": (
        {"1_a.sql": "-- migrate:up\n", "seed.sql": "SELECT 1;"},
        {"1_a.up.sql": "\n"},
    ),
}
NOT_DBMATE = {
    "no up": ({"1_a.sql": "SELECT 1"}, "1_a.sql:1: error: a statement before -- migrate:up"),
    "nothing at all": ({"1_a.sql": ""}, "there is no -- migrate:up"),
    "down first": ({"1_a.sql": "-- migrate:down\n-- migrate:up\n"}, "-- migrate:down in the wrong place"),
    "two in one": (
        {"1_a.sql": "-- migrate:up\n-- migrate:down\n-- migrate:up\n"},
        "1_a.sql:3: error: -- migrate:up again: write a file for each migration",
    ),
    "an unknown option": ({"1_a.sql": "-- migrate:up lock:no\n"}, "the option lock:no is not known"),
    "one version twice": (
        {"1_a.sql": "-- migrate:up\n", "1_b.sql": "-- migrate:up\n"},
        "version 1 is that of 1_a.sql and 1_b.sql",
    ),
}
FLYWAY = {
    "whole numbers stay": (
        {"V1__a.sql": "SELECT 1;", "U1__a.sql": "SELECT 2;", "V010__b.sql": "SELECT 3;"},
        {"1_a.up.sql": "SELECT 1;", "1_a.down.sql": "SELECT 2;", "010_b.up.sql": "SELECT 3;"},
    ),
    "versions with dots become numbers in their order": (
        {
            "V1.10__c.sql": "3",
            "V1.9__b.sql": "2",
            "V1__a.sql": "1",
            "sub/V2_1__d.sql": "4",
            "U1_9__b.sql": "-2",
        },
        {
            "001_a.up.sql": "1",
            "002_b.up.sql": "2",
            "002_b.down.sql": "-2",
            "003_c.up.sql": "3",
            "004_d.up.sql": "4",
        },
    ),
    "without a name": ({"V1.sql": "1"}, {"1_migration.up.sql": "1"}),
    "what is no migration": ({"V1__a.sql": "1", "seed.sql": "2", "v2__b.sql": "3"}, {"1_a.up.sql": "1"}),
    "its own settings": (
        {"V1__a.sql": "VACUUM", "V1__a.sql.conf": "# why\nexecuteInTransaction=false\nencoding = UTF-8\n"},
        {"1_a.up.sql": "VACUUM"},
    ),
}
NOT_FLYWAY = {
    "a repeatable migration": (
        {"R__views.sql": ""},
        "R__views.sql: error: a repeatable migration runs whenever",
    ),
    "a placeholder": (
        {"V1__a.sql": "SELECT 1;\n-- ${flyway:user}"},
        "V1__a.sql:2: error: the placeholder ${flyway:user}: put its value into the file",
    ),
    "a callback": ({"afterMigrate.sql": ""}, "afterMigrate.sql: error: a callback"),
    "a callback with a name": ({"beforeEachMigrate__x.sql": ""}, "a callback"),
    "Java": ({"V1__a.java": ""}, "a migration that is no SQL"),
    "a baseline migration": ({"B5__a.sql": ""}, "a baseline migration"),
    "an undo of nothing": ({"U1__a.sql": ""}, "it undoes a version that has no file"),
    "one version twice": (
        {"V1__a.sql": "", "V1.0__b.sql": ""},
        "version V1 is that of V1.0__b.sql and V1__a.sql",
    ),
    "another setting": (
        {"V1__a.sql": "", "V1__a.sql.conf": "shouldExecute=false"},
        "V1__a.sql.conf:1: error: shouldExecute=false has no counterpart",
    ),
}
SQITCH = {
    "the order of the plan, and reworked changes": (
        {
            "sqitch.plan": PLAN,
            "sqitch.conf": "[core]\n\tengine = pg\n",
            "deploy/schema.sql": "BEGIN; SELECT 1; COMMIT;",
            "revert/schema.sql": "SELECT -1;",
            "deploy/api/users@v1.sql": "SELECT 2;",
            "deploy/api/users.sql": "SELECT 3;",
            "verify/schema.sql": "SELECT 0;",
        },
        {
            "001_schema.up.sql": "BEGIN; SELECT 1; COMMIT;",
            "001_schema.down.sql": "SELECT -1;",
            "002_api_users@v1.up.sql": "SELECT 2;",
            "003_api_users.up.sql": "SELECT 3;",
        },
    ),
}
NOT_SQITCH: dict[str, tuple[dict[str, str], str]] = {
    "no plan": ({}, "there is no sqitch.plan"),
    "a missing script": (
        {"sqitch.plan": PLAN},
        "sqitch.plan:5: error: the script deploy/schema.sql is missing",
    ),
    "another project": (
        {"sqitch.plan": "a [other:b] 2024-01-02T03:04:05Z A <a@b>\n", "deploy/a.sql": ""},
        "it needs other:b of another project",
    ),
    "no line of a plan": ({"sqitch.plan": "what is this\n"}, "sqitch.plan:1: error: not a line"),
    "other directories": (
        {"sqitch.plan": "", "sqitch.conf": "[core]\n  top_dir = sql\n"},
        "sqitch.conf:2: error: top_dir = sql: only the default places",
    ),
    "variables": (
        {"sqitch.plan": "", "sqitch.conf": '[deploy "variables"]\n'},
        "only the default places, without variables, are read",
    ),
}
CONVERTED = [
    pytest.param(convert, files, expected, id=f"{convert.__module__.rpartition('.')[2]}: {name}")
    for convert, cases in (
        (goose.convert, GOOSE),
        (dbmate.convert, DBMATE),
        (flyway.convert, FLYWAY),
        (sqitch.convert, SQITCH),
    )
    for name, (files, expected) in cases.items()
]
REFUSED = [
    pytest.param(convert, files, words, id=f"{convert.__module__.rpartition('.')[2]}: {name}")
    for convert, cases in (
        (goose.convert, NOT_GOOSE),
        (dbmate.convert, NOT_DBMATE),
        (flyway.convert, NOT_FLYWAY),
        (sqitch.convert, NOT_SQITCH),
    )
    for name, (files, words) in cases.items()
]


@pytest.mark.parametrize(("convert", "files", "expected"), CONVERTED)
def test_files_are_converted(convert: object, files: dict[str, str], expected: dict[str, str]) -> None:
    assert callable(convert)
    made = convert(files)
    assert errors(made) == []
    assert outcome(made) == expected


@pytest.mark.parametrize(("convert", "files", "words"), REFUSED)
def test_what_cannot_keep_its_order_or_meaning_is_refused(
    convert: object, files: dict[str, str], words: str
) -> None:
    assert callable(convert)
    assert any(words in one for one in errors(convert(files))), errors(convert(files))


@pytest.mark.parametrize(
    ("convert", "files", "place"),
    [
        (goose.convert, {"1_a.sql": "-- +goose NO TRANSACTION\n-- +goose Up\nVACUUM;"}, "1_a.sql:1"),
        (dbmate.convert, {"1_a.sql": "-- migrate:up transaction:false\nVACUUM;"}, "1_a.sql:1"),
    ],
    ids=["goose", "dbmate"],
)
def test_what_runs_in_another_way_is_said(convert: object, files: dict[str, str], place: str) -> None:
    assert callable(convert)
    (remark,) = convert(files).remarks
    assert str(remark).startswith(f"{place}: warning: ")
    assert "runs outside a transaction there" in str(remark)


def written(directory: Path) -> Mapping[str, str]:
    return {path.name: path.read_text() for path in directory.glob("*")}


def test_the_report_says_what_became_of_each_file_and_what_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_files(tmp_path / "sql", {"V1.9__b.sql": "SELECT 2;", "V1__a.sql": "SELECT 1;"})
    assert import_files(Tool.FLYWAY, source, tmp_path / "ours", dry_run=False) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [
        "VERSION  FROM         TO",
        "1        V1__a.sql    001_a.up.sql",
        "1.9      V1.9__b.sql  002_b.up.sql",
        "",
        "a database that is at 1.9: fluxbase-migrate baseline 2",
        "at another version: the number in TO beside it; not --from, because the numbers are new",
    ]
    assert said.err == f"2 migrations, 2 files written to {tmp_path}/ours\n"
    assert written(tmp_path / "ours") == {"001_a.up.sql": "SELECT 1;", "002_b.up.sql": "SELECT 2;"}


def test_nothing_is_written_unless_all_can_be_converted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_files(tmp_path / "sql", {"V1__a.sql": "SELECT 1;", "R__b.sql": "SELECT 2;"})
    assert import_files(Tool.FLYWAY, source, tmp_path / "ours", dry_run=False) == 1
    said = capsys.readouterr()
    assert "R__b.sql: error: a repeatable migration" in said.err
    assert said.err.endswith("nothing was written\n")
    assert not (tmp_path / "ours").exists()


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("-- +goose Up\nSELECT 1;\nCOPY a FROM STDIN;\n", "1_a.sql:3"),
        ("-- +goose Up\nSELECT 1;\n-- +goose Down\n\nDROP TABEL a;\n", "1_a.sql:5"),
        ("-- +goose Up\n\\i other.sql\n", "1_a.sql:2"),
    ],
    ids=["COPY", "a syntax error", "psql's own command"],
)
def test_what_the_runner_would_refuse_is_refused_at_its_place_in_the_original(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, place: str
) -> None:
    source = write_files(tmp_path / "sql", {"1_a.sql": text})
    assert import_files(Tool.GOOSE, source, tmp_path / "ours", dry_run=False) == 1
    assert capsys.readouterr().err.startswith(f"{place}: error: ")


def test_a_dry_run_and_a_directory_with_files_write_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_files(tmp_path / "sql", {"1_a.sql": "-- migrate:up\nSELECT 1;"})
    assert import_files(Tool.DBMATE, source, tmp_path / "ours", dry_run=True) == 0
    assert "1 migration, 1 file would be written" in capsys.readouterr().err
    assert not (tmp_path / "ours").exists()
    assert import_files(Tool.DBMATE, source, source, dry_run=False) == 1
    assert "choose an empty directory with --to" in capsys.readouterr().err
    assert set(written(source)) == {"1_a.sql"}


@pytest.mark.parametrize("tool", Tool)
def test_a_directory_without_migrations_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], tool: Tool
) -> None:
    assert import_files(tool, tmp_path, tmp_path / "ours", dry_run=False) == 1
    assert "there " in capsys.readouterr().err
    assert import_files(tool, tmp_path / "none", tmp_path / "ours", dry_run=False) == 1
    missing = tmp_path / "none"
    assert capsys.readouterr().err == f"ERROR cannot import {missing}: No such file or directory\n"


def test_what_is_no_utf8_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "V1__a.sql").write_bytes(b"SELECT '\xe9';")
    (tmp_path / "V2__b.sql").write_bytes(b"\xef\xbb\xbfSELECT 1;")
    assert import_files(Tool.FLYWAY, tmp_path, tmp_path / "ours", dry_run=False) == 1
    assert "V1__a.sql: error: it is not UTF-8" in capsys.readouterr().err


def test_the_command_writes_where_the_source_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path / "sql", {"1_a.sql": "-- migrate:up\nSELECT 1;"})
    monkeypatch.chdir(tmp_path)
    assert main(["import", "dbmate", "sql"]) == 0
    assert written(tmp_path / "migrations") == {"1_a.up.sql": "SELECT 1;\n"}
    with pytest.raises(SystemExit) as ended:
        main(["import", "nix", "sql"])
    assert ended.value.code == 2
