"""Leader election: of several replicas only the holder of a Lease works."""

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import Any, Final

from fluxbase_migrations.controller import paths
from fluxbase_migrations.controller.kube import Kube, KubeError

logger = logging.getLogger(__name__)

NAME: Final = "fluxbase-migrations"
DURATION: Final = 15
"""Seconds that a Lease is respected after its holder was last heard of."""
RENEW_EVERY: Final = 2.0
GIVE_UP_AFTER: Final = 10.0
"""Seconds without a renewal after which the holder stops: well before another may begin."""


class Lease:
    """One candidate.

    Clocks of different machines are never compared: all that counts is when this one saw the Lease change.
    """

    def __init__(self, kube: Kube, namespace: str, identity: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._identity = identity
        self._path = f"{paths.leases(namespace)}/{NAME}"
        self._seen: tuple[str, float] = ("", 0.0)

    async def acquire(self) -> None:
        """Wait until this candidate leads."""
        told = False
        while not await self._attempt():
            if not told:
                logger.info("waiting for the lease %s/%s", self._namespace, NAME)
                told = True
            await asyncio.sleep(RENEW_EVERY)
        logger.info("leading, as %s", self._identity)

    async def keep(self) -> None:
        """Renew until that fails for too long; then return."""
        renewed = time.monotonic()
        while time.monotonic() - renewed < GIVE_UP_AFTER:
            await asyncio.sleep(RENEW_EVERY)
            if await self._attempt():
                renewed = time.monotonic()
        logger.error("the lease %s/%s could not be renewed; stopping", self._namespace, NAME)

    async def release(self) -> None:
        """Let another candidate lead at once."""
        try:
            found = await self._kube.find(self._path)
            if found and found["spec"].get("holderIdentity") == self._identity:
                found["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._kube.replace(self._path, found)
        except KubeError as error:
            logger.debug("lease not released: %s", error)

    async def _attempt(self) -> bool:
        """Take or renew the Lease; False if another holds it, or the API server does not answer."""
        try:
            async with asyncio.timeout(GIVE_UP_AFTER / 2):
                found = await self._kube.find(self._path)
                if found is None:
                    await self._kube.create(paths.leases(self._namespace), self._body(None))
                    return True
                spec = found.get("spec") or {}
                if self._respected(found, spec):
                    return False
                await self._kube.replace(self._path, {**found, "spec": self._spec(spec)})
                return True
        except (KubeError, TimeoutError) as error:
            if not isinstance(error, KubeError) or error.status != 409:
                logger.warning("lease %s/%s: %s", self._namespace, NAME, error or "timeout")
            return False

    def _respected(self, found: dict[str, Any], spec: dict[str, Any]) -> bool:
        """Whether another candidate holds it and may still be there."""
        version = found["metadata"]["resourceVersion"]
        if version != self._seen[0]:
            self._seen = version, time.monotonic()
        holder = spec.get("holderIdentity")
        if not holder or holder == self._identity:
            return False
        return time.monotonic() - self._seen[1] < float(spec.get("leaseDurationSeconds") or DURATION)

    def _body(self, spec: dict[str, Any] | None) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": NAME, "namespace": self._namespace},
            "spec": self._spec(spec or {}),
        }

    def _spec(self, before: dict[str, Any]) -> dict[str, Any]:
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        same = before.get("holderIdentity") == self._identity
        return {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": DURATION,
            "acquireTime": before.get("acquireTime", now) if same else now,
            "renewTime": now,
            "leaseTransitions": int(before.get("leaseTransitions") or 0) + (0 if same else 1),
        }
