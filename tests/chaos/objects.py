"""A set's objects in the API server, written however often it is killed meanwhile."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping

from fluxbase_migrations.controller.client import paths
from fluxbase_migrations.controller.client.kube import Kube, KubeError
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
        await self._create(f"/api/v1/namespaces/{self._namespace}/secrets", body)

    async def exchange(self, name: str, url: str) -> None:
        """Put another URL into a Secret."""
        path = f"/api/v1/namespaces/{self._namespace}/secrets/{name}"
        await self._insist(lambda: self._kube.patch(path, {"stringData": {"url": url}}))

    async def config_map(self, name: str, files: Mapping[str, str]) -> None:
        """Create one."""
        body = {"metadata": {"name": name}, "data": files}
        await self._create(paths.config_maps(self._namespace), body)

    async def write(self, name: str, files: Mapping[str, str]) -> None:
        """Add and replace files of a ConfigMap."""
        path = paths.config_map(self._namespace, name)
        await self._insist(lambda: self._kube.patch(path, {"data": files}))

    async def make_set(self, name: str, spec: Json) -> None:
        """Create one."""
        metadata = {"name": name, "namespace": self._namespace}
        body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata, "spec": spec}
        await self._create(paths.sets(self._namespace), body)

    async def patch_set(self, name: str, patch: Json) -> None:
        """Change one."""
        await self._insist(lambda: self._kube.patch(paths.one_set(self._namespace, name), patch))

    async def annotate(self, name: str, annotation: str, value: str | None) -> None:
        """Set an annotation of a set; None: remove it."""
        await self.patch_set(name, {"metadata": {"annotations": {annotation: value}}})

    async def delete_set(self, name: str) -> None:
        """Delete a set, and wait until it is gone."""
        await self._delete(paths.one_set(self._namespace, name))

    async def delete_config_map(self, name: str) -> None:
        """Delete a ConfigMap, and wait until it is gone."""
        await self._delete(paths.config_map(self._namespace, name))

    async def find_set(self, name: str) -> Json | None:
        """The set; None: there is none, or nobody answers."""
        try:
            return await self._kube.find(paths.one_set(self._namespace, name))
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

    async def _create(self, path: str, body: Json) -> None:
        """Create; that it exists means that an earlier try was cut off from its answer."""

        async def create() -> None:
            try:
                await self._kube.create(path, body)
            except KubeError as error:
                if error.status != 409:
                    raise

        await self._insist(create)

    async def _delete(self, path: str) -> None:
        async def delete() -> None:
            found = await self._kube.find(path)
            if found is not None:
                await self._kube.delete(path, found["metadata"]["uid"], "Background")
                raise KubeError(0, "Deleting", path)

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
