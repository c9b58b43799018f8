"""Which database a run was on."""

import threading
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.runner.commands.track_run import RunRequest, run_track
from fluxbase_migrations.runner.connection.signals import Stop
from tests.runner.track import Runner, numbered, source
from tests.support.databases import Database, administer, drop_database

FILES = numbered("CREATE TABLE a (i int);")


def seen(result: Result) -> DatabaseIdentity:
    assert result.database is not None
    return result.database


def test_a_run_tells_which_database_it_was_on(database: Database) -> None:
    runner = Runner(database)
    first = seen(runner.run(FILES))
    with psycopg.connect(database.admin_dsn) as admin:
        row = admin.execute(
            "SELECT d.datname, s.system_identifier::text, d.oid FROM pg_database d, pg_control_system() s"
            " WHERE d.datname = current_database()"
        ).fetchone()
    assert row == (first.name, first.system_identifier, first.oid)
    assert first.history_id is not None
    assert seen(runner.run(FILES)) == first
    failed = runner.run(FILES | {"2_file.up.sql": "SELECT 1 / 0;"})
    assert (failed.outcome, seen(failed)) == (Outcome.SQL_ERROR, first)
    again = Result.from_json(runner.run(FILES).to_json())
    assert seen(again) == first


def test_an_empty_source_tells_it_without_writing_anything(database: Database) -> None:
    runner = Runner(database)
    result = runner.run({})
    assert (seen(result).name, seen(result).history_id) == (database.name, None)
    assert not runner.exists("migrations.history")


@pytest.mark.parametrize("tracks", [(Track.USER, Track.USER), (Track.SYSTEM, Track.USER)])
def test_first_runs_at_once_agree_on_one_id(database: Database, tracks: tuple[Track, ...]) -> None:
    results: list[Result] = []

    def run(track: Track) -> None:
        results.append(Runner(database).run(FILES, track=track))

    threads = [threading.Thread(target=run, args=(track,)) for track in tracks * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({seen(result).history_id for result in results}) == 1
    assert Runner(database).query("SELECT count(*) FROM migrations.history WHERE kind = 'identity'") == [(1,)]


def test_a_type_in_the_histories_place_is_not_taken_for_it(database: Database) -> None:
    """A table that somebody else makes at the same time shows as its row type, too."""
    runner = Runner(database)
    runner.query("CREATE SCHEMA migrations; CREATE TYPE migrations.history AS ENUM ()")
    result = runner.run(FILES)
    assert not result.outcome.succeeded
    assert result.error is not None
    assert 'type "history" already exists' in result.error.message


def test_a_copy_is_another_database_though_it_has_the_same_history(database: Database) -> None:
    original = seen(Runner(database).run(FILES))
    copy = Database(database.server, f"{database.name}_copy", database.user, database.password)
    names = sql.Identifier(copy.name), sql.Identifier(database.name), sql.Identifier(database.user)
    administer(database.server, sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))
    try:
        copied = seen(Runner(copy).run(FILES))
    finally:
        drop_database(database.server, copy.name)
    assert copied.history_id == original.history_id
    assert differs(original, copied)


def test_a_role_that_may_not_read_the_server_s_identifier_tells_the_rest(database: Database) -> None:
    revoke, grant = (
        sql.SQL(f"{text} EXECUTE ON FUNCTION pg_catalog.pg_control_system() {whom} PUBLIC")
        for text, whom in (("REVOKE", "FROM"), ("GRANT", "TO"))
    )
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute(revoke)
        try:
            result = Runner(database).run(FILES)
        finally:
            admin.execute(grant)
    assert result.outcome is Outcome.APPLIED
    assert seen(result).system_identifier is None
    assert seen(result).history_id is not None
    assert seen(result).oid is not None


REFUSALS = {
    "not supported": "RAISE feature_not_supported USING MESSAGE = 'not supported on this service'",
    "internal": "RAISE internal_error USING MESSAGE = 'could not open the control file'",
    "no such function": None,
}
"""What a server may say instead of its identifier, as the body of a function; None: it has none."""


@pytest.mark.parametrize("body", REFUSALS.values(), ids=REFUSALS.keys())
def test_a_server_that_does_not_tell_its_identifier_in_its_own_words_is_taken_all_the_same(
    database: Database, body: str | None
) -> None:
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        # In this database only.
        admin.execute("ALTER FUNCTION pg_catalog.pg_control_system() RENAME TO was_control_system")
        if body is not None:
            admin.execute("SET allow_system_table_mods = on")
            admin.execute(
                sql.SQL(
                    "CREATE FUNCTION pg_catalog.pg_control_system(OUT system_identifier bigint)"
                    " LANGUAGE plpgsql AS {}"
                ).format(sql.Literal(f"BEGIN {body}; END"))
            )
    runner = Runner(database)
    for outcome in (Outcome.APPLIED, Outcome.NO_CHANGE):
        result = runner.run(FILES)
        assert result.outcome is outcome
        assert seen(result).system_identifier is None
        assert seen(result).history_id is not None
        assert seen(result).oid is not None


def test_nothing_is_touched_in_another_database_than_the_system_track_s(database: Database) -> None:
    runner = Runner(database)
    here = seen(runner.run({}))
    for other in (replace(here, oid=1), replace(here, system_identifier="1")):
        result = runner.run(FILES, expected_database=other)
        assert (result.outcome, seen(result).oid) == (Outcome.DATABASE_CHANGED, here.oid)
        assert not runner.exists("a")
        assert not runner.exists("migrations.app")
    assert runner.run(FILES, expected_database=replace(here, name="renamed")).outcome is Outcome.APPLIED


def test_a_run_does_not_go_on_in_another_database_after_a_lost_connection(database: Database) -> None:
    """A name that leads elsewhere by then: what was read and applied before is not true there."""
    runner = Runner(database)
    copy = Database(database.server, f"{database.name}_copy", database.user, database.password)
    names = sql.Identifier(copy.name), sql.Identifier(database.name), sql.Identifier(database.user)
    here = seen(runner.run(FILES))
    administer(database.server, sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}").format(*names))
    sessions = iter([runner.setup.connect(), Runner(copy).setup.connect()])
    files = {**FILES, "9_lost.up.sql": "SELECT pg_terminate_backend(pg_backend_pid())"}
    try:
        result = run_track(
            RunRequest(Track.USER, lock_timeout=5.0),
            source(files),
            lambda: next(sessions),
            runner.log,
            Stop(),
        )
    finally:
        next(sessions, None)
        drop_database(database.server, copy.name)
    assert result.outcome is Outcome.TRANSIENT
    assert result.error is not None
    assert "another one than the run was planned for" in (result.error.effect or "")
    assert result.database == here
    assert not result.observed
