"""Where a Job's pod finds the migration files."""

from collections.abc import Sequence

from fluxbase_migrations.api.spec import SourceSpec
from fluxbase_migrations.controller.client.kube import NamespacedName
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ENV_FILE, MIGRATIONS_ROOT, Track


def paths(track: Track, source: SourceSpec | None) -> tuple[str, ...]:
    """Directories in the container; none for the migrations in the image."""
    root = f"{MIGRATIONS_ROOT}/{track}"
    if source is None:
        return ()
    if source.persistent_volume_claim is not None:
        path = source.persistent_volume_claim.path.strip("/")
        return (root if path in ("", ".") else f"{root}/{path.removeprefix('./')}",)
    if source.config_map is not None:
        return (root,)
    return tuple(f"{root}/{number}" for number in range(len(source.config_maps or ())))


def volumes(track: Track, source: SourceSpec | None) -> tuple[list[Json], list[Json]]:
    """Volumes and mounts of the migration files, all read-only."""
    if source is None:
        return [], []
    if source.persistent_volume_claim is not None:
        claim = {"claimName": source.persistent_volume_claim.claim_name}
        found = [{"name": "source", "persistentVolumeClaim": claim}]
        return found, [{"name": "source", "mountPath": f"{MIGRATIONS_ROOT}/{track}", "readOnly": True}]
    found, mounts = [], []
    for number, (name, path) in enumerate(zip(source.config_map_names(), paths(track, source), strict=True)):
        found.append({"name": f"source-{number}", "configMap": {"name": name}})
        mounts.append({"name": f"source-{number}", "mountPath": path, "readOnly": True})
    return found, mounts


def variables(files: Sequence[NamespacedName]) -> list[Json]:
    """Small files, which the kubelet puts into the environment.

    They are optional: where the kubelet finds others, because they were edited since or because it still
    knows an immutable ConfigMap that was made again, the Job must end with SourceChanged, not wait for ever.
    """
    return [
        {
            "name": f"{ENV_FILE}{number}",
            "valueFrom": {"configMapKeyRef": {"name": name, "key": key, "optional": True}},
        }
        for number, (name, key) in enumerate(files)
    ]
