"""The end of a run: the track's record after it, and its Events."""

import hashlib
from dataclasses import replace
from typing import Final

from fluxbase_migrations.api.reasons import EventReason
from fluxbase_migrations.api.status import JobReference, TrackStatus
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions.desired import EventNote
from fluxbase_migrations.decisions.facts import without_database_facts
from fluxbase_migrations.decisions.job_state import (
    Ended,
    ObservedJob,
)
from fluxbase_migrations.decisions.observed import ObservedTrack, ReconcileContext
from fluxbase_migrations.decisions.run_result import apply_run_result, exposure_notes, run_events, with_obeyed

_INCONCLUSIVE: Final = (
    Outcome.LOCK_HELD,
    Outcome.INTERRUPTED,
    Outcome.SOURCE_CHANGED,
    Outcome.TRANSIENT,
    None,
)
"""Outcomes of a routine check that say nothing about the database: it is retried."""


def record_end(
    observed: ObservedTrack, record: TrackStatus, ended: Ended, context: ReconcileContext
) -> tuple[TrackStatus, tuple[EventNote, ...]]:
    """The record after the run has ended, and the Events of it."""
    record = replace(record, job=reference(record, ended.job))
    if of_another_database(record, context):
        record = replace(record, finished_at=ended.finished_at or context.now, started_at=ended.started_at)
        text = (
            f"{observed.track}: run {record.run}, on the database that spec.database named before, has ended"
        )
        return without_database_facts(with_obeyed(record, ended.result)), (
            EventNote(False, EventReason.DATABASE_CHANGED, text),
        )
    after = apply_run_result(
        record, ended, context.retry, context.now, jitter=_jitter(context.uid, record.run)
    )
    if record.routine:
        return _end_of_recheck(observed, record, after, ended)
    return after, _end_notes(observed, record, after, ended)


def _end_of_recheck(
    observed: ObservedTrack, before: TrackStatus, record: TrackStatus, ended: Ended
) -> tuple[TrackStatus, tuple[EventNote, ...]]:
    """The record and Events after a routine check: none where it found no change."""
    outcome = ended.result.outcome if ended.result else None
    same = outcome is Outcome.NO_CHANGE or outcome is before.outcome is Outcome.EXPOSED
    same = same or (outcome is before.outcome is Outcome.AWAITING_APPROVAL and record.plan == before.plan)
    findings = (record.warnings, record.exposed, record.exposures)
    if same and findings == (before.warnings, before.exposed, before.exposures):
        return replace(record, routine=None), ()
    again = record.retry_at is not None and record.outcome in _INCONCLUSIVE
    record = replace(record, routine=True if again else None)
    return record, _end_notes(observed, before, record, ended)


def _end_notes(
    observed: ObservedTrack, before: TrackStatus, record: TrackStatus, ended: Ended
) -> tuple[EventNote, ...]:
    """The Events of a run's end. A failure because of exposures has them in its error already."""
    exposed = () if record.outcome is Outcome.EXPOSED else exposure_notes(observed.track, before, record)
    return run_events(observed.track, record, ended.result) + exposed


def of_another_database(record: TrackStatus, context: ReconcileContext) -> bool:
    """Whether ``spec.database`` was different when the run was planned."""
    return record.database_digest is not None and record.database_digest != context.database_digest


def _jitter(uid: str, run: int) -> float:
    """A factor between 0.9 and 1.1, always the same for one run."""
    return 0.9 + hashlib.sha256(f"{uid}{run}".encode()).digest()[0] / 1275


def reference(record: TrackStatus, job: ObservedJob | None) -> JobReference | None:
    """The Job of the record's run, with its uid where it was seen."""
    return JobReference(job.name, job.uid) if job else record.job
