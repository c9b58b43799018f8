"""ConfigMaps as sources, in every way that Kubernetes has them."""

import base64
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import yaml

from tests.e2e.harness import Kube, MigrationSet
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewConfigMap = Callable[..., str]
NewScenario = Callable[[str], Scenario]

ONE, TWO, THREE = (f"CREATE TABLE public.t{number} (id int);\n" for number in (1, 2, 3))


@pytest.fixture
def config_map(kube: Kube) -> Iterator[NewConfigMap]:
    """Create a ConfigMap of a set; removed after the test."""
    made: list[str] = []

    def create(shop: MigrationSet, name: str, files: dict[str, str], **fields: Any) -> str:
        full = f"{shop.name}-{name}"
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": full},
            "data": files,
            **fields,
        }
        # Not `apply`, which keeps the whole object a second time in an annotation of at most 256 KiB.
        kube.run("create", "-f", "-", stdin=yaml.safe_dump(document))
        made.append(full)
        return full

    yield create
    kube.run("delete", "configmap", *made, "--ignore-not-found")


def reads(shop: MigrationSet, *names: str) -> None:
    """Apply the set with the user track alone, from these ConfigMaps."""
    if len(names) == 1:
        source: dict[str, Any] = {"configMap": {"name": names[0]}}
    else:
        source = {"configMaps": [{"name": name} for name in names]}
    shop.apply(tracks={"system": {"enabled": False}, "user": {"source": source}})


def test_several_are_one_source_beyond_one_mebibyte(
    new_set: NewSet, config_map: NewConfigMap, scenario: NewScenario
) -> None:
    """Two of 800 KiB, of which one is immutable, and a small one with its file in binaryData."""
    shop = new_set("merged")
    shop.write_secret()
    filler = "-- a line of a comment, as seed data would be\n" * (800 * 1024 // 46)
    binary = {"003_three.up.sql": base64.b64encode(THREE.encode()).decode()}
    names = (
        config_map(shop, "a", {"001_one.up.sql": filler + ONE}, immutable=True),
        config_map(shop, "b", {"002_two.up.sql": TWO + filler}),
        config_map(shop, "c", {}, binaryData=binary),
    )
    reads(shop, *names)
    seen = scenario("Several ConfigMaps, together over 1 MiB, one with binaryData")
    seen.sees("", shop, "Applied")
    shop.wait("Applied", version=3)
    assert set(shop.database.times_applied().values()) == {1}
    assert shop.database.query("SELECT count(*) FROM t1, t2, t3") == [(0,)]


def test_one_file_name_in_two_of_them_is_refused_with_both_names(
    new_set: NewSet, config_map: NewConfigMap, scenario: NewScenario
) -> None:
    shop = new_set("twice")
    shop.write_secret()
    first = config_map(shop, "a", {"001_one.up.sql": ONE})
    second = config_map(shop, "b", {"001_one.up.sql": ONE})
    reads(shop, first, second)
    seen = scenario("A file's name is in two ConfigMaps")
    seen.sees("", shop, "InvalidSource", log=False)
    assert shop.jobs() == []
    shop.kube.run("delete", "configmap", second)
    config_map(shop, "b", {"002_two.up.sql": TWO})
    seen.sees("the second one is made again, with another file", shop, "Applied")
    shop.wait("Applied", version=2)


def test_an_immutable_one_is_renewed_by_deleting_it(
    new_set: NewSet, config_map: NewConfigMap, scenario: NewScenario
) -> None:
    """Deleting it alone starts nothing; made again with the same files, nothing; with more, those."""
    shop = new_set("immutable")
    shop.write_secret()
    name = config_map(shop, "a", {"001_one.up.sql": ONE}, immutable=True)
    reads(shop, name)
    shop.wait("Applied", version=1)
    shop.kube.run("delete", "configmap", name)
    seen = scenario("An immutable ConfigMap is deleted after it was applied")
    seen.sees("", shop, "SourceMissing")
    config_map(shop, "a", {"001_one.up.sql": ONE}, immutable=True)
    seen.sees("it is made again as it was", shop, "Applied", event="Applied")
    assert len(shop.jobs()) == 1
    shop.kube.run("delete", "configmap", name)
    config_map(shop, "a", {"001_one.up.sql": ONE, "002_two.up.sql": TWO}, immutable=True)
    shop.wait("Applied", version=2)
    seen.sees("it is made again with one file more", shop, "Applied", event="Applied")
    assert shop.database.times_applied() == {"001_one.up.sql": 1, "002_two.up.sql": 1}
