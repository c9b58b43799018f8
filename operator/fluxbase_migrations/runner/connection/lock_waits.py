"""Who holds the lock that a statement waits for: asked of the server on a second, short connection.

The session that waits cannot ask itself. The second connection may be denied (no slot is left, a pooler gives
no more), has seconds to answer, and its errors never fail the run.
"""

import select
import time
from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any, Final

from psycopg import conninfo, pq
from psycopg.pq import abc

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.core.log_lines import GOES_ON, WAITING
from fluxbase_migrations.core.names import APPLICATION_NAME
from fluxbase_migrations.runner.log import Log

if TYPE_CHECKING:
    from fluxbase_migrations.runner.connection.session import Session

FIRST: Final = 5.0
"""Seconds that a message takes before the server is asked about it."""
AGAIN: Final = 30.0
"""Seconds between two lines about one wait, and the most between two questions."""
_PATIENCE: Final = 3.0
"""Seconds that connecting and asking may take."""
_SHOWN: Final = 3
"""Holders that are named."""


class _Denied(Exception):
    """The question could not be asked, or was not answered in time."""


@dataclass(frozen=True, slots=True)
class LockWait:
    """What a backend waits for, and for whom."""

    lock: str
    holder: str


@dataclass(slots=True)
class LockWaits:
    """Logs which messages of a session wait for a lock, and who holds it."""

    session: "Session"
    log: Log
    fields: Callable[[], Mapping[str, Any]]
    """What the lines are about: the file that runs."""
    _due: float = field(default=FIRST, init=False)
    _logged_at: float | None = field(default=None, init=False)
    _denied: bool = field(default=False, init=False)

    def begin(self) -> None:
        """Forget the last message: the next is about to be sent."""
        self._due, self._logged_at = FIRST, None

    def tick(self, waited: float, statements: tuple[int, int] | None = None) -> None:
        """The server has not answered the message for ``waited`` seconds; raises nothing.

        ``statements`` are the first and the last of the file's that it may be at.
        """
        if self.log.live is not None:
            from fluxbase_migrations.runner.connection.activity import read_activity  # for a terminal

            self.log.live.tick(waited, statements, lambda: read_activity(self.session))
        if waited < self._due:
            return
        try:
            wait = ask(self.session)
        except Exception as error:  # none of its errors is the statement's
            self._due = waited + AGAIN
            if not self._denied:
                self._denied = True
                self.log.info("cannot see who holds locks", error=self.session.scrub(str(error)))
            return
        if wait is not None:
            self._due, self._logged_at = waited + AGAIN, waited
            self.log.info(WAITING, **self.fields(), seconds=round(waited), lock=wait.lock, holder=wait.holder)
            return
        # It works, and may meet a lock at any time; the longer it takes, the less often the server is asked.
        self._due = waited + min(max(FIRST, waited / 4), AGAIN)
        self._granted(waited)

    def end(self) -> None:
        """The message was answered, without an error."""
        self._granted(None)

    def _granted(self, waited: float | None) -> None:
        if self._logged_at is not None:
            seconds = {} if waited is None else {"seconds": round(waited)}
            self.log.info(GOES_ON, **self.fields(), **seconds)
        self._logged_at = None


def ask(session: "Session") -> LockWait | None:
    """What the session's backend waits for; None if for no lock.

    Raises:
        Exception: the server could not be asked.
    """
    locks, holders = answers_about(session, QUESTION)[-2:]
    return wait_of(locks, holders)


def answers_about(session: "Session", question: str) -> list[list[list[str | None]]]:
    """The rows of each statement in ``question`` about the session's backend, ``%(pid)d``.

    Raises:
        Exception: the server could not be asked.
    """
    deadline = time.monotonic() + _PATIENCE
    pid = session.server_pid or session.pgconn.backend_pid
    connection = _connected(_parameters(session.pgconn), deadline)
    try:
        return _answers(connection, question % {"pid": pid}, deadline)
    finally:
        connection.finish()


def wait_of(locks: list[list[str | None]], holders: list[list[str | None]]) -> LockWait | None:
    """Read the rows of :data:`QUESTION`'s last two statements; None if nobody holds up the backend."""
    if not holders:
        return None
    return LockWait(_lock_text(locks[0] if locks else [None] * 4), _holders_text(holders))


def _parameters(connection: abc.PGconn) -> dict[str, str]:
    """Those of a connection, with the very server that it has reached."""
    parameters = {
        option.keyword.decode(): option.val.decode() for option in connection.info if option.val is not None
    }
    parameters |= {
        "host": connection.host.decode(),
        "port": connection.port.decode(),
        "hostaddr": connection.hostaddr.decode(),
        "password": connection.password.decode(),
        "target_session_attrs": "any",
        "application_name": APPLICATION_NAME,
    }
    return {name: value for name, value in parameters.items() if value}


