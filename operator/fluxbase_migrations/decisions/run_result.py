"""The result of a run, as the track's record and Events."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from fluxbase_migrations.api.reasons import (
    AT_ONCE,
    Effect,
    EventReason,
    Reason,
    backoff,
    effect,
    immediate_backoff,
)
from fluxbase_migrations.api.status import Owner, TrackStatus
from fluxbase_migrations.core.errors import describe
from fluxbase_migrations.core.exposure import counted, listed
from fluxbase_migrations.core.identity import differs
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import FORCE, TAKE_OVER, ErrorInfo, Outcome, Result
from fluxbase_migrations.decisions.desired import EventNote, RetryPolicy
from fluxbase_migrations.decisions.job_state import Ended

DEADLINE: Final = "DeadlineExceeded"
"""The Job's own reason for an end by ``activeDeadlineSeconds``."""


def apply_run_result(
    record: TrackStatus, ended: Ended, retry: RetryPolicy, now: datetime, jitter: float = 1.0
) -> TrackStatus:
    """The record after a run; the phase that it has is up to ``status_messages``.

    ``jitter`` is a factor for the time until the next try.
    """
    after = with_obeyed(_reported(record, ended, now), ended.result)
    match _effect(after, ended):
        case Effect.WAIT:
            return _waiting(record, after, retry, now, jitter)
        case Effect.RETRY if record.attempts <= retry.limit:
            delay = backoff(retry.backoff, record.attempts) * jitter
            after = _with_deadline_hint(after, ended)
            return replace(after, waits=0, retry_at=now + timedelta(seconds=delay))
        case Effect.EMPTY:
            after = replace(_request_completed(after), attempts=max(record.attempts - 1, 0))
            return replace(after, waits=record.waits + 1)
        case outcome_effect:
            after = replace(_request_completed(_with_deadline_hint(after, ended)), waits=0)
            return _settled(after, outcome_effect, ended.result)


def _effect(after: TrackStatus, ended: Ended) -> Effect:
    """The outcome's effect; Retry, with its limit, where ``activeDeadlineSeconds`` ended a waiting run."""
    outcome_effect = effect(after.outcome)
    return Effect.RETRY if outcome_effect is Effect.WAIT and _exceeded(ended) else outcome_effect


def _exceeded(ended: Ended) -> bool:
    return ended.job is not None and ended.job.reason == DEADLINE


def _reported(record: TrackStatus, ended: Ended, now: datetime) -> TrackStatus:
    """The record with what the run reports: outcome, times, error, state of the database."""
    result = ended.result
    after = replace(
        record,
        outcome=_outcome(record, result),
        started_at=ended.started_at or record.started_at,
        finished_at=ended.finished_at or now,
        progress=None,
        retry_at=None,
        error=result.error if result else ErrorInfo(f"the run ended without a result: {ended.because}"),
        claimed_by=None,
        recovered=result.recovered if result else None,
        warnings=result.warnings if result else (),
        applied=result.applied if result else (),
    )
    after = _with_plan(after, result)
    if result is None:
        return after
    if differs(record.database, result.database):
        after = replace(after, version=None, dirty=False, pending=None, rolled_back=None)
        after = replace(after, exposed=None, exposures=())
    return _with_exposures(_with_database_state(after, result), result)


def _with_plan(record: TrackStatus, result: Result | None) -> TrackStatus:
    """The record with the plan that waits for approval, or without the one that was applied.

    A run that may be repeated goes on with the plan that it had.
    """
    if result is None or effect(result.outcome) in (Effect.WAIT, Effect.RETRY, Effect.CLAIMED):
        return record
    if result.plan is None:
        keep = record.approved is not None and not _has_applied(result)
        return record if keep else replace(record, plan=None, approved=None)
    same = record.plan is not None and record.plan.digest == result.plan.digest
    # A run carried it, and the runner has reported that it no longer matches the plan.
    approved = record.approved if same and record.approved != record.commands.approve else None
    return replace(record, plan=result.plan, approved=approved)


def _has_applied(result: Result) -> bool:
    """Whether all files are applied."""
    return result.outcome.succeeded or result.outcome is Outcome.EXPOSED


def _waiting(
    record: TrackStatus, after: TrackStatus, retry: RetryPolicy, now: datetime, jitter: float
) -> TrackStatus:
    """The record of a run that is retried without limit: it is not counted as an attempt."""
    waits = record.waits + 1
    at_once = after.outcome in AT_ONCE
    delay = immediate_backoff(waits) if at_once else backoff(retry.backoff, waits) * jitter
    attempts = max(record.attempts - 1, 0)
    return replace(after, waits=waits, attempts=attempts, retry_at=now + timedelta(seconds=delay))


def _request_completed(after: TrackStatus) -> TrackStatus:
    """The request is over: a later change does not run a failed file again on its behalf."""
    return replace(after, commands=replace(after.commands, requested=None))


def _settled(after: TrackStatus, outcome_effect: Effect, result: Result | None) -> TrackStatus:
    if outcome_effect is Effect.SETTLE:
        return replace(after, rolled_back=after.outcome is Outcome.ROLLED_BACK or None)
    if result is None:
        return after
    if after.outcome is Outcome.EXPOSED and result.applied:
        # Once the objects are closed, the next run finds this version and applies nothing.
        return replace(after, rolled_back=result.applied[-1].direction == "down" or None)
    if outcome_effect is Effect.CLAIMED and result.owner:
        return replace(after, claimed_by=Owner(result.owner, result.owner_uid, result.owner_cluster))
    return after


