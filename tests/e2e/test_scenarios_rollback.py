"""Rolling back: down files are run when that is allowed and possible, and else nothing is."""

from collections.abc import Callable

import pytest

from tests.e2e.harness import SYSTEM_LATEST, MigrationSet, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]


def user_tables(shop: MigrationSet) -> list[str]:
    rows = shop.database.query(
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename ~ '^t[0-9]$' ORDER BY 1"
    )
    return [name for (name,) in rows]


def test_a_lower_target_runs_the_down_files_and_a_higher_one_the_up_files(
    new_set: NewSet, scenario: NewScenario
) -> None:
    shop = new_set("rollback")
    shop.write_secret()
    shop.write_config_map(tables(1, 2, 3), create=True)
    shop.set_user(system=True)
    shop.wait("Applied", version=3)
    system = shop.jobs("system")
    seen = scenario("The target is lowered, rollback: Allow")
    shop.set_user(system=True, targetVersion=1, rollback="Allow")
    seen.sees("targetVersion: 1, version 3 is applied", shop, "RolledBack")
    assert user_tables(shop) == ["t1"]
    assert shop.condition("Ready")["status"] == "True"
    shop.set_user(system=True, rollback="Allow")
    seen.sees("targetVersion is removed", shop, "Applied")
    assert user_tables(shop) == ["t1", "t2", "t3"]
    assert shop.database.row("system") == [(SYSTEM_LATEST, False)]
    assert shop.jobs("system") == system, "the user track goes back without the system track"


def test_a_rollback_that_cannot_be_done_is_refused_before_anything_runs(
    new_set: NewSet, scenario: NewScenario
) -> None:
    shop = new_set("no-rollback")
    content = tables(1, 2, 3)
    del content["002_t2.down.sql"]
    shop.start(content)
    shop.wait("Applied", version=3)
    for title, reason, track in (
        ("The target is lowered, rollback: Forbid", "RollbackForbidden", {"targetVersion": 1}),
        ("A down file is missing", "MissingDownFile", {"targetVersion": 1, "rollback": "Allow"}),
        ("The target does not exist", "TargetNotFound", {"targetVersion": 9}),
    ):
        shop.set_user(**track)
        when = ", ".join(f"{name}: {value}" for name, value in track.items())
        scenario(title).sees(f"{when}; versions 1 to 3 are applied", shop, reason)
        assert shop.condition("Stalled")["status"] == "True"
        assert shop.database.row("user") == [(3, False)]
        assert user_tables(shop) == ["t1", "t2", "t3"]
    shop.set_user()
    shop.wait("Applied", version=3)


def test_a_lower_target_on_a_fresh_database_is_applied(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("low-target")
    shop.write_secret()
    shop.write_config_map(tables(1, 2, 3), create=True)
    shop.set_user(targetVersion=2)
    scenario("A fresh database and a target below the latest").sees("targetVersion: 2 of 3", shop, "Applied")
    assert user_tables(shop) == ["t1", "t2"]
