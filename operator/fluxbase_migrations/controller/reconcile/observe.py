"""Observe: one set and everything that belongs to it, from the store, in the terms of decisions.

The store lags, so an object that is missing in it may exist. Before a missing Job or pod counts as the end of
a run, the API server is asked.
"""

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from fluxbase_migrations.api import status_json
from fluxbase_migrations.api.commands import Annotation
from fluxbase_migrations.api.spec import Spec
from fluxbase_migrations.api.status import JobReference, Progress, SetStatus, TrackStatus
from fluxbase_migrations.controller.client.kube import Kube, NamespacedName, get_if_allowed
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile import competing_operators, owned_objects
from fluxbase_migrations.controller.reconcile.competing_operators import CompetingOperator
from fluxbase_migrations.controller.reconcile.desired_runs import DesiredRuns, config_maps_of
from fluxbase_migrations.controller.reconcile.owned_objects import OwnedObjects
from fluxbase_migrations.controller.reconcile.set_owners import SetOwners, owner_of
from fluxbase_migrations.controller.watch.config_map_reader import (
    ConfigMapIndex,
    ConfigMapReader,
    ObservedSource,
)
from fluxbase_migrations.controller.watch.parsing import instant, reason_of
from fluxbase_migrations.controller.watch.store import Store
from fluxbase_migrations.core import durations
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    Approval,
    Track,
)
from fluxbase_migrations.decisions.command_status import Annotations
from fluxbase_migrations.decisions.decide import ObservedSet, SetDecision
from fluxbase_migrations.decisions.desired import Desired, RetryPolicy
from fluxbase_migrations.decisions.job_state import (
    Ended,
    Explanation,
    NotStarted,
    ObservedJob,
    ObservedPod,
    state,
)
from fluxbase_migrations.decisions.observed import (
    EVENTS_AFTER,
    ObservedTrack,
    Refusal,
    leftovers_occupy_slot,
)


@dataclass(frozen=True, slots=True)
class Observation:
    """A set as JSON, and in the terms of decisions."""

    body: Json
    spec: Spec
    set: ObservedSet
    competitor: CompetingOperator | None
    """Another installation that is responsible for the set, too."""
    sources: Mapping[Track, ObservedSource | None]
    """The ConfigMaps that each track's runner must find; None: its source is something else."""
    decision: SetDecision | None = None
    """The decision to do nothing, where it was made without reading the ConfigMaps."""

    @property
    def unread(self) -> bool:
        """Whether the content of some ConfigMap is only known from the status."""
        return any(source is not None and source.versions is None for source in self.sources.values())


@dataclass(frozen=True, slots=True)
class Memory:
    """What the operator knows of one set that is not in the API server."""

    refusals: Mapping[Track, Refusal]
    created: Mapping[Track, JobReference]
    """The last Job that was created for each track."""
    progress: Mapping[Track, tuple[int, Progress]]
    """The number of a run, and its progress."""
    lost: Mapping[Track, tuple[str, datetime]] = field(default_factory=dict)
    """The set's uid when another set took the track over, and the time."""


