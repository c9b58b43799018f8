"""Files that cannot run in one transaction: how far they come, and what is said about it."""

import threading

import psycopg
import pytest

from fluxbase_migrations.core.names import Recovery
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.runner.connection.session import Settings
from tests.runner import cases
from tests.runner.track import Runner, numbered

TABLE = "CREATE TABLE a (i int, t text); INSERT INTO a SELECT g, 'x' FROM generate_series(1, 10) g"
INDEX = "CREATE INDEX CONCURRENTLY IF NOT EXISTS a_i ON a (i)"


def test_an_index_is_built_concurrently_beside_other_statements(runner: Runner) -> None:
    files = numbered(
        TABLE, f"ALTER TABLE a ADD COLUMN s text UNIQUE; {INDEX}; INSERT INTO a VALUES (11, 'y')"
    )
    result = runner.run(files)
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.exists("a_i")
    assert runner.history[-1] == ("2_file.up.sql", "applied", 3, 3)
    assert runner.row == [(2, False)]


def test_an_error_after_a_group_says_what_took_effect_and_is_resumed_there(runner: Runner) -> None:
    before = f"INSERT INTO a VALUES (11, 'once'); {INDEX}; "
    result = runner.run(numbered(TABLE, before + "SELECT nope"))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.effect == "statements 1 to 2 of 3 took effect"
    assert runner.row == [(2, True)]
    again = runner.run(numbered(TABLE, before + "INSERT INTO a VALUES (12, 'once')"))
    assert again.outcome is Outcome.APPLIED, again.error
    assert "resuming after" in (again.recovered or "")
    assert runner.query("SELECT count(*) FROM a WHERE t = 'once'") == [(2,)]
    assert runner.row == [(2, False)]


def test_a_resume_replays_the_settings_of_what_went_before(runner: Runner) -> None:
    before = "CREATE SCHEMA s; SET search_path = s; COMMIT; "
    runner.run(numbered(before + "SELECT nope"))
    result = runner.run(numbered(before + "CREATE TABLE here (i int)"))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.exists("s.here")


def test_a_setting_that_cannot_be_restored_refuses_the_resume_and_is_named(runner: Runner) -> None:
    before = (
        "CREATE TEXT SEARCH CONFIGURATION c (COPY = simple); COMMIT;"
        " SET default_text_search_config = 'public.c'; COMMIT; "
    )
    runner.run(numbered(TABLE, before + "SELECT nope"))
    entries = len(runner.history)
    runner.query("ALTER TEXT SEARCH CONFIGURATION public.c RENAME TO d")
    result = runner.run(numbered(TABLE, before + "SELECT 1"))
    assert result.outcome is Outcome.DIRTY, result.error
    assert result.error is not None
    assert "setting default_text_search_config" in (result.error.detail or "")
    assert (result.version, result.dirty) == (2, True)
    assert len(runner.history) == entries, "nothing was begun"
    runner.query("ALTER TEXT SEARCH CONFIGURATION public.d RENAME TO c")
    again = runner.run(numbered(TABLE, before + "SELECT 1"))
    assert again.outcome is Outcome.APPLIED, again.error


def test_a_prefix_that_was_edited_is_not_resumed(runner: Runner) -> None:
    runner.run(numbered(TABLE, f"INSERT INTO a VALUES (11, 'y'); {INDEX}; SELECT nope"))
    edited = numbered(TABLE, f"INSERT INTO a VALUES (12, 'z'); {INDEX}; SELECT 1")
    refused = runner.run(edited, recovery=Recovery.PROVEN)
    assert refused.outcome is Outcome.DIRTY
    assert runner.query("SELECT count(*) FROM a WHERE t = 'z'") == [(0,)]
    assert runner.run(edited).outcome is Outcome.DIRTY
    assert runner.row == [(2, True)]
    asked = runner.run(edited, requested=True)
    assert asked.outcome is Outcome.APPLIED, asked.error


