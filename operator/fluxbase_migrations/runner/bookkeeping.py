"""Our own statements around a file's: opening, session hygiene, the tracking row, the ledger.

Everything is qualified with its schema, operators included, because it runs in a session that a file has
just used. A check is a division by an advisory lock's answer: only a volatile call is not evaluated at
planning time, and only an error stops the rest of the message.
"""

from dataclasses import dataclass, field
from typing import Final

from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.runner.ledger import Ledger
from fluxbase_migrations.runner.lock import LockIds
from fluxbase_migrations.runner.session import Session
from fluxbase_migrations.runner.tracking import Table
from fluxbase_migrations.runner.wire import Chunk

_HYGIENE: Final = (
    b"RESET SESSION AUTHORIZATION;RESET ROLE;RESET ALL;",
    b"CLOSE ALL;DEALLOCATE ALL;UNLISTEN *;DISCARD TEMP;DISCARD SEQUENCES;",
)
_HYGIENE_RESULTS: Final = 8


def _all_true(checks: list[bytes]) -> bytes:
    product = b" OPERATOR(pg_catalog.*) ".join(b"pg_catalog.int4(" + check + b")" for check in checks)
    return b"SELECT 1 OPERATOR(pg_catalog./) (" + product + b");"


@dataclass(slots=True)
class Bookkeeping:
    """Statements as bytes for one session and one tracking table; fixed ones are made once."""

    session: Session
    table: Table
    ledger: Ledger
    ids: LockIds
    weak_commit: bool
    """The role's own synchronous_commit is off: durable commits need at least ``local``."""
    initial_role: str
    """The ``role`` setting at the start: ``none``, or what ALTER ROLE … SET role says."""
    target: bytes = field(init=False)
    take_xact: bytes = field(init=False)
    take_session: bytes = field(init=False)
    as_ourselves: bytes = field(init=False)

    def __post_init__(self) -> None:
        self.target = self.table.quoted(self.session)
        self.take_xact = _all_true(
            [b"pg_catalog.pg_try_advisory_xact_lock(%d)" % one for one in self.ids.all]
        )
        locks = [b"pg_catalog.pg_try_advisory_lock(%d)" % one for one in self.ids.all]
        same = b"pg_catalog.pg_backend_pid() OPERATOR(pg_catalog.=) %d" % self.session.server_pid
        # Unlock all first, so that each lock is held exactly once; the transaction's locks cover the gap.
        self.take_session = b"SELECT pg_catalog.pg_advisory_unlock_all();" + _all_true([*locks, same])
        role = b"NONE" if self.initial_role == "none" else self.session.identifier(self.initial_role)
        self.as_ourselves = b"SET LOCAL SESSION AUTHORIZATION DEFAULT;SET LOCAL ROLE %b;" % role

    def begin(self, modes: bytes = b"", *, locks: bool = True) -> Chunk:
        """Open a transaction and take every lock within it."""
        begin = b"BEGIN " + modes + b";" if modes else b"BEGIN;"
        return Chunk(begin + self.take_xact, 2) if locks else Chunk(begin, 1)

    def hygiene(self) -> Chunk:
        """Give the next file a session as if it were new (DISCARD ALL would drop the locks as well)."""
        extra = self.session.after_reset
        return Chunk(_HYGIENE[0] + extra + _HYGIENE[1], _HYGIENE_RESULTS + extra.count(b";"))

    def constraints(self) -> Chunk:
        """Check deferred constraints now, so that their error is the file's."""
        return Chunk(b"SET CONSTRAINTS ALL IMMEDIATE;", 1)

    def locks_again(self) -> Chunk:
        """Session locks, each exactly once, and still the same backend."""
        return Chunk(self.take_session, 2)

    def row(self, version: int, dirty: bool) -> tuple[bytes, bytes | None]:
        """DELETE and INSERT of the tracking row; no INSERT for a clean nil."""
        delete = b"DELETE FROM " + self.target
        if version == NIL and not dirty:
            return delete, None
        values = (self.target, version, b"true" if dirty else b"false")
        return delete, b"INSERT INTO %b (version, dirty) VALUES (%d, %b) RETURNING xmin" % values

    def write_row(self, version: int, dirty: bool, entry: dict[str, bytes]) -> Chunk:
        """The tracking row together with a new ledger entry that proves it."""
        delete, insert = self.row(version, dirty)
        return Chunk(delete + b";" + self.ledger.insert(self.session, entry, xmin_from=insert) + b";", 2)

    def rewrite_row(self, entry_id: int, version: int, dirty: bool, entry: dict[str, bytes]) -> Chunk:
        """The tracking row together with an existing ledger entry."""
        delete, insert = self.row(version, dirty)
        if insert is None:
            entry = entry | {"row_xmin": b"NULL"}
        text = self.ledger.update(self.session, entry_id, entry, xmin_from=insert)
        return Chunk(delete + b";" + text + b";", 2)

    def update(self, entry_id: int, entry: dict[str, bytes]) -> Chunk:
        """An existing ledger entry alone."""
        return Chunk(self.ledger.update(self.session, entry_id, entry) + b";", 1)

    def commit(self, *, durable: bool) -> Chunk:
        """COMMIT; not durable only where a durable one follows before anything is said."""
        if not durable:
            return Chunk(b"SET LOCAL synchronous_commit=off;COMMIT", 2)
        if self.weak_commit:
            return Chunk(b"SET LOCAL synchronous_commit=local;COMMIT", 2)
        return Chunk(b"COMMIT", 1)
