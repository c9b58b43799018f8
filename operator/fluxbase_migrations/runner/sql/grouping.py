"""In which transactions a file runs: its statements, cut into groups that take effect together."""

import re
from collections.abc import Collection, Mapping
from dataclasses import field
from typing import Final

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.sql.lexer import Statements
from fluxbase_migrations.runner.sql.statements import Special, StatementKind, statement_label

_SETTING: Final = re.compile(rb"(?:SET|RESET)\b", re.IGNORECASE)


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


def is_atomic(groups: list[Group]) -> bool:
    """Whether the whole file can take effect together with its version row."""
    return not groups or (len(groups) == 1 and not groups[0].alone and groups[0].end is StatementKind.COMMIT)


def group(
    statements: Statements,
    specials: Mapping[int, Special],
    alone: Collection[int],
    cuts: Collection[int],
    name: str,
) -> list[Group]:
    """Cut a file into its groups; a file that yields one transactional group is an atomic file.

    ``alone`` are the statements that PostgreSQL refused in a transaction, ``cuts`` those that need what
    stands before them committed.

    Raises:
        InvalidSource: the file ends inside a transaction that it opened itself, or gives such a transaction
            modes when it is too late.
    """
    grouping = _Grouping(statements, specials, alone, cuts, name)
    for index in range(len(statements)):
        grouping.add(index)
    return grouping.finish()


_PLAIN: Final = Special(StatementKind.PLAIN)


class _Grouping:
    """Takes a file's statements in order; :attr:`current` is the open group."""

    def __init__(
        self,
        statements: Statements,
        specials: Mapping[int, Special],
        alone: Collection[int],
        cuts: Collection[int],
        name: str,
    ) -> None:
        self.statements = statements
        self.specials = specials
        self.alone = alone
        self.cuts = cuts
        self.name = name
        self.groups: list[Group] = []
        self.current = Group(0)
        self.opened = 0
        """The statement that opened the file's own transaction."""

    def add(self, index: int) -> None:
        """Put statement ``index`` into the open group, or end that group first."""
        special = self.specials.get(index, _PLAIN)
        if not self.current.explicit:
            if index in self.cuts:
                self._close(index)
            if special.kind is StatementKind.ALONE or index in self.alone:
                self._add_alone(index, special)
                return
        match special.kind:
            case StatementKind.BEGIN:
                self._begin(index, special)
            case StatementKind.SET_TRANSACTION if not self.current.send:
                self.current.modes.append(special.modes)
            case StatementKind.COMMIT | StatementKind.ROLLBACK | StatementKind.PREPARE:
                self._end(index, special)
            case _:
                self.current.send.append(index)

    def finish(self) -> list[Group]:
        """Close the last group; returns all of them."""
        # Where a COMMIT lacks its semicolon, the server says so, with the place.
        malformed = any(special.kind is StatementKind.MALFORMED for special in self.specials.values())
        if self.current.explicit and not malformed:
            raise self._refusal(
                self.opened,
                "the file ends inside the transaction that it opened here",
                "add the missing COMMIT, or remove BEGIN: a file is one transaction anyway",
            )
        self._close(len(self.statements))
        return self.groups

    def _close(self, last: int, end: StatementKind = StatementKind.COMMIT) -> None:
        """End the group that is open before statement ``last``, and open the next."""
        self.current.last, self.current.end = last, end
        if self.current.send or end is not StatementKind.COMMIT:
            self.groups.append(self.current)
        self.current = Group(last)

    def _add_alone(self, index: int, special: Special) -> None:
        self._close(index)
        self.groups.append(Group(index, index + 1, [index], alone=True, concurrently=special.concurrently))
        self.current = Group(index + 1)

    def _begin(self, index: int, special: Special) -> None:
        """The file opens a transaction: inside an open one its BEGIN has no effect, its modes have."""
        if special.modes and not self._modes_can_be_set():
            if self.current.explicit:
                raise self._refusal(
                    index,
                    "BEGIN cannot set modes inside the transaction that the file opened before",
                    "add the missing COMMIT before it, or give the modes to the first BEGIN",
                )
            self._close(index)
        if special.modes:
            self.current.modes.append(special.modes)
        if not self.current.explicit:
            self.opened = index
            self.current.explicit = True

    def _end(self, index: int, special: Special) -> None:
        """The file ends the transaction; with AND CHAIN it opens another one with the same modes."""
        modes = self.current.modes
        if special.kind is StatementKind.PREPARE:
            self.current.send.append(index)
        self._close(index + 1, special.kind)
        if special.chain:
            self.current.explicit, self.current.modes, self.opened = True, modes, index

    def _modes_can_be_set(self) -> bool:
        """Whether PostgreSQL still lets a transaction's modes be chosen after what it has run so far."""
        sql, starts = self.statements.sql, self.statements.starts
        return all(_SETTING.match(sql, starts[index]) for index in self.current.send)

    def _refusal(self, index: int, message: str, hint: str) -> InvalidSource:
        statements = self.statements
        return InvalidSource(
            message,
            file=self.name,
            line=statements.sql.count(b"\n", 0, statements.starts[index]) + 1,
            statement=statement_label(statements, index),
            hint=hint,
        )
