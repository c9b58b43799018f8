"""The manifest of a run's Job."""

import hashlib
import json
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, Final, TypedDict, Unpack

from fluxbase_migrations.api.model import CertificateSource, KeyRef
from fluxbase_migrations.api.spec import SourceSpec, Spec, TrackSpec
from fluxbase_migrations.controller.client.kube import NamespacedName
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile import source_volumes as mounted
from fluxbase_migrations.core import durations
from fluxbase_migrations.core.approval import ApprovedPlan
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.job import ForceCommand, JobSpec, SetRef, TakeOverCommand
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_DATABASE,
    ANNOTATION_INPUTS,
    ANNOTATION_OPERATOR,
    ANNOTATION_OPERATOR_NAME,
    ANNOTATION_SET,
    ANNOTATION_TEMPLATE,
    ANNOTATIONS_UNDISTURBED,
    API_VERSION,
    CONTAINER,
    ENV_DATABASE_URL,
    ENV_JOB,
    ENV_LOG_FORMAT,
    JOB_APP_NAME,
    KIND,
    LABEL_MANAGED_BY,
    LABEL_NAME,
    LABEL_RUN,
    LABEL_SET,
    LABEL_SET_UID,
    LABEL_TRACK,
    OPERATOR_APP_NAME,
    Approval,
    Track,
)

GRACE_SECONDS: Final = 120
"""Seconds between SIGTERM and SIGKILL: time for the running statement to end."""
_CERTIFICATE: Final = "/etc/fluxbase/tls/ca.crt"
_LABEL_LIMIT: Final = 63


def set_label(name: str) -> str:
    """The set's name as a label's value: one of more than 63 characters is cut and gets a hash."""
    if len(name) <= _LABEL_LIMIT:
        return name
    return f"{name[:50].rstrip('.-')}-{hashlib.sha256(name.encode()).hexdigest()[:12]}"


class OfRun(TypedDict, total=False):
    """Parameters of one run that are not in the spec; see :class:`JobSpec`."""

    requested: bool
    requested_at: str | None
    force: ForceCommand | None
    take_over: TakeOverCommand | None
    command_database: DatabaseIdentity | None
    take_over_from: str | None
    expected_database: DatabaseIdentity | None
    approved: ApprovedPlan | None
    plan_only: bool


def template_digest(spec: Spec, track: Track, settings: Settings, namespace: str) -> str:
    """Digest of everything that a Job is created from, but for the parameters of its run."""
    inputs = [_pod(spec, track, settings, namespace), _options(spec, track)]
    return f"sha256:{hashlib.sha256(json.dumps(inputs, sort_keys=True).encode()).hexdigest()}"


def job_spec(
    spec: Spec,
    track: Track,
    owner: SetRef,
    *,
    run: int,
    expected_digest: str | None,
    files: Sequence[NamespacedName] = (),
    **of_run: Unpack[OfRun],
) -> JobSpec:
    """The job specification that the runner gets as JSON."""
    names = tuple(key for _, key in files)
    options = _options(spec, track)
    return JobSpec(
        set=owner, track=track, run=run, expected_digest=expected_digest, files=names, **options, **of_run
    )


def _options(spec: Spec, track: Track) -> dict[str, Any]:
    """The fields of :class:`JobSpec` that every run of the track has."""
    track_options, ddl = track_spec(spec, track), spec.ddl_lock_timeout
    return {
        "paths": mounted.paths(track, track_options.source),
        "volume": track_options.source is not None
        and track_options.source.persistent_volume_claim is not None,
        "target": track_options.target_version,
        "rollback": track_options.rollback,
        "out_of_order": track_options.out_of_order,
        "unknown_files": track_options.unknown_files,
        "recovery": spec.recovery,
        "exposure": spec.exposure,
        "table": track_options.table,
        "baseline": track_options.baseline,
        "foreign_tables": _foreign_tables(spec, track),
        "lock_timeout": durations.seconds(spec.lock_timeout),
        "ddl_lock_timeout": durations.seconds(ddl) if ddl else None,
        "statement_timeout": durations.seconds(spec.statement_timeout),
        "grace_period": GRACE_SECONDS,
        **({"manual": True} if spec.approval is Approval.MANUAL else {}),
    }


