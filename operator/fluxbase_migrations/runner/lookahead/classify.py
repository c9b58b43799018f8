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
    "delete_stmt": creating.lost,
    "drop_stmt": dropping.drop,
    "dropdb_stmt": dropping.drop_database,
    "explain_stmt": maintaining.explain,
    "grant_stmt": maintaining.grant,
    "index_stmt": creating.create_index,
    "insert_stmt": creating.lost,
    "lock_stmt": maintaining.lock_table,
    "merge_stmt": creating.lost,
    "prepare_stmt": maintaining.of_query,
    "refresh_mat_view_stmt": maintaining.refresh,
    "reindex_stmt": maintaining.reindex,
    "rename_stmt": renaming.rename,
    "rule_stmt": creating.create_rule,
    "sec_label_stmt": maintaining.comment,
    "truncate_stmt": dropping.truncate,
    "update_stmt": creating.lost,
    "vacuum_stmt": maintaining.vacuum,
    "view_stmt": creating.create_view,
}
"""By the parser's name of the statement. With :mod:`.rules` they name every kind that there is."""


def classify(facts: Facts, statement: bytes, tag: str) -> Effect:
    """What one statement does on the catalog as it is then; ``facts`` becomes what it leaves."""
    found = Findings(facts)
    if len(statement) > LARGEST:
        found.unknown.append("what it does: it is too large to be looked at")
        return found.effect(tag)
    tree = grammar.parsed(statement)
    if tree is None:
        found.unknown.append("what it does: PostgreSQL 18's grammar does not know it, or it nests too deeply")
        return found.effect(tag)
    for one in tree.stmts:
        gather(found, one.stmt)
    return found.effect(tag)


def gather(found: Findings, node: Any) -> None:
    """What a statement does, whatever kind it is of."""
    kind, statement = unwrapped(node)
    if kind == "select_stmt":
        _select(found, statement)
    elif kind == "variable_set_stmt":
        _set(found, statement)
    elif (handler := HANDLERS.get(kind)) is not None:
        handler(found, statement)
    elif kind in rules.UNKNOWN:
        found.unknown.append(rules.UNKNOWN[kind])
    elif kind not in rules.NO_RELATION:
        found.unknown.append("what it does")


def _select(found: Findings, statement: Any) -> None:
    """SELECT; set_config with constants is a SET, and SELECT INTO makes a table."""
    for one in descendants(statement):
        if is_a(one, "FuncCall") and one.funcname and one.funcname[-1].string.sval == "set_config":
            values = [constant_text(argument) for argument in one.args[:2]]
            if values[:1] == ["search_path"]:
                _search_path(found, values[1])
    creating.lost(found, statement)
    if statement.HasField("into_clause"):
        into = statement.into_clause.rel
        found.facts.create(name_of(into), "r", temporary=into.relpersistence == "t")


def _set(found: Findings, statement: Any) -> None:
    if statement.name != "search_path" and enum("VariableSetKind", statement.kind) != "VAR_RESET_ALL":
        return
    if enum("VariableSetKind", statement.kind) in _RESETS:
        found.facts.reset_path()
        return
    values = [constant_text(one) for one in statement.args]
    if not values or None in values:
        found.facts.path_known = False
        found.notes.append("which schemas names without one are looked for in is not known from here on")
    else:
        found.facts.set_path([str(one) for one in values])


def _search_path(found: Findings, value: str | None) -> None:
    if value is None:
        found.facts.path_known = False
        return
    schemas = [part.strip().strip('"') for part in value.split(",")]
    found.facts.set_path([one for one in schemas if one])


def words(statement: bytes) -> set[str]:
    """Every name that a statement mentions, for the catalog to be asked about at once."""
    if len(statement) > LARGEST:
        return set()
    tree = grammar.parsed(statement)
    found = set()
    for one in tree.stmts if tree is not None else ():
        for message in descendants(one.stmt):
            if is_a(message, "RangeVar"):
                found.add(message.relname)
            elif is_a(message, "String"):
                found.add(message.sval)
            elif is_a(message, "IndexStmt"):
                found.add(message.idxname)
            elif is_a(message, "Constraint"):
                found.add(message.indexname)
    return found
