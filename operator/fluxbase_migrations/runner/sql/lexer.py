r"""Where one SQL statement ends and the next begins, by the rules of PostgreSQL's own scanner.

``postgast`` (libpg_query) could do this, and its answers are what the tests hold this module to. But
its parser builds a tree of the whole file (gigabytes for 100 MB of INSERTs) and gives nothing for syntax
it does not know; its scanner splits ``BEGIN ATOMIC`` bodies; and loading it costs a tenth of a second.
The lexical rules (``scan.l``, ``psqlscan.l``) are few and have been stable for decades.

The result is not relied upon: the server's answers are compared with it (see ``command_tags``).

Positions are byte offsets into the file; UTF-8's continuation bytes are identifier characters, as in scan.l.
The patterns use neither possessive quantifiers nor atomic groups, which Python before 3.11.5 gets wrong
(python/cpython#106052); their repetitions are bounded instead, so that no match remembers a whole file.
"""

import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass

_START: Final = rb"A-Za-z_\x80-\xff"
_SPACE: Final = rb" \t\r\n\f\v"

_PLAIN: Final = re.compile(
    rb"(?:[^;'\"$/\\\-]+|(?<![eE])'[^']*'|\"[^\"]*\"|--[^\n\r]*|-|/(?!\*)){0,500}", re.DOTALL
)
"""What never ends a statement; :func:`_token_end` reads what it stops at."""
_PLAIN_ESCAPING: Final = re.compile(
    rb"(?:[^;'\"$/\\\-]+|'[^'\\]*'|\"[^\"]*\"|--[^\n\r]*|-|/(?!\*)){0,500}", re.DOTALL
)
"""The same with standard_conforming_strings off, where a backslash escapes in every string."""
_BLANK: Final = re.compile(rb"(?:[" + _SPACE + rb"]+|--[^\n\r]*){0,500}")
_COMMENT_EDGE: Final = re.compile(rb"/\*|\*/")
_WORD: Final = re.compile(rb"[" + _START + rb"][0-9$" + _START + rb"]*")
_DIGITS: Final = re.compile(rb"[0-9]+")
_PARAMETER: Final = re.compile(rb"\$[0-9]+")
_DOLLAR: Final = re.compile(rb"\$(?:[" + _START + rb"][0-9" + _START + rb"]*)?\$")
_ESCAPED_PART: Final = re.compile(rb"[^'\\]*(?:\\.|'')?", re.DOTALL)
_CONTINUES: Final = re.compile(rb"[ \t\f\v]*(?:--[^\n\r]*)?[\r\n](?:[" + _SPACE + rb"]|--[^\n\r]*[\r\n])*'")
"""After a string's end: white space with a line break, and a quote that goes on with the same string.

There is one way to read a text: a line of dashes that could be several comments takes exponential time.
"""
_TOKEN: Final = re.compile(
    rb"(?P<word>[" + _START + rb"][0-9$" + _START + rb"]*|\"(?:[^\"]|\"\")*\"|[0-9]+)"
    rb"|[" + _SPACE + rb"]+|--[^\n\r]*",
    re.DOTALL,
)
_WORD_CHARACTERS: Final = frozenset(
    b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_$" + bytes(range(0x80, 0x100))
)
_CREATE: Final = re.compile(rb"CREATE\b", re.IGNORECASE)
_OFF: Final = frozenset((b"OFF", b"OF", b"FALSE", b"FALS", b"FAL", b"FA", b"F", b"NO", b"N", b"0"))
_SETTING: Final = b"STANDARD_CONFORMING_STRINGS"
_CHECK_EVERY: Final = 1024


@dataclass(frozen=True, slots=True)
class Unfinished:
    """Something that is opened and never closed: PostgreSQL would take all that follows for a part of it."""

    what: str
    """``comment``, ``string``, ``quoted identifier`` or ``dollar-quoted string``."""
    at: int
    """Byte offset of its first character."""


