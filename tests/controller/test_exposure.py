"""What users reach past row-level security, and a platform that is not all there, as a cluster shows them."""

from typing import Any

import pytest

from fluxbase_migrations.api.reasons import EventReason
from fluxbase_migrations.cli.kubectl.status import render
from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.core.errors import Exposed, PlatformIncomplete
from fluxbase_migrations.core.exposure import Exposure, ExposureKind
from fluxbase_migrations.core.names import ExposurePolicy
from fluxbase_migrations.core.result import Outcome, Result
from tests.controller.cluster import Cluster, told
from tests.controller.conftest import Running
from tests.controller.test_lifecycle import FILES, SOURCE, done
from tests.support import kstatus

STATEMENT = "ALTER VIEW public.v SET (security_invoker = true)"
VIEW = Exposure(ExposureKind.VIEW, "public.v", ("authenticated",), ("SELECT", "UPDATE"), STATEMENT)
OPEN: dict[str, Any] = {"exposed": 12, "exposures": (VIEW,)}


def exposed() -> Result:
    return done(1, Outcome.EXPOSED, error=Exposed.of([VIEW], "version 1").info, **OPEN)


async def test_a_warning_keeps_the_set_ready_and_is_seen_in_status_event_and_plugin(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=SOURCE)
    assert told(await cluster.run("system", 1, done(6))).exposure is ExposurePolicy.WARN
    await cluster.run("user", 1, done(1, **OPEN))
    user = await cluster.reaches("user", "Applied")
    assert user["exposed"] == 12
    assert user["exposures"] == [
        {
            "kind": "view with its owner's rights",
            "name": "public.v",
            "roles": ["authenticated"],
            "privileges": ["SELECT", "UPDATE"],
            "statement": STATEMENT,
        }
    ]
    found = await cluster.get_set()
    assert kstatus.compute(found) == "Current"
    (ready,) = found["status"]["conditions"]
    assert ready["message"].endswith("12 objects reachable past row-level security, see exposures")
    assert (await cluster.event("Exposed", STATEMENT))["type"] == "Warning"
    shown = render(found)
    assert f"close it with: {STATEMENT}" in shown
    assert "exposed: 11 more" in shown
    await cluster.edit_config_map("files", {"002_close.up.sql": STATEMENT})
    await cluster.run("user", 2, done(2, exposed=0))
    user = await cluster.reaches("user", "Applied")
    assert (user["exposed"], user.get("exposures")) == (0, None)
    await cluster.event(EventReason.NOT_EXPOSED)


async def test_failing_stalls_until_something_changes(cluster: Cluster, operator: Running) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=SOURCE, exposure="Fail")
    await cluster.run("system", 1, done(6))
    job = await cluster.run("user", 1, exposed())
    assert told(job).exposure is ExposurePolicy.FAIL
    user = await cluster.reaches("user", "Failed", "Exposed")
    assert user["version"] == 1
    for words in (STATEMENT, "all files are applied, version 1"):
        assert words in user["message"]
    assert kstatus.compute(await cluster.get_set()) == "Failed"
    await cluster.event("Exposed", STATEMENT)
    looks = operator.looks()
    await cluster.patch_set(metadata={"labels": {"a": "b"}})
    await operator.looks_again(looks)
    assert len(await cluster.jobs("user")) == 1, "it is not run in a loop"
    await cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    await cluster.run("system", 2, done(6, Outcome.NO_CHANGE))
    await cluster.run("user", 2, exposed())
    await cluster.reaches("user", "Failed", "Exposed")
    await cluster.patch_set(spec={"exposure": "Warn"})
    await cluster.run("user", 3, done(1, Outcome.NO_CHANGE, **OPEN))
    await cluster.reaches("user", "Applied")
    await cluster.patch_set(spec={"exposure": "Ignore"})
    await cluster.run("user", 4, done(1, Outcome.NO_CHANGE))
    user = await cluster.reaches("user", "Applied")
    assert "exposed" not in user
    assert "reachable" not in user["message"]


async def test_another_policy_starts_no_run_of_the_system_track(cluster: Cluster, operator: Running) -> None:
    await cluster.make_set()
    await cluster.run("system", 1, done(6))
    await cluster.reaches("system", "Applied")
    looks = operator.looks()
    await cluster.patch_set(spec={"exposure": "Fail"})
    await operator.looks_again(looks)
    assert len(await cluster.jobs()) == 1


async def test_a_platform_that_is_not_all_there_keeps_the_user_track_waiting(
    cluster: Cluster, operator: Running
) -> None:
    await cluster.config_map("files", FILES)
    await cluster.make_set(tracks=SOURCE, retry={"backoff": "100ms"})
    lacks = ["role anon", 'policy "Users can read themselves" of auth.app_users for authenticated']
    error = PlatformIncomplete.of(6, lacks).info
    await cluster.run("system", 1, done(6, Outcome.PLATFORM_INCOMPLETE, error=error))
    await cluster.event("PlatformIncomplete", lacks[1])
    job = await cluster.next_job("system", 2)
    assert kstatus.compute(await cluster.get_set()) == "InProgress"
    assert (await cluster.track("user"))["reason"] == "WaitingForSystem"
    assert await cluster.jobs("user") == []
    assert told(job).run == 2
    await cluster.run("system", 2, done(6, Outcome.NO_CHANGE))
    await cluster.next_job("user", 1)


async def test_no_other_policy_is_taken(cluster: Cluster) -> None:
    with pytest.raises(KubeError, match="exposure"):
        await cluster.make_set(exposure="Perhaps")
