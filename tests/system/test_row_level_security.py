"""Who may see and change what, in the application's tables and in the platform's."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.gateway import ADA, BOB, changed, rows
from tests.system.track import Connection, connect, run_example


@pytest.fixture(scope="module")
def shop_connection(standing: Database) -> Iterator[Connection]:
    """After the system track and the shop's migrations, with two users and one product."""
    with connect(standing.dsn) as connection:
        run_example(connection, "migrations/001_create_products_table.up.sql")
        run_example(connection, "migrations/002_create_orders_table.up.sql")
        run_example(connection, "migrations/003_add_product_sku.up.sql")
        run_example(connection, "migrations/004_change_price_precision.up.sql")
        connection.execute(
            "INSERT INTO auth.app_users (id, email) VALUES (%s, 'ada@example.com'), (%s, 'bob@example.com')",
            [ADA, BOB],
        )
        connection.execute("INSERT INTO products (name, price) VALUES ('Teapot', 24.5)")
        yield connection


@pytest.fixture
def shop(shop_connection: Connection) -> Iterator[Connection]:
    """The shop in a transaction of one test, which is rolled back."""
    with shop_connection.transaction(force_rollback=True):
        yield shop_connection


INSERT_KETTLE: LiteralString = "INSERT INTO products (name, price) VALUES ('Kettle', 30)"


# --- The seed's example 001


def test_an_admin_may_write_products(shop: Connection) -> None:
    assert changed(shop, INSERT_KETTLE, "authenticated", sub=ADA, role="admin") == 1
    assert changed(shop, "UPDATE products SET price = 31", "authenticated", sub=ADA, role="admin") == 2
    assert changed(shop, "DELETE FROM products", "authenticated", sub=ADA, role="admin") == 2


