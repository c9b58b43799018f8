"""Which failures a set's status tells of, and in which words."""

import asyncio
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from fluxbase_migrations.api.spec import Database, Spec
from fluxbase_migrations.controller.app import Operator
from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.failing_sets import PATIENCE, condition_message
from fluxbase_migrations.core.names import API_VERSION, KIND, Track
from tests.support import kstatus
from tests.unit.api_in_memory import ApiInMemory

KEY = ("fluxbase", "shop")
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECRET = {"secretKeyRef": {"name": "db", "key": "url"}}


def refused(status: int) -> KubeError:
    return KubeError(status, "Reason", "told by the API server")


def unreadable() -> ValidationError:
    with pytest.raises(ValidationError) as raised:
        Spec.model_validate({"database": {"urlFrom": SECRET}, "retry": {"limit": "many"}})
    return raised.value


@pytest.mark.parametrize(
    ("error", "failures", "text"),
    [
        (refused(0), 1, None),
        (refused(0), PATIENCE - 1, None),
        (refused(0), PATIENCE, "told by the API server"),
        (refused(503), 1, None),
        (refused(503), PATIENCE, "503"),
        (refused(409), 1, None),
        (refused(429), 1, None),
        (refused(403), 1, "403"),
        (refused(422), 1, "422"),
        (TimeoutError(), 1, "took too long"),
        (unreadable(), 1, "cannot be read: spec.retry.limit: "),
        (AttributeError("a\nb\x1b"), 1, "please report it: AttributeError: a\\nb\\x1b"),
    ],
    ids=str,
)
def test_what_is_told_of_a_failure(error: Exception, failures: int, text: str | None) -> None:
    told = condition_message(error, failures)
    assert told is None if text is None else text in str(told)


class World:
    """An operator, an API server in memory, and one set."""

    def __init__(self, status: dict[str, Any]) -> None:
        self.writes: list[dict[str, Any]] = []
        self.api = ApiInMemory(lambda: NOW, self.writes.append)
        self.operator = Operator(Settings(image="image", namespaces=("fluxbase",)), self.api)
        spec = {
            "database": {"urlFrom": SECRET},
            "tracks": {"system": {}, "user": {}},
            "retry": {"limit": "many"},
        }
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": "shop", "namespace": "fluxbase"},
            "spec": spec,
            "status": status,
        }
        self.api.put(path_of(Resource.SETS, *KEY), body)

    def look(self) -> None:
        async def one() -> None:
            self.api.show(self.operator._store)
            try:
                await self.operator._reconciler.reconcile(KEY)
            except Exception as error:
                await self.operator._failed(KEY, error)

        asyncio.run(one())

    def metric(self, name: str, **labels: str) -> float | None:
        """Of the user track."""
        labels = {"namespace": KEY[0], "name": KEY[1], "track": "user", **labels}
        return self.operator._metrics._registry.get_sample_value(f"fluxbase_migrations_{name}", labels)

    def events(self) -> list[dict[str, Any]]:
        return self.api.select(path_of(Resource.EVENTS, "fluxbase"), {})


def test_a_stored_set_that_our_models_refuse_says_so_once() -> None:
    world = World({"observedGeneration": -1})
    for _ in range(3):
        world.look()
    (written,) = world.writes
    kstatus.check(written)
    assert kstatus.compute(written) == "InProgress"
    assert "spec.retry.limit" in written["status"]["conditions"][0]["message"]
    (event,) = world.events()
    assert (event["reason"], event["type"], event["count"]) == ("ReconcileError", "Warning", 1)


def test_what_was_read_stays_and_the_time_of_the_transition_is_kept() -> None:
    ready = {
        "type": "Ready",
        "status": "False",
        "reason": "Pending",
        "message": "m",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": 1,
    }
    track = {"phase": "Applied", "reason": "Applied", "version": 4}
    world = World(
        {"observedGeneration": 1, "phase": "Applied", "tracks": {"user": track}, "conditions": [ready]}
    )
    world.look()
    (written,) = world.writes
    assert written["status"]["tracks"] == {"user": track}
    found = {one["type"]: one["lastTransitionTime"] for one in written["status"]["conditions"]}
    assert found["Ready"] == "2026-01-01T00:00:00Z"


