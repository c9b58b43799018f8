"""Faults of real clusters: each shown for what it is, repaired, and Applied with no Job deleted by hand.

What a person saw is collected into build/reports, which the docs' table is made from.
"""

import re
from collections.abc import Callable

import pytest

from tests.e2e.conftest import Report
from tests.e2e.harness import Kube, MigrationSet, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]

GOOD = {"001_one.up.sql": b"CREATE TABLE public.one (id int);\n"}


def start(shop: MigrationSet, content: dict[str, bytes] | None = None, **spec: object) -> None:
    shop.write_config_map(GOOD if content is None else content, create=True)
    shop.apply(**spec)


def test_missing_secret(new_set: NewSet, report: Report) -> None:
    shop = new_set("no-secret")
    start(shop)
    report("missing Secret", shop, shop.wait_message("secret", shop.secret))
    shop.write_secret()
    shop.wait("Applied", version=1)


def test_missing_key_in_the_secret(new_set: NewSet, report: Report) -> None:
    shop = new_set("no-key")
    shop.kube.run("create", "secret", "generic", shop.secret, "--from-literal=other=x")
    start(shop)
    report("missing key in the Secret", shop, shop.wait_message("url", shop.secret))
    shop.write_secret()
    shop.wait("Applied", version=1)


def test_missing_config_map(new_set: NewSet, report: Report) -> None:
    shop = new_set("no-configmap")
    shop.write_secret()
    shop.apply()
    report("missing ConfigMap", shop, shop.wait_message("configmap", shop.config_map))
    shop.write_config_map(GOOD, create=True)
    shop.wait("Applied", version=1)


def test_missing_image(new_set: NewSet, report: Report, operator_image: Callable[[str | None], None]) -> None:
    shop = new_set("no-image")
    shop.write_secret()
    operator_image("fluxbase.local/no-such-image:1")
    start(shop)
    report("missing image", shop, shop.wait_message("back-off", "no-such-image"))
    operator_image(None)
    shop.wait("Applied", version=1)


def test_wrong_password(new_set: NewSet, report: Report) -> None:
    shop = new_set("wrong-password")
    shop.write_secret(re.sub(r":[0-9a-f]+@", ":wr0ng-passw0rd@", shop.database.inside))
    start(shop)
    message = shop.wait_message("password authentication failed")
    report("wrong password", shop, message)
    assert "wr0ng-passw0rd" not in message + str(shop.events())
    shop.write_secret()
    shop.wait("Applied", version=1)


def test_unreachable_host(new_set: NewSet, report: Report) -> None:
    shop = new_set("no-host")
    shop.write_secret("postgres://somebody:x@no-such-host.invalid/shop")
    start(shop)
    report("unreachable host", shop, shop.wait_message("no-such-host", timeout=180))
    shop.write_secret()
    shop.wait("Applied", version=1, timeout=240)


def test_empty_config_map(new_set: NewSet, report: Report) -> None:
    shop = new_set("empty")
    shop.write_secret()
    shop.kube.run("create", "configmap", shop.config_map)
    shop.apply()
    report("empty ConfigMap", shop, shop.wait_message("no migration files", shop.config_map))
    shop.write_config_map(GOOD)
    shop.wait("Applied", version=1)


def test_a_quota_that_refuses_the_pod(new_quota_set: NewSet, report: Report) -> None:
    shop = new_quota_set("quota")
    shop.write_secret()
    shop.kube.run("create", "quota", "none", "--hard=pods=0")
    start(shop)
    report("quota", shop, shop.wait_message("quota"))
    shop.kube.run("delete", "quota", "none")
    shop.wait("Applied", version=1, timeout=180)


@pytest.mark.parametrize(
    ("fault", "content", "words"),
    [
        ("file name with no version", {**GOOD, "create_two.up.sql": b"SELECT 1;"}, ["create_two.up.sql"]),
        (
            "two files of one version",
            {**GOOD, "1_again.up.sql": b"SELECT 1;"},
            ["1_again.up.sql", "001_one.up.sql"],
        ),
        (
            "file that is not UTF-8",
            {**GOOD, "002_latin.up.sql": b"SELECT 'caf\xe9';\n"},
            ["002_latin.up.sql", "utf-8"],
        ),
    ],
    ids=["no version", "same version twice", "not UTF-8"],
)
def test_bad_file(
    new_set: NewSet, report: Report, fault: str, content: dict[str, bytes], words: list[str]
) -> None:
    shop = new_set("bad-file")
    shop.write_secret()
    start(shop, content)
    report(fault, shop, shop.wait_message(*words))
    assert shop.database.row("user") == [], "a source that cannot be trusted leaves the database alone"
    shop.write_config_map(GOOD)
    shop.wait("Applied", version=1)


def test_an_unbound_claim_shows_what_the_scheduler_says(new_set: NewSet, report: Report) -> None:
    shop = new_set("no-claim")
    shop.write_secret()
    source = {"persistentVolumeClaim": {"claimName": "no-such-claim"}}
    shop.apply(tracks={"system": {}, "user": {"source": source}})
    report("missing PersistentVolumeClaim", shop, shop.wait_message("no-such-claim"))
    shop.write_config_map(GOOD, create=True)
    shop.apply(tracks={"system": {}, "user": {"source": {"configMap": {"name": shop.config_map}}}})
    shop.wait("Applied", version=1)


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
    shop.write_secret()
    start(shop)
    shop.wait("Applied", version=1)
    shop.delete()
    eventually("the set to be gone", lambda: "NotFound" in kube.run("get", "fbms", shop.name, check=False))
    shop.apply()
    shop.wait("Applied", version=1)
    assert shop.database.times_applied() == {"001_one.up.sql": 1}
