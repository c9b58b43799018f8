"""What is measured: a set from `kubectl apply` to Applied, a changed ConfigMap, and Jobs that do nothing."""

import asyncio
import json
import random
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from bench.latency.observe import Event, Runtime, Watches, on_our_clock
from bench.latency.steps import Lap, job_steps
from dev.localcluster.cluster import Cluster
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import CONTAINER, TRACKING_TABLE, Track
from tests.e2e.conftest import a_set
from tests.e2e.harness import FIXED, SHOP, Kube, MigrationSet, files

ONE_JOB = "one Job that does nothing"
TWO_JOBS = "two Jobs that do nothing, one after the other"
FRESH = "kubectl apply of a set → Applied"
CHANGE = "ConfigMap changed → Applied"
SYSTEM_FILES, USER_FILES = 6, 4


@dataclass(frozen=True)
class Trial:
    """One measurement."""

    what: str
    seconds: float
    """From the start of kubectl until the end was seen in a watch."""
    since_created: float
    """The same from when a watch showed what kubectl had written."""
    laps: list[Lap] = field(default_factory=list)


@dataclass
class Stage:
    """The cluster and the observers that trials use."""

    cluster: Cluster
    kube: Kube
    watches: Watches
    runtime: Runtime
    scratch: Path
    pod: Json = field(default_factory=dict)
    """The pod of a real Job, as the operator makes it."""

    async def nothing(self, count: int) -> Trial:
        """So many Jobs one after the other, each applied and waited for until it is Complete."""
        began, laps, created = time.monotonic(), [], 0.0
        names = [f"nothing-{secrets.token_hex(4)}" for _ in range(count)]
        for number, name in enumerate(names):
            since = time.monotonic()
            await asyncio.to_thread(self.kube.apply, self.job(name))
            end = await self.watches.until(f"{name} to be Complete", "job", complete(name), since)
            steps = job_steps(self.watches, self.runtime, name, since)
            created = created or steps["Job created"]
            steps = {"object seen": steps.pop("Job created"), **steps, "Complete": end.at}
            laps.append(Lap(f"Job {number + 1}", _relative(steps, began)))
        await asyncio.to_thread(self.kube.run, "delete", "job", *names, "--cascade=foreground", "--wait")
        return Trial(ONE_JOB if count == 1 else TWO_JOBS, end.at - began, end.at - created, laps)

    async def set(self) -> tuple[Trial, Trial]:
        """A set on a fresh database until it is Applied, and then one file more."""
        with a_set(self.cluster, self.kube, "bench", self.scratch) as migration_set:
            await asyncio.to_thread(migration_set.write_secret)
            await asyncio.to_thread(migration_set.write_config_map, files(SHOP), True)
            began = time.monotonic()
            await asyncio.to_thread(migration_set.apply)
            end = await self.watches.until(
                "the set to be Applied", "set", applied(migration_set, USER_FILES), began
            )
            created = await self._created("set", migration_set.name, began)
            laps = [
                await self._lap(migration_set, track, began, count)
                for track, count in ((Track.SYSTEM, SYSTEM_FILES), (Track.USER, USER_FILES))
            ]
            laps[0] = Lap(laps[0].title, {"object seen": created - began, **laps[0].steps})
            fresh = Trial(FRESH, end.at - began, end.at - created, laps)
            self.pod = self.pod or await asyncio.to_thread(self._pod_of, migration_set)
            await self._pause()
            changed = await self._change(migration_set)
            await asyncio.to_thread(
                migration_set.kube.run, "delete", "fbms", migration_set.name, "--cascade=foreground", "--wait"
            )
            return fresh, changed

    async def _change(self, migration_set: MigrationSet) -> Trial:
        content = {name: text.decode() for name, text in files(SHOP, FIXED).items()}
        document = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": migration_set.config_map, "namespace": self.kube.namespace},
            "data": content,
        }
        text = json.dumps(document)
        began = time.monotonic()
        await asyncio.to_thread(self.kube.run, "replace", "-f", "-", stdin=text)
        end = await self.watches.until(
            "the change to be Applied", "set", applied(migration_set, USER_FILES + 1), began
        )
        seen = await self._created("configmap", migration_set.config_map, began)
        lap = await self._lap(migration_set, Track.USER, began, 1)
        return Trial(
            CHANGE,
            end.at - began,
            end.at - seen,
            [Lap(lap.title, {"object seen": seen - began, **lap.steps})],
        )

    async def _created(self, kind: str, name: str, since: float) -> float:
        """When a watch showed what kubectl had written."""
        return (
            await self.watches.until(f"the {kind} {name}", kind, lambda event: event.name == name, since)
        ).at

    async def _lap(self, migration_set: MigrationSet, track: Track, began: float, count: int) -> Lap:
        """The steps of a track's latest run, of which ``count`` files were applied."""

        def written(event: Event) -> bool:
            record = event.body.get("status", {}).get("tracks", {}).get(track, {})
            return (
                event.name == migration_set.name
                and record.get("job", {}).get("name") == job
                and "finishedAt" in record
            )

        status = await asyncio.to_thread(migration_set.track, track)
        job = status["job"]["name"]
        steps = job_steps(self.watches, self.runtime, job, began)
        log = await asyncio.to_thread(self.kube.run, "logs", f"job/{job}", "-c", CONTAINER, "--timestamps")
        first = log.split(" ", 1)[0]
        steps["program runs"] = on_our_clock(datetime.fromisoformat(first[:26] + "+00:00"))
        [(begin, commit, file_count)] = migration_set.database.query(
            "SELECT min(started_at), max(finished_at), count(*) FROM (SELECT * FROM migrations.history"
            f" WHERE table_name = '{TRACKING_TABLE[track][1]}' AND kind = 'migration' ORDER BY id DESC"
            f" LIMIT {count}) AS run"
        )
        if file_count != count:
            raise RuntimeError(f"the {track} track ran {file_count} files, not {count}")
        steps |= {"first file begins": on_our_clock(begin), "last file committed": on_our_clock(commit)}
        written_at = self.watches.first("set", written, began)
        if written_at is not None:
            steps["result in the status"] = written_at
        return Lap(f"{track} track", _relative(steps, began))

    async def settle(self) -> None:
        """Wait until nothing of the last trial is left."""
        while True:
            pods = await asyncio.to_thread(self.kube.get, "pods", "-l", "batch.kubernetes.io/job-name")
            if not pods["items"]:
                break
            await asyncio.sleep(0.3)
        await self._pause()

    async def _pause(self) -> None:
        """The kubelet checks its containers once a second: trials begin at a random moment within that."""
        await asyncio.sleep(1.0 + random.random())

    def _pod_of(self, migration_set: MigrationSet) -> Json:
        job = self.kube.get("job", migration_set.jobs("system")[0])
        return dict(job["spec"]["template"]["spec"])

    def job(self, name: str) -> Json:
        """A Job like one of ours, but its container has nothing to do."""
        pod: Json = json.loads(json.dumps(self.pod))
        container = pod["containers"][0]
        container["command"] = ["/bin/true"]
        container.pop("env", None)
        return {
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": name, "namespace": self.kube.namespace},
            "spec": {"backoffLimit": 0, "podReplacementPolicy": "Failed", "template": {"spec": pod}},
        }


def _relative(steps: dict[str, float], began: float) -> dict[str, float]:
    return {step: at - began for step, at in steps.items()}


def complete(job: str) -> Callable[[Event], bool]:
    """A predicate for events: the Job is Complete."""

    def is_complete(event: Event) -> bool:
        conditions = event.body.get("status", {}).get("conditions") or ()
        return event.name == job and any(
            condition["type"] == "Complete" and condition["status"] == "True" for condition in conditions
        )

    return is_complete


def applied(migration_set: MigrationSet, version: int) -> Callable[[Event], bool]:
    """A predicate for events: the set is Ready for its generation, with this version of the user track."""

    def is_applied(event: Event) -> bool:
        status = event.body.get("status", {})
        ready = any(
            condition["type"] == "Ready" and condition["status"] == "True"
            for condition in status.get("conditions") or ()
        )
        return (
            event.name == migration_set.name
            and ready
            and status["phase"] == "Applied"
            and status["observedGeneration"] == event.body["metadata"]["generation"]
            and status["tracks"]["user"].get("version") == version
        )

    return is_applied
