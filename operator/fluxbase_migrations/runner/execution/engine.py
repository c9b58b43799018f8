"""The engine: it runs a plan on a track that is locked, file by file."""

from collections.abc import Callable
from dataclasses import field
from functools import partial

from fluxbase_migrations.core.errors import (
    Interrupted,
    MigrationError,
    OutOfOrderError,
    ServerRefused,
    ShortLimit,
    Transient,
    Unproven,
)
from fluxbase_migrations.core.files import Direction, MigrationFiles
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.log_lines import APPLYING, RAN, REVERTING
from fluxbase_migrations.core.names import OutOfOrderPolicy, Recovery
from fluxbase_migrations.core.plan import Plan, Step
from fluxbase_migrations.core.result import AppliedFile
from fluxbase_migrations.core.text import elapsed
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.execution import memory
from fluxbase_migrations.runner.execution.atomic import record_failure
from fluxbase_migrations.runner.execution.file_execution import run_file
from fluxbase_migrations.runner.execution.locked_track import LockedTrack
from fluxbase_migrations.runner.history import drift
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, EntryOutcome, Row
from fluxbase_migrations.runner.history.migration_session import Attempt
from fluxbase_migrations.runner.recovery import in_doubt_resolution
from fluxbase_migrations.runner.recovery.case import Policy, Restore, Resume, RunAgain
from fluxbase_migrations.runner.recovery.decide import decide
from fluxbase_migrations.runner.sql.prepared_file import Lookahead, Prepared


@dataclass(frozen=True, slots=True)
class Options:
    """What a command or a Job may choose about a run."""

    policy: Policy = field(default_factory=Policy)
    out_of_order: OutOfOrderPolicy = OutOfOrderPolicy.WARN
    giving_up_is_a_step: bool = False
    """To record the version before a failed file that left nothing is one of the steps asked for."""
    memory_limit: int | None = None
    """Bytes that this process may use."""


