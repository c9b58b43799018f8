"""Observe: one set and everything that belongs to it, from the store, in the terms of decisions.

What the store does not have may be there all the same, as it lags. So nothing is concluded from a Job or a
pod that is missing: where a run would end by that, the API server is asked.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from fluxbase_migrations import system
from fluxbase_migrations.api import conditions, status_json
from fluxbase_migrations.api.commands import Annotation, digest
from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.api.spec import ClaimSource, SourceSpec, Spec
from fluxbase_migrations.api.status import JobReference, Owner, Progress, SetStatus, TrackStatus
from fluxbase_migrations.controller.client import paths
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile import competing_operators, jobs, owned_objects
from fluxbase_migrations.controller.reconcile.competing_operators import CompetingOperator
from fluxbase_migrations.controller.watch.config_map_reader import (
    ConfigMapIndex,
    ConfigMapReader,
    ObservedSource,
    of_files,
)
from fluxbase_migrations.controller.watch.parsing import instant, reason_of
from fluxbase_migrations.controller.watch.store import Store
from fluxbase_migrations.core import durations
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.names import (
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    ExposurePolicy,
    Phase,
    Track,
)
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions.command_status import Given
from fluxbase_migrations.decisions.decide import ObservedSet
from fluxbase_migrations.decisions.desired import Blocked, Desired, DesiredRun, Refused, RetryPolicy, Skip
from fluxbase_migrations.decisions.job_state import (
    Ended,
    Explanation,
    NotStarted,
    ObservedJob,
    ObservedPod,
    state,
)
from fluxbase_migrations.decisions.observed import EVENTS_AFTER, ObservedTrack, Refusal
from fluxbase_migrations.decisions.owner import OwnerState

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Observation:
    """A set as it was read, and as decisions see it."""

    body: Json
    spec: Spec
    seen: ObservedSet
    rival: CompetingOperator | None
    """Another installation that is responsible for the set, too."""
    sources: Mapping[Track, ObservedSource | None]
    """The ConfigMaps that each track's runner must find; None: its source is something else."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What the operator knows beside the API server, for one set."""

    refusals: Mapping[Track, Refusal]
    created: Mapping[Track, JobReference]
    """The Jobs that were created last."""
    progress: Mapping[Track, tuple[int, Progress]]
    """With the run that it is about."""
    lost: Mapping[Track, tuple[str, datetime]] = field(default_factory=dict)
    """From which uid, and when, another set took a track over."""


