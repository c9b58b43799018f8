"""The splitter, held to libpg_query's own splitting: generated files, statements by hand, PostgreSQL's files.

What libpg_query refuses is not compared; that it refuses little is held as well.
"""

import os
from collections import Counter

import hypothesis
import pytest
from hypothesis import Phase, given, note, settings

from tests.splitting import collected, generated
from tests.splitting.oracle import Verdict, is_blank, judge

SEED = os.environ.get("SPLIT_SEED", "0")
# Explanations of a failure take longer than all the rest.
PHASES = (Phase.generate, Phase.shrink)
LEAST_GENERATED = 3000
"""Statements."""
LEAST_COLLECTED = 3000


class Counts:
    """What was compared, over all examples of a test."""

    def __init__(self) -> None:
        self.files = Counter[str]()
        self.statements = 0

    def add(self, verdict: Verdict) -> None:
        self.files["refused" if verdict.refused else "compared"] += 1
        self.statements += verdict.statements


def test_the_same_generated_files_every_time_are_split_as_postgresql_splits_them() -> None:
    counts = Counts()

    @settings(max_examples=1000, derandomize=True, database=None, phases=PHASES)
    @given(generated.FILE)
    def holds(text: str) -> None:
        verdict = judge(text)
        counts.add(verdict)
        assert not verdict.difference, verdict.difference

    holds()
    assert counts.statements >= LEAST_GENERATED
    assert counts.files["refused"] * 20 < counts.files["compared"]


@hypothesis.seed(int(SEED, 16))
@settings(max_examples=300, database=None, phases=PHASES)
@given(generated.FILE)
def test_other_files_every_time_are_split_as_postgresql_splits_them(text: str) -> None:
    note(f"SPLIT_SEED={SEED}")
    verdict = judge(text)
    assert not verdict.difference, verdict.difference


@pytest.mark.parametrize("statement", collected.STATEMENTS, ids=lambda statement: statement[:60])
def test_a_statement_of_the_collection_is_one(statement: str) -> None:
    verdict = judge(statement)
    assert (verdict.statements, verdict.difference) == (1, "")


def test_the_collection_in_many_forms_is_split_as_postgresql_splits_it() -> None:
    counts = Counts()
    for text in collected.files():
        verdict = judge(text)
        counts.add(verdict)
        assert not verdict.difference, verdict.difference
    assert counts.statements >= LEAST_COLLECTED
    assert not counts.files["refused"]


@pytest.mark.parametrize("name", sorted(collected.written()))
def test_the_files_of_the_repository_are_split_as_postgresql_splits_them(name: str) -> None:
    verdict = judge(collected.written()[name])
    assert (verdict.refused, verdict.difference) == (False, "")


def test_what_postgresql_ships_is_split_as_it_splits_it() -> None:
    counts = Counts()
    for name, text in collected.shipped().items():
        verdict = judge(text)
        counts.add(verdict)
        assert not verdict.difference, f"{name}: {verdict.difference[:200]}"
    assert counts.files["refused"] * 20 <= counts.files["compared"], counts.files


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        (" \r\n\t\f", True),
        ("-- ;\n/* /* */ ; */ ", True),
        ("--", True),
        (";", False),
        ("/* /* */", False),
        ("- -", False),
    ],
)
def test_the_judge_knows_what_is_blank(text: str, expected: bool) -> None:
    assert is_blank(text.encode()) is expected
