"""Every name that more than one part of the product must spell the same way."""

from enum import StrEnum
from typing import Final

GROUP: Final = "fluxbase.io"
VERSION: Final = "v1alpha1"
KIND: Final = "FluxbaseMigrationSet"
PLURAL: Final = "fluxbasemigrationsets"
SHORT_NAME: Final = "fbms"
API_VERSION: Final = f"{GROUP}/{VERSION}"

ANNOTATION_REQUESTED_AT: Final = f"{GROUP}/requested-at"
"""Any new value requests a run of both tracks, also of one that has failed."""
ANNOTATION_FORCE: Final = f"{GROUP}/force"
"""``<track>=<version>@<token>``: set the tracking row, once per token."""

ANNOTATION_TAKE_OVER: Final = f"{GROUP}/take-over"
"""``<track>=<uid of the owner>@<token>``: take the track of the database over from the set that owns it."""

ANNOTATION_APPROVE: Final = f"{GROUP}/approve"
"""``<digest of the plan>``, perhaps with ``@<token>``: run that plan, under ``approval: Manual``."""

SUMS: Final = "migrations.sum"
"""Checksums beside the files, as sha256sum writes them: ``sha256sum -c migrations.sum`` reads it, too."""

LABEL_NAME: Final = "app.kubernetes.io/name"
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
JOB_APP_NAME: Final = "fluxbase-migration"
"""Never ``fluxbase``: the documented query for the Deployment's pod takes the first match."""
OPERATOR_APP_NAME: Final = "fluxbase"
LABEL_SET: Final = f"{GROUP}/set"
LABEL_SET_UID: Final = f"{GROUP}/set-uid"
LABEL_TRACK: Final = f"{GROUP}/track"
LABEL_RUN: Final = f"{GROUP}/run"
ANNOTATION_INPUTS: Final = f"{GROUP}/inputs-digest"
"""On a Job: the inputs digest that it was created for."""

ANNOTATION_DATABASE: Final = f"{GROUP}/database-digest"
"""On a Job: the digest of the ``spec.database`` that it was created for."""

ANNOTATION_SET: Final = f"{GROUP}/set"
"""On a Job and its pod: the set's full name, where the label had to be shortened."""
ANNOTATION_TEMPLATE: Final = f"{GROUP}/template-digest"
"""On a Job: what its pod was made from. A Job that has not started is replaced if it differs."""

APPLICATION_NAME: Final = "fluxbase-migrate"
"""How our sessions call themselves in ``pg_stat_activity``."""
ANNOTATION_OPERATOR: Final = f"{GROUP}/operator"
"""On a Job: the installation that made it, as namespace/name of its Lease."""
ANNOTATION_OPERATOR_NAME: Final = f"{GROUP}/operator-name"
"""On a Job: the name for which that installation is responsible, the ``spec.operator`` of its sets."""
ANNOTATION_CONTESTED: Final = f"{GROUP}/contested-by"
"""On a Job: another installation that is responsible, too, and has stepped back."""

ANNOTATIONS_UNDISTURBED: Final = {
    "cluster-autoscaler.kubernetes.io/safe-to-evict": "false",
    "karpenter.sh/do-not-disrupt": "true",
}
"""On a pod while its migration runs: it is better not moved to another node half way."""

CONTAINER: Final = "migrate"
"""The container whose termination message is the result."""

ENV_JOB: Final = "FLUXBASE_JOB"
"""The job specification, as JSON; see :class:`fluxbase_migrations.core.job.JobSpec`."""
ENV_FILE: Final = "FLUXBASE_FILE_"
"""With a number behind it: the content of the job specification's file of that number."""

ENV_DATABASE_URL: Final = "DATABASE_URL"
"""The connection string of ``database.urlFrom``. With ``database.connection`` the Job sets libpq's own
variables instead: PGHOST, PGPORT, PGDATABASE, PGUSER, PGPASSWORD, PGSSLMODE, PGSSLROOTCERT."""
ENV_LOG_FORMAT: Final = "LOG_FORMAT"
"""``text`` or ``json``."""

MIGRATIONS_ROOT: Final = "/migrations"
"""In the Job's container, each track's files lie in the directory of its name below this one."""

QUALIFIED_TABLE: Final = r'^("([^"]|"")+"|[^".]+)[.]("([^"]|"")+"|[^".]+)$'
"""``schema.name``, either part in double quotes if it holds a dot or a quote."""

HISTORY_TABLE: Final = "history"
"""The history, in the schema ``migrations``: one table for all tracking tables."""


HISTORY_ENTRY_IDENTITY: Final = 0
"""Number of the history's entry that holds its own id; numbers of other entries begin with 1."""


class Track(StrEnum):
    """The two independent sequences of migrations."""

    SYSTEM = "system"
    USER = "user"


TRACKING_TABLE: Final[dict[Track, tuple[str, str]]] = {
    Track.SYSTEM: ("migrations", "fluxbase"),
    Track.USER: ("migrations", "app"),
}
"""Schema and name of each track's version table."""


class Phase(StrEnum):
    """Where a track, or the whole set, is."""

    PENDING = "Pending"
    RUNNING = "Running"
    APPLIED = "Applied"
    FAILED = "Failed"
    ROLLED_BACK = "RolledBack"
    SKIPPED = "Skipped"


class CommandState(StrEnum):
    """What became of a command."""

    WAITING = "Waiting"
    """No run carries it yet."""
    IN_PROGRESS = "InProgress"
    """A run carries it, or will when it is tried again."""
    OBEYED = "Obeyed"
    REFUSED = "Refused"
    """Malformed, or given for another database."""
    WITHDRAWN = "Withdrawn"
    """The annotation was removed before it was obeyed."""


class Rollback(StrEnum):
    """Whether a lower target may run down files."""

    FORBID = "Forbid"
    ALLOW = "Allow"


class OutOfOrderPolicy(StrEnum):
    """What to make of a file numbered below the recorded version that was never applied."""

    WARN = "Warn"
    FAIL = "Fail"
    IGNORE = "Ignore"


class ExposurePolicy(StrEnum):
    """What to make of objects that anon or authenticated reach past row-level security."""

    WARN = "Warn"
    FAIL = "Fail"
    IGNORE = "Ignore"
    """The database is not checked for them."""


class UnknownFiles(StrEnum):
    """What to make of a ``.sql`` file whose name is no migration's."""

    FAIL = "Fail"
    WARN = "Warn"
    """Leave it out, and say so."""


class Approval(StrEnum):
    """Whether a plan runs at once, or only when it is approved."""

    AUTOMATIC = "Automatic"
    MANUAL = "Manual"


class Recovery(StrEnum):
    """How far the runner may go on its own from a dirty row."""

    AUTOMATIC = "Automatic"
    PROVEN = "Proven"
    MANUAL = "Manual"
