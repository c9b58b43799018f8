"""Several sets on one database, and several operators: one at a time, and the next takes over."""

from collections.abc import Callable

import pytest

from tests.e2e.harness import Kube, MigrationSet, eventually, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]


def test_the_second_set_of_a_database_is_refused_until_the_first_is_gone(
    new_set: NewSet, scenario: NewScenario
) -> None:
    first, second = new_set("first"), new_set("second")
    second.database, second.others = first.database, {first.name: "first"}
    first.start(tables(1))
    first.wait("Applied", version=1)
    # By another Secret, and another way to write the same address.
    second.write_secret(f"{first.database.inside}&application_name=second")
    second.write_config_map(tables(1, 2), create=True)
    second.set_user()
    seen = scenario("Two sets for one database")
    seen.sees("the later one, also through another Secret", second, "DatabaseClaimed")
    assert second.condition("Stalled")["status"] == "True"
    assert first.database.row("user") == [(1, False)]
    first.delete()
    seen.sees("the first set is deleted", second, "Applied", event="TakingOver")
    assert first.database.times_applied() == {"001_t1.up.sql": 1, "002_t2.up.sql": 1}


@pytest.mark.usefixtures("two_operators")
def test_another_replica_leads_when_the_leader_is_gone(
    new_set: NewSet, kube: Kube, scenario: NewScenario
) -> None:
    shop = new_set("failover")
    leader = eventually("a leader", lambda: holder(kube))
    shop.start(tables(1))
    shop.wait("Applied", version=1)
    kube.run("delete", "pod", leader, "--force", "--grace-period=0")
    shop.write_config_map(tables(1, 2))
    eventually("another leader", lambda: holder(kube) not in ("", leader))
    shop.wait("Applied", version=2)
    seen = scenario("The leading operator's pod is killed")
    seen.sees("replicas: 2; a ConfigMap is changed meanwhile", shop, "Applied")
    assert set(shop.database.times_applied().values()) == {1}


def holder(kube: Kube) -> str:
    return str(kube.get("lease", "fluxbase")["spec"].get("holderIdentity", ""))
