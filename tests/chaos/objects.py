"""A set's objects in the API server, written however often it is killed meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, KIND

EVERY = 0.1
"""Seconds between two looks."""
ANSWER = 60.0
"""Seconds in which the API server must take a change."""


class Objects:
    """Those of one namespace."""

    def __init__(self, kube: Kube, namespace: str) -> None:
        self._kube = kube
        self._namespace = namespace

    async def secret(self, name: str, url: str) -> None:
        """Create one with a database's URL."""
        body = {"metadata": {"name": name}, "stringData": {"url": url}}
        await self._create("/api/v1/secrets", body)

    async def exchange(self, name: str, url: str) -> None:
        """Put another URL into a Secret."""
        body = {"stringData": {"url": url}}
        await self._insist(lambda: self._kube.patch("/api/v1/secrets", self._namespace, name, body))

    async def config_map(self, name: str, files: Mapping[str, str]) -> None:
        """Create one."""
        body = {"metadata": {"name": name}, "data": files}
        await self._create(Resource.CONFIG_MAPS, body)

    async def write(self, name: str, files: Mapping[str, str]) -> None:
        """Add and replace files of a ConfigMap."""
        body = {"data": files}
        await self._insist(lambda: self._kube.patch(Resource.CONFIG_MAPS, self._namespace, name, body))

    async def make_set(self, name: str, spec: Json) -> None:
        """Create one."""
        metadata = {"name": name, "namespace": self._namespace}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
        await self._create(Resource.SETS, body)

    async def patch_set(self, name: str, patch: Json) -> None:
        """Change one."""
        await self._insist(lambda: self._kube.patch(Resource.SETS, self._namespace, name, patch))

    async def annotate(self, name: str, annotation: str, value: str | None) -> None:
        """Set an annotation of a set; None: remove it."""
        await self.patch_set(name, {"metadata": {"annotations": {annotation: value}}})

    async def delete_set(self, name: str) -> None:
        """Delete a set, and wait until it is gone."""
        await self._delete(Resource.SETS, name)

    async def delete_config_map(self, name: str) -> None:
        """Delete a ConfigMap, and wait until it is gone."""
        await self._delete(Resource.CONFIG_MAPS, name)

    async def find_set(self, name: str) -> Json | None:
        """The set; None: there is none, or nobody answers."""
        try:
            return await self._kube.find(Resource.SETS, self._namespace, name)
        except KubeError:
            return None

    async def until(self, name: str, right: Callable[[Json], bool], seconds: float) -> Json | None:
        """Wait for a set to be ``right``; None: it was not within ``seconds``."""
        until = asyncio.get_running_loop().time() + seconds
        while asyncio.get_running_loop().time() < until:
            body = await self.find_set(name)
            if body is not None and right(body):
                return body
            await asyncio.sleep(EVERY)
        return None

    async def _create(self, resource: str, body: Json) -> None:
        """Create; that it exists means that an earlier try was cut off from its answer."""

        async def create() -> None:
            try:
                await self._kube.create(resource, self._namespace, body)
            except KubeError as error:
                if error.status != 409:
                    raise

        await self._insist(create)

    async def _delete(self, resource: Resource, name: str) -> None:
        where = resource, self._namespace, name

        async def delete() -> None:
            found = await self._kube.find(*where)
            if found is not None:
                await self._kube.delete(*where, found["metadata"]["uid"], "Background")
                raise KubeError(0, "Deleting", name)

        await self._insist(delete)

    async def _insist(self, request: Callable[[], Awaitable[object]]) -> None:
        """Repeat while the API server does not answer."""
        until = asyncio.get_running_loop().time() + ANSWER
        while True:
            try:
                await request()
                return
            except KubeError as error:
                # 403 and 404 too: while it starts, the API server knows neither roles nor our resource.
                if asyncio.get_running_loop().time() > until:
                    raise AssertionError(str(error)) from error
            await asyncio.sleep(EVERY)
