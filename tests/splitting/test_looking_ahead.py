"""``plan`` looks at whatever statement there is: it may not know it, and never fails."""

import pytest

from fluxbase_migrations.runner.lookahead import rules
from fluxbase_migrations.runner.lookahead.classify import classify, words
from fluxbase_migrations.runner.lookahead.facts import Facts
from fluxbase_migrations.runner.sql import lexer
from tests.splitting import collected


def unknown(statement: bytes) -> tuple[str, ...]:
    """What is not known of a statement by itself, without any catalog."""
    words(statement)
    return classify(Facts(), statement, "?").unknown


def test_every_collected_statement_is_understood() -> None:
    """Or is one of those that say nothing of what they do."""
    told = {text for one in collected.STATEMENTS for text in unknown(one.encode())}
    allowed = {*rules.UNKNOWN.values()}
    assert {text for text in told if not text.endswith("it is not found")} <= allowed


def test_no_statement_of_a_real_file_is_too_much() -> None:
    files = {**collected.shipped(), **collected.written()}
    found = {statement for text in files.values() for statement in lexer.split(text.encode())}
    assert found
    for statement in found:
        unknown(statement)


NOT_READ = ("what it does: PostgreSQL 18's grammar does not know it, or it nests too deeply",)


@pytest.mark.parametrize(
    "statement",
    [
        b"ALTER TABLE",
        b"SELECT '\xff'",
        b"SELECT " + b"1 + " * 5000 + b"1",
        b"SELECT 1" + b" UNION SELECT 1" * 2000,
        b"SELECT " + b"f(" * 900 + b"1" + b")" * 900,
    ],
    ids=["no statement", "no text", "operators", "unions", "calls"],
)
def test_what_cannot_be_read_is_unknown(statement: bytes) -> None:
    assert unknown(statement) == NOT_READ


def test_a_statement_of_any_size_is_looked_at_in_bounds() -> None:
    assert unknown(b"SELECT '" + b"x" * (2 << 20) + b"'") == (
        "what it does: it is too large to be looked at",
    )
    deep = b"SELECT " + b"(" * 300 + b"1" + b")" * 300
    assert unknown(deep) == ()
