"""The one connection that holds the lock and runs the files; ``connect`` opens it."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import field
from typing import Any, Final, LiteralString

from psycopg import errors, pq
from psycopg.pq import abc

from fluxbase_migrations.core.defaults import CONNECT_PATIENCE
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection import libpq, queries
from fluxbase_migrations.runner.connection.lock_waits import LockWaits
from fluxbase_migrations.runner.connection.masking import scrub
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.sql import composing as sql
from fluxbase_migrations.runner.sql import simple_query
from fluxbase_migrations.runner.sql.encodings import client_codec, fitting
from fluxbase_migrations.runner.sql.simple_query import QueryPart, Reply, Watch

CATALOG_QUERY: Final[LiteralString] = "SET LOCAL jit = off; "
"""Before a query of many catalogs, in one message with it: the server compiles what it thinks expensive, and
with thousands of tables that takes longer than the query by far."""
_CANCEL_PATIENCE: Final = 5.0
"""Seconds that a request to cancel may take."""
_NO_ESCAPES: Final = "SQL_ASCII"
"""An encoding in which PostgreSQL has no Unicode escapes, and converts nothing."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Time limits, in seconds; 0 is none."""

    statement_timeout: float | None = None
    """None: what :attr:`named` says, or else none at all."""
    ddl_lock_timeout: float | None = None
    """PostgreSQL's lock_timeout; None leaves the server's own."""
    connect_patience: float = CONNECT_PATIENCE
    named: Mapping[str, str] = field(default_factory=dict)
    """The server's settings that the database's URL gives."""

    def startup(self) -> dict[str, str]:
        """Settings that go into the startup packet, so that RESET ALL brings them back."""
        settings = {
            "client_encoding": "UTF8",
            "statement_timeout": "0",
            "idle_in_transaction_session_timeout": "0",
            "idle_session_timeout": "0",
            "client_connection_check_interval": "5s",
            "tcp_keepalives_idle": "30",
            "tcp_keepalives_interval": "10",
            "tcp_keepalives_count": "3",
            "tcp_user_timeout": "60000",
            **self.named,
            # Types and names that the server writes for us are compared, and shown.
            "quote_all_identifiers": "off",
        }
        if self.statement_timeout is not None:
            settings["statement_timeout"] = _milliseconds(self.statement_timeout)
        if self.ddl_lock_timeout is not None:
            settings["lock_timeout"] = _milliseconds(self.ddl_lock_timeout)
        return settings


def _milliseconds(seconds: float) -> str:
    return str(max(0, round(seconds * 1000)))


