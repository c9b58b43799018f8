"""From the API server's lists and events to the store, and what is told of it."""

import asyncio
from collections import Counter
from typing import Any

import pytest

from fluxbase_migrations.api.status import SourceRead
from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapReader
from fluxbase_migrations.controller.watch.handlers import Lists
from fluxbase_migrations.controller.watch.namespace_watch import Watch
from fluxbase_migrations.controller.watch.reflector import Reflector
from fluxbase_migrations.controller.watch.store import Listed, ObjectKind, Store, Stored
from fluxbase_migrations.core.config_maps import RULES
from fluxbase_migrations.core.json_names import Json
from tests.support.api_transport import Request, answered_by

NAMESPACE = "fluxbase"
SETS = path_of(Resource.SETS, NAMESPACE)


def a_set(name: str, version: int, uid: str | None = None) -> Json:
    metadata = {"namespace": NAMESPACE, "name": name, "uid": uid or name, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {}}


def a_list(version: int, *items: Json, following: str = "") -> Json:
    return {"items": list(items), "metadata": {"resourceVersion": str(version), "continue": following}}


def test_a_list_in_several_answers_is_taken_whole_and_kopf_gets_none_of_it() -> None:
    taken: list[tuple[ObjectKind, Listed]] = []
    lists = Lists(lambda kind, listed: taken.append((kind, listed)))
    first = lists.take(SETS, {"limit": "1"}, a_list(9, a_set("a", 3), following="more"))
    assert (first["items"], first["metadata"]["continue"], taken) == ([], "more", [])
    lists.take(SETS, {"limit": "1", "continue": "more"}, a_list(9, a_set("b", 4)))
    ((kind, listed),) = taken
    assert (kind, listed.version, [one.key[1] for one in listed.items]) == (ObjectKind.SET, 9, ["a", "b"])


def test_a_list_that_begins_anew_counts_from_there() -> None:
    taken: list[Listed] = []
    lists = Lists(lambda kind, listed: taken.append(listed))
    lists.take(SETS, {"limit": "1"}, a_list(9, a_set("a", 3), following="more"))
    lists.take(SETS, {"limit": "1"}, a_list(12, a_set("b", 10)))
    assert [one.key[1] for one in taken[0].items] == ["b"]


@pytest.mark.parametrize(
    ("path", "query", "answer"),
    [
        (SETS, {"watch": "true"}, a_list(9, a_set("a", 3))),
        ("/api/v1/namespaces", {}, a_list(9, a_set("a", 3))),
        ("/apis/batch/v1", {}, {"resources": [{"name": "jobs"}]}),
    ],
)
def test_other_answers_are_left_as_they_are(path: str, query: dict[str, str], answer: Json) -> None:
    lists = Lists(lambda kind, listed: pytest.fail("nothing was listed"))
    assert lists.take(path, query, answer) is answer


class Watched:
    """A watch of one namespace, whose lists and events a test makes."""

    def __init__(self) -> None:
        self.store = Store()
        self.told: list[tuple[str, bool]] = []
        self.complete: list[str | None] = []
        self.watch = Watch(
            NAMESPACE,
            self.store,
            complete=self.complete.append,
            changed=lambda one, gone: self.told.append((one.key[1], gone)),
            failed=lambda: None,
        )

    def lists(self, version: int, *sets: Json) -> None:
        listed = Listed([Stored.of(ObjectKind.SET, body) for body in sets], version)
        self.watch._listed(ObjectKind.SET, listed)

    def lists_the_others(self) -> None:
        for kind in (ObjectKind.JOB, ObjectKind.POD):
            self.watch._listed(kind, Listed())

    def event(self, body: Json, *, gone: bool = False) -> None:
        self.watch._changed(Stored.of(ObjectKind.SET, body), gone)

    def names(self) -> set[str]:
        return {key[1] for key in self.store.sets()}


def test_nothing_is_told_until_every_kind_has_been_listed() -> None:
    watched = Watched()
    watched.lists(9, a_set("a", 3))
    watched.event(a_set("a", 10))
    assert (watched.complete, watched.told) == ([], [])
    watched.lists_the_others()
    assert (watched.complete, watched.told) == ([NAMESPACE], [])


def test_after_a_gap_what_has_changed_and_what_is_gone_is_told_and_nothing_else() -> None:
    watched = Watched()
    watched.lists(9, a_set("same", 1), a_set("edited", 2), a_set("deleted", 3))
    watched.lists_the_others()
    watched.lists(30, a_set("same", 1), a_set("edited", 20), a_set("new", 21))
    assert watched.told == [("edited", False), ("new", False), ("deleted", True)]
    assert watched.names() == {"same", "edited", "new"}


def test_events_from_before_a_list_bring_nothing_back() -> None:
    watched = Watched()
    watched.lists(9, a_set("a", 3))
    watched.lists_the_others()
    watched.lists(30)
    watched.event(a_set("a", 8))
    watched.event(a_set("never seen", 25))
    assert watched.names() == set()
    watched.event(a_set("later", 31))
    assert watched.names() == {"later"}


def test_what_was_written_after_a_list_was_made_stays() -> None:
    watched = Watched()
    watched.store.put(Stored.of(ObjectKind.SET, a_set("a", 12)))
    watched.lists(9)
    assert watched.names() == {"a"}


