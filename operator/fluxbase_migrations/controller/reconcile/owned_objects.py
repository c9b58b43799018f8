"""The Jobs and pods of one set: from the store, and from the API server where that may be too old."""

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
    """What there is of one track of a set."""

    jobs: tuple[ObservedJob, ...]
    pods: tuple[ObservedPod, ...]
    foreign_jobs: tuple[ObservedJob, ...]
    """Jobs of a former set of that name."""
    foreign_pods: tuple[ObservedPod, ...]
    """Pods of a former set of that name."""


def stored_jobs(store: Store, key: NamespacedName) -> list[Json]:
    """The Jobs that say to be of a set, or of a former one of that name."""
    return store.owned_by(ObjectKind.JOB, _group(key))


def stored(store: Store, key: NamespacedName, uid: str) -> dict[Track, OwnedObjects]:
    """What the store has."""
    found_jobs, found_pods = stored_jobs(store, key), store.owned_by(ObjectKind.POD, _group(key))
    owned = {}
    for track in Track:
        jobs = [one for one in found_jobs if track_of(one) == track]
        parsed = tuple(parse_job(one) for one in jobs)
        pods = tuple(parse_pod(one) for one in found_pods if track_of(one) == track)
        owned[track] = OwnedObjects(
            tuple(job for job, one in zip(parsed, jobs, strict=True) if is_ours(one, uid, key[1])),
            tuple(pod for pod in pods if pod.set_uid == uid),
            tuple(job for job in parsed if job.set_uid != uid),
            tuple(pod for pod in pods if pod.set_uid != uid),
        )
    return owned


async def refresh(kube: Kube, store: Store, key: NamespacedName) -> None:
    """Ask the API server, and put what it says into the store.

    Raises:
        KubeError: it does not answer.
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
    """Whether a run looks as if it had ended without a result, or had never been started.

    Its Job or its pod may only not have come yet, and a second run would be the consequence.
    """
    return any(_is_doubtful(status.tracks.of(track), one, now) for track, one in owned.items())


def _is_doubtful(record: TrackStatus, owned: OwnedObjects, now: datetime) -> bool:
    latest = max((job.run for job in owned.jobs), default=0)
    if not record.outstanding and latest <= record.run:
        return False
    run = max(record.run, latest)
    job = next((one for one in owned.jobs if one.run == run), None)
    current = state(job, tuple(pod for pod in owned.pods if pod.run == run), now)
    return isinstance(current, Absent) or (isinstance(current, Ended) and current.result is None)


def _group(key: NamespacedName) -> NamespacedName:
    """What the Jobs and pods of a set are found by."""
    return key[0], jobs.set_label(key[1])
