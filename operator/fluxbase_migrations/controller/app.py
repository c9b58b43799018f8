"""The operator's parts, put together."""

import asyncio
import contextlib
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

from pydantic import ValidationError

from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.controller.process import http
from fluxbase_migrations.controller.process.lease import Lease
from fluxbase_migrations.controller.process.metrics import Metrics
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.events import EventRecorder
from fluxbase_migrations.controller.reconcile.log_follower import LogFollower
from fluxbase_migrations.controller.reconcile.observe import Observer
from fluxbase_migrations.controller.reconcile.reconciler import Reconciler
from fluxbase_migrations.controller.reconcile.slots import Slots
from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapIndex, ConfigMapReader
from fluxbase_migrations.controller.watch.namespace_watch import Watch
from fluxbase_migrations.controller.watch.reflector import Reflector, reflectors
from fluxbase_migrations.controller.watch.store import ObjectKind, Store, Stored
from fluxbase_migrations.controller.watch.workqueue import MAX_BACKOFF, WorkQueue
from fluxbase_migrations.core.names import GROUP, PLURAL, VERSION, Track

logger = logging.getLogger(__name__)

RECONCILE_LIMIT: Final = 120.0
"""Seconds to reconcile one set."""
FIRST_PAUSE: Final = 0.5
"""Seconds until a refused request is sent again at the start; doubled each time."""
MAX_PAUSE: Final = 10.0
"""Seconds at most between retries: short, so that missed changes follow soon."""
NOT_INSTALLED: Final = "NotInstalled"
STUCK_AFTER: Final = 300.0
"""Seconds that a set may be due or worked on, or a watch fail, before the operator is unhealthy."""


def utc_now() -> datetime:
    """The time in whole seconds, as status and Events have it."""
    return datetime.now(UTC).replace(microsecond=0)


