"""What `kubectl fluxbase` says of a set."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from fluxbase_migrations.api.commands import bounded
from fluxbase_migrations.cli.kubectl.program import parser
from fluxbase_migrations.cli.kubectl.set_view import claims, progress
from fluxbase_migrations.cli.kubectl.status import render
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.names import Track

FILES = {"001_one.up.sql": "SELECT 1;\n"}
DIGEST = source_digest({name: text.encode() for name, text in FILES.items()})


def migration_set(
    ready: str = "True", stalled: bool = False, digest: str = DIGEST, **metadata: Any
) -> dict[str, Any]:
    conditions = [{"type": "Ready", "status": ready, "reason": "Failed", "message": "because"}]
    if stalled:
        conditions.append({"type": "Stalled", "status": "True"})
    return {
        "metadata": {"namespace": "fluxbase", "name": "shop", "generation": 2, **metadata},
        "spec": {"tracks": {"system": {}, "user": {"source": {"configMap": {"name": "files"}}}}},
        "status": {
            "observedGeneration": 2,
            "phase": "Applied",
            "conditions": conditions,
            "tracks": {
                "user": {
                    "phase": "Applied",
                    "version": 1,
                    "latest": 1,
                    "dirty": False,
                    "sourceDigest": digest,
                }
            },
        },
    }


def handled(value: str) -> dict[str, Any]:
    found = migration_set(annotations={"fluxbase.io/requested-at": value})
    found["status"]["commands"] = {"requestedAt": {"value": bounded(value), "state": "Obeyed"}}
    return found


def forced(state: str, **more: Any) -> dict[str, Any]:
    found = migration_set(annotations={"fluxbase.io/force": "user=1@x"}, **more)
    found["status"]["commands"] = {"force": {"value": "user=1@x", "state": state, "message": "why"}}
    return found


def suspended() -> dict[str, Any]:
    found = forced("Waiting")
    found["spec"]["suspend"] = True
    return found


def waiting_for_system() -> dict[str, Any]:
    found = migration_set("False", stalled=True)
    found["status"]["tracks"]["user"] = {"phase": "Pending", "reason": "WaitingForSystem"}
    return found


def read_config_map(name: str) -> dict[str, Any]:
    assert name == "files"
    return {"data": FILES}


@pytest.mark.parametrize(
    ("found", "done"),
    [
        pytest.param(migration_set(), True, id="present content applied"),
        pytest.param(migration_set(digest="sha256:old"), None, id="ready for older content is not done"),
        pytest.param(migration_set("False"), None, id="reconciling is not done"),
        pytest.param(migration_set("False", stalled=True), False, id="stalled on present content is final"),
        pytest.param(
            migration_set("False", stalled=True, digest="sha256:old"),
            None,
            id="stalled on older content is not",
        ),
        pytest.param(waiting_for_system(), False, id="the system track has failed for good"),
        pytest.param(migration_set(generation=3), None, id="a newer spec is not looked at yet"),
        pytest.param(
            migration_set(annotations={"fluxbase.io/requested-at": "x"}),
            None,
            id="a command is not looked at yet",
        ),
        pytest.param(
            handled("x" * 300),
            True,
            id="a command that is too long to repeat has been looked at",
        ),
        pytest.param(
            suspended(),
            False,
            id="a command waits as long as the set is suspended",
        ),
        pytest.param(forced("Waiting"), None, id="a command waits for its run"),
        pytest.param(
            forced("Waiting", ready="False", stalled=True), False, id="a command that nothing will carry"
        ),
        pytest.param(forced("InProgress", ready="False"), None, id="a run carries the command"),
        pytest.param(forced("Refused"), False, id="a command is refused"),
        pytest.param(forced("Obeyed"), True, id="a command is obeyed"),
    ],
)
def test_waiting_is_for_the_content_that_is_there_now(found: dict[str, Any], done: bool | None) -> None:
    assert progress(found, read_config_map).done is done


@pytest.mark.parametrize("files", [{"x.up.sql": "SELECT 1;\n"}, {"README": "nothing else"}])
def test_waiting_ends_where_no_run_can_use_the_content(files: dict[str, str]) -> None:
    stalled = migration_set("False", stalled=True, digest="sha256:old")
    assert progress(stalled, lambda name: {"data": files}).done is False


def test_waiting_is_for_a_config_map_that_does_not_exist_yet() -> None:
    def missing(name: str) -> dict[str, Any]:
        raise LookupError(f"ConfigMap {name} not found")

    made = progress(migration_set("False"), missing)
    assert (made.done, made.text) == (None, "user track: ConfigMap files not found")


@pytest.mark.parametrize(
    ("condition", "text"),
    [
        pytest.param(
            {"type": "Reconciling", "status": "True"}, "Failed: because", id="what is retried says why"
        ),
        pytest.param(
            {"type": "Stalled", "status": "True"},
            "user track: Applied, newer content is on its way",
            id="what was final is about the content of before",
        ),
    ],
)
def test_waiting_for_newer_content_tells_what_keeps_it(condition: dict[str, str], text: str) -> None:
    found = migration_set("False", digest="sha256:old")
    found["status"]["conditions"].append(condition)
    assert progress(found, read_config_map).text == text


def test_status_names_version_dirty_flag_and_error_with_its_place() -> None:
    found = migration_set("False", stalled=True)
    found["status"]["tracks"]["user"].update(
        phase="Failed",
        dirty=True,
        version=5,
        error={
            "file": "005_x.up.sql",
            "line": 6,
            "sqlState": "42804",
            "message": "no cast",
            "hint": "drop it",
        },
    )
    text = render(found)
    for words in (
        "version 5",
        "(dirty)",
        "005_x.up.sql, line 6",
        "no cast (SQLSTATE 42804)",
        "hint: drop it",
    ):
        assert words in text


def test_status_shows_what_is_exposed_with_what_closes_it_and_how_many_more() -> None:
    found = migration_set()
    view = {"kind": "materialized view", "name": "public.m", "roles": ["anon"], "privileges": ["SELECT"]}
    statement = "REVOKE ALL ON public.m FROM PUBLIC, anon, authenticated"
    found["status"]["tracks"]["user"].update(exposed=3, exposures=[{**view, "statement": statement}, view])
    shown = [line.strip() for line in render(found).splitlines()]
    assert shown[-4:] == [
        "exposed: materialized view public.m: anon can SELECT",
        f"close it with: {statement}",
        "exposed: materialized view public.m: anon can SELECT",
        "exposed: 1 more",
    ]


def test_a_set_that_nobody_has_looked_at_is_shown_as_such() -> None:
    first, advice = render({"metadata": {"namespace": "a", "name": "b"}}).splitlines()
    assert first == "a/b: not looked at yet"
    assert advice.strip().startswith("no operator has picked it up")


def test_a_suspended_set_says_what_resumes_it() -> None:
    assert "until kubectl fluxbase resume shop, or spec.suspend=false" in render(suspended())


def test_options_are_taken_before_and_after_the_command() -> None:
    before = parser().parse_args(["-n", "shop", "status", "x"])
    after = parser().parse_args(["status", "x", "-n", "shop"])
    assert before.namespace == after.namespace == "shop"


def test_a_wait_for_a_lock_is_shown_beside_the_file_that_runs() -> None:
    file = {"file": "001_a.up.sql", "number": 1, "total": 2, "waiting": "a lock, held by pid 1"}
    found = {
        "metadata": {"namespace": "n", "name": "s"},
        "status": {"tracks": {"user": {"phase": "Running", "progress": file}}},
    }
    assert "waiting for a lock, held by pid 1" in render(found)


@pytest.mark.parametrize("to", ["| true", "> /dev/full", ">&-"])
def test_help_that_nobody_reads_is_no_traceback(to: str) -> None:
    program = Path(sys.executable).with_name("kubectl-fluxbase")
    script = f"{program} status --help {to}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False, timeout=60)
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


SAME_FILE = {"data": {"001_a.up.sql": "select 1"}}


@pytest.mark.parametrize("stalled", [True, False])
def test_waiting_ends_where_two_config_maps_share_a_file(stalled: bool) -> None:
    """The operator sees the same and is Stalled; until it has looked, there is something to wait for."""
    found = migration_set("False", stalled=stalled)
    found["spec"]["tracks"]["user"]["source"] = {"configMaps": [{"name": "a"}, {"name": "b"}]}
    made = progress(found, lambda name: SAME_FILE)
    assert made.done is (False if stalled else None)
    assert "two ConfigMaps, a and b" in made.text


def test_waiting_ends_where_a_suspended_set_has_no_source() -> None:
    def missing(name: str) -> dict[str, Any]:
        raise LookupError(f"ConfigMap {name} not found")

    assert progress(migration_set("False", stalled=True), missing).done is False


def test_a_claim_is_found_for_the_command_that_takes_over() -> None:
    found = migration_set("False", stalled=True)
    found["status"]["tracks"]["user"] = {"claimedBy": {"name": "a/first", "uid": "1"}}
    assert claims(found) == {Track.USER: {"name": "a/first", "uid": "1"}}


@pytest.mark.parametrize(("state", "shown"), [("Waiting", True), ("Refused", True), ("Obeyed", False)])
def test_what_waits_or_was_refused_is_shown(state: str, shown: bool) -> None:
    text = render({**forced(state), "metadata": {"namespace": "a", "name": "shop", "annotations": {}}})
    assert (f"fluxbase.io/force=user=1@x: {state}: why" in text) is shown


@pytest.mark.parametrize(
    ("track", "text"),
    [
        ({"pending": 2}, "nothing applied, 2 pending"),
        ({"pending": 0}, "nothing applied"),
        ({}, "version not known"),
        ({"version": 3}, "version 3"),
    ],
    ids=["not begun", "an empty source", "never read", "read"],
)
def test_what_was_never_read_is_not_called_empty(track: dict[str, Any], text: str) -> None:
    found = migration_set()
    found["status"]["tracks"] = {"user": {"phase": "Pending", **track}}
    assert f"user    Pending: {text}" in render(found).splitlines()[-1]
