"""Approval on a cluster: a plan is shown and changes nothing; only what was approved runs."""

from collections.abc import Callable

import pytest

from tests.e2e.harness import MigrationSet, eventually, fluxbase, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]
TABLES = "SELECT tablename FROM pg_tables WHERE tablename ~ '^t[0-9]' ORDER BY 1"


def applied(shop: MigrationSet) -> list[str]:
    """The tables that files have made."""
    return [name for (name,) in shop.database.query(TABLES)]


def plan_digest(shop: MigrationSet, before: str = "") -> str:
    """The digest of the plan that waits, once it is another one than ``before``."""

    def digest() -> str | None:
        current = shop.status().get("plan", {}).get("digest")
        return current if current != before else None

    return str(eventually("a plan", digest))


def test_what_runs_was_approved(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("approval")
    shop.start(tables(1), approval="Manual")
    seen = scenario("Migrations wait for approval")
    seen.sees("", shop, "AwaitingApproval")
    first = plan_digest(shop)
    assert applied(shop) == []
    fluxbase(shop, "approve", "--digest", first, "--yes", "--wait")
    seen.sees("approved with kubectl fluxbase approve", shop, "Applied")

    shop.write_config_map(tables(1, 2, up2=b"CREATE TABLE t2 (id int);\nDROP TABLE t1;\n"))
    second = plan_digest(shop, first)
    seen.sees("a file is added", shop, "AwaitingApproval", event="AwaitingApproval")
    shop.annotate(approve=f"{first}@again")
    seen.sees("another plan is approved", shop, "AwaitingApproval", event="CommandRefused")
    assert (plan_digest(shop), applied(shop)) == (second, ["t1"])

    text = fluxbase(shop, "plan", "--full")
    assert second in text
    assert "DESTROYS: table t1" in text
    fluxbase(shop, "approve", "--digest", second, "--yes", "--wait")
    seen.sees("the plan that waits is approved", shop, "Applied")
    assert applied(shop) == ["t2"]
    assert "plan" not in shop.status()
