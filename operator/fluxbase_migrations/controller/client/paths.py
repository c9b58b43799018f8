"""Paths of the API server's resources.

Some names come from others: a Job's annotation, a claim in a database. None of them may lead elsewhere.
"""

import re
from typing import Final

from fluxbase_migrations.core.names import GROUP, PLURAL, VERSION

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
"""What every object that the operator deals with may be called; use with ``fullmatch``."""


def sets(namespace: str | None = None) -> str:
    """The sets of a namespace, or all."""
    return _of(f"/apis/{GROUP}/{VERSION}", namespace, PLURAL)


def one_set(namespace: str, name: str) -> str:
    """One set."""
    return f"{sets(namespace)}/{_name(name)}"


def set_status(namespace: str, name: str) -> str:
    """The status of one set."""
    return f"{one_set(namespace, name)}/status"


def jobs(namespace: str | None = None) -> str:
    """The Jobs of a namespace, or all."""
    return _of("/apis/batch/v1", namespace, "jobs")


def job(namespace: str, name: str) -> str:
    """One Job."""
    return f"{jobs(namespace)}/{_name(name)}"


def pods(namespace: str | None = None) -> str:
    """The pods of a namespace, or all."""
    return _of("/api/v1", namespace, "pods")


def pod(namespace: str, name: str) -> str:
    """One pod."""
    return f"{pods(namespace)}/{_name(name)}"


def log(namespace: str, pod: str) -> str:
    """The log of one pod."""
    return f"{pods(namespace)}/{_name(pod)}/log"


def config_maps(namespace: str | None = None) -> str:
    """The ConfigMaps of a namespace, or all."""
    return _of("/api/v1", namespace, "configmaps")


def config_map(namespace: str, name: str) -> str:
    """One ConfigMap."""
    return f"{config_maps(namespace)}/{_name(name)}"


def claim(namespace: str, name: str) -> str:
    """One PersistentVolumeClaim."""
    return _of("/api/v1", namespace, f"persistentvolumeclaims/{_name(name)}")


def events(namespace: str) -> str:
    """The Events of a namespace."""
    return _of("/api/v1", namespace, "events")


def namespace(name: str) -> str:
    """One namespace."""
    return f"/api/v1/namespaces/{name}"


def leases(namespace: str) -> str:
    """The Leases of a namespace."""
    return _of("/apis/coordination.k8s.io/v1", namespace, "leases")


def _of(group: str, namespace: str | None, rest: str) -> str:
    return f"{group}/namespaces/{_name(namespace)}/{rest}" if namespace else f"{group}/{rest}"


def _name(text: str) -> str:
    if NAME.fullmatch(text) is None:
        raise ValueError(f"{text!r} is not the name of an object")
    return text
