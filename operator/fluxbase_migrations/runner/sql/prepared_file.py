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
from fluxbase_migrations.runner.sql import grouping, lexer, statements
from fluxbase_migrations.runner.sql.grouping import Group
from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.refused_statements import refuse_left_out, refuse_unusable
from fluxbase_migrations.runner.sql.simple_query import QueryPart
from fluxbase_migrations.runner.sql.statements import Special, StatementKind

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
    """How many statements the running checksum covers, and the checksum."""

    @classmethod
    def of(
        cls,
        step: Step,
        *,
        standard_conforming_strings: bool = True,
        check_stop: Callable[[], object] | None = None,
    ) -> "Prepared":
        """Split and classify ``step``'s file; ``check_stop`` as in :func:`lexer.split`.

        Raises:
            InvalidSource: the file cannot be run as it is.
        """
        sql = step.file.sql if step.file else b""
        split = lexer.split(
            sql, standard_conforming_strings=standard_conforming_strings, check_stop=check_stop
        )
        specials = statements.classify(split)
        refuse_unusable(split, specials, step.label)
        refuse_left_out(split, step.label)
        return cls(step, split, specials, grouping.group(split, specials, (), (), step.label))

    def regroup(self) -> None:
        """Cut the file again, after PostgreSQL's errors have added to :attr:`alone` or :attr:`cuts`."""
        self.groups = grouping.group(self.statements, self.specials, self.alone, self.cuts, self.step.label)

    @property
    def file(self) -> MigrationFile | None:
        """None: the step only moves the recorded version."""
        return self.step.file

    @property
    def atomic(self) -> bool:
        """Whether the whole file takes effect together with its version row."""
        return grouping.is_atomic(self.groups)

    @property
    def one_message(self) -> bool:
        """Whether our own statements travel in one message with the file's.

        Only where none of its bytes could end a transaction, whatever they are taken for: then it is
        certain, too, that nothing took effect when the connection is lost.
        """
        sql = self.statements.sql
        return (
            len(sql) <= MESSAGE_LIMIT
            and not self.specials
            and not self.statements.conforming_changes
            and _TRANSACTIONAL.search(sql) is None
        )

    def messages(self, group: Group, reset_session: QueryPart) -> Iterator[list[QueryPart]]:
        """The file's own statements of one group, in messages of bounded size.

        ``reset_session`` takes the place of a DISCARD ALL.
        """
        statements = self.statements
        if self._mostly_one_statement(group):
            yield [QueryPart(statements.sql, len(statements), 0, 0)]  # no copy of it
            return
        # The server reads a whole message with the standard_conforming_strings that held before it.
        limit = 1 if statements.conforming_changes else MESSAGE_LIMIT
        message: list[QueryPart] = []
        size = 0
        for part in self._parts(group.send, limit, reset_session):
            if message and size + len(part.sql) > limit:
                yield message
                message, size = [], 0
            message += [part, SEPARATOR]
            size += len(part.sql)
        if message:
            yield message

    def _parts(self, send: Sequence[int], limit: int, reset_session: QueryPart) -> Iterator[QueryPart]:
        """The statements to send, neighbours in the file together."""
        statements, position = self.statements, 0
        while position < len(send):
            first = send[position]
            if self._discards_all(first):
                yield reset_session
                position += 1
                continue
            count = self._neighbours(send, position, limit)
            start, end = statements.starts[first], statements.ends[first + count - 1]
            yield QueryPart(statements.sql[start:end], count, start, first)
            position += count

    def _neighbours(self, send: Sequence[int], position: int, limit: int) -> int:
        """How many statements from this one on stand side by side in the file and fit ``limit`` bytes."""
        first, ends = send[position], self.statements.ends
        start, count = self.statements.starts[first], 1
        while position + count < len(send):
            index = send[position + count]
            if index != first + count or ends[index] - start > limit or self._discards_all(index):
                break
            count += 1
        return count

    def _discards_all(self, index: int) -> bool:
        special = self.specials.get(index)
        return special is not None and special.kind is StatementKind.DISCARD_ALL

    def _mostly_one_statement(self, group: Group) -> bool:
        """A large file that is one statement, but for what is around it, and is sent as it is."""
        statements = self.statements
        if len(statements.sql) <= MESSAGE_LIMIT or len(group.send) != len(statements) or self.specials:
            return False
        return not statements.conforming_changes and 2 * self.largest > len(statements.sql)

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
        starts, ends = self.statements.starts, self.statements.ends
        return max((end - start for start, end in zip(starts, ends, strict=True)), default=0)

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
        prepared = self._ready[index]
        return prepared if isinstance(prepared, Prepared) else None

    def get(self, index: int) -> Prepared:
        """The step whose turn has come.

        Raises:
            MigrationError: it cannot be run as it is.
        """
        self.peek(index)
        prepared = self._ready.pop(index)
        if isinstance(prepared, MigrationError):
            raise prepared
        return prepared
