"""What somebody deletes in mid-run: the data stay right, and the set goes on by itself."""

import contextlib
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from tests.e2e.database import GATED
from tests.e2e.harness import Kube, MigrationSet, eventually, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]

SELECTOR = "fluxbase.io/set={}"


def in_flight(shop: MigrationSet, backoff: str = "5s") -> str:
    """Start the set with a file that waits at the gate, and return its Job's name when it does."""
    shop.start(tables(1, 2, up2=GATED), retry={"limit": 3, "backoff": backoff})
    shop.wait("Running", run=1)
    eventually("the second file to run", lambda: shop.database.row("user") == [(1, False)])
    return shop.jobs()[0]


def pods(shop: MigrationSet) -> list[str]:
    return shop.kube.run("get", "pod", "-l", SELECTOR.format(shop.name), "-o", "name").split()


def each_once(shop: MigrationSet) -> None:
    assert shop.database.times_applied() == {"001_t1.up.sql": 1, "002_t2.up.sql": 1}


def test_a_job_deleted_in_mid_run_is_followed_by_another(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("job-deleted")
    seen = scenario("The Job is deleted in mid-run")
    with shop.database.gate():
        shop.kube.run("delete", "job", in_flight(shop), "--wait=false")
        shop.wait("Pending", run=1)
        shop.wait("Running", run=2)
    seen.sees("afterwards", shop, "Applied")
    each_once(shop)


def test_a_pod_deleted_in_mid_run_is_followed_by_another_job(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("pod-deleted")
    seen = scenario("The Job's pod is deleted in mid-run")
    with shop.database.gate():
        in_flight(shop, backoff="20s")
        shop.kube.run("delete", *pods(shop), "--wait=false")
        seen.sees("the run has been interrupted", shop, "Interrupted")
        shop.wait("Running", run=2)
    seen.sees("afterwards", shop, "Applied")
    each_once(shop)


def test_a_set_deleted_in_mid_run_leaves_a_clean_database(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("set-deleted")
    with shop.database.gate():
        in_flight(shop)
        shop.delete()
        eventually("the pod to be gone", lambda: not pods(shop))
        assert shop.database.row("user") == [(1, False)], "the file that waited has been undone"
    shop.set_user()
    scenario("The set is deleted in mid-run").sees("and created again", shop, "Applied")
    each_once(shop)


def test_a_namespace_deleted_in_mid_run_leaves_a_clean_database(
    new_set: NewSet,
    new_set_elsewhere: NewSet,
    scenario: NewScenario,
    other_namespace_made_again: Callable[[], None],
) -> None:
    shop, other = new_set_elsewhere("namespace-deleted"), new_set("elsewhere")
    with shop.database.gate():
        in_flight(shop)
        shop.kube.run("delete", "namespace", shop.kube.namespace, "--timeout=120s")
        assert shop.database.row("user") == [(1, False)], "the file that waited has been undone"
    other.start(tables(1))
    other.wait("Applied", version=1)
    other_namespace_made_again()
    shop.start(tables(1, 2, up2=GATED))
    seen = scenario("The namespace is deleted in mid-run")
    again = "it and the set are created again, and the chart's Role with helm upgrade"
    seen.sees(again, shop, "DatabaseClaimed")
    owner = shop.track()["claimedBy"]["uid"]
    shop.annotate(take_over=f"user={owner}@again")
    seen.sees("kubectl fluxbase take-over shop", shop, "Applied", event="TakenOver")
    each_once(shop)


def test_what_happens_while_no_operator_runs_is_caught_up_with(
    new_set: NewSet,
    kube: Kube,
    scenario: NewScenario,
    operator_stopped: Callable[[], AbstractContextManager[None]],
) -> None:
    names = ("ends", "pod-gone", "job-gone", "set-gone")
    shops = ends, pod_gone, job_gone, set_gone = [new_set(name) for name in names]
    with contextlib.ExitStack() as operator:
        with contextlib.ExitStack() as gates:
            for shop in shops:
                gates.enter_context(shop.database.gate())
                in_flight(shop)
            operator.enter_context(operator_stopped())
            kube.run("delete", *pods(pod_gone))
            kube.run("delete", "job", *job_gone.jobs())
            kube.run("delete", "fbms", set_gone.name)
            eventually("the Jobs' pods to be gone", lambda: not pods(job_gone) + pods(set_gone))
        kube.run("wait", "job", *ends.jobs(), "--for=condition=Complete", "--timeout=60s")
        ends.write_config_map(tables(1, 2, 3, up2=GATED))
    seen = scenario("No operator runs, and meanwhile")
    for shop, what in (
        (ends, "the run ends, and the ConfigMap is changed"),
        (pod_gone, "the pod is deleted in mid-run"),
        (job_gone, "the Job is deleted in mid-run"),
    ):
        shop.wait("Applied", run=2)
        seen.sees(f"{what}; then the operator is back", shop, "Applied")
        assert set(shop.database.times_applied().values()) == {1}
    assert set_gone.database.row("user") == [(1, False)]
    assert set_gone.jobs() == []
