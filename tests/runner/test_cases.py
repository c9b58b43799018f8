"""Files that were once left out in part: every statement reaches the server, or the file is refused."""

import pytest

from fluxbase_migrations.core.result import Outcome, Result
from tests.runner import cases
from tests.runner.track import Runner

NEVER_ENDS = ["dropped/open-comment", "dropped/nested-comment"]
SYNTAX_ERRORS = {
    # case → line and column where PostgreSQL says that it is
    "dropped/begin-without-semicolon": (3, 1),
    "dropped/commit-colon": (3, 7),
    "dropped/commit-without-semicolon": (5, 1),
    "dropped/end-without-semicolon": (5, 1),
    "address/missing-parenthesis": (3, 8),
}
PSQL = "address/pg-dump"


def tables(runner: Runner) -> set[str]:
    """What is in the schema public."""
    return {
        name
        for (name,) in runner.query(
            "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace"
        )
    }


def down(runner: Runner, content: str) -> Result:
    """Apply an empty first file, and revert it by ``content``."""
    source = cases.as_down(content)
    assert runner.run(source).outcome is Outcome.APPLIED
    return runner.run(source, target=0)


@pytest.mark.parametrize("case", NEVER_ENDS)
def test_a_comment_that_never_ends_refuses_the_file(runner: Runner, case: str) -> None:
    content = cases.only(case)
    result = runner.run(cases.files(case))
    assert result.outcome is Outcome.INVALID_SOURCE
    assert result.error is not None
    assert result.error.message == "the comment that opens here never ends"
    assert result.error.line == content[: content.index("/*")].count("\n") + 1
    assert (result.version, result.dirty, tables(runner)) == (None, False, set())


@pytest.mark.parametrize("case", NEVER_ENDS)
@pytest.mark.parametrize("grouped", [False, True], ids=["atomic", "in groups"])
def test_so_does_one_in_a_down_file(runner: Runner, case: str, grouped: bool) -> None:
    content = cases.only(case)
    result = down(runner, cases.in_groups(content) if grouped else content)
    assert result.outcome is Outcome.INVALID_SOURCE
    assert (result.version, result.dirty, tables(runner)) == (1, False, set())


@pytest.mark.parametrize("case", SYNTAX_ERRORS)
def test_a_word_that_is_almost_a_transactions_is_a_syntax_error_with_its_place(
    runner: Runner, case: str
) -> None:
    result = runner.run(cases.files(case))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.sql_state == "42601"
    assert (result.error.line, result.error.column) == SYNTAX_ERRORS[case]
    assert result.error.statement is not None
    assert result.error.effect == "rolled back, nothing changed"
    assert (result.version, result.dirty, tables(runner)) == (1, True, set())


@pytest.mark.parametrize("case", SYNTAX_ERRORS)
@pytest.mark.parametrize("grouped", [False, True], ids=["atomic", "in groups"])
def test_so_it_is_in_a_down_file(runner: Runner, case: str, grouped: bool) -> None:
    content = cases.only(case)
    result = down(runner, cases.in_groups(content) if grouped else content)
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    line, column = SYNTAX_ERRORS[case]
    assert (result.error.line, result.error.column) == (line + 2 * grouped, column)
    assert runner.row == [(-1, True)]


@pytest.mark.parametrize("case", SYNTAX_ERRORS)
def test_in_groups_what_stands_before_it_is_said_to_have_taken_effect(runner: Runner, case: str) -> None:
    result = runner.run({"1_file.up.sql": cases.in_groups(cases.only(case))})
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    effect = result.error.effect or ""
    assert "took effect" in effect
    done = runner.history[-1][2]
    assert f"{done} of" in effect
    assert "before_it" in tables(runner)


def test_a_missing_parenthesis_at_the_end_is_told_with_its_statement(runner: Runner) -> None:
    content = cases.only("address/missing-parenthesis-in-groups")
    result = runner.run({"1_file.up.sql": content})
    assert result.error is not None
    assert result.error.message == "syntax error at end of input"
    assert (result.error.line, result.error.statement) == (4, "3 of 3, CREATE TABLE")
    assert result.error.effect == "statements 1 to 2 of 3 took effect"


@pytest.mark.parametrize("grouped", [False, True], ids=["atomic", "in groups"])
def test_a_deferred_constraint_is_the_error_of_the_statement_that_broke_it(
    runner: Runner, grouped: bool
) -> None:
    content = cases.only("address/deferred-constraint")
    result = runner.run({"1_file.up.sql": cases.in_groups(content) if grouped else content})
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    number = "5 of 5" if grouped else "3 of 3"
    assert result.error.statement == f"{number}, INSERT"
    assert (result.error.line, result.error.column) == (3 + 2 * grouped, 1)
    assert result.error.sql_state == "23503"


@pytest.mark.parametrize("grouped", [False, True], ids=["atomic", "in groups"])
def test_psqls_commands_are_refused_before_anything_runs(runner: Runner, grouped: bool) -> None:
    content = cases.only(PSQL)
    result = runner.run({"1_file.up.sql": cases.in_groups(content) if grouped else content})
    assert result.outcome is Outcome.INVALID_SOURCE
    assert result.error is not None
    assert result.error.message == "\\restrict is a command of psql, and a migration is plain SQL"
    assert result.error.hint == "pg_dump writes \\restrict and \\unrestrict for psql: remove both lines"
    assert (result.version, result.dirty, tables(runner)) == (None, False, set())


def test_what_a_files_own_commit_kept_is_told_and_not_done_again(runner: Runner) -> None:
    files = cases.files("hidden-commit/as-case")
    result = runner.run(files)
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.effect == "statements 1 to 4 of 5 took effect"
    assert runner.query("SELECT n FROM acc") == [(1,)]
    runner.run(files)
    runner.run(files, requested=True)
    assert runner.query("SELECT n FROM acc") == [(1,)]


def test_so_it_is_behind_a_dollar_quoted_body(runner: Runner) -> None:
    files = cases.files("hidden-commit/dollar-body")
    result = runner.run(files)
    assert result.error is not None
    assert result.error.effect == "statements 1 to 5 of 6 took effect"
    runner.run(files)
    assert runner.query("SELECT a FROM t") == [(1,)]


def test_a_column_may_be_called_end(runner: Runner) -> None:
    result = runner.run(cases.files("hidden-commit/end-column"))
    assert result.outcome is Outcome.APPLIED, result.error
    assert "marker" in tables(runner)