def with_obeyed(record: TrackStatus, result: Result | None) -> TrackStatus:
    """The record with the commands that its run says it has obeyed."""
    if result is None:
        return record
    carried = {FORCE: record.commands.force, TAKE_OVER: record.commands.take_over}
    values = [carried.get(kind) for kind in result.obeyed]
    values += [record.commands.approve] if _has_applied(result) else []
    obeyed = tuple(value for value in values if value is not None)
    if not obeyed:
        return record
    return replace(record, commands=replace(record.commands, obeyed=obeyed))


def _with_deadline_hint(after: TrackStatus, ended: Ended) -> TrackStatus:
    """Give the error a hint if ``activeDeadlineSeconds`` ended a run that would have waited."""
    if not _exceeded(ended) or effect(after.outcome) is not Effect.WAIT:
        return after
    hint = "job.activeDeadlineSeconds ended the run; give it more time"
    return replace(after, error=replace(after.error or ErrorInfo("the run was interrupted"), hint=hint))


def _outcome(record: TrackStatus, result: Result | None) -> Outcome | None:
    """The run's outcome. A rolled back track that is unchanged stays RolledBack, and is not Applied."""
    if result is None:
        return None
    if (
        result.outcome is Outcome.NO_CHANGE
        and record.rolled_back
        and not differs(record.database, result.database)
    ):
        same = result.version == record.version and result.version != result.latest
        return Outcome.ROLLED_BACK if same else Outcome.NO_CHANGE
    return result.outcome


def _with_database_state(record: TrackStatus, result: Result) -> TrackStatus:
    """Add what the run read of the database and the source."""
    if result.observed:
        record = replace(record, version=result.version, dirty=result.dirty, pending=result.pending)
    if result.database is not None:
        record = replace(record, database=result.database, read_at=record.finished_at)
    if result.taken_from is not None:
        taken_from = Owner(result.taken_from, result.taken_from_uid)
        record = replace(record, taken_from=taken_from, taken_at=record.finished_at)
    if result.source_digest is not None:
        record = replace(
            record,
            source_digest=result.source_digest,
            latest=result.latest,
            skipped_versions=result.skipped_versions,
        )
    return record


def _with_exposures(record: TrackStatus, result: Result) -> TrackStatus:
    """Add the exposed objects, if the run has checked them."""
    if result.exposed is None and not result.outcome.succeeded:
        return record
    return replace(record, exposed=result.exposed, exposures=result.exposures)


def exposure_notes(track: Track, before: TrackStatus, record: TrackStatus) -> tuple[EventNote, ...]:
    """The Event for a change of the exposed objects."""
    if (record.exposed, record.exposures) == (before.exposed, before.exposures):
        return ()
    if record.exposed:
        text = f"{counted(record.exposed)}: {listed(record.exposures, record.exposed)}"
        return (EventNote(True, Outcome.EXPOSED, f"{track}: {text}"),)
    if record.exposed == 0 and before.exposed:
        return (
            EventNote(
                False,
                EventReason.NOT_EXPOSED,
                f"{track}: nothing is reachable past row-level security any more",
            ),
        )
    return ()


def run_events(track: Track, record: TrackStatus, result: Result | None) -> tuple[EventNote, ...]:
    """The Events of a run's end."""
    version = "nothing applied" if record.version is None else f"version {record.version}"
    notes = []
    if record.recovered:
        notes.append(EventNote(False, EventReason.RECOVERED, f"{track}: {record.recovered}"))
    if result is not None and result.taken_from:
        text = f"{track}: taken over from the set {result.taken_from} (uid {result.taken_from_uid})"
        notes.append(EventNote(False, EventReason.TAKEN_OVER, text))
    if result is not None and result.baselined is not None:
        text = f"{track}: baseline recorded, version {result.baselined}; no file up to it was run"
        notes.append(EventNote(False, EventReason.BASELINED, text))
    if record.warnings:
        notes.append(EventNote(True, EventReason.WARNING, f"{track}: " + "; ".join(record.warnings)))
    match record.outcome:
        case Outcome.APPLIED:
            notes.append(EventNote(False, Outcome.APPLIED, f"{track} migrations applied, {version}"))
        case Outcome.NO_CHANGE:
            notes.append(
                EventNote(False, Outcome.NO_CHANGE, f"no new {track} migrations to apply, {version}")
            )
        case Outcome.ROLLED_BACK:
            notes.append(EventNote(False, Outcome.ROLLED_BACK, f"{track} migrations rolled back, {version}"))
        case Outcome.AWAITING_APPROVAL:
            pass  # the set has one Event for the plan of both tracks
        case Outcome.SOURCE_EMPTY if record.version is None:
            notes.append(EventNote(False, Outcome.SOURCE_EMPTY, f"{track}: there are no migration files yet"))
        case outcome:
            reason: str = outcome or Reason.RESULT_MISSING
            if outcome is Outcome.CONFLICT:
                reason = Reason.DATABASE_CLAIMED
            text = describe(record.error) if record.error else f"the run ended as {reason}"
            if record.dirty:
                text += f" (the database is marked dirty at version {record.version})"
            notes.append(EventNote(True, reason, f"{track}: {text}"))
    return tuple(notes)
