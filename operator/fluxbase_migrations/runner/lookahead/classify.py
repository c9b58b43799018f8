"""From one statement of a file to what it does."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from fluxbase_migrations.runner.lookahead import (
    alter_table,
    creating,
    dropping,
    maintaining,
    renaming,
    rules,
)
from fluxbase_migrations.runner.lookahead.effect import Effect
from fluxbase_migrations.runner.lookahead.facts import Facts
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.tree import (
    constant_text,
    descendants,
    is_a,
    name_of,
    unwrapped,
)
from fluxbase_migrations.runner.sql import grammar

LARGEST: Final = 1 << 20
"""Bytes. The parse tree of a larger statement takes too much memory."""

_RESETS: Final = frozenset(("VAR_RESET", "VAR_RESET_ALL", "VAR_SET_DEFAULT"))

HANDLERS: Final[Mapping[str, Callable[[Findings, Any], None]]] = {
    "alter_domain_stmt": maintaining.alter_domain,
    "alter_object_schema_stmt": renaming.set_schema,
    "alter_owner_stmt": renaming.owner,
    "alter_policy_stmt": creating.policy,
    "alter_publication_stmt": creating.publication,
    "alter_seq_stmt": creating.alter_sequence,
    "alter_table_stmt": alter_table.alter_table,
    "cluster_stmt": maintaining.cluster,
    "comment_stmt": maintaining.comment,
    "copy_stmt": maintaining.copy,
    "create_foreign_table_stmt": creating.create_foreign_table,
    "create_policy_stmt": creating.policy,
    "create_publication_stmt": creating.publication,
    "create_schema_stmt": creating.create_schema,
    "create_seq_stmt": creating.create_sequence,
    "create_stats_stmt": creating.create_statistics,
    "create_stmt": creating.create_table,
    "create_table_as_stmt": creating.create_table_as,
    "create_trig_stmt": creating.create_trigger,
    "declare_cursor_stmt": maintaining.of_query,
    "delete_stmt": creating.query_or_change,
    "drop_stmt": dropping.drop,
    "dropdb_stmt": dropping.drop_database,
    "explain_stmt": maintaining.explain,
    "grant_stmt": maintaining.grant,
    "index_stmt": creating.create_index,
    "insert_stmt": creating.query_or_change,
    "lock_stmt": maintaining.lock_table,
    "merge_stmt": creating.query_or_change,
    "prepare_stmt": maintaining.of_query,
    "refresh_mat_view_stmt": maintaining.refresh,
    "reindex_stmt": maintaining.reindex,
    "rename_stmt": renaming.rename,
    "rule_stmt": creating.create_rule,
    "sec_label_stmt": maintaining.comment,
    "truncate_stmt": dropping.truncate,
    "update_stmt": creating.query_or_change,
    "vacuum_stmt": maintaining.vacuum,
    "view_stmt": creating.create_view,
}
"""By the parser's name of the statement. With :mod:`.rules` they name every kind that there is."""


def classify(facts: Facts, statement: bytes, tag: str) -> Effect:
    """What one statement does on the catalog as it is then; ``facts`` becomes what it leaves."""
    findings = Findings(facts)
    if len(statement) > LARGEST:
        findings.unknown.append("what it does: it is too large to be looked at")
        return findings.effect(tag)
    tree = grammar.parsed(statement)
    if tree is None:
        findings.unknown.append(
            "what it does: PostgreSQL 18's grammar does not know it, or it nests too deeply"
        )
        return findings.effect(tag)
    for statement_node in tree.stmts:
        gather(findings, statement_node.stmt)
    return findings.effect(tag)


def gather(findings: Findings, node: Any) -> None:
    """Add what a statement of any kind does to ``findings``."""
    kind, statement = unwrapped(node)
    if kind == "select_stmt":
        _select(findings, statement)
    elif kind == "variable_set_stmt":
        _set(findings, statement)
    elif (handler := HANDLERS.get(kind)) is not None:
        handler(findings, statement)
    elif kind in rules.UNKNOWN:
        findings.unknown.append(rules.UNKNOWN[kind])
    elif kind not in rules.NO_RELATION:
        findings.unknown.append("what it does")


def _select(findings: Findings, statement: Any) -> None:
    """SELECT; set_config with constants is a SET, and SELECT INTO makes a table."""
    for node in descendants(statement):
        if is_a(node, "FuncCall") and node.funcname and node.funcname[-1].string.sval == "set_config":
            values = [constant_text(argument) for argument in node.args[:2]]
            if values[:1] == ["search_path"]:
                _search_path(findings, values[1])
    creating.query_or_change(findings, statement)
    if statement.HasField("into_clause"):
        into = statement.into_clause.rel
        findings.facts.create(name_of(into), "r", temporary=into.relpersistence == "t")


def _set(findings: Findings, statement: Any) -> None:
    if statement.name != "search_path" and enum("VariableSetKind", statement.kind) != "VAR_RESET_ALL":
        return
    if enum("VariableSetKind", statement.kind) in _RESETS:
        findings.facts.reset_path()
        return
    values = [constant_text(argument) for argument in statement.args]
    if not values or None in values:
        findings.facts.path_known = False
        findings.notes.append("which schemas names without one are looked for in is not known from here on")
    else:
        findings.facts.set_path([str(schema) for schema in values])


def _search_path(findings: Findings, value: str | None) -> None:
    if value is None:
        findings.facts.path_known = False
        return
    schemas = [part.strip().strip('"') for part in value.split(",")]
    findings.facts.set_path([schema for schema in schemas if schema])


def words(statement: bytes) -> set[str]:
    """Every name that a statement mentions, for the catalog to be asked about at once."""
    if len(statement) > LARGEST:
        return set()
    tree = grammar.parsed(statement)
    names = set()
    for statement_node in tree.stmts if tree is not None else ():
        for message in descendants(statement_node.stmt):
            if is_a(message, "RangeVar"):
                names.add(message.relname)
            elif is_a(message, "String"):
                names.add(message.sval)
            elif is_a(message, "IndexStmt"):
                names.add(message.idxname)
            elif is_a(message, "Constraint"):
                names.add(message.indexname)
    return names
