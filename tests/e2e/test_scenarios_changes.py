"""Changes in mid-run: the run ends undisturbed, then the newer wish follows; what never started gives way."""

from collections.abc import Callable

import pytest

from tests.e2e.database import GATED
from tests.e2e.harness import MigrationSet, eventually, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]


def test_progress_is_shown_while_a_run_goes_on(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("progress")
    with shop.database.gate():
        shop.write_secret()
        shop.write_config_map(tables(1, 2, 3, 4, 5, 6, up3=GATED), create=True)
        shop.set_user()
        eventually("progress", lambda: shop.track().get("progress", {}).get("number") == 3)
        scenario("A run goes on").sees("six files, the third takes long", shop, "Running", event="none")
        progress = shop.track()["progress"]
        assert (progress["file"], progress["total"]) == ("003_t3.up.sql", 6)
        assert progress["since"] >= shop.track()["startedAt"]
    shop.wait("Applied", version=6)


def test_changes_of_everything_wait_for_the_end_of_the_run(
    new_set: NewSet, scenario: NewScenario, operator_image: Callable[[str | None], None]
) -> None:
    shop = new_set("mid-run")
    seen = scenario("Spec, ConfigMap, Secret and image change while a Job runs")
    with shop.database.gate():
        shop.start(tables(1, 2, up2=GATED))
        shop.wait("Running", run=1)
        shop.apply(lockTimeout="4m")
        shop.write_config_map(tables(1, 2, 3, up2=GATED))
        shop.write_secret("postgres://nobody:x@no-such-host.invalid/none")
        operator_image("fluxbase.local/no-such-image:1")
        shop.wait_message("will be applied after this run")
        eventually("progress", lambda: shop.track().get("progress", {}).get("number") == 2)
        seen.sees("the second of two files runs", shop, "Running", event="none")
        [job] = shop.jobs()
        assert shop.track()["job"]["name"] == job
        operator_image(None)
        shop.write_secret()
    seen.sees("the run has ended, and the next one too", shop, "Applied")
    assert shop.track()["version"] == 3
    assert shop.track()["run"] == 2
    assert job in shop.jobs(), "it was neither deleted nor replaced"
    assert set(shop.database.times_applied().values()) == {1}


def test_suspend_lets_the_running_job_end_and_resume_goes_on(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("suspend")
    seen = scenario("A set is suspended while a Job runs")
    with shop.database.gate():
        shop.start(tables(1, 2, up2=GATED))
        shop.wait("Running", run=1)
        shop.apply(suspend=True)
        shop.write_config_map(tables(1, 2, 3, 4, up2=GATED))
        shop.wait_message("will be applied after this run")
        eventually("progress", lambda: shop.track().get("progress", {}).get("number") == 2)
        seen.sees("suspend: true, two files are added", shop, "Running", event="none")
    seen.sees("the run has ended", shop, "Suspended")
    assert shop.condition("Stalled")["status"] == "True"
    assert (shop.track()["version"], shop.track()["pending"]) == (2, 2)
    shop.apply(suspend=False)
    seen.sees("suspend: false", shop, "Applied")


def test_a_job_that_never_started_gives_way_to_the_corrected_spec(
    new_set: NewSet, scenario: NewScenario
) -> None:
    shop = new_set("never-started")
    shop.start(tables(1), job={"nodeSelector": {"disk": "none-such"}})
    scenario("No node fits").sees("job.nodeSelector names a label that no node has", shop, "Unschedulable")
    reference = {"name": shop.secret, "key": "uri"}
    shop.apply(job=None, database={"urlFrom": {"secretKeyRef": reference}})
    seen = scenario("The set names a wrong key of its Secret")
    seen.sees("key: uri instead of url", shop, "CreateContainerConfigError")
    shop.apply(database={"urlFrom": {"secretKeyRef": {**reference, "key": "url"}}})
    seen.sees("the set is corrected", shop, "Applied")
    assert shop.database.times_applied() == {"001_t1.up.sql": 1}