class Operator:
    """The operator of one process; :meth:`run` it once."""

    def __init__(self, settings: Settings, kube: Kube) -> None:
        self._settings = settings
        self._kube = kube
        self._metrics = Metrics()
        self._store = Store()
        self._references = ConfigMapIndex()
        self._sources = ConfigMapReader(kube)
        self._queue: WorkQueue[NamespacedName] = WorkQueue(time.monotonic)
        self._metrics.queue.set_function(lambda: len(self._queue))
        self._refused: dict[str, str] = {}
        """By namespace: the API server's message where it refused a request (403)."""
        self._follower = LogFollower(kube, self._queue.add)
        self._reflectors = reflectors(
            kube, settings.namespaces, self._sources, changed=self._config_map_changed
        )
        self._watches = [
            Watch(
                namespace,
                self._store,
                complete=self._complete,
                changed=self._changed,
                failed=self._check_watches,
            )
            for namespace in settings.namespaces or (None,)
        ]
        self._unwatched: dict[str | None, str] = {}
        """By namespace, or None for all, that may not be watched any more: the API server's message."""
        self._watching = asyncio.Event()
        """Set when each watch has listed everything, or has failed."""
        self._observer = Observer(kube, settings, self._store, self._references, self._sources)
        self._reconciler = Reconciler(
            kube=kube,
            settings=settings,
            store=self._store,
            observer=self._observer,
            recorder=EventRecorder(kube, settings.pod_name),
            slots=Slots[tuple[NamespacedName, Track]](
                settings.max_concurrent_jobs,
                wake=lambda holder: self._queue.add(holder[0]),
                namespace=lambda holder: holder[0][0],
                namespace_limit=settings.max_concurrent_jobs_per_namespace,
            ),
            follower=self._follower,
            metrics=self._metrics,
            clock=utc_now,
            requeue=self._queue.add,
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Work until ``stop`` is set, or a part of the operator ends, which is an error.

        Raises:
            KubeError: our resource is not installed.
            RuntimeError: a part ended.
        """
        server = await http.serve(
            self._settings.http_port, self._metrics, self.health_error, self.readiness_error
        )
        lease = Lease(
            self._kube,
            self._settings.pod_namespace,
            self._settings.lease_name,
            self._settings.pod_name,
        )
        waiter = asyncio.create_task(stop.wait(), name="stop")
        try:
            if self._settings.leader_election:
                acquiring = asyncio.create_task(lease.acquire(), name="lease")
                await asyncio.wait({acquiring, waiter}, return_when=asyncio.FIRST_COMPLETED)
                if stop.is_set():
                    acquiring.cancel()
                    return
            self._metrics.leader.set(1)
            await self._lead(waiter, lease if self._settings.leader_election else None)
        finally:
            waiter.cancel()
            await self._follower.close()
            await server.cleanup()

    async def _lead(self, stop: asyncio.Task[bool], lease: Lease | None) -> None:
        parts: set[asyncio.Task[Any]] = set()
        if lease:
            parts.add(asyncio.create_task(lease.keep(), name="lease"))
        starting = asyncio.create_task(self._start(), name="start")
        try:
            await asyncio.wait({starting, stop, *parts}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                await starting
                parts |= self._parts()
            done, _ = await asyncio.wait({*parts, stop}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            starting.cancel()
            for part in parts:
                part.cancel()
            await asyncio.wait({starting, *parts})
        if lease and stop in done:
            await lease.release()
        for part in done & parts:
            if not part.cancelled() and part.exception():
                raise RuntimeError(f"{part.get_name()} failed: {part.exception()}") from part.exception()
            raise RuntimeError(f"{part.get_name()} ended")

    def _parts(self) -> set[asyncio.Task[Any]]:
        """Start watches and workers; none of these tasks should ever end."""
        return {
            *(asyncio.create_task(watch.run(), name="watch") for watch in self._watches),
            *(asyncio.create_task(self._work(), name=f"worker {n}") for n in range(self._settings.workers)),
            *(
                asyncio.create_task(self._reflect(reflector), name="ConfigMap watch")
                for reflector in self._reflectors
            ),
        }

    async def _start(self) -> None:
        """Wait until sets can be read: an API server that has just started may refuse requests for a while.

        Raises:
            KubeError: our resource is not installed.
        """
        pause = FIRST_PAUSE
        while True:
            try:
                await self._check_installed()
            except KubeError as error:
                if error.reason == NOT_INSTALLED:
                    raise
                for watch in self._watches:
                    watch.mark_stale()
                logger.warning("%s; retrying in %.1f s", error, pause)
                await asyncio.sleep(pause)
                pause = min(pause * 2, MAX_PAUSE)
            else:
                return

    async def _check_installed(self) -> None:
        """Check in which watched namespaces sets can be read; one may be deleted, and our rights with it.

        Raises:
            KubeError: in none of them, or our resource is not installed.
        """
        refused: KubeError | None = None
        for watch in self._watches:
            try:
                await self._kube.get(Resource.SETS, watch.namespace, query={"limit": 1})
            except KubeError as error:
                if error.status == 404:
                    message = (
                        f"the resource {PLURAL}.{GROUP} {VERSION} is not installed: kubectl apply -f crds/"
                    )
                    raise KubeError(404, NOT_INSTALLED, message) from error
                if error.status != 403:
                    raise
                refused = error
                watch.has_failed = True  # so that its lists are not waited for
        if refused and all(watch.has_failed for watch in self._watches):
            raise refused
        self._check_watches()

    async def _reflect(self, reflector: Reflector) -> None:
        """Watch ConfigMaps until cancelled, once the sets are known that refer to them."""
        await self._watching.wait()
        await reflector.run()

    def _complete(self, namespace: str | None) -> None:
        """All sets, Jobs and pods of a namespace, or of all, are in the store: its sets may be reconciled."""
        self._reconciler.hold_slots(namespace)
        for key in self._store.sets():
            if namespace in (None, key[0]):
                self._observer.expect(key)
                self._queue.add(key)
        self._check_watches()

    def _check_watches(self) -> None:
        """Let the workers start when all watches are complete: existing Jobs have taken their slots by then.

        The sets of a namespace that may no longer be watched are reconciled once more, to report it.
        """
        before = self._unwatched
        self._unwatched = {watch.namespace: watch.refusal for watch in self._watches if watch.refusal}
        for key in self._store.sets() if self._unwatched.keys() - before.keys() else ():
            if self._refusal(key):
                self._queue.add(key)
        if all(watch.is_complete or watch.has_failed for watch in self._watches):
            self._watching.set()

    def _refusal(self, key: NamespacedName) -> str | None:
        """The API server's message if the set's namespace may not be watched any more, else None."""
        return self._unwatched.get(None) or self._unwatched.get(key[0])

    async def _reconcile(self, key: NamespacedName) -> None:
        """Reconcile a set.

        Raises:
            KubeError: the namespace may not be watched; or see :meth:`Reconciler.reconcile`.
        """
        refusal = self._refusal(key)
        if refusal:
            raise KubeError(403, "Forbidden", refusal)
        await self._reconciler.reconcile(key)

    def _changed(self, stored: Stored, gone: bool) -> None:
        if stored.kind is ObjectKind.SET and gone:
            self._reconciler.deleted(stored.key, stored.uid)
        if stored.belongs_to is not None:
            self._queue.add(stored.belongs_to)

    async def _work(self) -> None:
        """Reconcile keys from the queue until cancelled; a failure of one does not affect the others."""
        await self._watching.wait()
        for reflector in self._reflectors:
            await reflector.settled.wait()
        while True:
            key = await self._queue.get()
            started = time.monotonic()
            try:
                async with asyncio.timeout(RECONCILE_LIMIT):
                    await self._reconcile(key)
            except asyncio.CancelledError:
                raise
            except Exception as error:
                await self._failed(key, error)
            else:
                self._refused.pop(key[0], None)
                self._queue.done(key)
            finally:
                self._metrics.reconcile.observe(time.monotonic() - started)

    async def _failed(self, key: NamespacedName, error: Exception) -> None:
        """Report a failure in the log and the set's status, and missing rights in the readiness, too."""
        status = error.status if isinstance(error, KubeError) else None
        failures = self._queue.failures(key) + 1
        await self._reconciler.failed(key, error, failures)
        if status == 403:
            self._refused[key[0]] = str(error)
        # When a watch works again, all of its sets are reconciled.
        soon = status in (0, 403) and not self._refusal(key)
        delay = self._queue.failed(key, MAX_PAUSE if soon else MAX_BACKOFF)
        self._metrics.reconcile_failures.inc()
        detail = None if isinstance(error, KubeError | TimeoutError | ValidationError) else error
        logger.warning("%s/%s: %s; retrying in %.1f s", *key, str(error) or "timeout", delay, exc_info=detail)

    def _config_map_changed(self, source: NamespacedName) -> None:
        for key in self._references.of(source):
            self._queue.add(key)

    def health_error(self) -> str | None:
        """Why the operator should be restarted; None if it is healthy."""
        stuck = self._queue.stuck_for()
        if stuck > STUCK_AFTER:
            return f"a set has been in the queue for {stuck:.0f} s"
        stale = min(watch.stale_for() for watch in self._watches)
        return f"no watch has delivered anything for {stale:.0f} s" if stale > STUCK_AFTER else None

    def readiness_error(self) -> str | None:
        """Why the operator cannot do all of its work now, a restart needed or not; None if it can."""
        problems = [*self._refused.values()]
        problems += [
            f"{watch.where} {'cannot be watched' if watch.has_failed else 'has not been listed yet'}"
            for watch in self._watches
            if watch.stale_for() > 0
        ]
        problems += [
            f"ConfigMaps cannot be watched: {reflector.failure}"
            for reflector in self._reflectors
            if reflector.failure
        ]
        return self.health_error() or "; ".join(problems) or None


async def main(settings: Settings, stop: asyncio.Event) -> None:
    """Connect to the API server and run the operator until ``stop`` is set; see :meth:`Operator.run`."""
    kube = await Kube.connect()
    with contextlib.suppress(asyncio.CancelledError):
        try:
            await Operator(settings, kube).run(stop)
        finally:
            await kube.close()
