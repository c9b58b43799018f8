"""Random files with random damage: what is recorded is what PostgreSQL has executed.

Each statement of a file notes its number in a table. Whatever the damage makes of it, and whatever mistakes
the splitter makes, PostgreSQL itself is the judge: a second session sees what is there.
"""

import os
import re
from array import array
from collections.abc import Callable
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.runner.sql import lexer
from fluxbase_migrations.runner.sql.lexer import Statements
from tests.runner.track import Runner

RIGHT = lexer.split
# DAMAGE_EXAMPLES=100 takes some minutes.
EXAMPLES = int(os.environ.get("DAMAGE_EXAMPLES", "8"))
DAMAGE = [
    "'",
    '"',
    "$$",
    "/*",
    "*/",
    "--",
    "\\",
    ";",
    "(",
    ")",
    " COMMIT ",
    " END",
    "BEGIN;",
    "COMMIT;",
    "COMMIT",
    "ROLLBACK;",
    " AS end",
    "E'",
    "\n",
    " BEGIN ATOMIC ",
    "/* ; */",
    ":",
    "COMMIT AND CHAIN;",
    "é",
]
EXTRA = [
    "BEGIN",
    "COMMIT",
    "BEGIN ISOLATION LEVEL SERIALIZABLE",
    "START TRANSACTION",
    "END",
    "ROLLBACK",
    "ABORT WORK",
    "COMMIT AND CHAIN",
    "SAVEPOINT s",
    "ROLLBACK TO s",
    "VACUUM noted",
    "SET search_path = public",
    "RESET ALL",
    "DISCARD ALL",
    "SELECT 1/0",
    "SELECT 'a;b'",
    "SELECT $x$ ; COMMIT; $x$",
    "CREATE OR REPLACE FUNCTION f() RETURNS bigint BEGIN ATOMIC SELECT n.number AS end FROM noted n; END",
    "DO $$ BEGIN PERFORM 1; END $$",
    "SELECT 1 AS case",
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ",
    "SET standard_conforming_strings = off",
    "SELECT 'it\\'",
]


def note(number: int) -> str:
    return f"INSERT INTO noted VALUES ({number})"


@st.composite
def damaged(draw: st.DrawFn) -> str:
    """A file whose statements note their numbers, with other statements between them, and damaged."""
    parts, number = [], 0
    for _ in range(draw(st.integers(1, 7))):
        if draw(st.booleans()):
            number += 1
            parts.append(note(number))
        else:
            parts.append(draw(st.sampled_from(EXTRA)))
    text = draw(st.sampled_from([";", ";\n", "; -- c\n", ";/* c */"])).join(parts) + draw(
        st.sampled_from(["", ";", "\n"])
    )
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        cut = draw(st.sampled_from([0, 0, 1, 3]))
        text = text[:at] + draw(st.sampled_from([*DAMAGE, ""])) + text[at + cut :]
    return text


def noted(runner: Runner) -> list[int]:
    return [number for (number,) in runner.query("SELECT number FROM noted ORDER BY number")]


def fresh(runner: Runner) -> None:
    runner.query("DROP SCHEMA IF EXISTS migrations CASCADE")
    runner.query("DROP SCHEMA public CASCADE; CREATE SCHEMA public; CREATE TABLE noted (number int)")


def took_effect(result: Result) -> bool:
    """Whether the result says that the file, or a part of it, took effect."""
    effect = (result.error.effect if result.error else None) or ""
    said = "took effect" in effect or "committed" in effect
    return result.outcome.succeeded or (said and "no statement took effect" not in effect)


def _settings(examples: int) -> settings:
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
    return settings(max_examples=examples, suppress_health_check=quiet)


