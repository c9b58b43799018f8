"""Reasons, and what each outcome of a run makes of its track; the docs are made from them."""

from enum import StrEnum
from typing import Final

from fluxbase_migrations.core.result import Outcome


class Reason(StrEnum):
    """Why a track is where it is, beside the outcomes of runs, which are reasons themselves."""

    STARTING = "Starting"
    POD_PENDING = "PodPending"
    REPLACING = "Replacing"
    RUNNING = "Running"
    NODE_LOST = "NodeLost"
    WAITING_FOR_SYSTEM = "WaitingForSystem"
    WAITING_FOR_PREVIOUS_PODS = "WaitingForPreviousPods"
    QUEUED = "Queued"
    SUSPENDED = "Suspended"
    SOURCE_MISSING = "SourceMissing"
    UNSUPPORTED_ACCESS_MODE = "UnsupportedAccessMode"
    JOB_REFUSED = "JobRefused"
    JOB_DELETED = "JobDeleted"
    RESULT_MISSING = "ResultMissing"
    DATABASE_CLAIMED = "DatabaseClaimed"
    DISABLED = "Disabled"
    NO_SOURCE = "NoSource"


class EventReason(StrEnum):
    """Reasons of Events, beside those of tracks and the outcomes of runs, which have Events of their own."""

    BASELINED = "Baselined"
    RECOVERED = "Recovered"
    WARNING = "MigrationWarning"
    NOT_EXPOSED = "NotExposed"
    DATABASE_CHANGED = "DatabaseChanged"
    DATABASE_REPLACED = "DatabaseReplaced"
    TAKING_OVER = "TakingOver"
    TAKEN_OVER = "TakenOver"
    REQUESTED = "Requested"
    FORCED = "Forced"
    TAKE_OVER_REQUESTED = "TakeOverRequested"
    APPROVED = "Approved"
    COMMAND_OBEYED = "CommandObeyed"
    COMMAND_WITHDRAWN = "CommandWithdrawn"
    COMMAND_REFUSED = "CommandRefused"
    RECONCILE_ERROR = "ReconcileError"
    OPERATOR_CONFLICT = "OperatorConflict"


EVENTS: Final[dict[EventReason, str]] = {
    EventReason.BASELINED: "a run recorded the baseline of a track; no file up to it was run",
    EventReason.RECOVERED: "a run recovered from a dirty state; the message says how",
    EventReason.WARNING: "a run has a warning",
    EventReason.NOT_EXPOSED: "nothing is reachable past row-level security any more",
    EventReason.DATABASE_CHANGED: "`spec.database` changed; the state of the former database is dropped",
    EventReason.DATABASE_REPLACED: "a run found a different database, although the spec is the same",
    EventReason.TAKING_OVER: "the set that owned the database's track was deleted or released it",
    EventReason.TAKEN_OVER: "the track was taken over",
    EventReason.REQUESTED: "`fluxbase.io/requested-at` was given",
    EventReason.FORCED: "`fluxbase.io/force` was given",
    EventReason.TAKE_OVER_REQUESTED: "`fluxbase.io/take-over` was given",
    EventReason.APPROVED: "`fluxbase.io/approve` was given, for the plan that waits",
    EventReason.COMMAND_OBEYED: "a run did what a command asked for",
    EventReason.COMMAND_WITHDRAWN: "a command's annotation was removed before it was obeyed",
    EventReason.COMMAND_REFUSED: "a command is malformed, or was given for another database or plan",
    EventReason.RECONCILE_ERROR: "the set cannot be reconciled: invalid spec, or failed API requests",
    EventReason.OPERATOR_CONFLICT: "another installation of the operator runs a Job for this set",
}
"""When each Event is created, for the docs."""

WARNING_EVENTS: Final = frozenset(
    {
        EventReason.WARNING,
        EventReason.DATABASE_REPLACED,
        EventReason.COMMAND_REFUSED,
        EventReason.RECONCILE_ERROR,
        EventReason.OPERATOR_CONFLICT,
    }
)
"""Those of type Warning; the others are Normal."""


