"""The files are complete, and down undoes what up did."""

import re

import psycopg
import pytest

from fluxbase_migrations.system import files
from tests.support.databases import Database
from tests.system.catalog import picture
from tests.system.conftest import roles
from tests.system.track import EXAMPLES, LATEST, apply, connect, down, migrate, roll_back, run_example, up

TABLES = {
    "auth.setup_changes",
    "auth.one_time_tokens",
    "auth.mfa_factors",
    "auth.api_keys",
    "auth.audit_log",
    "functions.secrets",
    "auth.app_users",
    "auth.password_credentials",
    "auth.sessions",
    "auth.refresh_tokens",
    "auth.oauth_providers",
    "auth.oauth_client_secrets",
    "auth.oauth_identities",
    "auth.oauth_tokens",
    "auth.oauth_flows",
    "webhooks.endpoints",
    "webhooks.signing_secrets",
    "webhooks.subscriptions",
    "webhooks.deliveries",
    "storage.buckets",
    "storage.objects",
    "jobs.schedules",
    "jobs.jobs",
    "functions.functions",
    "functions.versions",
    "functions.invocations",
}


def test_there_are_six_versions_each_with_an_up_and_a_down_file() -> None:
    names = [re.sub(r"(?<=[0-9]{3})_[a-z_]+\.", ".", name) for name in files()]
    expected = [
        f"{version:03}.{direction}.sql" for version in range(1, LATEST + 1) for direction in ("down", "up")
    ]
    assert names == expected


def test_files_are_ascii_and_end_with_a_newline() -> None:
    for name, content in files().items():
        assert content.isascii(), name
        assert content.endswith(b"\n"), name
        assert b"\r" not in content, name
        assert not content.endswith(b"\n\n"), name


def test_each_down_restores_exactly_what_its_up_found(database: Database) -> None:
    with connect(database.dsn) as connection:
        for version in range(1, LATEST + 1):
            before = picture(connection)
            apply(connection, version, "up")
            after = picture(connection)
            assert after != before
            apply(connection, version, "down")
            assert picture(connection) == before, f"version {version}"
            apply(connection, version, "up")
            assert picture(connection) == after, f"version {version}"


def test_down_to_nothing_and_up_again(database: Database) -> None:
    with connect(database.dsn) as connection:
        empty = picture(connection)
        up(connection)
        full = picture(connection)
        down(connection)
        assert picture(connection) == empty
        assert roles(database.server) == set()
        up(connection)
        assert picture(connection) == full


def test_every_table_has_a_comment_row_level_security_and_indexed_foreign_keys(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        tables = connection.execute(
            "SELECT c.oid::regclass::text, c.relrowsecurity, obj_description(c.oid, 'pg_class') IS NOT NULL"
            " FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace"
            " WHERE c.relkind = 'r' AND nspname IN ('auth', 'webhooks', 'storage', 'jobs', 'functions')"
        ).fetchall()
        assert {name for name, _, _ in tables} == TABLES
        assert [name for name, secured, commented in tables if not (secured and commented)] == []
        unindexed = connection.execute(
            "SELECT conrelid::regclass::text, conname FROM pg_constraint AS k"
            " WHERE contype = 'f' AND NOT EXISTS ("
            " SELECT FROM pg_index AS i WHERE i.indrelid = k.conrelid AND i.indpred IS NULL"
            " AND (i.indkey::int2[])[0:cardinality(k.conkey) - 1] = k.conkey)"
        ).fetchall()
        assert unindexed == []


def test_the_docs_name_every_table() -> None:
    documented = (EXAMPLES.parents[1] / "docs" / "system-migrations.md").read_text()
    assert [table for table in TABLES if f"`{table.partition('.')[2]}`" not in documented] == []


def test_definer_functions_have_a_pinned_search_path_and_are_not_everybodys(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        definers = connection.execute(
            "SELECT p.oid::regprocedure::text, proconfig, has_function_privilege('public', p.oid, 'EXECUTE')"
            " FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace"
            " WHERE prosecdef AND nspname !~ '^pg_'"
        ).fetchall()
    assert {(name, tuple(settings), public) for name, settings, public in definers} == {
        ("webhooks.capture()", ("search_path=pg_catalog, pg_temp",), False),
        ("webhooks.purge(interval,integer)", ("search_path=pg_catalog, pg_temp",), False),
        ("storage.is_public(text)", ("search_path=pg_catalog, pg_temp",), False),
        ("storage.check_object()", ("search_path=pg_catalog, pg_temp",), False),
    }


def test_a_failing_file_leaves_nothing(database: Database) -> None:
    with connect(database.dsn) as connection:
        connection.execute("CREATE SCHEMA webhooks")
        up(connection, to=3)
        before = picture(connection)
        with pytest.raises(psycopg.errors.DuplicateSchema):
            apply(connection, 4, "up")
        assert picture(connection) == before


def test_down_refuses_to_take_the_applications_tables_apart(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        run_example(connection, "migrations/001_create_products_table.up.sql")
        run_example(connection, "migrations/002_create_orders_table.up.sql")
        for version in range(LATEST, 1, -1):
            apply(connection, version, "down")
        before = picture(connection)
        with pytest.raises(psycopg.errors.DependentObjectsStillExist):
            apply(connection, 1, "down")
        assert picture(connection) == before


def test_the_seeds_down_files_free_the_system_track(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        for name in ("001_create_products_table", "002_create_orders_table"):
            run_example(connection, f"migrations/{name}.up.sql")
        for name in ("002_create_orders_table", "001_create_products_table"):
            run_example(connection, f"migrations/{name}.down.sql")
    roll_back(platform.dsn)
    assert roles(platform.server) == set()


def test_a_default_transaction_isolation_of_serializable_changes_nothing(database: Database) -> None:
    serializable = database.server.dsn(
        database.name,
        database.user,
        database.password,
        options="-c default_transaction_isolation=serializable",
    )
    migrate(serializable)
    roll_back(serializable)
    assert roles(database.server) == set()
