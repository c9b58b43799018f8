"""Where a Job's pod finds the migration files."""

from collections.abc import Sequence

from fluxbase_migrations.api.spec import SourceSpec
from fluxbase_migrations.controller.client.kube import NamespacedName
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ENV_FILE, MIGRATIONS_ROOT, Track


def paths(track: Track, source: SourceSpec | None) -> tuple[str, ...]:
    """Directories of the migration files in the container; none for those built into the image."""
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
        volume = {"name": "source", "persistentVolumeClaim": claim}
        return [volume], [{"name": "source", "mountPath": f"{MIGRATIONS_ROOT}/{track}", "readOnly": True}]
    config_maps, mounts = [], []
    for number, (name, path) in enumerate(zip(source.config_map_names(), paths(track, source), strict=True)):
        config_maps.append({"name": f"source-{number}", "configMap": {"name": name}})
        mounts.append({"name": f"source-{number}", "mountPath": path, "readOnly": True})
    return config_maps, mounts


def variables(files: Sequence[NamespacedName]) -> list[Json]:
    """Variables for small files, which the kubelet fills in.

    They are optional: where a key is missing, because the ConfigMap was edited since or because the kubelet
    still has a former immutable one of the name, the Job must end with SourceChanged, not wait for ever.
    """
    return [
        {
            "name": f"{ENV_FILE}{number}",
            "valueFrom": {"configMapKeyRef": {"name": name, "key": key, "optional": True}},
        }
        for number, (name, key) in enumerate(files)
    ]
