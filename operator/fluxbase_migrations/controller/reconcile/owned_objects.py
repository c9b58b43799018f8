"""The Jobs and pods of one set: from the store, and from the API server where the store may be outdated."""

import asyncio
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from fluxbase_migrations.api.status import SetStatus, TrackStatus
from fluxbase_migrations.controller.client.kube import Kube, NamespacedName, number
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.reconcile import jobs
from fluxbase_migrations.controller.watch.parsing import SELECTOR, is_ours, parse_job, parse_pod, track_of
from fluxbase_migrations.controller.watch.store import Listed, ObjectKind, Store, Stored
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import LABEL_SET, Track
from fluxbase_migrations.decisions.job_state import Absent, Ended, ObservedJob, ObservedPod, state


class OwnedObjects(NamedTuple):
    """The Jobs and pods of one track of a set."""

    jobs: tuple[ObservedJob, ...]
    pods: tuple[ObservedPod, ...]
    foreign_jobs: tuple[ObservedJob, ...]
    """Jobs of a deleted set of the same name."""
    foreign_pods: tuple[ObservedPod, ...]
    """Pods of a deleted set of the same name."""


def stored_jobs(store: Store, key: NamespacedName) -> list[Json]:
    """The Jobs whose label names a set, or a deleted one of the same name."""
    return store.owned_by(ObjectKind.JOB, _group(key))


def stored(store: Store, key: NamespacedName, uid: str) -> dict[Track, OwnedObjects]:
    """The Jobs and pods of a set's tracks, as the store has them."""
    job_bodies, pod_bodies = stored_jobs(store, key), store.owned_by(ObjectKind.POD, _group(key))
    owned = {}
    for track in Track:
        bodies = [body for body in job_bodies if track_of(body) == track]
        parsed = tuple(parse_job(body) for body in bodies)
        pods = tuple(parse_pod(body) for body in pod_bodies if track_of(body) == track)
        owned[track] = OwnedObjects(
            tuple(job for job, body in zip(parsed, bodies, strict=True) if is_ours(body, uid, key[1])),
            tuple(pod for pod in pods if pod.set_uid == uid),
            tuple(job for job in parsed if job.set_uid != uid),
            tuple(pod for pod in pods if pod.set_uid != uid),
        )
    return owned


async def refresh(kube: Kube, store: Store, key: NamespacedName) -> None:
    """Read the set's Jobs and pods from the API server into the store.

    Raises:
        KubeError: a request failed.
    """
    query = {"labelSelector": f"{SELECTOR},{LABEL_SET}={jobs.set_label(key[1])}"}
    answers = await asyncio.gather(
        *(kube.get(resource, key[0], query=query) for resource in (Resource.JOBS, Resource.PODS))
    )
    for kind, answer in zip((ObjectKind.JOB, ObjectKind.POD), answers, strict=True):
        listed = Listed(
            [Stored.of(kind, body) for body in answer["items"]],
            number(answer["metadata"].get("resourceVersion")),
        )
        store.replace_group(kind, _group(key), listed)


def are_doubtful(owned: Mapping[Track, OwnedObjects], status: SetStatus, now: datetime) -> bool:
    """Whether a run seems to have ended without a result, or never to have started.

    The store may only lack its Job or its pod yet, and another run would be started in error.
    """
    return any(_is_doubtful(status.tracks.of(track), objects, now) for track, objects in owned.items())


def _is_doubtful(record: TrackStatus, owned: OwnedObjects, now: datetime) -> bool:
    latest = max((job.run for job in owned.jobs), default=0)
    if not record.outstanding and latest <= record.run:
        return False
    run = max(record.run, latest)
    job = next((job for job in owned.jobs if job.run == run), None)
    current = state(job, tuple(pod for pod in owned.pods if pod.run == run), now)
    return isinstance(current, Absent) or (isinstance(current, Ended) and current.result is None)


def _group(key: NamespacedName) -> NamespacedName:
    """The store's group of a set's Jobs and pods."""
    return key[0], jobs.set_label(key[1])
