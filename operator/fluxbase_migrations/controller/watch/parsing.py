"""Jobs and pods as the API server shows them, boiled down to what decisions need.

Whoever may create Jobs or pods writes their labels and annotations: they are read as anybody's text.
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
"""What a container says while all is well."""
MAX_RUN: Final = 2**53
"""What every reader of the status can hold. One run a second would take longer than there are migrations."""
_REASON: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]{0,254}[A-Za-z0-9_])?", re.ASCII)
"""Kubernetes' own rule for the reason of a condition."""
SELECTOR: Final = f"{LABEL_NAME}={JOB_APP_NAME}"
"""Finds our Jobs and their pods."""


def reason_of(text: str | None) -> str | None:
    """A reason that may become a condition's; None for anything else: those of Events are anybody's."""
    return text if text and _REASON.fullmatch(text) else None


def instant(text: str | None) -> datetime | None:
    """A Kubernetes timestamp."""
    return datetime.fromisoformat(text) if text else None


def created(body: Json) -> datetime:
    """When an object was created."""
    return instant(body["metadata"].get("creationTimestamp")) or datetime.now(UTC)


def labels(body: Json) -> dict[str, str]:
    """An object's labels."""
    labelled: dict[str, str] = body["metadata"].get("labels") or {}
    return labelled


def run_number(body: Json) -> int:
    """The run that a Job or pod belongs to; 0 if it says nothing of use."""
    text = labels(body).get(LABEL_RUN, "")
    number = int(text) if text.isascii() and text.isdigit() else 0
    return number if number <= MAX_RUN else 0


def track_of(body: Json) -> Track | None:
    """The track that a Job or pod belongs to; None if it says nothing of use."""
    track = labels(body).get(LABEL_TRACK)
    return Track(track) if track in tuple(Track) else None


def set_of(body: Json) -> str | None:
    """Name of the set that a Job or pod belongs to; None if it says nothing of use."""
    name: str | None = (body["metadata"].get("annotations") or {}).get(ANNOTATION_SET)
    return name if name is not None and NAME.fullmatch(name) else None


def is_ours(body: Json, uid: str, name: str) -> bool:
    """Whether a Job is what this operator would have made for that set: labels alone are anybody's text."""
    owners = body["metadata"].get("ownerReferences") or ()
    run, track = run_number(body), track_of(body)
    return (
        labels(body).get(LABEL_SET_UID) == uid
        and track is not None
        and any(one.get("uid") == uid and one.get("controller") for one in owners)
        and run > 0
        and body["metadata"]["name"] == job_name(name, uid, track, run)
    )


def parse_job(body: Json) -> ObservedJob:
    """The observed Job, from the JSON of one of this operator's Jobs."""
    metadata, status = body["metadata"], body.get("status") or {}
    annotations = metadata.get("annotations") or {}
    ended = next(
        (
            one
            for one in status.get("conditions") or ()
            if one.get("type") in ("Complete", "Failed") and one.get("status") == "True"
        ),
        None,
    )
    why = _why_failed(status)
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
        reason=why.get("reason"),
        message=why.get("message"),
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
    container: Json = next(
        (one for one in status.get("containerStatuses") or () if one.get("name") == CONTAINER), {}
    )
    states = container.get("state") or {}
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
        orphan=not any(one.get("controller") for one in metadata.get("ownerReferences") or ()),
    )


def _container(terminated: Any, running: Any, states: Json) -> Container:
    if terminated:
        return Container.TERMINATED
    if running:
        return Container.RUNNING
    return Container.WAITING if states else Container.UNKNOWN


def _why_waiting(status: Json, waiting: Json) -> tuple[str | None, str | None]:
    """Why the container has not started, if something says so."""
    reason = reason_of(waiting.get("reason"))
    if reason and reason not in _NOT_A_REASON:
        return reason, waiting.get("message")
    for condition in status.get("conditions") or ():
        if condition.get("type") == "PodScheduled" and condition.get("status") == "False":
            return reason_of(condition.get("reason")) or "Unschedulable", condition.get("message")
    return None, None


def _result(terminated: Json | None, status: Json) -> tuple[Result | None, str | None]:
    """The result, or why there is none."""
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
    ready: Json = next((one for one in status.get("conditions") or () if one.get("type") == "Ready"), {})
    return ready.get("status") == "False" and not ready.get("reason")
