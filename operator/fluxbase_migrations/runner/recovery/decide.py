"""What to do about a dirty row: a pure decision from the row, the history and the files.

A failed migration is never declared applied. What the history proves decides; where it proves nothing, the
policy does.
"""

from collections.abc import Callable, Sequence
from typing import Final

from fluxbase_migrations.core.errors import Dirty, StatementFailed, Unproven
from fluxbase_migrations.core.files import NIL, MigrationFile, MigrationFiles
from fluxbase_migrations.core.names import ANNOTATION_REQUESTED_AT, Recovery
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.runner.history import drift
from fluxbase_migrations.runner.history.entry import (
    AFTER,
    MEANING,
    REQUEST,
    SESSION,
    Entry,
    EntryOutcome,
    Row,
    standing,
)
from fluxbase_migrations.runner.history.manual_repair import manual_repair
from fluxbase_migrations.runner.history.session_state import SessionState
from fluxbase_migrations.runner.recovery import unknown_state
from fluxbase_migrations.runner.recovery.case import Case, Policy, Restore, Resume, RunAgain, about, step_of
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.statements import tag

_EDITED: Final = "they were edited since"
_BY_HAND: Final = "finish or undo the file by hand and force the version"
_REQUEST_RUNS: Final = f"kubectl fluxbase retry, or the annotation {ANNOTATION_REQUESTED_AT}, runs"


def decide(
    row: Row,
    entries: Sequence[Entry],
    source: MigrationFiles,
    policy: Policy,
    is_desired: Callable[[Step], bool],
    prepare: Callable[[Step], Prepared] = Prepared.of,
) -> RunAgain | Resume | Restore:
    """What to do about the dirty ``row``; ``entries`` are newest first, resolved from the catalog.

    Raises:
        MigrationError: nothing may run; the error says why and what to do.
    """
    case = Case(row, entries, source, policy, is_desired, prepare)
    entry = standing(row, entries)
    if policy.recovery is Recovery.MANUAL:
        raise Dirty.of(row.version, "the recovery policy is Manual", hint=manual_repair(row, entry))
    if entry is None:
        return unknown_state.marked_by_another(case)
    if not entry.proven and policy.recovery is not Recovery.AUTOMATIC:
        raise Dirty.of(row.version, f"what {entry.file} left is not known", hint=manual_repair(row, entry))
    if entry.in_doubt is not None:
        return _in_doubt(case, entry)
    if entry.done:
        return _half_done(case, entry, entry.done)
    if entry.proven:
        return _left_nothing(case, entry)
    return unknown_state.run_once(case, entry, step_of(entry, source), f"what {entry.file} left is not known")


def _left_nothing(case: Case, entry: Entry) -> RunAgain | Restore:
    step = step_of(entry, case.source)
    before = "nothing" if step.from_version == NIL else f"version {step.from_version}"
    if step.file is None or not case.is_desired(step):
        why = "is no longer in the source" if step.file is None else "is not wanted any more"
        return Restore(step.from_version, f"{entry.file} failed, left nothing and {why}: back at {before}")
    _refuse_unchanged(case, entry, step.file)
    return RunAgain(step, True, f"{entry.file} failed and left nothing: running it again from {before}")


def _half_done(case: Case, entry: Entry, done: int) -> RunAgain | Resume:
    """The first ``done`` statements took effect, and nothing else."""
    step, so_far = step_of(entry, case.source), _so_far(entry)
    if step.file is None:
        raise Dirty.of(
            case.row.version,
            f"{so_far}, and the file is no longer in the source",
            hint="put the file back, or undo those statements by hand and force the version",
        )
    prepared = case.prepare(step)
    why = _no_resume(prepared, entry)
    if why is not None:
        if case.policy.retry_unproven and case.policy.recovery is Recovery.AUTOMATIC:
            return RunAgain(step, False, f"{so_far}, and {why}: running the whole file, as asked")
        # Running the whole file would apply those statements twice.
        raise Dirty.of(
            case.row.version,
            f"{so_far}, and the file cannot be resumed after them: {why}",
            hint=_hint_not_resumable(case.policy, why),
        )
    _refuse_unwanted(case, step, so_far)
    _refuse_unchanged(case, entry, step.file)
    reason = f"{entry.file} completed statement {done}: resuming after it"
    return Resume(step, done, entry.proven, reason, _session(prepared, entry))


