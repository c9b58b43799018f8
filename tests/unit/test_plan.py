"""Plans against golang-migrate's own fixture, and against a model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import (
    AheadOfSource,
    MissingDownFile,
    NothingToStep,
    RollbackForbidden,
    TargetNotFound,
)
from fluxbase_migrations.core.files import NIL, Direction, MigrationFiles
from fluxbase_migrations.core.names import Rollback
from fluxbase_migrations.core.plan import Plan

FIXTURE = MigrationFiles.scan(
    {
        f"{version}_{direction}.{direction}.sql": b""
        for version, directions in ((1, "ud"), (3, "u"), (4, "ud"), (5, "d"), (7, "ud"))
        for direction in (["up"] * ("u" in directions) + ["down"] * ("d" in directions))
    }
)
"""1 up+down, 3 up, 4 up+down, 5 down, 7 up+down."""


def bodies(made: Plan) -> str:
    return " ".join(
        f"{'C' if one.direction is Direction.UP else 'D'}{one.version}" for one in made.steps if one.file
    )


def end(made: Plan, start: int) -> int:
    return made.steps[-1].to_version if made.steps else start


def test_up_runs_what_is_there_and_moves_over_what_is_not() -> None:
    made = plan.up(FIXTURE, NIL)
    assert bodies(made) == "C1 C3 C4 C7"
    assert end(made, NIL) == 7


def test_down_runs_what_is_there_and_moves_over_what_is_not() -> None:
    made = plan.down(FIXTURE, 7)
    assert bodies(made) == "D7 D5 D4 D1"
    assert end(made, 7) == NIL


@pytest.mark.parametrize(
    ("start", "direction", "limit", "ends", "short"),
    [
        (NIL, "up", 4, 5, 0),
        (5, "up", 2, 7, 1),
        (7, "down", 4, 1, 0),
        (1, "down", 2, NIL, 1),
        (3, "up", 1, 4, 0),
    ],
)
def test_steps_stop_short_where_golang_migrate_does(
    start: int, direction: str, limit: int, ends: int, short: int
) -> None:
    made = (plan.up if direction == "up" else plan.down)(FIXTURE, start, limit)
    assert (end(made, start), made.short) == (ends, short)


def test_nothing_left_to_step_to_is_an_error() -> None:
    with pytest.raises(NothingToStep, match="file does not exist"):
        plan.up(FIXTURE, 7, 1)
    with pytest.raises(NothingToStep, match="file does not exist"):
        plan.down(FIXTURE, NIL, 1)


def test_nothing_newer_is_no_change() -> None:
    assert plan.up(FIXTURE, 7) == Plan()
    assert plan.down(FIXTURE, NIL) == Plan()


@pytest.mark.parametrize("version", [0, 2, 6, 8, 99])
def test_a_recorded_version_without_files_is_ahead_of_the_source(version: int) -> None:
    for make in (plan.up, plan.down):
        with pytest.raises(AheadOfSource, match=f"no migration found for version {version}"):
            make(FIXTURE, version)
    with pytest.raises(AheadOfSource):
        plan.goto(FIXTURE, version, 1)


@pytest.mark.parametrize(
    ("start", "target", "runs"),
    [
        (NIL, 7, "C1 C3 C4 C7"),
        (7, 3, "D7 D5 D4"),
        (3, 3, ""),
        (1, 5, "C3 C4"),
        (4, 1, "D4"),
        (7, NIL, "D7 D5 D4 D1"),
    ],
)
def test_goto_takes_the_chain_between(start: int, target: int, runs: str) -> None:
    assert bodies(plan.goto(FIXTURE, start, target)) == runs


def test_a_target_that_is_not_there_names_its_neighbours() -> None:
    with pytest.raises(TargetNotFound) as caught:
        plan.goto(FIXTURE, 1, 6)
    assert "4, 5, 7" in str(caught.value)
    assert "down --all" not in str(caught.value)


def test_version_0_is_answered_with_what_reverts_everything() -> None:
    with pytest.raises(TargetNotFound) as caught:
        plan.goto(FIXTURE, 1, 0)
    assert "to revert everything: fluxbase-migrate down --all" in str(caught.value)


def test_a_resource_rolls_back_only_when_allowed_and_complete() -> None:
    with pytest.raises(RollbackForbidden):
        plan.to_target(FIXTURE, 7, 5, Rollback.FORBID)
    with pytest.raises(MissingDownFile, match="version 3"):
        plan.to_target(FIXTURE, 7, 0, Rollback.ALLOW)
    assert bodies(plan.to_target(FIXTURE, 7, 4, Rollback.ALLOW)) == "D7 D5"
    assert plan.to_target(FIXTURE, NIL, 0, Rollback.FORBID) == Plan()
    assert bodies(plan.to_target(FIXTURE, NIL, 3, Rollback.FORBID)) == "C1 C3"
    assert bodies(plan.to_target(FIXTURE, 4, None, Rollback.FORBID)) == "C7"


@given(st.sets(st.integers(0, 30), min_size=1), st.data())
def test_every_plan_is_a_chain_from_where_it_starts_to_where_it_should(
    versions: set[int], data: st.DataObject
) -> None:
    source = MigrationFiles.scan({f"{one}_x.up.sql": b"" for one in versions})
    places = [NIL, *sorted(versions)]
    start, target = data.draw(st.sampled_from(places)), data.draw(st.sampled_from(places))
    made = plan.goto(source, start, target)
    at = start
    for step in made.steps:
        assert step.from_version == at
        assert step.version == max(step.from_version, step.to_version)
        at = step.to_version
    assert at == target
    assert len(made.steps) == abs(places.index(start) - places.index(target))


@given(st.sets(st.integers(0, 12)), st.sets(st.integers(0, 12)), st.integers(1, 8), st.data())
def test_steps_are_what_a_walk_by_golang_migrates_rules_takes(
    ups: set[int], downs: set[int], limit: int, data: st.DataObject
) -> None:
    """The walk: one version at a time, over the union of up and down files, at most ``limit``."""
    versions = sorted(ups | downs)
    names = [f"{one}_x.up.sql" for one in ups] + [f"{one}_x.down.sql" for one in downs]
    source = MigrationFiles.scan(dict.fromkeys(names, b""))
    start = data.draw(st.sampled_from([NIL, *versions]))
    for make, left, has in (
        (plan.up, [one for one in versions if one > start], ups),
        (plan.down, [one for one in reversed(versions) if one <= start], downs),
    ):
        if not left:
            with pytest.raises(NothingToStep):
                make(source, start, limit)
            continue
        made = make(source, start, limit)
        walked = left[:limit]
        assert [one.version for one in made.steps] == walked
        assert [one.version for one in made.steps if one.file] == [one for one in walked if one in has]
        assert made.short == limit - len(walked)
