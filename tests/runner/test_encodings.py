"""Databases in other encodings than UTF8: the right statement is blamed, and every name can be recorded."""

from collections.abc import Iterator

import pytest
from psycopg import sql

from dev.postgres_server import Endpoint
from fluxbase_migrations.core.result import Outcome
from tests.runner.track import Runner, source
from tests.support.databases import Database, administer, create_login, drop_database, drop_role

ENCODINGS = ["LATIN1", "SQL_ASCII", "EUC_JP", "WIN1252"]


@pytest.fixture(params=ENCODINGS)
def encoding(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def runner(postgres: Endpoint, encoding: str) -> Iterator[Runner]:
    """A runner on a database of that encoding."""
    made = Database(postgres, f"test_{encoding.lower()}", f"test_{encoding.lower()}", "secret-enough")
    create_login(postgres, made.user, made.password)
    statement = sql.SQL(
        "CREATE DATABASE {} OWNER {} TEMPLATE template0 ENCODING {} LC_COLLATE 'C' LC_CTYPE 'C'"
    )
    administer(
        postgres,
        statement.format(sql.Identifier(made.name), sql.Identifier(made.user), sql.Literal(encoding)),
    )
    yield Runner(made)
    drop_database(postgres, made.name)
    drop_role(postgres, made.user)


@pytest.mark.parametrize("before", ["", "VACUUM; "], ids=["atomic", "in groups"])
def test_the_statement_that_fails_is_blamed(runner: Runner, encoding: str, before: str) -> None:
    text = "é" if encoding != "EUC_JP" else "日本"
    result = runner.run(
        {"1_a.up.sql": f"{before}SELECT '{text}{text}{text}';\nSELECT '{text}', nope;\nSELECT 2"}
    )
    assert result.error is not None
    assert result.error.sql_state == "42703"
    assert (result.error.line, result.error.column) == (2, 12 + len(text))
    number = 3 if before else 2
    assert result.error.statement == f"{number} of {number + 1}, SELECT"


@pytest.mark.parametrize("before", ["", "VACUUM; "], ids=["atomic", "in groups"])
def test_a_character_that_the_database_lacks_is_the_files_error(
    runner: Runner, encoding: str, before: str
) -> None:
    files = {"1_a.up.sql": f"{before}CREATE TABLE a (t text);\nINSERT INTO a VALUES ('x'),\n ('→𝄞')"}
    result = runner.run(files)
    if encoding == "SQL_ASCII":  # it takes any bytes
        assert result.outcome is Outcome.APPLIED, result.error
        return
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.sql_state == "22P05"
    assert result.error.line == 3
    assert (result.error.statement or "").endswith("INSERT")


def test_a_name_that_the_database_lacks_is_recorded_all_the_same(runner: Runner) -> None:
    files = {"1_größe_→_𝄞.up.sql": "CREATE TABLE a (i int)", "2_größe_→_𝄞.up.sql": "SELECT nope"}
    result = runner.run(files)
    assert result.outcome is Outcome.SQL_ERROR, result.error
    assert result.error is not None
    assert result.error.file == "2_größe_→_𝄞.up.sql"
    assert (result.version, result.dirty) == (2, True)
    assert len(runner.history) == 2
    corrected = runner.run({**files, "2_größe_→_𝄞.up.sql": "SELECT 1"})
    assert corrected.outcome is Outcome.APPLIED, corrected.error
    assert not corrected.warnings
    assert source(files).latest == 2


@pytest.mark.parametrize("before", ["", "VACUUM; "], ids=["atomic", "in groups"])
def test_a_file_in_groups_records_such_a_name_too(runner: Runner, before: str) -> None:
    result = runner.run({"1_→.up.sql": f"{before}DO $$ BEGIN RAISE EXCEPTION 'nö'; END $$"})
    assert result.outcome is Outcome.SQL_ERROR, result.error
    assert runner.query("SELECT count(*) FROM migrations.history WHERE error IS NOT NULL") == [(1,)]
