"""Faults of real clusters: each shown for what it is, repaired, and Applied with no Job deleted by hand."""

import re
from collections.abc import Callable

import pytest

from tests.e2e.harness import Kube, MigrationSet, eventually
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]

GOOD = {"001_one.up.sql": b"CREATE TABLE public.one (id int);\n"}


def test_missing_secret(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("no-secret")
    shop.write_config_map(GOOD, create=True)
    shop.set_user()
    seen = scenario("The Secret is missing")
    seen.sees("", shop, "CreateContainerConfigError")
    shop.write_secret()
    seen.sees("it is created", shop, "Applied")


def test_missing_key_in_the_secret(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("no-key")
    shop.kube.run("create", "secret", "generic", shop.secret, "--from-literal=other=x")
    shop.write_config_map(GOOD, create=True)
    shop.set_user()
    seen = scenario("The Secret lacks the key")
    seen.sees("", shop, "CreateContainerConfigError")
    shop.write_secret()
    seen.sees("the key is added", shop, "Applied")


def test_missing_config_map(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("no-configmap")
    shop.write_secret()
    shop.set_user()
    seen = scenario("The ConfigMap is missing")
    seen.sees("", shop, "SourceMissing")
    shop.write_config_map(GOOD, create=True)
    seen.sees("it is created", shop, "Applied")


def test_empty_config_map(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("empty")
    shop.write_secret()
    shop.kube.run("create", "configmap", shop.config_map)
    shop.set_user()
    seen = scenario("The ConfigMap is empty")
    seen.sees("", shop, "SourceEmpty")
    shop.write_config_map(GOOD)
    seen.sees("files are put in", shop, "Applied")


def test_missing_image(
    new_set: NewSet, scenario: NewScenario, operator_image: Callable[[str | None], None]
) -> None:
    shop = new_set("no-image")
    operator_image("fluxbase.local/no-such-image:1")
    shop.start(GOOD)
    seen = scenario("The image cannot be pulled")
    assert "no-such-image" in seen.sees("", shop, "ImagePullBackOff")
    operator_image(None)
    seen.sees("the operator's installation is corrected", shop, "Applied")


def test_wrong_password(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("wrong-password")
    shop.start(GOOD)
    shop.wait("Applied", version=1)
    shop.write_secret(re.sub(r":[0-9a-f]+@", ":wr0ng-passw0rd@", shop.database.inside))
    shop.annotate(requested_at="now")
    seen = scenario("The password is wrong")
    message = seen.sees("", shop, "AuthenticationFailed")
    assert "password authentication failed" in message
    assert "wr0ng-passw0rd" not in message + str(shop.events())
    shop.write_secret()
    seen.sees("the Secret is corrected", shop, "Applied")


def test_unreachable_host(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("no-host")
    shop.write_config_map(GOOD, create=True)
    shop.write_secret("postgres://somebody:x@no-such-host.invalid/shop")
    shop.set_user()
    seen = scenario("The host does not exist, or does not answer")
    assert "no-such-host" in seen.sees("", shop, "Unreachable", timeout=180)
    shop.write_secret()
    seen.sees("the Secret is corrected", shop, "Applied", timeout=240)


def test_a_quota_that_refuses_the_pod(new_set_elsewhere: NewSet, scenario: NewScenario) -> None:
    shop = new_set_elsewhere("quota")
    shop.kube.run("create", "quota", "none", "--hard=pods=0")
    shop.start(GOOD)
    seen = scenario("A quota refuses the pod")
    seen.sees("", shop, "FailedCreate")
    shop.kube.run("delete", "quota", "none")
    seen.sees("the quota is raised", shop, "Applied", timeout=180)


@pytest.mark.parametrize(
    ("fault", "content", "words"),
    [
        (
            "A .sql file has no version in its name",
            {**GOOD, "create_two.up.sql": b"SELECT 1;"},
            ["create_two.up.sql"],
        ),
        (
            "Two files have one version",
            {**GOOD, "1_again.up.sql": b"SELECT 1;"},
            ["1_again.up.sql", "001_one.up.sql"],
        ),
        (
            "A file is not UTF-8",
            {**GOOD, "002_latin.up.sql": b"SELECT 'caf\xe9';\n"},
            ["002_latin.up.sql", "UTF-8"],
        ),
    ],
    ids=["no version", "same version twice", "not UTF-8"],
)
def test_bad_file(
    new_set: NewSet, scenario: NewScenario, fault: str, content: dict[str, bytes], words: list[str]
) -> None:
    shop = new_set("bad-file")
    shop.start(content)
    seen = scenario(fault)
    message = seen.sees("", shop, "InvalidSource")
    assert all(word in message for word in words)
    assert shop.database.row("user") == [], "a source that cannot be trusted leaves the database alone"
    shop.write_config_map(GOOD)
    seen.sees("it is corrected", shop, "Applied")


def test_an_unbound_claim_shows_what_the_scheduler_says(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("no-claim")
    shop.write_secret()
    shop.write_config_map(GOOD, create=True)
    shop.set_user(source={"persistentVolumeClaim": {"claimName": "no-such-claim"}})
    seen = scenario("The PersistentVolumeClaim is missing, or unbound")
    assert "no-such-claim" in seen.sees("", shop, "Unschedulable")
    shop.set_user()
    seen.sees("another source is named", shop, "Applied")


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ({"tracks": {"system": {"enabled": False}}}, "user"),
        ({"database": {}}, "urlFrom"),
        (
            {
                "tracks": {
                    "user": {
                        "source": {"configMap": {"name": "a"}, "persistentVolumeClaim": {"claimName": "b"}}
                    }
                }
            },
            "exactly one",
        ),
        (
            {"tracks": {"user": {"source": {"configMap": {"name": "a"}}, "targetVersion": -1}}},
            "targetVersion",
        ),
        ({"lockTimeout": "soon"}, "lockTimeout"),
    ],
    ids=["nothing to do", "no database", "two sources", "negative target", "not a duration"],
)
def test_kubectl_apply_refuses_what_cannot_work(new_set: NewSet, spec: dict[str, object], words: str) -> None:
    with pytest.raises(AssertionError, match=words):
        new_set("refused").apply(**spec)


def test_a_set_deleted_and_created_again_is_applied_again(new_set: NewSet, kube: Kube) -> None:
    shop = new_set("again")
    shop.start(GOOD)
    shop.wait("Applied", version=1)
    shop.delete()
    eventually("the set to be gone", lambda: "NotFound" in kube.run("get", "fbms", shop.name, check=False))
    shop.set_user()
    shop.wait("Applied", version=1)
    assert shop.database.times_applied() == {"001_one.up.sql": 1}
