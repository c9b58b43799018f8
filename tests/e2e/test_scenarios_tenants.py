"""What one set, or one user, can do to the others: take the slots, expand variables, leave things behind."""

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from dev.localcluster.cluster import Cluster
from tests.e2e.conftest import helm_upgrade
from tests.e2e.database import GATED
from tests.e2e.harness import Kube, MigrationSet, eventually, fluxbase, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]


@pytest.fixture
def two_slots(cluster: Cluster, release: Kube) -> Iterator[None]:
    """Let two migrations run at once."""
    helm_upgrade(cluster, "maxConcurrentJobs=2")
    yield
    helm_upgrade(cluster)


@pytest.mark.usefixtures("two_slots")
def test_sets_that_cannot_start_keep_no_slot(new_set: NewSet, scenario: NewScenario) -> None:
    waiting = [new_set("one"), new_set("two")]
    for one in waiting:
        one.write_config_map(tables(1), create=True)
        one.set_user()
    for one in waiting:
        one.wait("Pending", reason="CreateContainerConfigError")
    shop = new_set("three")
    shop.start(tables(1))
    seen = scenario("Two slots, and the Secrets of two other sets are missing")
    seen.sees("a third set", shop, "Applied", event="Applied")


@pytest.mark.usefixtures("two_slots")
def test_a_set_that_waits_is_told_who_has_the_slots(new_set: NewSet, scenario: NewScenario) -> None:
    first, second, shop = (new_set(name) for name in ("first", "second", "third"))
    with first.database.gate(), second.database.gate():
        for one in (first, second):
            one.start(tables(1, up1=GATED))
        for one in (first, second):
            one.wait("Running")
        shop.start(tables(1))
        seen = scenario("Two slots, and two other sets run")
        seen.sees("a third set", shop, "Queued", event="none")
    seen.sees("one of them has ended", shop, "Applied", event="Applied")


def test_a_user_who_may_only_create_and_get_sets_reads_no_secret(
    new_set: NewSet, kube: Kube, scenario: NewScenario
) -> None:
    """Kubernetes expands $(NAME) in what a container is given, and the kubelet is asked whether it does."""
    shop = new_set("hostile")
    shop.write_secret()
    kube.run("create", "role", "tenant", "--verb=create,get", "--resource=fluxbasemigrationsets.fluxbase.io")
    kube.run("create", "rolebinding", "tenant", "--role=tenant", "--user=tenant")
    kube.apply(
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": shop.name},
            "spec": {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}},
        }
    )
    tenant = replace(shop, kube=replace(kube, argv=[*kube.argv, "--as=tenant"]))
    path = "$(DATABASE_URL)/$$(DATABASE_URL)"
    source = {"persistentVolumeClaim": {"claimName": shop.name, "path": path}}
    try:
        refused = tenant.kube.run("get", "secret", shop.secret, check=False)
        assert "Forbidden" in refused
        body = {
            "apiVersion": "fluxbase.io/v1alpha1",
            "kind": "FluxbaseMigrationSet",
            "metadata": {"name": shop.name},
            "spec": {
                "database": {"urlFrom": {"secretKeyRef": {"name": shop.secret, "key": "url"}}},
                "tracks": {"system": {"enabled": False}, "user": {"source": source}},
            },
        }
        tenant.kube.run("create", "-f", "-", stdin=json.dumps(body))
        seen = scenario("A path that names a variable of the container")
        message = seen.sees("path: $(DATABASE_URL)/$$(DATABASE_URL)", shop, "SourceEmpty")
        assert path in message
        shown = tenant.kube.run("get", "fbms", shop.name, "-o", "json")
        assert shop.database.inside.rpartition("@")[0] not in shown + "".join(shop.log())
    finally:
        kube.run("delete", "rolebinding,role", "tenant")
        shop.delete()
        kube.run("delete", "pvc", shop.name, "--wait=false")


def test_a_name_with_dollars_reaches_the_server_as_it_is(new_set: NewSet) -> None:
    """``$$`` becomes one ``$`` where Kubernetes reads it."""
    shop = new_set("dollars")
    name = f"{shop.database.name}$$(HOME)"
    shop.database.query(f"CREATE ROLE \"{name}\" LOGIN SUPERUSER PASSWORD 'p'")
    try:
        inside = urlsplit(shop.database.inside)
        shop.kube.run("create", "secret", "generic", shop.secret, "--from-literal=password=p")
        shop.write_config_map(tables(1), create=True)
        connection = {
            "host": inside.hostname,
            "port": inside.port or 5432,
            "name": shop.database.name,
            "user": name,
            "passwordFrom": {"secretKeyRef": {"name": shop.secret, "key": "password"}},
            "sslMode": "disable",
        }
        shop.spec["database"] = {"connection": connection}
        shop.set_user()
        shop.wait("Applied", version=1)
        assert shop.database.query("SELECT tableowner FROM pg_tables WHERE tablename = 't1'") == [(name,)]
    finally:
        shop.delete()
        shop.database.query(f'DROP OWNED BY "{name}" CASCADE; DROP ROLE "{name}"')


