"""Which queries lose rows that nobody can bring back, by their form."""

from typing import Any

from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.tree import descendants, is_a, name_of


def lost_rows(found: Findings, statement: Any) -> None:
    """DELETE and UPDATE without WHERE, wherever they stand in a statement."""
    for one in descendants(statement):
        if is_a(one, "DeleteStmt") and not one.HasField("where_clause") and not one.using_clause:
            _lost(found, one, "deleted")
        elif is_a(one, "UpdateStmt") and not one.HasField("where_clause") and not one.from_clause:
            _lost(found, one, "overwritten")


def _lost(found: Findings, statement: Any, how: str) -> None:
    relation = found.facts.find(name_of(statement.relation))
    found.lose(relation, f"every row of {statement.relation.relname} is {how} (no WHERE)")
