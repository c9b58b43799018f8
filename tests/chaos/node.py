"""The cluster's one node: scheduler and kubelet of the pods of Jobs, each container a process.

What is in the pods is what would run in a cluster: the same command with the same environment, files as the
kubelet mounts them, SIGTERM and the grace period, the termination message. Jobs, their pods and what belongs
to them are the real controllers' business.
"""

import asyncio
import base64
import contextlib
import json
import os
import random
import signal
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.watch.parsing import labels, run_number
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ENV_JOB, LABEL_SET, LABEL_SET_UID, LABEL_TRACK, MIGRATIONS_ROOT
from fluxbase_migrations.runner.commands.job import ENV_TERMINATION_LOG
from tests.support.expansion import expand

NAME = "chaos"
EVERY = 0.05
"""Seconds between two looks at the pods."""
SLOWEST_START = 0.4
"""Seconds that a sandbox and an image may take."""
AS_FIRST_PROCESS = ("env", "--ignore-signal=TERM")
"""The kernel keeps signals from a container's process 1 until it has asked for them."""
PROGRAMS = Path(sys.executable).parent


@dataclass
class Container:
    """A pod's container, and when what was known of it: seconds of the clock, resourceVersions of the pod."""

    pod: str
    uid: str
    set_name: str
    set_uid: str
    track: str
    run: int
    job: str
    job_uid: str
    started: int | None = None
    """The pod's resourceVersion when its process was about to start."""
    seen_running: float | None = None
    """When the API server had been told that it runs."""
    exited: float | None = None
    """When its process had ended."""
    ended: int | None = None
    """The pod's resourceVersion that says that it has terminated."""
    seen_ended: float | None = None
    process: asyncio.subprocess.Process | None = None
    deleted: bool = False
    """Somebody deletes the pod."""
    over: bool = False
    """Nothing of it is left to be looked after."""
    output: str = ""

    @property
    def runs(self) -> bool:
        """Whether its process has been started and has not ended."""
        return self.process is not None and self.process.returncode is None

    def __str__(self) -> str:
        return f"{self.pod} ({self.track}, run {self.run}): {self.output.strip()}"


