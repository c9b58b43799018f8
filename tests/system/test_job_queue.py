"""The job queue: no job is done twice, lost, or tried for ever."""

from collections.abc import Iterator
from typing import LiteralString

import pytest

from tests.conftest import Database
from tests.system.gateway import rows
from tests.system.track import Connection, connect


@pytest.fixture
def jobs(platform: Database) -> Iterator[Connection]:
    with connect(platform.dsn) as connection:
        yield connection


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
    claim: LiteralString = "SELECT id, attempts FROM jobs.claim('default', 'one')"
    ((job, attempts),) = rows(jobs, claim, "service_role")
    assert attempts == 1
    fail = "SELECT jobs.fail(%s, %s, 'no answer', interval '0')"
    assert jobs.execute(fail, [job, "somebody else"]).fetchall() == [(False,)]
    assert jobs.execute(fail, [job, "one"]).fetchall() == [(True,)]
    assert rows(jobs, claim, "service_role") == [(job, 2)]
    assert jobs.execute(fail, [job, "one"]).fetchall() == [(True,)]
    assert rows(jobs, claim, "service_role") == []
    assert rows(jobs, "SELECT status, last_error FROM jobs.jobs", "service_role") == [("failed", "no answer")]


def test_a_job_of_a_worker_that_is_gone_is_given_to_another(jobs: Connection) -> None:
    jobs.execute("INSERT INTO jobs.jobs (kind, max_attempts) VALUES ('mail', 2)")
    gone: LiteralString = "SELECT id FROM jobs.claim('default', 'gone', lease => interval '0')"
    ((job,),) = rows(jobs, gone, "service_role")
    assert rows(jobs, gone, "service_role") == [(job,)]
    assert jobs.execute("SELECT jobs.complete(%s, 'gone')", [job]).fetchall() == [(True,)]
    assert rows(jobs, "SELECT status, attempts FROM jobs.jobs", "service_role") == [("succeeded", 2)]


def test_a_job_abandoned_at_its_last_attempt_has_failed(jobs: Connection) -> None:
    jobs.execute("INSERT INTO jobs.jobs (kind, max_attempts) VALUES ('mail', 1)")
    gone: LiteralString = "SELECT id FROM jobs.claim('default', 'gone', lease => interval '0')"
    assert len(rows(jobs, gone, "service_role")) == 1
    assert rows(jobs, gone, "service_role") == []
    assert rows(jobs, "SELECT status FROM jobs.jobs", "service_role") == [("failed",)]
