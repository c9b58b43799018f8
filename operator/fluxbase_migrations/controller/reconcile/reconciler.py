"""Reconcile one set: observe, decide, apply. Always the whole set, whichever event caused it.

The observed state may be outdated, see :mod:`fluxbase_migrations.controller.watch.store`. A status is written
under the resourceVersion that it was decided for, and before the actions; a Job's name is computed from its
run; and what was written is put into the store, so that later decisions take it into account.
"""

import logging
import random
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from functools import partial

from fluxbase_migrations.api import status_json
from fluxbase_migrations.api.status import SetStatus, with_sources
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName, number
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process.metrics import Metrics
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.apply import Actions, Remembered
from fluxbase_migrations.controller.reconcile.competing_operators import responsible
from fluxbase_migrations.controller.reconcile.events import EventRecorder
from fluxbase_migrations.controller.reconcile.failing_sets import (
    FailingSets,
    condition_message,
    is_persistent,
)
from fluxbase_migrations.controller.reconcile.log_follower import LogFollower
from fluxbase_migrations.controller.reconcile.observe import Memory, Observation, Observer
from fluxbase_migrations.controller.reconcile.slots import Slots
from fluxbase_migrations.controller.reconcile.takeovers import Takeovers
from fluxbase_migrations.controller.watch.parsing import parse_job, track_of
from fluxbase_migrations.controller.watch.store import ObjectKind, Store
from fluxbase_migrations.core.names import ANNOTATION_CONTESTED, Phase, Track
from fluxbase_migrations.decisions.decide import SetDecision, decide, is_no_op
from fluxbase_migrations.decisions.observed import ObservedTrack, occupies_slot
from fluxbase_migrations.decisions.scheduling import RECHECK_AFTER

logger = logging.getLogger(__name__)


