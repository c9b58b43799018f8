"""Jobs and pods of the API server, reduced to what decisions need.

Any user who may create Jobs or pods can write their labels and annotations: they are untrusted.
"""

import re
from datetime import UTC, datetime
from typing import Any, Final

from fluxbase_migrations.controller.client.resources import NAME
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_DATABASE,
    ANNOTATION_INPUTS,
    ANNOTATION_SET,
    ANNOTATION_TEMPLATE,
    ANNOTATIONS_UNDISTURBED,
    CONTAINER,
    JOB_APP_NAME,
    LABEL_NAME,
    LABEL_RUN,
    LABEL_SET_UID,
    LABEL_TRACK,
    Track,
)
from fluxbase_migrations.core.result import Result
from fluxbase_migrations.decisions.actions import job_name
from fluxbase_migrations.decisions.job_state import Container, ObservedJob, ObservedPod

_NOT_A_REASON: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""Waiting reasons of a container that starts normally."""
MAX_RUN: Final = 2**53
"""The largest integer that every reader of JSON can hold; no set ever has so many runs."""
_REASON: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]{0,254}[A-Za-z0-9_])?", re.ASCII)
"""Kubernetes' own rule for the reason of a condition."""
SELECTOR: Final = f"{LABEL_NAME}={JOB_APP_NAME}"
"""Finds our Jobs and their pods."""


def is_selected(body: Json) -> bool:
    """Whether :data:`SELECTOR` finds a Job or pod."""
    return labels(body).get(LABEL_NAME) == JOB_APP_NAME


def reason_of(text: str | None) -> str | None:
    """``text`` if it is valid as the reason of a condition, else None: reasons of Events are untrusted."""
    return text if text and _REASON.fullmatch(text) else None


def instant(text: str | None) -> datetime | None:
    """A Kubernetes timestamp."""
    return datetime.fromisoformat(text) if text else None


def created(body: Json) -> datetime:
    """When an object was created; now if it does not say."""
    return instant(body["metadata"].get("creationTimestamp")) or datetime.now(UTC)


def labels(body: Json) -> dict[str, str]:
    """An object's labels; empty if it has none."""
    labelled: dict[str, str] = body["metadata"].get("labels") or {}
    return labelled


def run_number(body: Json) -> int:
    """The run that a Job or pod belongs to; 0 if the label is missing or invalid."""
    text = labels(body).get(LABEL_RUN, "")
    number = int(text) if text.isascii() and text.isdigit() else 0
    return number if number <= MAX_RUN else 0


def track_of(body: Json) -> Track | None:
    """The track that a Job or pod belongs to; None if the label is missing or invalid."""
    track = labels(body).get(LABEL_TRACK)
    return Track(track) if track in tuple(Track) else None


def set_of(body: Json) -> str | None:
    """Name of the set that a Job or pod belongs to; None if the annotation is missing or invalid."""
    name: str | None = (body["metadata"].get("annotations") or {}).get(ANNOTATION_SET)
    return name if name is not None and NAME.fullmatch(name) else None


def is_ours(body: Json, uid: str, name: str) -> bool:
    """Whether a Job is one that this operator would have created for that set: labels alone prove nothing."""
    owners = body["metadata"].get("ownerReferences") or ()
    run, track = run_number(body), track_of(body)
    return (
        labels(body).get(LABEL_SET_UID) == uid
        and track is not None
        and any(owner.get("uid") == uid and owner.get("controller") for owner in owners)
        and run > 0
        and body["metadata"]["name"] == job_name(name, uid, track, run)
    )


