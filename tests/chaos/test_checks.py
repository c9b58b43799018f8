"""The chaos tests' checks find what they are there to find."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from math import inf
from typing import Any

import pytest

from tests.chaos import checks
from tests.chaos.database import intervals
from tests.chaos.history import Revision
from tests.chaos.migrations import Migration, Shape, executed_in_full
from tests.chaos.node import Container

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
FILES = [Migration(1, Shape.ATOMIC, 0.0), Migration(2, Shape.GROUPS, 0.0)]


def revision(version: int, at: float, ready: str | None) -> Revision:
    conditions = [{"type": "Ready", "status": ready}] if ready else []
    body = {"metadata": {"uid": "uid"}, "status": {"conditions": conditions}}
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
    ],
    ids=["said meanwhile", "said before", "said afterwards", "not any more", "never started", "another set"],
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
    if broken:
        with pytest.raises(AssertionError, match="a row was dirty"):
            checks.check_never_ready_while_dirty([dirty], READY_AT_15)
    else:
        checks.check_never_ready_while_dirty([dirty], READY_AT_15)


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
    ("read", "broken"), [(99.0, False), (101.0, True), (201.0, False)], ids=["before", "running", "ended"]
)
def test_a_job_deleted_in_flight_is_found(read: float, broken: bool) -> None:
    told = [request("list", "pods", "shop", read), request("delete", "jobs", "shop-usr-x", 202.0)]
    if broken:
        with pytest.raises(AssertionError, match="deleted the Job"):
            checks.check_no_job_in_flight_deleted(told, [CONTAINER])
    else:
        assert checks.check_no_job_in_flight_deleted(told, [CONTAINER]) == 1


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


def test_a_row_is_dirty_from_one_commit_to_another() -> None:
    notes = [
        ("app", "1", True, False, 1.0),
        ("app", "2", False, None, 2.0),
        ("app", "2", True, True, 2.0),
        ("app", "3", False, None, 3.0),
        ("app", "3", True, False, 3.0),
        ("app", "4", False, None, 4.0),
        ("app", "4", True, True, 4.0),
    ]
    assert intervals(notes) == [(2.0, 3.0), (4.0, inf)]