def _connected(parameters: dict[str, str], deadline: float) -> abc.PGconn:
    connection = pq.PGconn.connect_start(conninfo.make_conninfo("", **parameters).encode())
    try:
        status = pq.PollingStatus.WRITING
        while status not in (pq.PollingStatus.OK, pq.PollingStatus.FAILED):
            if connection.status == pq.ConnStatus.BAD:
                break
            event = select.POLLIN if status == pq.PollingStatus.READING else select.POLLOUT
            _wait(connection.socket, event, deadline)
            status = pq.PollingStatus(connection.connect_poll())
        if connection.status != pq.ConnStatus.OK:
            raise _Denied(connection.error_message.decode("utf-8", "replace").strip())
    except BaseException:
        connection.finish()
        raise
    return connection


def _answers(connection: abc.PGconn, query: str, deadline: float) -> list[list[list[str | None]]]:
    """The rows of each statement in ``query``."""
    connection.send_query(query.encode())
    answers: list[list[list[str | None]]] = []
    while True:
        while connection.is_busy():
            _wait(connection.socket, select.POLLIN, deadline)
            connection.consume_input()
        result = connection.get_result()
        if result is None:
            return answers
        if result.status == pq.ExecStatus.FATAL_ERROR:
            raise _Denied(result.error_message.decode("utf-8", "replace").strip())
        answers.append([_row(result, number) for number in range(result.ntuples)])


def _row(result: abc.PGresult, number: int) -> list[str | None]:
    values = (result.get_value(number, column) for column in range(result.nfields))
    return [None if value is None else value.decode("utf-8", "replace") for value in values]


def _wait(number: int, event: int, deadline: float) -> None:
    poll = select.poll()
    poll.register(number, event)
    if not poll.poll(max(0.0, deadline - time.monotonic()) * 1000):
        raise _Denied(f"no answer within {_PATIENCE:g} s")


QUESTION: Final = """
SET search_path = pg_catalog; SET statement_timeout = '2s'; SET lock_timeout = '1s';
SELECT l.locktype, l.mode, n.nspname, c.relname
  FROM pg_locks l
  LEFT JOIN pg_locks t
    ON l.locktype = 'transactionid' AND t.locktype = 'tuple' AND t.pid = l.pid AND t.granted
  LEFT JOIN pg_class c ON c.oid = coalesce(l.relation, t.relation)
  LEFT JOIN pg_namespace n ON n.oid = c.relnamespace
 WHERE l.pid = %(pid)d AND NOT l.granted
 LIMIT 1;
SELECT b.pid, a.application_name, a.usename, a.backend_type, a.state, a.wait_event_type,
       to_char(a.state_change AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       to_char(a.xact_start AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
       p.gid, to_char(p.prepared AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
  FROM (SELECT DISTINCT unnest(pg_blocking_pids(%(pid)d) || pg_safe_snapshot_blocking_pids(%(pid)d))) b (pid)
  LEFT JOIN pg_stat_activity a ON a.pid = b.pid
  LEFT JOIN LATERAL (
       SELECT x.gid, x.prepared
         FROM pg_locks w
         JOIN pg_locks h ON h.granted AND h.pid IS NULL AND h.locktype = w.locktype
          AND (h.relation = w.relation OR h.transactionid = w.transactionid)
         JOIN pg_locks o ON o.pid IS NULL AND o.locktype = 'transactionid'
          AND o.virtualtransaction = h.virtualtransaction
         JOIN pg_prepared_xacts x ON x.transaction = o.transactionid
        WHERE b.pid = 0 AND w.pid = %(pid)d AND NOT w.granted
        LIMIT 1) p ON true
 ORDER BY coalesce(a.wait_event_type = 'Lock', false), a.xact_start
"""
"""Sessions that wait for a lock themselves come last: the others are the ones to check."""


def _lock_text(row: list[str | None]) -> str:
    kind, mode, schema, table = row
    match kind:
        case "virtualxid":
            return "the end of transactions that began earlier"
        case "transactionid":
            return f"a row lock on {schema}.{table}" if table else "the end of another transaction"
        case "advisory":
            return "an advisory lock"
        case None:
            return "a lock"
        case _:
            return f"{mode} on {schema}.{table}" if table else f"{mode} on {kind}"


def _holders_text(rows: list[list[str | None]]) -> str:
    text = "; ".join(_holder_text(row) for row in rows[:_SHOWN])
    more = f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
    return f"held by {text}{more}"


def _holder_text(row: list[str | None]) -> str:
    pid, application, user, kind, state, waits, changed, began, prepared, since = row
    if pid == "0":
        return f"prepared transaction {prepared or 'of unknown name'}" + (f" since {since}" if since else "")
    parts = [f"pid {pid}"]
    if kind not in (None, "client backend"):
        parts.append(str(kind))
    if application:
        parts.append(f"application {application}")
    if user:
        parts.append(f"user {user}")
    if state is None and began is None:
        parts.append("its state can be seen by members of pg_read_all_stats only")
    elif waits == "Lock":
        parts.append("waiting for a lock itself")
    elif state is not None:
        parts.append(state if state == "active" or not changed else f"{state} since {changed}")
    if began:
        parts.append(f"transaction since {began}")
    return ", ".join(parts)
