"""What to do about a dirty row: a pure decision from the row, the ledger and the files.

Never "declare the failed migration applied". What the ledger proves decides; where it proves nothing, the
policy does.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from fluxbase_migrations.core.errors import Dirty, MigrationError, StatementFailed
from fluxbase_migrations.core.files import NIL, Direction, MigrationFile, Source
from fluxbase_migrations.core.names import Recovery
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.core.result import ErrorInfo
from fluxbase_migrations.runner.ledger import Entered, Entry, Kind
from fluxbase_migrations.runner.lexer import leading_words
from fluxbase_migrations.runner.prepared import Prepared
from fluxbase_migrations.runner.tracking import Row


@dataclass(frozen=True, slots=True)
class RunAgain:
    """Run the whole file (again), from dirty to clean in one go."""

    step: Step
    proven: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Resume:
    """Go on after the first ``done`` statements."""

    step: Step
    done: int
    reason: str


@dataclass(frozen=True, slots=True)
class Restore:
    """The failed file left nothing, and is not wanted any more: record the version before it."""

    version: int
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """How far to go without being asked."""

    recovery: Recovery = Recovery.PROVEN
    retry_failed: bool = True
    """Run a file again that failed for good and has not changed, where it left nothing unproven."""
    retry_unproven: bool = False
    """The same where nothing is proven."""


def decide(
    row: Row,
    entries: Sequence[Entry],
    source: Source,
    policy: Policy,
    wanted: Callable[[Step], bool],
) -> RunAgain | Resume | Restore:
    """What to do about the dirty ``row``; ``entries`` are newest first, settled from the catalog.

    Raises:
        MigrationError: nothing; the error says why and what to do.
    """
    entry = next((one for one in entries if one.kind is Kind.MIGRATION and one.wrote(row)), None)
    if policy.recovery is Recovery.MANUAL:
        raise Dirty.of(row.version, "the recovery policy is Manual", hint=_repair(row, entry))
    if entry is not None and entry.proven and entry.in_doubt is None:
        found = _proven(row, entry, source, policy, wanted)
        if found is not None:
            return found
    if entry is not None and entry.proven and entry.done and not policy.retry_unproven:
        # Running the whole file would apply those statements twice.
        raise Dirty.of(
            row.version,
            f"{_so_far(entry)}, and the file cannot be resumed after them{_why_not(entry, source)}",
            hint="put those statements back as they were, or finish or undo the file by hand and force the "
            "version; asking for the run runs the whole file again",
        )
    return _unproven(row, entry, entries, source, policy)


def _proven(
    row: Row, entry: Entry, source: Source, policy: Policy, wanted: Callable[[Step], bool]
) -> RunAgain | Resume | Restore | None:
    step = _step(entry, source)
    if not entry.done:
        before = "nothing" if step.from_version == NIL else f"version {step.from_version}"
        if step.file is None or not wanted(step):
            why = "is no longer in the source" if step.file is None else "is not wanted any more"
            return Restore(
                step.from_version, f"{entry.file} failed, left nothing and {why}: back at {before}"
            )
        _refuse_unchanged(entry, step.file, policy)
        return RunAgain(step, True, f"{entry.file} failed and left nothing: running it again from {before}")
    if step.file is None:
        raise Dirty.of(
            row.version,
            f"{_so_far(entry)}, and the file is no longer in the source",
            hint="put the file back, or undo those statements by hand and force the version",
        )
    prepared = Prepared.of(step)
    if len(prepared.statements) < entry.done or prepared.prefix_checksum(entry.done) != entry.done_checksum:
        return None
    if not wanted(step):
        raise Dirty.of(
            row.version,
            f"{_so_far(entry)}, and the file is not wanted any more",
            hint="let the file finish first, or undo those statements by hand and force the version",
        )
    blocker = prefix_blocker(prepared, entry.done)
    if blocker is not None:
        return None
    _refuse_unchanged(entry, step.file, policy)
    return Resume(step, entry.done, f"{entry.file} had come to statement {entry.done}: going on after it")


def _so_far(entry: Entry) -> str:
    return f"statements 1 to {entry.done} of {entry.statements} of {entry.file} took effect"


def _why_not(entry: Entry, source: Source) -> str:
    done = entry.done or 0
    if entry.in_doubt is not None:
        return f": what became of statement {entry.in_doubt} is not known"
    step = _step(entry, source)
    prepared = Prepared.of(step)
    if len(prepared.statements) < done or prepared.prefix_checksum(done) != entry.done_checksum:
        return ": they were edited since"
    blocker = prefix_blocker(prepared, done)
    return f": they leave session state behind ({blocker})" if blocker else ""


def _refuse_unchanged(entry: Entry, file: MigrationFile, policy: Policy) -> None:
    """The same content after a permanent error is run again only when somebody asks."""
    if entry.outcome != Entered.FAILED or policy.retry_failed or file.checksum != entry.checksum:
        return
    known = {key: value for key, value in (entry.error or {}).items() if key in ErrorInfo.__slots__}
    message = known.pop("message", "the file failed")
    raise StatementFailed(
        f"{message} (the file has not changed since it failed, and was not run again)", **known
    )


def _unproven(
    row: Row, entry: Entry | None, entries: Sequence[Entry], source: Source, policy: Policy
) -> RunAgain:
    repair = _repair(row, entry)
    if entry is not None:
        step = _step(entry, source)
        why = f"what {entry.file} left is not known"
    elif row.version == NIL:
        first = source.versions[0] if source.versions else NIL
        step = Step(first, Direction.DOWN, first, NIL, source.get(first, Direction.DOWN))
        why = "another program marked it, after a failed down of the first file"
    else:
        before = source.previous(row.version)
        step = Step(row.version, Direction.UP, before, row.version, source.get(row.version, Direction.UP))
        why = "another program marked it, and what the failed file left is not known"
    if policy.recovery is not Recovery.AUTOMATIC:
        raise Dirty.of(row.version, why, hint=repair)
    if step.file is None:
        raise Dirty.of(
            row.version,
            f"{why}, and the source has no {step.direction} file of version {step.version}",
            hint=repair,
        )
    checksum = step.file.checksum
    tried = any(
        not one.proven
        and one.outcome == Entered.FAILED
        and (one.version, one.direction, one.checksum) == (step.version, step.direction, checksum)
        for one in entries
    )
    if tried and not policy.retry_unproven:
        error: MigrationError = Dirty.of(
            row.version, f"{why}; {step.file.name} was run again once, and failed", hint=repair
        )
        raise error
    return RunAgain(step, False, f"{why}: running {step.file.name} once{_perhaps_down(row, entry, source)}")


def _perhaps_down(row: Row, entry: Entry | None, source: Source) -> str:
    """A dirty row may also be a failed down of the version above it; golang-migrate does not say which."""
    if entry is not None or row.version == NIL:
        return ""
    above = next((one for one in source.versions if one > row.version), None)
    file = source.get(above, Direction.DOWN) if above is not None else None
    return (
        f" (taken for a failed up; if it was a failed down, {file.name} is the one to look at)"
        if file
        else ""
    )


def _step(entry: Entry, source: Source) -> Step:
    """What the entry was about, with the file as it is now."""
    direction = Direction(entry.direction or Direction.UP)
    version = NIL if entry.version is None else entry.version
    before = NIL if entry.from_version is None else entry.from_version
    after = NIL if entry.to_version is None else entry.to_version
    return Step(version, direction, before, after, source.get(version, direction))


def _repair(row: Row, entry: Entry | None) -> str:
    previous = entry.from_version if entry is not None and entry.from_version is not None else None
    to = f"force {previous}" if previous is not None else "force the version before it"
    return (
        f"look at what version {row.version} left in the database, then force {row.version} if it is "
        f"complete, or undo it and {to}"
    )


_STATEFUL = frozenset(["PREPARE", "LISTEN", "LOAD", "CALL", "DECLARE"])
_SETS_STATE = re.compile(
    rb"(?:[;$]|\b(?:begin|then|else|loop))\s*(?:set|reset|listen|load|prepare|create\s+temp\w*)\b|\bexecute\b",
    re.IGNORECASE,
)
"""In a DO block: a statement that sets session state, or might."""


def prefix_blocker(prepared: Prepared, done: int) -> str | None:
    """Why the first ``done`` statements left session state that a new session lacks; None if they did not."""
    found = prepared.statements
    for index in range(done):
        words = leading_words(found.sql, found.starts[index], found.ends[index])
        text = found.text(index).lower()
        if words[0] in _STATEFUL or b"set_config" in text or b"pg_temp" in text:
            return words[0]
        if words[0] == "DO" and _SETS_STATE.search(text):
            return "DO"
        if words[0] in ("CREATE", "SELECT") and (b"temp" in text):
            return "temporary objects"
    return None
