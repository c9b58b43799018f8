"""What the API server's refusals of a Job make of its track."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fluxbase_migrations.controller.app import Operator
from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.failing_sets import PATIENCE
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, KIND
from tests.unit.api_in_memory import ApiInMemory

KEY = ("fluxbase", "shop")
BEGIN = datetime(2026, 1, 31, 12, tzinfo=UTC)
SECRET = {"secretKeyRef": {"name": "db", "key": "url"}}


class Refusing(ApiInMemory):
    """Takes no Job."""

    def __init__(self, error: KubeError) -> None:
        super().__init__(lambda: BEGIN, lambda body: None)
        self.error: KubeError | None = error
        self.tries = 0

    def _post(self, collection: str, body: Json) -> Json:
        if collection.endswith("/jobs"):
            self.tries += 1
            if self.error:
                raise self.error
        return super()._post(collection, body)


class World:
    """A set whose Jobs are refused, and an operator whose clock is the test's."""

    def __init__(self, error: KubeError) -> None:
        self.now = BEGIN
        self.api = Refusing(error)
        operator = Operator(Settings(image="image", namespaces=("fluxbase",)), self.api)
        self.reconciler = operator._reconciler
        self.store = operator._store
        self.reconciler._clock = self.reconciler._actions._clock = lambda: self.now
        database = {"urlFrom": SECRET}
        self.api.put(
            path_of(Resource.SETS, *KEY),
            {
                "apiVersion": API_VERSION,
                "kind": KIND,
                "metadata": {"name": "shop", "namespace": "fluxbase"},
                "spec": {"database": database},
                "status": {"observedGeneration": -1},
            },
        )

    def look(self, times: int = 1) -> dict[str, Any]:
        for _ in range(times):
            self.api.show(self.store)
            asyncio.run(self.reconciler.reconcile(KEY))
        track: dict[str, Any] = self.api.objects[path_of(Resource.SETS, *KEY)]["status"]["tracks"]["system"]
        return track


@pytest.mark.parametrize(
    ("error", "phase"),
    [
        (KubeError(400, "BadRequest", "cannot unmarshal string into Go struct field"), "Failed"),
        (KubeError(422, "Invalid", "spec.template: Invalid value"), "Failed"),
        (KubeError(403, "Forbidden", "exceeded quota"), "Pending"),
        (KubeError(409, "Conflict", 'admission webhook "policy" denied the request'), "Pending"),
        (KubeError(500, "InternalError", "failed calling webhook"), "Pending"),
    ],
    ids=lambda value: f"{value.status} {value.reason}" if isinstance(value, KubeError) else value,
)
def test_a_refusal_is_shown_and_backed_off(error: KubeError, phase: str) -> None:
    world = World(error)
    track = world.look(times=5)
    assert (track["phase"], track["reason"]) == (phase, "JobRefused")
    assert error.message in track["message"]
    assert world.api.tries == 1
    world.now += timedelta(seconds=6)
    world.look(times=5)
    assert world.api.tries == (1 if phase == "Failed" else 2)
    world.now += timedelta(seconds=6)
    world.look(times=5)
    assert world.api.tries == (1 if phase == "Failed" else 2), "the pause doubles"
    world.api.error = None
    world.now += timedelta(seconds=60)
    assert phase == "Failed" or world.look()["reason"] == "Starting"


def test_a_name_that_another_ones_job_has_is_told() -> None:
    """Whoever made it: it is not this set's, so it will not end for it."""
    world = World(KubeError(409, "AlreadyExists", 'jobs.batch "x" already exists'))
    world.look()
    planned = world.api.objects[path_of(Resource.SETS, *KEY)]["status"]["tracks"]["system"]["job"]["name"]
    world.api.put(
        path_of(Resource.JOBS, "fluxbase", planned), {"metadata": {"name": planned, "namespace": "fluxbase"}}
    )
    track = world.look(times=3)
    assert (track["phase"], track["reason"]) == ("Pending", "JobRefused")
    assert "already exists" in track["message"]


def test_a_set_whose_job_cannot_be_created_keeps_no_slot_from_others() -> None:
    """Neither where the API server does not answer, nor where its answer is one that nobody foresaw."""
    world = World(KubeError(404, "NotFound", "the server could not find the requested resource"))
    for failures in range(3):
        with pytest.raises(KubeError) as raised:
            world.look()
        asyncio.run(world.reconciler.failed(KEY, raised.value, failures))
        assert world.reconciler._slots.held == 0
    world.api.error = None
    world.look()
    asyncio.run(world.reconciler.failed(KEY, raised.value, 1))
    assert world.reconciler._slots.held == 1, "a Job that was created keeps its slot"


@pytest.mark.parametrize(
    ("error", "failures", "held"),
    [
        (KubeError(403, "Forbidden", "no right any more"), 1, 1),
        (KubeError(403, "Forbidden", "no right any more"), PATIENCE, 0),
        (ValueError("unreadable"), PATIENCE, 0),
        (KubeError(0, "Unreachable", "away"), 9, 1),
        (KubeError(503, "Unavailable", "busy"), 9, 1),
    ],
    ids=["once", "rights lost", "unreadable", "API server away", "API server busy"],
)
def test_a_job_whose_end_nobody_can_see_keeps_no_slot_for_good(
    error: Exception, failures: int, held: int
) -> None:
    world = World(KubeError(403, "Forbidden", "not used"))
    world.api.error = None
    world.look()
    asyncio.run(world.reconciler.failed(KEY, error, failures))
    assert world.reconciler._slots.held == held
    world.look()
    assert world.reconciler._slots.held == 1, "what can be looked at counts again"
