"""``approval: Manual``: files run only as they were approved; otherwise a run only makes the plan.

The plan is made under the migration lock, from what the database and the files are then. An approval is
always checked: the digest is computed again from the place where the plan began, which the approval carries,
and from the files as this run has read them. So neither an old approval nor an operator that knows less than
the database can have anything run that was not in the plan. What the history has beyond that place must be of
the approved run itself, and what is to run must be what that has not applied: an approval is good for one run
of each file of its plan.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Final

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.approval import (
    LISTED,
    ApprovedPlan,
    PlannedFile,
    PlanStart,
    TrackPlan,
    continues,
)
from fluxbase_migrations.core.errors import AwaitingApproval, MigrationError
from fluxbase_migrations.core.files import Direction, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.log_lines import PLAN
from fluxbase_migrations.core.names import Recovery, Rollback
from fluxbase_migrations.core.plan import Plan, Step
from fluxbase_migrations.core.plan_digest import is_rest_of, plan_digest, recorded, version_of
from fluxbase_migrations.runner.execution.engine import Engine
from fluxbase_migrations.runner.execution.locked_track import LockedTrack
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, EntryOutcome, standing
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.recovery import in_doubt_resolution
from fluxbase_migrations.runner.recovery.case import Restore, failed_step, named_step
from fluxbase_migrations.runner.recovery.decide import decide

ANALYSED_BYTES: Final = 8 * 1024 * 1024
"""Bytes of files whose statements are analysed; of larger plans, only the names are shown."""
_OF_ANY_RUN: Final = (EntryKind.OWNER, EntryKind.RECOVERY, EntryKind.IDENTITY)
"""Entries that say nothing about a plan."""


@dataclass(frozen=True, slots=True)
class Terms:
    """What a run under ``approval: Manual`` may do."""

    approved: ApprovedPlan | None = None
    plan_only: bool = False
    """Run nothing, whatever is to be done."""


@dataclass(frozen=True, slots=True)
class Goal:
    """Where the track is to be brought."""

    target: int | None
    rollback: Rollback
    needed: Callable[[Step], bool]

    def steps(self, source: MigrationFiles, current: int) -> tuple[Step, ...]:
        """The steps from the recorded version.

        Raises:
            MigrationError: as :func:`plan.to_target`.
        """
        return plan.to_target(source, current, self.target, self.rollback).steps


class Gate:
    """Lets steps pass that were approved."""

    def __init__(
        self,
        engine: Engine,
        source: MigrationFiles,
        goal: Goal,
        terms: Terms,
        check: Callable[[Plan], None],
    ) -> None:
        """``check`` raises what would keep a plan from being run."""
        self._engine = engine
        self._source = source
        self._goal = goal
        self._terms = terms
        self._check = check
        self._baseline: int | None = None

    def require(self, baseline: int | None) -> None:
        """See, before anything is changed, that there is nothing to run, or that it was approved.

        ``baseline`` is the version that is to be recorded first.

        Raises:
            AwaitingApproval: it was not; the plan is in the log.
            MigrationError: nothing could be run.
        """
        self._baseline = baseline
        start, steps = self._present()
        if not self._terms.plan_only and (not steps or self._is_approved(steps)):
            return
        for step in steps:
            if step.file is not None:
                step.file.check()
        self._check(Plan(steps))
        raise self._awaiting(start, steps)

    def pass_on(self, steps: Sequence[Step]) -> None:
        """See that ``steps``, which are about to run, were approved.

        Raises:
            AwaitingApproval: they were not.
        """
        self._engine.track.forget()  # a recovery or a baseline has its entries now
        if not steps or self._is_approved(steps):
            return
        raise self._awaiting(self._start(self._engine.track.row.version), tuple(steps))

    def _present(self) -> tuple[PlanStart, tuple[Step, ...]]:
        """Where the track is, and what a run would run."""
        track = self._engine.track
        if self._baseline is not None:
            return self._start(self._baseline), self._goal.steps(self._source, self._baseline)
        if not track.row.dirty:
            return self._start(track.row.version), self._goal.steps(self._source, track.row.version)
        step = self._recovered()
        if not isinstance(step, Step):
            return self._start(step.version), self._goal.steps(self._source, step.version)
        start = replace(
            self._start(step.from_version),
            failed_version=step.version,
            failed_direction=step.direction.value,
        )
        return start, (step, *self._goal.steps(self._source, step.to_version))

    def _recovered(self) -> Step | Restore:
        """What the recovery would run, or the version that it would record, as far as can be foreseen.

        Raises:
            MigrationError: it would be refused.
        """
        track, options = self._engine.track, self._engine.options
        newest_first = track.entries()[::-1]
        entry = standing(track.row, newest_first)
        if (
            entry is not None
            and entry.in_doubt is not None
            and options.policy.recovery is not Recovery.MANUAL
            and in_doubt_resolution.resolvable(entry.details)
        ):
            return failed_step(track.row, entry, self._source)  # to settle that may change the database
        action = decide(track.row, newest_first, self._source, options.policy, self._goal.needed)
        return action if isinstance(action, Restore) else action.step

    def _start(self, version: int) -> PlanStart:
        track = self._engine.track
        entries = track.entries()
        return PlanStart(version_of(version), entry=entries[-1].id if entries else 0, database=track.database)

    def _is_approved(self, steps: Sequence[Step]) -> bool:
        """Whether ``steps`` are what is left of the approved plan, and nothing else has happened since."""
        approved, track = self._terms.approved, self._engine.track
        if approved is None or not continues(approved.start.database, track.database):
            return False
        try:
            planned = self._planned(approved.start)
        except MigrationError:
            return False  # by the present files there is no such plan
        if self._digest(approved.start, planned) != approved.digest or not is_rest_of(steps, planned):
            return False
        since = [entry for entry in track.entries() if entry.id > approved.start.entry]
        if not all(_belongs(entry, planned, approved.start) for entry in since):
            return False
        return len(steps) == len(planned) - _applied_of(planned, since)

    def _planned(self, start: PlanStart) -> tuple[Step, ...]:
        """The steps that a plan from ``start`` has by the present files and target."""
        if start.failed_version is None:
            return self._goal.steps(self._source, recorded(start.version))
        step = named_step(
            start.failed_version, Direction(start.failed_direction or Direction.UP), self._source
        )
        step = replace(step, from_version=recorded(start.version))
        return (step, *self._goal.steps(self._source, step.to_version))

    def _digest(self, start: PlanStart, steps: Sequence[Step]) -> str:
        track = self._engine.track
        return plan_digest(track.label, str(track.table), start, steps)

    def _awaiting(self, start: PlanStart, steps: tuple[Step, ...]) -> AwaitingApproval:
        """The plan, which is also written to the log."""
        track_plan = TrackPlan(
            self._digest(start, steps),
            count=len(steps),
            files=tuple(
                PlannedFile(step.version, step.label, step.direction.value) for step in steps[:LISTED]
            ),
            to_version=version_of(steps[-1].to_version) if steps else start.version,
            start=start,
            baseline=self._baseline,
        )
        if steps:
            track_plan = _with_logged_effects(self._engine.track, self._source, steps, track_plan)
        return AwaitingApproval(track_plan)


def _belongs(entry: Entry, planned: Sequence[Step], start: PlanStart) -> bool:
    """Whether an entry is of a run of that plan."""
    if entry.kind is EntryKind.BASELINE:
        return entry.version == start.version
    if entry.kind is not EntryKind.MIGRATION:
        return entry.kind in _OF_ANY_RUN
    return entry.version is None or any(_is_about(entry, step) for step in planned)


def _applied_of(planned: Sequence[Step], since: Sequence[Entry]) -> int:
    """How many steps of the plan are applied by the history.

    Where the recorded version says otherwise, another program has changed it.
    """
    applied = [entry for entry in since if entry.outcome == EntryOutcome.APPLIED]
    return sum(any(_is_about(entry, step) for entry in applied) for step in planned)


def _is_about(entry: Entry, step: Step) -> bool:
    checksum = step.file.checksum if step.file else None
    return (entry.version, entry.direction, entry.checksum) == (step.version, step.direction, checksum)


def _with_logged_effects(
    track: LockedTrack, source: MigrationFiles, steps: Sequence[Step], track_plan: TrackPlan
) -> TrackPlan:
    """The plan with what it locks and destroys, as far as that is known; the whole text is logged."""
    log = track.log
    log.info(PLAN, source=track.label, files=track_plan.count, digest=track_plan.digest)
    if sum(len(step.file.content) for step in steps if step.file) > ANALYSED_BYTES:
        log.warn("the files are too large to be analysed: what they lock is unknown", source=track.label)
        return track_plan
    try:
        return _with_effects(track, source, steps, track_plan, log)
    except Exception as error:  # the plan is what counts: what it locks is said to be unknown
        why = type(error).__name__
        log.warn("the files cannot be analysed: what they lock is unknown", source=track.label, error=why)
        return track_plan


def _with_effects(
    track: LockedTrack, source: MigrationFiles, steps: Sequence[Step], track_plan: TrackPlan, log: Log
) -> TrackPlan:
    # PostgreSQL's grammar is loaded only for a plan.
    from fluxbase_migrations.runner.lookahead import pending, plan_text
    from fluxbase_migrations.runner.lookahead.summary import summary

    dirty = track_plan.start.failed_version is not None
    pending_plan = pending.of_steps(
        track.session, track.label, track.table, track.row, steps, source, track.entries(), dirty=dirty
    )
    for line in plan_text.lines([pending_plan]):
        log.plan(line, source=track.label)
    effects = summary([pending_plan])
    touch = effects.strongest.touch if effects.strongest else None
    refused = any(file.error is not None for file in pending_plan.files)
    return replace(
        track_plan,
        strongest_lock=touch.lock.value if touch else None,
        locked=touch.relation.name if touch else None,
        destructive=None if refused else effects.destructive,
        unknown=None if refused else effects.unknown,
    )
