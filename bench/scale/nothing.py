"""Jobs that do nothing, on the node that runs the sets' Jobs: what Kubernetes alone needs for as many.

Such a Job is one of the operator's with ``/bin/true`` for a command, in a namespace that no operator watches.
"""

import asyncio
import copy
import time
from collections.abc import Sequence

from bench.scale.control_plane import ControlPlane, follow
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import GROUP

PATIENCE = 900.0
"""Seconds for all of them."""


async def measure(
    plane: ControlPlane, template: Json, objects: Sequence[Json], count: int, slots: int
) -> list[float]:
    """Run Jobs, so many at once as there are slots; seconds until each was Complete, in order.

    ``objects`` are the Secrets and ConfigMaps that the Job of the template refers to.
    """
    async with plane.namespace() as (namespace, _):
        for body in objects:
            kind = "configmaps" if "data" in body else "secrets"
            await plane.kube.create(f"/api/v1/{kind}", namespace, body)
        return await _Batch(plane, namespace, template, count, slots).run()


class _Batch:
    """Creates a Job whenever a pod has ended, as the operator does."""

    def __init__(self, plane: ControlPlane, namespace: str, template: Json, count: int, slots: int) -> None:
        self._plane = plane
        self._namespace = namespace
        self._template = template
        self._count = count
        self._free = asyncio.Semaphore(slots)
        self._ended: set[str] = set()
        self._complete: dict[str, float] = {}

    async def run(self) -> list[float]:
        async with asyncio.TaskGroup() as group:
            group.create_task(follow(self._plane, Resource.PODS, self._namespace, self._pod, PATIENCE))
            group.create_task(follow(self._plane, Resource.JOBS, self._namespace, self._job, PATIENCE))
            begun = time.monotonic()
            group.create_task(self._create())
        return sorted(at - begun for at in self._complete.values())

    async def _create(self) -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(self._count):
                await self._free.acquire()
                body = {**self._template, "metadata": {"name": f"nothing-{number:04}"}}
                group.create_task(self._plane.kube.create(Resource.JOBS, self._namespace, body))

    def _pod(self, at: float, pod: Json) -> bool:
        uid = pod["metadata"]["uid"]
        phase = pod.get("status", {}).get("phase")
        assert phase != "Failed", pod["status"]
        if phase == "Succeeded" and uid not in self._ended:
            self._ended.add(uid)
            self._free.release()
        return len(self._ended) == self._count

    def _job(self, at: float, job: Json) -> bool:
        conditions = job.get("status", {}).get("conditions") or ()
        if any((condition["type"], condition["status"]) == ("Complete", "True") for condition in conditions):
            self._complete.setdefault(job["metadata"]["name"], at)
        return len(self._complete) == self._count


def job_that_does_nothing(job: Json) -> Json:
    """Spec of a Job whose pod is like that of one of ours, but for its command."""
    pod_template = job["spec"]["template"]
    labels = {
        name: text for name, text in pod_template["metadata"]["labels"].items() if name.startswith(GROUP)
    }
    spec = copy.deepcopy(pod_template["spec"])
    spec["containers"][0]["command"] = ["/bin/true"]
    template = {"metadata": {"labels": labels}, "spec": spec}
    return {"spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": template}}