class Observer:
    """Reads sets."""

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
        self._usable: dict[NamespacedName, set[tuple[str, int, str]]] = {}
        """Claims that were found to be fit for a set, with its uid and generation."""
        self._clusters: dict[str, str] = {}
        """By uid of the set."""
        self._built_in = of_files(system.files())

    async def observe(self, key: NamespacedName, now: datetime, memory: Memory) -> Observation | None:
        """Everything about the set ``key``; None if there is no such set, or another operator's.

        Raises:
            KubeError: something could not be read.
            ValueError: the spec is not one of ours; cannot happen while our CRD is installed.
        """
        body = self._store.set(key)
        if body is None or not competing_operators.responsible(body, self._settings):
            self._sources.forget(self._references.put(key, frozenset()))
            self._usable.pop(key, None)
            return None
        spec = Spec.model_validate(body["spec"])
        # Before the ConfigMaps are read, so that no change between can be missed.
        self._sources.forget(self._references.put(key, _sources_of(key[0], spec)))
        try:
            recorded = status_json.read(body.get("status"))
        except ValueError:
            recorded = SetStatus()
        uid = body["metadata"]["uid"]
        wanted = await asyncio.gather(*(self._desired(key[0], body, spec, track) for track in Track))
        found = owned_objects.stored(self._store, key, uid)
        if owned_objects.are_doubtful(found, recorded, now):
            await owned_objects.refresh(self._kube, self._store, key)
            found = owned_objects.stored(self._store, key, uid)
        tracks = {}
        for track, (desired, _) in zip(Track, wanted, strict=True):
            own_jobs, own_pods, foreign_pods = found[track]
            record = recorded.tracks.of(track)
            tracks[track] = ObservedTrack(
                track=track,
                desired=desired,
                jobs=own_jobs,
                pods=own_pods,
                foreign_pods=foreign_pods,
                event=await self._event(key[0], own_jobs, own_pods, record.run, now),
                created=memory.created.get(track),
                refusal=memory.refusals.get(track),
                owner=await self._owner_state(track, *_owner(record, own_pods)),
                lost_at=_lost_at(memory.lost.get(track), uid),
                progress=_progress(memory.progress.get(track), record),
            )
        seen = ObservedSet(
            uid=uid,
            name=key[1],
            generation=body["metadata"]["generation"],
            now=now,
            tracks=tracks,
            status=recorded,
            database_digest=spec.database.digest(),
            retry=RetryPolicy(spec.retry.limit, durations.seconds(spec.retry.backoff)),
            suspended=spec.suspend,
            given=Given(
                requested_at=_annotation(body, ANNOTATION_REQUESTED_AT),
                force=_annotation(body, ANNOTATION_FORCE),
                take_over=_annotation(body, ANNOTATION_TAKE_OVER),
            ),
        )
        sources = {track: source for track, (_, source) in zip(Track, wanted, strict=True)}
        unfinished = {
            job.name for track in tracks.values() for job in track.jobs if _is_unfinished(track, job, now)
        }
        found_jobs = owned_objects.stored_jobs(self._store, key) if unfinished else []
        rival = competing_operators.find(
            [one for one in found_jobs if one["metadata"]["name"] in unfinished], self._settings
        )
        return Observation(body, spec, seen, rival, sources)

    async def has_changed(self, key: NamespacedName, seen: ObservedSet, job_uid: str) -> bool:
        """Whether the pods of that Job's track are no more as they were observed; asks the API server.

        Raises:
            KubeError: it does not answer.
        """
        await owned_objects.refresh(self._kube, self._store, key)
        now = owned_objects.stored(self._store, key, seen.uid)
        return any(
            now[track].pods != one.pods
            for track, one in seen.tracks.items()
            if any(job.uid == job_uid for job in one.jobs)
        )

    async def _desired(
        self, namespace: str, body: Json, spec: Spec, track: Track
    ) -> tuple[Desired, ObservedSource | None]:
        wanted = jobs.track_spec(spec, track)
        if not wanted.enabled:
            return Skip(Reason.DISABLED, f"spec.tracks.{track}.enabled is false"), None
        source = wanted.source
        if source is None and track is Track.USER:
            return Skip(Reason.NO_SOURCE, "spec.tracks.user has no source"), None
        seen: ObservedSource | None = None
        what: str | None
        versions: tuple[int, ...] | None = None
        if source is None:
            what, versions = self._built_in.digest, self._built_in.versions
        elif source.persistent_volume_claim is not None:
            refused = await self._refuse_claim(body["metadata"], source.persistent_volume_claim)
            if refused:
                return refused, None
            claim = source.persistent_volume_claim
            what = digest(claim.claim_name, claim.path, self._settings.restarted_at)
        else:
            seen = await self._sources.read(namespace, source.config_map_names(), wanted.unknown_files)
            problem = _problem(source, seen)
            if problem:
                return problem, None
            what, versions = seen.digest, seen.versions
        base = digest(
            what,
            wanted.target_version,
            wanted.rollback,
            wanted.out_of_order,
            wanted.unknown_files,
            spec.recovery,
            spec.database.model_dump_json(),
            *(wanted.foreign_tables or ()),
            *_exposure_part(spec, track),
            *_table_part(spec, track),
        )
        template = jobs.template_digest(spec, track, self._settings, namespace)
        want = DesiredRun(
            base,
            template,
            volume=_volume(source),
            allow_empty=wanted.allow_empty,
            recheck=_recheck(wanted.recheck_interval, spec.verify.interval if spec.verify else None),
            versions=versions,
            target=wanted.target_version,
        )
        if source is not None and seen is not None and not seen.versions:
            names = ", ".join(source.config_map_names())
            text = (
                f"ConfigMap {names} has no migration files (NNN_name.up.sql); "
                "changes are picked up automatically"
            )
            return Blocked(Outcome.SOURCE_EMPTY, text, empty=want), seen
        return want, seen

    async def _refuse_claim(self, metadata: Json, source: ClaimSource) -> Refused | None:
        """A claim that only one pod may ever use; one that does not exist is the scheduler's to report.

        Its modes never change: it is asked for once for each generation of a set, unless it is missing.
        """
        key, fit = (metadata["namespace"], metadata["name"]), (metadata["uid"], metadata["generation"])
        usable = {one for one in self._usable.get(key, ()) if one[:2] == fit}
        if (*fit, source.claim_name) in usable:
            return None
        found = await self._allowed(paths.claim(metadata["namespace"], source.claim_name))
        modes = (found or {}).get("spec", {}).get("accessModes") or []
        if modes != ["ReadWriteOncePod"]:
            if found:
                self._usable[key] = {*usable, (*fit, source.claim_name)}
            return None
        text = (
            f"the PersistentVolumeClaim {source.claim_name} is ReadWriteOncePod: the Job could never use it "
            "while another pod does. Use ReadWriteOnce or ReadWriteMany."
        )
        return Refused(Reason.ACCESS_MODE, text)

    async def _owner_state(
        self, track: Track, owner: Owner | None, database: DatabaseIdentity | None
    ) -> OwnerState | None:
        """What is known of the set that claims ``track`` of ``database``."""
        if owner is None:
            return None
        namespace, _, name = owner.name.partition("/")
        if not (paths.NAME.fullmatch(namespace) and paths.NAME.fullmatch(name)):
            return OwnerState.ELSEWHERE  # others may write into the database: nothing that can be looked up
        try:
            found = await self._kube.find(paths.one_set(namespace, name))
        except KubeError as error:
            if error.status == 403:
                return OwnerState.UNREADABLE
            raise
        if found is not None and found["metadata"]["uid"] == owner.uid:
            return OwnerState.RELEASED if _let_go(found, track, database) else OwnerState.PRESENT
        cluster = await self._namespace_uid(namespace)
        same = cluster is not None and cluster == owner.cluster
        return OwnerState.DELETED if same else OwnerState.ELSEWHERE

    async def cluster(self, key: NamespacedName, uid: str) -> str | None:
        """What tells this cluster's sets from another's: the uid of the set's namespace.

        A set never outlives its namespace, so it is asked for once.
        """
        known = self._clusters.get(uid)
        if known is None:
            known = await self._namespace_uid(key[0])
            if known is not None:  # otherwise the right to look may still come
                self._clusters[uid] = known
        return known

    def forget(self, uid: str) -> None:
        """A set is gone."""
        self._clusters.pop(uid, None)

    async def _namespace_uid(self, namespace: str) -> str | None:
        found = await self._allowed(paths.namespace(namespace))
        return str(found["metadata"]["uid"]) if found else None

    async def _allowed(self, path: str, query: Mapping[str, str] | None = None) -> Json | None:
        """What only helps to explain: None where there is none, or where we may not look."""
        try:
            return await self._kube.get(path, query)
        except KubeError as error:
            if error.status in (403, 404):
                return None
            raise

    async def _event(
        self,
        namespace: str,
        found_jobs: tuple[ObservedJob, ...],
        pods: tuple[ObservedPod, ...],
        run: int,
        now: datetime,
    ) -> Explanation | None:
        """Where a Job does not start and its pod does not say why, the newest Event may."""
        job = next((one for one in found_jobs if one.run == run), None)
        own = tuple(pod for pod in pods if pod.run == run)
        current = state(job, own, now)
        if job is None or not isinstance(current, NotStarted) or current.reason or current.deleting:
            return None
        if now - current.since < EVENTS_AFTER:
            return None
        uid = own[0].uid if own else job.uid
        query = {"fieldSelector": f"involvedObject.uid={uid}"}
        found = await self._allowed(paths.events(namespace), query)
        if not found or not found["items"]:
            return None
        newest = max(found["items"], key=_event_time)
        warning = newest.get("type") == "Warning"
        return Explanation(warning, reason_of(newest.get("reason")) or "", newest.get("message") or "")


