"""What the system track needs of its login, and what becomes of roles that belong to the whole server."""

import secrets
from collections.abc import Iterator

import psycopg
import pytest
from psycopg import sql

from dev.postgres_server import Endpoint
from tests.support.databases import (
    PLATFORM_ROLES,
    Database,
    administer,
    create_database,
    create_login,
    drop_database,
    drop_platform_roles,
    drop_role,
    fresh_database,
)
from tests.system.catalog import picture
from tests.system.conftest import bypasses_policies, roles
from tests.system.track import connect, migrate, roll_back, run_example

NO_BYPASSRLS = 'NOTICE: role "service_role" is made without BYPASSRLS: "{}" may not grant it'
INHERITS = 'WARNING: "{}" has the rights of "service_role" in every database that it can connect to'
CONNECT_REVOKED = 'NOTICE: CONNECT on database "{}" is revoked from PUBLIC'
CONNECT_OPEN = 'WARNING: every login of this server can connect to database "{}"'


def said_by_a_maker(database: Database, *, owner: bool = True) -> list[str]:
    """What the server says to a login with CREATEROLE that makes the roles."""
    inherits = [INHERITS.format(database.user)] if database.server.version < 16 else []
    connect = (CONNECT_REVOKED if owner else CONNECT_OPEN).format(database.name)
    return [NO_BYPASSRLS.format(database.user), *inherits, connect]


@pytest.fixture
def neighbour(postgres: Endpoint) -> Iterator[Database]:
    """Another database of the same server, with another owner."""
    with fresh_database(postgres) as made:
        yield made


@pytest.fixture
def guest(database: Database) -> Iterator[Database]:
    """The same database, for a login that owns nothing: CREATE on the database and on schema public."""
    name = f"test_guest_{secrets.token_hex(6)}"
    made = Database(database.server, database.name, name, secrets.token_hex(8))
    create_login(database.server, made.user, made.password)
    guest_role = sql.Identifier(made.user)
    grant = sql.SQL("GRANT CREATE, CONNECT ON DATABASE {} TO {}").format(
        sql.Identifier(made.name), guest_role
    )
    administer(made.server, grant)
    administer(made.server, sql.SQL("REVOKE CREATE ON SCHEMA public FROM PUBLIC"), made.name)
    administer(made.server, sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(guest_role), made.name)
    yield made
    administer(made.server, sql.SQL("DROP OWNED BY {} CASCADE").format(guest_role), made.name)
    drop_platform_roles(made.server)
    drop_role(made.server, made.user)


def make_roles(server: Endpoint) -> None:
    for name in PLATFORM_ROLES:
        administer(server, sql.SQL("CREATE ROLE {} NOLOGIN NOINHERIT").format(sql.Identifier(name)))


def test_a_login_that_owns_the_database_suffices(database: Database) -> None:
    notices = migrate(database.dsn)
    assert notices.messages == said_by_a_maker(database)
    assert notices.hints[:1] == ["As a superuser: ALTER ROLE service_role BYPASSRLS."]
    assert roles(database.server) == set(PLATFORM_ROLES)


def test_a_login_with_create_on_the_database_and_on_public_suffices(guest: Database) -> None:
    notices = migrate(guest.dsn)
    assert notices.messages == said_by_a_maker(guest, owner=False)
    assert (
        notices.hints[-1] == f"As the database's owner: REVOKE CONNECT ON DATABASE {guest.name} FROM PUBLIC."
    )
    with connect(guest.dsn) as connection:
        run_example(connection, "migrations/001_create_products_table.up.sql")
        connection.execute("INSERT INTO products (name, price) VALUES ('Teapot', 24.5)")
        for role in PLATFORM_ROLES:
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
            assert connection.execute(
                "SELECT has_schema_privilege('public', 'USAGE'), has_schema_privilege('public', 'CREATE')"
            ).fetchall() == [(True, False)]
            connection.execute("RESET ROLE")
        run_example(connection, "migrations/001_create_products_table.down.sql")
    roll_back(guest.dsn)
    assert roles(guest.server) == set()


def test_a_login_that_may_not_open_a_closed_public_says_who_can(guest: Database) -> None:
    administer(guest.server, sql.SQL("REVOKE USAGE ON SCHEMA public FROM PUBLIC"), guest.name)
    notices = migrate(guest.dsn)
    assert notices.messages[-3:] == [
        f'NOTICE: role "{role}" has no USAGE on schema public, and "{guest.user}" may not grant it'
        for role in PLATFORM_ROLES
    ]
    assert notices.hints[-3] == "As the schema's owner: GRANT USAGE ON SCHEMA public TO anon."


def test_a_superuser_gives_service_role_bypassrls(database: Database) -> None:
    with connect(database.admin_dsn) as connection:
        before = picture(connection)
        assert migrate(database.admin_dsn).messages == [CONNECT_REVOKED.format(database.name)]
        assert bypasses_policies(connection, "service_role")
        roll_back(database.admin_dsn)
        assert picture(connection) == before


def test_a_login_with_bypassrls_passes_it_on_where_postgresql_lets_it(database: Database) -> None:
    administer(database.server, sql.SQL("ALTER ROLE {} BYPASSRLS").format(sql.Identifier(database.user)))
    notices = migrate(database.dsn)
    with connect(database.dsn) as connection:
        if connection.info.server_version >= 160000:
            assert notices.messages == [CONNECT_REVOKED.format(database.name)]
            assert bypasses_policies(connection, "service_role")
        else:
            assert notices.messages == said_by_a_maker(database)
            assert not bypasses_policies(connection, "service_role")