class Effect(StrEnum):
    """What an outcome makes of its track."""

    SETTLE = "settle"
    """The track is where it should be."""
    WAIT = "wait"
    """Pending; retried without limit, not counted as an attempt."""
    EMPTY = "empty"
    """Depends on the kind of source and on what was applied before."""
    RETRY = "retry"
    """Pending; retried up to ``retry.limit`` times, then Failed."""
    APPROVAL = "approval"
    """Pending until the plan is approved."""
    CLAIMED = "claimed"
    """Failed until the other set releases the track, or a take-over command is given."""
    STOP = "stop"
    """Failed until something changes."""


EFFECTS: Final[dict[Effect, str]] = {
    Effect.SETTLE: "Applied, or RolledBack",
    Effect.WAIT: "Pending; retried without limit and without being counted, after `retry.backoff` "
    "doubled each time, up to five minutes (SourceChanged, DatabaseChanged: at once, then after 1, 2, 4 s "
    "and so on)",
    Effect.EMPTY: "A volume: Skipped with `allowEmpty`, otherwise Pending and checked again after "
    "`retry.backoff` doubled each time, up to five minutes; a ConfigMap: Pending until it changes; "
    "with versions applied: Failed, `AheadOfSource`",
    Effect.RETRY: "Pending; retried after `retry.backoff` doubled each time, up to `retry.limit` times; "
    "then Failed",
    Effect.APPROVAL: "Pending until `kubectl fluxbase approve` (annotation `fluxbase.io/approve`), or until "
    "the source, the spec or a command changes",
    Effect.CLAIMED: "Failed, `DatabaseClaimed`, until the other set is deleted or releases it, or until "
    "`kubectl fluxbase take-over` (annotation `fluxbase.io/take-over`)",
    Effect.STOP: "Failed until the source, the spec or a command changes",
}
"""What each effect means, for the docs."""

OUTCOMES: Final[dict[Outcome | None, str]] = {
    Outcome.APPLIED: "Migrations were applied.",
    Outcome.NO_CHANGE: "There was nothing to do.",
    Outcome.ROLLED_BACK: "A lower target was reached.",
    Outcome.UNREACHABLE: "No connection within seconds: name, network, TLS, server not up, no such database; "
    "or the server is a standby or read-only.",
    Outcome.AUTHENTICATION_FAILED: "Authentication or TLS certificate verification failed.",
    Outcome.SERVER_REFUSED: "Before anything ran: the connection's parameters, the server, the role or the "
    "tracking table cannot be used (a pooler in transaction mode, missing privileges).",
    Outcome.LOCK_HELD: "Another session held the migration lock for longer than `lockTimeout`.",
    Outcome.SOURCE_CHANGED: "The mounted files were not those that the operator read; nothing was changed.",
    Outcome.INTERRUPTED: "The pod was stopped; what had begun was completed or undone.",
    Outcome.DATABASE_CHANGED: "The database is not the one that the system track was applied to, or that a "
    "command was given for; nothing was changed.",
    Outcome.PLATFORM_INCOMPLETE: "The database lacks something that the recorded version of the system track "
    "makes (roles, policies, privileges, functions): a dump was restored without roles, for example.",
    Outcome.SOURCE_EMPTY: "There are no migration files.",
    Outcome.AWAITING_APPROVAL: "There is something to run that nobody has approved, and `approval` is "
    "Manual; nothing was changed.",
    Outcome.TRANSIENT: "A transient error: serialization, deadlock, lock timeout, connection lost.",
    Outcome.CONFLICT: "Another set owns this track of this database.",
    Outcome.SQL_ERROR: "PostgreSQL refused a statement.",
    Outcome.INVALID_SOURCE: "A file's name or content cannot be used.",
    Outcome.MISSING_DOWN_FILE: "A rollback lacks a down file; nothing was run.",
    Outcome.ROLLBACK_FORBIDDEN: "`targetVersion` is lower than what is applied, and `rollback` is Forbid.",
    Outcome.TARGET_NOT_FOUND: "`targetVersion` is not among the files.",
    Outcome.AHEAD_OF_SOURCE: "The recorded version is not among the files.",
    Outcome.OUT_OF_ORDER: "A file below the recorded version was never applied, and `outOfOrder` is Fail.",
    Outcome.DIRTY: "The tracking table is dirty, and the state of the database is unknown.",
    Outcome.UNPROVEN: "A statement outside a transaction (CALL, DO with COMMIT) may have taken effect in "
    "part, or what took effect is not known.",
    Outcome.FOREIGN_TABLE: "The tracking table has no version, and the table of golang-migrate or of another "
    "migration tool has one: the files may have been applied already.",
    Outcome.EXPOSED: "The files are applied; `anon` or `authenticated` reach something past row-level "
    "security, and `exposure` is Fail.",
    Outcome.INTERNAL: "An unexpected error.",
    None: "The container ended without a result: out of memory, evicted, deleted, deadline.",
}
"""What each outcome means, for the docs."""


