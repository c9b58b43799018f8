"""What kind each statement of a file is, and in which transactions the file therefore runs.

The first words decide; PostgreSQL has the last word (see ``engine``), so a kind that is wrong here costs
one repetition, never correctness. Most statements are plain and are not even looked at twice.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import pairwise
from typing import Final

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.runner.lexer import Statements, leading_words, tokens


class Kind(StrEnum):
    """How a statement bears on transactions."""

    PLAIN = "plain"
    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE = "prepare transaction"
    SET_TRANSACTION = "set transaction"
    ALONE = "cannot run in a transaction"
    DISCARD_ALL = "discard all"
    COPY_STDIN = "copy from stdin"


@dataclass(frozen=True, slots=True)
class Special:
    """A statement that is not plain."""

    kind: Kind
    modes: bytes = b""
    """BEGIN and SET TRANSACTION: the transaction modes as written."""
    chain: bool = False
    concurrently: bool = False


_SUSPECT: Final = re.compile(
    rb"(?:BEGIN|START|COMMIT|END|ROLLBACK|ABORT|PREPARE|SET|DISCARD|VACUUM|CLUSTER|CREATE|DROP|ALTER|REINDEX|COPY)\b",
    re.IGNORECASE,
)
_MODES: Final = re.compile(
    rb"(?:BEGIN(?:\s+(?:WORK|TRANSACTION))?|START\s+TRANSACTION|SET\s+(?:LOCAL\s+)?TRANSACTION)\s*(.*)",
    re.IGNORECASE | re.DOTALL,
)
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
        case ("BEGIN", *_) | ("START", "TRANSACTION", *_):
            return Special(Kind.BEGIN, _modes(sql[start:end]))
        case ("COMMIT" | "ROLLBACK", "PREPARED", *_):
            return Special(Kind.ALONE)
        case ("COMMIT" | "END", *rest):
            return Special(Kind.COMMIT, chain=_chain(rest))
        case ("ROLLBACK" | "ABORT", *rest):
            return None if "TO" in rest else Special(Kind.ROLLBACK, chain=_chain(rest))
        case ("PREPARE", "TRANSACTION", *_):
            return Special(Kind.PREPARE)
        case ("SET", "TRANSACTION", *rest) | ("SET", "LOCAL", "TRANSACTION", *rest):
            return None if rest[:1] == ["SNAPSHOT"] else Special(Kind.SET_TRANSACTION, _modes(sql[start:end]))
        case ("DISCARD", "ALL"):
            return Special(Kind.DISCARD_ALL)
        case ("VACUUM", *_) | ("ALTER", "SYSTEM", *_) | ("CLUSTER",) | ("CLUSTER", "VERBOSE"):
            return Special(Kind.ALONE)
        case ("CREATE" | "DROP", what, *_) if what in _DATABASE_WIDE:
            return Special(Kind.ALONE)
        case ("CREATE", "INDEX", "CONCURRENTLY", *_) | ("CREATE", "UNIQUE", "INDEX", "CONCURRENTLY", *_):
            return Special(Kind.ALONE, concurrently=True)
        case ("DROP", "INDEX", "CONCURRENTLY", *_):
            return Special(Kind.ALONE, concurrently=True)
        case ("REINDEX", *rest):
            if "CONCURRENTLY" in rest:
                return Special(Kind.ALONE, concurrently=True)
            return Special(Kind.ALONE) if {"DATABASE", "SYSTEM", "SCHEMA"}.intersection(rest) else None
        case ("ALTER", "TABLE", *_):
            every = _upper(sql, start, end)
            detach = b"DETACH" in every and every[-1] == b"CONCURRENTLY"
            return Special(Kind.ALONE, concurrently=True) if detach else None
        case ("ALTER", "DATABASE", *rest):
            return Special(Kind.ALONE) if rest[1:3] == ["SET", "TABLESPACE"] else None
        case ("COPY", *_):
            return Special(Kind.COPY_STDIN) if _from_stdin(_upper(sql, start, end)) else None
        case _:
            return None


def _upper(sql: bytes, start: int, end: int) -> list[bytes]:
    return [token.upper() for token in tokens(sql, start, end)]


def _chain(rest: list[str]) -> bool:
    return "CHAIN" in rest and "NO" not in rest


def _from_stdin(words: list[bytes]) -> bool:
    return any(pair == (b"FROM", b"STDIN") for pair in pairwise(words))


def _modes(text: bytes) -> bytes:
    match = _MODES.match(text)
    return match[1].strip() if match else b""


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
    end: Kind = Kind.COMMIT


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
        InvalidSource: the file ends inside a transaction that it opened itself, or holds COPY FROM STDIN.
    """
    groups: list[Group] = []
    current = Group(0)

    def close(last: int, end: Kind = Kind.COMMIT) -> Group:
        current.last, current.end = last, end
        if current.send or end is not Kind.COMMIT:
            groups.append(current)
        return Group(last)

    opened = 0
    for index in range(len(statements)):
        special = specials.get(index)
        kind = special.kind if special else Kind.PLAIN
        if kind is Kind.COPY_STDIN:
            raise _copy_stdin(statements, index, name)
        if index in cuts and not current.explicit:
            current = close(index)
        if (kind is Kind.ALONE or index in alone) and not current.explicit:
            current = close(index)
            groups.append(
                Group(
                    index, index + 1, [index], alone=True, concurrently=bool(special and special.concurrently)
                )
            )
            current = Group(index + 1)
            continue
        match kind:
            case Kind.BEGIN if special:
                if not current.explicit:
                    opened = index
                    current.explicit = True
                    if special.modes and not current.send:
                        current.modes.append(special.modes)
            case Kind.SET_TRANSACTION if special and not current.send:
                current.modes.append(special.modes)
            case Kind.COMMIT | Kind.ROLLBACK | Kind.PREPARE if special:
                modes = current.modes
                if kind is Kind.PREPARE:
                    current.send.append(index)
                current = close(index + 1, kind)
                if special.chain:
                    current.explicit, current.modes, opened = True, modes, index
            case _:
                current.send.append(index)
    if current.explicit:
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


def is_atomic(groups: list[Group]) -> bool:
    """Whether the whole file can take effect together with its version row."""
    return not groups or (len(groups) == 1 and not groups[0].alone and groups[0].end is Kind.COMMIT)


def _copy_stdin(statements: Statements, index: int, name: str) -> InvalidSource:
    return InvalidSource(
        "COPY … FROM STDIN reads from psql, and a migration has no such input",
        file=name,
        line=statements.sql.count(b"\n", 0, statements.starts[index]) + 1,
        statement=f"{index + 1} of {len(statements)}, COPY",
        hint="write the rows as INSERT statements (pg_dump --inserts does)",
    )
