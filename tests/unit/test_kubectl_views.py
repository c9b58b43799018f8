"""What ``list``, ``status``, ``describe``, ``history`` and ``version`` of ``kubectl fluxbase`` show."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
import yaml

from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.cli.kubectl import documents, history, set_list, versions
from fluxbase_migrations.cli.kubectl.describe import Related, describe
from fluxbase_migrations.cli.kubectl.next_step import next_step
from fluxbase_migrations.cli.kubectl.status import render
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.result import Outcome
from tests.support.shop_set import FAILURE, Shown, ago, applied, event, failed, job, metadata

NEW: Json = {"metadata": metadata("new"), "spec": {"database": {}}}
"""A set that no operator has looked at."""


def lines(*sets: Json, **options: Any) -> list[str]:
    given: dict[str, Any] = {"width": None, "namespaces": False, "wide": False, **options}
    return set_list.rows(list(sets), datetime.now(UTC), **given)


def test_sets_are_listed_by_namespace_and_name() -> None:
    other = applied("zoo")
    other["metadata"]["namespace"] = "a"
    shown = lines(failed(), other, applied(), namespaces=True)
    assert [line.split()[:2] for line in shown[1:]] == [
        ["a", "zoo"],
        ["fluxbase", "blog"],
        ["fluxbase", "shop"],
    ]


def test_a_set_that_nobody_has_looked_at_is_listed() -> None:
    assert lines(NEW)[1].split() == ["new", "Unknown", *["<none>"] * 5, "<unknown>"]


def test_a_dirty_version_is_listed_as_such() -> None:
    found = failed()
    found["status"]["tracks"]["user"]["dirty"] = True
    assert "2 (dirty)" in lines(found)[1]


def test_the_wide_list_tells_the_message_and_fits() -> None:
    assert FAILURE in lines(failed(), wide=True)[1]
    narrow = lines(failed(), wide=True, width=90)
    assert max(map(len, narrow)) <= 90
    assert narrow[1].endswith("…")


@pytest.mark.parametrize(("form", "read"), [("json", json.loads), ("yaml", yaml.safe_load)])
def test_a_list_can_be_read_by_programs(form: str, read: Any) -> None:
    found = read(documents.as_list([failed(), NEW], form))
    assert (found["kind"], [one["metadata"]["name"] for one in found["items"]]) == ("List", ["shop", "new"])
    assert "managedFields" not in found["items"][0]["metadata"]


@pytest.mark.parametrize("width", [None, 80])
def test_status_tells_an_error_once(width: int | None) -> None:
    text = render(failed(), width)
    assert text.count("nummeric") == 1
    assert text.count("kubectl fluxbase retry") == 1
    assert "annotation" not in text


def test_status_fits_the_terminal_but_for_the_command() -> None:
    *shown, step = render(failed(), 60).splitlines()
    assert max(map(len, shown)) <= 60
    assert step.startswith("  next: kubectl fluxbase retry shop -n fluxbase")


def test_status_tells_when_the_next_retry_is() -> None:
    found = failed()
    state = found["status"]["tracks"]["user"]
    message = f"{FAILURE} [rolled back, nothing changed]; next retry at 2026-01-31T12:00:00Z"
    state |= {"phase": "Pending", "reason": "Transient", "message": message}
    assert "          next retry at 2026-01-31T12:00:00Z" in render(found).splitlines()
    assert "next:" not in render(found)


def test_a_track_that_waits_does_not_repeat_why_the_other_one_fails() -> None:
    found = failed()
    why = 'pod has not started: secret "shop-db" not found'
    found["status"]["tracks"] = {
        "system": {"phase": "Pending", "message": why},
        "user": {
            "phase": "Pending",
            "reason": Reason.WAITING_FOR_SYSTEM,
            "message": f"waiting for the system track; it is Pending: {why}",
        },
    }
    shown = render(found)
    assert shown.count(why) == 1
    assert "          waiting for the system track; it is Pending" in shown.splitlines()


def test_status_tells_what_the_tracks_do_not() -> None:
    found = failed()
    found["status"]["conditions"][0] |= {"reason": "ReconcileError", "message": "the spec cannot be read"}
    assert "  the spec cannot be read" in render(found).splitlines()


def after(reason: str, track: str = "user", **state: Any) -> str | None:
    found = failed()
    found["spec"]["tracks"]["user"]["targetVersion"] = 1
    tracks = found["status"]["tracks"]
    tracks[track] = {"phase": "Failed", "reason": reason, "version": 2, **state}
    step = next_step(found)
    return step.command if step else None


@pytest.mark.parametrize(
    ("reason", "command"),
    [
        (Outcome.SQL_ERROR, "kubectl fluxbase retry shop -n fluxbase"),
        (Outcome.TRANSIENT, "kubectl fluxbase retry shop -n fluxbase"),
        (Outcome.DIRTY, "kubectl fluxbase force shop 2 -n fluxbase"),
        (Outcome.UNPROVEN, "kubectl fluxbase force shop 2 -n fluxbase"),
        (Outcome.INVALID_SOURCE, "kubectl edit configmap/shop-migrations -n fluxbase"),
        (Outcome.ROLLBACK_FORBIDDEN, "kubectl fluxbase rollback shop --to 1 -n fluxbase"),
        (Outcome.TARGET_NOT_FOUND, "kubectl fluxbase rollback shop --to latest -n fluxbase"),
        (
            Outcome.OUT_OF_ORDER,
            "kubectl patch fluxbasemigrationsets shop -n fluxbase --type merge -p "
            """'{"spec": {"tracks": {"user": {"outOfOrder": "Warn"}}}}'""",
        ),
        (Reason.DATABASE_CLAIMED, "kubectl fluxbase take-over shop -n fluxbase"),
        (Reason.RESULT_MISSING, "kubectl fluxbase logs shop -n fluxbase"),
        (Outcome.INTERNAL, "kubectl fluxbase logs shop --track user -n fluxbase"),
        ("SomethingNew", None),
    ],
)
def test_after_a_failure_there_is_a_command(reason: str, command: str | None) -> None:
    assert after(reason) == command


def test_the_command_is_about_the_first_track_that_failed() -> None:
    assert after(Outcome.DIRTY, "system") == "kubectl fluxbase force shop 2 --track system -n fluxbase"


def test_a_dirty_database_without_a_version_is_forced_to_none() -> None:
    found = failed()
    found["status"]["tracks"]["user"] = {"phase": "Failed", "reason": Outcome.DIRTY, "dirty": True}
    assert "force shop -1 -n fluxbase" in str(next_step(found))


def test_a_set_that_is_suspended_over_work_is_resumed() -> None:
    found = applied()
    found["status"]["conditions"][0] |= {"status": "False", "reason": Reason.SUSPENDED}
    assert str(next_step(found)) == "kubectl fluxbase resume blog -n fluxbase"


@pytest.mark.parametrize(
    ("hint", "fields"),
    [
        ("to use that table: --table a.b, or spec.tracks.user.table: a.b; to take its version over: "
         "fluxbase-migrate baseline --from a.b, or spec.tracks.user.baseline: 2; if it", '{"baseline": 2}'),
        ("keep our version in another table: fluxbase-migrate baseline --from a.b --table a.c; in the set, "
         "table: a.c and baseline: 2 of the track", '{"table": "a.c", "baseline": 2}'),
        ("fluxbase-migrate baseline NUMBER, which fluxbase-migrate import flyway DIR says", None),
        ("in the set, table: a.c of the track", None),
    ],
    ids=["a free table", "a taken table", "no number", "nothing applied"],
)  # fmt: skip
def test_a_version_of_another_tool_is_taken_over_by_the_fields_of_the_hint(
    hint: str, fields: str | None
) -> None:
    command = after("ForeignTable", error={"message": "found", "hint": hint})
    if fields is None:
        assert command is None
        return
    patch = f'{{"spec": {{"tracks": {{"user": {fields}}}}}}}'
    assert command == f"kubectl patch fluxbasemigrationsets shop -n fluxbase --type merge -p '{patch}'"


def test_where_nothing_failed_there_is_no_next_step() -> None:
    assert next_step(applied()) is None
    assert next_step(NEW) is None


def described(found: Json, width: int | None = None, **related: Any) -> str:
    cluster = Shown()
    given = {"jobs": cluster.jobs("uid-shop"), "events": cluster.events("uid-shop"), **related}
    return "\n".join(describe(found, Related(**given), datetime.now(UTC), width))


def test_everything_is_in_one_view() -> None:
    text = described(failed())
    for section in ("Status:", "Conditions:", "Commands:", "Runs:", "Events:"):
        assert section in text.splitlines()
    for words in (
        "shop-user-4",
        "Failed",
        "(x2 over 121m)",
        "fluxbase.io/requested-at   again",
        "retry shop",
    ):
        assert words in text


def test_runs_are_told_newest_first_and_events_last() -> None:
    text = described(failed())
    assert text.index("shop-user-4") < text.index("shop-user-3") < text.index("shop-system-3")
    assert text.index("migrations applied, version 2") < text.rindex("nummeric")


def test_a_view_is_wrapped_to_the_terminal_and_cuts_nothing() -> None:
    text = described(failed(), 100)
    assert max(len(line) for line in text.splitlines() if "next:" not in line) <= 100
    assert "…" not in text


def test_what_may_not_be_read_is_said_and_the_rest_is_shown() -> None:
    text = described(failed(), jobs="jobs.batch is forbidden", events=[])
    assert "Runs: jobs.batch is forbidden" in text
    assert "Events: <none>" in text


def test_no_secret_and_no_password_is_in_the_view() -> None:
    found = failed()
    reference = {"secretKeyRef": {"name": "login", "key": "password"}}
    found["spec"]["database"] = {
        "connection": {"host": "db", "port": 5432, "name": "shop", "user": "app", "passwordFrom": reference}
    }
    assert "db:5432/shop, app, password from Secret login, key password, sslmode prefer" in described(found)


@pytest.mark.parametrize(
    ("track", "text"),
    [
        ({"enabled": False}, "disabled"),
        ({}, "no source"),
        ({"source": {"configMaps": [{"name": "a"}, {"name": "b"}]}}, "ConfigMaps a, b"),
        (
            {"source": {"persistentVolumeClaim": {"claimName": "files", "path": "sql"}}},
            "PersistentVolumeClaim files, path sql",
        ),
        (
            {"targetVersion": 0, "foreignTables": ["a.b", "c.d"]},
            "no source, targetVersion 0, foreignTables a.b c.d",
        ),
    ],
)
def test_where_the_files_are_is_told(track: Json, text: str) -> None:
    found = failed()
    found["spec"]["tracks"]["user"] = track
    assert f"User track:        {text}" in described(found).splitlines()


def test_a_new_set_is_described() -> None:
    assert "not looked at yet" in described(NEW, jobs=[], events=[])


def test_where_a_database_is_reached_without_a_secret_the_history_is_read_by_libpqs_variables() -> None:
    found = applied()
    found["spec"]["database"] = {"connection": {"host": "db", "name": "shop app"}}
    assert "  PGHOST=db 'PGDATABASE=shop app' fluxbase-migrate history" in list(
        history.history(found, datetime.now(UTC), None)
    )


def test_a_resource_that_serves_no_version_of_ours_is_told() -> None:
    old = {"metadata": {"name": "x"}, "spec": {"versions": [{"name": "v2", "served": True}]}}
    assert "this program needs fluxbase.io/v1alpha1" in list(versions.cluster([], old, None))[-1]


def test_where_there_is_no_operator_that_is_told() -> None:
    told = list(versions.cluster([], "not found", None))
    assert told[0].startswith("Operator: no Deployment")
    assert list(versions.cluster("forbidden", "not found", None)) == [
        "Operator: forbidden",
        "Resource: not found",
    ]


def test_nobodys_text_repaints_the_screen() -> None:
    found = failed()
    found["status"]["tracks"]["user"]["error"]["message"] = "\x1b[2Jgone"
    found["status"]["conditions"][0]["message"] = "\x1b[2J"
    found["metadata"]["labels"] = {"a": "\x1b"}
    event = {"metadata": {}, "message": "\x1b[31m", "lastTimestamp": ago(minutes=1)}
    shown = [render(found), described(found, events=[event]), *lines(found, wide=True)]
    assert "\x1b" not in "".join(shown)


def test_kubectls_own_record_of_the_object_is_not_described() -> None:
    annotations = {"kubectl.kubernetes.io/last-applied-configuration": "{}", "team": "shop"}
    found = {**NEW, "metadata": {**NEW["metadata"], "annotations": annotations}}
    lines = described(found, jobs=[], events=[]).splitlines()
    assert [line.split() for line in lines if "Annotations" in line] == [["Annotations:", "team=shop"]]


def test_what_happened_within_one_second_stays_in_its_order() -> None:
    system, user = job("system", 3, "Complete", 8), job("user", 3, "Complete", 8)
    user["metadata"]["creationTimestamp"] = system["metadata"]["creationTimestamp"]
    events = [event("Normal", reason, reason, 5) for reason in ("Later", "Earlier")]
    for number, one in enumerate(events):
        one["metadata"]["resourceVersion"] = str(10 - number)
        one["lastTimestamp"] = events[0]["lastTimestamp"]
    for jobs in ([system, user], [user, system]):
        text = described(failed(), jobs=jobs, events=events)
        assert text.index("shop-user-3") < text.index("shop-system-3")
    assert text.index("Earlier") < text.index("Later")
