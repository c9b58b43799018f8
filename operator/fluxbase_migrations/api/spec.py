"""The resource's spec: its fields, defaults and what the API server refuses."""

from typing import Annotated, Any, ClassVar, Final

from pydantic import Field, StringConstraints

from fluxbase_migrations.api.model import (
    DURATION,
    CertificateSource,
    LabelText,
    Model,
    ObjectName,
    QualifiedTable,
    SecretSource,
    duration,
    rule,
    text,
)
from fluxbase_migrations.core.defaults import LOCK_TIMEOUT
from fluxbase_migrations.core.digest import digest_of
from fluxbase_migrations.core.names import (
    HISTORY_TABLE,
    TRACKING_TABLE,
    Approval,
    ExposurePolicy,
    OutOfOrderPolicy,
    Recovery,
    Rollback,
    Track,
    UnknownFiles,
)

PRESERVE: Final[dict[str, Any]] = {"x-kubernetes-preserve-unknown-fields": True}
"""For objects whose schema is Kubernetes' own: the API server checks them when the Job is created."""


Text = Annotated[str, text(253)]
Identifier = Annotated[str, text(63)]
"""PostgreSQL cuts longer names."""
Timeout = Annotated[
    str,
    DURATION,
    duration(
        rule(
            f"duration(self) <= duration('{2**31 - 1}ms')",
            "PostgreSQL takes at most 596h (2147483647ms) for a timeout; 0s is none",
        )
    ),
]
Pause = Annotated[
    str, DURATION, duration(rule("duration(self) >= duration('100ms')", "it must be at least 100ms"))
]
Interval = Annotated[
    str, DURATION, duration(rule("duration(self) >= duration('10s')", "it must be at least 10s"))
]
VerifyInterval = Annotated[
    str, DURATION, duration(rule("duration(self) >= duration('1m')", "it must be at least 1m"))
]
QUANTITY: Final = r"^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))([numkMGTPE]|[KMGTPE]i|[eE](\+|-)?[0-9]+)?$"
"""Kubernetes' own rule for amounts of CPU and memory."""
_ADVICE: Final = "$(write an amount like 500m, 0.5 or 512Mi)"
"""What nothing matches, as it would have to follow the text's end; but a pattern is what its error shows.

A rule with a message cannot be given: CEL does not reach a value that may be a number as well as a text.
"""


TrackingTable = Annotated[
    str,
    StringConstraints(pattern=r'^[^".]+[.][^".]+$', max_length=127),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                rule(f"self != 'migrations.{HISTORY_TABLE}'", "it is the history of all tracks")
            ]
        }
    ),
]
"""Without quotes, so that one table has one name."""
_TABLE: Final = {
    track: f"(has(self.{track}) && has(self.{track}.table) ? self.{track}.table"
    f" : '{'.'.join(TRACKING_TABLE[track])}')"
    for track in Track
}
"""Each track's table, in CEL."""


class Connection(Model):
    """A connection in its parts. The password, and optionally the user, come from a Secret."""

    rules: ClassVar = [
        rule("has(self.user) != has(self.userFrom)", "give exactly one of user and userFrom"),
        rule(
            "!(self.sslMode in ['verify-ca', 'verify-full']) || has(self.sslRootCertFrom)",
            "sslMode verify-ca and verify-full need sslRootCertFrom",
        ),
    ]

    host: Text
    """Host name or address of the server, usually that of a Service."""
    port: Annotated[int, Field(ge=1, le=65535)] = 5432
    """Port of the server."""
    name: Identifier
    """Name of the database."""
    ssl_mode: Annotated[
        str,
        Field(
            json_schema_extra={"enum": ["disable", "allow", "prefer", "require", "verify-ca", "verify-full"]}
        ),
    ] = "prefer"
    """libpq's sslmode. Only verify-full protects against an impersonated server."""
    user: Identifier | None = None
    """The login that runs the migrations."""
    user_from: SecretSource | None = None
    """The login, from a Secret."""
    password_from: SecretSource | None = None
    """The password; absent for logins that need none (certificates, trust)."""
    ssl_root_cert_from: CertificateSource | None = None
    """Certificates of the authorities to trust, in PEM format."""


class Database(Model):
    """The database to migrate: exactly one of urlFrom and connection."""

    rules: ClassVar = [
        rule("has(self.urlFrom) != has(self.connection)", "give exactly one of urlFrom and connection")
    ]

    url_from: SecretSource | None = None
    """A connection string like postgres://user:password@host:5432/name?sslmode=verify-full, from a Secret.
    golang-migrate's parameters are understood; x-migrations-table names the user track's tracking table."""
    connection: Connection | None = None
    """The connection in its parts."""

    def digest(self) -> str:
        """A digest of the reference; the content of a Secret is not part of it."""
        return digest_of(self.model_dump_json())


class ConfigMapRef(Model):
    """A ConfigMap whose keys are file names, as kubectl create configmap --from-file makes it."""

    name: ObjectName
    """Name of the ConfigMap, in the set's namespace."""


