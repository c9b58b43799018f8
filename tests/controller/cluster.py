"""What a cluster's other parts would do, done by hand: the Job controller, the scheduler and the kubelet.

Everything goes through the real API server, so admission, validation, ownership and watches are real.
"""

import asyncio
import copy
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.core.job import JobSpec
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, CONTAINER, ENV_JOB, KIND, LABEL_TRACK
from fluxbase_migrations.core.result import Result
from tests.support.expansion import environment

RBAC = "/apis/rbac.authorization.k8s.io/v1"
WAIT_SECONDS = 20.0


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


async def until(what: str, probe: Callable[[], Awaitable[Any]], seconds: float = WAIT_SECONDS) -> Any:
    """Wait until ``probe`` gives something true; returns it."""
    end = time.monotonic() + seconds
    last: Any = None
    while time.monotonic() < end:
        last = await probe()
        if last:
            return last
        await asyncio.sleep(0.05)
    raise AssertionError(f"not within {seconds:.0f} s: {what}")


class Cluster:
    """One namespace of a real API server."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self.kube = kube
        self.namespace = namespace

    async def make_set(self, name: str = "shop", **spec: Any) -> Json:
        """Create a set; the database is named by a Secret that nobody ever reads here."""
        database = {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}}
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {"database": database, **spec},
        }
        return await self.kube.create(Resource.SETS, self.namespace, body)

    async def patch_set(self, name: str = "shop", **patch: Any) -> Json:
        return await self.kube.patch(Resource.SETS, self.namespace, name, patch)

    async def get_set(self, name: str = "shop") -> Json:
        return await self.kube.get(Resource.SETS, self.namespace, name)

    async def status(self, name: str = "shop") -> Json:
        status: Json = (await self.get_set(name)).get("status", {})
        return status

    async def track(self, track: str, name: str = "shop") -> Json:
        found: Json = (await self.status(name)).get("tracks", {}).get(track, {})
        return found

    async def reaches(
        self,
        track: str,
        phase: str,
        reason: str | None = None,
        name: str = "shop",
        seconds: float = WAIT_SECONDS,
    ) -> Json:
        """Wait for a track's phase and reason; returns its status."""

        async def there() -> Json | None:
            found = await self.track(track, name)
            right = found.get("phase") == phase and reason in (None, found.get("reason"))
            return found if right else None

        try:
            found: Json = await until(f"{track} {phase} {reason or ''}", there, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is {await self.track(track, name)}") from None
        return found

    async def config_map(self, name: str, files: dict[str, str], **more: Any) -> Json:
        body = {"metadata": {"name": name}, "data": files, **more}
        return await self.kube.create(Resource.CONFIG_MAPS, self.namespace, body)

    async def edit_config_map(self, name: str, files: dict[str, str | None]) -> Json:
        return await self.kube.patch(Resource.CONFIG_MAPS, self.namespace, name, {"data": files})

    async def jobs(self, track: str | None = None) -> list[Json]:
        """Jobs in the order of their creation."""
        query = {"labelSelector": f"{LABEL_TRACK}={track}"} if track else {}
        found = await self.kube.get(Resource.JOBS, self.namespace, query=query)
        items: list[Json] = found["items"]
        return sorted(items, key=lambda job: int(job["metadata"]["resourceVersion"]))

    async def next_job(
        self, track: str, run: int, name: str | None = None, seconds: float = WAIT_SECONDS
    ) -> Json:
        """Wait for the Job of a run, of any set unless one is named."""

        async def there() -> Json | None:
            for job in await self.jobs(track):
                if told(job).run == run and name in (None, told(job).set.name):
                    return job
            return None

        try:
            found: Json = await until(f"a Job of run {run} of {track}", there, seconds)
        except AssertionError as error:
            raise AssertionError(f"{error}; its track is {await self.track(track, name or 'shop')}") from None
        return found

    async def uid(self) -> str:
        """Of the namespace: what claims name the cluster by."""
        found = await self.kube.get(Resource.NAMESPACES, None, self.namespace)
        return str(found["metadata"]["uid"])

    # What the Job controller, the scheduler and the kubelet do

    async def make_pod(self, job: Json) -> Json:
        """The Job's pod, as the Job controller makes it."""
        template = copy.deepcopy(job["spec"]["template"])
        owner = {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "name": job["metadata"]["name"],
            "uid": job["metadata"]["uid"],
            "controller": True,
        }
        template["metadata"] |= {"generateName": f"{job['metadata']['name']}-", "ownerReferences": [owner]}
        return await self.kube.create(Resource.PODS, self.namespace, template)

    async def pod_status(self, pod: Json, **status: Any) -> None:
        name = pod["metadata"]["name"]
        await self.kube.patch(Resource.PODS, self.namespace, name, {"status": status}, "status")

    async def waiting(self, pod: Json, reason: str, message: str) -> None:
        state = {"waiting": {"reason": reason, "message": message}}
        await self.pod_status(pod, phase="Pending", containerStatuses=[_container(pod, state)])

    async def running(self, pod: Json) -> None:
        state = {"running": {"startedAt": now()}}
        await self.pod_status(pod, phase="Running", containerStatuses=[_container(pod, state)])

    async def terminated(
        self,
        pod: Json,
        message: str,
        exit_code: int = 0,
        reason: str = "Completed",
        pod_phase: str | None = None,
    ) -> None:
        ended = {
            "exitCode": exit_code,
            "reason": reason,
            "message": message,
            "startedAt": now(),
            "finishedAt": now(),
        }
        phase = pod_phase or ("Failed" if exit_code else "Succeeded")
        await self.pod_status(pod, phase=phase, containerStatuses=[_container(pod, {"terminated": ended})])

    async def complete(self, pod: Json) -> None:
        """What the Job controller writes when it has seen that the pod has ended."""
        (owner,) = pod["metadata"]["ownerReferences"]
        ended = await self.kube.get(Resource.PODS, self.namespace, pod["metadata"]["name"])
        failed = ended["status"]["phase"] == "Failed"
        types = ("FailureTarget", "Failed") if failed else ("SuccessCriteriaMet", "Complete")
        status = {
            "startTime": now(),
            "conditions": [
                {"type": one, "status": "True", "lastTransitionTime": now(), "lastProbeTime": now()}
                for one in types
            ],
            **({"failed": 1} if types[1] == "Failed" else {"succeeded": 1, "completionTime": now()}),
        }
        await self.kube.patch(Resource.JOBS, self.namespace, owner["name"], {"status": status}, "status")

    async def run(
        self, track: str, run: int, result: Result, name: str = "shop", *, routine: bool = False
    ) -> Json:
        """Wait for a run's Job and let its pod end with ``result``; returns the Job.

        A ``routine`` look does not show that it runs.
        """
        job = await self.next_job(track, run, name)
        pod = await self.make_pod(job)
        await self.running(pod)
        if not routine:
            await self.reaches(track, "Running", name=name)
        await self.terminated(pod, result.to_json(), 0 if result.outcome.succeeded else 1)
        return job

    async def collect(self, job: Json) -> None:
        """Finish a foreground deletion, as the garbage collector does: pods first, then the Job."""
        uid, name = job["metadata"]["uid"], job["metadata"]["name"]

        async def deleting() -> Any:
            found = await self.kube.find(Resource.JOBS, self.namespace, name)
            return found is None or found["metadata"].get("deletionTimestamp")

        await until(f"the Job {name} is being deleted", deleting)
        pods = await self.kube.get(Resource.PODS, self.namespace)
        for pod in pods["items"]:
            if any(owner["uid"] == uid for owner in pod["metadata"].get("ownerReferences", ())):
                await self.remove_pod(pod)
        found = await self.kube.find(Resource.JOBS, self.namespace, name)
        if found:
            await self.kube.patch(Resource.JOBS, self.namespace, name, {"metadata": {"finalizers": None}})

    async def remove_pod(self, pod: Json) -> None:
        path = path_of(Resource.PODS, self.namespace, pod["metadata"]["name"])
        await self.kube._request("DELETE", path, body={"gracePeriodSeconds": 0})

    async def events(self) -> list[Json]:
        found = await self.kube.get(Resource.EVENTS, self.namespace)
        items: list[Json] = found["items"]
        return items

    async def event(self, reason: str, text: str = "") -> Json:
        """Wait for an Event."""

        async def there() -> Json | None:
            found = (one for one in await self.events() if one["reason"] == reason and text in one["message"])
            return next(found, None)

        found: Json = await until(f"an Event {reason} with {text!r}", there)
        return found


def _container(pod: Json, state: Json) -> Json:
    (container,) = (one for one in pod["spec"]["containers"] if one["name"] == CONTAINER)
    return {
        "name": CONTAINER,
        "image": container["image"],
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def told(job: Json) -> JobSpec:
    """What a Job's runner is told."""
    (container,) = job["spec"]["template"]["spec"]["containers"]
    return JobSpec.from_json(environment(container["env"], {})[ENV_JOB])
