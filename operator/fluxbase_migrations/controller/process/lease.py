"""Leader election: of several operators only the holder of a Lease works.

Clocks of different machines are never compared: a candidate respects a Lease for its duration, counted from
when the candidate saw it change. The holder counts from before it sent the request that renewed it, which is
earlier, and stops before that duration is over, whatever it is waiting for. So two never work at once.
"""

import asyncio
import logging
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Any, Final

from fluxbase_migrations.controller.client.kube import Kube, KubeError, number
from fluxbase_migrations.controller.client.resources import Resource

logger = logging.getLogger(__name__)

DEFAULT_NAME: Final = "fluxbase-migrations"
DURATION: Final = 15
"""Seconds that a Lease is respected after its last observed change."""
RENEW_EVERY: Final = 2.0
"""Seconds between two tries."""
ATTEMPT_LIMIT: Final = 5.0
"""Seconds for one try."""
GIVE_UP_AFTER: Final = 10.0
"""Seconds from the request of the last renewal until the holder stops; the rest is for ending its work."""


class _Try(Enum):
    """How an attempt to take or renew the Lease ended."""

    HELD = auto()
    HELD_BY_ANOTHER = auto()
    FAILED = auto()
    RESTORED = auto()
    """The API server has gone back to an older state: objects read since then may not exist."""


_WHY: Final = {
    _Try.HELD_BY_ANOTHER: "is held by another replica",
    _Try.FAILED: "could not be renewed",
    _Try.RESTORED: "is older than it was: the API server was restored from a backup",
}
"""Why the holder stops."""


class Lease:
    """A candidate for the Lease, by its ``identity``."""

    def __init__(self, kube: Kube, namespace: str, name: str, identity: str) -> None:
        self._kube = kube
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._own = Resource.LEASES, namespace, name
        self._last_change: tuple[str, float] = ("", 0.0)
        """The resourceVersion last read, and when it was read first, by the event loop's clock."""
        self._version = 0
        """The resourceVersion of the last answer, to detect a restored API server."""
        self._renewal_sent = 0.0
        """When the last successful request to take or renew it was sent, by the event loop's clock."""

    async def acquire(self) -> None:
        """Wait until this candidate leads."""
        logged = False
        while await self._attempt() is not _Try.HELD:
            if not logged:
                logger.info("waiting for the lease %s/%s", self._namespace, self._name)
                logged = True
            await asyncio.sleep(RENEW_EVERY)
        logger.info("leading, as %s", self._identity)

    async def keep(self) -> None:
        """Renew until that fails for too long, or another candidate holds the Lease; then return at once.

        Likewise when the API server was restored from a backup: its resourceVersions are lower then, and a
        watch that continues from a higher one delivers nothing. The process has to start again and list.
        """
        outcome = _Try.HELD
        while outcome is _Try.HELD:
            try:
                async with asyncio.timeout_at(self._renewal_sent + GIVE_UP_AFTER):
                    outcome = await self._renew()
            except TimeoutError:
                outcome = _Try.FAILED
        logger.error("the lease %s/%s %s; stopping", self._namespace, self._name, _WHY[outcome])

    async def _renew(self) -> _Try:
        """Try until an attempt does not fail, and return how it ended."""
        while True:
            await asyncio.sleep(RENEW_EVERY)
            outcome = await self._attempt(renew=True)
            if outcome is not _Try.FAILED:
                return outcome

    async def release(self) -> None:
        """Let another candidate lead at once."""
        try:
            stored = await self._kube.find(*self._own)
            if stored and stored["spec"].get("holderIdentity") == self._identity:
                stored["spec"] |= {"holderIdentity": "", "leaseDurationSeconds": 1}
                await self._kube.replace(*self._own, stored)
        except KubeError as error:
            logger.debug("lease not released: %s", error)

    async def _attempt(self, *, renew: bool = False) -> _Try:
        """Take the Lease, or with ``renew`` renew it, which only its holder can."""
        sent = _now()
        try:
            async with asyncio.timeout(ATTEMPT_LIMIT):
                stored = await self._kube.find(*self._own)
                if stored is None:
                    written = await self._kube.create(Resource.LEASES, self._namespace, self._body())
                elif self._has_gone_back(stored) and renew:
                    return _Try.RESTORED
                elif self._is_held_by_another(stored, renew=renew):
                    return _Try.HELD_BY_ANOTHER
                else:
                    spec = self._spec(stored.get("spec") or {})
                    written = await self._kube.replace(*self._own, {**stored, "spec": spec})
                if self._has_gone_back(written) and renew:
                    return _Try.RESTORED
        except (KubeError, TimeoutError) as error:
            if not isinstance(error, KubeError) or error.status != 409:
                logger.warning("lease %s/%s: %s", self._namespace, self._name, str(error) or "timeout")
            return _Try.FAILED
        self._renewal_sent = sent
        return _Try.HELD

    def _has_gone_back(self, lease: dict[str, Any]) -> bool:
        """Whether the Lease is older than before; one that was created again has a higher resourceVersion."""
        before, self._version = self._version, number(lease["metadata"]["resourceVersion"])
        return 0 < self._version < before

    def _is_held_by_another(self, stored: dict[str, Any], *, renew: bool) -> bool:
        """Whether another candidate holds it and may still be running."""
        spec, version = stored.get("spec") or {}, stored["metadata"]["resourceVersion"]
        if version != self._last_change[0]:
            self._last_change = version, _now()
        holder = spec.get("holderIdentity") or ""
        if holder == self._identity:
            return False
        if renew:  # it was taken over: this candidate must stop, even if the new holder does not renew it
            return True
        duration = float(spec.get("leaseDurationSeconds") or DURATION)
        return bool(holder) and _now() - self._last_change[1] < duration

    def _body(self) -> dict[str, Any]:
        return {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": self._spec({}),
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


def _now() -> float:
    """Seconds of the event loop's clock, which timeouts use, too."""
    return asyncio.get_running_loop().time()
