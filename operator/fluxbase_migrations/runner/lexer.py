r"""Where one SQL statement ends and the next begins, by the rules of PostgreSQL's own scanner.

``postgast`` (libpg_query) could do this, and its answers are what the tests hold this module to. But
its parser builds a tree of the whole file (gigabytes for 100 MB of INSERTs) and gives nothing for syntax
it does not know; its scanner splits ``BEGIN ATOMIC`` bodies; and loading it costs a tenth of a second.
The lexical rules (``scan.l``, ``psqlscan.l``) are few and have been stable for decades.

Positions are byte offsets into the file; UTF-8's continuation bytes are identifier characters, as in scan.l.
"""

import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

_LETTER: Final = rb"A-Za-z_\x80-\xff"
_SPACE: Final = rb"[ \t\r\n\f\v]"


def _tokens(string: bytes) -> bytes:
    """Everything that can stand within a statement, ``;`` and nested comments excepted."""
    return (
        rb"[^;'\"$/\-0-9" + _LETTER + rb"]+"
        rb"|[eE]'(?:[^'\\]|\\.|'')*+'"
        rb"|(?![eE]')[" + _LETTER + rb"][0-9$" + _LETTER + rb"]*"
        rb"|[0-9]+|" + string + rb"|\"[^\"]*\"|--[^\n\r]*|-(?!-)|/(?!\*)|\$[0-9]+"
        rb"|\$(?P<tag>(?:["
        + _LETTER
        + rb"][0-9"
        + _LETTER
        + rb"]*)?)\$(?:[^$]+|\$(?!(?P=tag)\$))*+\$(?P=tag)\$"
        rb"|\$(?!(?:[" + _LETTER + rb"][0-9" + _LETTER + rb"]*)?\$)"
        rb"|/\*(?:[^*/]+|\*(?!/)|/(?!\*))*+\*/"
    )


_STANDARD: Final = re.compile(rb"(?>" + _tokens(rb"'[^']*'") + rb")*+", re.DOTALL)
_BACKSLASH: Final = re.compile(rb"(?>" + _tokens(rb"'(?:[^'\\]|\\.|'')*+'") + rb")*+", re.DOTALL)
"""With standard_conforming_strings off, a backslash escapes in every string."""
_BLANK: Final = re.compile(
    rb"(?>" + _SPACE + rb"+|--[^\n\r]*|/\*(?:[^*/]+|\*(?!/)|/(?!\*))*+\*/)*+", re.DOTALL
)
_COMMENT_EDGE: Final = re.compile(rb"/\*|\*/")
_ATOMIC: Final = re.compile(rb"\bATOMIC\b", re.IGNORECASE)
_SCS: Final = re.compile(
    rb"SET\s+(?:SESSION\s+|LOCAL\s+)?standard_conforming_strings\s*(?:=|\sTO\s)\s*'?(\w+)", re.IGNORECASE
)
_OFF: Final = frozenset((b"off", b"of", b"false", b"fals", b"fal", b"fa", b"f", b"no", b"n", b"0"))


@dataclass(slots=True)
class Statements:
    """The statements of one file: ``starts[i]`` is the first token's offset, ``ends[i]`` that after the last.

    ``ends`` excludes the semicolon. Compact, because a 100 MB file may hold millions.
    """

    sql: bytes = field(repr=False)
    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    ends: "array[int]" = field(default_factory=lambda: array("Q"))
    complete: bool = True
    """False: a string, comment or dollar quote is open at the file's end and would swallow what we append."""
    conforming_changes: bool = False
    """The file sets standard_conforming_strings: what follows must not be in one message with it."""

    def __len__(self) -> int:
        return len(self.starts)

    def text(self, index: int) -> bytes:
        """The bytes of statement ``index``, without its semicolon."""
        return self.sql[self.starts[index] : self.ends[index]]

    def __iter__(self) -> Iterator[bytes]:
        return (self.text(index) for index in range(len(self)))


def split(sql: bytes, *, standard_conforming_strings: bool = True) -> Statements:
    """Split a file into statements; empty ones (``;;``, comments) are left out, as the server does."""
    found = Statements(sql)
    body = _STANDARD if standard_conforming_strings else _BACKSLASH
    position, size = 0, len(sql)
    while True:
        position, complete = _skip_blank(sql, position)
        if not complete:
            found.complete = False
            return found
        if position >= size:
            return found
        if sql[position] == 0x3B:  # an empty statement
            position += 1
            continue
        end, complete = _statement_end(sql, position, body)
        found.starts.append(position)
        found.ends.append(end)
        if not complete:
            found.complete = False
            return found
        if sql[position] in b"sS" and (setting := _SCS.match(sql, position, end)):
            found.conforming_changes = True
            body = _BACKSLASH if setting[1].lower() in _OFF else _STANDARD
        position = end + 1


