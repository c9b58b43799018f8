"""Ours and golang-migrate's command line, given the same command in the same state, do the same.

The same means: the tracking table's rows, the bodies executed and their order, the exit code, and
golang-migrate's words where it has words for it. Deliberate differences are those in `differences`, and no
others.
"""

from pathlib import Path

import pytest

from tests.conformance import cases
from tests.conformance.cases import Case
from tests.conformance.conftest import Comparisons
from tests.conformance.differences import DIFFERENCES, Difference, expect

COMPATIBILITY = Path(__file__).parents[2] / "docs/compatibility.md"

# The background work is for all tests of one process.
pytestmark = pytest.mark.xdist_group("conformance")


def same(comparisons: Comparisons, case: Case) -> None:
    ours, theirs, said = comparisons.of(case.id)
    wanted = expect(case, theirs)
    assert ours == wanted, (
        f"{case.id}\nours         {ours}\nwanted       {wanted}\ngolang       {theirs}\n{said}"
    )


def table(of: tuple[Case, ...]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("case", of, ids=lambda case: case.id)


@table(cases.steps())
def test_steps_from_each_version(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@table(cases.gotos())
def test_goto_from_each_version_to_each_version(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@table(cases.dirty())
def test_every_operation_on_each_dirty_version(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@table(cases.rows())
def test_rows_are_read_and_forced_alike(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@table(cases.names())
def test_the_same_names_are_migrations(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@table(cases.contents())
def test_contents_of_files_mean_the_same(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@table(cases.ahead())
def test_a_database_ahead_of_its_source(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@table(cases.arguments())
def test_arguments_are_read_alike(comparisons: Comparisons, case: Case) -> None:
    same(comparisons, case)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: one.name)
def test_each_listed_difference_is_one(comparisons: Comparisons, difference: Difference) -> None:
    """An entry that explains nothing any more goes."""
    seen = [comparisons.of(case.id) for case in difference.among(cases.every())]
    assert any(ours != theirs for ours, theirs, _ in seen)


@pytest.mark.parametrize("difference", DIFFERENCES, ids=lambda one: one.name)
def test_users_are_told_of_each_difference(difference: Difference) -> None:
    assert f"\n- {difference.documented}" in COMPATIBILITY.read_text()
