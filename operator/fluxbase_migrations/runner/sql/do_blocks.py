"""What a DO statement's body says about transactions, by its words: strings and comments are not read.

PostgreSQL does not allow COMMIT and ROLLBACK inside a PL/pgSQL block with an EXCEPTION clause (the block is a
subtransaction); the clause's own handlers are outside it, and may.
"""

import re
from collections.abc import Iterator
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.sql import lexer

_HEAD: Final = re.compile(
    rb"DO\b(?:\s|--[^\n\r]*|/\*.*?\*/|(?![eE]')[A-Za-z_]\w*\b|\"[^\"]*\")*", re.IGNORECASE | re.DOTALL
)
_LITERAL: Final = re.compile(
    rb"\$(?P<tag>(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?)\$(?P<dollar>.*?)\$(?P=tag)\$"
    rb"|(?P<escapes>[eE]?)'(?P<quoted>(?:[^']|'')*)'",
    re.DOTALL,
)
_TOKEN: Final = re.compile(
    rb"--[^\n\r]*|/\*.*?\*/|[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'"
    rb"|\$(?P<tag>(?:[A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?)\$.*?\$(?P=tag)\$"
    rb"|(?P<word>[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|\"[^\"]*\"|[^\s'])",
    re.DOTALL,
)
"""Of a body; semicolons count here, which ``lexer.tokens`` leaves out."""
_PLPGSQL: Final = b"PLPGSQL"
_ENDS: Final = frozenset((b"COMMIT", b"ROLLBACK"))
_OPENERS: Final = frozenset((b";", b"BEGIN", b"THEN", b"ELSE", b"LOOP", b">"))
"""What a PL/pgSQL statement can stand behind; ``>`` ends a label."""


@dataclass(slots=True)
class _Block:
    """A BEGIN block, or a CASE, whose END is to come."""

    begins: bool
    handlers: bool = False
    """Its EXCEPTION clause has come."""
    ends: int = 0
    """COMMITs and ROLLBACKs in it, before that clause."""
    later: int = 0
    """The same, in that clause's handlers."""


def ends_transactions(statement: bytes) -> bool:
    """Whether a DO statement's body holds COMMIT, ROLLBACK or a CALL of what may hold them."""
    body = _body(statement)
    return body is not None and bool(
        {b"COMMIT", b"ROLLBACK", b"CALL"}.intersection(word for _, word, _ in _words(body))
    )


def cannot_end_transactions(statement: bytes) -> bool:
    """Whether each COMMIT and ROLLBACK of a DO statement is where PostgreSQL always refuses it.

    False wherever something else of the body might end a transaction: then only running it can tell.
    """
    body = _body(statement)
    if body is None or _language(statement) != _PLPGSQL:
        return False
    stack = [_Block(False)]
    refused = 0
    for before, word, after in _words(body):
        if word == b"CALL" and before in _OPENERS:
            return False
        if word == b"BEGIN" or (word == b"CASE" and before not in (b".", b"AS", b"END")):
            stack.append(_Block(word == b"BEGIN"))
        elif word == b"END" and before not in (b".", b"AS") and after not in (b"IF", b"LOOP"):
            refused += _close(stack)
        elif word == b"EXCEPTION" and after == b"WHEN" and before in _OPENERS:
            stack[-1].handlers = stack[-1].begins
        elif word in _ENDS and before in _OPENERS and after in (b";", b"AND"):
            if stack[-1].handlers:
                stack[-1].later += 1
            else:
                stack[-1].ends += 1
    allowed = sum(block.ends + block.later for block in stack)
    return refused > 0 and allowed == 0


def _close(stack: list[_Block]) -> int:
    """End the innermost block; what remains of it counts for the next. Returns how many are refused."""
    if len(stack) == 1:
        return 0
    block = stack.pop()
    outer = stack[-1]
    refused = block.ends if block.handlers else 0
    remaining = block.later if block.handlers else block.ends
    if outer.handlers:
        outer.later += remaining
    else:
        outer.ends += remaining
    return refused


def _words(body: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Each word and punctuation character in upper case, with the one before and the one after it."""
    before, word = b";", b""
    for match in _TOKEN.finditer(body):
        after = (match["word"] or b"").upper()
        if not after:
            continue
        if word:
            yield before, word, after
            before = word
        word = after
    if word:
        yield before, word, b";"


def _body(statement: bytes) -> bytes | None:
    """The code of a DO statement; None if it is another statement."""
    literal = _literal(statement)
    if literal is None:
        return None
    if literal["dollar"] is not None:
        return literal["dollar"]
    text = literal["quoted"].replace(b"''", b"'")
    return text.replace(b"\\n", b"\n").replace(b"\\'", b"'") if literal["escapes"] else text


def _literal(statement: bytes) -> re.Match[bytes] | None:
    head = _HEAD.match(statement)
    return _LITERAL.match(statement, head.end()) if head else None


def _language(statement: bytes) -> bytes:
    """In upper case; PL/pgSQL unless the statement says otherwise."""
    literal = _literal(statement)
    if literal is None:
        return b""
    outside = statement[: literal.start()] + b" " + statement[literal.end() :]
    words = [token.upper().strip(b'"') for token in lexer.tokens(outside, 0, len(outside))]
    return words[words.index(b"LANGUAGE") + 1] if b"LANGUAGE" in words[:-1] else _PLPGSQL
