"""Eight workers whose connections are cut at random: nothing twice within a lease, nothing lost."""

import random
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from threading import Event
from typing import LiteralString

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.track import Connection, connect

WORKERS = 8
ITEMS = 300
DEADLINE = 120.0  # seconds; reached only if something is lost
LEASE = "300 milliseconds"


@dataclass(frozen=True)
class Queue:
    """What a worker says, and how the items are made and counted."""

    fill: LiteralString
    claim: LiteralString
    complete: LiteralString
    fail: LiteralString
    unfinished: LiteralString
    done: LiteralString


JOBS = Queue(
    fill="INSERT INTO jobs.jobs (kind, max_attempts) SELECT 'mail', 1000 FROM generate_series(1, %s)",
    claim="SELECT id, attempts, clock_timestamp() FROM jobs.claim('default', 'w', %s, 3)",
    complete="SELECT jobs.complete(%s, %s)",
    fail="SELECT jobs.fail(%s, %s, 'unlucky', '0')",
    unfinished="SELECT count(*) FROM jobs.jobs WHERE finished_at IS NULL",
    done="SELECT id FROM jobs.jobs WHERE status = 'succeeded'",
)
DELIVERIES = Queue(
    fill=(
        "WITH e AS (INSERT INTO webhooks.endpoints (name, url)"
        " VALUES ('erp', 'https://erp.example/') RETURNING id)"
        " INSERT INTO webhooks.deliveries (endpoint_id, max_attempts, payload)"
        " SELECT e.id, 1000, '{}' FROM e, generate_series(1, %s)"
    ),
    claim="SELECT delivery_id, attempt, clock_timestamp() FROM webhooks.claim('w', %s, 3)",
    complete="SELECT webhooks.complete(%s, %s)",
    fail="SELECT webhooks.fail(%s, %s, 'unlucky', NULL, '0')",
    unfinished="SELECT count(*) FROM webhooks.deliveries WHERE finished_at IS NULL",
    done="SELECT id FROM webhooks.deliveries WHERE status = 'delivered'",
)


class Worker:
    """Claims, notes each claim, and then completes, fails, or is gone."""

    def __init__(self, database: Database, queue: Queue, seed: int, stop: Event) -> None:
        self.database = database
        self.queue = queue
        self.random = random.Random(seed)
        self.stop = stop
        self.claims: list[tuple[str, int]] = []
        self.completed: list[str] = []
        self.unsure: list[str] = []

    def run(self) -> None:
        while not self.stop.is_set():
            try:
                with closing(connect(self.database.dsn)) as connection:
                    self.work(connection)
            except psycopg.OperationalError:
                continue  # cut off, as a killed worker is; another life begins

    def work(self, connection: Connection) -> None:
        connection.execute("SET ROLE service_role")
        while not self.stop.is_set():
            taken = connection.execute(self.queue.claim, [LEASE]).fetchall()
            self.claims += [(str(item), attempt) for item, attempt, _ in taken]
            if not taken:
                self.stop.wait(0.02)
            for item, attempt, _ in taken:
                self.report(connection, str(item), attempt)

    def report(self, connection: Connection, item: str, attempt: int) -> None:
        luck = self.random.random()
        if luck < 0.1:
            raise psycopg.OperationalError("this worker is gone")
        if luck < 0.2:
            connection.execute(self.queue.fail, [item, attempt])
            return
        self.unsure.append(item)
        ((accepted,),) = connection.execute(self.queue.complete, [item, attempt]).fetchall()
        self.unsure.pop()
        if accepted:
            self.completed.append(item)


def cut_connections(admin: Connection, database: Database, chance: random.Random) -> None:
    """Terminate one worker's server process."""
    pids = admin.execute(
        "SELECT pid FROM pg_stat_activity WHERE datname = %s AND usename = %s", [database.name, database.user]
    ).fetchall()
    if pids:
        admin.execute("SELECT pg_terminate_backend(%s)", list(chance.choice(pids)))


@pytest.mark.parametrize("queue", [JOBS, DELIVERIES], ids=["jobs", "deliveries"])
def test_eight_workers_with_kills_do_everything_once(platform: Database, queue: Queue) -> None:
    stop = Event()
    workers = [Worker(platform, queue, seed, stop) for seed in range(WORKERS)]
    chance = random.Random(0)
    with connect(platform.admin_dsn) as admin, ThreadPoolExecutor(WORKERS) as pool:
        admin.execute(queue.fill, [ITEMS])
        running = [pool.submit(worker.run) for worker in workers]
        deadline = time.monotonic() + DEADLINE
        try:
            while admin.execute(queue.unfinished).fetchall() != [(0,)]:
                assert time.monotonic() < deadline, "items are still unfinished"
                cut_connections(admin, platform, chance)
                stop.wait(0.05)
        finally:
            stop.set()
        for future in running:
            future.result(DEADLINE)
        done = {str(item) for (item,) in admin.execute(queue.done).fetchall()}
    claims = [claim for worker in workers for claim in worker.claims]
    completed = [item for worker in workers for item in worker.completed]
    unsure = {item for worker in workers for item in worker.unsure}
    assert len(done) == ITEMS
    assert len(claims) == len(set(claims)), "two workers had the same attempt"
    assert len(completed) == len(set(completed)), "two workers completed the same item"
    # A worker that was cut off while it reported does not know whether it was heard.
    assert done - set(completed) <= unsure
    assert len(claims) > ITEMS, "nobody was ever cut off"
