"""What CONCURRENTLY statements can leave behind: an INVALID index, a pending detach.

An invalid index still slows writes down, and after a failed UNIQUE build it may still enforce uniqueness.
Before the statement the table is resolved in the file's own session (search_path and all) and its indexes
noted; after a failure only an invalid one that is new since then is dropped.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Any

from psycopg import errors

from fluxbase_migrations.core.errors import Interrupted, ServerRefused, Transient
from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.connection import failures
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.sql import composing as sql
from fluxbase_migrations.runner.sql.grammar import Outside
from fluxbase_migrations.runner.sql.simple_query import QueryPart, SqlFailure


@dataclass(frozen=True, slots=True)
class Target:
    """The table whose indexes a CONCURRENTLY statement builds, drops or rebuilds."""

    command: str
    table: int
    """Object identifier of the table."""
    before: tuple[int, ...] = ()
    """Oids of that table's indexes before, valid or not."""
    index: str | None = None
    """CREATE INDEX: the name it asks for."""
    if_not_exists: bool = False
    oid: int | None = None
    """DROP INDEX, REINDEX INDEX: the index; DETACH: the partition, if it was this table's."""

    def to_json(self) -> dict[str, Any]:
        """For the history's details."""
        return {**asdict(self), "before": list(self.before)}

    @classmethod
    def from_json(cls, details: dict[str, Any]) -> "Target | None":
        """What :meth:`to_json` wrote; None if it is something else."""
        fields = {key: value for key, value in details.items() if key in cls.__slots__}
        if not isinstance(fields.get("table"), int) or not isinstance(fields.get("before"), list):
            return None
        return cls(**{**fields, "before": tuple(fields["before"])})


def resolve(session: Session, parsed: Outside) -> Target | None:
    """Which table a CONCURRENTLY statement is about; None if that cannot be told."""
    if parsed.relation is None:
        return None
    try:
        oid = _oid(session, parsed.relation)
        if oid is None:
            return None
        table = oid
        if parsed.is_index:
            rows = session.query(
                "SELECT i.indrelid::pg_catalog.int8 FROM pg_catalog.pg_index i WHERE i.indexrelid = %s",
                (oid,),
            )
            if not rows:
                return None
            table = rows[0][0]
        partition = _partition(session, table, parsed.partition) if parsed.partition else None
    except errors.Error:
        return None
    before = session.query(
        "SELECT i.indexrelid::pg_catalog.int8 FROM pg_catalog.pg_index i WHERE i.indrelid = %s", (table,)
    )
    return Target(
        parsed.command,
        table,
        tuple(index_oid for (index_oid,) in before),
        parsed.index,
        parsed.if_not_exists,
        partition or (oid if parsed.is_index else None),
    )


def _partition(session: Session, table: int, name: tuple[str, ...]) -> int | None:
    oid = _oid(session, name)
    attached = "SELECT 1 FROM pg_catalog.pg_inherits WHERE inhparent = %s AND inhrelid = %s"
    return oid if oid is not None and session.query(attached, (table, oid)) else None


def _oid(session: Session, relation: tuple[str, ...]) -> int | None:
    name = sql.Identifier(*relation).as_string(session.pgconn)
    rows = session.query("SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid::pg_catalog.int8", (name,))
    oid: int | None = rows[0][0]
    return oid


def invalid(session: Session, table: int) -> list[tuple[int, str, str]]:
    """Invalid ordinary indexes that no session is building and no constraint needs: oid, schema and name.

    A build by another role shows without its index: then nothing in this database counts as abandoned.
    """
    return [
        (oid, schema, name)
        for oid, schema, name in session.query(
            "SELECT i.indexrelid::pg_catalog.int8, n.nspname, c.relname"
            " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE i.indrelid = %s AND NOT i.indisvalid AND c.relkind = 'i'"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid)"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid)"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p"
            "                 WHERE p.index_relid = i.indexrelid"
            "                 OR (p.relid IS NULL AND p.datname = pg_catalog.current_database()))",
            (table,),
        )
    ]


def drop_new_invalid(session: Session, target: Target) -> list[str]:
    """Drop, concurrently, the invalid indexes that were not there before; returns their names."""
    indexes = invalid(session, target.table)
    return _drop(session, [index for index in indexes if index[0] not in target.before])


def drop_blocking(session: Session, target: Target, *, always: bool) -> list[str]:
    """Drop an invalid index of the very name that CREATE INDEX asks for.

    With IF NOT EXISTS the statement would skip it silently; otherwise it fails, unless ``always``
    because this run is a recovery.
    """
    return _drop(session, blocking(session, target, always=always))


def blocking(session: Session, target: Target, *, always: bool) -> list[tuple[int, str, str]]:
    """What :func:`drop_blocking` would drop."""
    if target.command != "create" or target.index is None or not (target.if_not_exists or always):
        return []
    return [index for index in invalid(session, target.table) if index[2] == target.index]


