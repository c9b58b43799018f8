"""What users reach past row-level security is found and named, and the statement that is told closes it."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from fluxbase_migrations.core.exposure import Exposure, ExposureKind
from fluxbase_migrations.runner.commands.exposure import exposed
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history import version_table
from tests.runner.track import Runner, connect_as
from tests.support.databases import Database
from tests.system.gateway import ADA, BOB, changed, rows
from tests.system.track import Connection, connect, run_example


def look(connection: Connection, database: Database) -> list[Exposure]:
    """As the runner sees it, within the test's transaction."""
    session = connect_as(Runner(database))
    own, session.pgconn = session.pgconn, connection.pgconn
    try:
        return exposed(session)
    finally:
        own.finish()


def close(connection: Connection, exposure: Exposure) -> None:
    assert exposure.statement is not None
    connection.execute(exposure.statement.encode())


def test_no_platform_nothing_exposed(database: Database) -> None:
    with connect(database.dsn) as connection:
        connection.execute("CREATE TABLE public.notes (id int)")
        assert look(connection, database) == []


@pytest.fixture
def app(standing: Database) -> Iterator[Connection]:
    """The seed's first table and a table with a policy, in a transaction that is rolled back."""
    with connect(standing.dsn) as connection, connection.transaction(force_rollback=True):
        run_example(connection, "migrations/001_create_products_table.up.sql")
        connection.execute("CREATE TABLE public.notes (id int, owner uuid DEFAULT auth.uid())")
        connection.execute("ALTER TABLE notes ENABLE ROW LEVEL SECURITY")
        connection.execute("CREATE POLICY own ON notes TO authenticated USING (owner = (SELECT auth.uid()))")
        connection.execute("INSERT INTO notes VALUES (1, %s), (2, %s)", [ADA, BOB])
        connection.execute("INSERT INTO auth.app_users (id) VALUES (%s)", [ADA])
        yield connection


def test_the_platform_and_the_seeds_first_example_expose_nothing(app: Connection, standing: Database) -> None:
    assert look(app, standing) == []


INVOKER = "ALTER VIEW public.v SET (security_invoker = true)"


@pytest.mark.parametrize(
    ("create", "kind", "attack", "statement"),
    [
        (
            "CREATE TABLE public.v (id int); INSERT INTO v VALUES (1)",
            ExposureKind.TABLE,
            "DELETE FROM v",
            "ALTER TABLE public.v ENABLE ROW LEVEL SECURITY",
        ),
        (
            "CREATE VIEW public.v AS SELECT * FROM notes",
            ExposureKind.VIEW,
            "UPDATE v SET id = 3 WHERE id = 2",
            INVOKER,
        ),
        (
            "CREATE VIEW public.v WITH (security_barrier) AS SELECT id, role FROM auth.app_users",
            ExposureKind.VIEW,
            "UPDATE v SET role = 'admin'",
            INVOKER,
        ),
        (
            "CREATE MATERIALIZED VIEW public.v AS SELECT * FROM notes WHERE id = 2",
            ExposureKind.MATERIALIZED_VIEW,
            "SELECT * FROM v",
            "REVOKE ALL ON public.v FROM PUBLIC, anon, authenticated",
        ),
        (
            "CREATE TABLE public.p (id int) PARTITION BY RANGE (id); ALTER TABLE p ENABLE ROW LEVEL SECURITY;"
            "CREATE TABLE public.v PARTITION OF p DEFAULT; INSERT INTO p VALUES (1)",
            ExposureKind.PARTITION,
            "DELETE FROM v",
            "REVOKE ALL ON public.v FROM PUBLIC, anon, authenticated",
        ),
        (
            "CREATE TABLE public.v (id int); ALTER TABLE v ENABLE ROW LEVEL SECURITY;"
            "GRANT ALL ON v TO authenticated",
            ExposureKind.TRUNCATE,
            "TRUNCATE v",
            "REVOKE TRUNCATE ON public.v FROM PUBLIC, anon, authenticated",
        ),
        (
            "CREATE TABLE public.v (version bigint PRIMARY KEY, dirty boolean NOT NULL);"
            "INSERT INTO v VALUES (1, false)",
            ExposureKind.VERSION_TABLE,
            "UPDATE v SET dirty = true",
            "REVOKE ALL ON public.v FROM PUBLIC, anon, authenticated",
        ),
    ],
    ids=lambda value: value if isinstance(value, ExposureKind) else "",
)
def test_a_relation_that_no_policy_protects_is_closed_by_its_statement(
    app: Connection,
    standing: Database,
    create: LiteralString,
    kind: ExposureKind,
    attack: LiteralString,
    statement: str,
) -> None:
    app.execute(create)
    with app.transaction(force_rollback=True):
        assert attempt(app, attack) != 0
    (exposure,) = look(app, standing)
    if kind is ExposureKind.VIEW and standing.server.version < 15:
        statement = "REVOKE ALL ON public.v FROM PUBLIC, anon, authenticated"
    assert (exposure.kind, exposure.name, exposure.roles) == (kind, "public.v", ("authenticated",))
    only = {ExposureKind.MATERIALIZED_VIEW: "SELECT", ExposureKind.TRUNCATE: "TRUNCATE"}
    assert exposure.privileges[0] == only.get(kind, "DELETE")
    assert exposure.statement == statement
    close(app, exposure)
    assert look(app, standing) == []
    assert attempt(app, attack) == 0


