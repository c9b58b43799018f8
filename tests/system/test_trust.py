"""Neighbours on a server, roles of every bad kind, what was there before: no superuser migrates here."""

import os
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from dev.postgres_server import Endpoint
from fluxbase_migrations.system import roles_sql
from tests.support.databases import (
    PLATFORM_ROLES,
    Database,
    administer,
    create_login,
    drop_platform_roles,
    drop_role,
    fresh_database,
)
from tests.system.catalog import picture
from tests.system.gateway import ADA, rows
from tests.system.track import Connection, connect, migrate, roll_back

READ_HASHES = "SELECT * FROM auth.password_credentials"


@pytest.fixture
def neighbour(postgres: Endpoint) -> Iterator[Database]:
    """Another tenant: a database and a login on the same server."""
    with fresh_database(postgres) as made:
        yield made


@contextmanager
def login(server: Endpoint, database: str, name: str = "") -> Iterator[Database]:
    """A login that owns nothing, seen from a database."""
    made = Database(server, database, name or f"test_app_{secrets.token_hex(6)}", secrets.token_hex(8))
    create_login(server, made.user, made.password, "NOCREATEROLE")
    yield made
    with connect(made.admin_dsn) as connection:
        connection.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(made.user)))
    drop_role(server, made.user)


def let_in(owner: Database, guest: Database) -> None:
    with connect(owner.dsn) as connection:
        grant = sql.SQL("GRANT CONNECT ON DATABASE {} TO {}")
        connection.execute(grant.format(sql.Identifier(owner.name), sql.Identifier(guest.user)))


def administrator_makes_roles(server: Endpoint, app: str | None = None) -> None:
    with connect(server.dsn()) as connection:
        connection.execute(roles_sql(app).encode())


def without_createrole(database: Database) -> None:
    administer(database.server, sql.SQL("ALTER ROLE {} NOCREATEROLE").format(sql.Identifier(database.user)))


# --- Neighbours


def test_a_neighbours_login_cannot_connect(database: Database, neighbour: Database) -> None:
    migrate(database.dsn)
    migrate(neighbour.dsn)
    intruder = replace(neighbour, name=database.name)
    with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
        connect(intruder.dsn)


def test_a_makers_membership_gives_no_rights_until_it_is_taken_on(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        inherits = connection.execute("SELECT pg_has_role('service_role', 'USAGE')").fetchall()
    assert inherits == [(platform.server.version < 16,)]


def test_with_roles_of_an_administrator_the_login_needs_no_createrole_and_gets_no_membership(
    database: Database,
) -> None:
    without_createrole(database)
    administrator_makes_roles(database.server)
    migrate(database.dsn)
    with connect(database.dsn) as connection:
        assert connection.execute("SELECT pg_has_role('service_role', 'MEMBER')").fetchall() == [(False,)]
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied to set role"):
            connection.execute("SET ROLE service_role")


def test_the_applications_login_has_a_roles_rights_only_while_it_takes_it_on(
    database: Database, neighbour: Database
) -> None:
    name = f'it\'s a {secrets.token_hex(4)} $$ \\ "login"'
    with login(database.server, database.name, name) as app:
        without_createrole(database)
        administrator_makes_roles(database.server, app.user)
        administrator_makes_roles(database.server, app.user)
        migrate(database.dsn)
        migrate(neighbour.dsn)
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(app.dsn)
        let_in(database, app)
        with connect(app.dsn) as connection:
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(READ_HASHES)
            assert rows(connection, "SELECT FROM auth.password_credentials", "service_role") == []
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                rows(connection, "SELECT FROM auth.password_credentials", "authenticated", sub=ADA)
            assert rows(connection, "SELECT FROM auth.app_users", "authenticated", sub=ADA) == []
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            connect(replace(app, name=neighbour.name).dsn)


def test_roles_that_an_administrator_takes_over_are_no_longer_dropped(platform: Database) -> None:
    administrator_makes_roles(platform.server)
    roll_back(platform.dsn)
    with connect(platform.admin_dsn) as connection:
        assert connection.execute(
            "SELECT rolbypassrls FROM pg_roles WHERE rolname = 'service_role'"
        ).fetchall()


def test_the_runner_says_the_statement_for_an_administrator(database: Database) -> None:
    program = str(Path(sys.executable).with_name("fluxbase-migrate"))
    done = subprocess.run(
        [program, "up", "--track", "system"],
        env={"PATH": os.environ["PATH"], "DATABASE_URL": database.dsn},
        capture_output=True,
        text=True,
        check=True,
    )
    statement = f"GRANT CONNECT ON DATABASE {database.name} TO name"
    (line,) = [line for line in done.stdout.splitlines() if "is revoked from PUBLIC" in line]
    assert statement in line


# --- Roles that were there before

BAD_ATTRIBUTES = ["SUPERUSER", "LOGIN", "CREATEROLE", "CREATEDB", "REPLICATION", "BYPASSRLS"]


@pytest.fixture
def premade(database: Database) -> Database:
    for name in PLATFORM_ROLES:
        administer(database.server, sql.SQL("CREATE ROLE {} NOLOGIN NOINHERIT").format(sql.Identifier(name)))
    without_createrole(database)
    return database


@pytest.mark.parametrize("attribute", BAD_ATTRIBUTES)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_role_of_requests_that_could_do_more_is_refused(
    premade: Database, role: str, attribute: str
) -> None:
    change = sql.SQL("ALTER ROLE {} {}").format(sql.Identifier(role), sql.SQL(attribute))
    administer(premade.server, change)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState) as caught:
        migrate(premade.dsn)
    message = f'role "{role}" exists with rights that no request may have: {attribute}'
    assert caught.value.diag.message_primary == message
    with connect(premade.admin_dsn) as connection:
        assert connection.execute("SELECT to_regnamespace('auth')").fetchall() == [(None,)]


