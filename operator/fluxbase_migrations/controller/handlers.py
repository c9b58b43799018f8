"""kopf's part: watching. A handler only puts a key into the queue."""

from collections.abc import Callable
from typing import Any

import kopf

from fluxbase_migrations.controller.jobs import SELECTOR
from fluxbase_migrations.controller.sources import Key
from fluxbase_migrations.core.names import ANNOTATION_SET, GROUP, PLURAL, VERSION


def registry(
    *,
    enqueue: Callable[[Key], None],
    deleted: Callable[[Key, str], None],
    is_own_write: Callable[[Key, str], bool],
) -> kopf.OperatorRegistry:
    """Handlers for sets, Jobs and pods, and the way to log in."""
    found = kopf.OperatorRegistry()

    @kopf.on.login(registry=found)
    def login(**kwargs: Any) -> kopf.ConnectionInfo | None:
        """As the pod's service account, or by the kubeconfig."""
        return kopf.login_with_service_account(**kwargs) or kopf.login_with_kubeconfig(**kwargs)

    @kopf.on.event(GROUP, VERSION, PLURAL, registry=found)
    def set_changed(event: Any, **_: Any) -> None:
        """A set was made, changed or deleted."""
        metadata = event["object"]["metadata"]
        key = (metadata["namespace"], metadata["name"])
        if event["type"] == "DELETED":
            deleted(key, metadata["uid"])
        elif is_own_write(key, metadata["resourceVersion"]):
            return
        enqueue(key)

    def belonging_changed(event: Any, **_: Any) -> None:
        """A Job or a pod of a set changed."""
        metadata = event["object"]["metadata"]
        name = (metadata.get("annotations") or {}).get(ANNOTATION_SET)
        if name:
            enqueue((metadata["namespace"], name))

    kopf.on.event("batch", "v1", "jobs", registry=found, id="job_changed")(belonging_changed)
    kopf.on.event("", "v1", "pods", registry=found, id="pod_changed")(belonging_changed)
    return found


def settings() -> kopf.OperatorSettings:
    """Make kopf a watcher: it writes nothing, on nobody's objects."""
    found = kopf.OperatorSettings()
    found.posting.enabled = False
    found.scanning.disabled = True
    found.peering.standalone = True
    found.networking.trust_env = False
    found.process.ultimate_exiting_timeout = 10.0
    found.queueing.idle_timeout = 1.0
    found.watching.label_selectors["batch", "v1", "jobs"] = SELECTOR
    found.watching.label_selectors["", "v1", "pods"] = SELECTOR
    return found