class Node:
    """Runs every pod of one namespace. ``chance`` says how long each takes to start."""

    def __init__(self, kube: Kube, namespace: str, directory: Path, chance: random.Random) -> None:
        self._kube = kube
        self._namespace = namespace
        self._directory = directory
        self._chance = chance
        self.containers: dict[str, Container] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Look after pods until cancelled; then every process is killed."""
        try:
            while True:
                with contextlib.suppress(KubeError):
                    await self._look()
                for task in [task for task in self._tasks if task.done()]:
                    self._tasks.discard(task)
                    task.result()
                await asyncio.sleep(EVERY)
        finally:
            for task in self._tasks:
                task.cancel()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _look(self) -> None:
        present = await self._pods()
        for uid, pod in present.items():
            if uid not in self.containers:
                self.containers[uid] = container = _container(pod)
                self._tasks.add(asyncio.create_task(self._care(container), name=container.pod))
            if pod["metadata"].get("deletionTimestamp"):
                self._stop(self.containers[uid])
                await self._remove(self.containers[uid], pod)
        for uid, container in self.containers.items():
            if uid not in present:
                self._stop(container)

    async def _pods(self) -> dict[str, Json]:
        """The pods that there are, by uid."""
        found = (await self._kube.get(Resource.PODS, self._namespace))["items"]
        return {pod["metadata"]["uid"]: pod for pod in found}

    def _stop(self, container: Container) -> None:
        """Ask its process to end, once."""
        if not container.deleted and container.process and container.runs:
            container.process.send_signal(signal.SIGTERM)
        container.deleted = True

    async def _remove(self, container: Container, pod: Json) -> None:
        """End a deletion, once nothing of the pod is left to be looked after."""
        if container.over and pod["metadata"].get("deletionGracePeriodSeconds") != 0:
            path = path_of(Resource.PODS, self._namespace, container.pod)
            body = {"gracePeriodSeconds": 0, "preconditions": {"uid": container.uid}}
            with contextlib.suppress(KubeError):
                await self._kube._request("DELETE", path, body=body)

    async def _care(self, container: Container) -> None:
        """A pod's whole life."""
        target = {"apiVersion": "v1", "kind": "Node", "name": NAME}
        binding = {"metadata": {"name": container.pod}, "target": target}
        await self._insist(lambda: self._kube.create("/api/v1/bindings", self._namespace, binding))
        await asyncio.sleep(self._chance.uniform(0.0, SLOWEST_START))
        pod, environment = await self._prepare(container)
        if pod is not None:
            await self._execute(container, pod, environment)
        else:
            # The kubelet's last word on what never started; of a pod without a node, the pod collector's.
            await self._report(container, {"phase": "Failed"})
        container.over = True

    async def _prepare(self, container: Container) -> tuple[Json | None, dict[str, str]]:
        """Mount and look up what the container needs, however long that takes; None: not needed any more."""
        while not container.deleted:
            try:
                pod = await self._kube.find(Resource.PODS, self._namespace, container.pod)
                if pod is None or pod["metadata"].get("deletionTimestamp"):
                    container.deleted = True
                    break
                return pod, await self._environment(container, pod)
            except KubeError:
                await asyncio.sleep(EVERY)
        return None, {}

    async def _environment(self, container: Container, pod: Json) -> dict[str, str]:
        """The container's variables, secrets looked up; paths lead to the directory of its files."""
        (spec,) = pod["spec"]["containers"]
        root = self._directory / container.uid
        for volume, mount in zip(pod["spec"].get("volumes", ()), spec.get("volumeMounts", ()), strict=False):
            await self._mount(volume["configMap"]["name"], Path(f"{root}{mount['mountPath']}"))
        root.mkdir(exist_ok=True)
        variables = {"PATH": os.environ["PATH"], ENV_TERMINATION_LOG: str(root / "termination-log")}
        for one in spec["env"]:
            literal = expand(one["value"], variables) if "value" in one else None
            value = await self._value(one["valueFrom"]) if literal is None else literal
            if value is not None:
                variables[one["name"]] = value
        told = json.loads(variables[ENV_JOB])
        told["paths"] = [path.replace(MIGRATIONS_ROOT, f"{root}{MIGRATIONS_ROOT}") for path in told["paths"]]
        variables[ENV_JOB] = json.dumps(told)
        return variables

    async def _mount(self, config_map: str, directory: Path) -> None:
        """As the kubelet does: the files in a directory of their own, behind two links."""
        found = await self._kube.get(Resource.CONFIG_MAPS, self._namespace, config_map)
        content = directory / f"..{time.monotonic_ns()}"
        content.mkdir(parents=True)
        for name, text in (found.get("data") or {}).items():
            (content / name).write_text(text)
            link = directory / name
            if not link.is_symlink():
                link.symlink_to(Path("..data") / name)
        new = directory / "..data_tmp"
        new.symlink_to(content.name)
        new.replace(directory / "..data")

    async def _value(self, source: Json) -> str | None:
        """What a Secret or a ConfigMap has under a key; None where the key is optional and not there.

        Raises:
            KubeError: there is none yet; the kubelet would ask again.
        """
        if "secretKeyRef" in source:
            reference = source["secretKeyRef"]
            where = "/api/v1/secrets", self._namespace, reference["name"]
        else:
            reference = source["configMapKeyRef"]
            where = Resource.CONFIG_MAPS, self._namespace, reference["name"]
        found = await (self._kube.find(*where) if reference.get("optional") else self._kube.get(*where))
        text: str | None = (found or {}).get("data", {}).get(reference["key"])
        if text is None:
            if reference.get("optional"):
                return None
            raise KubeError(404, "NotFound", f"{where} has no key {reference['key']}")
        return base64.b64decode(text).decode() if "secretKeyRef" in source else text

    async def _execute(self, container: Container, pod: Json, environment: dict[str, str]) -> None:
        (spec,) = pod["spec"]["containers"]
        container.started = int(pod["metadata"]["resourceVersion"])
        begun = _now()
        log = self._directory / container.uid / "log"
        with log.open("wb") as output:
            process = await asyncio.create_subprocess_exec(
                *AS_FIRST_PROCESS,
                PROGRAMS / spec["command"][0],
                *spec["command"][1:],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=environment,
                cwd=self._directory,
            )
        container.process = process
        if container.deleted:
            process.send_signal(signal.SIGTERM)
        try:
            running = {"running": {"startedAt": begun}}
            await self._report(container, {"phase": "Running", **_statuses(spec, running)})
            container.seen_running = time.time()
            code = await process.wait()
            container.exited = time.time()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        container.output = _read(log)
        message = _read(Path(environment[ENV_TERMINATION_LOG]))
        terminated = {
            "exitCode": code if code >= 0 else 128 - code,
            "reason": "Completed" if code == 0 else "Error",
            "message": message[:4096],
            "startedAt": begun,
            "finishedAt": _now(),
        }
        phase = "Failed" if code else "Succeeded"
        statuses = _statuses(spec, {"terminated": terminated})
        answer = await self._report(container, {"phase": phase, **statuses})
        container.seen_ended = time.time()
        if answer is not None:
            container.ended = int(answer["metadata"]["resourceVersion"])

    async def _report(self, container: Container, status: Json) -> Json | None:
        where, body = (Resource.PODS, self._namespace, container.pod), {"status": status}
        return await self._insist(lambda: self._kube.patch(*where, body, "status"))

    async def _insist(self, request: Callable[[], Awaitable[Json]]) -> Json | None:
        """Repeat until the API server has answered; None: there is no such pod, or it is done already."""
        while True:
            try:
                return await request()
            except KubeError as error:
                if error.status in (404, 409):
                    return None
                await asyncio.sleep(EVERY)


def _container(pod: Json) -> Container:
    metadata, found = pod["metadata"], labels(pod)
    return Container(
        pod=metadata["name"],
        uid=metadata["uid"],
        set_name=found[LABEL_SET],
        set_uid=found[LABEL_SET_UID],
        track=found[LABEL_TRACK],
        run=run_number(pod),
        job=metadata["ownerReferences"][0]["name"],
        job_uid=metadata["ownerReferences"][0]["uid"],
    )


def _statuses(spec: Json, state: Json) -> Json:
    status = {
        "name": spec["name"],
        "image": spec["image"],
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }
    return {"containerStatuses": [status]}


def _read(path: Path) -> str:
    return path.read_text(errors="replace") if path.exists() else ""


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