def test_a_job_that_the_api_server_refuses_is_told(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("refused")
    shop.start(tables(1))
    shop.wait("Applied", version=1)
    shop.write_config_map(tables(1, 2))
    shop.wait("Applied", version=2)
    shop.apply(job={"affinity": {"nodeAffinity": "x"}})
    shop.write_config_map(tables(1, 2, 3))
    seen = scenario("job.affinity is none")
    seen.sees("affinity: {nodeAffinity: x}", shop, "JobRefused")
    shop.apply(job=None)
    seen.sees("it is removed", shop, "Applied", event="Applied")


def test_what_stays_of_an_earlier_run_is_named_with_the_command(
    new_set: NewSet, scenario: NewScenario
) -> None:
    shop = new_set("orphan")
    shop.write_config_map(tables(1), create=True)
    shop.set_user()
    shop.wait("Pending", reason="CreateContainerConfigError")
    [job] = shop.jobs()
    shop.kube.run("delete", "job", job, "--cascade=orphan")
    seen = scenario("The Job is deleted without its pod, before that has started")
    what = "kubectl delete job --cascade=orphan"
    eventually("the pod to be named", lambda: "kubectl delete pod" in shop.message())
    message = seen.sees(what, shop, "JobDeleted", event="none")  # it may have been told while the Job went
    shop.write_secret()
    shop.kube.run(*message.rpartition("kubectl ")[2].split())
    seen.sees("the command of the message", shop, "Applied", event="Applied")
    assert shop.database.times_applied() == {"001_t1.up.sql": 1}


def test_a_finished_job_that_a_finalizer_keeps_holds_nothing_up(new_set: NewSet) -> None:
    shop = new_set("finalizer")
    shop.start(tables(1))
    shop.wait("Applied", version=1)
    [job] = shop.jobs()
    shop.kube.run("patch", "job", job, "--type=merge", '-p={"metadata":{"finalizers":["example.com/keep"]}}')
    shop.kube.run("delete", "job", job, "--wait=false")
    try:
        shop.write_config_map(tables(1, 2))
        shop.wait("Applied", version=2)
    finally:
        shop.kube.run("patch", "job", job, "--type=merge", '-p={"metadata":{"finalizers":null}}')


def test_a_suspended_set_without_its_config_map_is_stalled(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("asleep")
    shop.write_secret()
    shop.set_user()
    shop.wait("Pending", reason="SourceMissing")
    shop.apply(suspend=True)
    seen = scenario("A suspended set, and its ConfigMap is missing")
    seen.sees("suspend: true", shop, "Suspended", event="none")
    assert shop.condition("Stalled")["status"] == "True"


def test_wait_ends_at_once_for_a_set_that_goes_no_further(new_set: NewSet) -> None:
    shop = new_set("twice")
    shop.write_secret()
    shop.write_config_map(tables(1), create=True)
    other = f"{shop.config_map}-2"
    shop.kube.run("create", "configmap", other, "--from-literal=001_t1.up.sql=SELECT 1;")
    try:
        shop.apply(
            tracks={
                "system": {"enabled": False},
                "user": {"source": {"configMaps": [{"name": shop.config_map}, {"name": other}]}},
            }
        )
        shop.wait("Failed", reason="InvalidSource")
        with pytest.raises(AssertionError):
            fluxbase(shop, "wait", "--timeout", "300")
    finally:
        shop.kube.run("delete", "configmap", other)


def test_an_error_is_over_when_its_file_has_been_corrected(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("over")
    shop.write_secret()
    shop.write_config_map(tables(1, 2, up2=b"SELECT no_such_column;\n"), create=True)
    shop.set_user(system=True)
    shop.wait("Failed", dirty=True)
    with shop.database.gate():
        shop.write_config_map(tables(1, 2, 3, up3=GATED))
        eventually("the third file", lambda: shop.track().get("progress", {}).get("number") == 2)
        seen = scenario("A failed file was corrected, and the next one takes long")
        seen.sees("003 runs", shop, "Running", event="none")
        assert "error" not in shop.track()
        assert not shop.track().get("dirty")
    shop.wait("Applied", version=3)
