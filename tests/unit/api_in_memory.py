"""An API server in memory, below the operator's own client: just what the operator asks of a real one."""

import copy
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapReader, version_of
from fluxbase_migrations.controller.watch.store import Listed, ObjectKind, Store, Stored
from fluxbase_migrations.core.json_names import Json
from tests.support.api_transport import Request, answered_by

COLLECTIONS = frozenset(
    {"fluxbasemigrationsets", "jobs", "pods", "configmaps", "persistentvolumeclaims", "events"}
)


class OperatorDied(BaseException):
    """The operator's process ended in the middle of what it was doing."""


class ApiInMemory(Kube):
    """Objects by their path. ``on_status`` is called with each set whose status is written."""

    def __init__(self, clock: Callable[[], datetime], on_status: Callable[[Json], None]) -> None:
        super().__init__(answered_by(self._answer))
        self.objects: dict[str, Json] = {}
        self.writes_left: int | None = None
        """After so many more writes the operator dies; None: it lives."""
        self.refuse_jobs = False
        """A quota or a policy does not let Jobs in."""
        self.somebody_is_faster = False
        """The next write of a status finds that the object has changed meanwhile."""
        self.reads: Counter[str] = Counter()
        """How often an object of each kind was read."""
        self._shown: dict[str, Json] = {}
        self._clock = clock
        self._on_status = on_status
        self._version = 0

    async def _answer(self, request: Request) -> Json:
        path = request.path
        if request.method == "GET":
            if path.rsplit("/", 1)[1] in COLLECTIONS:
                return {
                    "metadata": {"resourceVersion": str(self._version)},
                    "items": self.select(path, request.query),
                }
            self.reads[path.rsplit("/", 2)[1]] += 1
            return self._found(path)
        if self.writes_left is not None:
            if self.writes_left == 0:
                raise OperatorDied
            self.writes_left -= 1
        written: Json = getattr(self, f"_{request.method.lower()}")(path, request.body)
        return written

    def select(self, collection: str, query: Mapping[str, str]) -> list[Json]:
        """The objects of a collection; label selectors of equality, Events of one object, one name."""
        wanted = dict(pair.split("=", 1) for pair in query.get("labelSelector", "").split(",") if pair)
        involved = query.get("fieldSelector", "").partition("involvedObject.uid=")[2]
        named = query.get("fieldSelector", "").partition("metadata.name=")[2]
        return [
            one
            for path, one in self.objects.items()
            if path.rpartition("/")[0] == collection
            and wanted.items() <= one["metadata"].get("labels", {}).items()
            and involved in ("", one.get("involvedObject", {}).get("uid"))
            and named in ("", one["metadata"].get("name"))
        ]

    def put(self, path: str, body: Json) -> Json:
        """Create an object, or change what is not its status."""
        before = self.objects.get(path)
        metadata = {
            "uid": f"uid-{self._version}",
            "generation": 0,
            "creationTimestamp": self._clock().isoformat(),
            **({"namespace": path.split("/")[-3]} if path.count("/") > 4 else {}),
            **(before or {}).get("metadata", {}),
            **body["metadata"],
        }
        if before is None or before.get("spec") != body.get("spec"):
            metadata["generation"] += 1
        self.objects[path] = {**(before or {}), **body, "metadata": metadata}
        return self.touch(path)

    def touch(self, path: str) -> Json:
        """Give an object a new resourceVersion."""
        self._version += 1
        found = self.objects[path]
        found["metadata"]["resourceVersion"] = str(self._version)
        return found

    def show(self, store: Store, kinds: Iterable[ObjectKind] = tuple(ObjectKind)) -> None:
        """What the watches of these kinds would have shown by now is in the store."""
        for kind in kinds:
            listed = Listed(version=self._version)
            for path, body in list(self.objects.items()):
                if path.rpartition("/")[0].rpartition("/")[2] != kind:
                    continue
                if self._shown.get(path, body) != body:
                    self.touch(path)  # somebody changed it behind the API server's back
                self._shown[path] = copy.deepcopy(body)
                listed.items.append(Stored.of(kind, body))
                listed.version = self._version
            store.replace(kind, None, listed)

    def show_config_maps(self, sources: ConfigMapReader) -> None:
        """What the watch of ConfigMaps would have shown by now is known; it has no gap."""
        bodies = [body for path, body in self.objects.items() if "/configmaps/" in path]
        there = {
            (body["metadata"]["namespace"], body["metadata"]["name"]): version_of(body) for body in bodies
        }
        found = {key: version for key, version in there.items() if version is not None}
        sources.listed(None, sources.referenced(), found, self._version)

    def remove(self, path: str) -> None:
        """An object is gone."""
        self.objects.pop(path, None)

    def _found(self, path: str) -> Json:
        if path not in self.objects:
            raise KubeError(404, "NotFound", f"{path} not found")
        return self.objects[path]

    def _post(self, collection: str, body: Json) -> Json:
        path = f"{collection}/{body['metadata']['name']}"
        if path in self.objects:
            raise KubeError(409, "AlreadyExists", f"{path} exists")
        if self.refuse_jobs and collection.endswith("/jobs"):
            raise KubeError(403, "Forbidden", "exceeded quota")
        return self.put(path, body)

    def _put(self, path: str, body: Json) -> Json:
        """The status of a set; the operator replaces nothing else."""
        own, _, kind = path.rpartition("/")
        assert kind == "status", path
        found = self._found(own)
        if self.somebody_is_faster:
            self.somebody_is_faster = False
            self.touch(own)
        if found["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise KubeError(409, "Conflict", "the object has been modified")
        found["status"] = body["status"]
        written = self.touch(own)
        self._on_status(copy.deepcopy(written))
        return written

    def _patch(self, path: str, body: Json) -> Json:
        """Only ``spec`` of Jobs and what Events count is ever patched."""
        found = self._found(path)
        for field, value in body.items():
            found[field] = {**found.get(field, {}), **value} if isinstance(value, dict) else value
        return self.touch(path)

    def _delete(self, path: str, body: Json) -> Json:
        found = self._found(path)
        if found["metadata"]["uid"] != body["preconditions"]["uid"]:
            raise KubeError(409, "Conflict", "another object of that name")
        found["metadata"]["deletionTimestamp"] = self._clock().isoformat()
        return self.touch(path)
