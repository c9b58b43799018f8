"""Never two at once: the holder stops before the next may begin, whatever the API server does meanwhile."""

import asyncio
import copy
import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.process import lease
from fluxbase_migrations.controller.process.lease import DURATION, GIVE_UP_AFTER, Lease
from fluxbase_migrations.core.json_names import Json
from tests.support import virtual_time
from tests.support.api_transport import Request, answered_by

QUICK = (0.01, 0.01, True)


Delays = list[tuple[float, float, bool]]
"""For each request: how long until it takes effect, how long its answer takes, and whether that arrives."""


@dataclass
class Store:
    """What the API server holds: one Lease."""

    lease: Json | None = None
    version: int = 0

    def answer(self, method: str, body: Json | None) -> Json:
        if method == "GET":
            if self.lease is None:
                raise KubeError(404, "NotFound", "no lease")
            return copy.deepcopy(self.lease)
        assert body is not None
        if method == "POST" and self.lease is not None:
            raise KubeError(409, "AlreadyExists", "there is one")
        if method == "PUT":
            assert self.lease is not None
            if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
                raise KubeError(409, "Conflict", "modified")
        self.version += 1
        self.lease = {**body, "metadata": {**body["metadata"], "resourceVersion": str(self.version)}}
        return copy.deepcopy(self.lease)


class Network(Kube):
    """One candidate's way to the store: slow as ``delays`` say, then quick."""

    def __init__(self, store: Store, delays: Sequence[tuple[float, float, bool]] = ()) -> None:
        super().__init__(answered_by(self._answer))
        self._store = store
        self._delays = list(delays)

    async def _answer(self, request: Request) -> Json:
        before, after, arrives = self._delays.pop(0) if self._delays else QUICK
        sent = asyncio.ensure_future(self._take_effect(before, request.method, request.body))
        sent.add_done_callback(lambda done: done.cancelled() or done.exception())
        answer = await asyncio.shield(sent)
        await asyncio.sleep(after)
        if not arrives:
            raise KubeError(0, "Broken", "the connection broke")
        return answer

    async def _take_effect(self, delay: float, method: str, body: Json | None) -> Json:
        """Also if nobody waits for the answer any more."""
        await asyncio.sleep(delay)
        return self._store.answer(method, body)


def now() -> float:
    return asyncio.get_running_loop().time()


@dataclass
class Terms:
    """When each candidate led, by the one clock of the test."""

    of: list[tuple[str, float, float]] = field(default_factory=list)

    async def serve(self, candidate: Lease, name: str) -> None:
        await candidate.acquire()
        begun = now()
        try:
            await candidate.keep()
        finally:
            self.of.append((name, begun, now()))

    def overlap(self) -> list[Any]:
        terms = sorted(self.of, key=lambda one: one[1])
        return [(one, two) for one, two in itertools.pairwise(terms) if two[1] < one[2]]


DELAY = st.sampled_from([0.0, 0.1, 1.0, 2.9, 4.9, 5.1, 9.0, 14.0, 40.0])
ANSWERS = st.tuples(DELAY, DELAY, st.sampled_from([True, True, False]))
LOST = st.sampled_from([(0.0, 0.0, False), (4.9, 0.0, False), (0.0, 14.0, True), (40.0, 0.0, True)])
DELAYS = st.lists(ANSWERS, max_size=30) | st.lists(LOST, min_size=5, max_size=12)
"""Networks that are slow now and then, and networks that fail for a while."""


@given(one=DELAYS, two=DELAYS)
def test_no_two_lead_at_once(
    one: list[tuple[float, float, bool]], two: list[tuple[float, float, bool]]
) -> None:
    """Each has its own network to one API server; each tries again when it has lost."""

    async def play() -> Terms:
        terms, store = Terms(), Store()

        async def candidate(name: str, network: Network) -> None:
            while True:
                await terms.serve(Lease(network, "fluxbase", "fluxbase", name), name)

        tasks = [
            asyncio.create_task(candidate("one", Network(store, [QUICK, QUICK, *one]))),
            asyncio.create_task(candidate("two", Network(store, two))),
        ]
        await asyncio.sleep(200)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        return terms

    terms = virtual_time.run(play())
    assert terms.of, "nobody ever led"
    assert not terms.overlap()


@pytest.mark.parametrize(
    "answers",
    [
        [(4.9, 0.0, False)] * 20,
        [(40.0, 0.0, True)] * 20,
        [(2.0, 2.9, True), (2.9, 2.0, True)] * 20,
        [(0.0, 0.0, False)] * 40,
    ],
    ids=["errors after 4.9 s", "no answer", "an answer after 4.9 s", "errors at once"],
)
def test_the_holder_stops_with_time_to_spare(answers: Delays) -> None:
    """To the moment; another may begin five seconds later."""

    async def play() -> tuple[float, float]:
        store = Store()
        one = Lease(Network(store, [QUICK, QUICK, *answers]), "n", "l", "one")
        two = Lease(Network(store), "n", "l", "two")
        await one.acquire()
        following = asyncio.create_task(two.acquire())
        await one.keep()
        stopped = now()
        await following
        return stopped, now()

    stopped, began = virtual_time.run(play())
    assert stopped <= GIVE_UP_AFTER + 0.001
    assert began - stopped >= DURATION - GIVE_UP_AFTER >= 5, "seconds in which what was begun can end"


def test_a_holder_that_was_replaced_stops_at_once() -> None:
    async def play() -> float:
        store = Store()
        one = Lease(Network(store), "n", "l", "one")
        await one.acquire()
        assert store.lease is not None
        store.lease["spec"]["holderIdentity"] = "two"
        store.lease["metadata"]["resourceVersion"] = "by hand"
        await one.keep()
        return now()

    assert virtual_time.run(play()) < 2 * lease.RENEW_EVERY


@pytest.mark.parametrize("had_one", [True, False], ids=["with a Lease of ours", "without a Lease"])
def test_a_holder_stops_at_once_when_the_api_server_was_restored_from_a_backup(had_one: bool) -> None:
    """What it has seen since then is not so any more, and its watches would show nothing."""

    async def play() -> float:
        store = Store(version=1000)
        one = Lease(Network(store), "n", "l", "one")
        await one.acquire()
        backup = copy.deepcopy(store.lease) if had_one else None
        keeping = asyncio.create_task(one.keep())
        await asyncio.sleep(3 * lease.RENEW_EVERY)
        assert not keeping.done()
        restored, store.lease, store.version = now(), backup, 900
        async with asyncio.timeout(60):
            await keeping
        return now() - restored

    assert virtual_time.run(play()) < 2 * lease.RENEW_EVERY


def test_an_orderly_end_lets_the_next_one_begin() -> None:
    async def play() -> float:
        store = Store()
        one, two = (Lease(Network(store), "n", "l", name) for name in ("one", "two"))
        await one.acquire()
        following = asyncio.create_task(two.acquire())
        await asyncio.sleep(1)
        await one.release()
        await following
        return now()

    assert virtual_time.run(play()) < 2 * lease.RENEW_EVERY
