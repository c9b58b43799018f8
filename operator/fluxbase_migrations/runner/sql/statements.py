"""What kind each statement of a file is, as far as transactions are concerned (see ``grouping``).

The first words decide; PostgreSQL's errors correct a kind that is wrong here (see ``file_execution``), at the
cost of one repetition. Most statements are plain, and the first word shows it. Only what is
a transaction's beginning or end to its last word is left out or moved (see ``transaction_grammar``).
"""

import re
from enum import StrEnum
from itertools import islice, pairwise
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.sql import transaction_grammar
from fluxbase_migrations.runner.sql.lexer import Statements, leading_words, tokens
from fluxbase_migrations.runner.sql.transaction_grammar import Verb


class StatementKind(StrEnum):
    """How a statement bears on transactions."""

    PLAIN = "plain"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE = "prepare transaction"
    SET_TRANSACTION = "set transaction"
    MALFORMED = "looks like the beginning or end of a transaction, and is not"
    ALONE = "cannot run in a transaction"
    DISCARD_ALL = "discard all"
    COPY_STDIN = "copy from stdin"


@dataclass(frozen=True, slots=True)
class Special:
    """A statement that is not plain."""

    kind: StatementKind
    modes: bytes = b""
    """BEGIN and SET TRANSACTION: the transaction modes."""
    chain: bool = False
    concurrently: bool = False


_SUSPECT: Final = re.compile(
    rb"(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|PREPARE|SET|DISCARD|VACUUM|CLUSTER|CREATE|DROP|ALTER|REINDEX|COPY)\b",
    re.IGNORECASE,
)
_VERBS: Final = {
    Verb.BEGIN: StatementKind.BEGIN,
    Verb.COMMIT: StatementKind.COMMIT,
    Verb.ROLLBACK: StatementKind.ROLLBACK,
    Verb.PREPARE: StatementKind.PREPARE,
    Verb.FINISH_PREPARED: StatementKind.ALONE,
    Verb.SET_TRANSACTION: StatementKind.SET_TRANSACTION,
}
_LONGEST: Final = 40
"""Words. No statement about transactions has as many."""
_DATABASE_WIDE: Final = frozenset(("DATABASE", "TABLESPACE"))


def classify(statements: Statements) -> dict[int, Special]:
    """The statements that are not plain, by index."""
    specials = {}
    sql = statements.sql
    for index, (start, end) in enumerate(zip(statements.starts, statements.ends, strict=True)):
        if _SUSPECT.match(sql, start, end) and (special := _special(sql, start, end)):
            specials[index] = special
    return specials


def _special(sql: bytes, start: int, end: int) -> Special | None:
    words = leading_words(sql, start, end)
    match words:
        case ("BEGIN" | "START" | "COMMIT" | "END" | "ROLLBACK" | "ABORT", *_):
            return _transactional(sql, start, end) or _unless_savepoint(words)
        case ("PREPARE", "TRANSACTION", *_) | ("SET", "TRANSACTION", *_) | ("SET", _, "TRANSACTION", *_):
            return _transactional(sql, start, end)
        case ("DISCARD", "ALL"):
            return Special(StatementKind.DISCARD_ALL)
        case ("VACUUM", *_) | ("ALTER", "SYSTEM", *_) | ("CLUSTER",) | ("CLUSTER", "VERBOSE"):
            return Special(StatementKind.ALONE)
        case ("CREATE" | "DROP", kind, *_) if kind in _DATABASE_WIDE:
            return Special(StatementKind.ALONE)
        case ("CREATE", "INDEX", "CONCURRENTLY", *_) | ("CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", *_):
            return Special(StatementKind.ALONE, concurrently=True)
        case ("DROP", "INDEX", "CONCURRENTLY", *_):
            return Special(StatementKind.ALONE, concurrently=True)
        case ("REINDEX", *rest):
            if "CONCURRENTLY" in rest:
                return Special(StatementKind.ALONE, concurrently=True)
            return (
                Special(StatementKind.ALONE) if {"DATABASE", "SYSTEM", "SCHEMA"}.intersection(rest) else None
            )
        case ("ALTER", "TABLE", *_):
            all_words = _upper(sql, start, end)
            detach = b"DETACH" in all_words and all_words[-1] == b"CONCURRENTLY"
            return Special(StatementKind.ALONE, concurrently=True) if detach else None
        case ("ALTER", "DATABASE", *rest):
            return Special(StatementKind.ALONE) if rest[1:3] == ["SET", "TABLESPACE"] else None
        case ("COPY", *_):
            return Special(StatementKind.COPY_STDIN) if _from_stdin(_upper(sql, start, end)) else None
        case _:
            return None


def _transactional(sql: bytes, start: int, end: int) -> Special | None:
    words = [word.upper() for word in islice(tokens(sql, start, end), _LONGEST)]
    parsed = transaction_grammar.parse(words)
    return Special(_VERBS[parsed.verb], parsed.modes, parsed.chain) if parsed else None


def _unless_savepoint(words: tuple[str, ...]) -> Special | None:
    """None for ROLLBACK TO a savepoint, which is as plain as SAVEPOINT; otherwise malformed."""
    return None if words[0] == "ROLLBACK" and "TO" in words[1:3] else Special(StatementKind.MALFORMED)


def _upper(sql: bytes, start: int, end: int) -> list[bytes]:
    return [token.upper() for token in tokens(sql, start, end)]


def _from_stdin(words: list[bytes]) -> bool:
    return any(pair == (b"FROM", b"STDIN") for pair in pairwise(words))


_FILLER: Final = frozenset(
    [
        "OR",
        "REPLACE",
        "UNIQUE",
        "TEMP",
        "TEMPORARY",
        "UNLOGGED",
        "GLOBAL",
        "LOCAL",
        "RECURSIVE",
        "TRUSTED",
        "PROCEDURAL",
        "CONSTRAINT",
    ]
)
_PAIRS: Final = frozenset(
    ["MATERIALIZED", "FOREIGN", "DEFAULT", "TEXT", "EVENT", "ACCESS", "OPERATOR", "USER"]
)
_TWO_WORDS: Final = frozenset(
    ["CREATE", "ALTER", "DROP", "REINDEX", "REFRESH", "COMMENT", "SECURITY", "IMPORT"]
)


def tag(statements: Statements, index: int) -> str:
    """A statement's command tag, like ``ALTER TABLE``: names what failed without quoting the file."""
    words = leading_words(statements.sql, statements.starts[index], statements.ends[index])
    words = tuple(word for word in words if word[0].isalpha())
    if not words:
        return "?"
    if words[0] not in _TWO_WORDS:
        return words[0]
    rest = [word for word in words[1:] if word not in _FILLER]
    return " ".join([words[0], *rest[: 2 if rest and rest[0] in _PAIRS else 1]])


def statement_label(statements: Statements, index: int) -> str:
    """Like ``2 of 3, ALTER TABLE``."""
    return f"{index + 1} of {len(statements)}, {tag(statements, index)}"
