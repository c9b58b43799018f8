"""Several sets on one database, and several operators: one at a time, and the next takes over."""

from collections.abc import Callable

import pytest

from tests.e2e.conftest import DEPLOYMENT, SECOND
from tests.e2e.database import GATED
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


def test_a_rolling_update_in_mid_run_changes_nothing(new_set: NewSet, kube: Kube) -> None:
    """The next operator begins when the one before has let go of the Lease."""
    shop = new_set("rollout")
    before = eventually("a leader", lambda: holder(kube))
    with shop.database.gate():
        shop.start(tables(1, 2, up2=GATED))
        shop.wait("Running", run=1)
        kube.run("rollout", "restart", DEPLOYMENT)
        kube.run("rollout", "status", DEPLOYMENT, "--timeout=120s")
        eventually("the next leader", lambda: holder(kube) not in ("", before))
    shop.wait("Applied", version=2)
    assert len(shop.jobs()) == 1
    assert set(shop.database.times_applied().values()) == {1}


def test_two_installations_share_a_namespace_by_name(
    new_set: NewSet, second_release: Callable[..., None], scenario: NewScenario
) -> None:
    plain, named = new_set("plain"), new_set("named")
    second_release(f"operatorName={SECOND}")
    for one in (plain, named):
        one.start(tables(1), **({"operator": SECOND} if one is named else {}))
    seen = scenario("Two installations watch one namespace")
    seen.sees(f"operatorName: {SECOND} of the second one, and spec.operator: {SECOND}", named, "Applied")
    plain.wait("Applied", version=1)
    assert makers(plain) == {f"{plain.kube.namespace}/fluxbase"}
    assert makers(named) == {f"{plain.kube.namespace}/{SECOND}-fluxbase"}


def test_two_installations_that_both_feel_responsible_are_told(
    new_set: NewSet, second_release: Callable[..., None], scenario: NewScenario
) -> None:
    shop = new_set("contested")
    second_release()
    with shop.database.gate():
        shop.start(tables(1, 2, up2=GATED))
        shop.wait("Running", run=1)
        eventually("both to tell", lambda: conflict(shop, "runs the Job", "watches this set, too"))
    shop.wait("Applied", version=2)
    assert set(shop.database.times_applied().values()) == {1}
    if makers(shop) == {f"{shop.kube.namespace}/canary-fluxbase"}:  # it was faster: told the other way round
        own = shop.kube.namespace
        shop.others |= {
            f"{own}/canary-fluxbase": f"{own}/@first",
            f"{own}/fluxbase": f"{own}/canary-fluxbase",
            f"{own}/@first": f"{own}/fluxbase",
        }
    seen = scenario("Two installations without a name watch one namespace")
    seen.sees("", shop, "Applied", event="OperatorConflict watches this set, too", log=False)


def conflict(shop: MigrationSet, *words: str) -> bool:
    """Whether an Event about operators that meet has each of these words."""
    texts = [event for event in shop.events() if event.split()[1] == "OperatorConflict"]
    return all(any(one in text for text in texts) for one in words)


def makers(shop: MigrationSet) -> set[str]:
    """The operators that made the set's Jobs."""
    jobs = shop.kube.get("jobs", "-l", f"fluxbase.io/set={shop.name}")["items"]
    return {job["metadata"]["annotations"]["fluxbase.io/operator"] for job in jobs}


def holder(kube: Kube) -> str:
    return str(kube.get("lease", "fluxbase")["spec"].get("holderIdentity", ""))
