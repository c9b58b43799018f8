"""Everything that stops a run, each with its outcome and words for the person at the terminal.

::

    MigrationError
    ├── InvalidSource        a file's name or content is unusable, or it cannot be read
    ├── SourceChanged        other content than the operator decided on; nothing was changed
    ├── SourceEmpty          no migration files
    ├── Unreachable          no connection (DNS, TCP, TLS, class 08, 53300, 57P03, 3D000), or a standby
    ├── AuthFailed           the server refuses the credentials (class 28)
    ├── ServerRefused        this server, pooler, role or table cannot be used
    ├── ForeignTable         another version table may say that the files were applied already
    ├── LockHeld             another session holds the migration lock
    ├── Conflict             another set owns this database's track
    ├── Interrupted          a signal ended the run
    ├── AwaitingApproval     the plan has to be approved first; nothing was changed
    ├── DatabaseChanged      another database than the run was planned for
    ├── PlatformIncomplete   objects of the system track's recorded version are missing
    ├── AheadOfSource        the recorded version is not among the files
    ├── TargetNotFound       the target version is not among the files
    ├── RollbackForbidden    the target is lower than the recorded version
    ├── MissingDownFile      a rollback lacks a file
    ├── OutOfOrderError      files below the recorded version were never applied
    ├── NothingToStep        golang-migrate's ``file does not exist``
    ├── ShortLimit           golang-migrate's ``limit K short``; what there was is done
    ├── Dirty                golang-migrate's dirty row, and the state of the database is unknown
    │   └── Unproven         the same, because a statement may have taken effect in part
    ├── StatementFailed      PostgreSQL refused a statement
    ├── Exposed              objects are reachable past row-level security, and the policy is Fail
    ├── Transient            a transient error (40001, 40P01, 55P03, 57P01, connection lost)
    └── InternalError        a bug of this program
"""

import traceback
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Any, ClassVar, Final

from fluxbase_migrations.core.approval import TrackPlan
from fluxbase_migrations.core.exposure import Exposure, bounded, counted, listed
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.job import SetRef
from fluxbase_migrations.core.result import ErrorInfo, Outcome

LOCK_NOT_AVAILABLE: Final = "55P03"
LOCK_ADVICE: Final = (
    "nothing is retried: run the command again when that session has ended its transaction, or wait longer "
    "with {option}"
)
_NAMED: Final = 5
"""How many objects a message names."""
_EXPLAINED: Final = 3
"""The same, where it has to say more of each than its name."""
LOCK_RETRIED: Final = "it will be retried, up to spec.retry.limit times"


class MigrationError(Exception):
    """A run has to stop; ``info`` says what happened, where, and what to do."""

    outcome: ClassVar[Outcome] = Outcome.INTERNAL

    def __init__(self, message: str, **where: Any) -> None:
        super().__init__(message)
        self.info = ErrorInfo(message, **where)

    @property
    def is_transient(self) -> bool:
        """Whether a later retry of the same run can succeed without a change by a person."""
        if self.outcome in (Outcome.SERVER_REFUSED, Outcome.PLATFORM_INCOMPLETE):
            return False
        return self.outcome.is_retried_without_limit or self.outcome is Outcome.TRANSIENT

    def with_effect(self, effect: str) -> "MigrationError":
        """Say what state the database is in now; returns itself."""
        self.info = replace(self.info, effect=effect)
        return self

    def __str__(self) -> str:
        """One line: where, what, why, and the state of the database."""
        return describe(self.info)


def describe(info: ErrorInfo) -> str:
    """One line for a terminal: ``FILE:LINE:COLUMN: statement …: message (SQLSTATE …)`` and what helps."""
    where = ":".join(str(part) for part in (info.file, info.line, info.column) if part is not None)
    text = f"{where}: " if where else ""
    if info.statement:
        text += f"statement {info.statement}: "
    text += info.message
    if info.sql_state:
        text += f" (SQLSTATE {info.sql_state})"
    if info.detail:
        text += f"; detail: {info.detail}"
    if info.hint:
        text += f"; hint: {info.hint}"
    if info.effect:
        text += f" [{info.effect}]"
    return text