def attempt(connection: Connection, attack: LiteralString) -> int:
    """How many rows a user could still read or change."""
    try:
        with connection.transaction():
            return changed(connection, attack, "authenticated", sub=ADA)
    except psycopg.errors.InsufficientPrivilege:
        return 0


@pytest.mark.parametrize(
    "create",
    [
        "CREATE VIEW public.v AS SELECT 1 AS one",
        "CREATE SCHEMA closed; CREATE TABLE closed.v (id int); GRANT SELECT ON closed.v TO anon",
        "CREATE TABLE public.v (id int); REVOKE ALL ON v FROM authenticated",
        *(
            f"CREATE VIEW public.v WITH (security_invoker = {value}, check_option = local)"
            " AS SELECT * FROM notes"
            for value in ("true", "'TRUE'", "t", "yes", "1", "'On'")
        ),
    ],
)
def test_what_shows_nothing_or_cannot_be_reached_is_not_told(
    app: Connection, standing: Database, create: LiteralString
) -> None:
    if "security_invoker" in create and standing.server.version < 15:
        return  # there is no such option yet
    app.execute(create)
    assert look(app, standing) == []


def test_what_is_found_does_not_depend_on_how_the_login_reads_strings(
    app: Connection, standing: Database
) -> None:
    app.execute("CREATE FUNCTION public.f() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
    app.execute("ALTER FUNCTION f() SET search_path = public, pg_temp")
    app.execute("CREATE FUNCTION public.g() RETURNS int LANGUAGE sql SECURITY DEFINER AS 'SELECT 1'")
    app.execute("SET LOCAL standard_conforming_strings = off")
    assert [one.name for one in look(app, standing)] == ["public.g()"]


def test_a_right_on_a_single_column_and_names_that_need_quotes_are_seen(
    app: Connection, standing: Database
) -> None:
    app.execute('CREATE SCHEMA "My App"; GRANT USAGE ON SCHEMA "My App" TO anon')
    app.execute('CREATE TABLE "My App"."a ""b" (id int, secret text)')
    app.execute('GRANT SELECT (id) ON "My App"."a ""b" TO anon')
    (exposure,) = look(app, standing)
    assert str(exposure) == 'table without row-level security "My App"."a ""b": anon can SELECT'
    close(app, exposure)
    assert look(app, standing) == []


def test_a_version_table_that_we_make_in_public_is_its_owners_alone(
    app: Connection, standing: Database
) -> None:
    session = connect_as(Runner(standing))
    own, session.pgconn = session.pgconn, app.pgconn
    own.finish()
    version_table.ensure(session, TableName("public", "schema_migrations"))
    assert exposed(session) == []
    assert app.execute("SELECT count(*) FROM public.schema_migrations").fetchall() == [(0,)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        changed(app, "INSERT INTO public.schema_migrations VALUES (1, false)", "service_role")


# --- Functions

PINNED = "SET search_path = pg_catalog, pg_temp"


@pytest.mark.parametrize(
    ("settings", "grant", "expected"),
    [
        (PINNED, "", []),
        ("SET search_path = ''", "", []),
        (
            "",
            "",
            [
                (
                    "LOOSE_FUNCTION",
                    "authenticated",
                    "ALTER FUNCTION public.f(a integer) SET search_path = public, pg_temp",
                )
            ],
        ),
        ("SET search_path = pg_temp", "", []),
        ("SET search_path FROM CURRENT", "", []),
        *(
            (
                f"SET search_path = {before}",
                "",
                [
                    (
                        "LOOSE_FUNCTION",
                        "authenticated",
                        f"ALTER FUNCTION public.f(a integer) SET search_path = {after}, pg_temp",
                    )
                ],
            )
            # Named twice, it counts where it is first; within quotes, it is a part of another name.
            for before, after in (
                ("pg_temp, public, pg_temp", "public"),
                ("pg_temp, auth, public", "auth, public"),
                ("'auth, pg_temp, public, pg_temp'", '"auth, pg_temp, public, pg_temp"'),
                ('"a ""b, c", public', '"a ""b, c", public'),
            )
        ),
        (
            "SET search_path = auth, public",
            "",
            [
                (
                    "LOOSE_FUNCTION",
                    "authenticated",
                    "ALTER FUNCTION public.f(a integer) SET search_path = auth, public, pg_temp",
                )
            ],
        ),
        (
            PINNED,
            "GRANT EXECUTE ON FUNCTION f(int) TO PUBLIC",
            [("PUBLIC_FUNCTION", "anon", "REVOKE EXECUTE ON FUNCTION public.f(a integer) FROM PUBLIC")],
        ),
        ("", "REVOKE EXECUTE ON FUNCTION f(int) FROM authenticated", []),
    ],
)
def test_a_definer_function_is_told_if_everybody_may_call_it_or_its_search_path_is_loose(
    app: Connection,
    standing: Database,
    settings: LiteralString,
    grant: LiteralString,
    expected: list[tuple[str, str, str]],
) -> None:
    app.execute("SELECT set_config('search_path', 'public,PG_TEMP', true)")  # kept as it is written
    app.execute(
        "CREATE FUNCTION public.f(a int) RETURNS int LANGUAGE sql SECURITY DEFINER "
        + settings
        + " AS 'SELECT 1'"
    )
    if grant:
        app.execute(grant)
    seen = look(app, standing)
    assert [(ExposureKind(one.kind).name, one.roles[0], one.statement) for one in seen] == expected
    for one in seen:
        close(app, one)
    assert look(app, standing) == []


def test_a_loose_definer_function_is_a_way_in_and_its_statement_closes_it(
    app: Connection, standing: Database
) -> None:
    """A temporary table of the caller's stands where the function's owner meant his own."""
    app.execute(
        "CREATE FUNCTION public.count_notes() RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER"
        " AS $$ BEGIN RETURN (SELECT count(*) FROM notes); END $$"
    )
    app.execute("GRANT TEMPORARY ON DATABASE " + standing.name + " TO authenticated")
    ask: LiteralString = "SELECT count_notes()"
    assert rows(app, ask, "authenticated", sub=ADA) == [(2,)]
    changed(app, "CREATE TEMPORARY TABLE notes (id int)", "authenticated", sub=ADA)
    changed(app, "GRANT ALL ON pg_temp.notes TO PUBLIC", "authenticated", sub=ADA)
    assert rows(app, ask, "authenticated", sub=ADA) == [(0,)]
    (exposure,) = look(app, standing)
    close(app, exposure)
    assert rows(app, ask, "authenticated", sub=ADA) == [(2,)]


def test_a_loose_trigger_function_is_told_although_nobody_may_call_it(
    app: Connection, standing: Database
) -> None:
    app.execute(
        "CREATE FUNCTION public.t() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER"
        " AS 'BEGIN RETURN NEW; END'"
    )
    app.execute("REVOKE EXECUTE ON FUNCTION t() FROM authenticated")
    assert look(app, standing) == []
    app.execute("CREATE TRIGGER t BEFORE INSERT ON notes FOR EACH ROW EXECUTE FUNCTION t()")
    (exposure,) = look(app, standing)
    assert exposure.statement == "ALTER FUNCTION public.t() SET search_path = public, pg_temp"
