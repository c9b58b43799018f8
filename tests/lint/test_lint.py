"""``fluxbase-migrate lint``: squawk's findings and ours, in one list."""

import json
import subprocess
from pathlib import Path

import pytest

from dev.peers import write_files
from fluxbase_migrations.core.errors import MigrationError
from fluxbase_migrations.runner.commands import linting
from tests.runner.test_cli import typed

QUIET = ("--exclude", "require-lock-timeout,require-statement-timeout")
RISKY = "CREATE TABLE a (id bigint);\nALTER TABLE old_one ADD COLUMN c bigint NOT NULL;\n"


def lint(directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return typed("lint", *words, directory=directory)


def written(directory: Path, **files: str) -> Path:
    """Up files of these names, each with a down file."""
    made = {f"{name.lstrip('v')}.up.sql": text for name, text in files.items()}
    made |= {name.replace(".up.", ".down."): "DROP TABLE a;" for name in made}
    return write_files(directory / "migrations", made)


def test_risky_statements_are_found_with_their_places(tmp_path: Path) -> None:
    written(tmp_path, v1_a=RISKY)
    done = lint(tmp_path, *QUIET)
    assert done.returncode == 1
    (line,) = [line for line in done.stdout.splitlines() if "adding-required-field" in line]
    assert line.startswith("migrations/1_a.up.sql:2:21: warning: adding-required-field: ")
    assert "down.sql" not in done.stdout, "what a down file drops is meant"


def test_nothing_found_is_exit_code_0(tmp_path: Path) -> None:
    written(tmp_path, v1_a="CREATE TABLE IF NOT EXISTS a (id bigint);\n")
    done = lint(tmp_path, *QUIET)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "2 files: 0 errors, 0 warnings\n")


def test_a_comment_or_the_configuration_turns_a_rule_off(tmp_path: Path) -> None:
    written(
        tmp_path, v1_a="-- squawk-ignore ban-drop-table\nDROP TABLE IF EXISTS a;\n", v2_b="DROP TABLE a;\n"
    )
    assert [one["file"] for one in found(tmp_path) if "ban-drop-table" in str(one["message"])] == [
        "2_b.up.sql"
    ]
    (tmp_path / ".squawk.toml").write_text('excluded_rules = ["ban-drop-table"]\n')
    assert not [one for one in found(tmp_path) if "ban-drop-table" in str(one["message"])]


def found(directory: Path, *words: str) -> list[dict[str, object]]:
    findings: list[dict[str, object]] = json.loads(lint(directory, *words, "-o", "json").stdout)
    return findings


def test_a_file_that_runs_in_one_transaction_is_judged_as_such(tmp_path: Path) -> None:
    """Where a failure takes everything back, a statement need not be repeatable."""
    written(tmp_path, v1_a="CREATE TABLE a (id bigint);\nCREATE TABLE b (id bigint);\n")
    assert not [one for one in found(tmp_path, *QUIET) if "prefer-robust" in str(one["message"])]
    written(tmp_path, v1_a="CREATE TABLE a (id bigint);\nCREATE INDEX CONCURRENTLY i ON a (id);\n")
    assert [one["line"] for one in found(tmp_path, *QUIET) if "prefer-robust" in str(one["message"])] == [
        1,
        2,
    ]


@pytest.mark.parametrize(
    "statement", ["CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON a (id)", "VACUUM a"], ids=["index", "vacuum"]
)
def test_what_cannot_run_in_the_files_own_transaction_is_an_error_once(
    tmp_path: Path, statement: str
) -> None:
    written(tmp_path, v1_a=f"BEGIN;\n{statement};\nCOMMIT;\n")
    errors = [one for one in found(tmp_path, *QUIET) if one["is_error"]]
    assert [
        (one["line"], "in the transaction that the file opens" in str(one["message"])) for one in errors
    ] == [(2, True)]


def test_numbers_and_missing_files_are_told_too(tmp_path: Path) -> None:
    directory = written(tmp_path, v1_a="SELECT 1;", v3_c="SELECT 1;")
    (directory / "3_c.down.sql").unlink()
    messages = [str(one["message"]) for one in found(tmp_path, *QUIET)]
    assert messages == ["no down file: it cannot be rolled back", "no version 2 between 1 and 3"]


def test_a_syntax_error_is_told_once_in_postgresqls_words(tmp_path: Path) -> None:
    written(tmp_path, v1_a="SELECT 1 frm x y;")
    assert [one["message"] for one in found(tmp_path)] == ['syntax error at or near "x"']


def test_a_name_that_looks_like_a_pattern_is_a_name(tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", {"1_a[b]*.up.sql": "DROP TABLE a;"})
    assert [one["file"] for one in found(tmp_path) if "ban-drop-table" in str(one["message"])] == [
        "1_a[b]*.up.sql"
    ]


def test_githubs_annotations(tmp_path: Path) -> None:
    written(tmp_path, v1_a="DROP TABLE a;")
    lines = lint(tmp_path, "-o", "github", *QUIET).stdout.splitlines()
    assert lines[0].startswith("::warning file=migrations/1_a.up.sql,line=1,col=1::ban-drop-table")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--exclude", "no-such-rule"), "invalid rule name no-such-rule"),
        (("--config", "nowhere.toml"), "No such file"),
        (("--pg-version", "x"), "squawk failed: "),
    ],
)
def test_what_squawk_does_not_take_is_an_error(tmp_path: Path, words: tuple[str, ...], says: str) -> None:
    written(tmp_path, v1_a="SELECT 1;")
    done = lint(tmp_path, *words)
    assert done.returncode == 1
    assert says in done.stdout


def test_without_squawk_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path))
    with pytest.raises(MigrationError) as raised:
        linting.program()
    assert raised.value.info.hint == "run: pip install 'fluxbase-migrations[lint]'"
