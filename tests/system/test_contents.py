"""What each version makes is written down as it is, and what a database lacks of it is named."""

import os
import subprocess
from collections.abc import Iterator
from typing import LiteralString

import pytest

from dev.postgres_server import start_server
from fluxbase_migrations.runner.commands.platform import missing
from fluxbase_migrations.system import contents, roles_sql
from tests.support.databases import Database, create_database, create_login
from tests.system.contents import PAGE, contents_text, observe, versions, with_privileges
from tests.system.track import LATEST, Connection, connect, migrate, run_example

RESTORE_VERSION = 15  # of which Debian's pg_dump and pg_restore are there


@pytest.fixture(scope="module")
def standing_connection(standing: Database) -> Iterator[Connection]:
    with connect(standing.dsn) as connection:
        yield connection


def test_the_written_contents_and_the_table_in_the_docs_are_the_catalogs(database: Database) -> None:
    made = versions(database)
    renew = "renew with: python -m tests.system.contents"
    if database.server.version < 15:  # has no views
        session = observe(database)
        assert missing(session, LATEST) == []
        session.close()
        assert {fact for _, fact in contents()} > {fact for _, fact in made}
        return
    assert contents_text(made) == contents_text(contents()), renew
    page = PAGE.read_text()
    assert with_privileges(page, made) == page, renew


@pytest.mark.parametrize(
    ("damage", "lacks"),
    [
        ("SELECT 1", []),
        (
            'DROP POLICY "Users can read themselves" ON auth.app_users',
            ['policy "Users can read themselves" of auth.app_users for authenticated'],
        ),
        ("REVOKE SELECT ON auth.sessions FROM authenticated", ["SELECT on auth.sessions for authenticated"]),
        (
            "REVOKE UPDATE (display_name) ON auth.app_users FROM authenticated",
            ["UPDATE (display_name) on auth.app_users for authenticated"],
        ),
        ("DROP FUNCTION webhooks.retry(uuid)", ["EXECUTE on webhooks.retry(uuid) for service_role"]),
        (
            "ALTER TABLE auth.sessions DISABLE ROW LEVEL SECURITY",
            ["row-level security of auth.sessions"],
        ),
        (
            "ALTER TABLE storage.objects DISABLE TRIGGER check_object",
            ["trigger check_object of storage.objects"],
        ),
        (
            "ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE DELETE ON TABLES FROM authenticated",
            ["DELETE on new tables in public for authenticated"],
        ),
        (
            "CREATE TABLE public.more (id int);"
            "CREATE FUNCTION auth.more() RETURNS int LANGUAGE sql AS 'SELECT 1'",
            [],
        ),
    ],
)
def test_what_is_not_there_is_named(
    standing: Database, standing_connection: Connection, damage: LiteralString, lacks: list[str]
) -> None:
    with standing_connection.transaction(force_rollback=True):
        standing_connection.execute(damage)
        session = observe(standing, standing_connection)
        named = missing(session, LATEST)
    assert [fact for fact in named if not fact.startswith("function")] == lacks


def test_only_the_recorded_version_is_asked_for(standing: Database, standing_connection: Connection) -> None:
    with standing_connection.transaction(force_rollback=True):
        standing_connection.execute("DROP TABLE functions.invocations")
        session = observe(standing, standing_connection)
        assert missing(session, LATEST - 1) == []
        assert "table functions.invocations" in missing(session, LATEST)


def program(name: str, *arguments: str, check: bool = True) -> None:
    path = f"/usr/lib/postgresql/{RESTORE_VERSION}/bin/{name}"
    environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
    subprocess.run([path, *arguments], check=check, capture_output=True, env=environment)


@pytest.mark.clients
@pytest.mark.parametrize("roles_first", [False, True], ids=["without roles", "with roles"])
def test_a_dump_restored_on_another_server_is_complete_only_with_roles(
    tmp_path_factory: pytest.TempPathFactory, roles_first: bool
) -> None:
    """As docs/restore.md has it."""
    dump = str(tmp_path_factory.mktemp("dump") / "shop.dump")
    with start_server(RESTORE_VERSION) as one, start_server(RESTORE_VERSION) as two:
        source = Database(one.endpoint, "shop", "shop", "secret")
        target = Database(two.endpoint, "shop", "shop", "secret")
        for database in (source, target):
            create_login(database.server, database.user, database.password, "NOCREATEROLE")
            create_database(database.server, database.name, database.user)
        with connect(source.server.dsn()) as administrator:
            administrator.execute(roles_sql().encode())
        migrate(source.dsn)
        with connect(source.dsn) as connection:
            run_example(connection, "migrations/001_create_products_table.up.sql")
        program("pg_dump", "--format=custom", f"--file={dump}", f"--dbname={source.dsn}")

        if roles_first:
            with connect(target.server.dsn()) as administrator:
                administrator.execute(roles_sql().encode())
        program("pg_restore", f"--dbname={target.dsn}", dump, check=roles_first)
        session = observe(target)
        lacks = missing(session, LATEST)
        policies = session.query("SELECT count(*) FROM pg_policies WHERE schemaname <> 'public'")
        session.close()
    if roles_first:
        assert lacks == []
    else:
        assert policies == [(0,)]
        assert lacks[:1] == ["DELETE on new tables in public for authenticated"]
        assert 'policy "Users can read themselves" of auth.app_users for authenticated' in lacks
        assert "role anon" in lacks
