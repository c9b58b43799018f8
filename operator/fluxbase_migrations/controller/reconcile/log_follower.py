"""Progress of running Jobs, from the logs of their pods: for the status only, no decision depends on it."""

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Final

from fluxbase_migrations.api.status import Progress
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName
from fluxbase_migrations.core import log_lines
from fluxbase_migrations.core.digest import MIGRATION_PATTERN
from fluxbase_migrations.core.names import CONTAINER, Track
from fluxbase_migrations.core.text import shortened, visible

logger = logging.getLogger(__name__)

MAX_FOLLOWED: Final = 50
"""Logs that are followed at once."""
EVERY: Final = 2.0
"""Seconds between two reconciliations of a set that only show its progress."""
RECONNECT: Final = 10.0
"""Seconds until a log whose stream has ended or broken is followed again, while its pod runs."""
_LINE_LIMIT: Final = 4096
_WAITING_LIMIT: Final = 500
_SILENCE: Final = 3600.0


def parse(line: bytes, before: Progress | None = None) -> Progress | None:
    """The progress in a log line, which begins with its timestamp; None if it has none.

    ``before`` is the progress by the lines before.
    """
    stamp, _, text = line[:_LINE_LIMIT].decode("utf-8", "replace").strip().partition(" ")
    parsed = log_lines.parse(text)
    if parsed is None:
        return None
    message, fields = parsed
    try:
        since = datetime.fromisoformat(stamp).astimezone(UTC).replace(microsecond=0)
        file, number, total = str(fields["file"]), int(fields["number"]), int(fields["total"])
    except (ValueError, KeyError, TypeError):
        return None
    if not MIGRATION_PATTERN.fullmatch(file) or len(file) > 253 or not 0 < number <= total < 10**9:
        return None
    if message in (log_lines.APPLYING, log_lines.REVERTING):
        return Progress(visible(file), number, total, since)
    if before is not None and (before.file, before.number, before.total) == (visible(file), number, total):
        since = before.since
    return Progress(visible(file), number, total, since, _waiting(message, fields))


def _waiting(message: str, fields: Mapping[str, Any]) -> str | None:
    if message != log_lines.WAITING:
        return None
    text = f"{fields.get('lock', 'a lock')}, {fields.get('holder', 'held by another session')}"
    return shortened(visible(text), _WAITING_LIMIT)


class LogFollower:
    """Follows logs, a limited number at once, and requeues a set when its progress changes."""

    def __init__(
        self,
        kube: Kube,
        requeue: Callable[[NamespacedName, float], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """``clock`` returns monotonic seconds."""
        self._kube = kube
        self._requeue = requeue
        self._clock = clock
        self._tasks: dict[tuple[NamespacedName, Track], tuple[str, asyncio.Task[None]]] = {}
        self._latest: dict[NamespacedName, dict[Track, tuple[int, Progress]]] = defaultdict(dict)
        self._retry_after: dict[tuple[NamespacedName, Track], tuple[str, float]] = {}
        """The pod whose log has ended, and the time before which it is not followed again."""

    def progress(self, key: NamespacedName) -> Mapping[Track, tuple[int, Progress]]:
        """The latest progress of a set's tracks, each with the number of its run."""
        return dict(self._latest.get(key, {}))

    def follow(self, key: NamespacedName, track: Track, pod: str, run: int) -> None:
        """Follow the pod's log, if it is not followed already and fewer than MAX_FOLLOWED are."""
        holder = (key, track)
        known = self._tasks.get(holder)
        if known and known[0] == pod:
            return
        if len(self._tasks) >= MAX_FOLLOWED:
            return
        ended_pod, until = self._retry_after.get(holder, ("", 0.0))
        if ended_pod == pod and self._clock() < until:
            self._requeue(key, until - self._clock())
            return
        if known:
            known[1].cancel()
        task = asyncio.create_task(self._read(key, track, pod, run), name=f"log of {pod}")
        self._tasks[holder] = pod, task
        task.add_done_callback(lambda done: self._ended(holder, done))

    def forget(self, key: NamespacedName) -> None:
        """Stop following the set's logs, and drop their progress."""
        self._latest.pop(key, None)
        for track in Track:
            self._retry_after.pop((key, track), None)
            known = self._tasks.get((key, track))
            if known:
                known[1].cancel()

    async def close(self) -> None:
        """Stop following all logs."""
        tasks = [task for _, task in self._tasks.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _ended(self, holder: tuple[NamespacedName, Track], task: asyncio.Task[None]) -> None:
        known = self._tasks.get(holder)
        if known and known[1] is task:
            del self._tasks[holder]

    async def _read(self, key: NamespacedName, track: Track, pod: str, run: int) -> None:
        query: dict[str, str | int] = {"container": CONTAINER, "follow": "true", "timestamps": "true"}
        query["tailLines"] = 5
        try:
            async for line in self._kube.log(key[0], pod, query, silence=_SILENCE):
                run_before, before = self._latest[key].get(track, (run, None))
                progress = parse(line, before if run_before == run else None)
                # A log that is followed again begins with its last lines, which are no change.
                if progress and (run, progress) != (run_before, before):
                    self._latest[key][track] = run, progress
                    self._requeue(key, EVERY)
        except KubeError as error:
            # Without progress the status still says Running since when.
            logger.debug("log of %s/%s: %s", key[0], pod, error)
            if 400 <= error.status < 500 and error.status != 429:
                return  # it would be refused again
        self._retry_after[key, track] = pod, self._clock() + RECONNECT
        self._requeue(key, RECONNECT)
