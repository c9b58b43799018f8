"""What begins and ends a transaction, to the last word; held to PostgreSQL's own parser."""

import postgast
import pytest

from fluxbase_migrations.runner.sql import lexer, transaction_grammar
from fluxbase_migrations.runner.sql.transaction_grammar import TransactionStatement, Verb

WHOLE = {
    "BEGIN": TransactionStatement(Verb.BEGIN),
    "begin work": TransactionStatement(Verb.BEGIN),
    "BEGIN TRANSACTION READ ONLY": TransactionStatement(Verb.BEGIN, b"READ ONLY"),
    "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE": TransactionStatement(
        Verb.BEGIN, b"ISOLATION LEVEL READ COMMITTED, READ WRITE"
    ),
    "START TRANSACTION ISOLATION LEVEL SERIALIZABLE READ ONLY DEFERRABLE": TransactionStatement(
        Verb.BEGIN, b"ISOLATION LEVEL SERIALIZABLE, READ ONLY, DEFERRABLE"
    ),
    "START /* c */ TRANSACTION -- c\n NOT DEFERRABLE": TransactionStatement(Verb.BEGIN, b"NOT DEFERRABLE"),
    "COMMIT": TransactionStatement(Verb.COMMIT),
    "END WORK": TransactionStatement(Verb.COMMIT),
    "COMMIT TRANSACTION AND NO CHAIN": TransactionStatement(Verb.COMMIT),
    "END AND CHAIN": TransactionStatement(Verb.COMMIT, chain=True),
    "ROLLBACK": TransactionStatement(Verb.ROLLBACK),
    "ABORT AND CHAIN": TransactionStatement(Verb.ROLLBACK, chain=True),
    "PREPARE TRANSACTION 'x'": TransactionStatement(Verb.PREPARE),
    "COMMIT PREPARED 'x'": TransactionStatement(Verb.FINISH_PREPARED),
    "ROLLBACK PREPARED $$x$$": TransactionStatement(Verb.FINISH_PREPARED),
    "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ": TransactionStatement(
        Verb.SET_TRANSACTION, b"ISOLATION LEVEL REPEATABLE READ"
    ),
    "SET LOCAL TRANSACTION READ ONLY": TransactionStatement(Verb.SET_TRANSACTION, b"READ ONLY"),
}
NOT_WHOLE = [
    "BEGIN ATOMIC",
    "BEGIN READ",
    "BEGIN , READ ONLY",
    "BEGIN\nINSERT INTO t VALUES (1)",
    "BEGIN WORK TRANSACTION",
    "START",
    "START TRANSACTION WORK",
    "COMMIT :",
    "COMMIT CREATE TABLE b(i int)",
    "COMMIT AND",
    "COMMIT WORK WORK",
    "END CREATE INDEX i ON t(x)",
    'COMMIT "work"',
    "ROLLBACK TO s",
    "ROLLBACK TO SAVEPOINT s",
    "ABORT CHAIN",
    "PREPARE TRANSACTION x",
    "PREPARE transaction AS SELECT 1",
    "SET TRANSACTION",
    "SET TRANSACTION SNAPSHOT '1'",
    "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
    "SET TRANSACTION READ ONLY SELECT 1",
]


def parsed(sql: str) -> TransactionStatement | None:
    words = [word.upper() for word in lexer.tokens(sql.encode(), 0, len(sql.encode()))]
    return transaction_grammar.parse(words)


@pytest.mark.parametrize("sql", WHOLE)
def test_a_whole_statement_is_understood(sql: str) -> None:
    assert parsed(sql) == WHOLE[sql]
    assert len(postgast.parse(sql).stmts) == 1  # PostgreSQL takes it, too


@pytest.mark.parametrize("sql", NOT_WHOLE)
def test_anything_else_is_for_the_server_to_read(sql: str) -> None:
    assert parsed(sql) is None
