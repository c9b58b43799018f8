"""What kind each statement of a file is, and in which transactions the file therefore runs.

The first words decide; PostgreSQL has the last word (see ``engine``), so a kind that is wrong here costs
one repetition, never correctness. Most statements are plain and are not even looked at twice. Left out or
moved is only what is a transaction's beginning or end to its last word (see ``transaction_grammar``).
"""

import re
from collections.abc import Collection
from dataclasses import field
from enum import StrEnum
from itertools import islice, pairwise
from typing import Final

from fluxbase_migrations.core.errors import InvalidSource
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
_SETTING: Final = re.compile(rb"(?:SET|RESET)\b", re.IGNORECASE)
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
        case ("CREATE" | "DROP", what, *_) if what in _DATABASE_WIDE:
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
            every = _upper(sql, start, end)
            detach = b"DETACH" in every and every[-1] == b"CONCURRENTLY"
            return Special(StatementKind.ALONE, concurrently=True) if detach else None
        case ("ALTER", "DATABASE", *rest):
            return Special(StatementKind.ALONE) if rest[1:3] == ["SET", "TABLESPACE"] else None
        case ("COPY", *_):
            return Special(StatementKind.COPY_STDIN) if _from_stdin(_upper(sql, start, end)) else None
        case _:
            return None


def _transactional(sql: bytes, start: int, end: int) -> Special | None:
    words = [word.upper() for word in islice(tokens(sql, start, end), _LONGEST)]
    found = transaction_grammar.parse(words)
    return Special(_VERBS[found.verb], found.modes, found.chain) if found else None


def _unless_savepoint(words: tuple[str, ...]) -> Special | None:
    """ROLLBACK TO a savepoint is as plain as the savepoint is."""
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


@dataclass(slots=True)
class Group:
    """Consecutive statements that take effect together."""

    first: int
    """Index of the first statement that this group covers, dropped ones included."""
    last: int = 0
    """One past the last covered statement."""
    send: list[int] = field(default_factory=list)
    """The statements to send; a file's own BEGIN and COMMIT are left out, because ours take their place."""
    modes: list[bytes] = field(default_factory=list)
    alone: bool = False
    """One statement, outside any transaction."""
    concurrently: bool = False
    explicit: bool = False
    """The file itself opened this transaction: a statement refused in it is the file's error."""
    end: StatementKind = StatementKind.COMMIT


def group(
    statements: Statements,
    specials: dict[int, Special],
    alone: Collection[int],
    cuts: Collection[int],
    name: str,
) -> list[Group]:
    """Cut a file into its groups; a file that yields one transactional group is an atomic file.

    ``alone`` are the statements that PostgreSQL refused in a transaction, ``cuts`` those that need what
    stands before them committed.

    Raises:
        InvalidSource: the file ends inside a transaction that it opened itself, or gives such a one modes
            when it is too late.
    """
    groups: list[Group] = []
    current = Group(0)

    def close(last: int, end: StatementKind = StatementKind.COMMIT) -> Group:
        current.last, current.end = last, end
        if current.send or end is not StatementKind.COMMIT:
            groups.append(current)
        return Group(last)

    opened = 0
    for index in range(len(statements)):
        special = specials.get(index)
        kind = special.kind if special else StatementKind.PLAIN
        if index in cuts and not current.explicit:
            current = close(index)
        if (kind is StatementKind.ALONE or index in alone) and not current.explicit:
            current = close(index)
            groups.append(
                Group(
                    index, index + 1, [index], alone=True, concurrently=bool(special and special.concurrently)
                )
            )
            current = Group(index + 1)
            continue
        match kind:
            case StatementKind.BEGIN if special:
                if special.modes and not _only_settings(statements, current.send):
                    if current.explicit:
                        raise _late_modes(statements, index, name)
                    current = close(index)
                if special.modes:
                    current.modes.append(special.modes)
                if not current.explicit:
                    opened = index
                    current.explicit = True
            case StatementKind.SET_TRANSACTION if special and not current.send:
                current.modes.append(special.modes)
            case StatementKind.COMMIT | StatementKind.ROLLBACK | StatementKind.PREPARE if special:
                modes = current.modes
                if kind is StatementKind.PREPARE:
                    current.send.append(index)
                current = close(index + 1, kind)
                if special.chain:
                    current.explicit, current.modes, opened = True, modes, index
            case _:
                current.send.append(index)
    # Where a COMMIT lacks its semicolon, the server says so, with the place.
    if current.explicit and not any(one.kind is StatementKind.MALFORMED for one in specials.values()):
        line = statements.sql.count(b"\n", 0, statements.starts[opened]) + 1
        raise InvalidSource(
            "the file ends inside the transaction that it opened here",
            file=name,
            line=line,
            statement=f"{opened + 1} of {len(statements)}, {tag(statements, opened)}",
            hint="add the missing COMMIT, or remove BEGIN: a file is one transaction anyway",
        )
    close(len(statements))
    return groups


def _only_settings(statements: Statements, send: Collection[int]) -> bool:
    """Whether a transaction's modes can still be chosen after these statements, as PostgreSQL has it."""
    return all(_SETTING.match(statements.sql, statements.starts[index]) for index in send)


def _late_modes(statements: Statements, index: int, name: str) -> InvalidSource:
    return InvalidSource(
        "BEGIN cannot set modes inside the transaction that the file opened before",
        file=name,
        line=statements.sql.count(b"\n", 0, statements.starts[index]) + 1,
        statement=f"{index + 1} of {len(statements)}, {tag(statements, index)}",
        hint="add the missing COMMIT before it, or give the modes to the first BEGIN",
    )


def is_atomic(groups: list[Group]) -> bool:
    """Whether the whole file can take effect together with its version row."""
    return not groups or (len(groups) == 1 and not groups[0].alone and groups[0].end is StatementKind.COMMIT)
