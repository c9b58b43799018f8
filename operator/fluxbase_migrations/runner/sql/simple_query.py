"""Files go to the server as bytes, by the simple query protocol, one reply per statement.

psycopg's cursors hide which of several statements failed; libpq's own interface (``psycopg.pq``) tells. Rows
are thrown away as they come: a migration's SELECT may return more of them than memory holds.
"""

import select
import time
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple, Protocol

from psycopg import pq
from psycopg.pq import abc

from fluxbase_migrations.core.lazy_dataclass import dataclass

_TICK: Final = 0.5
_COMMAND_OK: Final = int(pq.ExecStatus.COMMAND_OK)
_COMPLETE: Final = frozenset((int(pq.ExecStatus.COMMAND_OK), int(pq.ExecStatus.TUPLES_OK)))
_COPY_REFUSAL: Final = b"a migration cannot read COPY data from a client"


@dataclass(frozen=True, slots=True)
class QueryPart:
    """A piece of a message: our own statements, or a run of a file's."""

    sql: bytes
    results: int
    """How many results the server sends for it when nothing fails."""
    origin: int | None = None
    """Byte offset in the file of ``sql[0]``; None for our own statements."""
    first: int = 0
    """Index of the first of the file's statements in it."""
    constraints: bool = False
    """It checks the deferred constraints: what fails in it is the file's."""


def statements_at(parts: Sequence[QueryPart], answered: int) -> tuple[int, int] | None:
    """The first and the last of the file's statements, from 1, at which the server may be; None if at none.

    PostgreSQL keeps the answers of a message back until it ends, or until there are many: all that is known
    is that the server is past the last answer.
    """
    numbers: list[int] = []
    for part in parts:
        if part.origin is not None:
            numbers += range(part.first + 1 + max(0, answered), part.first + 1 + part.results)
        answered -= part.results
    return (numbers[0], numbers[-1]) if numbers else None


class Reply(NamedTuple):
    """What the server said of one statement."""

    tag: bytes
    """The command tag, like ``INSERT 0 1``."""
    row: tuple[bytes | None, ...] | None = None
    """The first row, where it was asked for."""


class SqlFailure(Exception):
    """The server answered with an error."""

    def __init__(self, result: abc.PGresult, replies: Sequence[Reply], counts_bytes: bool) -> None:
        def field(code: pq.DiagnosticField) -> str | None:
            value = result.error_field(code)
            return value.decode("utf-8", "replace") if value is not None else None

        self.counts_bytes = counts_bytes
        """The server takes a byte for a character: its encoding is SQL_ASCII."""
        self.replies = replies
        """What the server said of the statements before it in the message."""
        self.sqlstate = field(pq.DiagnosticField.SQLSTATE) or "XX000"
        self.severity = field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) or "ERROR"
        self.message = field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message.decode(
            "utf-8", "replace"
        )
        self.detail = field(pq.DiagnosticField.MESSAGE_DETAIL)
        self.hint = field(pq.DiagnosticField.MESSAGE_HINT)
        self.context = field(pq.DiagnosticField.CONTEXT)
        self.table = field(pq.DiagnosticField.TABLE_NAME)
        position = field(pq.DiagnosticField.STATEMENT_POSITION)
        self.position = int(position) if position else None
        """In characters of the server's encoding from 1, in the whole message."""
        super().__init__(f"{self.message} ({self.sqlstate})")

    @property
    def completed(self) -> int:
        """How many statements of the message had succeeded."""
        return len(self.replies)


class ConnectionLost(Exception):
    """The connection ended before the server's answer was complete."""

    def __init__(self, reason: str, replies: Sequence[Reply] = ()) -> None:
        super().__init__(reason)
        self.replies = replies


class Stop(Protocol):
    """A request that the run ends; see :class:`fluxbase_migrations.runner.connection.signals.Stop`."""

    @property
    def fileno(self) -> int:
        """Becomes readable when the run is asked to end."""

    def drain(self) -> None:
        """Empty :attr:`fileno`, so that it becomes readable again only by another signal."""

    def should_cancel(self, atomic: bool) -> bool:
        """Whether the statement that is running should be cancelled now."""


@dataclass(frozen=True, slots=True)
class Watch:
    """What to call, and which signals to heed, while the server works."""

    stop: Stop | None = None
    cancel: Callable[[], object] | None = None
    """Called once, when ``stop`` says that the statement is to be cancelled."""
    atomic: bool = True
    on_sent: Callable[[], object] | None = None
    """Called once as soon as everything is sent; it must not fail."""
    on_waiting: Callable[[float, int], object] | None = None
    """Called every half second with the seconds that the message has taken so far, and how many statements of
    it have been answered; it must not fail."""


_NO_WATCH: Final = Watch()


def run(
    conn: abc.PGconn,
    parts: Sequence[QueryPart],
    watch: Watch = _NO_WATCH,
    *,
    rows: int = 0,
    single: bool = False,
) -> list[Reply]:
    """Send ``parts`` as one message and wait for every reply; of the first ``rows`` keep a row.

    ``single`` has the server itself refuse more than one statement (the extended protocol does).

    Raises:
        SqlFailure: a statement failed; those after it in the message did not run.
        ConnectionLost: the server is gone; what took effect is not known here.
    """
    text = b"".join(part.sql for part in parts) if len(parts) > 1 else parts[0].sql
    try:
        if single:
            conn.send_query_params(text, None)
        else:
            conn.send_query(text)
        conn.set_single_row_mode()
    except Exception as error:
        raise ConnectionLost(str(error).strip()) from error
    return _Exchange(conn, watch, rows).replies_to_all()


