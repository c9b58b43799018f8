"""What became, as the catalog has it, of a statement outside a transaction whose end was not recorded.

Before the statement runs, what is needed to tell is noted in the history; after a crash it is compared with
the catalog. The answers: it took effect, it did not (run it again), or it is unknown.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Any, Final

from fluxbase_migrations.runner.connection import lock
from fluxbase_migrations.runner.connection.lock import LockIds
from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.history.entry import AFTER, Entry, Row, standing
from fluxbase_migrations.runner.history.migration_session import MigrationSession
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.recovery import index_cleanup
from fluxbase_migrations.runner.sql import grammar, lexer

_IDEMPOTENT: Final = frozenset(["VACUUM", "ANALYZE", "CLUSTER", "REINDEX"])

_LOCK_WAIT: Final = 60.0
"""Seconds to wait for golang-migrate's locks, which are free while an index is dropped."""


class Resolution(StrEnum):
    """What became of a statement in doubt."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


def note(session: Session, statement: bytes) -> dict[str, Any]:
    """What to remember about a statement before it runs."""
    words = lexer.leading_words(statement, 0, len(statement))
    parsed = grammar.outside_transaction(statement)
    target = index_cleanup.resolve(session, parsed) if parsed else None
    if target is not None:
        return target.to_json()
    if words[0] in _IDEMPOTENT or words[:2] == ("ALTER", "SYSTEM"):
        return {"command": "idempotent"}
    if parsed is not None and parsed.database is not None:
        before = _has_database(session, parsed.database)
        return {"command": parsed.command, "database": parsed.database, "there_before": before}
    return {}


def resolvable(details: dict[str, Any]) -> bool:
    """Whether the catalog can tell what became of the statement that ``details`` are about."""
    if details.get("command") == "idempotent" or details.get("database") is not None:
        return True
    return index_cleanup.Target.from_json(details) is not None


def resolve(session: Session, ids: LockIds, details: dict[str, Any], log: Log) -> Resolution:
    """Compare the note with the catalog, and clean up what a broken-off index build left."""
    if details.get("command") == "idempotent":
        return Resolution.NOT_DONE
    if (database := details.get("database")) is not None:
        return _of_database(session, database, details)
    target = index_cleanup.Target.from_json(details)
    return Resolution.UNKNOWN if target is None else _of_index(session, ids, target, log)


def _of_database(session: Session, database: str, details: dict[str, Any]) -> Resolution:
    """CREATE or DROP DATABASE: whether it is there, or gone, and was not before."""
    expected = details.get("command") == "create database"
    # As it was before: the statement runs again, and fails or has nothing to do.
    if details.get("there_before", not expected) == expected:
        return Resolution.NOT_DONE
    return _done_if(_has_database(session, database) == expected)


def _of_index(session: Session, ids: LockIds, target: index_cleanup.Target, log: Log) -> Resolution:
    """A CONCURRENTLY statement: what the table has now, without what the statement left half done."""
    detached = False
    with lock.golang_released(session, ids, _LOCK_WAIT), index_cleanup.without_lock_timeout(session):
        for name in index_cleanup.drop_new_invalid(session, target):
            log.info("dropped the invalid index left by an interrupted statement", index=name)
        if target.command == "detach":
            detached = index_cleanup.finalize_detach(session, target, log)
    match target.command:
        case "create":
            return _done_if(index_cleanup.built(session, target))
        case "drop":
            return _done_if(target.oid is not None and not index_cleanup.exists(session, target.oid))
        case "reindex":
            return Resolution.NOT_DONE
        case "detach":
            return _done_if(detached)
        case _:
            return Resolution.UNKNOWN


def _done_if(took_effect: bool) -> Resolution:
    return Resolution.DONE if took_effect else Resolution.NOT_DONE


def _has_database(session: Session, name: str) -> bool:
    return bool(session.query("SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (name,)))


def resolve_in_doubt(context: MigrationSession, row: Row, entries: list[Entry]) -> list[Entry]:
    """``entries``, where the one that is ``standing`` for ``row`` is resolved if the catalog can tell."""
    last = standing(row, entries)
    if last is None or last.in_doubt is None:
        return entries
    return [_resolved(context, entry) if entry is last else entry for entry in entries]


def _resolved(context: MigrationSession, entry: Entry) -> Entry:
    match resolve(context.session, context.ids, entry.details, context.log):
        case Resolution.DONE:
            return replace(entry, done=entry.in_doubt, done_checksum=entry.details.get(AFTER), in_doubt=None)
        case Resolution.NOT_DONE:
            return replace(entry, in_doubt=None)
        case Resolution.UNKNOWN:
            return entry
