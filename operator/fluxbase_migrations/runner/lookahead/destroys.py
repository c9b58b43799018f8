"""Which queries lose rows that nobody can bring back, by their form."""

from typing import Any

from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.tree import descendants, is_a


def lost_rows(found: Findings, statement: Any) -> None:
    """DELETE and UPDATE without WHERE, wherever they stand in a statement."""
    for one in descendants(statement):
        if is_a(one, "DeleteStmt") and not one.HasField("where_clause") and not one.using_clause:
            found.destructive.append(f"every row of {one.relation.relname} is deleted (no WHERE)")
        elif is_a(one, "UpdateStmt") and not one.HasField("where_clause") and not one.from_clause:
            found.destructive.append(f"every row of {one.relation.relname} is overwritten (no WHERE)")