class Reconciler:
    """Reconciles sets. ``requeue`` queues a key to be reconciled again after a number of seconds."""

    def __init__(
        self,
        *,
        kube: Kube,
        settings: Settings,
        store: Store,
        observer: Observer,
        recorder: EventRecorder,
        slots: Slots[tuple[NamespacedName, Track]],
        follower: LogFollower,
        metrics: Metrics,
        clock: Callable[[], datetime],
        requeue: Callable[[NamespacedName, float], None],
    ) -> None:
        self._kube = kube
        self._settings = settings
        self._store = store
        self._observer = observer
        self._recorder = recorder
        self._slots = slots
        self._follower = follower
        self._metrics = metrics
        self._clock = clock
        self._requeue = requeue
        self._actions = Actions(
            kube=kube,
            settings=settings,
            store=store,
            observer=observer,
            metrics=metrics,
            clock=clock,
            requeue=requeue,
        )
        self._failing = FailingSets(kube, store, recorder, clock, requeue)
        self._remembered: dict[NamespacedName, Remembered] = defaultdict(Remembered)
        self._claimed: dict[str, set[NamespacedName]] = defaultdict(set)
        """By uid of a set: the sets that wait for it to release a track."""
        self._takeovers = Takeovers()

    def deleted(self, key: NamespacedName, uid: str) -> None:
        """Requeue the sets that wait for a deleted set to release a track."""
        for waiting in self._claimed.pop(uid, ()):
            self._requeue(waiting, 0.0)

    def _forget_set(self, key: NamespacedName, uid: str) -> None:
        """Drop everything about a set that is gone, its name used by another one or not."""
        self.deleted(key, uid)
        self._observer.forget(uid)
        for owner in [owner for owner, waiting in self._claimed.items() if key in waiting]:
            self._claimed[owner].discard(key)
            if not self._claimed[owner]:
                del self._claimed[owner]

    def hold_slots(self, namespace: str | None) -> None:
        """Take slots for the unfinished Jobs that exist already, before any other Job is created.

        ``namespace`` is None for all namespaces.
        """
        for stored in self._store.all(ObjectKind.JOB):
            if namespace not in (None, stored.key[0]) or stored.belongs_to is None:
                continue
            body = stored.body()
            track = track_of(body)
            if track and not parse_job(body).ended:
                self._slots.hold((stored.belongs_to, track))
                self._requeue(stored.belongs_to, 0.0)

    async def failed(self, key: NamespacedName, error: BaseException, failures: int) -> None:
        """Reconciling a set has failed ``failures`` times in a row: report it, and leave the queue for slots.

        The slots of Jobs that were not created, or whose end would not be observed, are released.
        """
        reserved = self._remembered[key].reserved
        for track in Track:
            release = track in reserved or is_persistent(error, failures)
            give_up = self._slots.release if release else self._slots.leave
            give_up((key, track))
        reserved.clear()
        message = condition_message(error, failures)
        if message is None:
            return
        reported = await self._failing.report(key, message, partial(responsible, settings=self._settings))
        if reported is not None:
            self._metrics.set_observed(key, reported)

    async def reconcile(self, key: NamespacedName) -> None:
        """Observe one set, write its status, and carry out the decided actions.

        Raises:
            KubeError: a request to the API server failed; a retry may succeed.
        """
        remembered = self._remembered[key]
        memory = Memory(
            remembered.refusals,
            remembered.created,
            self._follower.progress(key),
            self._takeovers.lost(key),
        )
        observation = await self._observe(key, memory)
        if observation is None:
            self._forget(key)
            return
        if remembered.uid != observation.set.uid:
            if remembered.uid:
                self._forget_set(key, remembered.uid)
                self._follower.forget(key)
            self._remembered[key] = remembered = Remembered(uid=observation.set.uid)
        await self._report_competitor(key, observation)
        if observation.competitor and not observation.competitor.steps_back:
            self._defer_to_competitor(key)
            return
        decision = self._decide_with_slots(key, observation)
        if decision.status != observation.set.status:
            try:
                await self._write(key, observation, decision.status)
            except KubeError as error:
                if error.status not in (404, 409) or not await self._reread(key, observation):
                    raise
                self._requeue(key, 0.0)  # a concurrent write came first: decide again
                return
        elif decision.creates and await self._reread(key, observation):
            self._requeue(key, 0.0)  # planned earlier, and no write would fail if the plan is outdated
            return
        try:
            for action in decision.actions:
                await self._actions.apply(key, observation, action, remembered)
        finally:  # the status is written: no later decision would publish this
            await self._publish(key, observation, decision)
        self._follow_up(key, observation, decision)

    async def _observe(self, key: NamespacedName, memory: Memory) -> Observation | None:
        """Observe the set; None if it is gone, or another operator's.

        A decision to do nothing may rely on what the status says of the ConfigMaps; any other is made from
        files that this process has read.
        """
        now = self._clock()
        observation = await self._observer.observe(key, now, memory)
        if observation is None or not observation.unread:
            return observation
        decision = decide(observation.set)
        if is_no_op(observation.set, decision):
            return replace(observation, decision=decision)
        return await self._observer.observe(key, now, memory, read=True)

    async def _report_competitor(self, key: NamespacedName, observation: Observation) -> None:
        """Report a competing installation by an Event, once for each of its Jobs."""
        competitor, remembered = observation.competitor, self._remembered[key]
        if competitor is None or competitor == remembered.competitor:
            return
        if not competitor.steps_back and not competitor.marked:
            mark = {"metadata": {"annotations": {ANNOTATION_CONTESTED: self._settings.installation}}}
            job = await self._kube.patch(Resource.JOBS, key[0], competitor.job, mark)
            self._store.keep(ObjectKind.JOB, job)
        note = competitor.note(self._settings, key[0])
        logger.warning("%s/%s %s: %s", *key, note.reason, note.message)
        await self._recorder.event(observation.body, note, observation.set.now)
        remembered.competitor = replace(competitor, marked=not competitor.steps_back)

    def _defer_to_competitor(self, key: NamespacedName) -> None:
        """Leave the set to the other installation until its Job has ended."""
        for track in Track:
            self._slots.release((key, track))
        self._metrics.set_removed(key)
        self._follower.forget(key)
        self._requeue(key, self._settings.resync)

    async def _publish(self, key: NamespacedName, observation: Observation, decision: SetDecision) -> None:
        """Publish the decision's Events and log lines, and the metrics of runs that have ended."""
        for note in decision.notes:
            log = logger.warning if note.warning else logger.info
            log("%s/%s %s: %s", *key, note.reason, note.message)
            await self._recorder.event(observation.body, note, observation.set.now)
        for track in Track:
            record, before = decision.status.tracks.of(track), observation.set.status.tracks.of(track)
            if record.finished_at and record.finished_at != before.finished_at:
                self._metrics.run_ended(track, record)

    def _decide_with_slots(self, key: NamespacedName, observation: Observation) -> SetDecision:
        """Decide with the state of the slots; then hold, queue for, or release the tracks' slots."""
        observed = observation.set
        working = {
            track
            for track in Track
            if occupies_slot(observed.tracks[track], observed.status.tracks.of(track), observed.now)
        }
        for track in working:
            self._slots.hold((key, track))
        decision = observation.decision
        if decision is None:
            tracks = {name: self._with_queue(key, track, working) for name, track in observed.tracks.items()}
            decision = decide(replace(observed, tracks=tracks))
        self._remembered[key].reserved = set(decision.creates) - working
        for track in set(Track) - working - decision.creates:
            if track in decision.queued:
                self._slots.wait((key, track), begun=track in decision.begun)
            else:
                self._slots.release((key, track), wake=False)
        for track in decision.creates:
            self._slots.hold((key, track))
        # Only now: the slot of a track that has ended goes first to the other track of the set.
        self._slots.wake_next()
        return decision

    def _with_queue(self, key: NamespacedName, track: ObservedTrack, working: set[Track]) -> ObservedTrack:
        """The track with what its Job would wait for; the set's slots that are not in use count as free."""
        holder = (key, track.track)
        idle = [(key, other) for other in Track if other not in working and other is not track.track]
        queue = self._slots.queue_of(holder, idle=idle)
        if queue is None:  # nor would it wait if it had begun: that only moves it ahead
            return replace(track, queue=None, queue_if_begun=None)
        begun = self._slots.queue_of(holder, begun=True, idle=idle)
        return replace(track, queue=queue, queue_if_begun=begun)

    async def _write(self, key: NamespacedName, observation: Observation, status: SetStatus) -> None:
        """Write the status, and with it the versions of its sources, which alone are not worth a write."""
        sources = observation.sources.items()
        recorded = {track: source.recorded if source else None for track, source in sources}
        status = with_sources(status, recorded)
        observed, metadata = observation.body, observation.body["metadata"]
        body = {
            "apiVersion": observed["apiVersion"],
            "kind": observed["kind"],
            "metadata": {name: metadata[name] for name in ("name", "namespace", "uid", "resourceVersion")},
            "status": status_json.write(status),
        }
        written = await self._kube.replace(Resource.SETS, *key, body, "status")
        self._store.keep(ObjectKind.SET, written)
        self._metrics.status_written()

    async def _reread(self, key: NamespacedName, observation: Observation) -> bool:
        """Read the set again, into the store; returns whether the store was outdated.

        If it was not, a webhook has refused the write, and would do so again at once.
        """
        body, uid = await self._kube.find(Resource.SETS, *key), observation.set.uid
        gone = body is None or body["metadata"]["uid"] != uid
        if gone:
            self._store.remove(ObjectKind.SET, uid)
        if body is None:
            return True
        self._store.keep(ObjectKind.SET, body)
        before, now = (number(read["metadata"]["resourceVersion"]) for read in (observation.body, body))
        return gone or now > before

    def _follow_up(self, key: NamespacedName, observation: Observation, decision: SetDecision) -> None:
        """Update what is not in the API server: timers, logs to follow, metrics."""
        for track in Track:
            record = decision.status.tracks.of(track)
            if record.phase is Phase.RUNNING and self._settings.progress:
                pods = observation.set.tracks[track].pods
                name = next((pod.name for pod in pods if pod.run == record.run and pod.active), None)
                if name:
                    self._follower.follow(key, track, name, record.run)
            if record.claimed_by and record.claimed_by.uid:
                self._claimed[record.claimed_by.uid].add(key)
            former = self._takeovers.note(key, track, record)
            if former in self._remembered:
                self._requeue(former, 0.0)  # only a run can find out that the track was taken over
        if decision.status != observation.set.status:
            for waiting in self._claimed.get(observation.set.uid, ()):
                self._requeue(waiting, 0.0)  # it may have released the track
        self._metrics.set_observed(key, decision.status)
        delay = self._settings.resync * random.uniform(0.8, 1.2)
        if decision.due is not None:
            delay = min(delay, max((decision.due - self._clock()).total_seconds(), 0.2))
        self._requeue(key, delay)

    def _forget(self, key: NamespacedName) -> None:
        forgotten = self._remembered.pop(key, None)
        if forgotten is not None:
            self._forget_set(key, forgotten.uid)
        self._takeovers.forget(key)
        self._metrics.set_removed(key)
        self._follower.forget(key)
        leftovers = self._observer.leftovers(key, self._clock())
        for track in Track:
            if track in leftovers:
                self._slots.hold((key, track))
            else:
                self._slots.release((key, track))
        if leftovers:
            self._requeue(key, RECHECK_AFTER.total_seconds())