@pytest.mark.parametrize("attribute", [name for name in BAD_ATTRIBUTES if name != "BYPASSRLS"])
def test_a_service_role_that_could_do_more_is_said(premade: Database, attribute: str) -> None:
    change = sql.SQL("ALTER ROLE service_role {}").format(sql.SQL(attribute))
    administer(premade.server, change)
    message = f'WARNING: role "service_role" exists with more rights than it needs: {attribute}'
    assert message in migrate(premade.dsn).messages


def test_a_service_role_that_bypasses_policies_is_as_it_should_be(premade: Database) -> None:
    administer(premade.server, sql.SQL("ALTER ROLE service_role BYPASSRLS"))
    assert [message for message in migrate(premade.dsn).messages if "WARNING" in message] == []


@pytest.mark.parametrize("group", ["service_role", "pg_read_all_data"])
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_role_of_requests_that_is_a_member_of_a_mightier_one_is_refused(
    premade: Database, role: str, group: str
) -> None:
    change = sql.SQL("GRANT {} TO {}").format(sql.Identifier(group), sql.Identifier(role))
    administer(premade.server, change)
    with pytest.raises(psycopg.errors.ObjectNotInPrerequisiteState, match=f'membership of "{group}"'):
        migrate(premade.dsn)


# --- Schema public


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_users_cannot_put_functions_of_their_own_into_public(database: Database, role: str) -> None:
    administer(database.server, sql.SQL("GRANT CREATE ON SCHEMA public TO PUBLIC"), database.name)
    migrate(database.dsn)
    with connect(database.dsn) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied for schema public"):
            connection.execute("CREATE FUNCTION public.lower(text) RETURNS text LANGUAGE sql AS 'SELECT $1'")


def test_a_public_that_is_open_and_not_ours_to_close_is_refused(database: Database) -> None:
    administer(database.server, sql.SQL("ALTER SCHEMA public OWNER TO postgres"), database.name)
    administer(database.server, sql.SQL("GRANT CREATE ON SCHEMA public TO PUBLIC"), database.name)
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        migrate(database.dsn)
    assert caught.value.diag.message_primary == (
        f'everybody may create objects in schema "public", and "{database.user}" may not revoke that'
    )
    assert f"ALTER SCHEMA public OWNER TO {database.user}" in (caught.value.diag.message_hint or "")


@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_a_role_of_requests_that_may_create_in_public_is_refused(premade: Database, role: str) -> None:
    grant = sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(role))
    administer(premade.server, grant, premade.name)
    with pytest.raises(
        psycopg.errors.ObjectNotInPrerequisiteState,
        match=f'role "{role}" may create objects in schema "public"',
    ):
        migrate(premade.dsn)


def test_a_database_without_public_is_refused_by_name(database: Database) -> None:
    administer(database.server, sql.SQL("DROP SCHEMA public"), database.name)
    with pytest.raises(psycopg.errors.InvalidSchemaName, match='schema "public" does not exist in database'):
        migrate(database.dsn)


