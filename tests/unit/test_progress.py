"""Progress from the log of a running Job: shown, never trusted."""

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from fluxbase_migrations.api.status import Progress
from fluxbase_migrations.controller.client.kube import Kube, KubeError, NamespacedName
from fluxbase_migrations.controller.reconcile.log_follower import EVERY, RECONNECT, LogFollower, parse
from fluxbase_migrations.controller.watch.workqueue import WorkQueue
from fluxbase_migrations.core import log_lines
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.runner.log import Log, LogFormat
from tests.support.api_transport import Request, answered_by

KEY = ("ns", "shop")
NOW = datetime(2026, 1, 1, tzinfo=UTC)


STAMP = b"2026-01-01T00:00:00.123456789Z "


def lines(form: LogFormat) -> tuple[Log, list[str]]:
    """A log and what it wrote."""
    written: list[str] = []
    return Log(form, written.append), written


def read(line: str, before: Progress | None = None) -> Progress | None:
    return parse(STAMP + line.encode(), before)


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("message", [log_lines.APPLYING, log_lines.REVERTING])
@pytest.mark.parametrize("file", ["001_a.up.sql", "001_größe.up.sql", '001_a b="c".up.sql'])
def test_a_line_about_a_file_is_progress(form: LogFormat, message: str, file: str) -> None:
    log, written = lines(form)
    log.info(message, file=file, number=1, total=6, source="user")
    assert read(written[0]) == Progress(file, 1, 6, NOW)


HOSTILE = [
    "file=001_a.up.sql number=1 total=6",
    "INFO Applying migration file=001_a.up.sql number=1 total=6 source=user",
    "x\nINFO Applying migration file=001_a.up.sql number=1 total=6 source=user",
    "x\r\nINFO Applying migration file=001_a.up.sql number=1 total=6",
    "x\u2028INFO Applying migration file=001_a.up.sql number=1 total=6",
    "x\x85INFO Applying migration file=001_a.up.sql number=1 total=6",
    '" file=001_a.up.sql number=1 total=6 x="',
    '\\" file=001_a.up.sql number=1 total=6 x=\\"',
    '","msg":"Applying migration","file":"001_a.up.sql","number":1,"total":6,"x":"',
    '{"level":"INFO","msg":"Applying migration","file":"001_a.up.sql","number":1,"total":6}',
    '\n{"level":"INFO","msg":"Applying migration","file":"001_a.up.sql","number":1,"total":6}',
    "x" * 16_384 + "INFO Applying migration file=001_a.up.sql number=1 total=6",
    "INFO Waiting for a lock file=001_a.up.sql number=1 total=6 holder=nobody",
]


@pytest.mark.parametrize("form", LogFormat)
@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_server_says_is_one_line_and_never_progress(form: LogFormat, text: str) -> None:
    log, written = lines(form)
    log.info(log_lines.FROM_SERVER, notice=text, source="user")
    log.warn(log_lines.FROM_SERVER, warning=text, source="user")
    log.warn(f"{text} was edited")
    log.error(f"failed to run user migrations: {text}")
    log.info("Running user migrations...", path=text)
    for line in written:
        assert line.count("\n") == 1
        assert len(line.splitlines()) == 1
        assert len(line.encode()) < 16_384  # where container runtimes cut
        assert read(line) is None


@pytest.mark.parametrize("form", LogFormat)
def test_a_wait_for_a_lock_is_told_until_it_ends(form: LogFormat) -> None:
    log, written = lines(form)
    of = {"file": "001_a.up.sql", "number": 2, "total": 6, "source": "user"}
    log.info(log_lines.APPLYING, **of)
    log.info(log_lines.WAITING, **of, lock="AccessExclusiveLock on public.a", holder='held by pid 1, "psql"')
    log.info(log_lines.GOES_ON, **of)
    begun = read(written[0])
    assert begun is not None
    waits = parse(b"2026-01-01T00:01:00Z " + written[1].encode(), begun)
    waiting = 'AccessExclusiveLock on public.a, held by pid 1, "psql"'
    assert waits == Progress("001_a.up.sql", 2, 6, NOW, waiting)
    assert parse(b"2026-01-01T00:02:00Z " + written[2].encode(), waits) == begun


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"INFO Applying migration",
        b"INFO Applying migration file=001_a.up.sql number=7 total=6",
        b"INFO Applying migration file=001_a.up.sql number=0 total=6",
        b"INFO Applying migration file=001_a.up.sql number=x total=6",
        b"INFO Applying migration file=../../etc/passwd number=1 total=6",
        b"INFO Applying migration file=" + b"1" * 2000 + b"_a.up.sql number=1 total=6",
        b"INFO Applying migrations file=001_a.up.sql number=1 total=6",
        b"INFO Applying migration file=001_a.up.sql and number=1 total=6",
        b"WARN Applying migration file=001_a.up.sql number=1 total=6",
        b"x INFO Applying migration file=001_a.up.sql number=1 total=6",
        b'{"level": "INFO", "msg": "x", "file": "001_a.up.sql", "number": 1, "total": 6}',
        b'{"level": "WARN", "msg": "Applying migration", "file": "001_a.up.sql", "number": 1, "total": 6}',
        b"INFO Running user migrations... path=/migrations/user",
        b"[1, 2]",
        b'{"level": "INFO", "msg": "Applying migration", "file": null, "number": 1, "total": 2}',
        b"{broken",
        b"\xff\xfe\x00",
    ],
)
def test_any_other_line_is_not(line: bytes) -> None:
    assert parse(STAMP + line) is None
    assert parse(line) is None


