"""The steps of a Job's run, who is at work until each, and when each was reached."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from bench.latency.observe import Event, Runtime, Watches


class Whose(StrEnum):
    """Who is at work until a step is reached."""

    KUBECTL = "kubectl"
    OPERATOR = "operator"
    KUBERNETES = "Kubernetes"
    RUNNER = "runner"


STEPS: Mapping[str, Whose] = {
    "object seen": Whose.KUBECTL,
    "Job created": Whose.OPERATOR,
    "pod scheduled": Whose.KUBERNETES,
    "container started": Whose.KUBERNETES,
    "program runs": Whose.RUNNER,
    "first file begins": Whose.RUNNER,
    "last file committed": Whose.RUNNER,
    "container ended": Whose.RUNNER,
    "end seen in the pod": Whose.KUBERNETES,
    "result in the status": Whose.OPERATOR,
    "Complete": Whose.KUBERNETES,
}
"""In their order. A Job that does nothing has no files, and a set does not wait for Complete."""


@dataclass(frozen=True)
class Lap:
    """One Job's part of a trial: step → seconds since the trial began."""

    title: str
    steps: Mapping[str, float] = field(default_factory=dict)


def job_steps(watches: Watches, runtime: Runtime, job: str, since: float) -> dict[str, float]:
    """The steps of a Job that Kubernetes and its container runtime show, as moments."""

    def of_pod(event: Event) -> bool:
        return event.labels.get("batch.kubernetes.io/job-name") == job

    moments = {
        "Job created": watches.first("job", lambda event: event.name == job, since),
        "pod scheduled": watches.first(
            "pod", lambda event: of_pod(event) and bool(event.body["spec"].get("nodeName")), since
        ),
        "end seen in the pod": watches.first(
            "pod", lambda event: of_pod(event) and "terminated" in _state(event), since
        ),
    }
    ended = next(event for event in watches.events if of_pod(event) and "terminated" in _state(event))
    container = _state(ended)["terminated"]["containerID"].removeprefix("containerd://")
    lifetime = runtime.lifetimes[container]
    moments |= {"container started": lifetime.started, "container ended": lifetime.ended}
    return {step: at for step, at in moments.items() if at is not None}


def _state(event: Event) -> dict[str, dict[str, str]]:
    statuses = event.body.get("status", {}).get("containerStatuses") or [{}]
    state: dict[str, dict[str, str]] = statuses[0].get("state") or {}
    return state
