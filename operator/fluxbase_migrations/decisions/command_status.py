"""The status of the commands that are given by annotations.

A command is in force only while its annotation stands there with its value, and only for the database that
was known when it was given. It waits until a run carries it, and is over when a run has obeyed it.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Final

from fluxbase_migrations.api.commands import Annotation, bounded, parse_force, parse_take_over
from fluxbase_migrations.api.reasons import EventReason
from fluxbase_migrations.api.status import (
    CommandsStatus,
    CommandStatus,
    SetPlan,
    SetStatus,
    TracksStatus,
    TrackStatus,
)
from fluxbase_migrations.core.approval import approved_digest
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    CommandState,
    Phase,
    Track,
)
from fluxbase_migrations.core.result import FORCE, TAKE_OVER, Outcome
from fluxbase_migrations.decisions.desired import EventNote

OPEN: Final = (CommandState.WAITING, CommandState.IN_PROGRESS)
"""The command may still be obeyed."""
DATABASE_CHANGED: Final = "spec.database was changed after it was given"
FORMER_DATABASE: Final = "in the database that spec.database named before"
PLAN_CHANGED: Final = "the plan has changed since it was given"
_STILL_CARRIED: Final = f"{DATABASE_CHANGED}; the run that carries it has not ended yet"


@dataclass(frozen=True, slots=True)
class Annotations:
    """The command annotations that the set has now."""

    requested_at: Annotation | None = None
    force: Annotation | None = None
    take_over: Annotation | None = None
    approve: Annotation | None = None


@dataclass(frozen=True, slots=True)
class PendingCommands:
    """The commands that the next run of one track has to carry, by value."""

    requested_at: str | None = None
    force: str | None = None
    take_over: str | None = None
    approve: str | None = None
    database: DatabaseIdentity | None = None
    """The database that they are for; None: whichever is read first."""

    def without(self, obeyed: tuple[str, ...]) -> "PendingCommands":
        """These commands without those whose values are in ``obeyed``."""
        return replace(
            self,
            force=None if self.force in obeyed else self.force,
            take_over=None if self.take_over in obeyed else self.take_over,
            approve=None if self.approve in obeyed else self.approve,
        )


def read_annotations(
    status: SetStatus, annotations: Annotations
) -> tuple[CommandsStatus, tuple[EventNote, ...]]:
    """The commands after reading the annotations, and Events for what is new, withdrawn or refused."""
    before = status.commands
    handled = status.last_handled_requested_at, status.last_handled_force
    results = (
        _read_annotation(
            ANNOTATION_REQUESTED_AT,
            before.requested_at,
            annotations.requested_at,
            status,
            handled[0],
            _request,
        ),
        _read_annotation(ANNOTATION_FORCE, before.force, annotations.force, status, handled[1], _force),
        _read_annotation(
            ANNOTATION_TAKE_OVER, before.take_over, annotations.take_over, status, None, _take_over
        ),
        _read_annotation(
            ANNOTATION_APPROVE,
            before.approve,
            annotations.approve,
            status,
            None,
            partial(_approve, status.plan),
        ),
    )
    commands = CommandsStatus(*(command for command, _ in results))
    return commands, tuple(note for _, notes in results for note in notes)


def _read_annotation(
    name: str,
    before: CommandStatus | None,
    annotation: Annotation | None,
    status: SetStatus,
    handled: str | None,
    describe: Callable[[str], tuple[str, str]],
) -> tuple[CommandStatus | None, tuple[EventNote, ...]]:
    if annotation is None or not annotation.value:
        if before is None or before.state not in OPEN:
            return before, ()
        text = f"{name}={before.value}: the annotation was removed before the command was obeyed"
        withdrawn = replace(before, state=CommandState.WITHDRAWN, message="the annotation was removed")
        return withdrawn, (EventNote(False, EventReason.COMMAND_WITHDRAWN, text),)
    value = bounded(annotation.value)
    if before is not None and before.value == value and before.state is not CommandState.WITHDRAWN:
        why = _not_for_this(before, status) if before.state in OPEN else None
        return refused(name, before, why) if why else (before, ())
    command = CommandStatus(
        value,
        CommandState.WAITING,
        database=status.database,
        database_digest=status.database_digest,
        manager=annotation.manager,
        time=annotation.time,
    )
    if before is None and handled == value:  # by a version of the operator that kept no more than this
        return replace(command, state=CommandState.OBEYED), ()
    try:
        reason, text = describe(annotation.value)
    except ValueError as error:
        return refused(name, command, str(error))
    return command, (EventNote(False, reason, f"{text}: {_described(command)}"),)


def _not_for_this(command: CommandStatus, status: SetStatus) -> str | None:
    """Why a command is refused for the set's database; None: it is not, or the former may still obey it."""
    if _is_of_former(command, status.database_digest):
        return None if _is_in_flight(command, status.tracks) else DATABASE_CHANGED
    if differs(command.database, status.database):
        return f"it was given for {command.database}; this is {status.database}"
    return None


