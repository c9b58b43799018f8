"""A statement outside a transaction that was started and not seen to end: what the catalog says became of it.

Before the statement runs, what is needed to tell is noted in the ledger; after a crash it is compared with
the catalog. The answers: it took effect, it did not (run it again), or nobody can tell.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Any

from fluxbase_migrations.runner.connection import lock
from fluxbase_migrations.runner.connection.lock import LockIds
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.history.history_table import AFTER, Entry, standing
from fluxbase_migrations.runner.history.migration_session import MigrationSession
from fluxbase_migrations.runner.history.version_table import Row
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.recovery import index_cleanup
from fluxbase_migrations.runner.sql import grammar, lexer

_IDEMPOTENT = frozenset(["VACUUM", "ANALYZE", "CLUSTER", "REINDEX"])

_PATIENCE = 60.0


class Resolution(StrEnum):
    """What became of a statement in doubt."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


def note(session: Session, statement: bytes) -> dict[str, Any]:
    """What to remember about a statement before it runs."""
    words = lexer.leading_words(statement, 0, len(statement))
    found = grammar.outside_transaction(statement)
    target = index_cleanup.resolve(session, found) if found else None
    if target is not None:
        return target.to_json()
    if words[0] in _IDEMPOTENT or words[:2] == ("ALTER", "SYSTEM"):
        return {"command": "idempotent"}
    if found is not None and found.database is not None:
        before = _has_database(session, found.database)
        return {"command": found.command, "database": found.database, "there_before": before}
    return {}


def resolvable(details: dict[str, Any]) -> bool:
    """Whether the catalog can tell what became of the statement that ``details`` are about."""
    known = details.get("command") == "idempotent" or details.get("database") is not None
    return known or index_cleanup.Target.from_json(details) is not None


def became(session: Session, ids: LockIds, details: dict[str, Any], log: Log) -> Resolution:
    """Compare the note with the catalog, and clean up what a broken-off index build left."""
    command = details.get("command")
    if command == "idempotent":
        return Resolution.NOT_DONE
    if (database := details.get("database")) is not None:
        wanted = command == "create database"
        # As it was before: then the statement fails, or has nothing to do, and is to say so itself.
        changed = details.get("there_before", not wanted) != wanted
        return (
            Resolution.DONE if changed and _has_database(session, database) == wanted else Resolution.NOT_DONE
        )
    target = index_cleanup.Target.from_json(details)
    if target is None:
        return Resolution.UNKNOWN
    with lock.golang_released(session, ids, _PATIENCE), index_cleanup.without_lock_timeout(session):
        for name in index_cleanup.drop_new_invalid(session, target):
            log.info("dropped the invalid index that a broken-off statement left", index=name)
        detached = command == "detach" and index_cleanup.finalize_detach(session, target, log)
    match command:
        case "create":
            return Resolution.DONE if index_cleanup.built(session, target) else Resolution.NOT_DONE
        case "drop":
            gone = target.oid is not None and not index_cleanup.exists(session, target.oid)
            return Resolution.DONE if gone else Resolution.NOT_DONE
        case "reindex":
            return Resolution.NOT_DONE
        case "detach":
            return Resolution.DONE if detached else Resolution.NOT_DONE
        case _:
            return Resolution.UNKNOWN


def _has_database(session: Session, name: str) -> bool:
    return bool(session.query("SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (name,)))


def settle(context: MigrationSession, row: Row, entries: list[Entry]) -> list[Entry]:
    """``entries``, the one that stands for ``row`` without its doubt where the catalog resolves it."""
    entry = standing(row, entries)
    if entry is None or entry.in_doubt is None:
        return entries
    return [_settled(context, one) if one is entry else one for one in entries]


def _settled(context: MigrationSession, entry: Entry) -> Entry:
    match became(context.session, context.ids, entry.details, context.log):
        case Resolution.DONE:
            return replace(entry, done=entry.in_doubt, done_checksum=entry.details.get(AFTER), in_doubt=None)
        case Resolution.NOT_DONE:
            return replace(entry, in_doubt=None)
        case Resolution.UNKNOWN:
            return entry
