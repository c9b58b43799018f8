"""The checks of commands find what they are there to find."""

import json
from typing import Any

import pytest

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    ENV_DATABASE_URL,
    ENV_JOB,
    LABEL_RUN,
    LABEL_SET_UID,
    LABEL_TRACK,
)
from tests.chaos.command_checks import check_approvals, check_jobs, check_obeyed, check_told
from tests.chaos.history import Revision

OID = 16384


def write(
    version: int, run: int, *, place: str = "first", target: int | None = None, **given: str
) -> Revision:
    user = {} if target is None else {"targetVersion": target}
    spec = {"database": {"urlFrom": {"secretKeyRef": {"name": place}}}, "tracks": {"user": user}}
    names = {
        "force": ANNOTATION_FORCE,
        "requested_at": ANNOTATION_REQUESTED_AT,
        "take_over": ANNOTATION_TAKE_OVER,
    }
    annotations = {names[name]: value for name, value in given.items()}
    status = {"tracks": {"user": {"run": run}}, "writes": version}
    body = {"metadata": {"uid": "uid", "annotations": annotations}, "spec": spec, "status": status}
    return Revision("shop", version, float(version), body)


def job(version: int, run: int, *, place: str = "first", **told: Any) -> Revision:
    spec = {"track": "user", "run": run, **told}
    reference = {"secretKeyRef": {"name": place}}
    environment = [
        {"name": ENV_JOB, "value": json.dumps(spec)},
        {"name": ENV_DATABASE_URL, "valueFrom": reference},
    ]
    labels = {LABEL_SET_UID: "uid", LABEL_TRACK: "user", LABEL_RUN: str(run)}
    template = {"spec": {"containers": [{"env": environment}]}}
    body = {"metadata": {"labels": labels}, "spec": {"template": template}}
    return Revision("shop-usr-x", version, float(version), body, created=True)


FORCE = {"version": 1, "token": "t"}
PLANNED = [write(5, 0, force="user=1@t"), write(10, 1, force="user=1@t")]


@pytest.mark.parametrize(
    ("revisions", "made"),
    [
        (PLANNED, job(11, 1, force=FORCE)),
        (PLANNED, job(11, 1)),
        ([*PLANNED, write(12, 1)], job(11, 1, force=FORCE)),
        ([write(10, 1, requested_at="now")], job(11, 1, requested_at="now")),
        ([write(10, 1, take_over="user=u@t")], job(11, 1, take_over={"uid": "u", "token": "t"})),
        ([write(10, 1, target=2)], job(11, 1, target=2)),
    ],
    ids=["force", "none", "removed after the Job was made", "request", "take-over", "target"],
)
def test_a_job_for_what_stands_there_passes(revisions: list[Revision], made: Revision) -> None:
    assert check_jobs(revisions, [made], alone=True) == 1


@pytest.mark.parametrize(
    ("revisions", "made", "why"),
    [
        ([write(10, 1)], job(11, 1, force=FORCE), "force"),
        ([write(10, 1, force="user=1@other")], job(11, 1, force=FORCE), "force"),
        ([write(10, 1, force="user=2@t")], job(11, 1, force=FORCE), "force"),
        ([write(5, 0, force="user=1@t"), write(10, 1)], job(11, 1, force=FORCE), "force"),
        ([write(10, 1)], job(11, 1, requested_at="now"), "requested-at"),
        ([write(10, 1)], job(11, 1, take_over={"uid": "u", "token": "t"}), "take-over"),
        ([write(10, 1)], job(11, 1, target=2), "target"),
        ([write(10, 1)], job(11, 1, place="second"), "the Secret"),
        (PLANNED, job(11, 2), "never planned"),
        (PLANNED, job(9, 1), "planned afterwards"),
    ],
    ids=[
        "no command",
        "another token",
        "another version",
        "removed before",
        "no request",
        "no take-over",
        "another target",
        "another database",
        "no run",
        "too early",
    ],
)
def test_a_job_for_what_does_not_stand_there_is_found(
    revisions: list[Revision], made: Revision, why: str
) -> None:
    with pytest.raises(AssertionError, match=why):
        check_jobs(revisions, [made], alone=False)


def test_a_job_for_what_was_removed_between_plan_and_job_is_found() -> None:
    revisions, late = [*PLANNED, write(12, 1)], job(13, 1, force=FORCE)
    check_jobs(revisions, [late], alone=False)  # another operator may have written
    with pytest.raises(AssertionError, match="force"):
        check_jobs(revisions, [late], alone=True)


TAKE_OVER = {"uid": "u", "token": "t"}


@pytest.mark.parametrize("command", [{"force": FORCE}, {"take_over": TAKE_OVER}], ids=["force", "take-over"])
@pytest.mark.parametrize(
    "meant", [{}, {"command_database": {"oid": OID}}], ids=["none was known", "this one"]
)
def test_a_command_that_was_obeyed_where_it_was_meant_to_passes(command: Json, meant: Json) -> None:
    assert check_obeyed({OID: ["t"]}, [job(11, 1, **command, **meant)]) == 1


@pytest.mark.parametrize(
    ("obeyed", "jobs", "why"),
    [
        ({OID: ["t", "t"]}, [job(11, 1, force=FORCE)], "more than once"),
        ({OID: ["t"], 1: ["t"]}, [job(11, 1, force=FORCE)], "more than once"),
        ({OID: ["t"]}, [job(11, 1)], "no Job carried it"),
        ({OID: ["t"]}, [job(11, 1, force=FORCE, command_database={"oid": 1})], "it was given for"),
        ({OID: ["t"]}, [job(11, 1, take_over=TAKE_OVER, command_database={"oid": 1})], "it was given for"),
    ],
    ids=["twice", "in two databases", "by nobody's leave", "in another database", "a take-over there"],
)
def test_a_command_that_should_not_have_been_obeyed_is_found(
    obeyed: dict[int, list[str]], jobs: list[Revision], why: str
) -> None:
    with pytest.raises(AssertionError, match=why):
        check_obeyed(obeyed, jobs)


@pytest.mark.parametrize("command", ["force", "takeOver"])
@pytest.mark.parametrize(
    ("state", "obeyed", "found"),
    [("Obeyed", {OID: ["t"]}, False), ("Obeyed", {OID: []}, True), ("Withdrawn", {OID: []}, False)],
    ids=["it was", "it was not", "nobody says so"],
)
def test_a_command_that_is_called_obeyed_was(
    command: str, state: str, obeyed: dict[int, list[str]], found: bool
) -> None:
    body = {"status": {"commands": {command: {"value": "user=1@t", "state": state}}}}
    if found:
        with pytest.raises(AssertionError, match="was not obeyed anywhere"):
            check_told(body, obeyed)
    else:
        check_told(body, obeyed)


PLAN = {"digest": "sha256:1"}


@pytest.mark.parametrize(
    ("told", "manual", "found"),
    [
        ({"manual": True, "approved": PLAN}, True, None),
        ({"manual": True}, True, None),
        ({}, False, None),
        ({"manual": True, "approved": {"digest": "sha256:2"}}, True, "nobody has approved"),
        ({}, True, "need no approval"),
    ],
    ids=["approved", "a plan", "automatic", "never approved", "without approval"],
)
def test_an_approval_that_nobody_gave_is_found(told: dict[str, Any], manual: bool, found: str | None) -> None:
    jobs = [job(1, 1, **told)]
    if found is None:
        assert check_approvals(jobs, {"sha256:1"}, manual=manual) == ("approved" in told)
        return
    with pytest.raises(AssertionError, match=found):
        check_approvals(jobs, {"sha256:1"}, manual=manual)
