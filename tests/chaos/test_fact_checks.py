"""The checks of facts find what they are there to find."""

from typing import Any

import pytest

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track
from tests.chaos.database import Database, Login
from tests.chaos.fact_checks import Evidence, check_database_of_spec, check_facts
from tests.chaos.history import Revision
from tests.chaos.places import Placed
from tests.chaos.rows import State

OLD, NEW, COPY = 16384, 16385, 16386
EVIDENCE = {
    OLD: Evidence("a", {Track.USER: [State(0.0, None, False), State(10.0, 1, False), State(20.0, 2, True)]}),
    NEW: Evidence("b", {Track.USER: [State(0.0, None, False)]}),
    COPY: Evidence("a", {Track.USER: [State(12.0, 1, False)]}),
}


def identity(oid: int, history: str | None = None) -> Json:
    return {"name": "app", "oid": oid, **({"historyId": history} if history else {})}


def shown(at: float, *, generation: int = 1, place: str = "first", **track: Any) -> Revision:
    status = {"observedGeneration": generation, "tracks": {"user": track}}
    spec = {"database": {"urlFrom": {"secretKeyRef": {"name": place}}}}
    body = {"metadata": {"uid": "uid", "generation": 1}, "spec": spec, "status": status}
    return Revision("shop", 1, at, body)


@pytest.mark.parametrize(
    "track",
    [
        {},
        {"database": identity(OLD), "version": 1},
        {"database": identity(OLD, "a"), "version": 2, "dirty": True},
        {"database": identity(NEW), "pending": 2},
        {"database": identity(COPY)},
    ],
    ids=["nothing", "what it holds", "dirty", "an empty one", "found and not read"],
)
def test_facts_of_their_database_pass(track: Json) -> None:
    check_facts([shown(25.0, **track)], EVIDENCE)


@pytest.mark.parametrize(
    ("at", "track", "why"),
    [
        (25.0, {"version": 1}, "of no database"),
        (25.0, {"dirty": True}, "of no database"),
        (25.0, {"database": identity(NEW), "version": 1}, "is shown of OID 16385"),
        (25.0, {"database": identity(OLD), "version": 1, "dirty": True}, "is shown of OID 16384"),
        (15.0, {"database": identity(OLD), "version": 2, "dirty": True}, "is shown of OID 16384"),
        (25.0, {"database": identity(COPY), "pending": 2}, "is shown of OID 16386"),
        (25.0, {"database": identity(7)}, "none of its databases"),
        (25.0, {"database": identity(OLD, "b"), "version": 1}, "the history's id"),
    ],
    ids=[
        "of none",
        "dirty of none",
        "the former one's",
        "never so",
        "not yet so",
        "nothing applied",
        "a stranger's",
        "another history's",
    ],
)
def test_facts_of_another_database_are_found(at: float, track: Json, why: str) -> None:
    with pytest.raises(AssertionError, match=why):
        check_facts([shown(at, **track)], EVIDENCE)


def placed(at: float, secret: str, oid: int) -> Placed:
    return Placed(at, secret, Database(Login(None, "", ""), "", oid))  # type: ignore[arg-type]


PLACED = [placed(0.0, "first", OLD), placed(20.0, "first", NEW), placed(20.0, "second", NEW)]


@pytest.mark.parametrize(
    ("revision", "found"),
    [
        (shown(10.0, database=identity(OLD)), False),
        (shown(30.0, database=identity(OLD)), False),
        (shown(30.0, database=identity(NEW)), False),
        (shown(10.0, database=identity(NEW)), True),
        (shown(30.0, database=identity(OLD), place="second"), True),
        (shown(30.0, database=identity(OLD), place="second", generation=0), False),
    ],
    ids=[
        "the present one",
        "the Secret's former one, until it is looked at",
        "the new one",
        "not yet",
        "of the Secret named before",
        "not looked at yet",
    ],
)
def test_facts_of_a_database_that_the_spec_does_not_name_are_found(revision: Revision, found: bool) -> None:
    if found:
        with pytest.raises(AssertionError, match="is shown; the Secret"):
            check_database_of_spec([revision], PLACED)
    else:
        check_database_of_spec([revision], PLACED)