@dataclass(slots=True)
class Statements:
    """The statements of one file: ``starts[i]`` is the first token's offset, ``ends[i]`` that after the last.

    ``ends`` excludes the semicolon. Compact, because a 100 MB file may hold millions.
    """

    sql: bytes = field(repr=False)
    starts: "array[int]" = field(default_factory=lambda: array("Q"))
    ends: "array[int]" = field(default_factory=lambda: array("Q"))
    unfinished: Unfinished | None = None
    backslash: int | None = None
    """Offset of the first backslash outside of quotes and comments: never SQL, but psql's own commands."""
    conforming: list[tuple[int, bool]] = field(default_factory=list)
    """From which statement on the file was read with standard_conforming_strings on or off."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def complete(self) -> bool:
        """Whether everything that is opened is closed."""
        return self.unfinished is None

    @property
    def conforming_changes(self) -> bool:
        """The file sets standard_conforming_strings: what follows must not be in one message with it."""
        return len(self.conforming) > 1

    def conforming_at(self, index: int) -> bool:
        """How the strings of statement ``index`` were read."""
        return next(on for first, on in reversed(self.conforming) if first <= index)

    def text(self, index: int) -> bytes:
        """The bytes of statement ``index``, without its semicolon."""
        return self.sql[self.starts[index] : self.ends[index]]

    def view(self, index: int) -> memoryview:
        """As :meth:`text`, without a copy."""
        return memoryview(self.sql)[self.starts[index] : self.ends[index]]

    def __iter__(self) -> Iterator[bytes]:
        return (self.text(index) for index in range(len(self)))


class _Open(Exception):
    """A string, comment or quoted name is not closed before the file ends."""

    def __init__(self, what: str, at: int) -> None:
        super().__init__(what)
        self.unfinished = Unfinished(what, at)


def split(
    sql: bytes, *, standard_conforming_strings: bool = True, check_stop: Callable[[], object] | None = None
) -> Statements:
    """Split a file into statements; empty ones (``;;``, comments) are left out, as the server does.

    ``check_stop`` is called every thousand statements or so, and may raise to end it.
    """
    statements = Statements(sql, conforming=[(0, standard_conforming_strings)])
    scan = _Scan(statements, standard_conforming_strings, check_stop)
    position, size = 0, len(sql)
    try:
        while (position := scan.blank_end(position)) < size:
            if sql[position] == 0x3B:  # an empty statement
                position += 1
                continue
            statements.starts.append(position)
            end = scan.statement_end(position)
            statements.ends.append(end)
            scan.note_setting(position, end)
            position = end + 1
    except _Open as error:
        statements.unfinished = error.unfinished
        if len(statements.starts) > len(statements.ends):
            statements.ends.append(size)
    return statements


class _Scan:
    """One pass over a file's bytes, statement by statement."""

    def __init__(
        self, statements: Statements, conforming: bool, check_stop: Callable[[], object] | None
    ) -> None:
        self.statements = statements
        self.sql = statements.sql
        self.check_stop = check_stop
        self.steps = 0
        self.conforming = conforming

    def step(self) -> None:
        """Call ``check_stop`` now and then, so that the caller can end a long scan."""
        self.steps += 1
        if self.check_stop is not None and self.steps % _CHECK_EVERY == 0:
            self.check_stop()

    def blank_end(self, position: int) -> int:
        """Go over white space and comments."""
        sql = self.sql
        while True:
            after = _BLANK.match(sql, position).end()  # type: ignore[union-attr]
            if after == position:
                if not sql.startswith(b"/*", position):
                    return position
                after = _comment_end(sql, position)
            position = after
            self.step()

    def semicolon(self, position: int) -> int:
        """Offset of the next semicolon outside of quotes and comments, or of the file's end."""
        sql, size = self.sql, len(self.sql)
        plain = _PLAIN if self.conforming else _PLAIN_ESCAPING
        floor = position
        while True:
            self.step()
            after = plain.match(sql, position).end()  # type: ignore[union-attr]
            if after >= size or sql[after] == 0x3B:
                return after
            if after == position or sql[after] in b"'\"$/\\":
                if sql[after] == 0x5C and self.statements.backslash is None:
                    self.statements.backslash = after
                floor = after = _token_end(sql, after, floor, self.conforming)
            position = after

    def statement_end(self, start: int) -> int:
        """Offset of the statement's semicolon or of the file's end."""
        sql, end = self.sql, self.semicolon(start)
        if end >= len(sql) or not _CREATE.match(sql, start, end):
            return end
        words = leading_words(sql, start, end, 4)
        words = (words[0], *words[3:]) if words[1:3] == ("OR", "REPLACE") else words
        match words[1:2]:
            case ("RULE",):
                return self._rule_end(start, end)
            case ("FUNCTION",) | ("PROCEDURE",) if self._has_body(start, end):
                return self._body_end(end)
            case _:
                return end

    def _rule_end(self, start: int, end: int) -> int:
        """A rule's actions may stand in parentheses, with semicolons between them."""
        depth = 0
        while True:
            for token in self._tokens(start, end):
                depth += (token == b"(") - (token == b")")
            if depth <= 0 or end >= len(self.sql):
                return end
            start = end + 1
            end = self.semicolon(start)

    def _has_body(self, start: int, end: int) -> bool:
        """Whether ``BEGIN ATOMIC`` opens a body before ``end``, other than an empty one."""
        depth, previous, opened = 0, b"", False
        for token in self._tokens(start, end):
            word = token.upper()
            if opened:
                return word != b"END"
            opened = word == b"ATOMIC" and previous == b"BEGIN" and depth == 0
            depth += (token == b"(") - (token == b")")
            previous = word
        return opened

    def _body_end(self, end: int) -> int:
        """The body ends with an ``END`` that begins a statement: there, and only there, it is the keyword.

        gram.y has no other statement that begins with it in a body (``TransactionStmtLegacy`` is apart for
        that reason), and no semicolon stands within a CASE, whatever columns and labels are called.
        """
        while end < len(self.sql):
            begin = self.blank_end(end + 1)
            word = _WORD.match(self.sql, begin)
            end = self.semicolon(begin)
            if word is not None and word[0].upper() == b"END":
                return end
        return end

    def _tokens(self, start: int, end: int) -> Iterator[bytes]:
        for token in tokens(self.sql, start, end, standard_conforming_strings=self.conforming):
            self.step()
            yield token

    def note_setting(self, start: int, end: int) -> None:
        """``SET standard_conforming_strings`` changes how what follows is read."""
        if self.sql[start] not in b"sS" or end - start > 4096:
            return
        words = [word.upper().strip(b'"') for word in tokens(self.sql, start, end, strings=True)]
        if words[:2] in ([b"SET", b"SESSION"], [b"SET", b"LOCAL"]):
            del words[1]
        if len(words) == 4 and words[:2] == [b"SET", _SETTING] and words[2] in (b"=", b"TO"):
            self.conforming = words[3].strip(b"'") not in _OFF
            self.statements.conforming.append((len(self.statements.starts), self.conforming))


