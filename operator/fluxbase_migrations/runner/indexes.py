"""What a CREATE INDEX CONCURRENTLY can leave behind: an INVALID index, which goes on costing writes.

Before the build the table is resolved in the file's own session (search_path and all) and its invalid
indexes recorded; after a failure only one that is new since then is dropped.
"""

from dataclasses import dataclass, field

import psycopg
from psycopg import sql

from fluxbase_migrations.runner import grammar
from fluxbase_migrations.runner.session import Session


@dataclass(frozen=True, slots=True)
class Target:
    """The relation whose indexes a CONCURRENTLY statement builds, drops or rebuilds."""

    table: int
    """Its oid."""
    command: str
    invalid: tuple[int, ...] = field(default=())
    """Oids of the indexes of that table that were invalid before."""
    index: str | None = None
    """CREATE INDEX: the name it asks for."""
    own_lock_timeout: bool = False

    def to_json(self) -> dict[str, object]:
        """For the ledger's details."""
        return {
            "table": self.table,
            "command": self.command,
            "invalid": list(self.invalid),
            "index": self.index,
        }

    @classmethod
    def from_json(cls, details: dict[str, object]) -> "Target | None":
        """What :meth:`to_json` wrote; None if it is something else."""
        table, invalid, index = details.get("table"), details.get("invalid"), details.get("index")
        if not isinstance(table, int) or not isinstance(invalid, list):
            return None
        return cls(
            table, str(details.get("command")), tuple(map(int, invalid)), str(index) if index else None
        )


def resolve(session: Session, statement: bytes) -> Target | None:
    """Which table a CONCURRENTLY statement is about; None if that cannot be told."""
    found = grammar.concurrently_target(statement)
    if found is None or found.relation is None:
        return None
    name = sql.Identifier(*found.relation).as_string(session.connection)
    try:
        if found.is_index:
            rows = session.query(
                "SELECT i.indrelid::pg_catalog.int8 FROM pg_catalog.pg_index i"
                " WHERE i.indexrelid = pg_catalog.to_regclass(%s)",
                (name,),
            )
        else:
            rows = session.query(
                "SELECT pg_catalog.to_regclass(%s)::pg_catalog.oid::pg_catalog.int8", (name,)
            )
    except psycopg.Error:
        return None
    if not rows or rows[0][0] is None:
        return None
    table = rows[0][0]
    return Target(table, found.command, tuple(oid for oid, _ in _invalid(session, table)), found.index)


def _invalid(session: Session, table: int) -> list[tuple[int, str]]:
    """Invalid ordinary indexes of a table that nobody is building and no constraint needs: oid and name."""
    return [
        (oid, name)
        for oid, name in session.query(
            "SELECT i.indexrelid::pg_catalog.int8, pg_catalog.quote_ident(n.nspname) || '.' ||"
            " pg_catalog.quote_ident(c.relname)"
            " FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indexrelid"
            " JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
            " WHERE i.indrelid = %s AND NOT i.indisvalid AND c.relkind = 'i'"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_constraint k WHERE k.conindid = i.indexrelid)"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_inherits h WHERE h.inhrelid = i.indexrelid)"
            " AND NOT EXISTS (SELECT FROM pg_catalog.pg_stat_progress_create_index p"
            "                 WHERE p.index_relid = i.indexrelid)",
            (table,),
        )
    ]


def drop_new_invalid(session: Session, target: Target) -> list[str]:
    """Drop, concurrently, the invalid indexes that were not there before; returns their names."""
    dropped = []
    for oid, name in _invalid(session, target.table):
        if oid in target.invalid:
            continue
        schema, relation = session.query(
            "SELECT n.nspname, c.relname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n"
            " ON n.oid = c.relnamespace WHERE c.oid = %s",
            (oid,),
        )[0]
        try:
            session.query(sql.SQL("DROP INDEX CONCURRENTLY {}").format(sql.Identifier(schema, relation)))
        except psycopg.Error:
            continue
        dropped.append(name)
    return dropped


def suspend_lock_timeout(session: Session) -> None:
    """A CONCURRENTLY statement waits for old transactions, and those waits are lock waits: no limit for them."""
    session.query(
        "SELECT pg_catalog.set_config('fluxbase.lock_timeout', pg_catalog.current_setting('lock_timeout'), false)"
    )
    session.query("SELECT pg_catalog.set_config('lock_timeout', '0', false)")


def restore_lock_timeout(session: Session) -> None:
    """Undo :func:`suspend_lock_timeout`."""
    session.query(
        "SELECT pg_catalog.set_config('lock_timeout', pg_catalog.current_setting('fluxbase.lock_timeout'), false)"
        " WHERE pg_catalog.current_setting('fluxbase.lock_timeout', true) OPERATOR(pg_catalog.<>) ''"
    )
