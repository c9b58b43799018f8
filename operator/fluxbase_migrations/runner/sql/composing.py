"""Statements of our own from quoted parts: what :mod:`psycopg.sql` does, without psycopg's adapters."""

from collections.abc import Iterable, Sequence
from string import Formatter
from typing import LiteralString, Protocol

from psycopg import pq
from psycopg.pq import abc

from fluxbase_migrations.runner.sql.encodings import client_codec, encoded


class Composable(Protocol):
    """A piece of a statement, which knows how it is quoted."""

    def as_bytes(self, pgconn: abc.PGconn) -> bytes:
        """As the server reads it on this connection."""


class Identifier:
    """A name, or several with a dot between them."""

    def __init__(self, *names: str) -> None:
        self._names = names

    def as_bytes(self, pgconn: abc.PGconn) -> bytes:
        """Quoted by libpq."""
        escaping = pq.Escaping(pgconn)
        return b".".join(escaping.escape_identifier(_encoded(name, pgconn)) for name in self._names)

    def as_string(self, pgconn: abc.PGconn) -> str:
        """As :meth:`as_bytes`, decoded: for messages."""
        return self.as_bytes(pgconn).decode(client_codec(pgconn), "replace")


class Literal:
    """A string or a number."""

    def __init__(self, value: str | int) -> None:
        self._value = value

    def as_bytes(self, pgconn: abc.PGconn) -> bytes:
        """Quoted by libpq, where it is a string."""
        if isinstance(self._value, int):
            return b" %d" % self._value  # two minus signs would begin a comment
        return pq.Escaping(pgconn).escape_literal(_encoded(self._value, pgconn))


class Composed:
    """Pieces, one after the other."""

    def __init__(self, pieces: Sequence[Composable]) -> None:
        self._pieces = pieces

    def as_bytes(self, pgconn: abc.PGconn) -> bytes:
        """The statement."""
        return b"".join(piece.as_bytes(pgconn) for piece in self._pieces)


class SQL:
    """Text of this program's own, never from outside; ``{}`` and ``{name}`` stand for other pieces."""

    def __init__(self, text: LiteralString) -> None:
        self._text = text

    def format(self, *pieces: Composable, **named: Composable) -> Composed:
        """The text with pieces in place of its braces."""
        positional = iter(pieces)
        composed: list[Composable] = []
        for text, name, _, _ in Formatter().parse(self._text):
            composed.append(SQL(text))
            if name is not None:
                composed.append(named[name] if name else next(positional))
        return Composed(composed)

    def join(self, pieces: Iterable[Composable]) -> Composed:
        """The pieces with this text between them."""
        joined: list[Composable] = []
        for piece in pieces:
            joined += [self, piece] if joined else [piece]
        return Composed(joined)

    def as_bytes(self, pgconn: abc.PGconn) -> bytes:
        """The text."""
        return _encoded(self._text, pgconn)


def _encoded(text: str, pgconn: abc.PGconn) -> bytes:
    return encoded(text, "ascii" if text.isascii() else client_codec(pgconn))
