"""Operator, Jobs' pods, PostgreSQL and API server are killed at random moments while sets change.

However a round goes, in the end every set is where it should be, every migration took effect exactly once and
the ledger says so; and at no time was a set Ready while a row was dirty or a container ran, or a Job deleted
in flight. Every round is drawn from CHAOS_SEED and its number; a failure prints both::

    CHAOS_SEED=5f3a99c1 pytest tests/chaos -k round-007       # the same round again
    CHAOS_ROUNDS=200 pytest tests/chaos                       # many (`make chaos`)

A round draws the same again; where exactly a kill hits depends on the machine.
"""

import asyncio
import os
import random
import time
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from tests.chaos import checks
from tests.chaos.database import Database
from tests.chaos.life import Life
from tests.chaos.plan import Plan
from tests.chaos.world import World, world

SEED = os.environ["CHAOS_SEED"]
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "20"))
LIMIT = 280.0
"""Seconds for a round."""

pytestmark = [
    # Of the first round that is everything's start, too.
    pytest.mark.timeout(600),
    pytest.mark.asyncio(loop_scope="module"),
    # aiohttp closes TLS connections a moment after its session.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def here(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[World]:
    """Everything that is killed."""
    async with world(tmp_path_factory.mktemp("chaos"), random.Random(SEED)) as made:
        yield made


@pytest.mark.parametrize("number", range(ROUNDS), ids=lambda number: f"round-{number:03}")
async def test_every_set_gets_to_its_right_state(here: World, number: int) -> None:
    plan = Plan.draw(SEED, number)
    lives: list[Life] = []
    happened: list[str] = []
    began = time.monotonic()
    try:
        async with asyncio.timeout(LIMIT):
            await play(here, plan, lives, happened)
    except (AssertionError, TimeoutError) as error:
        again = f"CHAOS_SEED={SEED} pytest tests/chaos -k round-{number:03}"
        pytest.fail(
            f"{again}\n{error or 'it takes too long'}\n{await told(here, plan, lives, happened)}",
            pytrace=False,
        )
    print(f"\nCHAOS_SEED={SEED} round {number}, {time.monotonic() - began:.1f} s\n{plan}")
    print("\n".join([*happened, *(line for life in lives for line in life.said)]))


async def play(here: World, plan: Plan, lives: list[Life], happened: list[str]) -> None:
    """One round, from making the sets to checking what became of them."""
    here.history.forget()
    databases = [await asyncio.to_thread(Database.create, here.postgres) for _ in plan.scripts]
    lives += [Life(here, script, own) for script, own in zip(plan.scripts, databases, strict=True)]
    prefix = f"r{plan.number:03}-"
    chance = random.Random(f"{SEED}/{plan.number}/victims")
    await asyncio.gather(*(life.begin() for life in lives))
    began = asyncio.get_running_loop().time()

    async def strike(number: int) -> None:
        kill = plan.kills[number]
        await asyncio.sleep(max(0.0, began + kill.at - asyncio.get_running_loop().time()))
        happened.append(await here.strike(kill, chance, prefix))

    async with asyncio.TaskGroup() as tasks:
        for life in lives:
            tasks.create_task(life.follow())
        for number in range(len(plan.kills)):
            tasks.create_task(strike(number))
    await asyncio.gather(*(life.settle() for life in lives))
    await check(here, lives, happened)
    await asyncio.gather(*(life.end() for life in lives))
    for life in lives:
        await asyncio.to_thread(life.database.drop)


async def check(here: World, lives: list[Life], happened: list[str]) -> None:
    """All that must hold, and how much of it there was to look at."""
    here.check()
    names = {life.name for life in lives}
    containers = [one for one in here.node.containers.values() if one.set_name in names]
    writes = 0
    for life in lives:
        revisions = here.history.of(life.name)
        writes += checks.check_status(revisions)
        await asyncio.to_thread(checks.check_database, life)
        for dirty in (await asyncio.to_thread(life.database.dirty)).values():
            checks.check_never_ready_while_dirty(dirty, revisions)
        checks.check_never_ready_in_flight(
            revisions, [one for one in containers if one.set_name == life.name]
        )
    deleted = checks.check_no_job_in_flight_deleted(here.operators_requests(), containers)
    happened.append(
        f"{len(containers)} runs, {writes} writes of sets, {deleted} Jobs deleted by the operator"
    )


async def told(here: World, plan: Plan, lives: list[Life], happened: list[str]) -> str:
    """All that helps to understand a failure."""
    names = {life.name for life in lives}
    parts = [str(plan), *happened, *(line for life in lives for line in life.said)]
    parts += [await life.told() for life in lives]
    parts += [str(one) for one in here.node.containers.values() if one.set_name in names]
    parts += ["--- operator", here.operator.log_tail(60), "--- PostgreSQL", here.postgres.log_tail(15)]
    return "\n".join(parts)