def test_without_bypassrls_service_role_still_runs_the_platform(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        assert not bypasses_policies(connection, "service_role")
        connection.execute("SET ROLE service_role")
        connection.execute("INSERT INTO auth.app_users (email) VALUES ('ada@example.com')")
        connection.execute("INSERT INTO storage.buckets (id) VALUES ('avatars')")
        connection.execute("INSERT INTO jobs.jobs (kind) VALUES ('welcome')")
        seen = connection.execute("SELECT count(*) FROM auth.app_users").fetchall()
    assert seen == [(1,)]


@pytest.mark.parametrize("role", PLATFORM_ROLES)
def test_the_login_may_take_on_each_role(platform: Database, role: str) -> None:
    with connect(platform.dsn) as connection:
        connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(role)))
        assert connection.execute("SELECT current_user::text").fetchall() == [(role,)]


def test_roles_do_not_log_in_or_inherit(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        rows = connection.execute(
            "SELECT rolcanlogin, rolinherit, rolsuper, rolcreaterole FROM pg_roles WHERE rolname = ANY (%s)",
            [list(PLATFORM_ROLES)],
        ).fetchall()
    assert rows == [(False, False, False, False)] * 3


def test_roles_made_by_somebody_else_are_used_and_left_as_they_are(database: Database) -> None:
    make_roles(database.server)
    with connect(database.admin_dsn) as connection:
        before = picture(connection)
        notices = migrate(database.dsn)
        assert notices.messages == [CONNECT_REVOKED.format(database.name)]
        assert not bypasses_policies(connection, "service_role")
        assert connection.execute("SELECT count(*) FROM pg_auth_members WHERE roleid > 16383").fetchall() == [
            (0,)
        ]
        assert roll_back(database.dsn).messages == []
        assert picture(connection) == before


def test_a_superuser_never_gives_bypassrls_to_a_service_role_it_found(database: Database) -> None:
    make_roles(database.server)
    migrate(database.admin_dsn)
    with connect(database.admin_dsn) as connection:
        assert not bypasses_policies(connection, "service_role")


def test_without_createrole_it_suffices_that_the_roles_are_there(database: Database) -> None:
    administer(database.server, sql.SQL("ALTER ROLE {} NOCREATEROLE").format(sql.Identifier(database.user)))
    make_roles(database.server)
    assert migrate(database.dsn).messages == [CONNECT_REVOKED.format(database.name)]
    roll_back(database.dsn)
    migrate(database.dsn)


def test_without_createrole_and_without_roles_the_error_says_what_to_do(database: Database) -> None:
    administer(database.server, sql.SQL("ALTER ROLE {} NOCREATEROLE").format(sql.Identifier(database.user)))
    with pytest.raises(psycopg.errors.InsufficientPrivilege) as caught:
        migrate(database.dsn)
    assert caught.value.diag.message_primary == (
        f'role "anon" does not exist and "{database.user}" may not create it'
    )
    assert caught.value.diag.message_hint == (
        'As an administrator run what "fluxbase-migrate system roles --sql" prints.'
    )


def test_a_role_that_another_database_needs_stays(database: Database, neighbour: Database) -> None:
    migrate(database.dsn)
    migrate(neighbour.dsn)
    notices = roll_back(database.dsn)
    assert notices.messages == [
        f'NOTICE: role "{role}" stays: something on this server still depends on it'
        for role in PLATFORM_ROLES
    ]
    assert roles(database.server) == set(PLATFORM_ROLES)
    migrate(database.dsn)
    roll_back(neighbour.dsn)
    roll_back(database.dsn)


def test_the_last_database_takes_the_roles_along(database: Database) -> None:
    second = Database(database.server, f"{database.name}_second", database.user, database.password)
    create_database(second.server, second.name, second.user)
    try:
        migrate(database.dsn)
        migrate(second.dsn)
        roll_back(database.dsn)
        assert roles(database.server) == set(PLATFORM_ROLES)
        roll_back(second.dsn)
        assert roles(database.server) == set()
    finally:
        drop_database(second.server, second.name)


def test_a_role_that_the_applications_table_names_stays(platform: Database) -> None:
    with connect(platform.dsn) as connection:
        connection.execute("CREATE TABLE public.kept (id int)")
    notices = roll_back(platform.dsn)
    assert roles(platform.server) == {"authenticated", "service_role"}
    assert len(notices.messages) == 2


def test_tables_made_under_another_role_get_no_default_privileges(platform: Database) -> None:
    builder = f"{platform.user}_builder"
    administer(platform.server, sql.SQL("CREATE ROLE {}").format(sql.Identifier(builder)))
    grant = sql.SQL("GRANT {} TO {}").format(sql.Identifier(builder), sql.Identifier(platform.user))
    administer(platform.server, grant)
    create = sql.SQL("GRANT CREATE ON SCHEMA public TO {}").format(sql.Identifier(builder))
    administer(platform.server, create, platform.name)
    try:
        with connect(platform.dsn) as connection:
            connection.execute("CREATE TABLE public.by_login (id int)")
            connection.execute(sql.SQL("SET ROLE {}").format(sql.Identifier(builder)))
            connection.execute("CREATE TABLE public.by_builder (id int)")
            readable = connection.execute(
                "SELECT has_table_privilege('authenticated', 'public.by_login', 'SELECT'),"
                " has_table_privilege('authenticated', 'public.by_builder', 'SELECT')"
            ).fetchall()
        assert readable == [(True, False)]
    finally:
        administer(
            platform.server, sql.SQL("DROP OWNED BY {}").format(sql.Identifier(builder)), platform.name
        )
        drop_role(platform.server, builder)