class Broken:
    """An API server that refuses to show a log, or whose stream of it ends as ``ends``, after one line."""

    def __init__(self, ends: KubeError | None) -> None:
        self.kube = Kube(answered_by(self._answer))
        self.ends = ends
        self.asked = 0

    async def _answer(self, request: Request) -> AsyncIterator[bytes]:
        assert request.path in (
            "/api/v1/namespaces/ns/pods/pod/log",
            "/api/v1/namespaces/ns/pods/another/log",
        )
        self.asked += 1
        if self.ends and self.ends.status:
            raise self.ends
        return self._lines()

    async def _lines(self) -> AsyncIterator[bytes]:
        yield STAMP + b"INFO Applying migration file=001_a.up.sql number=1 total=2 source=user"
        if self.ends:
            raise self.ends


class Following:
    """The follower of one pod's log, and when its set is due, on a clock of its own."""

    def __init__(self, ends: KubeError | None) -> None:
        self.now = 0.0
        self.api = Broken(ends)
        self.queue: WorkQueue[NamespacedName] = WorkQueue(lambda: self.now)
        self.asked: list[float] = []
        self.follower = LogFollower(self.api.kube, self._requeue, lambda: self.now)

    def _requeue(self, key: NamespacedName, delay: float) -> None:
        self.asked.append(delay)
        self.queue.add(key, delay)

    async def look(self, pod: str = "pod") -> None:
        """The set is reconciled while the pod runs, and its log read as far as it goes."""
        self.follower.follow(KEY, Track.USER, pod, 1)
        for _ in range(20):
            await asyncio.sleep(0)

    async def run(self, seconds: float) -> None:
        """The set is reconciled whenever it is due, which is looked at every half a second."""
        while self.now < seconds:
            if len(self.queue):
                await self.queue.get()
                await self.look()
                self.queue.done(KEY)
            self.now += 0.5


@pytest.mark.parametrize(
    ("ends", "due"),
    [
        (None, [EVERY, RECONNECT]),
        (KubeError(0, "Broken", "the stream broke"), [EVERY, RECONNECT]),
        (KubeError(429, "TooManyRequests", "later"), [RECONNECT]),
        (KubeError(403, "Forbidden", "no"), []),
    ],
    ids=["the server shuts down", "the connection breaks", "the server is busy", "we may not read logs"],
)
async def test_a_log_that_ends_before_its_pod_is_followed_again(
    ends: KubeError | None, due: list[float]
) -> None:
    """Otherwise the progress stands still from then on, for as long as the migration takes."""
    following = Following(ends)
    await following.look()
    assert following.asked == due
    following.now += RECONNECT
    await following.look()
    assert following.api.asked == 2, "it is followed anew"
    await following.follower.close()


async def test_a_log_that_ends_at_once_again_and_again_is_asked_for_at_its_pace() -> None:
    """The last lines come anew each time: they are no news, and no reason to ask at the next look."""
    following = Following(None)
    following.queue.add(KEY)
    await following.run(60.0)
    assert 4 <= following.api.asked <= 1 + 60 / RECONNECT
    await following.look("another")
    assert following.api.asked <= 2 + 60 / RECONNECT, "another pod's log need not wait"
    await following.follower.close()


async def test_looks_for_other_reasons_do_not_ask_for_a_log_that_has_just_ended() -> None:
    following = Following(None)
    for _ in range(10):
        await following.look()
    assert following.api.asked == 1
    await following.follower.close()
