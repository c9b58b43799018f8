"""Events about a set: a repeated Event only raises its count, and their number is limited."""

import hashlib
import logging
from collections import OrderedDict
from datetime import datetime
from typing import Final

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import API_VERSION, KIND
from fluxbase_migrations.core.text import cut, visible
from fluxbase_migrations.decisions.desired import EventNote

logger = logging.getLogger(__name__)

COMPONENT: Final = "fluxbase-migrations"
BURST: Final = 25
"""Events that one set may cause at once; one more every :data:`REFILL_SECONDS`."""
REFILL_SECONDS: Final = 60.0
_MESSAGE_LIMIT: Final = 1000
_REMEMBERED: Final = 4096


class EventRecorder:
    """Records notes as Events. A failure to do so is only logged."""

    def __init__(self, kube: Kube, instance: str) -> None:
        self._kube = kube
        self._instance = instance
        self._counts: OrderedDict[str, int] = OrderedDict()
        self._budget: OrderedDict[str, tuple[float, datetime]] = OrderedDict()

    async def event(self, body: Json, note: EventNote, now: datetime) -> None:
        """Record ``note`` about the set ``body``, unless the set has caused too many Events."""
        metadata = body["metadata"]
        if not self._allowed(metadata["uid"], now):
            return
        message = cut(visible(note.message), _MESSAGE_LIMIT)
        identity = f"{metadata['uid']}/{note.warning}/{note.reason}/{message}"
        hashed = hashlib.sha256(identity.encode()).hexdigest()[:16]
        name = f"{metadata['name'][:200].rstrip('.-')}.{hashed}"
        count = self._counts.get(identity, 0)
        try:
            self._counts[identity] = await self._write(self._event(body, name, note, message, now), count)
        except KubeError as error:
            self._counts.pop(identity, None)
            if error.status == 404 and count > 0:  # it has expired
                await self.event(body, note, now)
                return
            where = f"{metadata['namespace']}/{metadata['name']}"
            logger.warning("event %s of %s not recorded: %s", note.reason, where, error)
            return
        self._counts.move_to_end(identity)
        if len(self._counts) > _REMEMBERED:
            self._counts.popitem(last=False)

    async def _write(self, event: Json, count: int) -> int:
        """Create the Event, or raise its count; returns the new count."""
        namespace, name = event["metadata"]["namespace"], event["metadata"]["name"]
        if count == 0:
            try:
                await self._kube.create(Resource.EVENTS, namespace, event)
                return 1
            except KubeError as error:
                if error.status != 409:
                    raise
                count = 1  # created before this process was started
        newer = {"lastTimestamp": event["lastTimestamp"], "count": count + 1}
        await self._kube.patch(Resource.EVENTS, namespace, name, newer)
        return count + 1

    def _event(self, body: Json, name: str, note: EventNote, message: str, now: datetime) -> Json:
        metadata, stamp = body["metadata"], f"{now:%Y-%m-%dT%H:%M:%SZ}"
        involved = {field: metadata[field] for field in ("name", "namespace", "uid", "resourceVersion")}
        return {
            "metadata": {"name": name, "namespace": metadata["namespace"]},
            "involvedObject": {"apiVersion": API_VERSION, "kind": KIND, **involved},
            "type": "Warning" if note.warning else "Normal",
            "reason": note.reason,
            "message": message,
            "source": {"component": COMPONENT},
            "reportingComponent": COMPONENT,
            "reportingInstance": self._instance,
            "firstTimestamp": stamp,
            "lastTimestamp": stamp,
            "count": 1,
        }

    def _allowed(self, uid: str, now: datetime) -> bool:
        """Take a token from the set's bucket; False if it is empty."""
        tokens, since = self._budget.get(uid, (float(BURST), now))
        tokens = min(tokens + (now - since).total_seconds() / REFILL_SECONDS, BURST)
        self._budget[uid] = (max(tokens - 1.0, 0.0), now)
        self._budget.move_to_end(uid)
        if len(self._budget) > _REMEMBERED:
            self._budget.popitem(last=False)
        return tokens >= 1.0
