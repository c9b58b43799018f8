"""Our own statements around a file's: opening, the session's reset, the tracking row, the history.

Everything is qualified with its schema, operators included, because it runs in a session that a file has
just used. A check is a division by an advisory lock's answer: only a volatile call is not evaluated at
planning time, and only an error stops the rest of the message.

Our transaction carries its own id in a setting that ends with it. Before the version row is written, the two
are compared: whatever a file was taken for, nothing in it can have ended the transaction unnoticed.
"""

from dataclasses import field
from typing import Final

from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection.lock import LockIds
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.history.columns import Columns, Expression
from fluxbase_migrations.runner.history.history_table import HistoryTable
from fluxbase_migrations.runner.sql.simple_query import QueryPart

_RESET_SESSION: Final = (
    b"RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;",
    b"CLOSE ALL;DEALLOCATE ALL;UNLISTEN *;DISCARD TEMP;DISCARD SEQUENCES;",
)
_RESET_RESULTS: Final = 8


MARK: Final = b"fluxbase.transaction"
"""The setting that holds our transaction's id."""
_XID: Final = b"pg_catalog.pg_current_xact_id()::pg_catalog.text"


def _all_true(checks: list[bytes], *more: bytes) -> bytes:
    divisor = b"CASE WHEN " + b" AND ".join(checks) + b" THEN 1 ELSE 0 END"
    return b", ".join([b"SELECT 1 OPERATOR(pg_catalog./) " + divisor, *more]) + b";"


def _writable(modes: bytes) -> bytes:
    """The modes with READ WRITE: a file's default_transaction_read_only is not for our statements."""
    if b"READ ONLY" in modes or b"READ WRITE" in modes:
        return modes
    return modes + b", READ WRITE" if modes else b"READ WRITE"