def run_own(conn: abc.PGconn, text: bytes, watch: Watch = _NO_WATCH) -> list[abc.PGresult]:
    """Send statements of our own, which no signal cancels; returns their results, rows and all.

    Raises:
        SqlFailure, ConnectionLost: as :func:`run`.
    """
    try:
        conn.send_query(text)
    except Exception as error:
        raise ConnectionLost(str(error).strip()) from error
    exchange = _Exchange(conn, watch, 0, keep=True)
    exchange.replies_to_all()
    return exchange.results


class _Exchange:
    """One message, from its first byte sent to its last reply."""

    def __init__(self, conn: abc.PGconn, watch: Watch, rows: int, *, keep: bool = False) -> None:
        self.conn = conn
        self.watch = watch
        self.rows = rows
        self.keep = keep
        self.replies: list[Reply] = []
        self.results: list[abc.PGresult] = []
        self.failure: SqlFailure | None = None
        self._row: tuple[bytes | None, ...] | None = None
        self._began = time.monotonic()
        self._cancelled = False
        self._poll = select.poll()
        self._poll.register(conn.socket, select.POLLIN)
        if watch.stop is not None:
            self._poll.register(watch.stop.fileno, select.POLLIN)

    def replies_to_all(self) -> list[Reply]:
        """Wait until the server has answered everything."""
        try:
            self._send()
            self._receive()
        except Exception as error:  # psycopg.pq reports a lost socket as OperationalError
            raise ConnectionLost(str(error).strip(), self.replies) from error
        if self.conn.status != pq.ConnStatus.OK:
            reason = self.failure.message if self.failure else "the server closed the connection"
            raise ConnectionLost(reason.strip(), self.replies) from self.failure
        if self.failure is not None:
            raise self.failure
        return self.replies

    def _send(self) -> None:
        sending = self.conn.flush() == 1
        if not sending and self.watch.on_sent is not None:
            self.watch.on_sent()
        while sending:
            if self._wait(select.POLLIN | select.POLLOUT):
                self.conn.consume_input()
                sending = self.conn.flush() == 1

    def _receive(self) -> None:
        """Take result after result; there are two dozen for a small file, so the usual kind is short."""
        busy, get, append = self.conn.is_busy, self.conn.get_result, self.replies.append
        while True:
            while busy():
                if self._wait(select.POLLIN):
                    self.conn.consume_input()
            result = get()
            if result is None:
                return
            if result.status == _COMMAND_OK and not self.keep:
                append(Reply(result.command_status or b""))
            else:
                self._take(result)

    def _wait(self, events: int) -> bool:
        """Wait a moment for the socket, and handle a signal; returns whether the socket is ready."""
        self._poll.modify(self.conn.socket, events)
        ready = dict(self._poll.poll(_TICK * 1000))
        watch = self.watch
        if watch.stop is not None:
            if watch.stop.fileno in ready:
                watch.stop.drain()
            if watch.cancel and not self._cancelled and watch.stop.should_cancel(watch.atomic):
                self._cancelled = True
                watch.cancel()
        if watch.on_waiting is not None and self.conn.socket not in ready:
            watch.on_waiting(time.monotonic() - self._began, len(self.replies))
        return self.conn.socket in ready

    def _take(self, result: abc.PGresult) -> None:
        status = result.status
        if status in _COMPLETE:
            self._complete(result)
            return
        match status:
            case pq.ExecStatus.SINGLE_TUPLE:
                if self._row is None and len(self.replies) < self.rows:
                    self._row = tuple(result.get_value(0, column) for column in range(result.nfields))
            case pq.ExecStatus.FATAL_ERROR:
                self._fail(result)
            case pq.ExecStatus.COPY_IN:
                self.conn.put_copy_end(_COPY_REFUSAL)
                self.conn.flush()
            case pq.ExecStatus.COPY_OUT:
                self._drain_copy()

    def _complete(self, result: abc.PGresult) -> None:
        """Add the reply to the statement that this result ends."""
        tag = result.command_status
        if not tag:
            return  # the rows of one of a rule's queries; the statement's own tag is still to come
        self.replies.append(Reply(tag, self._row))
        self._row = None
        if self.keep:
            self.results.append(result)

    def _fail(self, result: abc.PGresult) -> None:
        """The first error is the statement's; a second one is of the connection's end."""
        if self.failure is None:
            encoding = self.conn.parameter_status(b"server_encoding")
            self.failure = SqlFailure(result, self.replies, encoding == b"SQL_ASCII")

    def _drain_copy(self) -> None:
        """Read and discard the rows of COPY TO STDOUT."""
        while True:
            size, _ = self.conn.get_copy_data(1)
            if size == -1:
                return
            if size == 0 and self._wait(select.POLLIN):
                self.conn.consume_input()