def parse_job(body: Json) -> ObservedJob:
    """The observed Job, from the JSON of one of this operator's Jobs."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    ended = next(
        (
            condition
            for condition in status.get("conditions") or ()
            if condition.get("type") in ("Complete", "Failed") and condition.get("status") == "True"
        ),
        None,
    )
    failure = _why_failed(status)
    return ObservedJob(
        name=metadata["name"],
        uid=metadata["uid"],
        run=run_number(body),
        inputs_digest=annotations.get(ANNOTATION_INPUTS),
        template_digest=annotations.get(ANNOTATION_TEMPLATE),
        created_at=created(body),
        set_uid=labels(body).get(LABEL_SET_UID, ""),
        database_digest=annotations.get(ANNOTATION_DATABASE) or None,
        deleting=bool(metadata.get("deletionTimestamp")),
        ended=ended is not None,
        reason=failure.get("reason"),
        message=failure.get("message"),
        ttl=body.get("spec", {}).get("ttlSecondsAfterFinished") is not None,
    )


def _why_failed(status: Json) -> Json:
    """The condition that says why a Job failed, or is going to when its pods have ended."""
    for condition in status.get("conditions") or ():
        if condition.get("type") in ("Failed", "FailureTarget") and condition.get("status") == "True":
            return dict(condition)
    return {}


def parse_pod(body: Json) -> ObservedPod:
    """The observed pod, from the JSON of a pod of one of this operator's Jobs."""
    metadata, status = body["metadata"], body.get("status") or {}
    containers = status.get("containerStatuses") or ()
    own: Json = next((container for container in containers if container.get("name") == CONTAINER), {})
    states = own.get("state") or {}
    terminated, running = states.get("terminated"), states.get("running")
    over = status.get("phase") in ("Succeeded", "Failed")
    reason, message = _why_waiting(status, states.get("waiting") or {})
    result, because = _result(terminated, status) if terminated or over else (None, None)
    return ObservedPod(
        name=metadata["name"],
        uid=metadata["uid"],
        set_uid=labels(body).get(LABEL_SET_UID, ""),
        run=run_number(body),
        container=_container(terminated, running, states),
        created_at=created(body),
        over=over,
        waiting_reason=reason,
        waiting_message=message,
        started_at=instant((terminated or running or {}).get("startedAt")),
        finished_at=instant((terminated or {}).get("finishedAt")),
        result=result,
        ended_because=because,
        deletion_deadline=instant(metadata.get("deletionTimestamp")),
        node_lost=bool(running) and _node_lost(status),
        undisturbed=any(name in (metadata.get("annotations") or {}) for name in ANNOTATIONS_UNDISTURBED),
        orphan=not any(owner.get("controller") for owner in metadata.get("ownerReferences") or ()),
    )


def _container(terminated: Any, running: Any, states: Json) -> Container:
    if terminated:
        return Container.TERMINATED
    if running:
        return Container.RUNNING
    return Container.WAITING if states else Container.UNKNOWN


def _why_waiting(status: Json, waiting: Json) -> tuple[str | None, str | None]:
    """Reason and message of why the container has not started; None each if the pod does not say."""
    reason = reason_of(waiting.get("reason"))
    if reason and reason not in _NOT_A_REASON:
        return reason, waiting.get("message")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return reason_of(condition.get("reason")) or "Unschedulable", condition.get("message")
    return None, None


def _result(terminated: Json | None, status: Json) -> tuple[Result | None, str | None]:
    """The run's result, or why there is none."""
    terminated = terminated or {}
    try:
        return Result.from_json(terminated.get("message") or ""), None
    except ValueError:
        parts = [
            terminated.get("reason") if terminated.get("reason") not in ("Error", "Completed") else None,
            f"exit code {terminated['exitCode']}" if "exitCode" in terminated else None,
            status.get("reason"),
            status.get("message"),
        ]
        return None, ", ".join(part for part in parts if part) or "its container never ran"


def _node_lost(status: Json) -> bool:
    """The node controller marks pods of a silent node not ready, and unlike the kubelet gives no reason."""
    if status.get("reason") == "NodeLost":
        return True
    conditions = status.get("conditions") or ()
    ready: Json = next((condition for condition in conditions if condition.get("type") == "Ready"), {})
    return ready.get("status") == "False" and not ready.get("reason")
