"""The set's phase and conditions, by the rules of kstatus: only ever a summary of its tracks."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from fluxbase_migrations.api.reasons import ADVICE, EventReason
from fluxbase_migrations.api.status import Condition, TracksStatus, TrackStatus
from fluxbase_migrations.api.transitions import Shows, line_of
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.core.text import cut

PRECEDENCE: Final = (Phase.FAILED, Phase.RUNNING, Phase.PENDING, Phase.ROLLED_BACK, Phase.APPLIED)
"""The set is in the first of these that one of its tracks is in."""

READY: Final = "Ready"
RECONCILING: Final = "Reconciling"
STALLED: Final = "Stalled"

MESSAGE_LIMIT: Final = 2048
"""Characters."""


def phase(tracks: TracksStatus) -> Phase:
    """The set's phase; Skipped if both tracks are."""
    present = {record.phase for _, record in _present(tracks)}
    return next((phase for phase in PRECEDENCE if phase in present), Phase.SKIPPED)


def conditions(
    tracks: TracksStatus, before: tuple[Condition, ...], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Ready, and while it is False exactly one of Reconciling and Stalled."""
    present = _present(tracks)
    decisive = phase(tracks)
    track, record = next(
        ((track, record) for track, record in present if record.phase is decisive), (None, TrackStatus())
    )
    dirty = [track for track, record in _both(tracks) if record.dirty]
    ready = decisive in (Phase.APPLIED, Phase.ROLLED_BACK, Phase.SKIPPED) and not dirty
    if ready:
        reason, message = str(decisive), _ready_message(tracks)
    elif decisive in (Phase.APPLIED, Phase.ROLLED_BACK, Phase.SKIPPED):
        reason, message = Outcome.DIRTY, _dirty_message(tracks, dirty)
    else:
        reason, message = record.reason or str(decisive), f"{track}: {record.message}"
    message = cut(message or "all tracks are skipped", MESSAGE_LIMIT)
    stated = [(READY, "True" if ready else "False")]
    if not ready:
        acts = any(_acts(record) for _, record in present)
        stated.append((RECONCILING if acts else STALLED, "True"))
    return _stated(stated, reason, message, before, generation, now)


def failing(
    before: tuple[Condition, ...], generation: int, now: datetime, message: str
) -> tuple[Condition, ...]:
    """The conditions of a set that cannot be reconciled; it will be retried."""
    return _stated(
        [(READY, "False"), (RECONCILING, "True")],
        EventReason.RECONCILE_ERROR,
        message,
        before,
        generation,
        now,
    )


def is_failing(conditions: tuple[Condition, ...]) -> bool:
    """Whether the set could not be reconciled: the rest of its status may be of an older spec."""
    return any(condition.reason == EventReason.RECONCILE_ERROR for condition in conditions)


def _stated(
    stated: Sequence[tuple[str, str]],
    reason: str,
    message: str,
    before: tuple[Condition, ...],
    generation: int,
    now: datetime,
) -> tuple[Condition, ...]:
    return tuple(
        Condition(
            type=kind,
            status=status,
            reason=reason,
            message=message,
            last_transition_time=_since(before, kind, status) or now,
            observed_generation=generation,
        )
        for kind, status in stated
    )


def _present(tracks: TracksStatus) -> list[tuple[Track, TrackStatus]]:
    return [(track, record) for track, record in _both(tracks) if _is_present(record)]


def _both(tracks: TracksStatus) -> list[tuple[Track, TrackStatus]]:
    both = ((Track.SYSTEM, tracks.system), (Track.USER, tracks.user))
    return [(track, record) for track, record in both if record]


def _is_present(record: TrackStatus) -> bool:
    return record.phase is not Phase.SKIPPED


def _ready_message(tracks: TracksStatus) -> str:
    """Where each track is, and whose volume still has no files."""
    return "; ".join(
        f"{track}: {record.message}"
        for track, record in _both(tracks)
        if _is_present(record) or record.reason == Outcome.SOURCE_EMPTY
    )


def _dirty_message(tracks: TracksStatus, dirty: list[Track]) -> str:
    """The message for a skipped track that is dirty: only a person can repair it."""
    versions = ", ".join(f"{track} at version {tracks.of(track).version}" for track in dirty)
    return f"tracking table is marked dirty: {versions}. {ADVICE[Outcome.DIRTY]}"


def _acts(record: TrackStatus) -> bool:
    """Whether the operator will continue automatically."""
    line = line_of(record.phase, record.reason)
    is_running = line.shows is Shows.READY and record.outstanding  # other sets may wait for it
    return line.shows is Shows.RECONCILING or is_running


def _since(before: tuple[Condition, ...], kind: str, status: str) -> datetime | None:
    return next(
        (
            condition.last_transition_time
            for condition in before
            if (condition.type, condition.status) == (kind, status)
        ),
        None,
    )
