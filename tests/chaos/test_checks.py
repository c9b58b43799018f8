"""The chaos tests' checks find what they are there to find."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from tests.chaos import checks
from tests.chaos.history import Revision
from tests.chaos.migrations import Migration, Shape, executed_in_full
from tests.chaos.node import Container
from tests.chaos.rows import Interval, State, intervals, since, states

CONTAINER = Container(
    "shop-usr-x-y",
    "pod",
    "shop",
    "uid",
    "user",
    1,
    "shop-usr-x",
    "job",
    10,
    100.0,
    ended=20,
    seen_ended=200.0,
)
OID = 16384
FILES = [Migration(1, Shape.ATOMIC, 0.0), Migration(2, Shape.GROUPS, 0.0)]


def revision(version: int, at: float, ready: str | None, **user: Any) -> Revision:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    status = {"conditions": conditions, "tracks": {"user": {"database": {"oid": OID}, **user}}}
    body = {"metadata": {"uid": "uid"}, "status": status}
    return Revision("shop", version, at, body)


READY_AT_15 = [revision(5, 50.0, "False"), revision(15, 150.0, "True"), revision(25, 250.0, "False")]


@pytest.mark.parametrize(
    ("revisions", "container", "broken"),
    [
        (READY_AT_15, CONTAINER, True),
        (READY_AT_15, replace(CONTAINER, started=16, ended=18), True),
        (READY_AT_15, replace(CONTAINER, ended=12), False),
        (READY_AT_15, replace(CONTAINER, started=26, ended=None), False),
        (READY_AT_15, replace(CONTAINER, started=None), False),
        (READY_AT_15, replace(CONTAINER, set_uid="another"), False),
        ([revision(15, 150.0, "True", run=1, routine=True)], CONTAINER, False),
        ([revision(15, 150.0, "True", run=2, routine=True)], CONTAINER, True),
    ],
    ids=[
        "said meanwhile",
        "said before",
        "said afterwards",
        "not any more",
        "never started",
        "another set",
        "a routine check",
        "a routine check later",
    ],
)
def test_ready_in_flight_is_found(revisions: Sequence[Revision], container: Container, broken: bool) -> None:
    if broken:
        with pytest.raises(AssertionError, match="Ready at 15"):
            checks.check_never_ready_in_flight(revisions, [container])
    else:
        checks.check_never_ready_in_flight(revisions, [container])


@pytest.mark.parametrize(
    ("dirty", "broken"),
    [
        ((140.0, 160.0), True),
        ((160.0, 170.0), True),
        ((240.0, inf), True),
        ((100.0, 149.9), False),
        ((249.8, inf), False),
    ],
    ids=["when said", "while said", "at the end", "before", "after, and seen late"],
)
def test_ready_while_dirty_is_found(dirty: tuple[float, float], broken: bool) -> None:
    owned = {"uid": [(0.0, inf)]}
    if broken:
        with pytest.raises(AssertionError, match="a row was dirty"):
            checks.check_never_ready_while_dirty(OID, [dirty], owned, READY_AT_15)
    else:
        checks.check_never_ready_while_dirty(OID, [dirty], owned, READY_AT_15)


@pytest.mark.parametrize(
    ("oid", "owned"),
    [(1, {"uid": [(0.0, inf)]}), (OID, {"other": [(0.0, inf)]}), (OID, {"uid": [(0.0, 160.0)]})],
    ids=["another database", "another set's", "not its own any more"],
)
def test_ready_says_nothing_of_what_is_not_the_sets(oid: int, owned: dict[str, list[Interval]]) -> None:
    checks.check_never_ready_while_dirty(oid, [(160.0, 170.0)], owned, READY_AT_15)


def request(verb: str, resource: str, name: str, at: float) -> dict[str, Any]:
    received = datetime.fromtimestamp(at, UTC).isoformat()
    about = {"resource": resource, "name": name}
    code = {"code": 200}
    return {
        "verb": verb,
        "objectRef": about,
        "requestURI": f"/{resource}?{name}",
        "requestReceivedTimestamp": received,
        "responseStatus": code,
    }


@pytest.mark.parametrize(
    ("read", "at", "broken"),
    [(99.0, 150.0, False), (101.0, 150.0, True), (101.0, 202.0, False), (201.0, 202.0, False)],
    ids=["before", "running", "a watch told of its end", "ended"],
)
def test_a_job_deleted_in_flight_is_found(read: float, at: float, broken: bool) -> None:
    told = [request("list", "pods", "shop", read), request("delete", "jobs", "shop-usr-x", at)]
    if broken:
        with pytest.raises(AssertionError, match="deleted the Job"):
            checks.check_no_job_in_flight_deleted(told, [CONTAINER])
    else:
        assert checks.check_no_job_in_flight_deleted(told, [CONTAINER]) == 1


def ran(since: float | None, until: float | None) -> Container:
    return replace(CONTAINER, seen_running=since, exited=until)


@pytest.mark.parametrize(
    ("containers", "most"),
    [
        ([], 0),
        ([ran(1.0, 3.0), ran(2.0, 4.0)], 2),
        ([ran(1.0, 3.0), ran(2.0, 4.0), ran(3.0, 5.0)], 2),
        ([ran(1.0, 3.0), ran(2.0, 4.0), ran(None, None)], 2),
    ],
    ids=["none", "two", "one after another", "never started"],
)
def test_as_many_containers_as_slots_pass(containers: list[Container], most: int) -> None:
    assert checks.check_slots(containers, 2) == most


@pytest.mark.parametrize("third", [ran(2.5, 2.6), ran(2.5, None)], ids=["within", "still running"])
def test_more_containers_than_slots_are_found(third: Container) -> None:
    with pytest.raises(AssertionError, match="3 containers ran at once, with 2 slots"):
        checks.check_slots([ran(1.0, 3.0), ran(2.0, 4.0), third], 2)


def test_what_was_executed_is_told_by_version() -> None:
    executed = ["1 up 0", "2 up 0", "2 up 1", "2 down 0", "2 up 0", "2 up 1"]
    assert executed_in_full(FILES, executed) == {1: ["up"], 2: ["up", "down", "up"]}


@pytest.mark.parametrize(
    "executed",
    [["1 up 0", "1 up 0"], ["2 up 0"], ["1 down 0"], ["2 up 0", "2 up 0", "2 up 1"]],
    ids=["twice", "by half", "down first", "half of it twice"],
)
def test_what_was_not_executed_once_is_found(executed: list[str]) -> None:
    with pytest.raises(AssertionError, match="expected"):
        executed_in_full(FILES, executed)


def test_a_file_that_was_interrupted_may_be_there_by_half() -> None:
    assert executed_in_full(FILES, ["1 up 0", "2 up 0"], interrupted=2) == {1: ["up"], 2: []}


@pytest.mark.parametrize(
    "executed", [["2 up 0", "2 up 0"], ["2 up 0", "2 up 1", "2 up 0"], ["1 up 0", "1 up 0"]]
)
def test_an_interrupted_file_excuses_nothing_else(executed: list[str]) -> None:
    with pytest.raises(AssertionError, match="expected"):
        executed_in_full(FILES, executed, interrupted=2)


@pytest.mark.parametrize(
    ("applied", "interrupted", "found"),
    [
        (["up", "down", "up"], None, False),
        (["up", "down"], 2, False),
        (["up", "down"], None, True),
        (["up", "down"], 1, True),
        (["up"], 2, True),
        (["up", "down", "up", "down"], 2, True),
    ],
    ids=["the same", "interrupted", "not recorded", "another interrupted", "too little", "too much"],
)
def test_a_history_that_says_something_else_is_found(
    applied: list[str], interrupted: int | None, found: bool
) -> None:
    did = {1: ["up"], 2: ["up", "down", "up"]}
    if found:
        with pytest.raises(AssertionError, match="version 2 was executed"):
            checks.check_history(did, {1: ["up"], 2: applied}, interrupted)
    else:
        checks.check_history(did, {1: ["up"], 2: applied}, interrupted)


NOTES = [
    ("app", "1", True, 1, False, 1.0),
    ("app", "2", False, None, None, 2.0),
    ("app", "2", True, 2, True, 2.0),
    ("app", "3", False, None, None, 3.0),
    ("app", "3", True, 2, False, 3.0),
    ("app", "4", False, None, None, 4.0),
    ("app", "4", True, -1, True, 4.0),
    ("app", "5", False, None, None, 5.0),
]


def test_a_rows_states_are_what_each_transaction_left() -> None:
    expected = [(1.0, 1, False), (2.0, 2, True), (3.0, 2, False), (4.0, None, True), (5.0, None, False)]
    assert states(NOTES) == [State(*one) for one in expected]


def test_a_row_is_dirty_from_one_commit_to_another() -> None:
    assert intervals(states(NOTES[:-1])) == [(2.0, 3.0), (4.0, inf)]


def test_a_copy_begins_with_what_was_copied() -> None:
    assert since(2.5, states(NOTES[:5])) == [State(2.5, 2, True), State(3.0, 2, False)]
    assert since(0.0, states(NOTES[:1])) == [State(0.0, None, False), State(1.0, 1, False)]
