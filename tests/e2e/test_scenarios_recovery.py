"""Retries and recovery: what passes is tried again, the rest waits for a person, and a repair is noticed."""

import re
from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest

from dev.peers import GolangMigrate
from fluxbase_migrations.runner.connection.lock import own_id
from fluxbase_migrations.runner.connection.table_name import TableName
from tests.e2e.harness import MigrationSet, tables
from tests.e2e.scenarios import Scenario

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]
NewSet = Callable[..., MigrationSet]
NewScenario = Callable[[str], Scenario]

WRONG = b"CREATE TABLE public.t2 (id int);\nSELECT no_such_column;\n"
# Not atomic: what it has done by then stays.
WRONG_HALFWAY = b"CREATE INDEX CONCURRENTLY t1_id ON public.t1 (id);\nSELECT no_such_column;\n"
DEADLOCK = b"DO $$ BEGIN RAISE EXCEPTION 'as in a deadlock' USING ERRCODE = '40P01'; END $$;\n"


def test_a_fault_that_may_pass_is_tried_again_up_to_the_limit(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("transient")
    seen = scenario("A deadlock, or another fault that may pass")
    shop.start(tables(1, 2, up2=DEADLOCK), retry={"limit": 1, "backoff": "25s"})
    seen.sees("retry.limit: 1; after the first attempt", shop, "Transient")
    assert shop.condition("Reconciling")["status"] == "True"
    shop.wait("Failed", reason="Transient", attempts=2)
    seen.sees("after the second attempt", shop, "Transient")
    assert shop.condition("Stalled")["status"] == "True"
    assert len(shop.jobs()) == 2
    shop.write_config_map(tables(1, 2))
    seen.sees("the cause is gone, and the file is edited", shop, "Applied")


def test_a_lock_that_is_held_is_waited_for(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("lock")
    seen = scenario("Somebody else holds the migration lock")
    with psycopg.connect(shop.database.admin_dsn, application_name="migrate") as holder:
        holder.execute("SELECT pg_advisory_lock(%s::bigint)", [own_id(TableName("migrations", "app"))])
        shop.start(tables(1), lockTimeout="2s", retry={"backoff": "5s"})
        seen.sees("lockTimeout: 2s", shop, "LockHeld")
    seen.sees("they let go", shop, "Applied")
    assert shop.database.times_applied() == {"001_t1.up.sql": 1}


def test_an_sql_error_waits_for_a_change(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("sql-error")
    seen = scenario("A statement fails")
    shop.start(tables(1, 2, up2=WRONG), retry={"limit": 5, "backoff": "1s"})
    seen.sees("in an atomic file", shop, "SQLError")
    assert shop.database.query("SELECT to_regclass('public.t2')") == [(None,)]
    shop.apply(lockTimeout="4m")
    shop.wait("Failed", run=1)
    shop.write_config_map(tables(1, 2))
    seen.sees("the file is corrected", shop, "Applied")
    assert shop.track()["run"] == 2, "neither time nor an unrelated change runs it again"


def test_recovery_manual_leaves_a_dirty_version_to_a_person(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("manual")
    seen = scenario("A dirty version, recovery: Manual")
    shop.start(tables(1, 2, up2=WRONG_HALFWAY), recovery="Manual")
    seen.sees("a statement fails after others took effect", shop, "SQLError")
    shop.write_config_map(tables(1, 2))
    seen.sees("the file is corrected", shop, "DirtyDatabase")
    assert shop.database.row("user") == [(2, True)]
    shop.annotate(force="user=1@repaired")
    seen.sees("fluxbase.io/force=user=1@repaired", shop, "Applied")


def test_a_dirty_row_of_golang_migrate_is_recovered_as_the_policy_says(
    new_set: NewSet, scenario: NewScenario, tmp_path: Path
) -> None:
    shop = new_set("peer-dirty")
    for name, data in tables(1, 2, up2=WRONG).items():
        (tmp_path / name).write_bytes(data)
    shop.database.query(f'CREATE SCHEMA migrations AUTHORIZATION "{shop.database.name}"')
    base = shop.database
    dsn = base.server.dsn(base.name, base.user, base.password, sslmode="disable")
    peer = GolangMigrate(dsn, tmp_path, ("migrations", "app"))
    assert "no_such_column" in peer.run("up").output
    assert shop.database.row("user") == [(2, True)]
    seen = scenario("golang-migrate left version 2 dirty")
    shop.start(tables(1, 2), recovery="Proven")
    seen.sees("recovery: Proven", shop, "DirtyDatabase")
    shop.apply(recovery="Automatic")
    seen.sees("recovery: Automatic", shop, "Applied", event="Recovered")


def test_the_documented_manual_fix_is_noticed_on_the_next_run(new_set: NewSet, scenario: NewScenario) -> None:
    """The statements of the platform's documentation: DELETE FROM migrations.app, then INSERT."""
    shop = new_set("manual-fix")
    shop.start(tables(1, 2, up2=WRONG), recovery="Manual")
    shop.wait("Failed", dirty=True, version=2)
    shop.database.query("CREATE TABLE public.t2 (id int)")
    shop.database.query("DELETE FROM migrations.app")
    shop.database.query("INSERT INTO migrations.app (version, dirty) VALUES (2, false)")
    shop.annotate(requested_at="repaired by hand")
    seen = scenario("A person sets the version with DELETE and INSERT")
    seen.sees("and asks for another run", shop, "Applied")
    assert re.fullmatch(r"user: version 2", shop.message())


def test_a_database_ahead_of_its_source_is_told_as_that(new_set: NewSet, scenario: NewScenario) -> None:
    shop = new_set("ahead")
    shop.start(tables(1, 2, 3))
    shop.wait("Applied", version=3)
    shop.write_config_map(tables(1, 2))
    seen = scenario("The database is ahead of its source")
    seen.sees("an older ConfigMap is applied again", shop, "AheadOfSource")
    assert shop.database.row("user") == [(3, False)]
    shop.write_config_map(tables(1, 2, 3))
    seen.sees("the newer one is back", shop, "Applied")
