"""What ``fluxbase-migrate`` shows: docs/terminal.md and the pictures are made of these sessions."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest

from dev.peers import write_files
from tests.conftest import EXTERNAL
from tests.support.databases import Database
from tests.support.terminal import screen
from tests.terminal.recording import Shell

# The database has the same name in each test: on one server, one after the other.
pytestmark = [pytest.mark.xdist_group("terminal")] if EXTERNAL else []

USERS = {
    "001_users.up.sql": "CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL);\n"
    "ALTER TABLE users ENABLE ROW LEVEL SECURITY;\n",
    "001_users.down.sql": "DROP TABLE users;\n",
}
ORDERS = {
    "002_orders.up.sql": "CREATE TABLE orders (id bigint PRIMARY KEY, total int NOT NULL, note text);\n"
    "ALTER TABLE orders ENABLE ROW LEVEL SECURITY;\n",
    "002_orders.down.sql": "DROP TABLE orders;\n",
}
INVOICES = {
    "003_invoices.up.sql": "CREATE TABLE invoices (id bigint PRIMARY KEY, order_id bigint NOT NULL\n"
    "    REFERENCES orders);\n"
    "ALTER TABLE invoices ENABLE ROW LEVEL SECURITY;\n"
    "ALTER TABLE orders ALTER total TYPE numeric(12, 2), DROP COLUMN note;\n",
    "003_invoices.down.sql": "ALTER TABLE orders ADD note text, ALTER total TYPE int;\n"
    "DROP TABLE invoices;\n",
}
INDEXES = {
    "004_indexes.up.sql": "CREATE INDEX CONCURRENTLY orders_total ON orders (total);\n"
    "DO $$ BEGIN PERFORM refresh_totals(); END $$;\n",
}
MIGRATIONS = "migrations"


@contextmanager
def asked(database: Database) -> Iterator[psycopg.Connection]:
    """Somebody else's session."""
    with psycopg.connect(database.dsn, autocommit=True, application_name="psql") as connection:
        yield connection


def filled(database: Database, rows: int = 2000) -> None:
    """Give ``orders`` rows, and the catalog its estimate."""
    with asked(database) as connection:
        connection.execute(
            "INSERT INTO orders (id, total) SELECT n, n %% 100 FROM generate_series(1, %s) n", [rows]
        )
        connection.execute("ANALYZE orders")


def test_the_first_migration(shell: Shell, tmp_path: Path) -> None:
    shell.session("first-migration")
    shell.type("fluxbase-migrate create users")
    write_files(tmp_path / MIGRATIONS, USERS)
    shell.type("cat migrations/001_users.up.sql")
    shell.type("fluxbase-migrate version", code=1)
    shell.type("fluxbase-migrate up")
    shell.type("fluxbase-migrate up")
    shell.type("fluxbase-migrate version")


def test_both_tracks(shell: Shell, tmp_path: Path) -> None:
    write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.session("run")
    shell.type("fluxbase-migrate run --source migrations", without="(notice|warning)=")
    write_files(
        tmp_path / MIGRATIONS, INVOICES | {"002_orders.up.sql": ORDERS["002_orders.up.sql"] + "-- x\n"}
    )
    shell.session("status")
    shell.type("fluxbase-migrate status", picture="status")
    shell.session("status-json")
    shell.type("fluxbase-migrate status --track user -o json", first=14)