@pytest.mark.parametrize("claims", [{"sub": BOB, "role": "customer"}, {"sub": BOB}, {}], ids=str)
def test_anybody_else_who_is_signed_in_may_only_read_products(
    shop: Connection, claims: dict[str, str]
) -> None:
    assert rows(shop, "SELECT name FROM products", "authenticated", **claims) == [("Teapot",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        changed(shop, INSERT_KETTLE, "authenticated", **claims)
    assert changed(shop, "UPDATE products SET price = 0", "authenticated", **claims) == 0
    assert changed(shop, "DELETE FROM products", "authenticated", **claims) == 0


@pytest.mark.parametrize("claims", [{}, {"role": "admin"}], ids=str)
@pytest.mark.parametrize("statement", ["SELECT * FROM products", INSERT_KETTLE, "DELETE FROM products"])
def test_a_stranger_may_do_nothing_with_products(
    shop: Connection, statement: LiteralString, claims: dict[str, str]
) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        changed(shop, statement, "anon", **claims)


def test_a_table_with_row_level_security_and_no_policy_is_closed(shop: Connection) -> None:
    shop.execute("INSERT INTO orders (user_id, total) VALUES (%s, 24.5)", [ADA])
    assert rows(shop, "SELECT * FROM orders", "authenticated", sub=ADA) == []


def test_a_sequence_behind_a_serial_column_can_be_used(shop: Connection) -> None:
    shop.execute("CREATE TABLE public.notes (id serial PRIMARY KEY, body text)")
    statement: LiteralString = "INSERT INTO notes (body) VALUES ('x')"
    assert changed(shop, statement, "authenticated", sub=ADA) == 1


# --- The platform's tables


def test_users_see_themselves_and_admins_everybody(shop: Connection) -> None:
    query: LiteralString = "SELECT id::text FROM auth.app_users ORDER BY email"
    assert rows(shop, query, "authenticated", sub=ADA) == [(ADA,)]
    assert rows(shop, query, "authenticated", sub=BOB, role="admin") == [(ADA,), (BOB,)]
    assert rows(shop, query, "authenticated") == []
    assert rows(shop, query, "service_role") == [(ADA,), (BOB,)]


def test_users_edit_their_own_profile_and_nothing_else(shop: Connection) -> None:
    rename: LiteralString = "UPDATE auth.app_users SET display_name = 'Me'"
    assert changed(shop, rename, "authenticated", sub=ADA) == 1
    assert changed(shop, rename, "authenticated", sub=BOB, role="admin") == 1
    for forbidden in (
        "UPDATE auth.app_users SET role = 'admin'",
        "UPDATE auth.app_users SET email = 'eve@example.com'",
        "DELETE FROM auth.app_users",
        "INSERT INTO auth.app_users (email) VALUES ('eve@example.com')",
    ):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            changed(shop, forbidden, "authenticated", sub=ADA, role="admin")


def test_a_disabled_user_cannot_edit_the_profile(shop: Connection) -> None:
    rename: LiteralString = "UPDATE auth.app_users SET display_name = 'Me'"
    shop.execute("UPDATE auth.app_users SET disabled_at = now() WHERE id = %s", [ADA])
    assert changed(shop, rename, "authenticated", sub=ADA) == 0
    assert changed(shop, rename, "authenticated", sub=BOB) == 1


@pytest.mark.parametrize(
    "profile",
    [
        "avatar_url = 'javascript:alert(1)'",
        "avatar_url = 'data:text/html,x'",
        "user_metadata = jsonb_build_object('x', repeat('x', 65536))",
        "user_metadata = '[]'",
        "display_name = repeat('x', 201)",
    ],
)
def test_a_profile_takes_no_scripts_and_nothing_huge(shop: Connection, profile: LiteralString) -> None:
    with pytest.raises(psycopg.errors.CheckViolation):
        changed(shop, "UPDATE auth.app_users SET " + profile, "authenticated", sub=ADA)


def test_a_refresh_token_is_replaced_once(shop: Connection) -> None:
    shop.execute(
        "WITH s AS (INSERT INTO auth.sessions (user_id, expires_at) VALUES (%s, now() + interval '1 day')"
        " RETURNING id, expires_at)"
        " INSERT INTO auth.refresh_tokens (session_id, token_hash, expires_at)"
        " SELECT id, sha256('one'), expires_at FROM s",
        [ADA],
    )
    replace = (
        "INSERT INTO auth.refresh_tokens (session_id, parent_id, token_hash, expires_at)"
        " SELECT session_id, id, sha256(%s), expires_at FROM auth.refresh_tokens WHERE parent_id IS NULL"
    )
    shop.execute(replace, [b"two"])
    with pytest.raises(psycopg.errors.UniqueViolation, match="refresh_tokens_parent_id_key"):
        shop.execute(replace, [b"three"])


def test_users_see_and_end_only_their_own_sessions(shop: Connection) -> None:
    shop.execute(
        "INSERT INTO auth.sessions (user_id, expires_at)"
        " SELECT id, now() + interval '1 hour' FROM auth.app_users"
    )
    assert rows(shop, "SELECT user_id::text FROM auth.sessions", "authenticated", sub=ADA) == [(ADA,)]
    assert changed(shop, "DELETE FROM auth.sessions", "authenticated", sub=ADA) == 1
    assert rows(shop, "SELECT user_id::text FROM auth.sessions", "service_role") == [(BOB,)]


SECRETS: list[LiteralString] = [
    "auth.password_credentials",
    "auth.refresh_tokens",
    "auth.one_time_tokens",
    "auth.audit_log",
    "functions.secrets",
    "auth.oauth_client_secrets",
    "auth.oauth_tokens",
    "auth.oauth_flows",
    "webhooks.signing_secrets",
    "webhooks.deliveries",
    "jobs.schedules",
    "functions.versions",
]


@pytest.mark.parametrize("table", SECRETS)
@pytest.mark.parametrize("role", ["anon", "authenticated"])
def test_secrets_are_for_the_service_alone(shop: Connection, table: LiteralString, role: str) -> None:
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        changed(shop, "SELECT FROM " + table, role, sub=ADA, role="admin")
    assert rows(shop, "SELECT FROM " + table, "service_role") == []


def test_a_stranger_sees_providers_on_offer_and_public_files_only(shop: Connection) -> None:
    shop.execute(
        "INSERT INTO auth.oauth_providers"
        " (name, display_name, client_id, authorization_url, token_url, enabled) VALUES"
        " ('one', 'One', 'x', 'https://one.example/auth', 'https://one.example/token', true),"
        " ('two', 'Two', 'x', 'https://two.example/auth', 'https://two.example/token', false)"
    )
    shop.execute("INSERT INTO storage.buckets (id, public) VALUES ('open', true), ('closed', false)")
    shop.execute(
        "INSERT INTO storage.objects (bucket_id, path, size_bytes, owner_id)"
        " VALUES ('open', 'a/b.png', 1, %(ada)s), ('closed', 'a/b.png', 1, %(ada)s)",
        {"ada": ADA},
    )
    assert rows(shop, "SELECT name FROM auth.oauth_providers", "anon") == [("one",)]
    assert rows(shop, "SELECT id FROM storage.buckets", "anon") == [("open",)]
    files: LiteralString = "SELECT bucket_id FROM storage.objects ORDER BY 1"
    assert rows(shop, files, "anon") == [("open",)]
    assert rows(shop, files, "authenticated", sub=BOB) == [("open",)]
    assert rows(shop, files, "authenticated", sub=ADA) == [("closed",), ("open",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(shop, "SELECT * FROM auth.app_users", "anon")
    upload: LiteralString = (
        "INSERT INTO storage.objects (bucket_id, path, size_bytes) VALUES ('open', 'x', 1)"
    )
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        changed(shop, upload, "authenticated", sub=ADA)


@pytest.mark.parametrize("path", ["", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b"])
def test_a_path_that_could_leave_its_bucket_is_refused(shop: Connection, path: str) -> None:
    shop.execute("INSERT INTO storage.buckets (id) VALUES ('files')")
    with pytest.raises(psycopg.errors.CheckViolation):
        shop.execute(
            "INSERT INTO storage.objects (bucket_id, path, size_bytes) VALUES ('files', %s, 1)", [path]
        )


def test_a_change_by_somebody_without_rights_on_webhooks_is_delivered(shop: Connection) -> None:
    shop.execute(
        "CREATE TRIGGER webhooks AFTER INSERT OR UPDATE OR DELETE ON products"
        " FOR EACH ROW EXECUTE FUNCTION webhooks.capture()"
    )
    shop.execute("INSERT INTO webhooks.endpoints (name, url) VALUES ('erp', 'https://erp.example/hook')")
    shop.execute(
        "INSERT INTO webhooks.subscriptions (endpoint_id, relation, operations)"
        " SELECT id, 'products', '{INSERT,DELETE}' FROM webhooks.endpoints"
    )
    assert changed(shop, INSERT_KETTLE, "authenticated", sub=ADA, role="admin") == 1
    assert changed(shop, "UPDATE products SET price = 1", "authenticated", sub=ADA, role="admin") == 2
    delete: LiteralString = "DELETE FROM products WHERE name = 'Kettle'"
    assert changed(shop, delete, "authenticated", sub=ADA, role="admin") == 1
    delivered = rows(
        shop,
        "SELECT payload ->> 'operation', payload -> 'new' ->> 'name', payload -> 'old' ->> 'name'"
        " FROM webhooks.deliveries ORDER BY sequence",
        "service_role",
    )
    assert delivered == [("INSERT", "Kettle", None), ("DELETE", None, "Kettle")]


def test_users_follow_their_own_jobs_without_the_workers_side(shop: Connection) -> None:
    shop.execute("INSERT INTO jobs.jobs (kind, created_by) VALUES ('mail', %s), ('mail', %s)", [ADA, BOB])
    query: LiteralString = "SELECT created_by::text, status FROM jobs.jobs"
    assert rows(shop, query, "authenticated", sub=ADA) == [(ADA, "pending")]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(shop, "SELECT payload FROM jobs.jobs", "authenticated", sub=ADA)
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(shop, "SELECT * FROM jobs.claim('default', 'me')", "authenticated", sub=ADA)
