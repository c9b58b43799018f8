"""What the operator tells the runner: one JSON document in the Job's environment, nothing secret in it."""

import dataclasses
import json
from enum import StrEnum
from typing import Any, Final

from fluxbase_migrations.core.approval import ApprovedPlan, plan_start
from fluxbase_migrations.core.defaults import JOB_CONNECT_PATIENCE, LOCK_TIMEOUT
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.names import (
    ExposurePolicy,
    OutOfOrderPolicy,
    Recovery,
    Rollback,
    Track,
    UnknownFiles,
)


@dataclass(frozen=True, slots=True)
class SetRef:
    """Which FluxbaseMigrationSet a run is for; recorded as the owner of the database's track."""

    uid: str
    namespace: str
    name: str
    cluster: str | None = None
    """Uid of the namespace: the set is read only in the cluster where it is."""

    def __str__(self) -> str:
        """``namespace/name``."""
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ForceCommand:
    """Set the tracking row to ``version``, clean; obeyed once per ``token``. -1 is golang-migrate's nil."""

    version: int
    token: str


_ENUMERATIONS: Final[dict[str, type[StrEnum]]] = {
    "rollback": Rollback,
    "out_of_order": OutOfOrderPolicy,
    "unknown_files": UnknownFiles,
    "recovery": Recovery,
    "exposure": ExposurePolicy,
}
"""Fields that hold one of a list."""


@dataclass(frozen=True, slots=True)
class TakeOverCommand:
    """Take the track over from the set with this uid, once per ``token``."""

    uid: str
    token: str


@dataclass(frozen=True, slots=True)
class JobSpec:
    """One run of one track."""

    set: SetRef
    track: Track
    run: int
    """Grows by one with each run of this track."""
    paths: tuple[str, ...] = ()
    """Directories to read and merge; empty: the migrations built into the image."""
    files: tuple[str, ...] = ()
    """Names of files whose content is in the environment; then nothing is read from ``paths``."""
    expected_digest: str | None = None
    """The runner touches nothing if it reads other content; None (a volume): whatever is there."""
    volume: bool = False
    """The source is a volume, where "empty" means "not copied yet", not a mistake."""
    target: int | None = None
    """None: the latest; 0: nothing applied."""
    rollback: Rollback = Rollback.FORBID
    out_of_order: OutOfOrderPolicy = OutOfOrderPolicy.WARN
    unknown_files: UnknownFiles = UnknownFiles.FAIL
    recovery: Recovery = Recovery.AUTOMATIC
    exposure: ExposurePolicy = ExposurePolicy.WARN
    """The user track: what to make of objects that requests reach past row-level security."""
    table: str | None = None
    """The tracking table, ``schema.name``; None: the URL's, or the track's own."""
    baseline: int | None = None
    """The version of a database in use that has no tracking row; recorded once."""
    foreign_tables: tuple[str, ...] = ()
    """Version tables of other programs, ``schema.name``; they say nothing about this track."""
    lock_timeout: float = LOCK_TIMEOUT
    """Seconds to wait for the migration lock."""
    ddl_lock_timeout: float | None = None
    """Seconds, PostgreSQL's ``lock_timeout`` for the files' statements; None: the server's own."""
    statement_timeout: float = 0.0
    """Seconds; 0: none, set explicitly."""
    connect_patience: float = JOB_CONNECT_PATIENCE
    """Seconds to retry to connect. Short: a run that waits for a server should not hold a slot."""
    force: ForceCommand | None = None
    take_over: TakeOverCommand | None = None
    command_database: DatabaseIdentity | None = None
    """The database that force, take-over and request were given for; None: any."""
    take_over_from: str | None = None
    """The uid of a set that was deleted or has released the track, and whose ownership may be taken over."""
    expected_database: DatabaseIdentity | None = None
    """The user track: the database that the system track was applied to; None: any."""
    requested: bool = False
    """The run was asked for by a command: a file that failed for good may be tried again unchanged."""
    requested_at: str | None = None
    """Which request that is: for each, a statement that may have taken effect in part runs once more."""
    manual: bool = False
    """``approval: Manual``: files run only as they were approved; otherwise the run only makes a plan."""
    approved: ApprovedPlan | None = None
    """The approved plan."""
    plan_only: bool = False
    """Run nothing, whatever is to be done: the system track waits for its approval."""
    grace_period: float = 120.0
    """Seconds between SIGTERM and SIGKILL."""

    def to_json(self) -> str:
        """One line, absent fields left out."""
        fields = {}
        for name in _NAMES:  # asdict() copies every value, at a multiple of the cost
            value = getattr(self, name)
            if value is not None:
                fields[name] = _plain(value)
        return json.dumps(fields, separators=(",", ":"), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "JobSpec":
        """Parse what :meth:`to_json` wrote.

        Raises:
            ValueError: not such a document, with what is wrong.
        """
        if not text:
            raise ValueError("it is not set; the operator sets it in its Jobs")
        try:
            fields: dict[str, Any] = json.loads(text)
            fields["set"] = SetRef(**fields["set"])
            fields["track"] = Track(fields["track"])
            fields["paths"] = tuple(fields.get("paths", ()))
            fields["files"] = tuple(fields.get("files", ()))
            fields["foreign_tables"] = tuple(fields.get("foreign_tables", ()))
            for name, kind in _ENUMERATIONS.items():
                if name in fields:
                    fields[name] = kind(fields[name])
            if "force" in fields:
                fields["force"] = ForceCommand(**fields["force"])
            if "take_over" in fields:
                fields["take_over"] = TakeOverCommand(**fields["take_over"])
            if "approved" in fields:
                fields["approved"] = _approved_plan(**fields["approved"])
            for name in ("expected_database", "command_database"):
                if name in fields:
                    fields[name] = DatabaseIdentity(**fields[name])
            return cls(**fields)
        except (KeyError, TypeError, AttributeError, ValueError) as error:
            raise ValueError(f"not a job specification: {error}") from error


def _approved_plan(digest: str, start: dict[str, Any]) -> ApprovedPlan:
    return ApprovedPlan(digest, plan_start(**start))


_NAMES: Final = tuple(field.name for field in dataclasses.fields(JobSpec))


def _plain(value: Any) -> Any:
    if isinstance(value, str | int | float | tuple):
        return value  # most are, and to ask an enumeration whether it is a dataclass takes long
    return dataclasses.asdict(value) if dataclasses.is_dataclass(type(value)) else value
