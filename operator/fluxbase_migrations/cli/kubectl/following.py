"""Waiting for a set's outcome, with a line for whatever changes meanwhile."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from fluxbase_migrations.cli.kubectl.ages import short
from fluxbase_migrations.cli.kubectl.next_step import next_step
from fluxbase_migrations.cli.kubectl.set_view import Waiting, progress
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.text import visible

_PAUSE: Final = 0.5
"""Seconds between two looks. No watch: an edit of a ConfigMap that is undone leaves the set as it is."""


class Readable(Protocol):
    """What is followed."""

    namespace: str
    name: str

    def read(self) -> Json:
        """The set."""

    def config_map(self, name: str) -> Json:
        """A ConfigMap, or LookupError."""


def follow(
    cluster: Readable,
    timeout: float | None,
    pause: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> bool:
    """Wait for the set's outcome, at most ``timeout`` seconds; returns whether it is the wanted one."""
    began, shown = clock(), ""
    while True:
        found = cluster.read()
        state = progress(found, cluster.config_map)
        text = happening(found, state)
        elapsed = clock() - began
        if text != shown:
            shown = text
            after = short(timedelta(seconds=elapsed))
            print(f"{cluster.namespace}/{cluster.name}: {after}: {visible(text)}", flush=True)
        if state.done is not None:
            if not state.done and (step := next_step(found)):
                print(f"next: {visible(str(step))}", file=sys.stderr)
            return state.done
        if timeout is not None and elapsed > timeout:
            limit = short(timedelta(seconds=timeout))
            print(f"error: not Applied after {limit}; it goes on in the cluster", file=sys.stderr)
            return False
        pause(_PAUSE)


def happening(found: Json, state: Waiting) -> str:
    """What a set that is waited for does now: the file that runs, where one does."""
    if state.done is not None:
        return state.text
    for track in Track:
        running = found.get("status", {}).get("tracks", {}).get(track, {}).get("progress")
        if running:
            text = f"{track} track: {running['file']}, file {running['number']} of {running['total']}"
            return f"{text}, waiting for {running['waiting']}" if running.get("waiting") else text
    return state.text
