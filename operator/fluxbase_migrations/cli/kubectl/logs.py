"""``kubectl fluxbase logs``: what the newest run of a set has logged, whatever its pod is called."""

import sys
from typing import Any

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import CONTAINER, LABEL_RUN, LABEL_SET_UID, LABEL_TRACK, Track
from fluxbase_migrations.core.text import visible


def newest(pods: list[Json], track: str | None) -> Json | None:
    """The pod of the latest run: of ``track``, or else of the user track before the system track."""

    def age(pod: Json) -> tuple[bool, int, str]:
        labels, created = pod["metadata"]["labels"], pod["metadata"]["creationTimestamp"]
        run = labels.get(LABEL_RUN, "")
        return labels.get(LABEL_TRACK) == Track.USER, int(run) if run.isdecimal() else 0, str(created)

    candidates = [pod for pod in pods if track in (None, pod["metadata"]["labels"].get(LABEL_TRACK))]
    return max(candidates, key=age, default=None)


def selector(migration_set: Json) -> str:
    """Labels of the pods of a set."""
    return f"{LABEL_SET_UID}={migration_set['metadata']['uid']}"


def has_started(pod: Json) -> bool:
    """Whether its container has logged, or may have."""
    states = (pod.get("status") or {}).get("containerStatuses") or ()
    return any(status["name"] == CONTAINER and "waiting" not in status.get("state", {}) for status in states)


def show(core: Any, namespace: str, pod: Json, *, follow: bool) -> None:
    """Print the log as it comes, with nothing that a terminal would obey."""
    answer = _stream(core, namespace, pod, follow=follow)
    try:
        rest = b""
        for part in answer.stream():
            *lines, rest = (rest + part).split(b"\n")
            for line in lines:
                print(visible(line.decode(errors="replace")), flush=follow)
        if rest:
            print(visible(rest.decode(errors="replace")))
    finally:
        answer.release_conn()
        sys.stdout.flush()


def read(core: Any, namespace: str, pod: Json) -> str:
    """The log, as it is; empty if the API server does not have it."""
    from kubernetes.client.exceptions import ApiException

    try:
        answer = _stream(core, namespace, pod, follow=False)
    except ApiException:
        return ""
    try:
        return bytes(answer.read()).decode(errors="replace")
    finally:
        answer.release_conn()


def _stream(core: Any, namespace: str, pod: Json, *, follow: bool) -> Any:
    return core.read_namespaced_pod_log(
        pod["metadata"]["name"], namespace, container=CONTAINER, follow=follow, _preload_content=False
    )
