"""The statements that begin and end transactions, by their whole grammar (``TransactionStmt`` in gram.y).

Such a statement is left out of a file or moved within it, because our own takes its place. Where the first
words look like one and the rest does not fit, it is sent to the server, whose error says what is wrong.
"""

from collections.abc import Sequence
from enum import StrEnum
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass

STRING: Final = b"'"
"""How the lexer gives a string constant."""


class Verb(StrEnum):
    """What a statement does to the transaction."""

    BEGIN = "begin"
    COMMIT = "commit"
    ROLLBACK = "rollback"
    PREPARE = "prepare transaction"
    FINISH_PREPARED = "commit or rollback prepared"
    SET_TRANSACTION = "set transaction"


@dataclass(frozen=True, slots=True)
class TransactionStatement:
    """A statement that was parsed to its last word."""

    verb: Verb
    modes: bytes = b""
    """BEGIN and SET TRANSACTION: the modes, rebuilt from their words."""
    chain: bool = False
    """COMMIT and ROLLBACK: the next transaction begins at once, with the same modes."""


_OPENING: Final = {b"BEGIN": Verb.BEGIN, b"START": Verb.BEGIN}
_CLOSING: Final = {
    b"COMMIT": Verb.COMMIT,
    b"END": Verb.COMMIT,
    b"ROLLBACK": Verb.ROLLBACK,
    b"ABORT": Verb.ROLLBACK,
}
_NOISE: Final = (b"WORK", b"TRANSACTION")
_MODES: Final = (
    (b"ISOLATION", b"LEVEL", b"READ", b"UNCOMMITTED"),
    (b"ISOLATION", b"LEVEL", b"READ", b"COMMITTED"),
    (b"ISOLATION", b"LEVEL", b"REPEATABLE", b"READ"),
    (b"ISOLATION", b"LEVEL", b"SERIALIZABLE"),
    (b"READ", b"ONLY"),
    (b"READ", b"WRITE"),
    (b"DEFERRABLE",),
    (b"NOT", b"DEFERRABLE"),
)
_CHAINS: Final[dict[tuple[bytes, ...], bool]] = {
    (): False,
    (b"AND", b"CHAIN"): True,
    (b"AND", b"NO", b"CHAIN"): False,
}


def parse(words: Sequence[bytes]) -> TransactionStatement | None:
    """Parse all of a statement's words, which are in upper case; None if any of them does not fit."""
    match [*words]:
        case [b"COMMIT" | b"ROLLBACK", b"PREPARED", b"'"]:
            return TransactionStatement(Verb.FINISH_PREPARED)
        case [b"PREPARE", b"TRANSACTION", b"'"]:
            return TransactionStatement(Verb.PREPARE)
        case [b"SET", b"TRANSACTION", *rest] | [b"SET", b"LOCAL" | b"SESSION", b"TRANSACTION", *rest]:
            modes = _modes(rest)
            return TransactionStatement(Verb.SET_TRANSACTION, modes) if modes else None
        case [b"START", b"TRANSACTION", *rest]:
            return _begin(rest)
        case [b"BEGIN", *rest]:
            return _begin(rest[1:] if rest[:1] and rest[0] in _NOISE else rest)
        case [first, *rest] if first in _CLOSING:
            chain = _CHAINS.get(tuple(rest[1:] if rest[:1] and rest[0] in _NOISE else rest))
            return None if chain is None else TransactionStatement(_CLOSING[first], chain=chain)
        case _:
            return None


def _begin(rest: Sequence[bytes]) -> TransactionStatement | None:
    modes = _modes(rest)
    return None if modes is None else TransactionStatement(Verb.BEGIN, modes)


def _modes(words: Sequence[bytes]) -> bytes | None:
    """The transaction modes, with or without commas between them; None if anything else is there."""
    modes: list[bytes] = []
    rest = tuple(words)
    while rest:
        if rest[0] == b"," and modes:
            rest = rest[1:]
        mode = next((mode for mode in _MODES if rest[: len(mode)] == mode), None)
        if mode is None:
            return None
        modes.append(b" ".join(mode))
        rest = rest[len(mode) :]
    return b", ".join(modes)