def effect(outcome: Outcome | None) -> Effect:
    """What ``outcome`` makes of a track; None is a run that ended without a result."""
    match outcome:
        case None | Outcome.TRANSIENT:
            return Effect.RETRY
        case Outcome.SOURCE_EMPTY:
            return Effect.EMPTY
        case Outcome.AWAITING_APPROVAL:
            return Effect.APPROVAL
        case Outcome.CONFLICT:
            return Effect.CLAIMED
        case _ if outcome.succeeded:
            return Effect.SETTLE
        case _ if outcome.is_retried_without_limit:
            return Effect.WAIT
        case _:
            return Effect.STOP


MAX_BACKOFF: Final = 300.0
"""Seconds."""


def backoff(first: float, count: int) -> float:
    """Seconds before try number ``count`` + 1: ``first``, doubled each time, at most five minutes."""
    return min(first * 2.0 ** min(max(count, 1) - 1, 30), MAX_BACKOFF)


AT_ONCE: Final = frozenset({Outcome.SOURCE_CHANGED, Outcome.DATABASE_CHANGED})
"""Outcomes after which the first retry follows at once: the operator only has to read the new state."""


def immediate_backoff(count: int) -> float:
    """Seconds after the ``count``-th such outcome in a row: at once, then 1, 2, 4 s and so on."""
    return 0.0 if count <= 1 else backoff(1.0, count - 1)


ADVICE: Final[dict[Outcome, str]] = {
    Outcome.SQL_ERROR: "Correct the file. To try it again unchanged: kubectl fluxbase retry, or annotation "
    "fluxbase.io/requested-at.",
    Outcome.INVALID_SOURCE: "Correct the source.",
    Outcome.MISSING_DOWN_FILE: "Add the down file, or raise targetVersion.",
    Outcome.ROLLBACK_FORBIDDEN: "Set rollback: Allow, or raise targetVersion.",
    Outcome.TARGET_NOT_FOUND: "Set targetVersion to a version of the source.",
    Outcome.AHEAD_OF_SOURCE: "Bring back the newer source, or set targetVersion and rollback on purpose.",
    Outcome.OUT_OF_ORDER: "Renumber the file, or set outOfOrder: Warn.",
    Outcome.DIRTY: "Repair the database, then set its version: kubectl fluxbase force, or annotation "
    "fluxbase.io/force.",
    Outcome.UNPROVEN: "Look at what the statement left; then correct it in the file, run it again (kubectl "
    "fluxbase retry, or annotation fluxbase.io/requested-at), or set the version (kubectl fluxbase force, or "
    "annotation fluxbase.io/force).",
    Outcome.FOREIGN_TABLE: "Record the version that the database is at (baseline of the track), use that "
    "table (table of the track), or name it in foreignTables, if it belongs to something else.",
    Outcome.PLATFORM_INCOMPLETE: "Make the roles, then restore the dump again (docs/restore.md).",
    Outcome.EXPOSED: "Run the statements of status.tracks.user.exposures in a further migration, or set "
    "exposure: Warn.",
    Outcome.INTERNAL: "This is a bug; please report it.",
}
"""What to do about an outcome where the runner gave no hint of its own."""
