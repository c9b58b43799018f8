"""Watches every status that is written while the tests run, and checks each by the rules of kstatus."""

import json
import threading
import time
from typing import Any, Final

from tests.e2e.harness import Kube
from tests.support import kstatus

_RECONNECT_SECONDS: Final = 0.5


class StatusWatch:
    """Collects what is wrong with the sets of one namespace, from the moment it is made, in a thread."""

    def __init__(self, kube: Kube) -> None:
        self._kube = kube
        self._wrong: list[str] = []
        self.seen = 0
        """How many writes have been checked."""
        threading.Thread(target=self._work, name=f"statuses of {kube.namespace}", daemon=True).start()

    def wrong(self) -> list[str]:
        """What was found since the last call."""
        found, self._wrong = self._wrong, []
        return found

    def _work(self) -> None:
        """Watch for ever; the namespace, or the API server, may go and come back."""
        while True:
            last: dict[str, dict[str, Any]] = {}
            try:
                for line in self._kube.watch_sets():
                    event = json.loads(line)
                    if event["type"] in ("ADDED", "MODIFIED"):
                        self._check(event["object"], last)
            except (OSError, ValueError, AssertionError):
                time.sleep(_RECONNECT_SECONDS)

    def _check(self, body: dict[str, Any], last: dict[str, dict[str, Any]]) -> None:
        uid = body["metadata"]["uid"]
        try:
            kstatus.check(body, last.get(uid))
        except AssertionError as error:
            self._wrong.append(f"{body['metadata']['name']}: {error}; it is {json.dumps(body.get('status'))}")
        last[uid] = body
        self.seen += 1