def with_advice(info: ErrorInfo, *, retried: bool) -> ErrorInfo:
    """Add what helps against a lock that was not granted in time; a Job is retried, a command is not."""
    if info.sql_state != LOCK_NOT_AVAILABLE:
        return info
    option = "--ddl-lock-timeout" if info.statement else "--lock-timeout"
    advice = LOCK_RETRIED if retried else LOCK_ADVICE.format(option=option)
    return replace(info, hint=f"{info.hint}; {advice}" if info.hint else advice)


class InvalidSource(MigrationError):
    """A file's name or content is unusable, or it cannot be read."""

    outcome = Outcome.INVALID_SOURCE


class SourceChanged(MigrationError):
    """The files are not those that the operator decided on."""

    outcome = Outcome.SOURCE_CHANGED


class SourceEmpty(MigrationError):
    """The source holds no migration files."""

    outcome = Outcome.SOURCE_EMPTY


class Unreachable(MigrationError):
    """No connection for now: the server, the network or a name is missing."""

    outcome = Outcome.UNREACHABLE


class AuthFailed(MigrationError):
    """The server refuses the credentials."""

    outcome = Outcome.AUTHENTICATION_FAILED


class ServerRefused(MigrationError):
    """This server, pooler, role or table cannot be used; nothing was changed."""

    outcome = Outcome.SERVER_REFUSED


class ForeignTable(MigrationError):
    """Our tracking table has no version, or is another tool's, and another tool's table has one."""

    outcome = Outcome.FOREIGN_TABLE


class LockHeld(MigrationError):
    """Another session holds a migration lock."""

    outcome = Outcome.LOCK_HELD


class Conflict(MigrationError):
    """Another set owns this database's track."""

    outcome = Outcome.CONFLICT

    def __init__(self, message: str, *, owner: SetRef) -> None:
        super().__init__(message)
        self.owner = owner


class Interrupted(MigrationError):
    """A signal ended the run before its work was done."""

    outcome = Outcome.INTERRUPTED


class AwaitingApproval(MigrationError):
    """There is something to run that is not approved; nothing was changed."""

    outcome = Outcome.AWAITING_APPROVAL

    def __init__(self, plan: TrackPlan) -> None:
        super().__init__("the plan has to be approved first; nothing was changed")
        self.plan = plan


class DatabaseChanged(MigrationError):
    """Another database than the run was planned for; nothing was changed."""

    outcome = Outcome.DATABASE_CHANGED
    database: DatabaseIdentity | None = None
    """The database that the run is connected to; None: unknown."""

    @classmethod
    def of(cls, expected: DatabaseIdentity, database: DatabaseIdentity | None) -> "DatabaseChanged":
        """The error that names both databases."""
        error = cls(
            "the database is another one than the run was planned for; nothing was changed",
            detail=f"expected {expected}, connected to {database}",
        )
        error.database = database
        return error


class PlatformIncomplete(MigrationError):
    """The database lacks something that the system track's recorded version makes."""

    outcome = Outcome.PLATFORM_INCOMPLETE

    @classmethod
    def of(cls, version: int, lacks: Sequence[str]) -> "PlatformIncomplete":
        """Name what is missing, roles first: the rest follows from them."""
        roles = [name for name in lacks if name.startswith("role ")]
        ordered = roles + [name for name in lacks if name not in roles]
        more = f", and {len(lacks) - _NAMED} more" if len(lacks) > _NAMED else ""
        restore = "restore the dump into an empty database (docs/restore.md)"
        return cls(
            f"the database lacks what system version {version} makes: {', '.join(ordered[:_NAMED])}{more}",
            hint=f"make the roles first (fluxbase-migrate system roles --sql), then {restore}"
            if roles
            else f"create it again as in the system migrations, or {restore}",
            effect="no further file was run",
        )


class AheadOfSource(MigrationError):
    """The recorded version is not among the files."""

    outcome = Outcome.AHEAD_OF_SOURCE

    @classmethod
    def of(cls, version: int, latest: int | None) -> "AheadOfSource":
        """In golang-migrate's words."""
        have = "no files" if latest is None else f"files up to version {latest}"
        return cls(
            f"no migration found for version {version}: the database records it, the source has {have}",
            hint="use the source that holds its files, or force the version that the database is really at",
        )


