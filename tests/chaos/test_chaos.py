"""Operator, Jobs' pods, PostgreSQL and API server are killed at random moments while sets change.

However a round goes, in the end every set is where it should be, every migration took effect exactly once in
each database and in its history; and at no time was a set Ready while a row was dirty or a container ran,
a Job deleted in flight, a fact shown of another database, or a command obeyed that did not stand there. Every
round is drawn from CHAOS_SEED and its number; a failure prints both::

    CHAOS_SEED=5f3a99c1 pytest tests/chaos -k round-007       # the same round again
    CHAOS_ROUNDS=200 pytest tests/chaos                       # many (`make chaos`)

A round draws the same again; where exactly a kill hits depends on the machine.
"""

import asyncio
import contextlib
import json
import os
import random
import time
from collections.abc import AsyncIterator, Sequence

import pytest
import pytest_asyncio

from fluxbase_migrations.controller.watch.parsing import set_of
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track
from tests.chaos import checks, command_checks, fact_checks
from tests.chaos.life import Life
from tests.chaos.places import Places
from tests.chaos.plan import Company, Plan, Victim
from tests.chaos.world import SLOTS, World, world

SEED = os.environ["CHAOS_SEED"]
ROUNDS = int(os.environ.get("CHAOS_ROUNDS", "13"))
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
        again = f"CHAOS_SEED={SEED} CHAOS_ROUNDS={number + 1} pytest tests/chaos -k round-{number:03}"
        pytest.fail(
            f"{again}\n{error or 'it takes too long'}\n{await told(here, plan, lives, happened)}",
            pytrace=False,
        )
    print(f"\nCHAOS_SEED={SEED} round {number}, {time.monotonic() - began:.1f} s\n{plan}")
    print("\n".join([*happened, *(line for life in lives for line in life.said)]))


async def play(here: World, plan: Plan, lives: list[Life], happened: list[str]) -> None:
    """One round, from making the sets to checking what became of them."""
    here.history.forget()
    here.jobs.forget()
    places = [await Places.create(here.postgres, script.name) for script in plan.scripts]
    lives += [Life(here, script, own) for script, own in zip(plan.scripts, places, strict=True)]
    prefix = f"r{plan.number:03}-"
    chance = random.Random(f"{SEED}/{plan.number}/victims")
    await asyncio.gather(*(life.begin() for life in lives))
    began = asyncio.get_running_loop().time()

    async def strike(number: int) -> None:
        kill = plan.kills[number]
        await asyncio.sleep(max(0.0, began + kill.at - asyncio.get_running_loop().time()))
        happened.append(await here.strike(kill, chance, prefix))

    async with here.accompanied(plan.other), approving(lives):
        async with asyncio.TaskGroup() as tasks:
            for life in lives:
                tasks.create_task(life.follow())
            for number in range(len(plan.kills)):
                tasks.create_task(strike(number))
        settled = await asyncio.gather(*(life.settle() for life in lives))
    await check(here, plan, lives, settled, happened)
    await asyncio.gather(*(life.end() for life in lives))
    for life in lives:
        for database in life.places.databases:
            await asyncio.to_thread(database.drop)


@contextlib.asynccontextmanager
async def approving(lives: list[Life]) -> AsyncIterator[None]:
    """Somebody approves what waits for it."""
    people = [asyncio.create_task(life.approve()) for life in lives if life.script.manual]
    try:
        yield
    finally:
        for one in people:
            one.cancel()
        ended = await asyncio.gather(*people, return_exceptions=True)
    assert [one for one in ended if not isinstance(one, asyncio.CancelledError)] == []


async def check(
    here: World, plan: Plan, lives: list[Life], settled: Sequence[Json], happened: list[str]
) -> None:
    """All that must hold, and how much of it there was to look at."""
    here.check()
    names = {name for life in lives for name in life.names}
    containers = [one for one in here.node.containers.values() if one.set_name in names]
    alone = plan.other.company is Company.NONE
    writes = facts = commands = 0
    for life, body in zip(lives, settled, strict=True):
        found = await asyncio.to_thread(check_databases, here, life)
        facts += found
        for name in life.names:
            revisions = here.history.of(name)
            writes += checks.check_status(revisions)
            checks.check_never_ready_in_flight(revisions, [one for one in containers if one.set_name == name])
        commands += await asyncio.to_thread(check_commands, here, life, body, alone)
    # Who has read what is not known of two.
    deleted = (
        checks.check_no_job_in_flight_deleted(here.operators_requests(), containers) if alone else "unknown"
    )
    # Jobs that cannot start give their slots back, and no Job starts without the API server.
    answering = not {kill.victim for kill in plan.kills} & {Victim.API_SERVER, Victim.CONTROL_PLANE}
    at_once = checks.check_slots(containers, SLOTS) if alone and answering else "unknown"
    happened.append(
        f"{len(containers)} runs, at once: {at_once}; {writes} writes of sets with {facts} facts, "
        f"{commands} commands obeyed, Jobs deleted by the operator: {deleted}"
    )


def check_databases(here: World, life: Life) -> int:
    """Of each database of a set; returns how many facts about them were looked at."""
    places, looked = life.places, 0
    evidence = {one.oid: fact_checks.Evidence.of(one) for one in places.databases}
    for database in places.databases:
        if database is places.current:
            checks.check_database(life)
        else:
            checks.check_left_database(life, database)
        dirty = database.dirty()
        for name in life.names:
            for track in Track:
                checks.check_never_ready_while_dirty(
                    database.oid, dirty[track], database.owned(track), here.history.of(name)
                )
    for name in life.names:
        looked += fact_checks.check_facts(here.history.of(name), evidence)
        fact_checks.check_database_of_spec(here.history.of(name), places.placed)
    return looked


def check_commands(here: World, life: Life, settled: Json, alone: bool) -> int:
    """Of all sets that had a set's database; returns how many were obeyed."""
    jobs = [one for one in here.jobs.created if set_of(one.body or {}) in life.names]
    revisions = [one for name in life.names for one in here.history.of(name)]
    command_checks.check_jobs(revisions, jobs, alone=alone)
    command_checks.check_approvals(jobs, life.approved, manual=life.script.manual)
    obeyed = {one.oid: one.obeyed() for one in life.places.databases}
    command_checks.check_told(settled, obeyed)
    return command_checks.check_obeyed(obeyed, jobs)


async def told(here: World, plan: Plan, lives: list[Life], happened: list[str]) -> str:
    """All that helps to understand a failure."""
    names = {name for life in lives for name in life.names}
    parts = [str(plan), *happened, *(line for life in lives for line in life.said)]
    parts += [await told_of(life) for life in lives]
    parts += [str(one) for one in here.node.containers.values() if one.set_name in names]
    parts += ["--- operator", here.operator.log_tail(60), "--- PostgreSQL", here.postgres.log_tail(15)]
    return "\n".join(parts)


async def told_of(life: Life) -> str:
    """Everything about a set."""
    body = await life.objects.find_set(life.name)
    parts = [f"--- {life.name}: status\n{json.dumps((body or {}).get('status'), indent=1)}"]
    for database in life.places.databases:
        try:
            history, row = await asyncio.to_thread(lambda one: (one.history(), one.row()), database)
        except Exception as error:  # whatever it is, the rest is worth reading
            history, row = str(error), []
        parts.append(f"--- {life.name}: OID {database.oid}, row {row}, history\n{history}")
    return "\n".join(parts)