def _token_end(sql: bytes, at: int, floor: int, conforming: bool) -> int:
    """Offset after what begins at ``at``: a quote, a dollar, a comment or a backslash.

    ``floor`` is where the token before it may begin at the earliest.
    """
    match sql[at]:
        case 0x27:
            try:
                return _string_end(sql, at, escaping=not conforming or _escape_prefix(sql, at, floor))
            except _Open as error:
                raise _Open("string", _string_start(sql, error.unfinished.at, floor)) from None
        case 0x22:
            close = sql.find(b'"', at + 1)
            if close < 0:
                raise _Open("quoted identifier", at)
            return close + 1
        case 0x24:
            return _dollar_end(sql, at, floor)
        case 0x2F if sql.startswith(b"/*", at):
            return _comment_end(sql, at)
        case _:
            return at + 1


def is_blank(sql: bytes) -> bool:
    """Whether there is nothing but white space, semicolons and whole comments."""
    position, size = 0, len(sql)
    while position < size:
        after = _BLANK.match(sql, position).end()  # type: ignore[union-attr]
        if after == position:
            if sql.startswith(b";", position):
                after += 1
            elif sql.startswith(b"/*", position):
                try:
                    after = _comment_end(sql, position)
                except _Open:
                    return False
            else:
                return False
        position = after
    return True


def _comment_end(sql: bytes, start: int) -> int:
    """Offset after the comment that opens at ``start``; comments nest."""
    depth, position = 0, start
    while edge := _COMMENT_EDGE.search(sql, position):
        depth += 1 if edge[0] == b"/*" else -1
        position = edge.end()
        if depth == 0:
            return position
    raise _Open("comment", start)


def _word_start(sql: bytes, at: int, floor: int) -> int:
    """Offset of the first of the identifier characters that end before ``at``."""
    while at > floor and sql[at - 1] in _WORD_CHARACTERS:
        at -= 1
    return at