class TargetNotFound(MigrationError):
    """The target version is not among the files."""

    outcome = Outcome.TARGET_NOT_FOUND

    @classmethod
    def of(cls, version: int, known: Iterable[int]) -> "TargetNotFound":
        """Name the nearest versions that exist."""
        nearest = sorted(sorted(known, key=lambda candidate: abs(candidate - version))[:3])
        hint = (
            f"the nearest versions are {', '.join(map(str, nearest))}"
            if nearest
            else "the source has no files"
        )
        if version == 0:  # what a set's targetVersion and kubectl fluxbase rollback take for nothing applied
            hint += "; to revert everything: fluxbase-migrate down --all"
        return cls(f"no migration found for version {version}", hint=hint)

    @classmethod
    def baseline(cls, version: int, known: Iterable[int]) -> "TargetNotFound":
        """The same of a baseline; nothing was recorded."""
        hint = cls.of(version, known).info.hint
        return cls(f"the source has no migration of the baseline's version {version}", hint=hint)


class RollbackForbidden(MigrationError):
    """The target is lower than the recorded version, and rollback is not allowed."""

    outcome = Outcome.ROLLBACK_FORBIDDEN


class MissingDownFile(MigrationError):
    """A rollback lacks a file; nothing was run."""

    outcome = Outcome.MISSING_DOWN_FILE


class OutOfOrderError(MigrationError):
    """Files below the recorded version were never applied."""

    outcome = Outcome.OUT_OF_ORDER


class NothingToStep(MigrationError):
    """No migration to step to; golang-migrate says ``file does not exist``."""

    outcome = Outcome.TARGET_NOT_FOUND


class ShortLimit(MigrationError):
    """Fewer migrations than asked for; those there were are done."""

    outcome = Outcome.TARGET_NOT_FOUND


class Dirty(MigrationError):
    """The tracking row is dirty, and nothing proves what the failed migration left."""

    outcome = Outcome.DIRTY
    version: int | None = None
    """The dirty version, where it is recorded."""

    @classmethod
    def of(cls, version: int, reason: str, **where: Any) -> "Dirty":
        """In golang-migrate's words, then why the runner does not recover automatically."""
        error = cls(f"Dirty database version {version}. Fix and force version.", detail=reason, **where)
        error.version = version
        return error


class Unproven(Dirty):
    """A statement may have taken effect in part: only a person can say how to go on."""

    outcome = Outcome.UNPROVEN

    @classmethod
    def from_error(cls, error: MigrationError) -> "Unproven":
        """``error``, where it ended such a statement."""
        unproven = cls(error.info.message)
        unproven.info = error.info
        return unproven


class StatementFailed(MigrationError):
    """PostgreSQL refused a statement of a file."""

    outcome = Outcome.SQL_ERROR


class Exposed(MigrationError):
    """Requests reach something past row-level security, and the policy is Fail; all files are applied."""

    outcome = Outcome.EXPOSED
    exposures: Sequence[Exposure] = ()

    @classmethod
    def of(cls, exposures: Sequence[Exposure], version: str) -> "Exposed":
        """Name them, and the statements; ``version`` is where the database is now."""
        error = cls(
            f"{counted(len(exposures))}: {listed(bounded(exposures)[:_EXPLAINED], len(exposures))}",
            hint="close them in a further migration, or set exposure: Warn (--exposure warn)",
            effect=f"all files are applied, {version}",
        )
        error.exposures = exposures
        return error


class Transient(MigrationError):
    """A fault that may pass: a serialization failure, a deadlock, a lock, a lost connection, a shutdown."""

    outcome = Outcome.TRANSIENT


class InternalError(MigrationError):
    """A bug of this program; the message says what to report."""

    outcome = Outcome.INTERNAL

    @classmethod
    def of(cls, error: Exception) -> "InternalError":
        """Name the innermost place of ours, without the error's message, which could quote anything."""
        frames = traceback.extract_tb(error.__traceback__)
        place = next((frame for frame in reversed(frames) if "fluxbase_migrations" in frame.filename), None)
        where = f" at {PurePath(place.filename).name}:{place.lineno}" if place else ""
        return cls(
            f"{type(error).__name__} in the migration program{where}",
            hint="this is a bug; please report it with this line and the version of the program",
        )