def _drop(session: Session, indexes: list[tuple[int, str, str]]) -> list[str]:
    dropped = []
    for _, schema, name in indexes:
        try:
            _wait_for(session, sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, name)))
        except SqlFailure:
            continue
        dropped.append(f"{schema}.{name}")
    return dropped


def _wait_for(session: Session, statement: sql.Composed) -> None:
    """Run a statement that waits for others' transactions; a signal that comes then may cancel it.

    Raises:
        Interrupted: it did.
        SqlFailure: the server refused it.
    """
    text = statement.as_bytes(session.pgconn)
    cleaning_up = session.stop.signal is not None
    if cleaning_up:  # after the statement that the signal ended
        session.run_own(text)
        return
    try:
        session.run([QueryPart(text, 1)], atomic=False)
    except SqlFailure as failure:
        if failure.sqlstate != failures.CANCELLED or session.stop.signal is None:
            raise
        cancelled = text.decode("utf-8", "replace")
        raise Interrupted(f"{session.stop.signal} received: {cancelled} was cancelled") from failure


def built(session: Session, target: Target) -> bool:
    """Whether a valid index has appeared on the table since the note was taken."""
    rows = session.query(
        "SELECT i.indexrelid::pg_catalog.int8, c.relname FROM pg_catalog.pg_index i"
        " JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = %s AND i.indisvalid",
        (target.table,),
    )
    return any(oid not in target.before and target.index in (None, name) for oid, name in rows)


def exists(session: Session, oid: int) -> bool:
    """Whether the relation with this object identifier is still there."""
    return bool(session.query("SELECT 1 FROM pg_catalog.pg_class WHERE oid = %s", (oid,)))


def detach_pending(session: Session, target: Target) -> bool:
    """Whether a DETACH CONCURRENTLY has ended halfway: the partition is marked, and still there."""
    select = "SELECT inhdetachpending FROM pg_catalog.pg_inherits WHERE inhparent = %s AND inhrelid = %s"
    return target.command == "detach" and session.query(select, (target.table, target.oid)) == [(True,)]


def finalize_detach(session: Session, target: Target, log: Log) -> bool:
    """Whether the partition is detached; one whose detaching is pending is finalized first.

    Within :func:`without_lock_timeout`.

    Raises:
        MigrationError: that was cancelled by a signal, or refused.
    """
    rows = session.query(
        "SELECT h.inhdetachpending, pn.nspname, p.relname, cn.nspname, c.relname"
        " FROM pg_catalog.pg_inherits h"
        " JOIN pg_catalog.pg_class p ON p.oid = h.inhparent"
        " JOIN pg_catalog.pg_namespace pn ON pn.oid = p.relnamespace"
        " JOIN pg_catalog.pg_class c ON c.oid = h.inhrelid"
        " JOIN pg_catalog.pg_namespace cn ON cn.oid = c.relnamespace"
        " WHERE h.inhparent = %s AND h.inhrelid = %s",
        (target.table, target.oid),
    )
    if not rows:
        return target.oid is not None
    pending, schema, table, partition_schema, partition = rows[0]
    if not pending:
        return False
    _finalize(session, (schema, table), (partition_schema, partition))
    log.info("finalized an interrupted detach", partition=f"{partition_schema}.{partition}")
    return True


def _finalize(session: Session, table: tuple[str, str], partition: tuple[str, str]) -> None:
    statement = sql.SQL("ALTER TABLE {} DETACH PARTITION {} FINALIZE")
    try:
        _wait_for(session, statement.format(sql.Identifier(*table), sql.Identifier(*partition)))
    except SqlFailure as failure:
        kind = Transient if failures.transient_state(failure.sqlstate) else ServerRefused
        raise kind(
            f"the pending detach of {'.'.join(partition)} could not be finalized: "
            + session.scrub(failure.message),
            sql_state=failure.sqlstate,
        ) from failure


@contextmanager
def without_lock_timeout(session: Session) -> Iterator[None]:
    """Set lock_timeout aside: a CONCURRENTLY statement waits for old transactions, by their locks."""
    file_timeout = own_lock_timeout(session)
    session.query("SELECT pg_catalog.set_config('lock_timeout', '0', false)")
    yield
    if session.lost:
        return
    if file_timeout is None:
        session.query("RESET lock_timeout")
    else:
        session.query("SELECT pg_catalog.set_config('lock_timeout', %s, false)", (file_timeout,))


def own_lock_timeout(session: Session) -> str | None:
    """The ``lock_timeout`` that the file itself has set, in milliseconds; None if it has not."""
    rows = session.query(
        "SELECT setting FROM pg_catalog.pg_settings WHERE name OPERATOR(pg_catalog.=) 'lock_timeout'"
        " AND source OPERATOR(pg_catalog.=) 'session'"
    )
    return rows[0][0] if rows else None