def _is_of_former(command: CommandStatus, digest: str | None) -> bool:
    """Whether ``spec.database`` named another database when the command was given."""
    return command.database_digest not in (None, digest)


def _is_in_flight(command: CommandStatus, tracks: TracksStatus) -> bool:
    """Whether a run that was planned when the command was given still carries it: it may be obeyed yet."""
    return any(
        record.outstanding
        and record.database_digest == command.database_digest
        and command.value in (record.commands.force, record.commands.take_over, record.commands.approve)
        for record in map(tracks.of, Track)
    )


def _request(value: str) -> tuple[str, str]:
    return EventReason.REQUESTED, "another run was requested"


def _force(value: str) -> tuple[str, str]:
    track, command = parse_force(value)
    return EventReason.FORCED, f"{track} is to be set to version {command.version}"


def _take_over(value: str) -> tuple[str, str]:
    track, command = parse_take_over(value)
    return EventReason.TAKE_OVER_REQUESTED, f"{track} is to be taken over from the set with uid {command.uid}"


def _approve(plan: SetPlan | None, value: str) -> tuple[str, str]:
    """Only the plan that waits can be approved: an approval of another plan does not count for it.

    Raises:
        ValueError: another plan waits, or none.
    """
    digest = approved_digest(value)
    if plan is None:
        raise ValueError("no plan waits for approval")
    if plan.digest != digest:
        raise ValueError(f"another plan waits for approval: {plan.digest}")
    return EventReason.APPROVED, "the plan is approved"


def _described(command: CommandStatus) -> str:
    by = f" by {command.manager}" if command.manager else ""
    at = f" at {command.time:%Y-%m-%dT%H:%M:%SZ}" if command.time else ""
    return f"{command.value}{by}{at}"


def refused(name: str, command: CommandStatus, why: str) -> tuple[CommandStatus, tuple[EventNote, ...]]:
    """The command will not be obeyed; another value of the annotation is another command."""
    note = EventNote(True, EventReason.COMMAND_REFUSED, f"{name}={command.value} refused: {why}")
    return replace(command, state=CommandState.REFUSED, message=why), (note,)


def bind_database(commands: CommandsStatus, database: DatabaseIdentity | None) -> CommandsStatus:
    """Bind open commands that were given before any database was known to the first one that was read."""
    return commands.map(
        lambda command: (
            replace(command, database=database)
            if command.state in OPEN and command.database is None
            else command
        )
    )


def with_database_digest(commands: CommandsStatus, digest: str | None) -> CommandsStatus:
    """Set ``digest`` on commands that do not record for which ``spec.database`` they were given."""
    return commands.map(
        lambda command: (
            replace(command, database_digest=digest) if command.database_digest is None else command
        )
    )


def refuse_for_former_database(status: SetStatus) -> tuple[CommandsStatus, tuple[EventNote, ...]]:
    """Refuse open commands that were given for a database that ``spec.database`` no longer names."""
    results = [
        refused(name, command, why)
        if command is not None and command.state in OPEN and (why := _not_for_this(command, status))
        else (command, ())
        for name, command in (
            (ANNOTATION_REQUESTED_AT, status.commands.requested_at),
            (ANNOTATION_FORCE, status.commands.force),
            (ANNOTATION_TAKE_OVER, status.commands.take_over),
            (ANNOTATION_APPROVE, status.commands.approve),
        )
    ]
    return CommandsStatus(*(command for command, _ in results)), tuple(
        note for _, notes in results for note in notes
    )


def pending_commands(status: SetStatus, track: Track) -> PendingCommands:
    """The open commands for ``track``; none that was given for a former ``spec.database``."""
    commands, digest = status.commands, status.database_digest
    force, take_over = _open(commands.force, digest), _open(commands.take_over, digest)
    request, approve = _open(commands.requested_at, digest), _open(commands.approve, digest)
    approve = approve if approve and approve.value == status.tracks.of(track).approved else None
    force = force if force and force.value.startswith(f"{track}=") else None
    take_over = take_over if take_over and take_over.value.startswith(f"{track}=") else None
    databases = (
        command.database
        for command in (force, take_over, approve, request)
        if command is not None and command.database
    )
    return PendingCommands(
        requested_at=request.value if request else None,
        force=force.value if force else None,
        take_over=take_over.value if take_over else None,
        approve=approve.value if approve else None,
        database=next(databases, None),
    )


def _open(command: CommandStatus | None, digest: str | None) -> CommandStatus | None:
    if command is None or command.state not in OPEN or _is_of_former(command, digest):
        return None
    return command