class ClaimSource(Model):
    """A volume with migration files. The operator cannot see into it; see recheckInterval."""

    rules: ClassVar = [
        rule(
            "!has(self.path) || "
            "(!self.path.startsWith('/') && !self.path.split('/').exists(part, part == '..'))",
            "path is relative to the volume and must not contain '..'",
        )
    ]

    claim_name: ObjectName
    """Name of the PersistentVolumeClaim, in the set's namespace. Mounted read-only."""
    path: Annotated[str, text(512)] = "."
    """Directory in the volume."""


class SourceSpec(Model):
    """Where the migration files are: exactly one of configMap, configMaps and persistentVolumeClaim."""

    rules: ClassVar = [
        rule(
            "[has(self.configMap), has(self.configMaps), has(self.persistentVolumeClaim)]"
            ".exists_one(given, given)",
            "give exactly one of configMap, configMaps and persistentVolumeClaim",
        )
    ]

    config_map: ConfigMapRef | None = None
    """One ConfigMap."""
    config_maps: (
        Annotated[
            tuple[ConfigMapRef, ...],
            Field(
                min_length=1,
                max_length=32,
                json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]},
            ),
        ]
        | None
    ) = None
    """Several ConfigMaps, merged, for more than one ConfigMap's 1 MiB. A file name may occur in only one."""
    persistent_volume_claim: ClaimSource | None = None
    """A volume."""

    def config_map_names(self) -> tuple[str, ...]:
        """Names of all ConfigMaps of this source."""
        if self.config_map is not None:
            return (self.config_map.name,)
        return tuple(config_map.name for config_map in self.config_maps or ())


class TrackSpec(Model):
    """One track of migrations."""

    rules: ClassVar = [
        rule(
            "!has(self.recheckInterval) || (has(self.source) && has(self.source.persistentVolumeClaim))",
            "recheckInterval is for a persistentVolumeClaim; changes of a ConfigMap are always picked up",
        ),
        rule(
            "!has(self.allowEmpty) || !self.allowEmpty || "
            "(has(self.source) && has(self.source.persistentVolumeClaim))",
            "allowEmpty is for a persistentVolumeClaim",
        ),
    ]

    enabled: bool = True
    """false disables the track; its tables and versions stay as they are."""
    source: SourceSpec | None = None
    """Where the files are. Absent: the system track's are built in, the user track is skipped."""
    target_version: Annotated[int, Field(ge=0)] | None = None
    """The version to migrate to. Absent: the latest. A lower one than applied rolls back; 0: everything."""
    rollback: Rollback = Rollback.FORBID
    """Whether a lower targetVersion may run down files: Forbid or Allow."""
    out_of_order: OutOfOrderPolicy = OutOfOrderPolicy.WARN
    """Policy for a file below the applied version that was never applied: Warn, Fail or Ignore."""
    unknown_files: UnknownFiles = UnknownFiles.FAIL
    """Policy for a .sql file whose name is not that of a migration: Fail, or Warn (the file is ignored)."""
    table: TrackingTable | None = None
    """Tracking table of the source's files, as schema.name. Absent: migrations.app or migrations.fluxbase."""
    baseline: Annotated[int, Field(ge=1)] | None = None
    """The version of a database that another tool has migrated: recorded once, if the database has tables and
    no recorded version. Files up to it are not run."""
    foreign_tables: (
        Annotated[
            tuple[QualifiedTable, ...],
            Field(min_length=1, max_length=32, json_schema_extra={"x-kubernetes-list-type": "set"}),
        ]
        | None
    ) = None
    """Version tables of other programs in this database, as schema.name. While the tracking table has no
    version, a run is refused where any other table of golang-migrate's shape has one."""
    allow_empty: bool = False
    """Whether a volume without migration files leaves the set Ready as long as nothing was applied. false: it
    is Pending, so that a mistyped path shows."""
    recheck_interval: Interval | None = None
    """How often to check a volume for new files. Absent: only on request, or on a rollout restart."""


class Tracks(Model):
    """The two tracks. The user track waits for the system track."""

    rules: ClassVar = [
        rule(
            "!has(self.system) || !has(self.system.enabled) || self.system.enabled || "
            "(has(self.user) && has(self.user.source) && "
            "(!has(self.user.enabled) || self.user.enabled))",
            "the system track is disabled, and the user track is too, or has no source: nothing to do",
        ),
        rule(
            "!has(self.system) || !has(self.system.table) || has(self.system.source)",
            "tracks.system.table needs a source; the built-in files are tracked in migrations.fluxbase",
        ),
        rule(f"{_TABLE[Track.SYSTEM]} != {_TABLE[Track.USER]}", "both tracks have the same table"),
    ]

    system: TrackSpec = TrackSpec()
    """The platform's own migrations, tracked in migrations.fluxbase."""
    user: TrackSpec | None = None
    """The application's migrations, tracked in migrations.app, or in the URL's x-migrations-table."""


class Retry(Model):
    """How transient errors are retried. Errors in the files are not: they wait for a change."""

    limit: Annotated[int, Field(ge=0, le=100)] = 5
    """Retries after the first run. An unreachable server or a held lock is retried without limit."""
    backoff: Pause = "10s"
    """Time until the first retry; doubled with each further one, up to five minutes."""


