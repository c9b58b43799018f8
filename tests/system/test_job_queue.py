"""The job queue and schedules: no job is done twice, lost, or tried for ever."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any, LiteralString
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.gateway import rows
from tests.system.track import Connection, connect

CLAIM: LiteralString = "SELECT id, attempts FROM jobs.claim('default', 'one')"
EXPIRE: LiteralString = "UPDATE jobs.jobs SET lease_expires_at = now() - interval '1 second'"


@pytest.fixture
def jobs(platform: Database) -> Iterator[Connection]:
    with connect(platform.dsn) as connection:
        yield connection


@pytest.fixture(scope="module")
def standing_jobs(standing: Database) -> Iterator[Connection]:
    with connect(standing.dsn) as connection:
        yield connection


def call(connection: Connection, query: LiteralString, *arguments: Any) -> Any:
    ((value,),) = connection.execute(query, arguments).fetchall()
    return value


def test_two_workers_never_get_the_same_job(platform: Database) -> None:
    with connect(platform.dsn) as one, connect(platform.dsn) as two:
        one.execute("INSERT INTO jobs.jobs (kind) SELECT 'mail' FROM generate_series(1, 3)")
        with one.transaction():
            first = one.execute("SELECT id FROM jobs.claim('default', 'one', at_most => 2)").fetchall()
            second = rows(two, "SELECT id FROM jobs.claim('default', 'two', at_most => 2)", "service_role")
    assert (len(first), len(second)) == (2, 1)
    assert not set(first) & set(second)


def test_a_job_is_tried_again_until_its_last_attempt(jobs: Connection) -> None:
    jobs.execute("INSERT INTO jobs.jobs (kind, max_attempts) VALUES ('mail', 2)")
    ((job, attempt),) = rows(jobs, CLAIM, "service_role")
    assert attempt == 1
    fail: LiteralString = "SELECT jobs.fail(%s, %s, 'no answer', interval '0')"
    assert call(jobs, fail, job, 2) is False
    assert call(jobs, fail, job, 1) is True
    assert rows(jobs, CLAIM, "service_role") == [(job, 2)]
    assert call(jobs, fail, job, 2) is True
    assert rows(jobs, CLAIM, "service_role") == []
    assert rows(jobs, "SELECT status, last_error FROM jobs.jobs", "service_role") == [("failed", "no answer")]


def test_a_failed_job_waits_longer_each_time_unless_told_how_long(jobs: Connection) -> None:
    jobs.execute(
        "INSERT INTO jobs.jobs (kind, max_attempts, attempts) VALUES ('mail', 100, 3), ('mail', 100, 90)"
    )
    for job, attempt in jobs.execute(
        "SELECT id, attempts FROM jobs.claim('default', 'one', at_most => 2)"
    ).fetchall():
        assert call(jobs, "SELECT jobs.fail(%s, %s, 'no answer')", job, attempt) is True
    waits = jobs.execute(
        "SELECT extract(epoch FROM run_at - now()) FROM jobs.jobs ORDER BY attempts"
    ).fetchall()
    assert 200 < waits[0][0] < 300
    assert 20000 < waits[1][0] < 26000


def test_an_attempt_whose_lease_has_expired_can_report_nothing(jobs: Connection) -> None:
    jobs.execute("INSERT INTO jobs.jobs (kind) VALUES ('mail')")
    ((job, attempt),) = rows(jobs, CLAIM, "service_role")
    assert call(jobs, "SELECT jobs.heartbeat(%s, %s, '1 hour')", job, attempt) is True
    jobs.execute(EXPIRE)
    for report in (
        "SELECT jobs.complete(%s, %s)",
        "SELECT jobs.fail(%s, %s, 'late')",
        "SELECT jobs.heartbeat(%s, %s)",
    ):
        assert call(jobs, report, job, attempt) is False
    # Also not to the attempt that has followed, of a worker with the same name.
    assert rows(jobs, CLAIM, "service_role") == [(job, 2)]
    assert call(jobs, "SELECT jobs.complete(%s, %s)", job, attempt) is False
    assert call(jobs, "SELECT jobs.complete(%s, %s)", job, 2) is True
    assert rows(jobs, "SELECT status, attempts FROM jobs.jobs", "service_role") == [("succeeded", 2)]


def test_a_job_abandoned_at_its_last_attempt_has_failed(jobs: Connection) -> None:
    jobs.execute("INSERT INTO jobs.jobs (kind, max_attempts) VALUES ('mail', 1)")
    assert len(rows(jobs, CLAIM, "service_role")) == 1
    jobs.execute(EXPIRE)
    assert rows(jobs, CLAIM, "service_role") == []
    assert rows(jobs, "SELECT status FROM jobs.jobs", "service_role") == [("failed",)]


INSERT: LiteralString = (
    "INSERT INTO jobs.schedules (name, cron_expression, time_zone, kind) VALUES (%s, %s, %s, 'x')"
)


def test_a_schedule_that_is_due_queues_one_job_until_it_has_finished(jobs: Connection) -> None:
    jobs.execute(INSERT, ["daily", "0 3 * * *", "Europe/Berlin"])
    enqueue: LiteralString = "SELECT jobs.enqueue_due()"
    make_due: LiteralString = "UPDATE jobs.schedules SET next_run_at = now() - interval '3 days'"
    assert rows(jobs, enqueue, "service_role") == [(0,)]
    jobs.execute(make_due)
    assert rows(jobs, enqueue, "service_role") == [(1,)]
    assert rows(jobs, enqueue, "service_role") == [(0,)]
    assert call(jobs, "SELECT next_run_at > now() AND last_run_at <= now() FROM jobs.schedules") is True
    jobs.execute(make_due)
    assert rows(jobs, enqueue, "service_role") == [(0,)]
    ((job, attempt),) = rows(jobs, CLAIM, "service_role")
    assert call(jobs, "SELECT jobs.complete(%s, %s)", job, attempt) is True
    jobs.execute(make_due)
    assert rows(jobs, enqueue, "service_role") == [(1,)]
    jobs.execute("UPDATE jobs.schedules SET enabled = false")
    jobs.execute(make_due)
    assert rows(jobs, enqueue, "service_role") == [(0,)]


BAD_CALLS: list[LiteralString] = [
    "SELECT jobs.claim('default', 'one', at_most => NULL)",
    "SELECT jobs.claim('default', 'one', at_most => 0)",
    "SELECT jobs.claim('default', 'one', at_most => 1001)",
    "SELECT jobs.claim('default', 'one', lease => NULL)",
    "SELECT jobs.claim('default', 'one', lease => '0')",
    "SELECT jobs.claim('default', 'one', lease => '1 year')",
    "SELECT jobs.claim(NULL, 'one')",
    "SELECT jobs.claim('default', NULL)",
    "SELECT jobs.claim('default', '')",
    "SELECT jobs.fail(gen_random_uuid(), 1, NULL)",
    "SELECT jobs.fail(gen_random_uuid(), 1, 'x', '-1 second')",
    "SELECT jobs.heartbeat(gen_random_uuid(), 1, NULL)",
    "SELECT jobs.enqueue_due(NULL)",
    "SELECT webhooks.claim('one', at_most => NULL)",
    "SELECT webhooks.claim('', at_most => 1)",
    "SELECT webhooks.claim('one', lease => NULL)",
    "SELECT webhooks.fail(gen_random_uuid(), 1, NULL)",
    "SELECT webhooks.purge(NULL)",
]


@pytest.mark.parametrize("query", BAD_CALLS)
def test_arguments_that_make_no_sense_are_refused(standing_jobs: Connection, query: LiteralString) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="needs"):
        rows(standing_jobs, query, "service_role")


@pytest.mark.parametrize(
    "query",
    ["SELECT jobs.claim('default', 'x')", "SELECT jobs.enqueue_due()", "SELECT webhooks.claim('x')"],
)
@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_claiming_under_another_isolation_says_what_it_needs(
    standing_jobs: Connection, level: LiteralString, query: LiteralString
) -> None:
    with standing_jobs.transaction(force_rollback=True):
        standing_jobs.execute("SET TRANSACTION ISOLATION LEVEL " + level)
        with pytest.raises(psycopg.errors.InvalidTransactionState, match="isolation level read committed"):
            standing_jobs.execute(query)


# --- Schedules


@pytest.mark.parametrize(
    "cron",
    [
        "",
        "* * * *",
        "* * * * * *",
        "60 * * * *",
        "* 24 * * *",
        "* * 0 * *",
        "* * * 13 *",
        "* * * * 8",
        "*/0 * * * *",
        "5-1 * * * *",
        "a * * * *",
        "1, * * * *",
        "@daily",
        "0 0 30 2 *",
        "-1 * * * *",
    ],
)
def test_what_is_no_cron_expression_is_refused(standing_jobs: Connection, cron: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        standing_jobs.execute(INSERT, ["x", cron, "UTC"])


@pytest.mark.parametrize("zone", ["", "Nowhere/Land", "FOO+3"])
def test_what_is_no_time_zone_is_refused(standing_jobs: Connection, zone: str) -> None:
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="time zone"):
        standing_jobs.execute(INSERT, ["x", "* * * * *", zone])


@pytest.mark.parametrize("column", ["queue", "kind"])
def test_a_schedule_cannot_name_what_no_job_can_have(standing_jobs: Connection, column: str) -> None:
    values = {"queue": "q", "kind": "k"} | {column: ""}
    with pytest.raises(psycopg.errors.CheckViolation):
        standing_jobs.execute(
            "INSERT INTO jobs.schedules (name, cron_expression, queue, kind)"
            " VALUES ('x', '* * * * *', %(queue)s, %(kind)s)",
            values,
        )


NEXT = [
    # cron, zone, after (local), next (local)
    ("* * * * *", "UTC", "2026-11-25 10:00:30", "2026-11-25 10:01"),
    ("*/15 * * * *", "UTC", "2026-11-25 10:45", "2026-11-25 11:00"),
    ("5/20 * * * *", "UTC", "2026-11-25 10:05", "2026-11-25 10:25"),
    ("10-50/20,55 9,17 * * *", "UTC", "2026-11-25 09:50", "2026-11-25 09:55"),
    ("0 0 1 1 *", "UTC", "2026-11-25 10:00", "2027-01-01 00:00"),
    ("0 0 29 2 *", "UTC", "2097-01-01 00:00", "2104-02-29 00:00"),
    ("0 9 * * 1-5", "UTC", "2026-11-27 09:00", "2026-11-30 09:00"),
    ("0 9 * * 7", "UTC", "2026-11-25 09:00", "2026-11-29 09:00"),
    ("0 9 * * 0", "UTC", "2026-11-25 09:00", "2026-11-29 09:00"),
    ("0 0 13 * 5", "UTC", "2026-11-25 00:00", "2026-11-27 00:00"),
    ("0 0 13 * *", "UTC", "2026-11-25 00:00", "2026-12-13 00:00"),
    ("30 8 * * *", "Asia/Kolkata", "2026-11-25 08:29", "2026-11-25 08:30"),
    # 02:30 does not exist on that day, 02:30 twice on the other one.
    ("30 2 * * *", "Europe/Berlin", "2026-03-28 12:00", "2026-03-29 03:30"),
    ("30 2 * * *", "Europe/Berlin", "2026-10-25 03:10", "2026-10-26 02:30"),
]


@pytest.mark.parametrize(("cron", "zone", "after", "expected"), NEXT)
def test_the_next_run_is_crons(
    standing_jobs: Connection, cron: str, zone: str, after: str, expected: str
) -> None:
    def local(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone))

    assert call(standing_jobs, "SELECT jobs.next_run(%s, %s, %s)", cron, zone, local(after)) == local(
        expected
    )
