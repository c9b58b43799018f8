"""The queue of keys: de-duplicating, serial per key, with delays and backoff."""

import asyncio

import pytest

from fluxbase_migrations.controller.watch.workqueue import MAX_BACKOFF, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue[str]:
    return WorkQueue(clock)


async def ready(queue: WorkQueue[str]) -> str | None:
    """The next key if one is due."""
    try:
        return await asyncio.wait_for(queue.get(), 0.02)
    except TimeoutError:
        return None


async def test_a_key_waits_once_however_often_it_is_added(queue: WorkQueue[str]) -> None:
    for _ in range(3):
        queue.add("a")
    queue.add("b")
    assert [await ready(queue), await ready(queue), await ready(queue)] == ["a", "b", None]


async def test_a_key_is_not_worked_on_twice_at_once_but_again_afterwards(queue: WorkQueue[str]) -> None:
    queue.add("a")
    assert await ready(queue) == "a"
    queue.add("a")
    assert await ready(queue) is None
    queue.done("a")
    assert await ready(queue) == "a"
    queue.done("a")
    assert await ready(queue) is None


async def test_the_earliest_time_counts(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a", 10)
    queue.add("a", 5)
    queue.add("a", 20)
    assert await ready(queue) is None
    clock.now += 6
    assert await ready(queue) == "a"
    queue.done("a")
    clock.now += 30
    assert await ready(queue) is None


async def test_what_is_added_while_a_key_is_worked_on_keeps_its_time(
    queue: WorkQueue[str], clock: Clock
) -> None:
    queue.add("a")
    await ready(queue)
    queue.add("a", 10)
    queue.done("a")
    assert await ready(queue) is None
    clock.now += 11
    assert await ready(queue) == "a"


async def test_failures_are_tried_again_ever_later(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    delays = []
    for _ in range(12):
        clock.now += MAX_BACKOFF
        assert await ready(queue) == "a"
        delays.append(queue.failed("a"))
    assert delays[:4] == [0.5, 1, 2, 4]
    assert delays[-1] == MAX_BACKOFF
    clock.now += MAX_BACKOFF
    await ready(queue)
    queue.done("a")
    queue.add("a")
    await ready(queue)
    assert queue.failed("a") == 0.5


async def test_a_failure_may_have_a_limit_of_its_own(queue: WorkQueue[str], clock: Clock) -> None:
    queue.add("a")
    for _ in range(12):
        clock.now += MAX_BACKOFF
        assert await ready(queue) == "a"
        delay = queue.failed("a", longest=10)
    assert delay == 10


async def test_a_waiting_worker_wakes_up_for_a_new_key(queue: WorkQueue[str]) -> None:
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    assert await asyncio.wait_for(waiting, 1) == "a"


async def test_a_worker_ends_when_it_is_cancelled_at_the_moment_that_it_is_woken(
    queue: WorkQueue[str], clock: Clock
) -> None:
    """As at every stop: one worker gives back its key, and the others are cancelled."""
    queue.add("busy")
    assert await ready(queue) == "busy"
    queue.add("later", 60)
    waiting = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.failed("busy")
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.wait({waiting}, timeout=1)
    assert waiting.cancelled()


async def test_it_tells_how_long_nobody_got_to_a_key(queue: WorkQueue[str], clock: Clock) -> None:
    assert queue.stuck_for() == 0
    queue.add("later", 1000)
    assert queue.stuck_for() == 0
    queue.add("a")
    clock.now += 30
    assert queue.stuck_for() == 30
    await ready(queue)
    assert queue.stuck_for() == 0
    clock.now += 7
    assert queue.stuck_for() == 7