def _foreign_tables(spec: Spec, track: Track) -> tuple[str, ...]:
    """The tables that the set names, and the other track's, whose versions this track has to expect."""
    tables = (track_spec(spec, other).table for other in Track if other is not track)
    named = track_spec(spec, track).foreign_tables or ()
    return (*named, *(table for table in tables if table is not None and table not in named))


def track_spec(spec: Spec, track: Track) -> TrackSpec:
    """The track's part of the spec; an absent user track has no source."""
    return spec.tracks.system if track is Track.SYSTEM else spec.tracks.user or TrackSpec()


def manifest(
    spec: Spec,
    settings: Settings,
    job: JobSpec,
    *,
    name: str,
    inputs_digest: str,
    template: str,
    database_digest: str | None = None,
    files: Sequence[NamespacedName] = (),
) -> Json:
    """The Job to create. ``files`` are ConfigMaps' keys that it gets as variables, not mounted."""
    labels = {
        LABEL_NAME: JOB_APP_NAME,
        LABEL_MANAGED_BY: OPERATOR_APP_NAME,
        LABEL_SET: set_label(job.set.name),
        LABEL_SET_UID: job.set.uid,
        LABEL_TRACK: str(job.track),
        LABEL_RUN: str(job.run),
    }
    own = {ANNOTATION_SET: job.set.name}
    owner = {
        "apiVersion": API_VERSION,
        "kind": KIND,
        "name": job.set.name,
        "uid": job.set.uid,
        "controller": True,
        "blockOwnerDeletion": False,
    }
    template_spec: Json = {
        "backoffLimit": 0,
        "podReplacementPolicy": "Failed",
        "template": {
            "metadata": {
                "labels": {**(spec.job.pod_labels or {}), **labels},
                "annotations": {**ANNOTATIONS_UNDISTURBED, **(spec.job.pod_annotations or {}), **own},
            },
            "spec": _pod(spec, job.track, settings, job.set.namespace, files),
        },
    }
    (container,) = template_spec["template"]["spec"]["containers"]
    container["env"].append(_literal(ENV_JOB, job.to_json()))
    if spec.job.active_deadline_seconds is not None:
        template_spec["activeDeadlineSeconds"] = spec.job.active_deadline_seconds
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": job.set.namespace,
            "labels": labels,
            "annotations": {
                ANNOTATION_INPUTS: inputs_digest,
                ANNOTATION_TEMPLATE: template,
                ANNOTATION_OPERATOR: settings.installation,
                ANNOTATION_OPERATOR_NAME: settings.operator_name,
                ANNOTATION_DATABASE: database_digest or "",
                **own,
            },
            "ownerReferences": [owner],
        },
        "spec": template_spec,
    }


def _pod(
    spec: Spec, track: Track, settings: Settings, namespace: str, files: Sequence[NamespacedName] = ()
) -> Json:
    """The pod of any run: no token, no privileges, a read-only root file system."""
    track_options, options = track_spec(spec, track), spec.job
    volumes, mounts = ([], []) if files else mounted.volumes(track, track_options.source)
    environment = _environment(spec, settings) + mounted.variables(files)
    certificate = spec.database.connection.ssl_root_cert_from if spec.database.connection else None
    if certificate is not None:
        volumes.append({"name": "tls", **_certificate_volume(certificate)})
        mounts.append({"name": "tls", "mountPath": _CERTIFICATE.rsplit("/", 1)[0], "readOnly": True})
    pod: Json = {
        "restartPolicy": "Never",
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": GRACE_SECONDS,
        "securityContext": {
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
            **_identity(settings.user),
        },
        "containers": [
            {
                "name": CONTAINER,
                "image": settings.image,
                "imagePullPolicy": settings.pull_policy,
                "command": ["python3", "-m", "fluxbase_migrations.runner"],
                "env": environment,
                "resources": options.resources.model_dump(mode="json"),
                "securityContext": {
                    "allowPrivilegeEscalation": False,
                    "readOnlyRootFilesystem": True,
                    "capabilities": {"drop": ["ALL"]},
                },
                "terminationMessagePolicy": "File",
                "volumeMounts": mounts,
            }
        ],
        "volumes": volumes,
    }
    affinity = _affinity(options.affinity, track_options.source, settings, namespace)
    optional = {
        "serviceAccountName": options.service_account_name,
        "nodeSelector": options.node_selector,
        "tolerations": list(options.tolerations or ()),
        "affinity": affinity,
        "imagePullSecrets": [reference.model_dump() for reference in options.image_pull_secrets or ()],
    }
    return pod | {name: value for name, value in optional.items() if value}


