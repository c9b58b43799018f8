"""A file, its version row and its history row take effect together, or not at all."""

import pytest

from fluxbase_migrations.core.result import Outcome
from tests.runner.track import Runner, numbered


def test_files_are_applied_once_and_recorded(runner: Runner) -> None:
    files = numbered("CREATE TABLE a (i int); INSERT INTO a VALUES (1)", "INSERT INTO a VALUES (2)")
    result = runner.run(files)
    assert (result.outcome, result.version, result.applied_count) == (Outcome.APPLIED, 2, 2)
    assert runner.run(files).outcome is Outcome.NO_CHANGE
    assert runner.query("SELECT i FROM a ORDER BY i") == [(1,), (2,)]
    assert runner.row == [(2, False)]
    assert runner.history == [("1_file.up.sql", "applied", 2, 2), ("2_file.up.sql", "applied", 1, 1)]


def test_an_error_leaves_nothing_but_the_dirty_mark(runner: Runner) -> None:
    result = runner.run(numbered("CREATE TABLE a (i int)", "CREATE TABLE b (i int);\n\n  SELECT 1/0;"))
    assert result.outcome is Outcome.SQL_ERROR
    assert (result.version, result.dirty) == (2, True)
    assert runner.row == [(2, True)]
    assert not runner.exists("b")
    error = result.error
    assert error is not None
    assert (error.file, error.line, error.column, error.sql_state) == ("2_file.up.sql", 3, 3, "22012")
    assert error.statement == "2 of 2, SELECT"
    assert error.effect == "rolled back, nothing changed"


@pytest.mark.parametrize(
    ("sql", "line", "column"),
    [
        ("SELECT 1;\r\nSELEKT 2;", 2, 1),
        ("SELECT 'ü日本', nope;", 1, 15),
        ("-- é\n/* ü */ SELECT nope", 2, 16),
        ("\ufeffSELECT nope", 1, 8),
        ("SELECT 1;\nSELECT 'open", 2, 8),
        ("BEGIN;\nSELECT 1;\nSELECT nope;\nCOMMIT;", 3, 8),
    ],
    ids=["CRLF", "multi-byte", "comment before", "byte-order mark", "open string", "own BEGIN"],
)
def test_an_error_is_where_an_editor_shows_it(runner: Runner, sql: str, line: int, column: int) -> None:
    result = runner.run(numbered(sql))
    assert result.error is not None
    assert (result.error.line, result.error.column) == (line, column)


@pytest.mark.parametrize("end", ["", "-- no newline", "/* c */", ";;;", ";\n-- x\n", "\r\n"], ids=repr)
def test_a_files_end_does_not_swallow_what_follows(runner: Runner, end: str) -> None:
    result = runner.run(numbered(f"CREATE TABLE a (i int){end}"))
    assert result.outcome is Outcome.APPLIED
    assert runner.row == [(1, False)]


def test_a_deferred_constraints_error_is_the_files(runner: Runner) -> None:
    files = numbered(
        "CREATE TABLE a (i int PRIMARY KEY);"
        "CREATE TABLE b (i int REFERENCES a DEFERRABLE INITIALLY DEFERRED); INSERT INTO b VALUES (1)"
    )
    result = runner.run(files)
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.sql_state == "23503"
    assert not runner.exists("a")


def test_a_file_of_many_messages_is_one_transaction(runner: Runner) -> None:
    rows = "".join(f"INSERT INTO a VALUES ({one}, '{'x' * 1000}');\n" for one in range(2000))
    assert runner.run(numbered("CREATE TABLE a (i int, t text)", rows)).outcome is Outcome.APPLIED
    assert runner.query("SELECT count(*) FROM a") == [(2000,)]
    failed = runner.run(numbered("CREATE TABLE a (i int, t text)", rows, rows + "\nSELECT nope;"))
    assert failed.error is not None
    assert (failed.error.line, failed.error.column) == (2002, 8)
    assert runner.query("SELECT count(*) FROM a") == [(2000,)]


def test_a_missing_up_file_runs_nothing_and_moves_the_version(runner: Runner) -> None:
    result = runner.run({"1_a.up.sql": "CREATE TABLE a (i int)", "2_b.down.sql": "SELECT 1"})
    assert (result.outcome, result.version) == (Outcome.APPLIED, 2)
    assert any("no up file" in line for line in runner.lines)


def test_a_file_that_drops_the_tracking_schema_is_recorded_in_a_new_one(runner: Runner) -> None:
    files = numbered("CREATE TABLE a (i int)", "DROP SCHEMA migrations CASCADE; CREATE TABLE b (i int)")
    assert runner.run(files).outcome is Outcome.APPLIED
    assert runner.row == [(2, False)]
    assert runner.exists("b")
    assert runner.history == [("2_file.up.sql", "applied", 2, 2)]


def test_a_psql_command_is_explained(runner: Runner) -> None:
    result = runner.run(numbered("\\connect other\nSELECT 1"))
    assert result.error is not None
    assert result.error.message == "\\connect is a command of psql, and a migration is plain SQL"
    assert (result.error.line, result.outcome, runner.row) == (1, Outcome.INVALID_SOURCE, [])


def test_copy_to_stdout_does_not_hang(runner: Runner) -> None:
    assert (
        runner.run(numbered("COPY (SELECT 1) TO STDOUT; CREATE TABLE a (i int)")).outcome is Outcome.APPLIED
    )


def test_isolation_modes_reach_the_transaction(runner: Runner) -> None:
    insert = "INSERT INTO a SELECT current_setting('transaction_isolation')"
    files = numbered(
        "CREATE TABLE a (t text)",
        f"SET TRANSACTION ISOLATION LEVEL SERIALIZABLE; {insert}",
        f"BEGIN ISOLATION LEVEL REPEATABLE READ; {insert}; COMMIT",
    )
    assert runner.run(files).outcome is Outcome.APPLIED
    assert runner.query("SELECT t FROM a ORDER BY t") == [("repeatable read",), ("serializable",)]


def test_rolling_back_runs_the_down_files_newest_first(runner: Runner) -> None:
    files = {
        "1_a.up.sql": "CREATE TABLE a (i int)",
        "1_a.down.sql": "DROP TABLE a",
        "2_b.up.sql": "CREATE TABLE b (i int)",
        "2_b.down.sql": "DROP TABLE b",
    }
    runner.run(files)
    result = runner.run(files, target=1)
    assert (result.outcome, result.version) == (Outcome.ROLLED_BACK, 1)
    assert runner.run(files, target=1).outcome is Outcome.NO_CHANGE
    result = runner.run(files, target=0)
    assert (result.outcome, result.version) == (Outcome.ROLLED_BACK, None)
    assert runner.row == []
    assert runner.run(files, target=0).outcome is Outcome.NO_CHANGE
    assert runner.run(files).version == 2


def test_rows_of_a_rules_queries_are_no_statements(runner: Runner) -> None:
    result = runner.run(
        numbered(
            "CREATE TABLE a (i int);\n"
            "CREATE RULE r AS ON INSERT TO a DO ALSO (SELECT 1; SELECT 2);\n"
            "INSERT INTO a VALUES (1)"
        )
    )
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.row == [(1, False)]
