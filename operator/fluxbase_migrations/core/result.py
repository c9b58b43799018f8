"""What the runner tells the operator: one JSON document as the container's termination message.

The operator shows errors and applied files in the resource's status as they are: their docstrings are the
CRD's descriptions.
"""

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from fluxbase_migrations.core.approval import PlannedFile, TrackPlan, plan_start
from fluxbase_migrations.core.exposure import Exposure, bounded
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.json_names import JSON_NAMES
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.text import cut, visible, visible_in

LIMIT: Final = 4096
"""Bytes. The kubelet cuts a longer termination message without regard for JSON."""


FORCE: Final = "force"
TAKE_OVER: Final = "take-over"
"""Commands, in :attr:`Result.obeyed`."""


class Outcome(StrEnum):
    """How a run ended: a closed list; docs say what each makes of the track."""

    APPLIED = "Applied"
    NO_CHANGE = "NoChange"
    ROLLED_BACK = "RolledBack"
    # The world was not ready: tried again without limit.
    UNREACHABLE = "Unreachable"
    AUTHENTICATION_FAILED = "AuthenticationFailed"
    SERVER_REFUSED = "ServerRefused"
    """Seen before anything ran: a pooler in transaction mode, missing privileges, a read-only role."""
    LOCK_HELD = "LockHeld"
    SOURCE_CHANGED = "SourceChanged"
    INTERRUPTED = "Interrupted"
    DATABASE_CHANGED = "DatabaseChanged"
    """Another database than the system track was applied to, or a command was given for."""
    SOURCE_EMPTY = "SourceEmpty"
    PLATFORM_INCOMPLETE = "PlatformIncomplete"
    """The database lacks something that the recorded system version makes: a dump restored without roles."""
    AWAITING_APPROVAL = "AwaitingApproval"
    """Under ``approval: Manual`` there is something to run that is not approved; nothing was changed."""
    # A fault that may pass: tried again up to retry.limit.
    TRANSIENT = "Transient"
    # Nothing helps but a change.
    CONFLICT = "Conflict"
    SQL_ERROR = "SQLError"
    UNPROVEN = "Unproven"
    """What took effect is not known: never run again unasked."""
    INVALID_SOURCE = "InvalidSource"
    MISSING_DOWN_FILE = "MissingDownFile"
    ROLLBACK_FORBIDDEN = "RollbackForbidden"
    TARGET_NOT_FOUND = "TargetNotFound"
    AHEAD_OF_SOURCE = "AheadOfSource"
    OUT_OF_ORDER = "OutOfOrder"
    DIRTY = "DirtyDatabase"
    FOREIGN_TABLE = "ForeignTable"
    """The tracking table has no version, and golang-migrate's or another tool's has one."""
    EXPOSED = "Exposed"
    """All files are applied; users reach something past row-level security, and the policy is Fail."""
    INTERNAL = "Internal"
    """A bug of this program; the message says what to report."""

    @property
    def succeeded(self) -> bool:
        """Whether the track is where it should be."""
        return self in (Outcome.APPLIED, Outcome.NO_CHANGE, Outcome.ROLLED_BACK)

    @property
    def is_retried_without_limit(self) -> bool:
        """Whether the run is retried without limit, and is not counted as an attempt."""
        return self in (
            Outcome.UNREACHABLE,
            Outcome.AUTHENTICATION_FAILED,
            Outcome.SERVER_REFUSED,
            Outcome.LOCK_HELD,
            Outcome.SOURCE_CHANGED,
            Outcome.INTERRUPTED,
            Outcome.DATABASE_CHANGED,
            Outcome.PLATFORM_INCOMPLETE,
        )


@dataclass(frozen=True, slots=True)
class ErrorInfo:
    """What went wrong in the last run. Never SQL text, never a credential."""

    __pydantic_config__ = JSON_NAMES

    message: str
    """What happened: PostgreSQL's own message where it is from the database."""
    file: str | None = None
    """The migration file."""
    statement: str | None = None
    """The statement's ordinal and command tag, like "2 of 3, ALTER TABLE"."""
    line: int | None = None
    """Line in the file, from 1."""
    column: int | None = None
    """Column in the line, from 1."""
    sql_state: str | None = None
    """PostgreSQL's five-character error code."""
    detail: str | None = None
    """PostgreSQL's detail."""
    hint: str | None = None
    """What to do about it."""
    effect: str | None = None
    """What state the database is in now."""

    def __post_init__(self) -> None:
        """Server's messages and file names hold whatever their authors put there."""
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if isinstance(value, str) and not value.isprintable():
                object.__setattr__(self, field.name, visible(value))


