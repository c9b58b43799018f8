"""Which queries lose rows for good, by their form."""

from typing import Any

from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.tree import descendants, is_a, name_of


def note_lost_rows(findings: Findings, statement: Any) -> None:
    """Note DELETE and UPDATE without WHERE, also within a WITH query."""
    for node in descendants(statement):
        if is_a(node, "DeleteStmt") and not node.HasField("where_clause") and not node.using_clause:
            _lose_rows(findings, node, "deleted")
        elif is_a(node, "UpdateStmt") and not node.HasField("where_clause") and not node.from_clause:
            _lose_rows(findings, node, "overwritten")


def _lose_rows(findings: Findings, statement: Any, how: str) -> None:
    relation = findings.facts.find(name_of(statement.relation))
    findings.lose(relation, f"every row of {statement.relation.relname} is {how} (no WHERE)")