class Observer:
    """Observes sets."""

    def __init__(
        self,
        kube: Kube,
        settings: Settings,
        store: Store,
        references: ConfigMapIndex,
        sources: ConfigMapReader,
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._store = store
        self._references = references
        self._sources = sources
        self._desired = DesiredRuns(kube, settings, sources)
        self._owners = SetOwners(kube)

    def expect(self, key: NamespacedName) -> None:
        """Announce that a set will be observed, so that the next list of ConfigMaps includes its own."""
        body = self._store.set(key)
        if body is None or not competing_operators.responsible(body, self._settings):
            return
        with contextlib.suppress(ValueError):  # reported when it is observed
            named = config_maps_of(key[0], Spec.model_validate(body.get("spec")))
            self._sources.forget(self._references.put(key, named))
            self._sources.expect(named)

    async def observe(
        self, key: NamespacedName, now: datetime, memory: Memory, *, read: bool = False
    ) -> Observation | None:
        """Everything about the set ``key``; None if it does not exist, or another operator is responsible.

        With ``read``, the content of ConfigMaps is never taken from the status.

        Raises:
            KubeError: a request failed.
            ValueError: the spec is invalid; cannot happen while our CRD is installed.
        """
        body = self._store.set(key)
        if body is None or not competing_operators.responsible(body, self._settings):
            self._sources.forget(self._references.put(key, frozenset()))
            self._desired.forget(key)
            return None
        spec = Spec.model_validate(body["spec"])
        # Before the ConfigMaps are read, so that no change between can be missed.
        self._sources.forget(self._references.put(key, config_maps_of(key[0], spec)))
        try:
            recorded = status_json.read(body.get("status"))
        except ValueError:
            recorded = SetStatus()
        uid = body["metadata"]["uid"]
        known = {track: None if read else recorded.tracks.of(track).source for track in Track}
        desired_runs = await asyncio.gather(
            *(self._desired.of(body, spec, track, known[track]) for track in Track)
        )
        owned = owned_objects.stored(self._store, key, uid)
        if owned_objects.are_doubtful(owned, recorded, now):
            await owned_objects.refresh(self._kube, self._store, key)
            owned = owned_objects.stored(self._store, key, uid)
        tracks = {}
        for track, (desired, _) in zip(Track, desired_runs, strict=True):
            record = recorded.tracks.of(track)
            tracks[track] = await self._track(key, uid, track, desired, record, owned[track], memory, now)
        observed = ObservedSet(
            uid=uid,
            name=key[1],
            generation=body["metadata"]["generation"],
            now=now,
            tracks=tracks,
            status=recorded,
            database_digest=spec.database.digest(),
            retry=RetryPolicy(spec.retry.limit, durations.seconds(spec.retry.backoff)),
            suspended=spec.suspend,
            manual=spec.approval is Approval.MANUAL,
            annotations=Annotations(
                requested_at=_annotation(body, ANNOTATION_REQUESTED_AT),
                force=_annotation(body, ANNOTATION_FORCE),
                take_over=_annotation(body, ANNOTATION_TAKE_OVER),
                approve=_annotation(body, ANNOTATION_APPROVE),
            ),
        )
        sources = {track: source for track, (_, source) in zip(Track, desired_runs, strict=True)}
        competitor = self._competitor(key, tracks, now)
        return Observation(body, spec, observed, competitor, sources)

    async def _track(
        self,
        key: NamespacedName,
        uid: str,
        track: Track,
        desired: Desired,
        record: TrackStatus,
        owned: OwnedObjects,
        memory: Memory,
        now: datetime,
    ) -> ObservedTrack:
        own_jobs, own_pods, foreign_jobs, foreign_pods = owned
        return ObservedTrack(
            track=track,
            desired=desired,
            jobs=own_jobs,
            pods=own_pods,
            foreign_jobs=foreign_jobs,
            foreign_pods=foreign_pods,
            event=await self._event(key[0], own_jobs, own_pods, record.run, now),
            created=memory.created.get(track),
            refusal=memory.refusals.get(track),
            owner=await self._owners.state(track, *owner_of(record, own_pods)),
            lost_at=_lost_at(memory.lost.get(track), uid),
            progress=_progress(memory.progress.get(track), record),
        )

    def _competitor(
        self, key: NamespacedName, tracks: Mapping[Track, ObservedTrack], now: datetime
    ) -> CompetingOperator | None:
        """Another installation's unfinished Job of this set."""
        unfinished = {
            job.name for track in tracks.values() for job in track.jobs if _is_unfinished(track, job, now)
        }
        bodies = owned_objects.stored_jobs(self._store, key) if unfinished else []
        return competing_operators.find(
            [body for body in bodies if body["metadata"]["name"] in unfinished], self._settings
        )

    async def has_changed(self, key: NamespacedName, observed: ObservedSet, job_uid: str) -> bool:
        """Whether the pods of that Job's track have changed since they were observed; asks the API server.

        Raises:
            KubeError: a request failed.
        """
        await owned_objects.refresh(self._kube, self._store, key)
        now = owned_objects.stored(self._store, key, observed.uid)
        return any(
            now[name].pods != track.pods
            for name, track in observed.tracks.items()
            if any(job.uid == job_uid for job in track.jobs)
        )

    async def cluster(self, key: NamespacedName, uid: str) -> str | None:
        """An identity of this cluster; see :meth:`SetOwners.cluster`."""
        return await self._owners.cluster(key, uid)

    def leftovers(self, key: NamespacedName, now: datetime) -> set[Track]:
        """The tracks of a deleted set ``key`` that have a Job which still runs, or is about to."""
        if self._store.set(key) is not None:
            return set()
        owned = owned_objects.stored(self._store, key, uid="")
        return {
            track
            for track, objects in owned.items()
            if leftovers_occupy_slot(objects.foreign_jobs, objects.foreign_pods, now)
        }

    def forget(self, uid: str) -> None:
        """Drop what is known about a set that is gone."""
        self._owners.forget(uid)

    async def _event(
        self,
        namespace: str,
        own_jobs: tuple[ObservedJob, ...],
        pods: tuple[ObservedPod, ...],
        run: int,
        now: datetime,
    ) -> Explanation | None:
        """The newest Event of a Job that does not start, or of its pod, if the pod does not say why."""
        job = next((job for job in own_jobs if job.run == run), None)
        own = tuple(pod for pod in pods if pod.run == run)
        current = state(job, own, now)
        if job is None or not isinstance(current, NotStarted) or current.reason or current.deleting:
            return None
        if now - current.since < EVENTS_AFTER:
            return None
        uid = own[0].uid if own else job.uid
        query = {"fieldSelector": f"involvedObject.uid={uid}"}
        events = await get_if_allowed(self._kube, Resource.EVENTS, namespace, query=query)
        if not events or not events["items"]:
            return None
        newest = max(events["items"], key=_event_time)
        warning = newest.get("type") == "Warning"
        return Explanation(warning, reason_of(newest.get("reason")) or "", newest.get("message") or "")


def _is_unfinished(observed: ObservedTrack, job: ObservedJob, now: datetime) -> bool:
    """Whether a Job's container may still run; its pod counts more than its own status."""
    own = tuple(pod for pod in observed.pods if pod.run == job.run)
    return not isinstance(state(job, own, now), Ended)


def _event_time(event: Json) -> str:
    """When an Event occurred last, as RFC 3339, which sorts as text."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or "")


def _progress(latest: tuple[int, Progress] | None, record: TrackStatus) -> Progress | None:
    return latest[1] if latest and latest[0] == record.run else None


def _lost_at(lost: tuple[str, datetime] | None, uid: str) -> datetime | None:
    return lost[1] if lost and lost[0] == uid else None


def _annotation(body: Json, name: str) -> Annotation | None:
    """A command, with the field manager that wrote it, if the object names one."""
    value = (body["metadata"].get("annotations") or {}).get(name)
    if value is None:
        return None
    for entry in body["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
        if f"f:{name}" in fields:
            return Annotation(value, entry.get("manager"), instant(entry.get("time")))
    return Annotation(value)
