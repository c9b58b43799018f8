"""Apply: carry out what was decided about a set."""

from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Final

from fluxbase_migrations.api.commands import parse_force, parse_take_over
from fluxbase_migrations.api.reasons import backoff
from fluxbase_migrations.api.status import JobReference
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process.metrics import Metrics
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile import jobs
from fluxbase_migrations.controller.reconcile.competing_operators import CompetingOperator
from fluxbase_migrations.controller.reconcile.observe import Observation, Observer
from fluxbase_migrations.controller.watch.parsing import is_ours
from fluxbase_migrations.controller.watch.store import ObjectKind, Store
from fluxbase_migrations.core.job import SetRef
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ANNOTATIONS_UNDISTURBED, Track
from fluxbase_migrations.decisions.actions import Action, CreateJob, DeleteJob, FreePod, SetTtl
from fluxbase_migrations.decisions.observed import Refusal

REFUSED_BACKOFF: Final = 5.0
"""Seconds until a Job that the API server has refused is created again; doubled each time."""


@dataclass(slots=True)
class Remembered:
    """What the operator remembers of a set, in memory only: it is lost when the process ends."""

    uid: str = ""
    refusals: dict[Track, Refusal] = field(default_factory=dict)
    created: dict[Track, JobReference] = field(default_factory=dict)
    refused: dict[Track, int] = field(default_factory=lambda: defaultdict(int))
    reserved: set[Track] = field(default_factory=set)
    """Tracks with a slot for a Job that has not been created yet."""
    competitor: CompetingOperator | None = None
    """The competitor that was reported last."""


class Actions:
    """Carries out actions; ``requeue`` queues a key to be reconciled again after a number of seconds."""

    def __init__(
        self,
        *,
        kube: Kube,
        settings: Settings,
        store: Store,
        observer: Observer,
        metrics: Metrics,
        clock: Callable[[], datetime],
        requeue: Callable[[NamespacedName, float], None],
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._store = store
        self._observer = observer
        self._metrics = metrics
        self._clock = clock
        self._requeue = requeue

    async def apply(
        self, key: NamespacedName, observation: Observation, action: Action, remembered: Remembered
    ) -> None:
        """Carry out one action about the set ``key``.

        Raises:
            KubeError: a request failed; a retry may succeed.
        """
        match action:
            case CreateJob():
                await self._create(key, observation, action, remembered)
            case DeleteJob(name, uid, wait):
                await self._delete(key, observation, name, uid, wait=wait)
            case SetTtl(name):
                ttl = observation.spec.job.ttl_seconds_after_finished
                body = {"spec": {"ttlSecondsAfterFinished": ttl}}
                await self._tidy_up(ObjectKind.JOB, self._kube.patch(Resource.JOBS, key[0], name, body))
            case FreePod(name):
                removal = {"metadata": {"annotations": dict.fromkeys(ANNOTATIONS_UNDISTURBED)}}
                patch = self._kube.patch(Resource.PODS, key[0], name, removal)
                await self._tidy_up(ObjectKind.POD, patch, allowed=(403, 404))

    async def _delete(
        self, key: NamespacedName, observation: Observation, name: str, uid: str, *, wait: bool
    ) -> None:
        """Delete a Job; with ``wait`` only if its pods have not changed, as it must not have started."""
        if wait and await self._observer.has_changed(key, observation.set, uid):
            self._requeue(key, 0.0)
            return
        propagation = "Foreground" if wait else "Background"
        answer = await self._kube.delete(Resource.JOBS, key[0], name, uid, propagation)
        if answer is None or answer.get("kind") != "Job":
            self._store.remove(ObjectKind.JOB, uid)
        else:
            self._store.keep(ObjectKind.JOB, answer)

    async def _tidy_up(
        self, kind: ObjectKind, patch: Awaitable[Json], allowed: tuple[int, ...] = (404,)
    ) -> None:
        """Wait for a patch, which may fail with a status in ``allowed``; the object goes into the store."""
        try:
            self._store.keep(kind, await patch)
        except KubeError as error:
            if error.status not in allowed:
                raise

    async def _create(
        self, key: NamespacedName, observation: Observation, action: CreateJob, remembered: Remembered
    ) -> None:
        """Create a Job. If its name is taken, the next reconciliation finds out whether it is ours."""
        track = action.track
        body = await self._manifest(key, observation, action)
        try:
            job = await self._kube.create(Resource.JOBS, key[0], body)
        except KubeError as error:
            if error.status not in (400, 403, 409, 422, 500):
                raise
            if error.reason == "AlreadyExists" and await self._exists(key, observation, action.name):
                self._requeue(key, 1.0)
                return
            self._refused(action, error, remembered)
            self._requeue(key, 0.0)
            return
        self._store.keep(ObjectKind.JOB, job)
        remembered.reserved.discard(track)
        remembered.created[track] = JobReference(action.name, job["metadata"]["uid"])
        remembered.refusals.pop(track, None)
        remembered.refused.pop(track, None)
        self._metrics.job_created(track)

    async def _exists(self, key: NamespacedName, observation: Observation, name: str) -> bool:
        """Whether the Job belongs to this set, or is gone already. A webhook may also answer 409."""
        query = {"fieldSelector": f"metadata.name={name}"}
        jobs = (await self._kube.get(Resource.JOBS, key[0], query=query))["items"]
        for body in jobs:
            self._store.keep(ObjectKind.JOB, body)
        return all(is_ours(body, observation.set.uid, key[1]) for body in jobs)

    def _refused(self, action: CreateJob, error: KubeError, remembered: Remembered) -> None:
        """Remember for the next decision that the API server refused the Job, and when to retry."""
        track = action.track
        remembered.refused[track] += 1
        delay = backoff(REFUSED_BACKOFF, remembered.refused[track])
        remembered.refusals[track] = Refusal(
            run=action.run,
            template=action.template,
            message=error.message,
            permanent=error.status in (400, 422),
            retry_at=self._clock() + timedelta(seconds=delay),
        )

    async def _manifest(self, key: NamespacedName, observation: Observation, action: CreateJob) -> Json:
        """The manifest of a planned run's Job."""
        source = observation.sources[action.track]
        files = source.small if source else ()
        job = jobs.job_spec(
            observation.spec,
            action.track,
            SetRef(observation.set.uid, *key, await self._observer.cluster(key, observation.set.uid)),
            run=action.run,
            expected_digest=source.digest if source else None,
            files=files,
            requested=action.requested,
            requested_at=action.requested_at,
            force=parse_force(action.force)[1] if action.force else None,
            take_over=parse_take_over(action.take_over)[1] if action.take_over else None,
            command_database=action.command_database,
            take_over_from=action.take_over_from,
            expected_database=action.expected_database,
            approved=action.approved,
            plan_only=action.plan_only,
        )
        return jobs.manifest(
            observation.spec,
            self._settings,
            job,
            name=action.name,
            inputs_digest=action.inputs_digest,
            template=action.template,
            database_digest=action.database_digest,
            files=files,
        )
