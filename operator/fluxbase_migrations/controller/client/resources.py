"""The API server's collections that the operator uses, and their paths.

Some names come from untrusted texts, as a Job's annotation or a claim in a database: they must not lead to
another path.
"""

import re
from enum import StrEnum
from typing import Final

from fluxbase_migrations.core.names import GROUP, PLURAL, VERSION

NAME: Final = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?", re.ASCII)
"""Valid names of all objects that the operator handles; use with ``fullmatch``."""


class Resource(StrEnum):
    """Collections of the API server, each by its path for all namespaces."""

    SETS = f"/apis/{GROUP}/{VERSION}/{PLURAL}"
    JOBS = "/apis/batch/v1/jobs"
    PODS = "/api/v1/pods"
    CONFIG_MAPS = "/api/v1/configmaps"
    CLAIMS = "/api/v1/persistentvolumeclaims"
    EVENTS = "/api/v1/events"
    NAMESPACES = "/api/v1/namespaces"
    LEASES = "/apis/coordination.k8s.io/v1/leases"


def path_of(
    resource: str, namespace: str | None = None, name: str | None = None, subresource: str = ""
) -> str:
    """The path of a collection, one object, or its subresource.

    Raises:
        ValueError: an invalid name. The client's quoting would let ``..`` pass.
    """
    for part in (namespace, name):
        if part is not None and NAME.fullmatch(part) is None:
            raise ValueError(f"{part!r} is not the name of an object")
    group, _, plural = resource.rpartition("/")
    scope = [] if namespace is None else ["namespaces", namespace]
    return "/".join([group, *scope, plural, *filter(None, (name, subresource))])
