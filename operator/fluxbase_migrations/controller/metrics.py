"""Metrics for Prometheus."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from fluxbase_migrations.controller.sources import Key
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.status import SetStatus, TrackStatus

_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 28800)


class Metrics:
    """What the operator counts; rendered by :meth:`render`."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        of_track = ("namespace", "name", "track")
        self._version = Gauge(
            "fluxbase_migrations_version",
            "Version in the tracking table; -1: nothing applied; NaN: not known.",
            of_track,
            registry=registry,
        )
        self._dirty = Gauge(
            "fluxbase_migrations_dirty",
            "1 if the tracking table is marked dirty; NaN: not known.",
            of_track,
            registry=registry,
        )
        self._pending = Gauge(
            "fluxbase_migrations_pending",
            "Migrations still to be applied; NaN: not known.",
            of_track,
            registry=registry,
        )
        self._phase = Gauge(
            "fluxbase_migrations_phase",
            "1 for the phase that the track is in.",
            (*of_track, "phase"),
            registry=registry,
        )
        self._runs = Counter(
            "fluxbase_migrations_runs", "Runs that ended.", ("track", "outcome"), registry=registry
        )
        self._duration = Histogram(
            "fluxbase_migrations_run_seconds",
            "From the start of a run's container to its end.",
            ("track",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._jobs = Counter(
            "fluxbase_migrations_jobs_created", "Jobs created.", ("track",), registry=registry
        )
        self._writes = Counter("fluxbase_migrations_status_writes", "Writes of a status.", registry=registry)
        self.queue = Gauge("fluxbase_migrations_queue_depth", "Sets to be looked at now.", registry=registry)
        self.reconcile = Histogram(
            "fluxbase_migrations_reconcile_seconds", "Time to look at one set.", registry=registry
        )
        self.reconcile_failures = Counter(
            "fluxbase_migrations_reconcile_failures", "Looks at a set that failed.", registry=registry
        )
        self.leader = Gauge("fluxbase_migrations_leader", "1 in the replica that leads.", registry=registry)

    def render(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._registry)

    def status_written(self) -> None:
        """A status was written."""
        self._writes.inc()

    def job_created(self, track: Track) -> None:
        """A Job was created."""
        self._jobs.labels(track).inc()

    def run_ended(self, track: Track, record: TrackStatus) -> None:
        """The end of a run is in the status."""
        self._runs.labels(track, record.outcome or "ResultMissing").inc()
        if record.started_at and record.finished_at:
            self._duration.labels(track).observe((record.finished_at - record.started_at).total_seconds())

    def set_seen(self, key: Key, status: SetStatus) -> None:
        """The state of a set."""
        for track in Track:
            record = status.tracks.of(track)
            version = -1 if record.version is None else record.version
            self._version.labels(*key, track).set(version if record.known else math.nan)
            self._dirty.labels(*key, track).set(record.dirty if record.known else math.nan)
            self._pending.labels(*key, track).set(math.nan if record.pending is None else record.pending)
            for phase in Phase:
                self._phase.labels(*key, track, phase).set(record.phase is phase)

    def set_gone(self, key: Key) -> None:
        """A set was deleted."""
        for gauge in (self._version, self._dirty, self._pending):
            for track in Track:
                _remove(gauge, *key, track)
        for track in Track:
            for phase in Phase:
                _remove(self._phase, *key, track, phase)


def _remove(gauge: Gauge, *labels: str) -> None:
    try:
        gauge.remove(*labels)
    except KeyError:
        return
