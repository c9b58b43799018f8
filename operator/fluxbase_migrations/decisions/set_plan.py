"""The plan of a set that waits for approval: what is shown of it, and which tracks an approval is for."""

from collections.abc import Sequence
from dataclasses import replace

from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.api.status import SetPlan, SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.core.approval import (
    LISTED,
    LOCKS,
    TrackPlan,
    approved_digest,
    files_wait,
    risks,
    set_digest,
    short,
)
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions.command_status import OPEN
from fluxbase_migrations.decisions.desired import EventNote

_MAKING: frozenset[str] = frozenset({Reason.STARTING, Reason.QUEUED, Reason.REPLACING, Reason.POD_PENDING})
"""Reasons of a track that is about to make its plan."""


def with_approvals(status: SetStatus) -> SetStatus:
    """The status whose tracks say by which command their plans are approved: by the open one, if any."""
    command, plan = status.commands.approve, status.plan
    value = command.value if command is not None and command.state in OPEN else None
    covered: Sequence[Track] = ()
    if value is not None and plan is not None and approved_digest(value) == plan.digest:
        covered = plan.tracks

    def approved(track: Track, record: TrackStatus | None) -> TrackStatus | None:
        if record is None or record.plan is None:
            return record
        kept = record.approved if record.approved == value else None
        return replace(record, approved=value if track in covered else kept)

    tracks = TracksStatus(
        approved(Track.SYSTEM, status.tracks.system), approved(Track.USER, status.tracks.user)
    )
    return replace(status, tracks=tracks)


def awaits_approval(record: TrackStatus) -> bool:
    """Whether the track shows a plan that waits, and no run of it is under way but a routine check."""
    return record.reason == Outcome.AWAITING_APPROVAL


def waiting(tracks: TracksStatus) -> SetPlan | None:
    """What waits for approval; None while a track is still to make its plan, so that one approval will do."""
    if any(_is_making(tracks.of(track)) for track in Track):
        return None
    plans = [(track, plan) for track in Track if (plan := _waiting(tracks.of(track))) is not None]
    if not plans:
        return None
    files = [f"{track}/{file.name}" for track, plan in plans for file in plan.files]
    destructive = [plan.destructive for _, plan in plans]
    return SetPlan(
        set_digest((track, plan.digest) for track, plan in plans),
        count=sum(plan.count for _, plan in plans),
        files=tuple(files[:LISTED]),
        strongest_lock=_strongest([plan for _, plan in plans]),
        destructive=True if any(destructive) else None if None in destructive else False,
        unknown=any(plan.unknown != 0 for _, plan in plans),
        tracks=tuple(track for track, _ in plans),
    )


def _waiting(record: TrackStatus) -> TrackPlan | None:
    """The plan of a track, if it is not approved yet."""
    waits = record.reason in (Outcome.AWAITING_APPROVAL, Reason.SUSPENDED)
    if record.outcome is not Outcome.AWAITING_APPROVAL or record.approved is not None or not waits:
        return None
    return record.plan if record.plan is not None and record.plan.count else None


def _is_making(record: TrackStatus) -> bool:
    """Whether a run is about to tell the track's plan. One that Kubernetes keeps from starting is not."""
    if record.phase is Phase.RUNNING:
        return True
    return record.phase is Phase.PENDING and record.reason in _MAKING


def _strongest(plans: Sequence[TrackPlan]) -> str | None:
    locks = [plan.strongest_lock for plan in plans if plan.strongest_lock in LOCKS]
    return max(locks, key=LOCKS.index, default=None)


def notes(name: str, before: SetPlan | None, plan: SetPlan | None) -> tuple[EventNote, ...]:
    """The Event for a plan that is new."""
    if plan is None or (before is not None and before.digest == plan.digest):
        return ()
    risk_summary = risks(plan.strongest_lock, plan.destructive, 1 if plan.unknown else 0)
    text = (
        f"{files_wait(plan.count)} for approval ({risk_summary}): kubectl fluxbase approve {name} "
        f"--digest {short(plan.digest)}"
    )
    return (EventNote(False, Outcome.AWAITING_APPROVAL, text),)
