"""A statement outside a transaction that was started and not seen to end: the catalog says what became of it."""

from collections.abc import Sequence
from dataclasses import replace

from fluxbase_migrations.runner import indexes
from fluxbase_migrations.runner.context import Context
from fluxbase_migrations.runner.ledger import Entry
from fluxbase_migrations.runner.tracking import Row


def settle(context: Context, row: Row, entries: Sequence[Entry]) -> list[Entry]:
    """``entries`` (oldest first), the one that wrote ``row`` without its doubt where that can be resolved."""
    return [_settled(context, entry) if entry.in_doubt and entry.wrote(row) else entry for entry in entries]


def _settled(context: Context, entry: Entry) -> Entry:
    target = indexes.Target.from_json(entry.details)
    if target is None:
        return entry
    for name in indexes.drop_new_invalid(context.session, target):
        context.log.info("dropped the invalid index that an interrupted build left", index=name)
    return replace(entry, in_doubt=None)