def test_a_failed_unique_build_leaves_no_invalid_index(runner: Runner) -> None:
    result = runner.run(numbered(TABLE, "CREATE UNIQUE INDEX CONCURRENTLY a_t ON a (t)"))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.sql_state == "23505"
    assert runner.query("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == [(0,)]
    assert not runner.exists("a_t")
    fixed = runner.run(
        numbered(TABLE, "DELETE FROM a WHERE i > 1; CREATE UNIQUE INDEX CONCURRENTLY a_t ON a (t)")
    )
    assert fixed.outcome is Outcome.APPLIED, fixed.error


def test_an_invalid_index_that_somebody_left_is_not_skipped_in_silence(runner: Runner) -> None:
    _leave_invalid_index(runner)
    assert runner.run(numbered(TABLE, INDEX)).outcome is Outcome.APPLIED
    assert runner.query(INDEX_STATE) == [(True, False)]


def test_the_ddl_lock_timeout_does_not_keep_an_invalid_index(runner: Runner) -> None:
    _leave_invalid_index(runner)
    runner.settings = Settings(ddl_lock_timeout=0.2, connect_patience=5.0)
    with psycopg.connect(runner.database.dsn) as reader:
        reader.execute("SELECT * FROM a")
        threading.Timer(1.0, reader.rollback).start()  # until then the index cannot be dropped
        assert runner.run(numbered(TABLE, INDEX)).outcome is Outcome.APPLIED
    assert runner.query(INDEX_STATE) == [(True, False)]


def test_an_invalid_index_that_cannot_be_dropped_is_not_taken_for_the_one_asked_for(runner: Runner) -> None:
    _leave_invalid_index(runner)
    patient = runner.settings
    runner.settings = Settings(statement_timeout=0.5, connect_patience=5.0)
    with psycopg.connect(runner.database.dsn) as reader:
        reader.execute("SELECT * FROM a")
        refused = runner.run(numbered(TABLE, INDEX))
    assert refused.outcome is Outcome.UNPROVEN
    assert refused.error is not None
    assert "the invalid index public.a_i blocks the new one" in refused.error.message
    assert runner.row == [(2, True)]
    runner.settings = patient
    assert runner.run(numbered(TABLE, INDEX), requested=True).outcome is Outcome.APPLIED
    assert runner.query(INDEX_STATE) == [(True, False)]


INDEX_STATE = "SELECT indisvalid, indisunique FROM pg_index WHERE indexrelid = 'a_i'::regclass"


def _leave_invalid_index(runner: Runner) -> None:
    """The table of the first file, and what a build by hand that failed left on it."""
    runner.run(numbered(TABLE))
    with (
        psycopg.connect(runner.database.dsn, autocommit=True) as connection,
        pytest.raises(psycopg.errors.UniqueViolation),
    ):
        connection.execute("CREATE UNIQUE INDEX CONCURRENTLY a_i ON a (t)")
    assert runner.exists("a_i")


DO_COMMITS = "DO $$ BEGIN INSERT INTO a VALUES (12, 'y'); COMMIT; END $$"
PROCEDURE = "CREATE PROCEDURE c() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$"
ENUM = "CREATE TYPE m AS ENUM ('p')"
USE = "ALTER TYPE m ADD VALUE 'q'; INSERT INTO a VALUES (11, 'q'::m::text)"
ONE = "INSERT INTO a VALUES (11, 'y')"


@pytest.mark.parametrize(
    "body",
    [
        f"{ONE}; {DO_COMMITS}; INSERT INTO a VALUES (13, 'y')",
        f"{ENUM}; {USE}",
        f"{ENUM}; COMMIT; {USE}",
        f"CREATE TABLE p (i int PRIMARY KEY) PARTITION BY LIST (i); {ONE}; REINDEX TABLE p",
        f"{ONE}; VACUUM a; ANALYZE a",
        f"{PROCEDURE}; CALL c(); CALL c(); {ONE}",
    ],
    ids=[
        "DO that commits",
        "enum value used",
        "enum value committed",
        "REINDEX partitioned",
        "VACUUM",
        "CALL twice",
    ],
)
def test_postgresql_has_the_last_word_on_what_is_transactional(runner: Runner, body: str) -> None:
    result = runner.run(numbered(TABLE, body))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.row == [(2, False)]
    assert runner.query("SELECT count(*) FROM a WHERE i = 11") == [(1,)]


def test_a_files_own_transactions_are_kept_apart(runner: Runner) -> None:
    body = f"BEGIN; {ONE}; COMMIT; BEGIN; INSERT INTO a VALUES (12, 'y'); SELECT 1/0; COMMIT"
    result = runner.run(numbered(TABLE, body))
    assert result.outcome is Outcome.SQL_ERROR
    assert runner.query("SELECT i FROM a WHERE i > 10") == [(11,)]
    assert result.error is not None
    assert "3 of 7 took effect" in (result.error.effect or "")


def test_a_rollback_in_the_file_undoes_what_it_says(runner: Runner) -> None:
    body = "INSERT INTO a VALUES (11, 'y'); ROLLBACK; INSERT INTO a VALUES (12, 'y')"
    assert runner.run(numbered(TABLE, body)).outcome is Outcome.APPLIED
    assert runner.query("SELECT i FROM a WHERE i > 10") == [(12,)]


def test_a_statement_refused_in_the_files_own_transaction_is_its_error(runner: Runner) -> None:
    result = runner.run(numbered(TABLE, f"BEGIN; {INDEX}; COMMIT"))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.sql_state == "25001"


def test_a_role_set_in_a_group_does_not_keep_us_from_recording(runner: Runner) -> None:
    body = "SET ROLE pg_database_owner; SELECT 1; COMMIT; SELECT 2; VACUUM; SELECT 3"
    result = runner.run(numbered(TABLE, body))
    assert result.outcome is Outcome.APPLIED, result.error


def test_the_ddl_lock_timeout_does_not_stop_a_concurrent_build(runner: Runner) -> None:
    runner.run(numbered(TABLE))
    runner.settings = Settings(ddl_lock_timeout=0.2, connect_patience=5.0)
    with psycopg.connect(runner.database.dsn) as reader:
        reader.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        reader.execute("SELECT * FROM a")
        refused = runner.run(numbered(TABLE, "ALTER TABLE a ADD COLUMN z int"))
        assert refused.outcome is Outcome.TRANSIENT
        assert refused.error is not None
        assert refused.error.sql_state == "55P03"
        assert runner.row == [(1, False)]
        threading.Timer(1.0, reader.rollback).start()  # until then the build waits for this snapshot
        assert runner.run(numbered(TABLE, INDEX)).outcome is Outcome.APPLIED


def test_a_file_that_drops_our_tables_in_a_group_applies(runner: Runner) -> None:
    result = runner.run(cases.files("groups/drops-schema"))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.row == [(1, False)]
    assert runner.history == [("001_a.up.sql", "applied", 3, 3)]
    assert runner.exists("a")


def test_a_statement_that_drops_our_tables_outside_a_transaction_applies(runner: Runner) -> None:
    drops = "DO $$ BEGIN DROP SCHEMA migrations CASCADE; COMMIT; INSERT INTO a VALUES (11, 'y'); END $$"
    result = runner.run(numbered(TABLE, f"{drops}; INSERT INTO a VALUES (12, 'y')"))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.row == [(2, False)]
    assert runner.query("SELECT i FROM a WHERE i > 10 ORDER BY i") == [(11,), (12,)]


def test_a_file_that_empties_the_history_is_noticed(runner: Runner) -> None:
    files = cases.files("groups/empties-history")
    result = runner.run(files)
    assert result.outcome is Outcome.UNPROVEN, result.error
    assert result.error is not None
    assert "migrations.history was modified by the file" in result.error.message
    assert result.error.effect == "statements 1 to 2 of 6 took effect"
    assert runner.row == [(1, True)]
    assert not runner.exists("b")
    assert runner.run(files).outcome is not Outcome.APPLIED
    assert not runner.exists("b")


EDITS = {
    "history emptied": "DELETE FROM migrations.history",
    "row deleted": "DELETE FROM migrations.app",
    "row written": "UPDATE migrations.app SET dirty = false",
    "row added": "INSERT INTO migrations.app VALUES (77, true)",
}


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_file_that_edits_what_it_is_recorded_in_is_noticed(runner: Runner, edit: str) -> None:
    result = runner.run(numbered(TABLE, f"VACUUM a; INSERT INTO a VALUES (11, 'y'); {edit}; VACUUM a"))
    assert result.outcome is Outcome.UNPROVEN, result.error
    assert (result.version, result.dirty) == (2, True)
    assert runner.query("SELECT count(*) FROM a WHERE i = 11") == [(0,)], "its transaction is rolled back"


@pytest.mark.parametrize("edit", EDITS.values(), ids=EDITS)
def test_a_statement_outside_a_transaction_that_edits_it_is_not_run_again(runner: Runner, edit: str) -> None:
    body = f"DO $$ BEGIN INSERT INTO a VALUES (11, 'y'); {edit}; COMMIT; END $$; VACUUM a"
    result = runner.run(numbered(TABLE, body))
    assert result.outcome is Outcome.UNPROVEN, result.error
    assert runner.row == [(2, True)]
    again = runner.run(numbered(TABLE, body))
    assert again.outcome not in (Outcome.APPLIED, Outcome.NO_CHANGE)
    assert runner.query("SELECT count(*) FROM a WHERE i = 11") == [(1,)]


def test_a_files_own_lock_timeout_is_said_not_to_count_for_concurrently(runner: Runner) -> None:
    runner.run(numbered(TABLE, f"SET lock_timeout = '3s'; {INDEX}; SELECT 1"))
    said = [line for line in runner.lines if "lock_timeout" in line]
    assert len(said) == 1
    assert "2 of 3, CREATE INDEX" in said[0]
    runner.run(numbered(TABLE, "SELECT 1", "DROP INDEX CONCURRENTLY a_i"))
    assert [line for line in runner.lines if "lock_timeout" in line] == said


COMMITTING = """
CREATE TABLE t (i int);
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN INSERT INTO t VALUES (1); COMMIT; RETURN 1; END $$;
CREATE SEQUENCE s;
CREATE FUNCTION g() RETURNS int LANGUAGE plpgsql AS $$
    BEGIN
        IF nextval('s') = 1 THEN RAISE 'outside a transaction, please' USING ERRCODE = '25001'; END IF;
        RAISE 'no';
    END $$"""


def test_a_commit_in_a_function_is_refused_everywhere_and_costs_nothing(runner: Runner) -> None:
    files = numbered(COMMITTING, "INSERT INTO t VALUES (0); SELECT f()")
    result = runner.run(files)
    assert (result.outcome, result.version) == (Outcome.SQL_ERROR, 2)
    assert result.error is not None
    assert (result.error.sql_state, result.error.effect) == ("2D000", "rolled back, nothing changed")
    assert runner.query("TABLE t") == []


@pytest.mark.parametrize("call", ["SELECT g()", "INSERT INTO t SELECT g()", "WITH q AS (SELECT g()) TABLE q"])
def test_a_query_that_fails_by_itself_has_left_nothing(runner: Runner, call: str) -> None:
    files = numbered(COMMITTING, f"INSERT INTO t VALUES (0); {call}")
    result = runner.run(files)
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert result.error.effect == "statement 1 of 2 took effect"


@pytest.mark.parametrize(
    "before",
    ["", "SET lock_timeout = '5s'; ", "SELECT 1; ", "BEGIN; ", "SELECT 1; COMMIT AND CHAIN; "],
    ids=["at once", "behind a SET", "behind a query", "inside another", "inside a chained one"],
)
def test_the_modes_of_a_files_transaction_hold(runner: Runner, before: str) -> None:
    name = "current_setting('transaction_isolation') || current_setting('transaction_read_only')"
    runner.query("CREATE TABLE t (t text)")
    body = f"{before}BEGIN ISOLATION LEVEL SERIALIZABLE; INSERT INTO t SELECT {name}; COMMIT"
    result = runner.run(numbered(body))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.query("TABLE t") == [("serializableoff",)]
    result = runner.run(numbered(body, f"{before}BEGIN READ ONLY; INSERT INTO t VALUES ('no'); COMMIT"))
    assert result.error is not None
    assert result.error.sql_state == "25006"


def test_modes_that_come_too_late_refuse_the_file(runner: Runner) -> None:
    result = runner.run(numbered("BEGIN;\nSELECT 1;\nBEGIN READ ONLY;\nSELECT 2; COMMIT"))
    assert result.outcome is Outcome.INVALID_SOURCE
    assert result.error is not None
    assert (result.error.line, result.error.statement) == (3, "3 of 5, BEGIN")
