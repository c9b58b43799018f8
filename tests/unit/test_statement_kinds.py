"""What a statement means for the transactions of its file, and how a file's statements are sent."""

import pytest

from fluxbase_migrations.core.files import Direction, MigrationFile
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.runner.sql import lexer, statements
from fluxbase_migrations.runner.sql.grouping import Group
from fluxbase_migrations.runner.sql.prepared_file import MESSAGE_LIMIT, Prepared
from fluxbase_migrations.runner.sql.simple_query import QueryPart
from fluxbase_migrations.runner.sql.statements import Special, StatementKind

ALONE = Special(StatementKind.ALONE)
CONCURRENTLY = Special(StatementKind.ALONE, concurrently=True)
MALFORMED = Special(StatementKind.MALFORMED)
KINDS: dict[str, Special | None] = {
    "SELECT 1": None,
    "BEGIN": Special(StatementKind.BEGIN),
    "start transaction read only": Special(StatementKind.BEGIN, b"READ ONLY"),
    "BEGIN ATOMIC": MALFORMED,
    "COMMIT": Special(StatementKind.COMMIT),
    "END": Special(StatementKind.COMMIT),
    "COMMIT AND CHAIN": Special(StatementKind.COMMIT, chain=True),
    "COMMIT SELECT 1": MALFORMED,
    "COMMIT PREPARED 'x'": ALONE,
    "ROLLBACK": Special(StatementKind.ROLLBACK),
    "ABORT": Special(StatementKind.ROLLBACK),
    "ROLLBACK TO a": None,
    "ROLLBACK TO SAVEPOINT a": None,
    "ROLLBACK PREPARED 'x'": ALONE,
    "PREPARE TRANSACTION 'x'": Special(StatementKind.PREPARE),
    "PREPARE p AS SELECT 1": None,
    "SET TRANSACTION READ WRITE": Special(StatementKind.SET_TRANSACTION, b"READ WRITE"),
    "SET search_path = a": None,
    "DISCARD ALL": Special(StatementKind.DISCARD_ALL),
    "DISCARD PLANS": None,
    "VACUUM t": ALONE,
    "VACUUM (FULL) t": ALONE,
    "CLUSTER": ALONE,
    "CLUSTER VERBOSE": ALONE,
    "CLUSTER t USING i": None,
    "ALTER SYSTEM SET a = 1": ALONE,
    "ALTER DATABASE d SET TABLESPACE t": ALONE,
    "ALTER DATABASE d SET a = 1": None,
    "CREATE DATABASE d": ALONE,
    "DROP TABLESPACE t": ALONE,
    "CREATE TABLE t (a int)": None,
    "CREATE INDEX i ON t (a)": None,
    "CREATE INDEX CONCURRENTLY i ON t (a)": CONCURRENTLY,
    "create unique index concurrently i on t (a)": CONCURRENTLY,
    "DROP INDEX CONCURRENTLY i": CONCURRENTLY,
    "DROP INDEX i": None,
    "REINDEX TABLE t": None,
    "REINDEX SCHEMA s": ALONE,
    "REINDEX (VERBOSE) DATABASE d": ALONE,
    "REINDEX TABLE CONCURRENTLY t": CONCURRENTLY,
    "REINDEX (CONCURRENTLY) INDEX i": CONCURRENTLY,
    "ALTER TABLE t DETACH PARTITION p": None,
    "ALTER TABLE t DETACH PARTITION p CONCURRENTLY": CONCURRENTLY,
    "ALTER TABLE t ADD concurrently int": None,
    "COPY t FROM STDIN": Special(StatementKind.COPY_STDIN),
    "COPY t (a, b) FROM stdin WITH (FORMAT csv)": Special(StatementKind.COPY_STDIN),
    "COPY t TO STDOUT": None,
    "COPY t FROM '/tmp/stdin'": None,
}


@pytest.mark.parametrize(("sql", "special"), KINDS.items(), ids=KINDS)
def test_first_words_tell_what_a_statement_is(sql: str, special: Special | None) -> None:
    for text in (sql, f"/* BEGIN */ {sql}", f"{sql} -- COMMIT"):
        assert statements.classify(lexer.split(text.encode())).get(0) == special


RESET = QueryPart(b"RESET ALL;", 1)


def sent(sql: str) -> list[list[str]]:
    """The statements of each message, ours as ``reset``; together they are the file's, in order."""
    file = MigrationFile("1_a.up.sql", 1, "a", Direction.UP, sql.encode())
    prepared = Prepared.of(Step(1, Direction.UP, -1, 1, file))
    messages = []
    for message in prepared.messages(Group(0, send=[*range(len(prepared.statements))]), RESET):
        texts: list[str] = []
        for part in message:
            if part.origin is not None:
                assert part.sql == sql.encode()[part.origin : part.origin + len(part.sql)]
                indexes = range(part.first, part.first + part.results)
                texts += [prepared.statements.text(index).decode() for index in indexes]
            elif part is RESET:
                texts.append("reset")
        messages.append(texts)
    return messages


LONG = f"SELECT '{'a' * (MESSAGE_LIMIT // 2)}'"
LARGER = f"SELECT '{'a' * MESSAGE_LIMIT}'"
MESSAGES: dict[str, tuple[list[str], list[list[str]]]] = {
    "a small file": (["SELECT 1", "SELECT 2"], [["SELECT 1", "SELECT 2"]]),
    "DISCARD ALL": (["SELECT 1", "DISCARD ALL", "SELECT 2"], [["SELECT 1", "reset", "SELECT 2"]]),
    "more than fits": ([LONG, LONG, "SELECT 1"], [[LONG], [LONG, "SELECT 1"]]),
    "one that is larger than a message": (
        ["SELECT 1", "SELECT 2", LONG, LONG, LARGER],
        [["SELECT 1", "SELECT 2", LONG], [LONG], [LARGER]],
    ),
    "another reading of strings": (
        ["SET standard_conforming_strings = off", "SELECT 1", "DISCARD ALL", "SELECT 2"],
        [["SET standard_conforming_strings = off"], ["SELECT 1"], ["reset"], ["SELECT 2"]],
    ),
}


@pytest.mark.parametrize(("texts", "expected"), MESSAGES.values(), ids=MESSAGES)
def test_messages_hold_as_many_statements_as_fit(texts: list[str], expected: list[list[str]]) -> None:
    assert sent("; ".join(texts)) == expected
