"""Files go to the server as bytes, by the simple query protocol, one result per statement.

psycopg's cursors hide which of several statements failed; libpq's own interface (``psycopg.pq``) tells.
"""

import select
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import pq
from psycopg.pq import abc

from fluxbase_migrations.runner.signals import Stop

_TICK: Final = 0.5
_COPY_REFUSAL: Final = b"a migration cannot read COPY data from a client"


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a message: our own statements, or a run of a file's."""

    sql: bytes
    results: int
    """How many results the server sends for it when nothing fails."""
    origin: int | None = None
    """Byte offset in the file of ``sql[0]``; None for our own statements."""
    first: int = 0
    """Index of the first of the file's statements in it."""


class SqlFailure(Exception):
    """The server answered with an error."""

    def __init__(self, result: abc.PGresult, failed: int, encoding: str = "utf-8") -> None:
        def field(code: pq.DiagnosticField) -> str | None:
            value = result.error_field(code)
            return value.decode(encoding, "replace") if value is not None else None

        self.failed = failed
        """How many statements of the message had succeeded."""
        self.sqlstate = field(pq.DiagnosticField.SQLSTATE) or "XX000"
        self.severity = field(pq.DiagnosticField.SEVERITY_NONLOCALIZED) or "ERROR"
        self.message = field(pq.DiagnosticField.MESSAGE_PRIMARY) or result.error_message.decode(
            encoding, "replace"
        )
        self.detail = field(pq.DiagnosticField.MESSAGE_DETAIL)
        self.hint = field(pq.DiagnosticField.MESSAGE_HINT)
        self.context = field(pq.DiagnosticField.CONTEXT)
        position = field(pq.DiagnosticField.STATEMENT_POSITION)
        self.position = int(position) if position else None
        """In characters from 1, in the whole message."""
        super().__init__(f"{self.message} ({self.sqlstate})")


class ConnectionLost(Exception):
    """The connection ended before the server's answer was complete."""

    def __init__(self, reason: str, failed: int = 0) -> None:
        super().__init__(reason)
        self.failed = failed


def run(
    conn: abc.PGconn,
    chunks: Sequence[Chunk],
    *,
    stop: Stop | None = None,
    atomic: bool = True,
    cancel: Callable[[], object] | None = None,
    meanwhile: Callable[[], object] | None = None,
) -> list[abc.PGresult]:
    """Send ``chunks`` as one message and wait for every result.

    ``meanwhile`` is called once while the server works; it must not fail.

    Raises:
        SqlFailure: a statement failed; those after it in the message did not run.
        ConnectionLost: the server is gone; what took effect is not known here.
    """
    try:
        conn.send_query(b"".join(chunk.sql for chunk in chunks))
    except Exception as error:
        raise ConnectionLost(str(error).strip()) from error
    return _results(conn, stop, atomic, cancel, meanwhile)


def _results(
    conn: abc.PGconn,
    stop: Stop | None,
    atomic: bool,
    cancel: Callable[[], object] | None,
    meanwhile: Callable[[], object] | None,
) -> list[abc.PGresult]:
    results: list[abc.PGresult] = []
    failure: SqlFailure | None = None
    cancelled = False
    poll = select.poll()
    poll.register(conn.socket, select.POLLIN)
    if stop is not None:
        poll.register(stop.fileno, select.POLLIN)
    try:
        sending = conn.flush() == 1
        if meanwhile is not None and not sending:
            meanwhile()
        while True:
            while sending or conn.is_busy():
                poll.modify(conn.socket, select.POLLIN | (select.POLLOUT if sending else 0))
                ready = dict(poll.poll(_TICK * 1000))
                if stop is not None:
                    if stop.fileno in ready:
                        stop.drain()
                    if cancel and not cancelled and stop.should_cancel(atomic):
                        cancelled = True
                        cancel()
                if conn.socket in ready:
                    conn.consume_input()
                    sending = sending and conn.flush() == 1
            result = conn.get_result()
            if result is None:
                break
            match result.status:
                case pq.ExecStatus.FATAL_ERROR:
                    failure = failure or SqlFailure(result, len(results))
                case pq.ExecStatus.COPY_IN:
                    conn.put_copy_end(_COPY_REFUSAL)
                    conn.flush()
                case pq.ExecStatus.COPY_OUT:
                    _drain_copy(conn)
                case _:
                    results.append(result)
    except (ConnectionLost, SqlFailure):
        raise
    except Exception as error:  # psycopg.pq reports a lost socket as OperationalError
        raise ConnectionLost(str(error).strip(), len(results)) from error
    if conn.status != pq.ConnStatus.OK:
        reason = failure.message if failure else "the server closed the connection"
        raise ConnectionLost(reason.strip(), len(results)) from failure
    if failure is not None:
        raise failure
    return results


def _drain_copy(conn: abc.PGconn) -> None:
    """COPY TO STDOUT in a migration: nobody reads it."""
    poll = select.poll()
    poll.register(conn.socket, select.POLLIN)
    while True:
        size, _ = conn.get_copy_data(1)
        if size == -1:
            return
        if size == 0:
            poll.poll(_TICK * 1000)
            conn.consume_input()
