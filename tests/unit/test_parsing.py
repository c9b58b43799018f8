"""Jobs and pods as the API server shows them."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.observe import Observer
from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapIndex, ConfigMapReader
from fluxbase_migrations.controller.watch.parsing import parse_job, parse_pod
from fluxbase_migrations.controller.watch.store import Store
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.decisions.job_state import Container, InFlight, state
from tests.support.api_transport import Request, answered_by

AT = "2026-01-01T00:00:00Z"
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def pod(state: dict[str, Any] | None = None, deletion: str | None = None, **status: Any) -> dict[str, Any]:
    metadata: dict[str, Any] = {"name": "pod", "uid": "u", "creationTimestamp": AT}
    metadata["labels"] = {"fluxbase.io/run": "3", "fluxbase.io/set-uid": "s"}
    if deletion:
        metadata["deletionTimestamp"] = deletion
    sidecar = {"name": "istio-proxy", "state": {"running": {"startedAt": AT}}}
    containers = [sidecar, *([{"name": "migrate", "state": state}] if state else [])]
    return {"metadata": metadata, "status": {"phase": "Pending", "containerStatuses": containers, **status}}


def terminated(message: str, **more: Any) -> dict[str, Any]:
    return {"terminated": {"exitCode": 1, "message": message, "startedAt": AT, "finishedAt": AT, **more}}


def test_the_result_is_the_termination_message_of_our_container() -> None:
    result = Result(Outcome.APPLIED, version=4, observed=True)
    seen = parse_pod(pod(terminated(result.to_json()), phase="Running"))
    assert (seen.result, seen.container, seen.run, seen.set_uid) == (result, Container.TERMINATED, 3, "s")
    assert not seen.active


@pytest.mark.parametrize(
    ("found", "because"),
    [
        (pod(terminated("", reason="OOMKilled", exitCode=137), phase="Failed"), "OOMKilled, exit code 137"),
        (pod(terminated("{", reason="Error"), phase="Failed"), "exit code 1"),
        (pod(phase="Failed", reason="Evicted", message="disk"), "Evicted, disk"),
        (pod(phase="Failed"), "its container never ran"),
    ],
)
def test_without_a_result_there_is_a_why(found: dict[str, Any], because: str) -> None:
    seen = parse_pod(found)
    assert seen.result is None
    assert seen.ended_because == because


def test_why_a_container_waits() -> None:
    waiting = {"waiting": {"reason": "CreateContainerConfigError", "message": "secret not found"}}
    assert parse_pod(pod(waiting)).waiting_reason == "CreateContainerConfigError"
    assert parse_pod(pod({"waiting": {"reason": "ContainerCreating"}})).waiting_reason is None
    unscheduled = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node"}
    seen = parse_pod(pod(conditions=[unscheduled]))
    assert (seen.waiting_reason, seen.waiting_message) == ("Unschedulable", "no node")


def test_a_node_that_does_not_answer_is_lost() -> None:
    running = {"running": {"startedAt": AT}}
    lost = {"type": "Ready", "status": "False"}
    not_ready = {**lost, "reason": "ContainersNotReady"}
    assert parse_pod(pod(running, conditions=[lost])).lost(NOW)
    assert not parse_pod(pod(running, conditions=[not_ready])).lost(NOW)
    deleted = parse_pod(pod(running, deletion=AT))
    assert not deleted.lost(NOW)
    assert deleted.lost(NOW + timedelta(minutes=1))
    found = state(None, (deleted,), NOW + timedelta(minutes=1))
    assert isinstance(found, InFlight)
    assert found.lost


def test_a_pod_that_belongs_to_no_job_is_an_orphan() -> None:
    found = pod()
    assert parse_pod(found).orphan
    found["metadata"]["ownerReferences"] = [{"kind": "Job", "name": "job", "uid": "u", "controller": True}]
    assert not parse_pod(found).orphan


def test_a_job_says_how_it_ended() -> None:
    metadata = {"name": "job", "uid": "u", "creationTimestamp": AT, "labels": {"fluxbase.io/run": "2"}}
    failed = {"type": "Failed", "status": "True", "reason": "DeadlineExceeded", "message": "too long"}
    seen = parse_job({"metadata": metadata, "spec": {}, "status": {"conditions": [failed]}})
    assert (seen.run, seen.ended, seen.reason, seen.ttl) == (2, True, "DeadlineExceeded", False)
    assert parse_job({"metadata": metadata, "spec": {"ttlSecondsAfterFinished": 0}}).ttl


def test_a_cluster_that_may_not_be_read_yet_is_asked_for_again() -> None:
    """The right may come later than the operator; what was read once holds as long as the set."""
    answers: list[KubeError | Json] = [KubeError(403, "Forbidden", "no"), {"metadata": {"uid": "cluster"}}]

    async def answer(request: Request) -> Json:
        assert request.path == "/api/v1/namespaces/fluxbase"
        given = answers.pop(0)
        if isinstance(given, KubeError):
            raise given
        return given

    observer = Observer(
        Kube(answered_by(answer)),
        Settings(image="image"),
        Store(),
        ConfigMapIndex(),
        ConfigMapReader(cast("Any", None)),
    )
    key = ("fluxbase", "shop")
    assert [asyncio.run(observer.cluster(key, "uid")) for _ in range(3)] == [None, "cluster", "cluster"]