def _skip_blank(sql: bytes, position: int) -> tuple[int, bool]:
    """Go over whitespace and comments; False if a comment never ends."""
    while True:
        position = _BLANK.match(sql, position).end()  # type: ignore[union-attr]
        if not sql.startswith(b"/*", position):
            return position, True
        after = _nested_comment(sql, position)
        if after is None:
            return position, False
        position = after


def _statement_end(sql: bytes, start: int, body: re.Pattern[bytes]) -> tuple[int, bool]:
    """Offset of the statement's semicolon or of the file's end; False if something is left open."""
    end, complete = _semicolon(sql, start, body)
    if end >= len(sql) or not complete or sql[start] not in b"cC":
        return end, complete
    words = leading_words(sql, start, end, 4)
    if words[1:3] == ("OR", "REPLACE"):
        words = (words[0], *words[3:])
    if words[0] != "CREATE" or not {"FUNCTION", "PROCEDURE", "RULE"}.intersection(words[1:2]):
        return end, complete
    rule = words[1] == "RULE"
    if not rule and not _ATOMIC.search(sql, start, end):
        return end, complete
    while complete and end < len(sql) and _inside(sql, start, end, body, rule):
        end, complete = _semicolon(sql, end + 1, body)
    return end, complete


def _semicolon(sql: bytes, position: int, body: re.Pattern[bytes]) -> tuple[int, bool]:
    size = len(sql)
    while True:
        position = body.match(sql, position).end()  # type: ignore[union-attr]
        if position >= size or sql[position] == 0x3B:
            return position, True
        if not sql.startswith(b"/*", position):
            return size, False
        after = _nested_comment(sql, position)
        if after is None:
            return size, False
        position = after


def _nested_comment(sql: bytes, position: int) -> int | None:
    """Offset after the comment that opens at ``position``; None if it never ends."""
    depth = 0
    while edge := _COMMENT_EDGE.search(sql, position):
        depth += 1 if edge[0] == b"/*" else -1
        position = edge.end()
        if depth == 0:
            return position
    return None


def _inside(sql: bytes, start: int, end: int, body: re.Pattern[bytes], rule: bool) -> bool:
    """Whether a semicolon at ``end`` belongs to a rule's parenthesised actions or to a BEGIN ATOMIC body."""
    parens = depth = 0
    previous = b""
    for token in tokens(sql, start, end, body):
        if token == b"(":
            parens += 1
        elif token == b")":
            parens -= 1
        elif not rule and not parens:
            word = token.upper()
            if (word == b"ATOMIC" and previous == b"BEGIN") or (word == b"CASE" and depth):
                depth += 1
            elif word == b"END" and depth:
                depth -= 1
            previous = word
    return parens > 0 if rule else depth > 0


def tokens(sql: bytes, start: int, end: int, body: re.Pattern[bytes] = _STANDARD) -> Iterator[bytes]:
    """Words and single punctuation characters of a statement; strings and comments are left out.

    A quoted identifier comes with its quotes.
    """
    single = _SINGLE_STANDARD if body is _STANDARD else _SINGLE_BACKSLASH
    position = start
    while position < end:
        if sql.startswith(b"/*", position):
            after = _nested_comment(sql, position)
            if after is None:
                return
            position = after
            continue
        match = single.match(sql, position, end)
        if match is None:
            position += 1
            continue
        position = match.end()
        if match["word"] or match["punctuation"]:
            yield match[0]


def _single(string: bytes) -> re.Pattern[bytes]:
    return re.compile(
        _SPACE + rb"+|--[^\n\r]*|[eE]'(?:[^'\\]|\\.|'')*+'|" + string + rb"|\$[0-9]+"
        rb"|\$(?P<tag>(?:["
        + _LETTER
        + rb"][0-9"
        + _LETTER
        + rb"]*)?)\$(?:[^$]+|\$(?!(?P=tag)\$))*+\$(?P=tag)\$"
        rb"|(?P<word>[" + _LETTER + rb"][0-9$" + _LETTER + rb"]*|\"(?:[^\"]|\"\")*\"|[0-9]+)"
        rb"|(?P<punctuation>[^;'\"$0-9" + _LETTER + rb"])",
        re.DOTALL,
    )


_SINGLE_STANDARD: Final = _single(rb"'(?:[^']|'')*'")
_SINGLE_BACKSLASH: Final = _single(rb"'(?:[^'\\]|\\.|'')*+'")


def leading_words(sql: bytes, start: int, end: int, count: int = 8) -> tuple[str, ...]:
    """The first ``count`` tokens, in upper case: enough to know a statement's kind in nearly every case.

    Quoted identifiers keep their quotes, so that ``"concurrently"`` is not the keyword.
    """
    found = []
    for token in tokens(sql, start, min(end, start + 4096)):
        found.append(token.decode("utf-8", "replace").upper())
        if len(found) == count:
            break
    return tuple(found)