class Engine:
    """Runs files on a track that is open."""

    def __init__(self, track: LockedTrack, source: MigrationFiles, options: Options) -> None:
        self.track = track
        self.source = source
        self.options = options
        self.log = track.log
        self._applied: dict[str, AppliedFile] = {}
        self._given_up = False
        self.recovered: str | None = None
        self.warnings: list[str] = list(source.warnings)
        self.skipped: list[int] = []

    @property
    def applied(self) -> list[AppliedFile]:
        """The files that took effect, in order."""
        return list(self._applied.values())

    def check_files(self) -> None:
        """Warn about applied files that were edited, and about files that came too late.

        Raises:
            OutOfOrderError: there are such files and the policy is Fail.
        """
        for text in drift.drifted(self.track.entries(), self.source):
            self._warn(text)
        if self.options.out_of_order is not OutOfOrderPolicy.IGNORE:
            self._check_late_files()

    def _check_late_files(self) -> None:
        current = self.track.row.version
        self.skipped = drift.skipped_versions(self.track.entries(), self.source, current)
        if not self.skipped:
            return
        listed = ", ".join(map(str, self.skipped[:10])) + (" …" if len(self.skipped) > 10 else "")
        if self.options.out_of_order is OutOfOrderPolicy.FAIL:
            raise OutOfOrderError(
                f"version {listed} was added after version {current} was applied, and has not been applied",
                hint="give the files higher numbers, or set outOfOrder: Warn (--out-of-order warn)",
            )
        self._warn(f"version {listed} is below the recorded version {current} and was never applied")

    def _warn(self, text: str) -> None:
        self.warnings.append(text)
        self.log.warn(text, source=self.track.label)

    def migrate(self, make_plan: Callable[[int, int], Plan], is_desired: Callable[[Step], bool]) -> int:
        """Recover from a dirty row if that is allowed, then run the plan.

        ``make_plan`` gets the recorded version and how many steps recovery has already run;
        ``is_desired`` says whether the target still calls for a step. Returns the number of files that ran.

        Raises:
            MigrationError: the run ended early; the track's row and :attr:`applied` say where.
        """
        ran = 0
        if self.track.row.dirty:
            ran = self.recover(is_desired)
        plan = make_plan(self.track.row.version, ran + self._given_up)
        self.run(plan, already=ran)
        if plan.short:
            # golang-migrate's words, and what they mean.
            there = ran + len(plan.steps)
            hint = f"{there} of the {there + plan.short} that were asked for were there, and are done"
            raise ShortLimit(f"limit {plan.short} short", hint=hint)
        return ran + len(plan.steps)

    def run(self, plan: Plan, already: int = 0) -> None:
        """Run a plan's steps in order."""
        for step in plan.steps:
            if step.file is not None:
                step.file.check()
        lookahead = Lookahead(plan.steps, self._prepare)
        total = already + len(plan.steps)
        for index in range(len(plan.steps)):
            if self.track.stop.signal is not None:
                self._stopped(len(plan.steps) - index)
            prepared = self._get(lookahead, index)
            following = lookahead.peek(index + 1)
            self._announce(prepared, already + index + 1, total)
            # Durable, unless another atomic file follows, whose commit or failure will be.
            durable = following is None or not following.atomic
            self._run_one(Attempt(prepared), durable=durable, on_sent=partial(lookahead.peek, index + 2))

    def _get(self, lookahead: Lookahead, index: int) -> Prepared:
        try:
            return lookahead.get(index)
        except MigrationError:
            self.track.flush()
            self.track.refresh_if_possible()
            raise

    def _prepare(self, step: Step) -> Prepared:
        """Split and classify a file.

        Raises:
            InvalidSource: it cannot be run as it is, or not in the memory there is.
            Interrupted: a signal came while the file was read.
        """
        conforming = self.track.session.standard_conforming_strings
        prepared = Prepared.of(
            step, standard_conforming_strings=conforming, check_stop=self._raise_if_stopped
        )
        memory.require(self.options.memory_limit, self.source, prepared)
        return prepared

    def _raise_if_stopped(self) -> None:
        if self.track.stop.signal is not None:
            raise Interrupted(f"{self.track.stop.signal} received while a file was read")

    def _announce(self, prepared: Prepared, number: int, total: int) -> None:
        step = prepared.step
        message = APPLYING if step.direction is Direction.UP else REVERTING
        if step.file is None:
            self._warn(
                f"version {step.version} has no {step.direction} file: only the recorded version moves"
            )
            return
        self.track.announce(message, file=step.file.name, number=number, total=total)
        if self.log.live is not None:
            self.log.live.begin(step.file.name, number, total, len(prepared.statements))

    def _run_one(
        self,
        attempt: Attempt,
        *,
        durable: bool,
        done: int = 0,
        on_sent: Callable[[], object] | None = None,
    ) -> None:
        """Run one file; the row is read again only after an error."""
        step = attempt.prepared.step
        try:
            run_file(self.track.context, attempt, durable=durable, done=done, on_sent=on_sent)
        except failures.LOST as error:
            if not self.track.session.lost:
                raise
            self._after_loss(attempt, str(error))
        except MigrationError:
            self.track.refresh_if_possible()
            raise
        finally:
            if self.log.live is not None:
                self.log.live.end()
        self.track.row = Row(step.to_version, False, None)
        self._took_effect(attempt)
        if step.file is not None:
            self.log.info(RAN, file=step.file.name, took=elapsed(attempt.seconds), source=self.track.label)

    def _took_effect(self, attempt: Attempt) -> None:
        step = attempt.prepared.step
        if step.file is not None:
            seconds = round(attempt.seconds, 3)
            self._applied[attempt.id] = AppliedFile(step.version, step.file.name, step.direction, seconds)

    def _after_loss(self, attempt: Attempt, reason: str) -> None:
        """The connection is gone: the history knows whether the file's COMMIT came through.

        Raises:
            Transient: it did not, or another run has gone on since and the plan no longer holds.
            Unproven: a statement may have taken effect in part, or the file has ended its transaction itself.
        """
        label = attempt.prepared.step.label
        self.log.warn("connection lost, reconnecting to see what was committed", file=label)
        error = Transient(f"the connection was lost: {' '.join(reason.split())}", file=label)
        try:
            self.track.reopen()
            entry = drift.entry_of(self.track.entries(), attempt.id)
            effect = self._effect(attempt)
        except Unproven:
            raise
        except (MigrationError, *failures.LOST) as reconnect_error:
            self.track.observed = False
            if isinstance(reconnect_error, MigrationError):
                why = reconnect_error.info.message
            else:
                why = " ".join(str(reconnect_error).split())
            raise error.with_effect(f"not known, because reconnecting failed: {why}") from reconnect_error
        if effect is None:
            return
        error.with_effect(effect)
        if (
            entry is not None
            and entry.in_doubt is not None
            and not in_doubt_resolution.resolvable(entry.details)
        ):
            raise Unproven.from_error(error)
        raise error

    def _effect(self, attempt: Attempt) -> str | None:
        """What a lost attempt left, in words; None if the run can go on after it.

        A server that crashed may have lost the last commits that were not durable, and no file of those
        counts as applied any more. What counts is flushed before it is reported.
        """
        entries, step = self.track.entries(), attempt.prepared.step
        effect = drift.effect_of(entries, attempt.id)
        if attempt.marker is not None and any(
            entry.id == attempt.marker and entry.outcome == EntryOutcome.RUNNING for entry in entries
        ):
            raise self._ended_by_itself(attempt)
        applied = {entry.attempt for entry in entries if entry.outcome == EntryOutcome.APPLIED}
        files = self._applied.items()
        self._applied = {attempt_id: file for attempt_id, file in files if attempt_id in applied}
        if effect is None and (self.track.row.version, self.track.row.dirty) != (step.to_version, False):
            self._took_effect(attempt)
            effect = f"it took effect, and another run has brought the database to {self.track.row} since"
        # What was read may not be on disk yet.
        self.track.context.flushed = effect is not None and not self._applied
        if effect is not None:
            self.track.flush()
        return effect

    def _ended_by_itself(self, attempt: Attempt) -> MigrationError:
        error = Unproven("the file ended its own transaction", file=attempt.prepared.step.label)
        error.with_effect("what took effect is not known")
        attempt.proven = False
        record_failure(self.track.context, attempt, error)
        return error

    def _stopped(self, remaining: int) -> None:
        self.track.flush()
        raise Interrupted(
            f"{self.track.stop.signal} received: stopped before the next file, {remaining} left to run"
        )

    def recover(self, is_desired: Callable[[Step], bool]) -> int:
        """Get from a dirty row to a clean one, if that is allowed; returns how many files ran.

        Raises:
            MigrationError: it is not allowed, or failed.
        """
        entries = self._resolved_entries()
        action = decide(self.track.row, entries, self.source, self.options.policy, is_desired, self._prepare)
        row = self.track.row
        writers = (entry.id for entry in entries if entry.kind is EntryKind.MIGRATION and entry.wrote(row))
        previous = next(writers, None)
        self.recovered = action.reason
        self.log.info("recovering from a dirty version", version=self.track.row.version, action=action.reason)
        self.track.forget()
        match action:
            case Restore(version=version):
                self.track.write_row(version, EntryKind.RECOVERY, reason=action.reason)
                self._given_up = self.options.giving_up_is_a_step
                return 0
            case RunAgain(step=step, proven=proven):
                attempt = Attempt(self._prepare_checked(step), proven, previous, self.options.policy.request)
                self._rerun(attempt, done=0)
            case Resume(step=step, done=done, proven=proven, session=session, in_doubt_checksum=checksum):
                request = self.options.policy.request
                attempt = Attempt(self._prepare_checked(step), proven, previous, request, session, checksum)
                self._rerun(attempt, done=done)
        return 1

    def _rerun(self, attempt: Attempt, *, done: int) -> None:
        self._announce(attempt.prepared, 1, 1)
        self._run_one(attempt, durable=True, done=done)

    def _resolved_entries(self) -> list[Entry]:
        """The history, newest first, without what is in doubt and the catalog resolves.

        To resolve it may change the database, so the policy Manual leaves them. golang-migrate's locks are
        free for that time, and its ``force`` may write the row.

        Raises:
            ServerRefused: another session did.
        """
        before, entries = self.track.row, self.track.entries()
        if self.options.policy.recovery is not Recovery.MANUAL:
            entries = in_doubt_resolution.resolve_in_doubt(self.track.context, before, entries)
            if self.track.refresh() != before:
                raise ServerRefused(
                    f"{self.track.table} was modified by another session during the recovery; stopped"
                )
        return entries[::-1]

    def _prepare_checked(self, step: Step) -> Prepared:
        if step.file is not None:
            step.file.check()
        return self._prepare(step)