def _escape_prefix(sql: bytes, at: int, floor: int) -> bool:
    """Whether the quote at ``at`` has an ``E`` of its own before it, and not the last letter of a word."""
    if at <= floor or sql[at - 1] not in b"eE":
        return False
    start = _word_start(sql, at - 1, floor)
    return _DIGITS.fullmatch(sql, start, at - 1) is not None or start == at - 1


def _string_end(sql: bytes, at: int, *, escaping: bool) -> int:
    """Offset after the string whose quote is at ``at``."""
    if not escaping:
        close = sql.find(b"'", at + 1)
        if close < 0:
            raise _Open("string", at)
        return close + 1
    position, size = at + 1, len(sql)
    while True:
        after = _ESCAPED_PART.match(sql, position).end()  # type: ignore[union-attr]
        if after < size and sql[after] == 0x27 and not sql.startswith(b"''", after):
            more = _CONTINUES.match(sql, after + 1)
            if more is None:
                return after + 1
            after = more.end()
        if after >= size or after == position:
            raise _Open("string", at)
        position = after


def _string_start(sql: bytes, at: int, floor: int) -> int:
    """The quote that opens the string which goes on at ``at`` behind a doubled quote."""
    while at - 1 > floor and sql[at - 1] == 0x27 and (before := sql.rfind(b"'", floor, at - 1)) >= 0:
        at = before
    return at


def _dollar_end(sql: bytes, at: int, floor: int) -> int:
    """Offset after the dollar at ``at``: a dollar quote, a parameter, or a part of an identifier."""
    position = _word_start(sql, at, floor)
    while position < at:
        word = _WORD.match(sql, position) or _DIGITS.match(sql, position) or _PARAMETER.match(sql, position)
        position = word.end() if word else position + 1
    if position > at:
        return position
    if parameter := _PARAMETER.match(sql, at):
        return parameter.end()
    opening = _DOLLAR.match(sql, at)
    if opening is None:
        return at + 1
    close = sql.find(opening[0], opening.end())
    if close < 0:
        raise _Open("dollar-quoted string", at)
    return close + len(opening[0])


def tokens(
    sql: bytes, start: int, end: int, *, standard_conforming_strings: bool = True, strings: bool = False
) -> Iterator[bytes]:
    """Words and single punctuation characters of a statement; comments are left out.

    A string constant is one ``'``, or with ``strings`` as it is written; a quoted identifier comes with its
    quotes.
    """
    position = floor = start
    while position < end:
        token = _TOKEN.match(sql, position, end)
        word = token["word"] if token else None
        if token and word is not None and word in b"eE" and sql.startswith(b"'", token.end()):
            token = word = None
            position += 1
        if token:
            position = floor = token.end()
            if word is not None:
                yield word
            continue
        character = sql[position]
        try:
            after = _token_end(sql, position, floor, standard_conforming_strings)
        except _Open:
            return
        if character == 0x27 or (character == 0x24 and after - position > 1 and sql[after - 1] == 0x24):
            yield sql[position:after] if strings else b"'"
        elif not (character == 0x2F and after - position > 1):
            yield sql[position:after]
        position = floor = after


def line_column(sql: bytes, offset: int) -> tuple[int, int]:
    """Line, and column in characters, of a byte offset; both from 1."""
    begin = sql.rfind(b"\n", 0, offset) + 1
    return sql.count(b"\n", 0, offset) + 1, len(sql[begin:offset].decode("utf-8", "replace")) + 1


def lines(sql: bytes, offsets: Sequence[int]) -> list[int]:
    """The lines of ascending byte offsets, from 1; the text is read once."""
    line_numbers, line, before = [], 1, 0
    for offset in offsets:
        line += sql.count(b"\n", before, offset)
        before = offset
        line_numbers.append(line)
    return line_numbers


def leading_words(sql: bytes, start: int, end: int, count: int = 8) -> tuple[str, ...]:
    """The first ``count`` tokens, in upper case: enough to know a statement's kind in nearly every case.

    Quoted identifiers keep their quotes, so that ``"concurrently"`` is not the keyword.
    """
    words = []
    for token in tokens(sql, start, end):
        words.append(token.decode("utf-8", "replace").upper())
        if len(words) == count:
            break
    return tuple(words)
