"""Every write of every object, in order, from etcd itself: nothing is missed while the API server is down."""

import base64
import contextlib
import http.client
import json
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from fluxbase_migrations.core.json_names import Json

UNSEEN = {"observedGeneration": -1}
"""What the CRD makes of an absent status: everybody who reads a set gets that."""
PAUSE = 0.05
"""Seconds until another try when etcd does not answer."""


@dataclass(frozen=True)
class Revision:
    """One write of an object; ``body`` is None where it was deleted."""

    name: str
    version: int
    """Its resourceVersion, which orders all writes of the cluster."""
    at: float
    """Seconds of the clock; an instant after the write."""
    body: Json | None
    created: bool = False
    """Whether it is the object's first."""


class History:
    """Collects the writes of the objects below one key while it runs; a context manager.

    ``key`` is like ``jobs/NAMESPACE``; the objects must be stored as JSON.
    """

    def __init__(self, etcd_url: str, key: str) -> None:
        self._address = urlsplit(etcd_url).netloc
        self._prefix = f"/registry/{key}/"
        self._revisions: list[Revision] = []
        self._next = 1
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="history", daemon=True)

    def of(self, name: str) -> Sequence[Revision]:
        """The writes of one name so far, oldest first."""
        return [one for one in self._revisions if one.name == name]

    @property
    def created(self) -> Sequence[Revision]:
        """The first write of each object so far."""
        return [one for one in self._revisions if one.created]

    def forget(self) -> None:
        """Start a new page."""
        self._revisions = []

    def __enter__(self) -> "History":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
                self._follow()
            time.sleep(PAUSE)

    def _follow(self) -> None:
        """Read the stream from where it broke off, until it breaks again."""
        create = {"key": _encoded(self._prefix), "range_end": _encoded(_after(self._prefix))}
        request = {"create_request": {**create, "start_revision": self._next}}
        connection = http.client.HTTPConnection(self._address, timeout=5)
        try:
            connection.request("POST", "/v3/watch", json.dumps(request))
            answer = connection.getresponse()
            if connection.sock:
                connection.sock.settimeout(None)
            while not self._stop.is_set() and (line := answer.readline()):
                for event in json.loads(line).get("result", {}).get("events", ()):
                    self._take(event)
        finally:
            connection.close()

    def _take(self, event: Json) -> None:
        kv = event["kv"]
        version = int(kv["mod_revision"])
        body = None
        if event.get("type") != "DELETE":
            body = json.loads(base64.b64decode(kv["value"]))
            body["metadata"]["resourceVersion"] = str(version)
            body.setdefault("status", UNSEEN)
        name = base64.b64decode(kv["key"]).decode().removeprefix(self._prefix)
        created = body is not None and kv["create_revision"] == kv["mod_revision"]
        self._revisions.append(Revision(name, version, time.time(), body, created))
        self._next = version + 1


def _encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _after(prefix: str) -> str:
    """The first key behind all that begin with ``prefix``."""
    return prefix[:-1] + chr(ord(prefix[-1]) + 1)