# --- Who is calling


def test_nobody_is_admin_for_what_the_login_is_called(database: Database) -> None:
    """A definer function's current_user is its owner."""
    rename = sql.SQL("ALTER ROLE {} RENAME TO admin").format(sql.Identifier(database.user))
    administer(database.server, rename)
    admin = replace(database, user="admin")
    password = sql.SQL("ALTER ROLE admin PASSWORD {}").format(sql.Literal(database.password))
    administer(database.server, password)
    try:
        migrate(admin.dsn)
        with connect(admin.dsn) as connection:
            connection.execute(
                "CREATE FUNCTION public.asks() RETURNS boolean LANGUAGE sql SECURITY DEFINER"
                " SET search_path = pg_catalog, pg_temp AS 'SELECT auth.is_admin()'"
            )
            assert connection.execute("SELECT auth.is_admin(), public.asks()").fetchall() == [(False, False)]
            with connection.transaction():
                connection.execute("SET LOCAL ROLE authenticated")
                assert connection.execute("SELECT public.asks()").fetchall() == [(False,)]
    finally:
        drop_platform_roles(database.server)
        back = sql.SQL("ALTER ROLE admin RENAME TO {}").format(sql.Identifier(database.user))
        administer(database.server, back)


# --- Going down leaves what was there before

BEFORE = [
    "GRANT USAGE ON SCHEMA public TO anon, authenticated",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT SELECT, INSERT ON TABLES TO authenticated",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT USAGE ON SEQUENCES TO service_role",
    "ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT EXECUTE ON FUNCTIONS TO anon",
    "ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO service_role",
    "CREATE TABLE public.kept (id int)",
    "GRANT SELECT ON public.kept TO anon",
]


def dump(database: Database) -> list[str]:
    """The whole server as pg_dumpall sees it and the database as pg_dump does, passwords left out."""
    printed = []
    programs = [
        ["pg_dump", "--create", f"--dbname={database.admin_dsn}"],
        ["pg_dumpall", "--globals-only", "--no-role-passwords", f"--dbname={database.admin_dsn}"],
    ]
    for program, *arguments in programs:
        path = f"/usr/lib/postgresql/15/bin/{program}"
        environment = {"PATH": os.environ["PATH"], "LC_ALL": "C"}
        done = subprocess.run([path, *arguments], capture_output=True, text=True, check=True, env=environment)
        # Each dump is restricted with a random word of its own.
        printed += [
            line for line in done.stdout.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))
        ]
    return printed


@pytest.mark.clients
@pytest.mark.parametrize("closed", [False, True], ids=["open as PostgreSQL makes it", "closed before"])
def test_what_was_there_before_is_there_afterwards(premade: Database, closed: bool) -> None:
    with connect(premade.dsn) as connection:
        for statement in BEFORE:
            connection.execute(statement)
        if closed:
            revoke = sql.SQL("REVOKE CONNECT ON DATABASE {} FROM PUBLIC").format(sql.Identifier(premade.name))
            connection.execute(revoke)
            connection.execute("ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC")
        else:
            connection.execute("GRANT CREATE ON SCHEMA public TO PUBLIC")
        before = see(connection, premade)
        migrate(premade.dsn)
        assert see(connection, premade) != before
        roll_back(premade.dsn)
        assert see(connection, premade) == before


def see(connection: Connection, database: Database) -> tuple[set[tuple[str, str, str]], list[str]]:
    # The programs of 15 read servers up to their own version.
    return picture(connection), dump(database) if database.server.version <= 15 else []


def test_functions_are_not_everybodys_by_default(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        connection.execute("CREATE SCHEMA shop")
        for name in ("public.total", "shop.total"):
            create = sql.SQL("CREATE FUNCTION {}() RETURNS int LANGUAGE sql AS 'SELECT 1'")
            connection.execute(create.format(sql.Identifier(*name.split("."))))
        may = connection.execute(
            "SELECT r, f::text, has_function_privilege(r, f, 'EXECUTE')"
            " FROM unnest('{anon,authenticated,service_role}'::text[]) AS r,"
            " unnest('{public.total(),shop.total()}'::regprocedure[]) AS f ORDER BY 2, 1"
        ).fetchall()
    assert [row for row in may if row[2]] == [
        ("authenticated", "total()", True),
        ("service_role", "total()", True),
    ]
