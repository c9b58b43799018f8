"""Metrics for Prometheus."""

import math
from collections.abc import Iterator
from typing import NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from fluxbase_migrations.api.status import SetStatus, TrackStatus
from fluxbase_migrations.controller.client.kube import NamespacedName
from fluxbase_migrations.core.names import Phase, Track

_SECONDS = (0.5, 1, 2, 5, 10, 30, 60, 300, 1800, 7200, 28800)


class Metrics:
    """What the operator counts; rendered by :meth:`render`."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self._sets = _Sets()
        registry.register(self._sets)
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
        self.queue = Gauge(
            "fluxbase_migrations_queue_depth", "Sets that wait to be reconciled.", registry=registry
        )
        self.reconcile = Histogram(
            "fluxbase_migrations_reconcile_seconds", "Time to reconcile one set.", registry=registry
        )
        self.reconcile_failures = Counter(
            "fluxbase_migrations_reconcile_failures", "Reconciliations that failed.", registry=registry
        )
        self.leader = Gauge("fluxbase_migrations_leader", "1 in the leading replica.", registry=registry)

    def render(self) -> bytes:
        """The metrics in Prometheus' text format."""
        return generate_latest(self._registry)

    def status_written(self) -> None:
        """Count a write of a status."""
        self._writes.inc()

    def job_created(self, track: Track) -> None:
        """Count a created Job."""
        self._jobs.labels(track).inc()

    def run_ended(self, track: Track, record: TrackStatus) -> None:
        """Count a run whose end is in the status, and its duration."""
        self._runs.labels(track, record.outcome or "ResultMissing").inc()
        if record.started_at and record.finished_at:
            self._duration.labels(track).observe((record.finished_at - record.started_at).total_seconds())

    def set_observed(self, key: NamespacedName, status: SetStatus) -> None:
        """Record the state of a set."""
        self._sets.put(key, status)

    def set_removed(self, key: NamespacedName) -> None:
        """Drop the values of a set that was deleted, or is another operator's."""
        self._sets.remove(key)


class _Sets(Collector):
    """The state of every set. A gauge for each of its eighteen values would take twenty times the memory."""

    def __init__(self) -> None:
        self._tracks: dict[NamespacedName, tuple[_TrackValues, ...]] = {}

    def put(self, key: NamespacedName, status: SetStatus) -> None:
        """Record the state of a set."""
        self._tracks[key] = tuple(_values(status.tracks.of(track)) for track in Track)

    def remove(self, key: NamespacedName) -> None:
        """Drop a set."""
        self._tracks.pop(key, None)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """The gauges with every value of every set."""
        of_track = ("namespace", "name", "track")
        version = GaugeMetricFamily(
            "fluxbase_migrations_version",
            "Version in the tracking table; -1: nothing applied; NaN: not known.",
            labels=of_track,
        )
        dirty = GaugeMetricFamily(
            "fluxbase_migrations_dirty",
            "1 if the tracking table is marked dirty; NaN: not known.",
            labels=of_track,
        )
        pending = GaugeMetricFamily(
            "fluxbase_migrations_pending", "Migrations still to be applied; NaN: not known.", labels=of_track
        )
        phase = GaugeMetricFamily(
            "fluxbase_migrations_phase", "1 for the phase that the track is in.", labels=(*of_track, "phase")
        )
        for key, tracks in list(self._tracks.items()):  # a copy: this is not the thread that calls put()
            for track, values in zip(Track, tracks, strict=True):
                labels = (*key, track)
                version.add_metric(labels, values.version)
                dirty.add_metric(labels, values.dirty)
                pending.add_metric(labels, values.pending)
                for candidate in Phase:
                    phase.add_metric((*labels, candidate), values.phase is candidate)
        yield from (version, dirty, pending, phase)


class _TrackValues(NamedTuple):
    """The values of the gauges for one track."""

    version: float
    dirty: float
    pending: float
    phase: Phase


def _values(record: TrackStatus) -> _TrackValues:
    version = -1 if record.version is None else record.version
    return _TrackValues(
        version=version if record.known else math.nan,
        dirty=record.dirty if record.known else math.nan,
        pending=math.nan if record.pending is None else record.pending,
        phase=record.phase,
    )