def judge(runner: Runner, text: str) -> Result:
    """Run a file three times; see that nothing ran twice, and that what was said is what is there."""
    fresh(runner)
    first = runner.run({"1_file.up.sql": text})
    after = noted(runner)
    assert len(after) == len(set(after)), "a statement ran twice"
    if first.outcome is Outcome.APPLIED:
        # A statement that the server never saw would be missing, but for what the file itself rolled back.
        if not re.search(r"(?i)rollback|abort", text):
            assert after == sorted({int(one) for one in _executed(text)})
        assert runner.row == [(1, False)]
    elif after:
        assert took_effect(first) or first.outcome is Outcome.UNPROVEN, first
    effect = (first.error.effect if first.error else None) or ""
    if "nothing changed" in effect:
        assert after == []
    # Again and again: nothing that took effect is repeated unasked.
    for _ in range(2):
        runner.run({"1_file.up.sql": text})
        again = noted(runner)
        assert len(again) == len(set(again)), "a statement ran twice"
        assert set(after) <= set(again)
    return first


@_settings(10 * EXAMPLES)
@given(text=damaged())
def test_what_is_recorded_is_what_was_executed(runner: Runner, text: str) -> None:
    judge(runner, text)


def never_split(sql: bytes, **options: object) -> Statements:
    """A splitter that takes a file for one statement."""
    return Statements(sql, array("Q", [0]), array("Q", [len(sql)]), conforming=[(0, True)])


def split_blindly(sql: bytes, **options: object) -> Statements:
    """A splitter that knows neither quotes nor comments."""
    found = Statements(sql, conforming=[(0, True)])
    for part in re.finditer(rb"[^;]*[^;\s][^;]*", sql):
        found.starts.append(part.start() + len(part[0]) - len(part[0].lstrip()))
        found.ends.append(part.end())
    return found


def split_at_every_other(sql: bytes, **options: object) -> Statements:
    """A splitter that misses every second semicolon."""
    right = RIGHT(sql)
    found = Statements(sql, conforming=[(0, True)])
    for index in range(0, len(right), 2):
        found.starts.append(right.starts[index])
        found.ends.append(right.ends[min(index + 1, len(right) - 1)])
    return found


@pytest.mark.parametrize("splitter", [never_split, split_blindly, split_at_every_other])
@_settings(3 * EXAMPLES)
@given(text=damaged())
def test_no_mistake_of_the_splitter_leads_to_a_wrong_claim(
    runner: Runner, splitter: Callable[..., Statements], text: str
) -> None:
    with mock.patch.object(lexer, "split", splitter):
        judge(runner, text)


@pytest.mark.parametrize("splitter", [never_split, split_at_every_other])
@pytest.mark.parametrize("end", ["SELECT 1/0", "SELECT 1"])
def test_a_commit_that_the_splitter_does_not_see_stops_the_run(
    runner: Runner, splitter: Callable[..., Statements], end: str
) -> None:
    text = f"SELECT 1; BEGIN; {note(1)}; COMMIT; {note(2)}; {end}"
    with mock.patch.object(lexer, "split", splitter):
        result = judge(runner, text)
    assert result.outcome is Outcome.UNPROVEN
    assert result.error is not None
    assert "committed" in (result.error.effect or "")
    assert runner.row == [(1, True)]


def test_behind_a_rollback_that_the_splitter_does_not_see_nothing_is_claimed(runner: Runner) -> None:
    with mock.patch.object(lexer, "split", split_at_every_other):
        result = judge(runner, f"SELECT 1; ROLLBACK; {note(1)}; SELECT 2; {note(2)}; SELECT 3")
    assert result.outcome is Outcome.UNPROVEN
    assert result.error is not None
    assert result.error.effect == "what took effect is not known"


def _executed(text: str) -> list[str]:
    """The notes that PostgreSQL's own parser finds in a file that was applied."""
    import postgast

    numbers: list[str] = []
    try:
        statements = postgast.parse(text).stmts
    except postgast.PgQueryError as error:
        raise AssertionError(f"applied, although it cannot be read: {text!r}") from error
    for one in statements:
        begin, length = one.stmt_location, one.stmt_len
        part = text.encode()[begin : begin + length if length else None].decode()
        bare = re.sub(r"(?s)/\*.*?\*/|--[^\n]*", " ", part)
        if found := re.fullmatch(r"(?s)\s*INSERT\s+INTO\s+noted\s+VALUES\s*\(\s*([0-9]+)\s*\)\s*", bare):
            numbers.append(found[1])
    return numbers