def update_states(
    status: SetStatus, tracks: TracksStatus, *, suspended: bool
) -> tuple[CommandsStatus, tuple[EventNote, ...]]:
    """Update the commands' states from the decided ``tracks``; returns them with their Events."""
    commands, digest = status.commands, status.database_digest
    records = {track: tracks.of(track) for track in Track}
    force, force_notes = _updated(ANNOTATION_FORCE, FORCE, commands.force, records, suspended, digest)
    take_over, notes = _updated(
        ANNOTATION_TAKE_OVER, TAKE_OVER, commands.take_over, records, suspended, digest
    )
    request = _updated_request(commands.requested_at, records, suspended)
    approve, approve_notes = _updated_approval(commands.approve, records, suspended, digest)
    return CommandsStatus(request, force, take_over, approve), force_notes + notes + approve_notes


def _updated_approval(
    command: CommandStatus | None, records: Mapping[Track, TrackStatus], suspended: bool, digest: str | None
) -> tuple[CommandStatus | None, tuple[EventNote, ...]]:
    """An approval is for the tracks that had a plan, and over when each of them has applied it."""
    if command is None or command.state in (CommandState.OBEYED, CommandState.REFUSED):
        return command, ()
    if _is_of_former(command, digest) and _is_in_flight(command, TracksStatus(*records.values())):
        return replace(command, state=CommandState.IN_PROGRESS, message=_STILL_CARRIED), ()
    unfinished = [record for record in records.values() if record.plan and record.approved == command.value]
    if any(record.outstanding or record.retry_at is not None for record in unfinished):
        return replace(command, state=CommandState.IN_PROGRESS, message=None), ()
    if unfinished:
        return _waiting(command, unfinished[0], suspended), ()
    if any(command.value in record.commands.obeyed for record in records.values()):
        text = f"{ANNOTATION_APPROVE}={command.value} was obeyed"
        note = EventNote(False, EventReason.COMMAND_OBEYED, text)
        return replace(command, state=CommandState.OBEYED, message=None), (note,)
    if command.state is CommandState.WITHDRAWN:
        return command, ()
    return refused(ANNOTATION_APPROVE, command, PLAN_CHANGED)


def _updated(
    name: str,
    kind: str,
    command: CommandStatus | None,
    records: Mapping[Track, TrackStatus],
    suspended: bool,
    digest: str | None,
) -> tuple[CommandStatus | None, tuple[EventNote, ...]]:
    if command is None or command.state in (CommandState.OBEYED, CommandState.REFUSED):
        return command, ()
    track = Track(command.value.partition("=")[0])
    record = records[track]
    carried = record.commands.force if kind == FORCE else record.commands.take_over
    if command.value in record.commands.obeyed:
        where = FORMER_DATABASE if _is_of_former(command, digest) else None
        note = EventNote(
            False,
            EventReason.COMMAND_OBEYED,
            f"{name}={command.value} was obeyed{f' {where}' if where else ''}",
        )
        return replace(command, state=CommandState.OBEYED, message=where), (note,)
    if command.state is CommandState.WITHDRAWN:
        return command, ()
    if _is_of_former(command, digest):
        if _is_in_flight(command, TracksStatus(*records.values())):
            return replace(command, state=CommandState.IN_PROGRESS, message=_STILL_CARRIED), ()
        return refused(name, command, DATABASE_CHANGED)
    busy = record.outstanding or record.retry_at is not None
    if carried == command.value and busy:
        return replace(command, state=CommandState.IN_PROGRESS, message=None), ()
    if carried == command.value and kind == TAKE_OVER and record.outcome is Outcome.CONFLICT:
        owner = record.claimed_by
        return refused(name, command, f"{track} belongs to {owner.described() if owner else 'another set'}")
    return _waiting(command, record, suspended), ()


def _updated_request(
    command: CommandStatus | None, records: Mapping[Track, TrackStatus], suspended: bool
) -> CommandStatus | None:
    """A request is for both tracks, and over when the runs that carried it have ended for good."""
    if command is None or command.state not in OPEN:
        return command
    present = [record for record in records.values() if record.phase is not Phase.SKIPPED]
    carried = [record for record in present if record.commands.requested_at == command.value]
    over = [record for record in carried if not record.commands.requested]
    if len(over) == len(present) and not suspended:
        return replace(command, state=CommandState.OBEYED, message=None)
    first = next((record for record in present if record not in over), TrackStatus())
    if carried:
        return replace(command, state=CommandState.IN_PROGRESS, message=None)
    return _waiting(command, first, suspended)


def _waiting(command: CommandStatus, record: TrackStatus, suspended: bool) -> CommandStatus:
    why = "spec.suspend is true" if suspended else f"{record.phase}: {record.message}"
    return replace(command, state=CommandState.WAITING, message=why)


def last_handled(command: CommandStatus | None, before: str | None) -> str | None:
    """The value for ``status.lastHandled…``: that of a command which no longer waits for a run."""
    return before if command is None or command.state is CommandState.WAITING else command.value
