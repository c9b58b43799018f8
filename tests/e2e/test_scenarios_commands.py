"""Commands by annotation: each is handled exactly once, recorded, and left where the user put it."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import pytest

from tests.e2e.database import GATED
from tests.e2e.harness import MigrationSet, eventually, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]


def commands(shop: MigrationSet) -> dict[str, Any]:
    """Our annotations, and the field managers that own any annotation."""
    metadata = shop.read()["metadata"]
    found = metadata.get("annotations", {})
    managers = {
        entry["manager"]
        for entry in metadata["managedFields"]
        if "f:annotations" in entry["fieldsV1"].get("f:metadata", {})
    }
    return {name: value for name, value in found.items() if name.startswith("fluxbase.io/")} | {
        "managers": managers
    }


def told(shop: MigrationSet, reason: str) -> list[str]:
    return [event for event in shop.events() if event.split()[1] == reason]


def test_commands_are_handled_once_and_who_gave_them_is_recorded(
    new_set: NewSet, scenario: NewScenario, restart_operator: Callable[[], None]
) -> None:
    shop = new_set("commands")
    shop.start(tables(1))
    shop.wait("Applied", version=1)

    shop.annotate(requested_at="once")
    shop.wait("Applied", run=2)
    scenario("Another run is asked for").sees(
        "kubectl annotate … fluxbase.io/requested-at=once", shop, "Applied", event="Requested"
    )
    status = shop.status()
    assert status["lastHandledRequestedAt"] == "once"
    assert status["commands"]["requestedAt"]["value"] == "once"
    assert status["commands"]["requestedAt"]["manager"] == "kubectl-annotate"
    assert status["commands"]["requestedAt"]["time"]

    shop.annotate(force="user")
    eventually("the Warning", lambda: told(shop, "CommandRefused"))
    seen = scenario("A force that is malformed")
    seen.sees("kubectl annotate … fluxbase.io/force=user", shop, "Applied", event="CommandRefused")

    shop.annotate(force="user=1@first")
    shop.wait("Applied", run=3)
    seen = scenario("The version is forced")
    seen.sees("kubectl annotate … fluxbase.io/force=user=1@first", shop, "Applied", event="Forced")
    assert shop.status()["lastHandledForce"] == "user=1@first"

    before, version = commands(shop), shop.read()["metadata"]["resourceVersion"]
    restart_operator()
    shop.annotate(requested_at="twice")
    shop.wait("Applied", run=4)
    assert int(shop.read()["metadata"]["resourceVersion"]) > int(version)
    assert commands(shop) == before | {"fluxbase.io/requested-at": "twice"}
    assert not any("fluxbase" in manager for manager in before["managers"]), "the operator wrote none"
    assert [len(told(shop, reason)) for reason in ("Requested", "CommandRefused", "Forced")] == [2, 1, 1]
    assert forced(shop) == 1


def test_a_force_is_obeyed_once_though_its_run_was_lost_with_the_operator(
    new_set: NewSet, scenario: NewScenario, operator_stopped: Callable[[], AbstractContextManager[None]]
) -> None:
    """The run obeys, goes on to its next files, and is lost without a trace; another one does the rest."""
    shop = new_set("force-lost")
    shop.start(tables(1, 2), retry={"limit": 3, "backoff": "1s"})
    shop.wait("Applied", version=2)
    shop.database.query("DROP TABLE public.t2")
    shop.apply(suspend=True)
    shop.annotate(force="user=1@redo")
    shop.write_config_map(tables(1, 2, 3, up3=GATED))
    with shop.database.gate():
        shop.apply(suspend=False)
        shop.wait("Running", run=2)
        eventually("version 2 again", lambda: shop.database.row("user") == [(2, False)] and forced(shop) == 1)
        with operator_stopped():
            shop.kube.run("delete", "job", *shop.jobs(), "--wait")
            shop.kube.run(
                "wait", "pod", "-l", f"fluxbase.io/set={shop.name}", "--for=delete", "--timeout=60s"
            )
            assert shop.database.row("user") == [(2, False)]
    shop.wait("Applied", version=3, run=3)
    seen = scenario("A force whose run was lost together with the operator")
    seen.sees("the Job is deleted after it obeyed, while no operator runs", shop, "Applied", event="Forced")
    assert forced(shop) == 1, "a second time would have applied version 2 again, whose table is there"
    assert len(told(shop, "Forced")) == 1


def forced(shop: MigrationSet) -> int:
    [(count,)] = shop.database.query("SELECT count(*) FROM migrations.history WHERE kind = 'force'")
    return int(count)