class Verify(Model):
    """Routine checks of the database."""

    interval: VerifyInterval
    """Time between two checks."""


class LocalReference(Model):
    """An object in the set's namespace."""

    name: ObjectName
    """Its name."""


Quantities = Annotated[
    dict[str, int | float | str],
    Field(
        max_length=16,
        json_schema_extra={
            # Kubernetes takes 0.5 for an amount, too, which no structural type but "any" does. These say what
            # strings, numbers, objects and lists must be like.
            "additionalProperties": {
                **PRESERVE,
                "pattern": f"{_ADVICE}|{QUANTITY}",
                "minimum": 0,
                "maxProperties": 0,
                "maxItems": 0,
            }
        },
    ),
]


_REQUESTS: Final[Quantities] = {"cpu": "50m", "memory": "96Mi"}
_LIMITS: Final[Quantities] = {"cpu": "1", "memory": "512Mi"}


class Resources(Model):
    """Resources of the Job's container."""

    requests: Quantities = _REQUESTS
    """Resources that are reserved for the container."""
    limits: Quantities = _LIMITS
    """Maximum resources of the container. All files are read into memory."""


StringMap = Annotated[dict[LabelText, LabelText], Field(max_length=64)]


class JobTemplate(Model):
    """Settings of the Jobs. A change applies from the next run."""

    rules: ClassVar = [
        rule(
            "!has(self.podLabels) || self.podLabels.all(key, !key.startsWith('fluxbase.io/') && "
            "!(key in ['app.kubernetes.io/name', 'app.kubernetes.io/managed-by']))",
            "app.kubernetes.io/name, app.kubernetes.io/managed-by and fluxbase.io/… are the operator's own",
        )
    ]

    active_deadline_seconds: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Time limit of a run. Absent: none, so that a long index build is not interrupted."""
    ttl_seconds_after_finished: Annotated[int, Field(ge=0, le=2**31 - 1)] = 86400
    """How long a finished Job and its log are kept. At most the last two Jobs of a track are kept anyway."""
    resources: Resources = Resources()
    """Requests and limits of the container."""
    node_selector: StringMap | None = None
    """Labels that the node must have."""
    tolerations: (
        Annotated[
            tuple[dict[str, Any], ...],
            Field(max_length=32, json_schema_extra={"items": {"type": "object", **PRESERVE}}),
        ]
        | None
    ) = None
    """Tolerations of the pod, as in a pod's spec."""
    affinity: Annotated[dict[str, Any], Field(json_schema_extra=PRESERVE)] | None = None
    """Affinity of the pod, as in a pod's spec."""
    service_account_name: ObjectName | None = None
    """The pod's service account; its token is not mounted. Absent: default."""
    image_pull_secrets: Annotated[tuple[LocalReference, ...], Field(max_length=16)] | None = None
    """Secrets for the image's registry."""
    pod_labels: StringMap | None = None
    """More labels for the pod. They cannot replace the operator's own."""
    pod_annotations: (
        Annotated[dict[LabelText, Annotated[str, StringConstraints(max_length=16384)]], Field(max_length=64)]
        | None
    ) = None
    """More annotations for the pod, for example to keep a service mesh's sidecar out."""


class Spec(Model):
    """A database and the migrations that it should have."""

    database: Database
    """The database to migrate."""
    tracks: Tracks = Tracks()
    """What to migrate."""
    recovery: Recovery = Recovery.AUTOMATIC
    """Recovery from a dirty state: Automatic (if the state is unknown, the file runs again once), Proven
    (only if the history proves what the file left), or Manual."""
    exposure: ExposurePolicy = ExposurePolicy.WARN
    """Policy for objects that anon or authenticated reach past row-level security once the user track's
    files are applied: Warn, Fail (the track is Failed until they are closed), or Ignore (not checked)."""
    retry: Retry = Retry()
    """How transient errors are retried."""
    approval: Approval = Approval.AUTOMATIC
    """Automatic: migrations run at once. Manual: a Job that changes nothing makes a plan, which status.plan
    shows and which runs when it is approved (kubectl fluxbase approve, or annotation fluxbase.io/approve)."""
    operator: Annotated[
        str, StringConstraints(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$", max_length=63)
    ] = ""
    """Name of the operator that is responsible (operatorName of its chart), where several watch this
    namespace. Empty: the one without a name."""
    verify: Verify | None = None
    """Routine checks of the database by a Job, which applies only what is pending. Absent: never."""
    suspend: bool = False
    """true starts no further runs; a run in progress is not interrupted."""
    lock_timeout: Timeout = f"{LOCK_TIMEOUT / 60:g}m"
    """How long to wait for the migration lock."""
    ddl_lock_timeout: Timeout | None = None
    """PostgreSQL's lock_timeout for the files' statements. Absent: the server's own."""
    statement_timeout: Timeout = "0s"
    """PostgreSQL's statement_timeout for the files' statements. 0s: that of the database URL, or none; the
    login's own setting does not apply."""
    job: JobTemplate = JobTemplate()
    """Settings of the Jobs."""
