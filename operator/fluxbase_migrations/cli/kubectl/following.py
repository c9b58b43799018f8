"""Waiting for a set's outcome, with a line for each change of its state."""

import sys
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Final, Protocol

from fluxbase_migrations.cli.kubectl.ages import short
from fluxbase_migrations.cli.kubectl.next_step import NextStep, next_step
from fluxbase_migrations.cli.kubectl.set_view import Waiting, progress
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.text import visible

_PAUSE: Final = 0.5
"""Seconds between two reads. No watch: an edit of a ConfigMap that is undone leaves the set as it is."""


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
    passing: Callable[[Exception], str | None] = lambda problem: None,
) -> bool:
    """Wait for the set's outcome, at most ``timeout`` seconds; returns whether it is a success.

    ``passing`` says of an error, in words, that it may pass: then it is one more line, and no end.
    """
    began, printed = clock(), ""
    while True:
        text, done, step = _read_progress(cluster, passing)
        elapsed = clock() - began
        if text != printed:
            printed = text
            after = short(timedelta(seconds=elapsed))
            print(f"{cluster.namespace}/{cluster.name}: {after}: {visible(text)}", flush=True)
        if done is not None:
            if not done and step:
                print(f"next: {visible(str(step))}", file=sys.stderr)
            return done
        if timeout is not None and elapsed > timeout:
            limit = short(timedelta(seconds=timeout))
            print(f"error: not Applied after {limit}; it goes on in the cluster", file=sys.stderr)
            return False
        pause(_PAUSE)


def _read_progress(
    cluster: Readable, passing: Callable[[Exception], str | None]
) -> tuple[str, bool | None, NextStep | None]:
    """What happens, the outcome, and what to type after it."""
    try:
        migration_set = cluster.read()
        state = progress(migration_set, cluster.config_map)
    except Exception as problem:
        text = passing(problem)
        if text is None:
            raise
        return text, None, None
    return happening(migration_set, state), state.done, next_step(migration_set)


def happening(migration_set: Json, state: Waiting) -> str:
    """What a set that is waited for does now: the file that runs, where one does."""
    if state.done is not None:
        return state.text
    for track in Track:
        running = migration_set.get("status", {}).get("tracks", {}).get(track, {}).get("progress")
        if running:
            text = f"{track} track: {running['file']}, file {running['number']} of {running['total']}"
            return f"{text}, waiting for {running['waiting']}" if running.get("waiting") else text
    return state.text
