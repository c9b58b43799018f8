"""Statements of our own: what is given and what comes back, whatever the session is set to."""

from collections.abc import Iterator
from typing import Any

import pytest
from psycopg import errors

from fluxbase_migrations.runner.connection import queries
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.sql import composing as sql
from tests.runner.track import Runner, connect_as


@pytest.fixture
def session(runner: Runner) -> Iterator[Session]:
    opened = connect_as(runner)
    yield opened
    opened.close()


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("true", True),
        ("false", False),
        ("7::smallint", 7),
        ("-7", -7),
        ("9223372036854775807", 9223372036854775807),
        ("4294967295::oid", 4294967295),
        ("NULL", None),
        ("NULL::bool", None),
        ("''", ""),
        ("'ü😀'::name", "ü😀"),
        ("""'{"a": [1, null, "ü"]}'::jsonb""", {"a": [1, None, "ü"]}),
        ("'[]'::json", []),
        ("'{}'::text[]", []),
        ("""ARRAY['a', NULL, 'NULL', '', ' b,"c"\\d{}', 'ü']""", ["a", None, "NULL", "", ' b,"c"\\d{}', "ü"]),
        ("ARRAY['pg_class']::name[]", ["pg_class"]),
        ("xmin::text FROM pg_class LIMIT 0", ...),
    ],
)
def test_a_value_is_read_as_what_it_is(session: Session, expression: str, value: Any) -> None:
    rows = queries.run(session.pgconn, b"SELECT " + expression.encode())
    assert rows == ([] if value is ... else [(value,)])


@pytest.mark.parametrize(
    ("cast", "value"),
    [
        ("text", "it's a \\ \" % ü"),
        ("text", ""),
        ("text", None),
        ("bigint", -9223372036854775808),
        ("int", None),
        ("text[]", ["a", "NULL", "", '"', "\\", "{,}", "ü"]),
        ("text[]", []),
    ],
)
def test_a_parameter_arrives_as_it_was_given(session: Session, cast: str, value: Any) -> None:
    text = f"SELECT %s::{cast}, 5 %% 3, %s::text".encode()
    assert queries.run(session.pgconn, text, (value, "last")) == [(value, 2, "last")]


def test_parameters_and_names_fit_a_session_of_another_encoding(session: Session) -> None:
    session.query("SET client_encoding = 'LATIN1'")
    assert session.query("SELECT %s::text", ("ü",)) == [("ü",)]
    named = sql.SQL("SELECT 1 AS {}, {}").format(sql.Identifier("ü"), sql.Literal("ü"))
    assert session.query(named) == [(1, "ü")]
    with pytest.raises(errors.DataError):
        session.query("SELECT %s::text", ("😀",))


def test_a_text_with_a_nul_is_refused_and_not_cut_off(session: Session) -> None:
    for statement, params in (
        (sql.SQL("SELECT %s::text"), ("shop\0s",)),
        (sql.SQL("SELECT %s::text[]"), (["shop\0s"],)),
        (sql.SQL("SELECT {}").format(sql.Literal("shop\0s")), ()),
        (sql.SQL("SELECT 1 AS {}").format(sql.Identifier("shop\0s")), ()),
    ):
        with pytest.raises(errors.DataError, match="NUL"):
            session.query(statement, params)


@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        ("a\0b", "a\\x00b"),
        ("ü\0", "ü\\x00"),
        ("not UTF-8: \udcff", "not UTF-8: \\udcff"),
        ("\\u0000 \\\0 \\\\\0", "\\u0000 \\\\x00 \\\\\\x00"),
        ("it's \\ \"", "it's \\ \""),
    ],
)
def test_whatever_is_to_be_recorded_can_be_recorded(session: Session, text: str, recorded: str) -> None:
    """The name of the user comes from the environment, a command's token from an annotation."""
    for statement in (session.literal(text), session.json({"a": text}) + b"->>'a'"):
        assert queries.run(session.pgconn, b"SELECT " + statement) == [(recorded,)]


@pytest.mark.parametrize(
    ("composed", "value"),
    [
        (sql.SQL("SELECT {}").format(sql.Literal("a'; \\ {} %s")), "a'; \\ {} %s"),
        (sql.SQL("SELECT 1 -{}").format(sql.Literal(-1)), 2),
        (sql.SQL('SELECT {n}."a""b" FROM (SELECT 3) {n} ("a""b")').format(n=sql.Identifier('x"y')), 3),
        (sql.SQL("SELECT {}").format(sql.SQL(" + ").join([sql.Literal(1), sql.Literal(2)])), 3),
        (sql.SQL("SELECT '{{}}'").format(), "{}"),
        (sql.SQL("SELECT pg_typeof(NULL::{})::text").format(sql.Identifier("pg_catalog", "int4")), "integer"),
    ],
)
def test_pieces_are_quoted(session: Session, composed: sql.Composed, value: object) -> None:
    assert session.query(composed) == [(value,)]


def test_an_error_of_the_servers_has_its_class_and_leaves_the_session_usable(session: Session) -> None:
    with pytest.raises(errors.UndefinedTable) as raised:
        session.query("SELECT * FROM nowhere WHERE i = %s", (1,))
    assert (raised.value.sqlstate, raised.value.diag.severity_nonlocalized) == ("42P01", "ERROR")
    assert session.query("SELECT 1") == [(1,)]


@pytest.mark.parametrize("params", [(), ("x",)], ids=["simple", "with parameters"])
def test_a_session_that_is_ended_says_why_and_then_that_it_is_lost(
    session: Session, params: tuple[str, ...]
) -> None:
    statement = sql.SQL("SELECT pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(errors.AdminShutdown):
        queries.run(
            session.pgconn,
            statement.as_bytes(session.pgconn) + (b" WHERE %s = 'x'" if params else b""),
            params,
        )
    with pytest.raises(errors.OperationalError):
        session.query("SELECT 1")
    assert session.lost


def test_a_session_that_was_closed_is_lost(session: Session) -> None:
    session.close()
    session.close()
    with pytest.raises(errors.OperationalError):
        session.query("SELECT 1")
    assert session.lost
    assert not session.in_transaction