@dataclass(frozen=True, slots=True)
class AppliedFile:
    """One file that the last run executed."""

    __pydantic_config__ = JSON_NAMES

    version: int
    """The migration's version."""
    name: str
    """The migration's name, or its file."""
    direction: str
    """up or down."""
    seconds: float
    """How long it took."""

    def __post_init__(self) -> None:
        """A file's name holds whatever its author put there."""
        object.__setattr__(self, "name", visible(self.name))


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of one run of one track, and the tracking row as it was read at its end."""

    outcome: Outcome
    version: int | None = None
    """None: nil, nothing applied, or not read (then ``observed`` is False)."""
    dirty: bool = False
    observed: bool = False
    """Whether the tracking row was read at all."""
    latest: int | None = None
    """The source's highest version."""
    pending: int = 0
    source_digest: str | None = None
    applied: tuple[AppliedFile, ...] = ()
    """The last files that ran, newest last; cut to fit."""
    applied_count: int = 0
    skipped_versions: tuple[int, ...] = ()
    """Below the recorded version, never applied."""
    warnings: tuple[str, ...] = ()
    exposed: int | None = None
    """How many objects requests reach past row-level security; None: not checked."""
    exposures: tuple[Exposure, ...] = ()
    """The first of them; cut to fit."""
    recovered: str | None = None
    """What recovery did, in a sentence."""
    owner: str | None = None
    """Conflict: ``namespace/name`` of the set that owns the track."""
    owner_uid: str | None = None
    owner_cluster: str | None = None
    error: ErrorInfo | None = None
    database: DatabaseIdentity | None = None
    """The database that was read; None: no run got that far."""
    obeyed: tuple[str, ...] = ()
    """The commands that were obeyed, by this run or an earlier one, however this one ended."""
    taken_from: str | None = None
    """The set that the track was taken over from: ``namespace/name``."""
    taken_from_uid: str | None = None
    baselined: int | None = None
    """The baseline that this run recorded."""
    plan: TrackPlan | None = None
    """AwaitingApproval: what would run."""

    def __post_init__(self) -> None:
        """Texts from files and databases are made visible, and long lists are cut."""
        object.__setattr__(self, "warnings", tuple(visible(text) for text in self.warnings))
        object.__setattr__(self, "exposures", bounded(self.exposures))
        if self.recovered is not None:
            object.__setattr__(self, "recovered", visible(self.recovered))
        for name in ("owner", "owner_uid", "owner_cluster", "taken_from", "taken_from_uid"):
            value = getattr(self, name)
            if value is not None:  # as it stands in the database, where others may write
                object.__setattr__(self, name, visible(value))
        if self.database is not None:
            database = replace(self.database, name=visible(self.database.name))
            object.__setattr__(self, "database", database)

    def to_json(self, limit: int = LIMIT) -> str:
        """At most ``limit`` bytes of UTF-8: lists and long texts are cut, never the JSON."""
        for candidate in self._shorter():
            text = json.dumps(_compact(candidate), separators=(",", ":"), ensure_ascii=False)
            if len(text.encode("utf-8", "replace")) <= limit:
                return text.encode("utf-8", "replace").decode()
        raise AssertionError("the shortest form of a result always fits")

    def _shorter(self) -> Any:
        """Yield ever shorter forms of this result."""
        yield self
        for items, chars in ((10, 600), (5, 300), (3, 150), (1, 60), (0, 40)):
            error = self.error
            if error is not None:
                texts: dict[str, Any] = {
                    field.name: cut(value, chars)
                    for field in dataclasses.fields(error)
                    if isinstance(value := getattr(error, field.name), str)
                }
                error = replace(error, **texts)
            yield replace(
                self,
                applied=tuple(
                    replace(file, name=cut(file.name, chars)) for file in self.applied[-items:] if items
                ),
                skipped_versions=self.skipped_versions[:items],
                warnings=tuple(cut(text, chars) for text in self.warnings[:items]),
                exposures=self.exposures[:items],
                recovered=cut(self.recovered, chars) if self.recovered else None,
                owner=cut(self.owner, 320) if self.owner else None,
                taken_from=cut(self.taken_from, 320) if self.taken_from else None,
                plan=self.plan and self.plan.shortened(items, chars),
                error=error,
            )

    @classmethod
    def from_json(cls, text: str) -> "Result":
        """Parse what :meth:`to_json` wrote. Its texts are servers' and files': they are shown, never obeyed.

        Raises:
            ValueError: not such a document (the container was killed, or is not ours).
        """
        try:
            fields: dict[str, Any] = visible_in(json.loads(text))
            fields["outcome"] = Outcome(fields["outcome"])
            fields["applied"] = tuple(AppliedFile(**file) for file in fields.get("applied", ()))
            fields["skipped_versions"] = tuple(fields.get("skipped_versions", ()))
            fields["warnings"] = tuple(fields.get("warnings", ()))
            fields["obeyed"] = tuple(fields.get("obeyed", ()))
            fields["exposures"] = tuple(_exposure(**exposure) for exposure in fields.get("exposures", ()))
            if "error" in fields:
                fields["error"] = ErrorInfo(**fields["error"])
            if "database" in fields:
                fields["database"] = DatabaseIdentity(**fields["database"])
            if "plan" in fields:
                fields["plan"] = _track_plan(**fields["plan"])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not a result: {error}") from error


def _track_plan(
    files: Sequence[dict[str, Any]] = (), start: dict[str, Any] | None = None, **fields: Any
) -> TrackPlan:
    return TrackPlan(
        files=tuple(PlannedFile(**file) for file in files), start=plan_start(**start or {}), **fields
    )


def _exposure(**fields: Any) -> Exposure:
    lists = {name: tuple(fields.get(name, ())) for name in ("roles", "privileges")}
    return Exposure(**{**fields, **lists})


def _compact(result: Result) -> dict[str, Any]:
    """Leave out what is empty, in nested objects too."""

    def strip(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: strip(item) for key, item in value.items() if item not in (None, (), [])}
        if isinstance(value, list | tuple):
            return [strip(item) for item in value]
        return value

    stripped: dict[str, Any] = strip(dataclasses.asdict(result))
    return stripped
