"""A file made ready to run: split, classified, cut into groups, and turned into messages."""

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field
from typing import Final

from fluxbase_migrations.core.errors import MigrationError
from fluxbase_migrations.core.files import MigrationFile
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.runner.sql import lexer, statements
from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.refused_statements import refuse_left_out, refuse_unusable
from fluxbase_migrations.runner.sql.simple_query import QueryPart
from fluxbase_migrations.runner.sql.statements import Group, Special, StatementKind

MESSAGE_LIMIT: Final = 256 * 1024
"""Bytes. A larger file is sent in several messages within its transaction."""
SEPARATOR: Final = QueryPart(b"\n;\n", 0)
"""Ends a statement that may be followed by a comment."""
_TRANSACTIONAL: Final = re.compile(rb"\b(?:COMMIT|END|ROLLBACK|ABORT|PREPARE|SAVEPOINT)\b", re.IGNORECASE)
"""Without one of these words, wherever they stand, no SQL ends a transaction or begins another within it."""


@dataclass(slots=True)
class Prepared:
    """One step with its file's statements; without a file, nothing runs and only the version moves."""

    step: Step
    statements: Statements = field(repr=False)
    specials: dict[int, Special] = field(repr=False)
    groups: list[Group] = field(repr=False)
    alone: set[int] = field(default_factory=set)
    """Statements that PostgreSQL refused in a transaction."""
    cuts: set[int] = field(default_factory=set)
    """Statements that need what stands before them committed."""
    _prefix: "tuple[int, hashlib._Hash]" = field(default_factory=lambda: (0, hashlib.sha256()), repr=False)
    """How many statements the running checksum covers, and it."""

    @classmethod
    def of(
        cls,
        step: Step,
        *,
        standard_conforming_strings: bool = True,
        look: Callable[[], object] | None = None,
    ) -> "Prepared":
        """Split and classify ``step``'s file; ``look`` as in :func:`lexer.split`.

        Raises:
            InvalidSource: the file cannot be run as it is.
        """
        sql = step.file.sql if step.file else b""
        found = lexer.split(sql, standard_conforming_strings=standard_conforming_strings, look=look)
        specials = statements.classify(found)
        refuse_unusable(found, specials, step.label)
        refuse_left_out(found, step.label)
        return cls(step, found, specials, statements.group(found, specials, (), (), step.label))

    def regroup(self) -> None:
        """Cut again after PostgreSQL had its word."""
        self.groups = statements.group(self.statements, self.specials, self.alone, self.cuts, self.step.label)

    @property
    def file(self) -> MigrationFile | None:
        """The file, if there is one."""
        return self.step.file

    @property
    def atomic(self) -> bool:
        """Whether the whole file takes effect together with its version row."""
        return statements.is_atomic(self.groups)

    @property
    def one_message(self) -> bool:
        """Whether our own statements travel in one message with the file's.

        Only where none of its bytes could end a transaction, whatever they are taken for: then it is
        certain, too, that nothing took effect when the connection is lost.
        """
        found = self.statements
        return (
            len(found.sql) <= MESSAGE_LIMIT
            and not self.specials
            and not found.conforming_changes
            and _TRANSACTIONAL.search(found.sql) is None
        )

    def messages(self, group: Group, hygiene: QueryPart) -> Iterator[list[QueryPart]]:
        """The file's own statements of one group, in messages of bounded size."""
        found, limit = self.statements, 1 if self.statements.conforming_changes else MESSAGE_LIMIT
        if self._mostly_one_statement(group):
            yield [QueryPart(found.sql, len(found), 0, 0)]  # no copy of it
            return
        pending: list[QueryPart] = []
        size, index, count = 0, 0, len(group.send)
        while index < count:
            first = group.send[index]
            special = self.specials.get(first)
            if special is not None and special.kind is StatementKind.DISCARD_ALL:
                pending.append(hygiene)
                index += 1
                continue
            last = index
            start = found.starts[first]
            while last + 1 < count and self._together(group, last + 1, start, limit - size):
                last += 1
            end = found.ends[group.send[last]]
            pending += [QueryPart(found.sql[start:end], last - index + 1, start, first), SEPARATOR]
            size += end - start
            index = last + 1
            if size >= limit // 2 or (index < count and size + self._length(group.send[index]) > limit):
                yield pending
                pending, size = [], 0
        if pending:
            yield pending

    def _mostly_one_statement(self, group: Group) -> bool:
        """A large file that is one statement, but for what is around it, and is sent as it is."""
        found = self.statements
        if len(found.sql) <= MESSAGE_LIMIT or len(group.send) != len(found) or self.specials:
            return False
        return not found.conforming_changes and 2 * self.largest > len(found.sql)

    @property
    def memory(self) -> int:
        """Bytes that sending it takes beside the file itself: libpq remembers a query and buffers it."""
        group = self.groups[0] if len(self.groups) == 1 else None
        if group is not None and self._mostly_one_statement(group):
            return 2 * len(self.statements.sql)
        return 3 * max(self.largest, MESSAGE_LIMIT)

    @property
    def largest(self) -> int:
        """Bytes of the largest statement."""
        found = self.statements
        return max((end - start for start, end in zip(found.starts, found.ends, strict=True)), default=0)

    def _length(self, index: int) -> int:
        return self.statements.ends[index] - self.statements.starts[index]

    def _together(self, group: Group, position: int, start: int, room: int) -> bool:
        """Whether the next statement follows the last one in the file and still fits the message."""
        index = group.send[position]
        special = self.specials.get(index)
        return (
            index == group.send[position - 1] + 1
            and not (special is not None and special.kind is StatementKind.DISCARD_ALL)
            and self.statements.ends[index] - start <= room
        )

    def meaning(self, index: int) -> str:
        """sha256 over a statement's tokens, the same whatever its white space, comments and case."""
        return hashlib.sha256(b"\0".join(_meaning(self.statements.text(index)))).hexdigest()

    def prefix_checksum(self, done: int) -> str:
        """sha256 over the exact bytes of the first ``done`` statements, each with its length."""
        count, digest = self._prefix if self._prefix[0] <= done else (0, hashlib.sha256())
        for index in range(count, done):
            text = self.statements.view(index)
            digest.update(len(text).to_bytes(8, "big"))
            digest.update(text)
        self._prefix = done, digest
        return digest.hexdigest()