def _identity(user: int | None) -> Json:
    if user is None:
        return {}
    return {"runAsUser": user, "runAsGroup": user, "fsGroup": user, "fsGroupChangePolicy": "OnRootMismatch"}


def _environment(spec: Spec, settings: Settings) -> list[Json]:
    """Variables of the connection; secrets only by reference."""
    environment = [_literal(ENV_LOG_FORMAT, settings.log_format)]
    if spec.database.url_from is not None:
        return [*environment, _from_secret(ENV_DATABASE_URL, spec.database.url_from.secret_key_ref)]
    connection = spec.database.connection
    if connection is None:
        return environment
    plain = {
        "PGHOST": connection.host,
        "PGPORT": str(connection.port),
        "PGDATABASE": connection.name,
        "PGSSLMODE": connection.ssl_mode,
        "PGUSER": connection.user,
        "PGSSLROOTCERT": _CERTIFICATE if connection.ssl_root_cert_from else None,
    }
    environment += [_literal(name, value) for name, value in plain.items() if value is not None]
    if connection.user_from is not None:
        environment.append(_from_secret("PGUSER", connection.user_from.secret_key_ref))
    if connection.password_from is not None:
        environment.append(_from_secret("PGPASSWORD", connection.password_from.secret_key_ref))
    return environment


def _literal(variable: str, value: str) -> Json:
    """A variable with exactly this value.

    Kubernetes replaces ``$(NAME)`` by that variable, which may hold a Secret, and ``$$`` by ``$``.
    """
    return {"name": variable, "value": value.replace("$", "$$")}


def _from_secret(variable: str, reference: KeyRef) -> Json:
    return {"name": variable, "valueFrom": {"secretKeyRef": reference.model_dump()}}


def _certificate_volume(source: CertificateSource) -> Json:
    """The certificate under a fixed name, whatever its key."""
    if source.secret_key_ref is not None:
        items = [{"key": source.secret_key_ref.key, "path": "ca.crt"}]
        return {"secret": {"secretName": source.secret_key_ref.name, "items": items}}
    assert source.config_map_key_ref is not None  # noqa: S101 - the schema wants exactly one
    items = [{"key": source.config_map_key_ref.key, "path": "ca.crt"}]
    return {"configMap": {"name": source.config_map_key_ref.name, "items": items}}


def _affinity(
    requested: Json | None, source: SourceSpec | None, settings: Settings, namespace: str
) -> Json | None:
    """The requested affinity; a claim that only the operator's node can mount adds that node."""
    claim = source.persistent_volume_claim if source else None
    bound = settings.claim_node_bound and settings.node_name
    mounted = (settings.pod_namespace, settings.claim)
    if claim is None or (namespace, claim.claim_name) != mounted or not bound:
        return requested
    field = {"key": "metadata.name", "operator": "In", "values": [settings.node_name]}
    affinity = deepcopy(requested or {})
    required = affinity.setdefault("nodeAffinity", {}).setdefault(
        "requiredDuringSchedulingIgnoredDuringExecution", {}
    )
    terms = required.setdefault("nodeSelectorTerms", None) or [{}]
    required["nodeSelectorTerms"] = [
        {**term, "matchFields": [*term.get("matchFields", ()), field]} for term in terms
    ]
    return affinity