def _is_unfinished(seen: ObservedTrack, job: ObservedJob, now: datetime) -> bool:
    """Whether a Job's container may still run; what its pod says counts more than its own status."""
    own = tuple(pod for pod in seen.pods if pod.run == job.run)
    return not isinstance(state(job, own, now), Ended)


def _event_time(event: Json) -> str:
    """Sorts Events by when they were last seen: all of these are RFC 3339."""
    series = (event.get("series") or {}).get("lastObservedTime")
    return str(series or event.get("lastTimestamp") or event.get("eventTime") or "")


def _progress(found: tuple[int, Progress] | None, record: TrackStatus) -> Progress | None:
    return found[1] if found and found[0] == record.run else None


def _sources_of(namespace: str, spec: Spec) -> frozenset[NamespacedName]:
    given = (jobs.track_spec(spec, track).source for track in Track)
    return frozenset((namespace, name) for source in given if source for name in source.config_map_names())


def _owner(
    record: TrackStatus, pods: tuple[ObservedPod, ...]
) -> tuple[Owner | None, DatabaseIdentity | None]:
    """The set that keeps this one out, and of which database, as the newest run has found it."""
    for pod in pods:
        result = pod.result
        if record.outstanding and pod.run == record.run and result and result.outcome is Outcome.CONFLICT:
            owner = Owner(result.owner, result.owner_uid, result.owner_cluster) if result.owner else None
            return owner, result.database
    return record.claimed_by if record.outcome is Outcome.CONFLICT else None, record.database