def read_status(digest: str) -> dict[str, Any]:
    """Of a set whose user track was read; its system track is left out."""
    database = {"name": "shop", "systemIdentifier": "7001", "oid": 16384}
    command = {"value": "user=4@a", "state": "Waiting", "database": database}
    user = {"phase": "Applied", "reason": "Applied", "version": 4, "database": database, "run": 3}
    return {
        "observedGeneration": 1,
        "phase": "Applied",
        "dirty": False,
        "pending": 0,
        "database": database,
        "databaseDigest": digest,
        "tracks": {"system": {"phase": "Skipped", "reason": "Disabled"}, "user": user},
        "commands": {"force": command},
    }


def test_what_was_read_in_the_former_database_goes_although_the_set_cannot_be_looked_at() -> None:
    world = World(read_status("of another spec.database"))
    world.look()
    (written,) = world.writes
    kstatus.check(written)
    status = written["status"]
    assert status.keys().isdisjoint({"database", "dirty", "pending"})
    assert status["phase"] == "Pending"
    user = status["tracks"]["user"]
    assert user.keys() == {"phase", "dirty", "run", "attempts", "waits"}
    assert (user["phase"], user["run"]) == ("Pending", 3)
    assert status["tracks"]["system"]["phase"] == "Skipped"
    assert status["commands"]["force"]["state"] == "Refused"
    assert {one["reason"] for one in world.events()} == {
        "ReconcileError",
        "DatabaseChanged",
        "CommandRefused",
    }
    world.look()
    assert len(world.writes) == 1


def test_what_was_read_in_the_database_of_the_spec_stays() -> None:
    before = read_status(Database.model_validate({"urlFrom": SECRET}).digest())
    world = World(before)
    world.look()
    (written,) = world.writes
    assert {name: written["status"][name] for name in before if name != "observedGeneration"} == {
        name: before[name] for name in before if name != "observedGeneration"
    }


def test_what_was_corrected_while_the_failure_was_told_is_looked_at_at_once() -> None:
    """The watch shows it when the store has a later state already, and no news in it."""
    world = World({"observedGeneration": -1})
    world.look()
    body = world.api.objects[path_of(Resource.SETS, *KEY)]
    world.api.put(path_of(Resource.SETS, *KEY), {**body, "spec": {**body["spec"], "retry": {"limit": 1}}})
    error = unreadable()
    asyncio.run(world.operator._failed(KEY, error))
    assert len(world.operator._queue) == 1, "it is due"
    stored = world.operator._store.set(KEY)
    assert stored is not None
    assert stored["spec"]["retry"] == {"limit": 1}


def test_a_set_that_fails_stands_in_nobodys_way() -> None:
    world = World({"observedGeneration": -1})
    slots = world.operator._reconciler._slots
    slots.wait((KEY, Track.SYSTEM))
    world.look()
    assert not slots.waits((KEY, Track.SYSTEM))


def test_the_metrics_of_a_set_that_cannot_be_looked_at_are_what_its_status_says() -> None:
    read = read_status(Database.model_validate({"urlFrom": SECRET}).digest())
    world = World(read)
    for _ in range(2):  # what is written, and what stands there already
        world.look()
        assert (world.metric("version"), world.metric("phase", phase="Applied")) == (4.0, 1.0)
    world = World(read_status("of another spec.database"))
    world.look()
    for name in ("version", "dirty", "pending"):
        value = world.metric(name)
        assert value is not None
        assert math.isnan(value), name
    assert (world.metric("phase", phase="Applied"), world.metric("phase", phase="Pending")) == (0.0, 1.0)
