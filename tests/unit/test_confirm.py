"""The server's command tags beside the statements that were sent."""

import pytest

from fluxbase_migrations.runner.sql import command_tags, lexer, statements
from fluxbase_migrations.runner.sql.simple_query import QueryPart, Reply

FITS = {
    "SELECT 1": "SELECT 1",
    "WITH x AS (SELECT 1) INSERT INTO t SELECT 1": "INSERT 0 1",
    "TABLE t": "SELECT 3",
    "(SELECT 1)": "SELECT 1",
    "CREATE TABLE t AS SELECT 1": "SELECT 1",
    "create view v AS SELECT 1": "CREATE VIEW",
    "EXECUTE p": "DELETE 3",
    "ROLLBACK TO s": "ROLLBACK",
    "SAVEPOINT s": "SAVEPOINT",
    "RELEASE s": "RELEASE",
    "PREPARE p AS SELECT 1": "PREPARE",
    "PREPARE TRANSACTION 'x'": "PREPARE TRANSACTION",
    "COMMIT PREPARED 'x'": "COMMIT PREPARED",
    "LOCK t": "LOCK TABLE",
    "UNHEARD OF": "SOMETHING NEW",
}
DOES_NOT_FIT = {
    "SELECT 1": "COMMIT",
    "CREATE FUNCTION f": "COMMIT",
    "COMMIT no": "COMMIT",
    "ROLLBACK no": "ROLLBACK",
    "EXECUTE p": "BEGIN",
    "UNHEARD OF": "COMMIT",
    "PREPARE p AS SELECT 1": "PREPARE TRANSACTION",
    "INSERT INTO t VALUES (1)": "SELECT 1",
    "DO $$ $$": "ROLLBACK",
}


def compared(sql: str, *tags: str) -> str | None:
    found = lexer.split(sql.encode())
    chunks = [QueryPart(b"ours", 1), QueryPart(found.sql, len(found), 0, 0), QueryPart(b"ours", 1)]
    replies = [Reply(tag.encode()) for tag in ("BEGIN", *tags, "COMMIT")]
    return command_tags.complete(chunks, replies, found, statements.classify(found))


@pytest.mark.parametrize("sql", FITS)
def test_the_tag_of_the_statement_itself_fits(sql: str) -> None:
    assert compared(sql, FITS[sql]) is None


@pytest.mark.parametrize("sql", DOES_NOT_FIT)
def test_another_ones_tag_does_not(sql: str) -> None:
    assert DOES_NOT_FIT[sql] in (compared(sql, DOES_NOT_FIT[sql]) or "")


def test_a_statement_more_or_less_is_noticed() -> None:
    assert "1 fewer" in (compared("SELECT 1; SELECT 2", "SELECT 1") or "")
    assert "1 more" in (compared("INSERT INTO t VALUES (1)", "INSERT 0 1", "INSERT 0 1") or "")


def test_what_was_committed_is_counted_to_the_last_commit() -> None:
    replies = [Reply(tag) for tag in (b"BEGIN", b"SELECT 1", b"COMMIT", b"INSERT 0 1")]
    assert command_tags.ended_by_itself(replies) == 3
    assert command_tags.ended_by_itself(replies[:2]) == 0
