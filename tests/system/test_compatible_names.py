"""The names of Fluxbase's own schema mean the same here, and are no way past a policy."""

from collections.abc import Iterator
from typing import LiteralString

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.gateway import ADA, BOB, changed, rows
from tests.system.track import Connection, connect


@pytest.fixture(scope="module")
def standing_users(standing: Database) -> Iterator[Connection]:
    with connect(standing.dsn) as connection:
        connection.execute(
            "INSERT INTO auth.app_users (id, email, email_confirmed_at)"
            " VALUES (%s, 'ada@example.com', now()), (%s, 'bob@example.com', NULL)",
            [ADA, BOB],
        )
        yield connection


@pytest.fixture
def users(standing_users: Connection) -> Iterator[Connection]:
    """In a transaction of one test, which is rolled back."""
    with standing_users.transaction(force_rollback=True):
        yield standing_users


def test_current_user_id_and_role_are_uid_and_role(users: Connection) -> None:
    query: LiteralString = "SELECT auth.current_user_id()::text, auth.current_user_role()"
    assert rows(users, query, "authenticated", sub=ADA, role="editor") == [(ADA, "editor")]
    users.execute("SET LOCAL ROLE anon")
    assert users.execute(query).fetchall() == [(None, "anon")]


def test_the_view_of_users_shows_what_the_table_does(users: Connection, standing: Database) -> None:
    if standing.server.version < 15:
        assert users.execute("SELECT to_regclass('auth.users')").fetchall() == [(None,)]
        return
    query: LiteralString = "SELECT id::text, email, email_verified FROM auth.users ORDER BY email"
    ada, bob = (ADA, "ada@example.com", True), (BOB, "bob@example.com", False)
    assert rows(users, query, "authenticated", sub=ADA) == [ada]
    assert rows(users, query, "authenticated", sub=ADA, role="admin") == [ada, bob]
    assert rows(users, query, "service_role") == [ada, bob]
    for forbidden in ("SELECT * FROM auth.users", "SELECT * FROM auth.app_users"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), users.transaction():
            rows(users, forbidden, "anon")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), users.transaction():
        changed(users, "UPDATE auth.users SET role = 'admin'", "authenticated", sub=ADA)


def test_a_policy_may_use_a_files_name_and_folders(users: Connection) -> None:
    users.execute("INSERT INTO storage.buckets (id) VALUES ('files')")
    users.execute(
        "CREATE POLICY folders ON storage.objects FOR SELECT TO authenticated"
        " USING ((storage.foldername(name))[1] = auth.current_user_id()::text)"
    )
    users.execute(
        "INSERT INTO storage.objects (bucket_id, path, size_bytes) VALUES"
        " ('files', %(ada)s || '/a/b.png', 1), ('files', %(bob)s || '/a/b.png', 1), ('files', 'b.png', 1)",
        {"ada": ADA, "bob": BOB},
    )
    query: LiteralString = "SELECT name FROM storage.objects WHERE name = path"
    assert rows(users, query, "authenticated", sub=ADA) == [(f"{ADA}/a/b.png",)]


@pytest.mark.parametrize(
    ("name", "folders"),
    [("a/b/c.png", ["a", "b"]), ("a/c.png", ["a"]), ("c.png", []), ("", [])],
)
def test_foldername_is_the_folders_of_a_path(users: Connection, name: str, folders: list[str]) -> None:
    assert users.execute("SELECT storage.foldername(%s)", [name]).fetchall() == [(folders,)]


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE auth.audit_log SET action = 'nothing'",
        "DELETE FROM auth.audit_log",
        "TRUNCATE auth.audit_log",
    ],
)
def test_the_audit_log_is_only_added_to(users: Connection, statement: LiteralString) -> None:
    assert changed(users, "INSERT INTO auth.audit_log (action) VALUES ('user.sign_in')", "service_role") == 1
    assert len(rows(users, "SELECT action FROM auth.audit_log", "service_role")) == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        changed(users, statement, "service_role")


def test_users_see_which_factors_and_keys_they_have_and_nothing_secret_of_them(users: Connection) -> None:
    users.execute(
        "INSERT INTO auth.mfa_factors (user_id, kind, name, secret_encrypted)"
        " VALUES (%s, 'totp', 'phone', 'x'), (%s, 'totp', 'phone', 'x')",
        [ADA, BOB],
    )
    users.execute(
        "INSERT INTO auth.api_keys (user_id, name, prefix, key_hash)"
        " VALUES (%s, 'ci', 'fb_1', sha256('1')), (%s, 'ci', 'fb_2', sha256('2'))",
        [ADA, BOB],
    )
    assert rows(users, "SELECT user_id::text FROM auth.mfa_factors", "authenticated", sub=ADA) == [(ADA,)]
    assert rows(users, "SELECT prefix FROM auth.api_keys", "authenticated", sub=ADA) == [("fb_1",)]
    for secret in ("SELECT secret_encrypted FROM auth.mfa_factors", "SELECT key_hash FROM auth.api_keys"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), users.transaction():
            rows(users, secret, "authenticated", sub=ADA)


def test_what_is_not_for_users_is_refused_by_column(users: Connection) -> None:
    """As the docs say of SELECT *."""
    for table in ("webhooks.endpoints", "jobs.jobs", "functions.functions", "functions.invocations"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), users.transaction():
            rows(users, "SELECT * FROM " + table, "authenticated", sub=ADA)
    for table in ("auth.app_users", "auth.sessions", "storage.buckets", "storage.objects"):
        rows(users, "SELECT * FROM " + table, "authenticated", sub=ADA)
