"""What a statement outside a transaction is about, by PostgreSQL's own grammar."""

import pytest

from fluxbase_migrations.runner.sql.grammar import Outside, outside_transaction


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