@dataclass(slots=True)
class SessionSql:
    """Statements as bytes for one session and one tracking table; those that never change are built once."""

    session: Session
    table: TableName
    history: HistoryTable
    ids: LockIds
    weak_commit: bool
    """The role's own synchronous_commit is off: durable commits need at least ``local``."""
    initial_role: str
    """The ``role`` setting at the start: ``none``, or what ALTER ROLE … SET role says."""
    lock_timeout: int
    """Milliseconds that our own statements wait for a row or a table; not 0, which is for ever."""
    target: bytes = field(init=False)
    row_xmin: Expression = field(init=False)
    """Which transaction wrote the tracking row; NULL where there is none."""
    mark: bytes = field(init=False)
    mark_and_take: bytes = field(init=False)
    take_marked: bytes = field(init=False)
    take_xact: bytes = field(init=False)
    take_session: bytes = field(init=False)
    as_ourselves: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.table.quoted(self.session)
        # A query of its own: one statement with two INSERTs takes the server half as long again.
        self.row_xmin = Expression(b"(SELECT w.xmin FROM %b w)" % self.target)
        locks = [b"pg_catalog.pg_try_advisory_xact_lock(%d)" % lock_id for lock_id in self.ids.all]
        mark = b"pg_catalog.set_config('" + MARK + b"', " + _XID + b", true)"
        self.take_xact = _all_true(locks)
        self.mark = b"SELECT " + mark + b";"
        self.mark_and_take = _all_true(locks, mark)
        self.take_marked = self._take_session(b"pg_catalog.current_setting('" + MARK + b"', true)")
        self.take_session = self._take_session()
        role = b"NONE" if self.initial_role == "none" else self.session.identifier(self.initial_role)
        self.as_ourselves = b"SET LOCAL SESSION AUTHORIZATION DEFAULT;SET LOCAL ROLE %b;" % role

    def _take_session(self, mark: bytes | None = None) -> bytes:
        locks = [b"pg_catalog.pg_try_advisory_lock(%d)" % lock_id for lock_id in self.ids.all]
        checks = [*locks, b"pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %d" % self.session.server_pid]
        if mark is not None:
            checks.append(b"COALESCE(" + _XID + b" OPERATOR(pg_catalog.=) " + mark + b", false)")
        # Unlock all first, so that each lock is held exactly once; the transaction's locks cover the gap.
        return b"SELECT pg_catalog.pg_advisory_unlock_all();" + _all_true(checks)

    def begin(self, modes: bytes = b"", *, locks: bool = True) -> QueryPart:
        """Open a transaction of our own and take every lock within it."""
        begin = b"BEGIN " + _writable(modes) + b";" + self.own_timeouts().sql
        return QueryPart(begin + self.take_xact, 4) if locks else QueryPart(begin, 3)

    def begin_marked(self, modes: bytes = b"", *, locks: bool = True) -> QueryPart:
        """As :meth:`begin`, for a file's statements; the second row's last column is the transaction's id."""
        begin = b"BEGIN " + _writable(modes) + b";"
        return QueryPart(begin + (self.mark_and_take if locks else self.mark), 2)

    def reset_session(self) -> QueryPart:
        """Give the next file a session as if it were new (DISCARD ALL would drop the locks as well)."""
        extra = self.session.after_reset
        return QueryPart(_RESET_SESSION[0] + extra + _RESET_SESSION[1], _RESET_RESULTS + extra.count(b";"))

    def reset_session_for_us(self) -> QueryPart:
        """As :meth:`reset_session`, before statements of our own."""
        reset_session, own_timeouts = self.reset_session(), self.own_timeouts()
        return QueryPart(reset_session.sql + own_timeouts.sql, reset_session.results + own_timeouts.results)

    def constraints(self) -> QueryPart:
        """Check deferred constraints now, so that their error is the file's."""
        return QueryPart(b"SET CONSTRAINTS ALL IMMEDIATE;", 1, constraints=True)

    def reacquire_locks(self) -> QueryPart:
        """Session locks, each exactly once, and still the same backend."""
        return QueryPart(self.take_session, 2)

    def confirm_transaction(self, xid: str | None = None) -> QueryPart:
        """As :meth:`reacquire_locks`, and still the transaction that was opened: ``xid``, or as marked."""
        if xid is None:
            return QueryPart(self.take_marked, 2)
        return QueryPart(self._take_session(b"'%d'" % int(xid)), 2)

    def own_timeouts(self) -> QueryPart:
        """How long our own statements wait for locks on our tables, whatever the file has set."""
        return QueryPart(b"SET LOCAL lock_timeout=%d;SET LOCAL statement_timeout=0;" % self.lock_timeout, 2)

    def row(self, version: int, dirty: bool) -> QueryPart:
        """DELETE and INSERT of the tracking row; no INSERT for a clean nil."""
        delete = b"DELETE FROM " + self.target + b";"
        if version == NIL and not dirty:
            return QueryPart(delete, 1)
        values = (self.target, version, b"true" if dirty else b"false")
        return QueryPart(delete + b"INSERT INTO %b (version, dirty) VALUES (%d, %b);" % values, 2)

    def write_row(self, version: int, dirty: bool, entry: Columns) -> QueryPart:
        """The tracking row together with a new history entry that proves it; its reply has the entry's id."""
        text = self.history.insert(self.session, {**entry, "row_xmin": self.row_xmin})
        return self._written(version, dirty, text)

    def write_row_in_one_message(self, version: int, entry: Columns) -> QueryPart:
        """The clean row and its entry behind a file that has no savepoint, whose transaction wrote the row.

        The division fails where a trigger or a rule has left out or changed what was written.
        """
        row = self.row(version, False)
        one_row = b"1 OPERATOR(pg_catalog./) pg_catalog.count(*) OPERATOR(pg_catalog.=) 1"
        as_meant = b"w.version OPERATOR(pg_catalog.=) %d AND NOT w.dirty" % version
        writer = b"CASE WHEN %b THEN pg_catalog.xid(pg_catalog.pg_current_xact_id()) END" % one_row
        xmin = Expression(b"(SELECT %b FROM %b w WHERE %b)" % (writer, self.target, as_meant))
        insert = self.history.insert(self.session, {**entry, "row_xmin": xmin})
        return QueryPart(row.sql + insert + b";", row.results + 1)

    def rewrite_row(self, entry_id: int, version: int, dirty: bool, entry: Columns) -> QueryPart:
        """The tracking row together with an existing history entry."""
        text = self.history.update(self.session, entry_id, {**entry, "row_xmin": self.row_xmin})
        return self._written(version, dirty, text)

    def _written(self, version: int, dirty: bool, entry: bytes) -> QueryPart:
        """Write the row and its entry; the server fails unless both are there as meant.

        A trigger or a rule on our tables may have left them out, or changed them.
        """
        row = self.row(version, dirty)
        if version == NIL and not dirty:
            condition = b"(SELECT pg_catalog.count(*) FROM %b) OPERATOR(pg_catalog.=) 0 AND" % self.target
            condition += b" (SELECT pg_catalog.count(*) FROM p) OPERATOR(pg_catalog.=) 1"
        else:
            condition = (
                b"(SELECT pg_catalog.count(*) FROM p JOIN %b t ON t.xmin OPERATOR(pg_catalog.=) p.row_xmin"
                b" AND t.version OPERATOR(pg_catalog.=) %d AND %b t.dirty) OPERATOR(pg_catalog.=) 1"
            ) % (self.target, version, b"" if dirty else b"NOT")
        statement = (
            b"WITH p AS (%b RETURNING id, row_xmin) SELECT (SELECT p.id FROM p), (SELECT p.row_xmin FROM p),"
            b" pg_catalog.ln(pg_catalog.float8(CASE WHEN %b THEN 1 ELSE 0 END));"
        )
        return QueryPart(row.sql + statement % (entry, condition), row.results + 1)

    def update(self, entry_id: int, entry: Columns) -> QueryPart:
        """An existing history entry alone."""
        return QueryPart(self.history.update(self.session, entry_id, entry) + b";", 1)

    def commit(self, *, durable: bool) -> QueryPart:
        """COMMIT; not ``durable`` only where a durable one follows before anything is reported."""
        if not durable:
            return QueryPart(b"SET LOCAL synchronous_commit=off;COMMIT", 2)
        if self.weak_commit:
            return QueryPart(b"SET LOCAL synchronous_commit=local;COMMIT", 2)
        return QueryPart(b"COMMIT", 1)