def _meaning(sql: bytes) -> Iterator[bytes]:
    for token in lexer.tokens(sql, 0, len(sql), strings=True):
        if token.startswith(b"$") and token.endswith(b"$") and len(token) > 1:
            body = token.index(b"$", 1) + 1
            yield from (b"$", *_meaning(token[body:-body]), b"$")
        else:
            yield token if token[:1] in b"'\"" else token.upper()


class Lookahead:
    """Prepares a plan's steps before they are due, and forgets them afterwards."""

    def __init__(self, steps: Sequence[Step], prepare: Callable[[Step], Prepared]) -> None:
        self._steps = steps
        self._prepare = prepare
        self._ready: dict[int, Prepared | MigrationError] = {}

    def peek(self, index: int) -> Prepared | None:
        """The step prepared; None where there is none, or where it will be refused."""
        if index >= len(self._steps):
            return None
        if index not in self._ready:
            try:
                self._ready[index] = self._prepare(self._steps[index])
            except MigrationError as error:  # a file is refused when its turn comes, not before
                self._ready[index] = error
        found = self._ready[index]
        return found if isinstance(found, Prepared) else None

    def get(self, index: int) -> Prepared:
        """The step whose turn has come.

        Raises:
            MigrationError: it cannot be run as it is.
        """
        self.peek(index)
        found = self._ready.pop(index)
        if isinstance(found, MigrationError):
            raise found
        return found