@dataclass(slots=True)
class Session:
    """A connection in autocommit mode; transactions are our own statements."""

    pgconn: abc.PGconn = field(repr=False)
    """Libpq's own handle."""
    hidden: list[str] = field(repr=False)
    stop: Stop
    after_reset: bytes = b""
    """Settings to repeat after RESET ALL, where a pooler refused them in the startup packet."""
    server_pid: int = 0
    """The backend's own ``pg_backend_pid()``; behind a pooler it differs from what the pooler says."""
    lock_waits: LockWaits | None = None
    """Called for every message that takes long."""

    @property
    def server_version(self) -> int:
        """Like 150018."""
        return self.pgconn.server_version

    @property
    def database(self) -> str:
        """The database's name."""
        return self.pgconn.db.decode()

    @property
    def server_encoding(self) -> str:
        """PostgreSQL's name of the database's encoding, like ``UTF8``."""
        return (self.pgconn.parameter_status(b"server_encoding") or b"UTF8").decode()

    @property
    def standard_conforming_strings(self) -> bool:
        """Whether a backslash in an ordinary string is an ordinary character."""
        return self.pgconn.parameter_status(b"standard_conforming_strings") != b"off"

    @property
    def in_transaction(self) -> bool:
        """Whether a transaction block is open, failed or not."""
        return self.pgconn.transaction_status in (pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR)

    @property
    def lost(self) -> bool:
        """Whether the connection is known to be gone."""
        return self.pgconn.status != pq.ConnStatus.OK

    def query(
        self, text: LiteralString | sql.Composed | sql.SQL, params: Sequence[Any] = ()
    ) -> list[tuple[Any, ...]]:
        """Run a statement of our own and return its rows; of several without ``params``, those of the last.

        Raises:
            errors.Error: as the server says.
        """
        statement = text.encode() if isinstance(text, str) else text.as_bytes(self.pgconn)
        return queries.run(self.pgconn, statement, params)

    def run(
        self,
        parts: Sequence[QueryPart],
        *,
        atomic: bool = True,
        on_sent: Callable[[], object] | None = None,
        rows: int = 0,
        single: bool = False,
    ) -> list[Reply]:
        """Send a message, as ``simple_query.run`` does. A signal cancels it by policy."""
        with self._watched(parts) as on_waiting:
            watch = Watch(self.stop, self._cancel, atomic, on_sent, on_waiting)
            return simple_query.run(self.pgconn, parts, watch, rows=rows, single=single)

    def run_own(self, text: bytes) -> list[abc.PGresult]:
        """Send statements of our own, which no signal cancels."""
        with self._watched() as on_waiting:
            return simple_query.run_own(self.pgconn, text, Watch(on_waiting=on_waiting))

    @contextmanager
    def _watched(self, parts: Sequence[QueryPart] = ()) -> Iterator[Callable[[float, int], object] | None]:
        """Log who blocks a message while the server works at it."""
        waits = self.lock_waits
        if waits is None:
            yield None
            return
        waits.begin()
        yield lambda waited, answered: waits.tick(waited, simple_query.statements_at(parts, answered))
        waits.end()

    def transaction_status(self, xid: str) -> str | None:
        """``committed``, ``aborted`` or ``in progress``: what the server says of a transaction.

        Raises:
            errors.Error: it says nothing.
        """
        ((status,),) = self.query("SELECT pg_catalog.pg_xact_status(%s::pg_catalog.xid8)", (xid,))
        return None if status is None else str(status)

    def _cancel(self) -> None:
        # The answer, 57014 or success, comes on the connection itself.
        try:
            libpq.cancel(self.pgconn, _CANCEL_PATIENCE)
        except errors.Error:
            return

    def rollback(self) -> None:
        """End an open transaction without effect."""
        if not self.lost and self.in_transaction:
            self.run_own(b"ROLLBACK")

    def literal(self, value: str | int | None) -> bytes:
        """Quote a value for a statement sent as bytes; libpq does the quoting."""
        if value is None:
            return b"NULL"
        if isinstance(value, int):
            return b"%d" % value
        return self._quoted(fitting(value, self.server_encoding))

    def json(self, value: Any) -> bytes:
        """A jsonb literal."""
        text = fitting(json.dumps(value, ensure_ascii=False), self.server_encoding, in_json=True)
        return self._quoted(text) + b"::pg_catalog.jsonb"

    def _quoted(self, text: str) -> bytes:
        """In ASCII: a file may have set another client_encoding, in which the server reads our bytes."""
        if text.isascii() or self.server_encoding == _NO_ESCAPES:
            return pq.Escaping(self.pgconn).escape_literal(text.encode())
        return b"E'%b'" % _escaped(text.replace("\\", "\\\\").replace("'", "''"), "\\u%04x", "\\U%08x")

    def identifier(self, name: str) -> bytes:
        """Quote a name for a statement sent as bytes."""
        if name.isascii() or self.server_encoding == _NO_ESCAPES:
            return pq.Escaping(self.pgconn).escape_identifier(name.encode())
        text = name.replace("\\", "\\\\").replace('"', '""')
        return b'U&"%b"' % _escaped(text, "\\%04x", "\\+%06x")

    def scrub(self, text: str) -> str:
        """``text`` without passwords."""
        return scrub(text, self.hidden)

    def on_notice(self, handler: Callable[[errors.Diagnostic], object]) -> None:
        """Have the server's notices handed over as they come."""

        def hand_over(result: abc.PGresult) -> None:
            handler(errors.Diagnostic(result, client_codec(self.pgconn)))

        self.pgconn.notice_handler = hand_over

    def close(self) -> None:
        """End the session, and with it every lock."""
        self.pgconn.finish()


def _escaped(text: str, short: str, long: str) -> bytes:
    """``text`` with an escape in place of every character beyond ASCII."""
    escaped = (
        character if character.isascii() else (short if ord(character) < 0x10000 else long) % ord(character)
        for character in text
    )
    return "".join(escaped).encode()
