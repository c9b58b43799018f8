"""A dirty row that the history does not explain: another program wrote it, or a run that began from it."""

from collections.abc import Sequence
from itertools import takewhile

from fluxbase_migrations.core.errors import Dirty
from fluxbase_migrations.core.files import NIL, Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.core.names import Recovery
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.runner.history import drift
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, EntryOutcome, Row
from fluxbase_migrations.runner.history.manual_repair import manual_repair
from fluxbase_migrations.runner.recovery.case import Case, RunAgain
from fluxbase_migrations.runner.sql import do_blocks
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.statements import StatementKind as Kinds
from fluxbase_migrations.runner.sql.statements import statement_label, tag


def marked_by_another(case: Case) -> RunAgain:
    """Decide about a dirty row that no entry of the history has written.

    Raises:
        Dirty: nothing is run.
    """
    row, source = case.row, case.source
    if row.version == NIL:
        first = source.versions[0] if source.versions else NIL
        step = Step(first, Direction.DOWN, first, NIL, source.get(first, Direction.DOWN))
        why = "another program marked it, after a failed down of the first file"
    else:
        before = source.previous(row.version)
        step = Step(row.version, Direction.UP, before, row.version, source.get(row.version, Direction.UP))
        why = "another program marked it, and what the failed file left is not known"
    if case.policy.recovery is not Recovery.AUTOMATIC:
        raise Dirty.of(row.version, why, hint=manual_repair(row, None))
    return run_once(case, None, step, why)


def run_once(case: Case, entry: Entry | None, step: Step, why: str) -> RunAgain:
    """Run a file whose state is unknown, once for each content that it has.

    Raises:
        Dirty: it was run already, or may have committed in part.
    """
    hint = manual_repair(case.row, entry)
    if step.file is None:
        raise Dirty.of(
            case.row.version,
            f"{why}, and the source has no {step.direction} file of version {step.version}",
            hint=hint,
        )
    if not case.policy.retry_unproven:
        objection = _earlier_try(case.entries, step, step.file) or _may_commit_in_part(case.prepare(step))
        if objection is not None:
            raise Dirty.of(case.row.version, f"{why}; {objection}", hint=hint)
    note = _note_on_failed_down(case.row, entry, case.source)
    return RunAgain(step, False, f"{why}: running {step.file.name} once{note}")


def _earlier_try(entries: Sequence[Entry], step: Step, file: MigrationFile) -> str | None:
    """Why the file must not run again after an earlier run, interrupted or crashed ones too; or None."""
    about = EntryKind.MIGRATION, step.version, step.direction
    for entry in takewhile(
        lambda entry: entry.kind is EntryKind.OWNER or entry.outcome != EntryOutcome.APPLIED, entries
    ):
        if (entry.kind, entry.version, entry.direction) != about:
            continue
        if entry.done or entry.in_doubt is not None:
            effect = drift.effect(entry.done or 0, entry.statements, entry.in_doubt)
            return f"in an earlier run of {entry.file}, {effect}"
        if not entry.proven and entry.checksum == file.checksum:
            return f"{file.name} was run again once and failed"
    return None


def _may_commit_in_part(prepared: Prepared) -> str | None:
    """The first statement that may have ended a transaction before the file's end; None if there is none."""
    statements = prepared.statements
    for index, statement in enumerate(statements):
        special = prepared.specials.get(index)
        ends = special is not None and special.kind in (Kinds.COMMIT, Kinds.ROLLBACK, Kinds.PREPARE)
        word = tag(statements, index) if statement[:1] in b"cCdD" else ""
        if (
            (ends and index + 1 < len(statements))
            or word == "CALL"
            or (word == "DO" and do_blocks.ends_transactions(statement))
        ):
            label = statement_label(statements, index)
            return f"{prepared.step.label} may have committed in part: statement {label}, ends a transaction"
    return None


def _note_on_failed_down(row: Row, entry: Entry | None, source: MigrationFiles) -> str:
    """A dirty row may also be a failed down of the version above it; golang-migrate does not say which."""
    if entry is not None or row.version == NIL:
        return ""
    above = next((version for version in source.versions if version > row.version), None)
    file = source.get(above, Direction.DOWN) if above is not None else None
    return (
        f" (taken for a failed up; if it was a failed down, {file.name} is the file to check)" if file else ""
    )