def _exposure_part(spec: Spec, track: Track) -> tuple[str, ...]:
    """Another policy is a reason to look again; the default one was none before there was a choice."""
    if track is not Track.USER or spec.exposure is ExposurePolicy.WARN:
        return ()
    return (f"exposure={spec.exposure}",)


def _table_part(spec: Spec, track: Track) -> tuple[str, ...]:
    """Where versions are kept and where they begin; none of it could be chosen before.

    The other track's table counts as one of another program's, which nobody looks for where the files are
    built in.
    """
    wanted = jobs.track_spec(spec, track)
    parts = [f"baseline={wanted.baseline}"] if wanted.baseline is not None else []
    for one in Track if wanted.source is not None else ():
        table = jobs.track_spec(spec, one).table
        parts += [f"{one}.table={table}"] if table is not None else []
    return tuple(parts)


def _volume(source: SourceSpec | None) -> str | None:
    claim = source.persistent_volume_claim if source else None
    return f"{claim.claim_name}, path {claim.path}" if claim else None


def _recheck(*intervals: str | None) -> timedelta | None:
    """The shortest of the intervals after which the database is looked at."""
    given = [durations.seconds(interval) for interval in intervals if interval]
    return timedelta(seconds=min(given)) if given else None


def _lost_at(lost: tuple[str, datetime] | None, uid: str) -> datetime | None:
    return lost[1] if lost and lost[0] == uid else None


def _let_go(body: Json, track: Track, database: DatabaseIdentity | None) -> bool:
    """Whether a set says that it no longer uses this track of the database."""
    try:
        status = status_json.read(body.get("status"))
    except ValueError:
        return False
    record = status.tracks.of(track)
    if status.observed_generation != body["metadata"]["generation"] or record.outstanding:
        return False
    if conditions.is_failing(status.conditions):
        return False  # only the conditions are about this generation
    left_out = record.phase is Phase.SKIPPED and record.reason in (Reason.DISABLED, Reason.NO_SOURCE)
    return left_out or differs(record.database, database)


def _problem(source: SourceSpec, seen: ObservedSource) -> Blocked | Refused | None:
    """Why the ConfigMaps cannot be used now."""
    names = ", ".join(source.config_map_names())
    if seen.missing:
        text = (
            f"ConfigMap {', '.join(seen.missing)} not found; create it with kubectl create configmap NAME "
            "--from-file=DIRECTORY; it is picked up automatically"
        )
        return Blocked(Reason.SOURCE_MISSING, text)
    if seen.invalid:
        return Refused(Outcome.INVALID_SOURCE, f"ConfigMap {names}: {describe(seen.invalid)}")
    return None


def _annotation(body: Json, name: str) -> Annotation | None:
    """A command, with who wrote it as far as the object's field managers tell."""
    value = (body["metadata"].get("annotations") or {}).get(name)
    if value is None:
        return None
    for entry in body["metadata"].get("managedFields") or ():
        fields = entry.get("fieldsV1", {}).get("f:metadata", {}).get("f:annotations", {})
        if f"f:{name}" in fields:
            return Annotation(value, entry.get("manager"), instant(entry.get("time")))
    return Annotation(value)
