"""Which pod's log ``kubectl fluxbase logs`` shows, and how sets are named on its command line."""

from typing import Any

import pytest

from fluxbase_migrations.cli.kubectl.logs import has_started, newest, selector
from fluxbase_migrations.cli.kubectl.program import parser


def pod(name: str, track: str, run: str, created: str = "2026-01-31T12:00:00Z") -> dict[str, Any]:
    labels = {"fluxbase.io/track": track, "fluxbase.io/run": run}
    return {"metadata": {"name": name, "labels": labels, "creationTimestamp": created}}


PODS = [pod("a", "system", "9"), pod("b", "user", "2"), pod("c", "user", "10"), pod("d", "user", "forged")]


@pytest.mark.parametrize(("track", "name"), [(None, "c"), ("user", "c"), ("system", "a")])
def test_the_latest_run_is_shown(track: str | None, name: str) -> None:
    found = newest(PODS, track)
    assert found is not None
    assert found["metadata"]["name"] == name


def test_of_two_pods_of_a_run_the_newer_one_is_shown() -> None:
    found = newest([pod("new", "user", "1", "2026-02-01T00:00:00Z"), pod("old", "user", "1")], None)
    assert found is not None
    assert found["metadata"]["name"] == "new"


def test_a_set_without_pods_has_none() -> None:
    assert newest([], None) is None
    assert newest([PODS[0]], "user") is None


@pytest.mark.parametrize(
    ("state", "started"),
    [({"waiting": {}}, False), ({"running": {}}, True), ({"terminated": {}}, True)],
)
def test_a_container_that_waits_has_no_log(state: dict[str, Any], started: bool) -> None:
    status = {
        "containerStatuses": [
            {"name": "sidecar", "state": {"running": {}}},
            {"name": "migrate", "state": state},
        ]
    }
    assert has_started({"status": status}) is started
    assert has_started({}) is False


def test_pods_are_found_by_the_sets_uid() -> None:
    assert selector({"metadata": {"uid": "u-1"}}) == "fluxbase.io/set-uid=u-1"


@pytest.mark.parametrize(
    "text", ["shop", "fbms/shop", "FluxbaseMigrationSet/shop", "fluxbasemigrationsets.fluxbase.io/shop"]
)
def test_a_set_is_named_as_kubectl_does(text: str) -> None:
    assert parser().parse_args(["status", text]).name == "shop"


@pytest.mark.parametrize("text", ["pod/shop", "fbms/", ""])
def test_what_names_no_set_is_a_usage_error(text: str) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["status", text])
    assert ended.value.code == 2
