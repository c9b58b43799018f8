"""A store that lags behind the API server: nothing runs twice for it, and nothing that runs is deleted."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from fluxbase_migrations.api.status import Progress
from fluxbase_migrations.controller.app import Operator
from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.failing_sets import PATIENCE
from fluxbase_migrations.controller.watch.store import Listed, ObjectKind, Store, Stored
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, CONTAINER, KIND, LABEL_NAME, Track
from fluxbase_migrations.core.result import Outcome, Result
from tests.unit.api_in_memory import ApiInMemory, OperatorDied

NAMESPACE = "fluxbase"
KEY = (NAMESPACE, "shop")
SET = path_of(Resource.SETS, *KEY)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
APPLIED = Result(Outcome.APPLIED, version=6, observed=True, latest=6, pending=0)


class World:
    """A set whose first Job was created, and an operator that is shown what a test says."""

    def __init__(self) -> None:
        self.api = ApiInMemory(lambda: NOW, lambda body: None)
        self.restart()
        database = {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": "shop", "namespace": NAMESPACE},
            "spec": {"database": database},
            "status": {"observedGeneration": -1},
        }
        self.api.put(SET, body)
        self.look(*ObjectKind)
        (self.job,) = self.jobs()

    def restart(self) -> None:
        """A new process, with an empty store."""
        self.operator = Operator(Settings(image="image", namespaces=(NAMESPACE,), progress=False), self.api)
        self.store: Store = self.operator._store
        self.reconciler = self.operator._reconciler
        self.reconciler._clock = self.reconciler._actions._clock = lambda: NOW

    def look(self, *shown: ObjectKind) -> None:
        """Only the watches of these kinds have caught up."""
        self.api.show(self.store, shown)
        asyncio.run(self.reconciler.reconcile(KEY))

    def work(self) -> None:
        """What a worker does with the set."""

        async def one() -> None:
            try:
                await self.operator._reconcile(KEY)
            except KubeError as error:
                await self.operator._failed(KEY, error)

        asyncio.run(one())

    def jobs(self) -> list[Json]:
        return self.api.select(path_of(Resource.JOBS, NAMESPACE), {})

    @property
    def track(self) -> dict[str, Any]:
        found: dict[str, Any] = self.api.objects[SET]["status"]["tracks"]["system"]
        return found

    def pod(self, phase: str, state: Json) -> None:
        """The Job's pod is there, or has changed."""
        path = f"{path_of(Resource.PODS, NAMESPACE)}/{self.job['metadata']['name']}-pod"
        metadata = {**self.job["spec"]["template"]["metadata"], "name": path.rpartition("/")[2]}
        status = {"phase": phase, "containerStatuses": [{"name": CONTAINER, "state": state}]}
        self.api.put(path, {"metadata": metadata, "status": status})

    def waits(self) -> None:
        self.pod("Pending", {"waiting": {"reason": "ContainerCreating"}})

    def runs(self) -> None:
        self.pod("Running", {"running": {"startedAt": NOW.isoformat()}})

    def ends(self) -> None:
        """The pod has its result, and the Job controller has noted that."""
        terminated = {"exitCode": 0, "finishedAt": NOW.isoformat(), "message": APPLIED.to_json()}
        self.pod("Succeeded", {"terminated": terminated})
        path = path_of(Resource.JOBS, NAMESPACE, self.job["metadata"]["name"])
        self.api.objects[path]["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
        self.api.touch(path)


def no_pod_seen(world: World) -> None:
    world.ends()


def pod_seen_waiting(world: World) -> None:
    world.waits()
    world.look(*ObjectKind)
    world.ends()


def job_was_not_seen(world: World) -> None:
    world.ends()
    world.restart()
    world.api.show(world.store, [ObjectKind.SET])


@pytest.mark.parametrize(
    ("history", "shown"),
    [
        pytest.param(
            no_pod_seen, [ObjectKind.SET, ObjectKind.JOB], id="the Job has ended, of the pod nothing is known"
        ),
        pytest.param(
            pod_seen_waiting, [ObjectKind.SET, ObjectKind.JOB], id="the Job has ended, the pod seems to wait"
        ),
        pytest.param(job_was_not_seen, [ObjectKind.SET], id="neither Job nor pod is known"),
    ],
)
def test_what_a_run_has_done_is_asked_for_before_it_counts_as_lost(
    history: Callable[[World], None], shown: list[ObjectKind]
) -> None:
    world = World()
    history(world)
    world.look(*shown)
    assert (world.track["phase"], world.track["run"], world.track["version"]) == ("Applied", 1, 6)
    assert len(world.jobs()) == 1


def test_a_job_whose_container_has_started_unseen_is_not_deleted() -> None:
    world = World()
    world.waits()
    world.look(*ObjectKind)
    world.runs()
    set_body = world.api.objects[SET]
    world.api.put(SET, {**set_body, "spec": {**set_body["spec"], "suspend": True}})
    world.look(ObjectKind.SET)
    world.look(ObjectKind.SET)
    (job,) = world.jobs()
    assert "deletionTimestamp" not in job["metadata"]
    assert world.track["phase"] == "Running"


def test_a_job_whose_container_starts_while_its_deletion_is_decided_is_not_deleted() -> None:
    world = World()
    world.waits()
    world.look(*ObjectKind)

    def it_starts(_: Json) -> None:
        world.runs()
        world.api.show(world.store, [ObjectKind.POD])

    world.api._on_status = it_starts
    set_body = world.api.objects[SET]
    world.api.put(SET, {**set_body, "spec": {**set_body["spec"], "suspend": True}})
    world.look(*ObjectKind)
    (job,) = world.jobs()
    assert "deletionTimestamp" not in job["metadata"]


def test_what_was_written_counts_before_a_watch_shows_it() -> None:
    """Looked at again and again without a word from the watches: one plan, one Job, no request in between."""
    world = World()
    version = world.api._version
    for _ in range(3):
        world.look()
    assert world.api._version == version


def test_a_job_that_was_planned_before_is_not_created_when_the_set_was_suspended_meanwhile() -> None:
    """No status is written when its creation is tried again: that would tell that the set has changed."""
    world = World()
    world.api.remove(path_of(Resource.JOBS, NAMESPACE, world.job["metadata"]["name"]))
    world.restart()
    world.api.objects[SET]["status"] = {"observedGeneration": -1}
    world.api.writes_left = 1
    with pytest.raises(OperatorDied):
        world.look(*ObjectKind)
    world.api.writes_left = None
    world.restart()
    world.api.show(world.store)
    set_body = world.api.objects[SET]
    world.api.put(SET, {**set_body, "spec": {**set_body["spec"], "suspend": True}})
    world.look()
    assert world.jobs() == []
    world.look()
    assert (world.jobs(), world.track["reason"]) == ([], "Suspended")


def test_a_status_that_was_decided_on_an_old_state_is_not_written_and_decided_anew() -> None:
    world = World()
    world.ends()
    set_body = world.api.objects[SET]
    world.api.put(SET, {**set_body, "spec": {**set_body["spec"], "suspend": True}})
    world.look(ObjectKind.JOB, ObjectKind.POD)  # refused: it has another resourceVersion
    assert world.track["phase"] == "Pending"
    world.look(ObjectKind.JOB, ObjectKind.POD)
    assert world.track["phase"] == "Applied"
    assert world.api.objects[SET]["status"]["observedGeneration"] == 2


def test_a_set_that_is_gone_is_left_alone_although_the_store_still_has_it() -> None:
    world = World()
    world.ends()
    world.api.remove(SET)
    world.look(ObjectKind.JOB, ObjectKind.POD)
    assert world.store.set(KEY) is None
    world.look()
    assert len(world.jobs()) == 1


def test_a_deleted_set_keeps_the_slot_until_its_container_has_ended() -> None:
    """Its Job and its pod are collected later, and run on until then."""
    world = World()
    slots = world.reconciler._slots
    world.waits()
    world.look(*ObjectKind)
    world.api.remove(SET)
    world.look(*ObjectKind)
    assert slots.held == 1
    world.runs()
    world.look(*ObjectKind)
    assert slots.held == 1
    world.ends()
    world.look(*ObjectKind)
    assert slots.held == 0


@pytest.mark.parametrize("status", [409, 404])
def test_a_status_that_a_webhook_refuses_is_not_tried_again_at_once(
    monkeypatch: pytest.MonkeyPatch, status: int
) -> None:
    """That the object has not changed tells it from a conflict."""
    world, again = World(), list[float]()
    monkeypatch.setattr(world.reconciler, "_requeue", lambda key, delay: again.append(delay))

    def refuse(path: str, body: Json) -> Json:
        raise KubeError(status, "Conflict", "admission webhook denied the request")

    monkeypatch.setattr(world.api, "_put", refuse)
    world.ends()
    with pytest.raises(KubeError, match="admission webhook"):
        world.look(*ObjectKind)
    assert again == []


def test_a_job_whose_deletion_a_webhook_refuses_is_still_there_and_no_other_is_made(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = World()
    world.waits()

    def refuse(path: str, body: Json) -> Json:
        raise KubeError(409, "Conflict", "admission webhook denied the request")

    monkeypatch.setattr(world.api, "_delete", refuse)
    set_body = world.api.objects[SET]
    tracks = {"system": {"targetVersion": 3, "rollback": "Allow"}}
    world.api.put(SET, {**set_body, "spec": {**set_body["spec"], "tracks": tracks}})
    for shown in (tuple(ObjectKind), (), ()):
        with pytest.raises(KubeError, match="admission webhook"):
            world.look(*shown)
    assert world.jobs() == [world.job]


def test_what_may_not_be_watched_any_more_says_so_and_keeps_no_slot_until_it_may() -> None:
    """The end of its Job would never be seen; nobody else is to wait for that."""
    world = World()
    (watch,), slots = world.operator._watches, world.reconciler._slots
    world.runs()
    world.look(*ObjectKind)
    watch.is_complete, watch.refusal = True, "pods is forbidden"
    assert len(world.operator._queue) == 0
    world.operator._check_watches()
    assert len(world.operator._queue) == 1
    for _ in range(PATIENCE):
        world.work()
    (ready, _) = world.api.objects[SET]["status"]["conditions"]
    assert (ready["status"], "pods is forbidden" in ready["message"]) == ("False", True)
    assert (slots.held, "pods is forbidden" in str(world.operator.readiness_error())) == (0, True)
    for kind in ObjectKind:
        watch._listed(kind, Listed(world.store.all(kind), world.api._version))
    assert slots.held == 1
    world.work()
    assert world.track["phase"] == "Running"
    (ready, _) = world.api.objects[SET]["status"]["conditions"]
    assert "pods is forbidden" not in ready["message"]


def stored(uid: str, version: int, kind: ObjectKind = ObjectKind.SET) -> Stored:
    metadata = {"namespace": NAMESPACE, "name": "shop", "uid": uid, "resourceVersion": str(version)}
    return Stored.of(kind, {"metadata": metadata})


def test_an_object_never_goes_back_and_never_comes_back() -> None:
    store = Store()
    assert store.put(stored("a", 7))
    assert not store.put(stored("a", 7))
    assert not store.put(stored("a", 5))
    store.remove(ObjectKind.SET, "a")
    assert not store.put(stored("a", 9))
    assert store.set(KEY) is None


def test_a_job_that_lost_its_label_is_back_when_it_has_it_again() -> None:
    """To a watch with a selector it was deleted, and it may learn of that only after a list has it again."""
    store, group = Store(), (NAMESPACE, "")
    store.put(stored("a", 5, ObjectKind.JOB))
    store.remove(ObjectKind.JOB, "a", 7)
    assert not store.put(stored("a", 6, ObjectKind.JOB))
    assert store.owned_by(ObjectKind.JOB, group) == []
    assert store.put(stored("a", 9, ObjectKind.JOB))
    store.remove(ObjectKind.JOB, "a", 7)
    assert len(store.owned_by(ObjectKind.JOB, group)) == 1
    store.replace(ObjectKind.JOB, None, Listed([], 12))
    assert store.owned_by(ObjectKind.JOB, group) == []
    store.replace(ObjectKind.JOB, None, Listed([stored("a", 13, ObjectKind.JOB)], 14))
    assert len(store.owned_by(ObjectKind.JOB, group)) == 1


def test_a_job_that_lost_its_label_before_a_write_of_ours_is_not_kept() -> None:
    """The answer to a patch may be newer than the watch's word that it is gone; no other event follows."""
    world = World()
    world.ends()
    path = path_of(Resource.JOBS, NAMESPACE, world.job["metadata"]["name"])
    labels = world.api.objects[path]["metadata"]["labels"]
    world.api.objects[path]["metadata"]["labels"] = {k: v for k, v in labels.items() if k != LABEL_NAME}
    world.api.touch(path)
    world.store.remove(ObjectKind.JOB, world.job["metadata"]["uid"], world.api._version)
    world.api.touch(path)
    world.store.keep(ObjectKind.JOB, world.api.objects[path])
    assert world.store.all(ObjectKind.JOB) == []
    world.api.objects[path]["metadata"]["labels"] = labels
    world.api.touch(path)
    world.store.keep(ObjectKind.JOB, world.api.objects[path])
    assert len(world.store.all(ObjectKind.JOB)) == 1


def test_what_the_log_of_a_former_set_said_is_not_shown_of_the_one_that_has_its_name_now() -> None:
    """Both are at their first run, and no watch has shown a time when there was no such set."""
    world = World()
    world.runs()
    world.operator._follower._latest[KEY][Track.SYSTEM] = 1, Progress("004_old.up.sql", 4, 5, NOW)
    world.look(*ObjectKind)
    assert world.track["progress"]["file"] == "004_old.up.sql"
    metadata = {"name": "shop", "namespace": NAMESPACE}
    body = {**world.api.objects[SET], "metadata": metadata, "status": {"observedGeneration": -1}}
    for path in list(world.api.objects):
        if path == SET or "/jobs/" in path or "/pods/" in path:
            world.api.remove(path)
    world.api.put(SET, body)
    world.look(*ObjectKind)
    (world.job,) = world.jobs()
    world.runs()
    world.look(*ObjectKind)
    assert (world.track["phase"], world.track["run"]) == ("Running", 1)
    assert "progress" not in world.track


def test_of_two_sets_of_one_name_the_younger_counts_whatever_comes_first() -> None:
    store = Store()
    store.put(stored("old", 5))
    store.put(stored("new", 8))
    store.put(stored("old", 6))
    assert (store.set(KEY) or {})["metadata"]["uid"] == "new"
    store.remove(ObjectKind.SET, "old")
    assert (store.set(KEY) or {})["metadata"]["uid"] == "new"
