"""Compares the server's command tags with the statements that a file was split into.

The server sends one command tag for each statement that it read, so their number and their words tell whether
it split the file as we did. Where it did not, no statement is reported as done.
"""

import re
from collections.abc import Sequence
from typing import Final

from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.simple_query import QueryPart, Reply
from fluxbase_migrations.runner.sql.statements import Special, StatementKind

_FIRST_WORD: Final = re.compile(rb"[A-Za-z]+")
TRANSACTION_TAGS: Final = frozenset((b"BEGIN", b"START", b"COMMIT", b"ROLLBACK", b"SAVEPOINT", b"RELEASE"))
_SAVEPOINTS: Final = frozenset((b"SAVEPOINT", b"RELEASE", b"ROLLBACK"))
"""What a file may say within its transaction; any other ROLLBACK is not sent, or refused."""
_QUERIES: Final = frozenset((b"SELECT", b"INSERT", b"UPDATE", b"DELETE", b"MERGE"))
_OTHER_TAGS: Final = {
    b"WITH": _QUERIES,
    b"TABLE": frozenset((b"SELECT",)),
    b"VALUES": frozenset((b"SELECT",)),
    b"CREATE": frozenset((b"CREATE", b"SELECT")),
    b"ANALYSE": frozenset((b"ANALYZE",)),
}
"""First words whose tag begins with another one."""
_SAME: Final = frozenset(
    b"SELECT INSERT UPDATE DELETE MERGE ALTER DROP TRUNCATE COMMENT GRANT REVOKE SET RESET SHOW LOCK COPY DO"
    b" CALL ANALYZE VACUUM CLUSTER REINDEX REFRESH EXPLAIN PREPARE DEALLOCATE DECLARE FETCH MOVE CLOSE"
    b" DISCARD LISTEN UNLISTEN NOTIFY LOAD SECURITY IMPORT REASSIGN CHECKPOINT".split()
)
"""First words that are their tag's first word, too. Tags of other words are not checked."""


def disagreement(
    parts: Sequence[QueryPart],
    replies: Sequence[Reply],
    statements: Statements,
    specials: dict[int, Special],
) -> str | None:
    """How the server's replies to a message differ from what was meant; None if they do not.

    There may be fewer replies than statements, where one failed.
    """
    position = 0
    for part in parts:
        if position >= len(replies):
            return None
        part_replies = replies[position : position + part.results]
        position += part.results
        if part.origin is None:
            continue
        for index, reply in enumerate(part_replies, part.first):
            if not _fits(statements, index, specials.get(index), reply.tag):
                tag = reply.tag.decode("ascii", "backslashreplace")
                return f"it answered statement {index + 1} of the file with {tag or 'nothing'}"
    if len(replies) > position:
        return f"it ran {len(replies) - position} more statements than the file was taken to have"
    return None


def complete(
    parts: Sequence[QueryPart],
    replies: Sequence[Reply],
    statements: Statements,
    specials: dict[int, Special],
) -> str | None:
    """As :func:`disagreement`, for a message that succeeded: it must not lack replies either."""
    missing = sum(part.results for part in parts) - len(replies)
    if missing > 0:
        return f"it ran {missing} fewer statements than the file was taken to have"
    return disagreement(parts, replies, statements, specials)


def ended_by_itself(replies: Sequence[Reply]) -> int:
    """How many replies came until the last COMMIT (or PREPARE TRANSACTION) among them; 0: there was none."""
    return next(
        (
            number
            for number, reply in reversed([*enumerate(replies, 1)])
            if reply.tag in (b"COMMIT", b"PREPARE TRANSACTION")
        ),
        0,
    )


def rolled_back_by_itself(replies: Sequence[Reply]) -> bool:
    """Whether there may have been a ROLLBACK among them; one to a savepoint has the same tag."""
    return any(reply.tag == b"ROLLBACK" for reply in replies)


def _fits(statements: Statements, index: int, special: Special | None, tag: bytes) -> bool:
    first = _FIRST_WORD.match(statements.sql, statements.starts[index])
    word = first[0].upper() if first else b""
    tag_word = tag.partition(b" ")[0]
    if special is not None and special.kind is StatementKind.PREPARE:
        return tag == b"PREPARE TRANSACTION"
    if special is not None and special.kind is StatementKind.ALONE and word in (b"COMMIT", b"ROLLBACK"):
        return tag == word + b" PREPARED"
    if tag_word in TRANSACTION_TAGS or tag == b"PREPARE TRANSACTION":
        return tag_word == word and word in _SAVEPOINTS and special is None
    if word in _SAME:
        return tag_word == word
    return tag_word in _OTHER_TAGS.get(word, (tag_word,))
