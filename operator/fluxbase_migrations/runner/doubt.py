"""A statement outside a transaction that was started and not seen to end: what the catalog says became of it.

Before the statement runs, what is needed to tell is noted in the ledger; after a crash it is compared with
the catalog. The answers: it took effect, it did not (run it again), or nobody can tell.
"""

from dataclasses import replace
from enum import StrEnum
from typing import Any

from fluxbase_migrations.runner import grammar, indexes, lexer, lock
from fluxbase_migrations.runner.context import Context
from fluxbase_migrations.runner.ledger import AFTER, Entry, standing
from fluxbase_migrations.runner.lock import LockIds
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.session import Session
from fluxbase_migrations.runner.tracking import Row

_IDEMPOTENT = frozenset(["VACUUM", "ANALYZE", "CLUSTER", "REINDEX"])

_PATIENCE = 60.0


class Became(StrEnum):
    """What became of a statement in doubt."""

    DONE = "done"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


def note(session: Session, statement: bytes) -> dict[str, Any]:
    """What to remember about a statement before it runs."""
    words = lexer.leading_words(statement, 0, len(statement))
    found = grammar.outside_transaction(statement)
    target = indexes.resolve(session, found) if found else None
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
    return known or indexes.Target.from_json(details) is not None


def became(session: Session, ids: LockIds, details: dict[str, Any], log: Log) -> Became:
    """Compare the note with the catalog, and clean up what a broken-off index build left."""
    command = details.get("command")
    if command == "idempotent":
        return Became.NOT_DONE
    if (database := details.get("database")) is not None:
        wanted = command == "create database"
        # As it was before: then the statement fails, or has nothing to do, and is to say so itself.
        changed = details.get("there_before", not wanted) != wanted
        return Became.DONE if changed and _has_database(session, database) == wanted else Became.NOT_DONE
    target = indexes.Target.from_json(details)
    if target is None:
        return Became.UNKNOWN
    with lock.golang_released(session, ids, _PATIENCE), indexes.without_lock_timeout(session):
        for name in indexes.drop_new_invalid(session, target):
            log.info("dropped the invalid index that a broken-off statement left", index=name)
        detached = command == "detach" and indexes.finalize_detach(session, target, log)
    match command:
        case "create":
            return Became.DONE if indexes.built(session, target) else Became.NOT_DONE
        case "drop":
            gone = target.oid is not None and not indexes.exists(session, target.oid)
            return Became.DONE if gone else Became.NOT_DONE
        case "reindex":
            return Became.NOT_DONE
        case "detach":
            return Became.DONE if detached else Became.NOT_DONE
        case _:
            return Became.UNKNOWN


def _has_database(session: Session, name: str) -> bool:
    return bool(session.query("SELECT 1 FROM pg_catalog.pg_database WHERE datname = %s", (name,)))


def settle(context: Context, row: Row, entries: list[Entry]) -> list[Entry]:
    """``entries``, the one that stands for ``row`` without its doubt where the catalog resolves it."""
    entry = standing(row, entries)
    if entry is None or entry.in_doubt is None:
        return entries
    return [_settled(context, one) if one is entry else one for one in entries]


def _settled(context: Context, entry: Entry) -> Entry:
    match became(context.session, context.ids, entry.details, context.log):
        case Became.DONE:
            return replace(entry, done=entry.in_doubt, done_checksum=entry.details.get(AFTER), in_doubt=None)
        case Became.NOT_DONE:
            return replace(entry, in_doubt=None)
        case Became.UNKNOWN:
            return entry
