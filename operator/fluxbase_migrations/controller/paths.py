"""Paths of the API server's resources."""

from fluxbase_migrations.core.names import GROUP, PLURAL, VERSION


def sets(namespace: str | None = None) -> str:
    """The sets of a namespace, or all."""
    return _of(f"/apis/{GROUP}/{VERSION}", namespace, PLURAL)


def one_set(namespace: str, name: str) -> str:
    """One set."""
    return f"{sets(namespace)}/{name}"


def set_status(namespace: str, name: str) -> str:
    """The status of one set."""
    return f"{one_set(namespace, name)}/status"


def jobs(namespace: str | None = None) -> str:
    """The Jobs of a namespace, or all."""
    return _of("/apis/batch/v1", namespace, "jobs")


def job(namespace: str, name: str) -> str:
    """One Job."""
    return f"{jobs(namespace)}/{name}"


def pods(namespace: str | None = None) -> str:
    """The pods of a namespace, or all."""
    return _of("/api/v1", namespace, "pods")


def log(namespace: str, pod: str) -> str:
    """The log of one pod."""
    return f"{pods(namespace)}/{pod}/log"


def config_maps(namespace: str | None = None) -> str:
    """The ConfigMaps of a namespace, or all."""
    return _of("/api/v1", namespace, "configmaps")


def config_map(namespace: str, name: str) -> str:
    """One ConfigMap."""
    return f"{config_maps(namespace)}/{name}"


def claim(namespace: str, name: str) -> str:
    """One PersistentVolumeClaim."""
    return _of("/api/v1", namespace, f"persistentvolumeclaims/{name}")


def events(namespace: str) -> str:
    """The Events of a namespace."""
    return _of("/api/v1", namespace, "events")


def leases(namespace: str) -> str:
    """The Leases of a namespace."""
    return _of("/apis/coordination.k8s.io/v1", namespace, "leases")


def _of(group: str, namespace: str | None, rest: str) -> str:
    return f"{group}/namespaces/{namespace}/{rest}" if namespace else f"{group}/{rest}"