def _in_doubt(case: Case, entry: Entry) -> RunAgain | Resume:
    """The next statement may have taken effect in part: it runs again only if requested or corrected."""
    step, so_far = step_of(entry, case.source), _so_far(entry)
    error = Unproven.of(case.row.version, so_far, hint=_hint_in_doubt(case.policy, entry))
    if step.file is None:
        raise error
    prepared, done = case.prepare(step), entry.done or 0
    requested = _is_newly_requested(case.policy, entry)
    why = _no_resume(prepared, entry)
    if why is not None and entry.details.get(AFTER):
        hint = f"look at what it left, then {_hint_not_resumable(case.policy, why)}"
        error = Unproven.of(
            case.row.version, f"{so_far}, and the file cannot be resumed after them: {why}", hint=hint
        )
    corrected = why is None and _corrected(prepared, entry, done)
    if not requested and not corrected:
        raise error
    if why is not None:
        if case.policy.recovery is not Recovery.AUTOMATIC:
            raise error
        return RunAgain(step, False, f"{so_far}; {why}: running the whole file, as asked")
    _refuse_unwanted(case, step, so_far)
    _refuse_unchanged(case, entry, step.file)
    cause = "which was corrected since" if corrected else "as asked"
    reason = f"{so_far}: resuming at statement {done + 1}, {cause}"
    return Resume(step, done, entry.proven, reason, _session(prepared, entry), entry.details.get(AFTER) or "")


def _so_far(entry: Entry) -> str:
    if entry.in_doubt is not None and not entry.details.get(AFTER):
        return f"what {entry.file} left is not known"
    return f"{entry.file}: {drift.effect(entry.done or 0, entry.statements, entry.in_doubt)}"


def _is_newly_requested(policy: Policy, entry: Entry) -> bool:
    """Whether a retry is requested, other than the request that the entry's own run was started by."""
    handled = policy.request is not None and entry.details.get(REQUEST) == policy.request
    return policy.retry_unproven and not handled


def _hint_not_resumable(policy: Policy, why: str) -> str:
    """The hint where the file cannot be resumed."""
    restore = "restore those statements, or " if why == _EDITED else ""
    can_run_whole = policy.can_be_requested and policy.recovery is Recovery.AUTOMATIC
    return f"{restore}{_BY_HAND}" + (f"; {_REQUEST_RUNS} the whole file again" if can_run_whole else "")


def _hint_in_doubt(policy: Policy, entry: Entry) -> str:
    """The hint about a statement in doubt."""
    if not entry.details.get(AFTER):
        return f"look at what it left, then {_BY_HAND}"
    retry = f"; {_REQUEST_RUNS} the statement again" if policy.can_be_requested else ""
    return (
        "look at what it left, then correct that statement in the file so that it does the rest, or "
        f"{_BY_HAND}{retry}"
    )


def _corrected(prepared: Prepared, entry: Entry, done: int) -> bool:
    """Whether the statement in doubt was changed or removed in the file."""
    after = entry.details.get(AFTER)
    if not after:  # nothing is known of where it stopped
        return False
    if len(prepared.statements) <= done:
        return True
    meaning = entry.details.get(MEANING)
    return prepared.prefix_checksum(done + 1) != after and prepared.meaning(done) != meaning


def _no_resume(prepared: Prepared, entry: Entry) -> str | None:
    """Why the file cannot be resumed after the statements that took effect; None if it can."""
    done = entry.done or 0
    if len(prepared.statements) < done or (done and prepared.prefix_checksum(done) != entry.done_checksum):
        return _EDITED
    if not done or done == len(prepared.statements):
        return None
    if any(tag(prepared.statements, index) == "LOAD" for index in range(done)):
        return "the session has state that cannot be restored: LOAD"
    session = SessionState.from_json(entry.details.get(SESSION))
    if session is None:
        return "the state of its session is not known"
    return f"the session has state that cannot be restored: {session.blocker}" if session.blocker else None


def _session(prepared: Prepared, entry: Entry) -> SessionState | None:
    remaining = entry.done and entry.done < len(prepared.statements)
    return SessionState.from_json(entry.details.get(SESSION)) if remaining else None


def _refuse_unwanted(case: Case, step: Step, so_far: str) -> None:
    if not case.is_desired(step):
        raise Dirty.of(
            case.row.version,
            f"{so_far}, and the file is not wanted any more",
            hint="let the file finish first, or undo those statements by hand and force the version",
        )


def _refuse_unchanged(case: Case, entry: Entry, file: MigrationFile) -> None:
    """Refuse a file that has not changed since a permanent error, unless a retry is requested."""
    failed = next(
        (
            attempt
            for attempt in case.entries
            if attempt.id >= entry.id
            and attempt.outcome == EntryOutcome.FAILED
            and about(attempt, entry.version, entry.direction, file)
        ),
        None,
    )
    if failed is None or case.policy.retry_failed:
        return
    fields = {key: value for key, value in (failed.error or {}).items() if key in ErrorInfo.__slots__}
    message = fields.pop("message", "the file failed")
    raise StatementFailed(
        f"{message} (the file has not changed since it failed, and was not run again)", **fields
    )
