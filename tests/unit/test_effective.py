"""``config`` says which settings hold and where each comes from, and no secret."""

import json
from pathlib import Path

import pytest

from fluxbase_migrations.cli.migrate import main

SECRET = "p-8!s3cret"
YAML = f"database:\n  host: from-yaml\n  password: '{SECRET}'\n"

Shown = dict[str, tuple[str, str, str | None]]


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty directory, and no variable that says anything."""
    monkeypatch.chdir(tmp_path)
    for name in ("DATABASE_URL", "DB_USER_MIGRATIONS_PATH", "PGHOST", "PGUSER", "PGPASSWORD", "PGDATABASE"):
        monkeypatch.delenv(name, raising=False)


def shown(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Shown:
    assert main(["config", "-o", "json", *words]) == code
    out = capsys.readouterr().out
    assert SECRET not in out
    return {one["setting"]: (one["value"], one["from"], one["givenBy"]) for one in json.loads(out)}


def test_each_layer_is_named_with_what_it_gives(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "fluxbase.yaml").write_text(YAML)
    (tmp_path / ".env").write_text("DB_PORT=6000\nFLUXBASE_TRACK=System\n")
    monkeypatch.setenv("DB_NAME", "shop")
    found = shown(capsys, "--lock-timeout", "90s")
    expected = {
        "database.host": ("from-yaml", "fluxbase.yaml", "DB_HOST"),
        "database.port": ("6000", ".env", "DB_PORT"),
        "database.dbname": ("shop", "environment", "DB_NAME"),
        "database.password": ("********", "fluxbase.yaml", "DB_PASSWORD"),
        "track": ("system", ".env", "FLUXBASE_TRACK"),
        "table": ("migrations.fluxbase", "default", None),
        "lock-timeout": ("90s", "command line", "--lock-timeout"),
        "log-format": ("text", "default", None),
        "source": ("migrations", "default", None),
    }
    assert {name: found[name] for name in expected} == expected


@pytest.mark.parametrize("flag", ["--database-url", "-database"])
def test_a_url_is_shown_in_its_parts(capsys: pytest.CaptureFixture[str], flag: str) -> None:
    url = f"postgres://me:{SECRET.replace('!', '%21')}@db:5433/shop?x-statement-timeout=2000"
    found = shown(capsys, flag, url)
    assert found["database.host"] == ("db", "command line", flag)
    assert found["database.user"] == ("me", "command line", flag)
    assert found["database.password"] == ("********", "command line", flag)
    assert found["statement-timeout"] == ("2s", "command line", flag)
    table = ("schema_migrations", "command line", flag) if flag == "-database" else None
    assert found["table"] == (table or ("migrations.app", "default", None))


def test_a_url_that_names_the_table_is_said_to(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgres://me@db/shop?x-migrations-table=mine")
    assert shown(capsys)["table"] == ("mine", "environment", "DATABASE_URL")
    assert shown(capsys, "--table", "a.b")["table"] == ("a.b", "command line", "--table")


def test_a_url_that_cannot_be_read_is_not_repeated(capsys: pytest.CaptureFixture[str]) -> None:
    value, place, by = shown(capsys, "--database-url", f"postgres://me:@{SECRET}@db/x", code=1)["database"]
    assert "cannot be read" in value
    assert (place, by) == ("command line", "--database-url")


def test_no_database_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys)["database"] == ("not configured", "default", None)


def test_the_table_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["config"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["SETTING", "VALUE", "FROM"]
    assert any(line.split() == ["out-of-order", "warn", "default"] for line in lines)
