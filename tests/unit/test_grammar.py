"""What a statement outside a transaction is about, by PostgreSQL's own grammar."""

import pytest

from fluxbase_migrations.runner.sql.grammar import Outside, outside_transaction, parsed, too_deep


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        (
            "CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS i ON s.t (a)",
            Outside("create", ("s", "t"), index="i", if_not_exists=True),
        ),
        ("CREATE INDEX CONCURRENTLY ON t (a)", Outside("create", ("t",))),
        ('DROP INDEX CONCURRENTLY s."I"', Outside("drop", ("s", "I"), is_index=True)),
        ("REINDEX INDEX CONCURRENTLY s.i", Outside("reindex", ("s", "i"), is_index=True)),
        ("REINDEX (CONCURRENTLY) TABLE t", Outside("reindex", ("t",))),
        ("REINDEX DATABASE d", Outside("reindex")),
        (
            "ALTER TABLE s.t DETACH PARTITION u.p CONCURRENTLY",
            Outside("detach", ("s", "t"), partition=("u", "p")),
        ),
        ("CREATE DATABASE d", Outside("create database", database="d")),
        ("DROP DATABASE IF EXISTS d", Outside("drop database", database="d")),
        ("VACUUM t", None),
        ("SELEKT 1", None),
        ("SELECT 1; SELECT 2", None),
    ],
)
def test_what_runs_outside_a_transaction_is_understood(sql: str, expected: Outside | None) -> None:
    assert outside_transaction(sql.encode()) == expected


def test_a_statement_that_nests_too_deeply_is_left_to_the_server() -> None:
    """Its tree cannot be handed over; it is a statement nevertheless."""
    expression = " || ".join(["a"] * 200)
    assert outside_transaction(f"CREATE INDEX CONCURRENTLY i ON t (({expression}))".encode()) is None


def test_bytes_that_are_no_text_are_not_understood() -> None:
    assert outside_transaction(b"DROP DATABASE \xff") is None


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT " + "+".join(["1"] * 60_000),
        "SELECT 1" + "::int" * 60_000,
        "SELECT 1" + " ISNULL" * 60_000,
        "SELECT a, b FROM t" + " UNION SELECT a, b FROM t" * 30_000,
        "SELECT FROM t" + " JOIN t ON a = b AND c = d" * 30_000,
        "SELECT 1" + "+f(1, 2)" * 30_000,
        "SELECT " + "(" * 100 + ("+1" * 600 + ")") * 100,
    ],
    ids=["operators", "casts", "postfix", "set operations", "joins", "operators and calls", "parentheses"],
)
def test_a_statement_that_would_exhaust_the_stack_is_not_parsed(sql: str) -> None:
    assert too_deep(sql.encode())
    assert parsed(sql.encode()) is None


@pytest.mark.parametrize(
    "sql",
    [
        "INSERT INTO t VALUES " + ", ".join(["(-1, now() - '1 day'::interval, f(a + 1))"] * 10_000),
        "DELETE FROM t WHERE " + " OR ".join(["a = 1 AND b = 2"] * 10_000),
        f"SELECT '{'+1' * 100_000}' /* {'+1' * 100_000} */",
    ],
    ids=["rows", "conditions", "text"],
)
def test_a_long_statement_is_not_taken_for_a_deep_one(sql: str) -> None:
    assert not too_deep(sql.encode())
    assert parsed(sql.encode()) is not None
