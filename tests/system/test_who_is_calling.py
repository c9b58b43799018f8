"""auth.jwt(), auth.uid() and auth.role(), and what a policy makes of them."""

import json
from typing import Any

import psycopg
import pytest
from psycopg import sql

from tests.support.databases import Database
from tests.system.gateway import ADA
from tests.system.track import Connection, connect

CLAIMS = "request.jwt.claims"


def ask(dsn: str, function: str, settings: dict[str, str], role: str | None = None) -> Any:
    with connect(dsn) as connection, connection.transaction(force_rollback=True):
        for name, value in settings.items():
            connection.execute("SELECT set_config(%s, %s, true)", [name, value])
        if role is not None:
            connection.execute(sql.SQL("SET LOCAL ROLE {}").format(sql.Identifier(role)))
        call = sql.SQL("SELECT {}()").format(sql.Identifier("auth", function))
        (value,) = connection.execute(call).fetchall()[0]
        return str(value) if function == "uid" and value is not None else value


CASES = [
    ("no settings", {}, None, None, "anon"),
    ("an empty document, as a setting is after a transaction that set it", {CLAIMS: ""}, None, None, "anon"),
    ("empty single claims", {"request.jwt.claim.sub": "", "request.jwt.claim.role": ""}, None, None, "anon"),
    ("an empty object", {CLAIMS: "{}"}, {}, None, None),
    ("null", {CLAIMS: "null"}, None, None, None),
    ("not an object", {CLAIMS: "[1, 2]"}, [1, 2], None, None),
    ("a subject and a role", {CLAIMS: json.dumps({"sub": ADA, "role": "admin"})}, ..., ADA, "admin"),
    ("a subject without a role", {CLAIMS: json.dumps({"sub": ADA})}, ..., ADA, None),
    ("a role without a subject", {CLAIMS: '{"role": "admin"}'}, ..., None, "admin"),
    ("claims that are null", {CLAIMS: '{"sub": null, "role": null}'}, ..., None, None),
    ("claims that are empty", {CLAIMS: '{"sub": "", "role": ""}'}, ..., None, None),
    ("single claims", {"request.jwt.claim.sub": ADA, "request.jwt.claim.role": "editor"}, ..., ADA, "editor"),
    ("a single subject", {"request.jwt.claim.sub": ADA}, {"sub": ADA}, ADA, None),
    (
        "both, of which only the document counts",
        {CLAIMS: json.dumps({"sub": ADA}), "request.jwt.claim.role": "admin"},
        {"sub": ADA},
        ADA,
        None,
    ),
]


@pytest.mark.parametrize(
    ("settings", "jwt", "uid", "role"), [case[1:] for case in CASES], ids=[case[0] for case in CASES]
)
def test_claims_come_from_the_requests_settings(
    standing: Database, settings: dict[str, str], jwt: Any, uid: str | None, role: str | None
) -> None:
    if jwt is not ...:
        assert ask(standing.dsn, "jwt", settings, "anon") == jwt
    assert ask(standing.dsn, "uid", settings, "anon") == uid
    assert ask(standing.dsn, "role", settings, "anon") == role


@pytest.mark.parametrize("role", [None, "authenticated", "service_role"])
def test_without_claims_everybody_is_a_stranger(standing: Database, role: str | None) -> None:
    assert ask(standing.dsn, "role", {}, role) == "anon"
    assert ask(standing.dsn, "is_admin", {}, role) is False


def test_is_admin_is_never_null(standing: Database) -> None:
    assert ask(standing.dsn, "is_admin", {CLAIMS: "{}"}, "anon") is False
    assert ask(standing.dsn, "is_admin", {CLAIMS: '{"role": "admin"}'}, "authenticated") is True


@pytest.mark.parametrize("function", ["jwt", "uid", "role"])
def test_claims_that_are_not_json_are_an_error(standing: Database, function: str) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="invalid input syntax for type json"):
        ask(standing.dsn, function, {CLAIMS: "{sub: ada"}, "anon")


def test_a_subject_that_is_no_uuid_is_an_error(standing: Database) -> None:
    with pytest.raises(psycopg.errors.InvalidTextRepresentation, match="invalid input syntax for type uuid"):
        ask(standing.dsn, "uid", {CLAIMS: '{"sub": "ada"}'}, "authenticated")


def test_a_callers_search_path_cannot_change_what_they_mean(standing: Database) -> None:
    with connect(standing.dsn) as connection, connection.transaction(force_rollback=True):
        connection.execute("CREATE SCHEMA hostile")
        connection.execute(
            "CREATE FUNCTION hostile.current_setting(text, boolean) RETURNS text LANGUAGE sql"
            """ AS $$ SELECT '{"role": "admin"}' $$"""
        )
        connection.execute("SET search_path = hostile, pg_catalog")
        assert connection.execute("SELECT auth.role()").fetchall() == [("anon",)]


def test_any_login_may_ask(standing: Database) -> None:
    with connect(standing.dsn) as connection:
        rows = connection.execute(
            "SELECT has_function_privilege('public', f, 'EXECUTE')"
            " FROM unnest('{auth.jwt(),auth.uid(),auth.role()}'::regprocedure[]) AS f"
        ).fetchall()
    assert rows == [(True,)] * 3


def test_a_policy_asks_once_for_a_query(standing: Database) -> None:
    """The planner sees through the functions: what a policy costs does not grow with the table."""
    with connect(standing.dsn) as connection:
        plan = explain(connection, "SELECT * FROM auth.app_users")
    assert "InitPlan" in plan
    assert "current_setting" in plan


def explain(connection: Connection, query: str) -> str:
    with connection.transaction(force_rollback=True):
        connection.execute("SET LOCAL ROLE authenticated")
        rows = connection.execute(b"EXPLAIN (VERBOSE) " + query.encode()).fetchall()
    return "\n".join(line for (line,) in rows)
