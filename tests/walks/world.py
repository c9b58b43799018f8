"""A set of which the operator is real, and the API server is in memory; a test is its kubelet."""

import asyncio
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fluxbase_migrations.controller.app import Operator
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, CONTAINER, KIND
from fluxbase_migrations.runner.commands import job as runner
from tests.support.databases import Database
from tests.unit.api_in_memory import ApiInMemory

NAMESPACE = "fluxbase"
KEY = (NAMESPACE, "shop")
SET = path_of(Resource.SETS, *KEY)
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
SPEC = {
    "database": {"urlFrom": {"secretKeyRef": {"name": "shop-db", "key": "url"}}},
    "tracks": {"system": {"enabled": False}, "user": {"source": {"configMap": {"name": "files"}}}},
}


class World:
    """One set with a user track, and the ConfigMap with its files."""

    def __init__(self, files: dict[str, str]) -> None:
        self.api = ApiInMemory(lambda: NOW, lambda body: None)
        settings = Settings(image="image", namespaces=(NAMESPACE,), progress=False)
        self.operator = Operator(settings, self.api)
        self.operator._reconciler._clock = lambda: NOW
        self.api.put(path_of(Resource.NAMESPACES, None, NAMESPACE), {"metadata": {"name": NAMESPACE}})
        self.api.put(
            path_of(Resource.CONFIG_MAPS, NAMESPACE, "files"), {"metadata": {"name": "files"}, "data": files}
        )
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": {"name": "shop", "namespace": NAMESPACE}}
        self.api.put(SET, {**body, "spec": SPEC, "status": {"observedGeneration": -1}})

    def reconcile(self) -> None:
        """The watches show everything, and a worker takes the set."""
        self.api.show(self.operator._store)
        asyncio.run(self.operator._reconcile(KEY))

    @property
    def ready(self) -> Json:
        """The Ready condition."""
        conditions: list[Json] = self.api.objects[SET]["status"]["conditions"]
        return next(one for one in conditions if one["type"] == "Ready")

    def run_job(self, database: Database, termination_log: Path) -> None:
        """What the kubelet and the Job controller do: start the container, and report its end."""
        (job,) = self.api.select(path_of(Resource.JOBS, NAMESPACE), {})
        (container,) = job["spec"]["template"]["spec"]["containers"]
        environment = {one["name"]: self._value(one) for one in container["env"]}
        given = {"DATABASE_URL": database.dsn, runner.ENV_TERMINATION_LOG: str(termination_log)}
        code = runner.main(environment | given)
        name = job["metadata"]["name"]
        ended = {"exitCode": code, "startedAt": NOW.isoformat(), "finishedAt": NOW.isoformat()}
        terminated = {**ended, "message": termination_log.read_text()}
        status = {
            "phase": "Failed" if code else "Succeeded",
            "containerStatuses": [{"name": CONTAINER, "state": {"terminated": terminated}}],
        }
        metadata = {**job["spec"]["template"]["metadata"], "name": f"{name}-pod"}
        self.api.put(
            path_of(Resource.PODS, NAMESPACE, f"{name}-pod"), {"metadata": metadata, "status": status}
        )
        job["status"] = {"conditions": [{"type": "Failed" if code else "Complete", "status": "True"}]}

    def _value(self, variable: dict[str, Any]) -> str:
        if "value" in variable:
            return str(variable["value"])
        reference = variable["valueFrom"].get("configMapKeyRef")
        if reference is None:  # the Secret's, which the caller replaces
            return ""
        data = self.api.objects[path_of(Resource.CONFIG_MAPS, NAMESPACE, reference["name"])]["data"]
        return os.fsdecode(data[reference["key"]].encode())
