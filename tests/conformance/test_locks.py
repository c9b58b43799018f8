"""Ours excludes golang-migrate and is excluded by it, however golang-migrate opened the database."""

from pathlib import Path

import psycopg
import pytest

from dev.peers import APP, GolangMigrate, Ours, write_files
from dev.waiting import eventually
from tests.conformance.cases import body
from tests.conformance.twins import message, reset, state
from tests.support.databases import Database, clients, lock_id, lock_waiters

# The background work is for all tests of one process.
pytestmark = pytest.mark.xdist_group("conformance")

OTHER = ("public", "schema_migrations")
SLOW = "SELECT pg_advisory_lock(1); SELECT pg_advisory_unlock(1);\n"
"""A statement that lasts until the test lets go of lock 1."""


def held(connection: psycopg.Connection, table: tuple[str, str], database: str) -> bool:
    """Whether somebody holds that lock."""
    found = connection.execute(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND classid::bigint << 32 | objid::bigint = %s)",
        [lock_id(table, database)],
    ).fetchone()
    return found == (True,)


def test_the_lock_ids_are_those_measured() -> None:
    assert lock_id(APP, "/fluxbase") == 700420591
    assert lock_id(APP, "fluxbase") == 1309426208
    assert lock_id(OTHER, "/fluxbase") == 1306598091


@pytest.mark.parametrize("form", ["by URL", "by connection"])
def test_a_lock_of_golang_migrate_keeps_ours_waiting_until_its_timeout(
    form: str, database: Database, tmp_path: Path
) -> None:
    reset(database, None)
    source = write_files(tmp_path / "source", {"1_one.up.sql": body("1/up")})
    name = f"/{database.name}" if form == "by URL" else database.name
    with psycopg.connect(database.dsn, application_name="the holder", autocommit=True) as holder:
        holder.execute("SELECT pg_advisory_lock(%s)", [lock_id(APP, name)])
        refused = Ours(database.dsn, source, options=("--lock-timeout", "1s")).run("up", timeout=20)
        assert refused.code == 1, refused.command
        assert str(holder.info.backend_pid) in refused.output
        assert "the holder" in refused.output
        assert 1 <= refused.seconds < 10
    assert state(database) == ((), ())


def test_a_free_lock_is_taken_although_its_twin_for_another_table_is_held(
    database: Database, tmp_path: Path
) -> None:
    """Two tables are two sequences of migrations, with locks of their own."""
    reset(database, None)
    source = write_files(
        tmp_path / "source", {"1_one.up.sql": body("1/up"), "1_one.down.sql": body("1/down")}
    )
    with psycopg.connect(database.dsn, autocommit=True) as holder:
        for name in (database.name, f"/{database.name}"):
            holder.execute("SELECT pg_advisory_lock(%s)", [lock_id(OTHER, name)])
        done = Ours(database.dsn, source, options=("--lock-timeout", "1s")).run("up", timeout=20)
        assert done.code == 0, done.command
    independent = ("--foreign-table", "migrations.app")
    done = Ours(database.dsn, source, table=OTHER, options=independent).run("up")
    assert done.code == 0, done.command
    done = Ours(database.dsn, source).run("down", "1")
    assert done.code == 0, done.command
    assert state(database) == ((), ("1/up", "1/up", "1/down"))
    assert state(database, ".".join(OTHER))[0] == ((1, False),)


def test_golang_migrate_waits_for_ours_and_finds_its_work_done(database: Database, tmp_path: Path) -> None:
    reset(database, None)
    source = write_files(
        tmp_path / "source", {"1_slow.up.sql": SLOW + body("1/up"), "2_two.up.sql": body("2/up")}
    )
    with psycopg.connect(database.dsn, autocommit=True) as observer:
        observer.execute("SELECT pg_advisory_lock(1)")
        ours = Ours(database.dsn, source).start("up", log=tmp_path / "ours")
        try:
            eventually("ours to run its slow file", lambda: lock_waiters(observer) == 1)
            assert held(observer, APP, database.name)
            assert held(observer, APP, f"/{database.name}")
            theirs = GolangMigrate(database.dsn, source).start("up", log=tmp_path / "theirs")
            try:
                eventually("golang-migrate to wait", lambda: lock_waiters(observer) == 2)
                observer.execute("SELECT pg_advisory_unlock(1)")
                assert ours.finish(20).code == 0, ours.finish().command
                assert message(theirs.finish(20)) == "no change", theirs.finish().command
            finally:
                theirs.kill()
        finally:
            ours.kill()
    assert state(database) == (((2, False),), ("1/up", "2/up"))


def test_ours_waits_for_golang_migrate_and_finds_its_work_done(database: Database, tmp_path: Path) -> None:
    reset(database, None)
    source = write_files(
        tmp_path / "source", {"1_slow.up.sql": SLOW + body("1/up"), "2_two.up.sql": body("2/up")}
    )
    with psycopg.connect(database.dsn, autocommit=True) as observer:
        observer.execute("SELECT pg_advisory_lock(1)")
        theirs = GolangMigrate(database.dsn, source).start("up", log=tmp_path / "theirs")
        try:
            eventually("golang-migrate to run its slow file", lambda: lock_waiters(observer) == 1)
            ours = Ours(database.dsn, source).start("up", log=tmp_path / "ours")
            try:
                eventually("ours to connect", lambda: clients(observer) >= 3)
                observer.execute("SELECT pg_advisory_unlock(1)")
                assert theirs.finish(20).code == 0, theirs.finish().command
                assert message(ours.finish(20)) == "no change", ours.finish().command
            finally:
                ours.kill()
        finally:
            theirs.kill()
    assert state(database) == (((2, False),), ("1/up", "2/up"))
