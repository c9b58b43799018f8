"""The chaos tests' node, with a watch of its pods: to list two hundred repeatedly would take a whole core."""

import asyncio
import contextlib
import json
import random
from pathlib import Path

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from tests.chaos.node import Node

AGAIN = 0.2
"""Seconds until a watch that ended is started again."""
SILENCE = 3600.0


class WatchingNode(Node):
    """Runs every pod of one namespace."""

    def __init__(self, kube: Kube, namespace: str, directory: Path) -> None:
        directory.mkdir()
        super().__init__(kube, namespace, directory, random.Random(1))
        self.namespace = namespace
        self.directory = directory
        """Has a directory for each container, named by the pod's uid."""
        self.present: dict[str, Json] = {}
        """The existing pods, by uid."""

    async def run(self) -> None:
        """Run the pods until cancelled; then every process is killed."""
        watching = asyncio.create_task(self._watch(), name="watch of pods")
        try:
            await super().run()
        finally:
            watching.cancel()
            await asyncio.gather(watching, return_exceptions=True)

    async def _pods(self) -> dict[str, Json]:
        return dict(self.present)

    async def _watch(self) -> None:
        while True:
            with contextlib.suppress(KubeError):
                pods = await self._kube.get(Resource.PODS, self.namespace)
                self.present = {pod["metadata"]["uid"]: pod for pod in pods["items"]}
                await self._follow(pods["metadata"]["resourceVersion"])
            await asyncio.sleep(AGAIN)

    async def _follow(self, version: str) -> None:
        query = {"resourceVersion": version}
        async for line in self._kube.watch(Resource.PODS, self.namespace, query, silence=SILENCE):
            event = json.loads(line)
            if event["type"] == "ERROR":
                return
            uid = event["object"]["metadata"]["uid"]
            if event["type"] == "DELETED":
                self.present.pop(uid, None)
            else:
                self.present[uid] = event["object"]