class ConfigMaps(Kube):
    """ConfigMaps that count how they are read."""

    def __init__(self) -> None:
        super().__init__(answered_by(self._answer))
        self.there: dict[str, int] = {}
        """The resourceVersion of each."""
        self.version = 100
        self.reads: Counter[str] = Counter()
        self.meanwhile: list[Any] = []
        """What happens between a read and its answer."""

    async def _answer(self, request: Request) -> Json:
        name = request.path.rpartition("/")[2]
        if name == "configmaps":
            self.reads["list"] += 1
            items = [self._body(name) for name in self.there] or None  # as the API server says it of metadata
            return {"items": items, "metadata": {"resourceVersion": str(self.version)}}
        self.reads["metadata" if request.only_metadata else "body"] += 1
        found = self._body(name) if name in self.there else None
        while self.meanwhile:
            self.meanwhile.pop()()
        if found is None:
            raise KubeError(404, "NotFound", f"{name} not found")
        return found

    def _body(self, name: str) -> Json:
        return a_set(name, self.there[name]) | {"data": {f"00{self.there[name]}_a.up.sql": "select 1"}}

    def edit(self, name: str) -> None:
        self.version += 1
        self.there[name] = self.version


class Reading:
    """Sources of a namespace whose ConfigMaps are watched, or not."""

    def __init__(self) -> None:
        self.kube = ConfigMaps()
        self.sources = ConfigMapReader(self.kube)
        self.changed: list[str] = []
        self.reflector = Reflector(
            self.kube, NAMESPACE, self.sources, changed=lambda key: self.changed.append(key[1])
        )

    def watches(self) -> None:
        asyncio.run(self.reflector._begin())

    def event(self, name: str, *, gone: bool = False) -> bool:
        at = self.kube.there.get(name, self.kube.version)
        return self.sources.note((NAMESPACE, name), at, None if gone else f"{name}/{at}")

    def read(self) -> Counter[str]:
        """What it costs to read the ConfigMap ``a``; the digest is that of what is there."""
        self.kube.reads.clear()
        seen = asyncio.run(self.sources.read(NAMESPACE, ("a",)))
        expected = (self.kube.there["a"],) if "a" in self.kube.there else ()
        assert (seen.versions, bool(seen.missing)) == (expected, not expected)
        return Counter(self.kube.reads)


def test_a_config_map_that_is_watched_is_read_once_for_each_change() -> None:
    reading = Reading()
    reading.watches()
    assert reading.read() == {"body": 1}  # there is none
    assert reading.read() == {}
    reading.kube.edit("a")
    assert reading.event("a")
    assert reading.read() == {"body": 1}
    assert not reading.event("a")
    assert reading.read() == {}
    del reading.kube.there["a"]
    reading.kube.version += 1
    assert reading.event("a", gone=True)
    assert reading.read() == {}


def test_one_that_is_not_watched_is_asked_for_each_time() -> None:
    reading = Reading()
    reading.kube.edit("a")
    assert reading.read() == {"body": 1}
    assert reading.read() == {"metadata": 1}
    reading.kube.edit("a")
    assert reading.read() == {"metadata": 1, "body": 1}


def test_after_a_gap_only_what_has_changed_is_told_and_read() -> None:
    reading = Reading()
    reading.watches()
    reading.kube.edit("a")
    reading.event("a")
    reading.read()
    reading.sources.lost(NAMESPACE)
    reading.watches()
    assert (reading.changed, reading.read()) == ([], {})
    reading.sources.lost(NAMESPACE)
    reading.kube.edit("a")
    reading.watches()
    assert (reading.changed, reading.read()) == (["a"], {"body": 1})


def test_an_answer_that_was_overtaken_by_an_event_does_not_count() -> None:
    reading = Reading()
    reading.watches()
    reading.kube.edit("a")

    def edited() -> None:
        reading.kube.edit("a")
        assert reading.event("a")

    reading.kube.meanwhile.append(edited)
    asyncio.run(reading.sources.read(NAMESPACE, ("a",)))
    assert reading.read() == {"body": 1}


def test_one_that_was_asked_for_while_the_list_was_made_is_asked_for_again() -> None:
    reading = Reading()
    reading.kube.edit("a")
    before = reading.sources.referenced()
    reading.read()
    assert reading.sources.listed(NAMESPACE, before, {}, reading.kube.version) == [(NAMESPACE, "a")]
    assert reading.read() == {"metadata": 1}
    assert reading.read() == {}


def test_one_that_is_expected_is_known_from_the_list_whether_it_is_there_or_not() -> None:
    reading = Reading()
    reading.sources.expect([(NAMESPACE, "a")])
    reading.watches()
    assert reading.read() == {}
    other = Reading()
    other.kube.edit("a")
    other.sources.expect([(NAMESPACE, "a")])
    other.watches()
    recorded = SourceRead((f"a/{other.kube.version}",), "sha256:x", RULES)
    seen = asyncio.run(other.sources.read(NAMESPACE, ("a",), recorded=recorded))
    assert (seen.digest, seen.versions) == ("sha256:x", None)
    assert other.kube.reads == {"list": 1}


def test_what_was_read_is_known_of_every_set_however_many_there_are_and_of_no_other() -> None:
    """More than an operator should have are as well off as few: a look at one at rest reads nothing."""
    kube = ConfigMaps()
    names = [f"config-{number}" for number in range(10_050)]
    for name in names:
        kube.edit(name)
    sources = ConfigMapReader(kube)
    sources.expect((NAMESPACE, name) for name in names)
    asyncio.run(Reflector(kube, NAMESPACE, sources, changed=lambda key: None)._begin())

    async def look() -> Counter[str]:
        kube.reads.clear()
        for name in names:
            await sources.read(NAMESPACE, (name,))
        return Counter(kube.reads)

    assert asyncio.run(look()) == {"body": len(names)}
    assert asyncio.run(look()) == {}
    sources.forget((NAMESPACE, name) for name in names)
    assert not sources._observed