def test_looking_ahead(shell: Shell, shop: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.quietly("fluxbase-migrate up")
    filled(shop)
    write_files(source, INVOICES | INDEXES)
    shell.session("plan")
    shell.type("fluxbase-migrate plan --track user", picture="plan")
    shell.session("plan-down")
    shell.type("fluxbase-migrate plan --to 1")
    shell.session("plan-in-scripts")
    shell.type("fluxbase-migrate plan -o json --detailed-exitcode > plan.json; echo exit code $?")
    shell.quietly("fluxbase-migrate goto 2; rm migrations/00[34]*")
    shell.type("fluxbase-migrate plan --track user --detailed-exitcode; echo exit code $?")


@pytest.mark.clients
def test_a_rehearsal(shell: Shell, shop: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.quietly("fluxbase-migrate up")
    write_files(source, INVOICES)
    with psycopg.connect(shop.server.dsn("postgres"), autocommit=True) as connection:
        connection.execute("CREATE DATABASE shop_copy TEMPLATE shop OWNER shop")
    try:
        copy = shop.server.dsn("shop_copy", shop.user, shop.password)
        shell.session("rehearsal")
        # Whether the schemas are compared depends on the versions of pg_dump and of the server.
        shell.type(f"fluxbase-migrate plan --track user --rehearse '{copy}'", without="schema")
    finally:
        with psycopg.connect(shop.server.dsn("postgres"), autocommit=True) as connection:
            connection.execute("DROP DATABASE shop_copy WITH (FORCE)")


PAUSING = """
CREATE FUNCTION search_key(id bigint) RETURNS bigint IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN
    IF id = 1100 THEN
        WHILE NOT pg_try_advisory_lock_shared(77) LOOP PERFORM pg_sleep(0.05); END LOOP;
    END IF;
    RETURN id;
END $$
"""
"""An index on it stops half-way, without a lock that would be seen, until nobody holds the lock 77."""
SEARCH = {
    "003_search.up.sql": "ALTER TABLE orders ADD found_by text;\n",
    "004_index.up.sql": "SET maintenance_work_mem = '1GB';\n"
    "CREATE INDEX CONCURRENTLY orders_search ON orders (search_key(id));\n"
    "COMMENT ON INDEX orders_search IS 'for the search';\n",
}


def test_an_index_that_takes_long(shell: Shell, shop: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    shell.quietly("fluxbase-migrate up")
    filled(shop)
    write_files(source, SEARCH)
    shell.session("index")
    with asked(shop) as other:
        other.execute(PAUSING)
        other.execute("SELECT pg_advisory_lock(77)")
        with shell.running("fluxbase-migrate up") as running:
            seen = running.until(r"building index: scanning table 4\d%")
            shell.shows("fluxbase-migrate up", screen(seen), picture="live-line")
            other.execute("SELECT pg_advisory_unlock(77)")
    shell.session("index-done")
    shell.ended("fluxbase-migrate up")


def test_a_table_that_somebody_uses(shell: Shell, shop: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / MIGRATIONS, USERS)
    shell.quietly("fluxbase-migrate up")
    write_files(source, {"002_name.up.sql": "ALTER TABLE users ADD name text;\n"})
    shell.session("lock")
    with asked(shop) as other:
        other.execute("BEGIN")
        other.execute("LOCK TABLE users IN ACCESS SHARE MODE")
        with shell.running("fluxbase-migrate up") as running:
            seen = running.until("held by pid .*psql")
            shell.shows("fluxbase-migrate up", screen(seen), picture="live-line-lock")
            other.execute("ROLLBACK")


def test_going_back(shell: Shell, tmp_path: Path) -> None:
    write_files(tmp_path / MIGRATIONS, USERS | ORDERS | INVOICES)
    shell.session("back")
    shell.type("fluxbase-migrate up 2")
    shell.type("fluxbase-migrate down")
    shell.type("fluxbase-migrate goto 3")
    shell.type("fluxbase-migrate down --all", ("[y/N]", "n"), code=1)


def test_a_file_that_fails(shell: Shell, tmp_path: Path) -> None:
    source = write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    write_files(
        source, {"002_orders.up.sql": "CREATE TABLE orders (id bigint PRIMARY KEY, total nummeric);\n"}
    )
    shell.session("failure")
    shell.type("fluxbase-migrate up", code=1, picture="failure")
    shell.type("fluxbase-migrate status --track user", code=1)
    write_files(source, ORDERS)
    shell.type("# the type is corrected")
    shell.type("fluxbase-migrate up")
    shell.session("history")
    shell.type("fluxbase-migrate history")
    shell.type("fluxbase-migrate history --version 1 -o json", first=14)


DIRTY = {
    "002_mails.up.sql": "CREATE UNIQUE INDEX CONCURRENTLY users_email ON users (email);\n"
    "CALL send_mails();\n",
    "002_mails.down.sql": "DROP INDEX users_email;\n",
}
SENDING = """
CREATE TABLE sent (n int);
CREATE PROCEDURE send_mails() LANGUAGE plpgsql AS $$
BEGIN INSERT INTO sent VALUES (1); COMMIT; RAISE 'mail server is away'; END $$
"""


def test_a_dirty_database(shell: Shell, shop: Database, tmp_path: Path) -> None:
    source = write_files(tmp_path / MIGRATIONS, USERS)
    shell.quietly("fluxbase-migrate up")
    with asked(shop) as other:
        other.execute(SENDING)
    write_files(source, DIRTY)
    shell.session("dirty")
    shell.type("fluxbase-migrate up", code=1)
    shell.type("fluxbase-migrate version")
    shell.type("fluxbase-migrate up", code=1)
    shell.type("fluxbase-migrate status --track user", code=1, picture="dirty")
    shell.type("# the mails are sent by hand")
    shell.type("fluxbase-migrate force 2")
    shell.type("fluxbase-migrate history -o wide")


def test_taking_a_database_over(shell: Shell, shop: Database, tmp_path: Path) -> None:
    write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    with asked(shop) as other:
        other.execute("CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL)")
        other.execute("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
        other.execute("INSERT INTO schema_migrations VALUES (1, false)")
    shell.session("take-over")
    shell.type("fluxbase-migrate up", code=1)
    shell.type("fluxbase-migrate baseline --from public.schema_migrations")
    shell.type("fluxbase-migrate up")


def test_a_database_that_was_migrated_by_hand(shell: Shell, shop: Database, tmp_path: Path) -> None:
    write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    with asked(shop) as other:
        other.execute("CREATE TABLE users (id bigint PRIMARY KEY, email text NOT NULL)")
    shell.session("baseline")
    shell.type("fluxbase-migrate baseline 1")
    shell.type("fluxbase-migrate up")


RISKY = {
    "001_users.up.sql": USERS["001_users.up.sql"],
    "002_orders.up.sql": "CREATE TABLE orders (id bigint PRIMARY KEY);\n"
    "ALTER TABLE users ADD age int NOT NULL;\n",
    "002_orders.down.sql": "DROP TABLE orders;\n",
}
FLYWAY = {
    "V1__users.sql": "CREATE TABLE users (id bigint);\n",
    "U1__users.sql": "DROP TABLE users;\n",
    "V1.1__mail.sql": "ALTER TABLE users ADD mail text;\n",
}


def test_files_alone(shell: Shell, tmp_path: Path) -> None:
    source = write_files(tmp_path / MIGRATIONS, USERS | ORDERS)
    write_files(source, {"003_notes.up.sql": "CREATE TABEL notes (id bigint);\n"})
    shell.session("validate")
    shell.type("fluxbase-migrate validate", code=1)
    (source / "003_notes.up.sql").unlink()
    shell.type("# that file is removed")
    shell.type("fluxbase-migrate validate --write")
    write_files(source, {"001_users.up.sql": "CREATE TABLE users (id uuid PRIMARY KEY);\n"})
    shell.type("# a file is edited")
    shell.type("fluxbase-migrate validate", code=1)
    shell.session("lint")
    (source / "migrations.sum").unlink()
    write_files(source, RISKY)
    shell.type("tail -1 migrations/002_orders.up.sql")
    shell.type("fluxbase-migrate lint", code=1)
    shell.session("import")
    write_files(tmp_path / "db", FLYWAY)
    shell.type("ls db")
    shell.type("fluxbase-migrate import flyway db --to imported")


def test_setting_up(shell: Shell) -> None:
    shell.session("config")
    shell.type("FLUXBASE_LOCK_TIMEOUT=30s fluxbase-migrate config --track system")
    shell.session("set-up")
    shell.type("fluxbase-migrate --version")
    shell.type('eval "$(fluxbase-migrate completion bash)"; complete -p fluxbase-migrate')
    shell.type("fluxbase-migrate system roles --sql --login shop", first=12)
    shell.type("fluxbase-migrate job", code=1)
    shell.session("help")
    shell.type("fluxbase-migrate --help")
    shell.type("fluxbase-migrate up --help", first=24)
