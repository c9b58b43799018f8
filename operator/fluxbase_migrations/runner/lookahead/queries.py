"""SELECT, INSERT, UPDATE, DELETE, MERGE: every relation that a query names, and what follows from it."""

from typing import Any, Final

from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.tree import (
    Name,
    children,
    constant_text,
    descendants,
    is_a,
    name_of,
    strings,
)

_WRITES: Final = {
    "InsertStmt": ("INSERT",),
    "UpdateStmt": ("UPDATE",),
    "DeleteStmt": ("DELETE",),
    "MergeStmt": ("INSERT", "UPDATE", "DELETE"),
}
_RUNS_SQL: Final = frozenset(
    (
        *("query_to_xml", "query_to_xmlschema", "query_to_xml_and_xmlschema", "cursor_to_xml"),
        *("table_to_xml", "schema_to_xml", "database_to_xml", "ts_stat", "ts_rewrite"),
    )
)
"""The server's own functions that read the relations which their arguments name."""
_ON_CONFLICT_UPDATE: Final = 3
_SEQUENCE: Final = frozenset(("nextval", "setval"))
_LOCKS_SESSION: Final = frozenset(("pg_advisory_lock", "pg_advisory_xact_lock", "pg_advisory_lock_shared"))


def query(findings: Findings, statement: Any, lock: Lock = Lock.ACCESS_SHARE) -> None:
    """Everything that one query, or statement with queries in it, locks and calls."""
    _visit(findings, statement, frozenset(), lock)
    calls(findings, statement)


def calls(findings: Findings, expression: Any) -> None:
    """What the functions called anywhere in an expression may do."""
    for node in descendants(expression):
        if is_a(node, "FuncCall"):
            _call(findings, node)


def _call(findings: Findings, call: Any) -> None:
    name = strings(call.funcname)
    if not name:
        return
    candidates = findings.facts.functions_of(name)
    written = ".".join(name)
    if not candidates:
        findings.unknown.append(f"what {written}() does: it is not found")
    elif not all(function.internal for function in candidates) or name[-1] in _RUNS_SQL:
        findings.unknown.append(f"what {written}() does")
    elif name[-1] in _SEQUENCE:
        _sequence(findings, call)
    elif name[-1] in _LOCKS_SESSION:
        findings.notes.append(f"{written}() may wait for another session")


def _sequence(findings: Findings, call: Any) -> None:
    text = constant_text(call.args[0]) if call.args else None
    if text is None or '"' in text:
        findings.unknown.append("which sequence is used")
        return
    findings.touch(tuple(text.lower().split(".")), Lock.ROW_EXCLUSIVE, why="sequence")


def _visit(findings: Findings, node: Any, known: frozenset[str], lock: Lock) -> None:
    """``known`` are the names of WITH queries that stand in the way of a table's."""
    if is_a(node, "RangeVar"):
        if node.schemaname or node.relname not in known:
            read(findings, name_of(node), lock, only=not node.inh)
        return
    if is_a(node, "WithClause"):
        return  # its queries were visited with the statement
    if any(field.name == "with_clause" for field, _ in node.ListFields()):
        names = [cte.common_table_expr.ctename for cte in node.with_clause.ctes]
        for position, cte in enumerate(node.with_clause.ctes):
            inner = known.union(names if node.with_clause.recursive else names[:position])
            _visit(findings, cte.common_table_expr, inner, Lock.ACCESS_SHARE)
        known = known.union(names)
    kind = node.DESCRIPTOR.name
    if kind in _WRITES:
        write(findings, name_of(node.relation), _WRITES[kind])
        on_conflict = kind == "InsertStmt" and node.HasField("on_conflict_clause")
        if on_conflict and node.on_conflict_clause.action == _ON_CONFLICT_UPDATE:
            write(findings, name_of(node.relation), ("UPDATE",))
        for field, inner in children(node):
            if field not in ("relation", "with_clause"):
                _visit(findings, inner, known, Lock.ACCESS_SHARE)
        return
    if kind == "SelectStmt":
        _select(findings, node, known, lock)
        return
    for _, inner in children(node):
        _visit(findings, inner, known, lock)


def _select(findings: Findings, node: Any, known: frozenset[str], lock: Lock) -> None:
    """FOR UPDATE and its like lock the tables of FROM, also those of its subqueries, or only some."""
    locked: set[str] = set()
    everything = lock is Lock.ROW_SHARE
    for clause in node.locking_clause:
        names = [node.range_var.relname for node in clause.locking_clause.locked_rels]
        locked.update(names)
        everything = everything or not names
    for field, inner in children(node):
        if field in ("locking_clause", "into_clause"):
            continue
        if field != "from_clause":
            _visit(findings, inner, known, lock if field in ("larg", "rarg") else Lock.ACCESS_SHARE)
            continue
        _from(findings, inner, known, None if everything else locked)


def _from(findings: Findings, item: Any, known: frozenset[str], locked: set[str] | None) -> None:
    """One item of FROM; ``locked`` are the names in FOR UPDATE OF, None: all."""
    if is_a(item, "JoinExpr"):
        for field, inner in children(item):
            if field in ("larg", "rarg"):
                _from(findings, inner, known, locked)
            else:
                _visit(findings, inner, known, Lock.ACCESS_SHARE)
        return
    name = ""
    if is_a(item, "RangeVar"):
        name = item.alias.aliasname or item.relname
    elif is_a(item, "RangeSubselect"):
        name = item.alias.aliasname
    is_locked = locked is None or name in locked
    _visit(findings, item, known, Lock.ROW_SHARE if is_locked and name else Lock.ACCESS_SHARE)


def read(findings: Findings, name: Name, lock: Lock = Lock.ACCESS_SHARE, *, only: bool = False) -> None:
    """A query reads a relation; through a view also what the view reads."""
    relation = findings.touch(name, lock, Work.ROWS)
    if relation is not None:
        _behind(findings, relation, lock, only=only)


def _behind(findings: Findings, relation: CatalogRelation, lock: Lock, *, only: bool) -> None:
    facts = findings.facts
    if not only:
        # Which partitions depends on the WHERE clause.
        certain = relation.kind != "p"
        why = "partition" if relation.kind == "p" else "child table"
        findings.lock_all(facts.descendants(relation.oid), lock, Work.ROWS, certain=certain, why=why)
    if relation.kind != "v":
        return
    for oid in facts.links.uses.get(relation.oid, ()):
        used = facts.relations.get(oid)
        if used is not None:
            # A table that a view names within an expression is not locked for update with it.
            findings.lock(used, Lock.ACCESS_SHARE, Work.ROWS, why=f"behind the view {relation.name}")
            if lock is not Lock.ACCESS_SHARE:
                findings.lock(used, lock, Work.ROWS, certain=False, why=f"behind the view {relation.name}")
            _behind(findings, used, lock, only=False)


def write(findings: Findings, name: Name, events: tuple[str, ...]) -> None:
    """A query changes a relation's rows."""
    relation = findings.touch(name, Lock.ROW_EXCLUSIVE, Work.ROWS)
    if relation is None:
        return
    facts, links = findings.facts, findings.facts.links
    parts = [relation.oid, *facts.descendants(relation.oid)]
    if relation.kind == "v":
        _behind(findings, relation, Lock.ROW_EXCLUSIVE, only=False)
        parts += links.uses.get(relation.oid, ())
    if events != ("INSERT",) or relation.kind == "p":
        certain = relation.kind != "p"
        why = "partition" if relation.kind == "p" else "child table"
        findings.lock_all(parts[1:], Lock.ROW_EXCLUSIVE, Work.ROWS, certain=certain, why=why)
    if events == ("INSERT",) and relation.is_partition:
        findings.lock_all(
            links.parents.get(relation.oid, ()), Lock.ACCESS_SHARE, certain=False, why="its parent"
        )
    for oid in parts:
        if oid in facts.relations:
            _consequences(findings, facts.relations[oid], events)


def _consequences(findings: Findings, relation: CatalogRelation, events: tuple[str, ...]) -> None:
    """Sequences of defaults, the other side of foreign keys, triggers and rules."""
    links = findings.facts.links
    if "INSERT" in events:
        why = "sequence of a default"
        findings.lock_all(links.defaults.get(relation.oid, ()), Lock.ROW_EXCLUSIVE, certain=False, why=why)
    if {"INSERT", "UPDATE"}.intersection(events):
        why = "referenced by a foreign key"
        tables = links.references.get(relation.oid, ())
        findings.lock_all(tables, Lock.ROW_SHARE, Work.ROWS, certain=False, why=why)
    if {"UPDATE", "DELETE"}.intersection(events):
        # ON DELETE CASCADE changes them, NO ACTION reads them; either may have partitions.
        for oid in links.referenced_by.get(relation.oid, ()):
            tables = [oid, *findings.facts.descendants(oid)]
            why = "its foreign key refers here"
            findings.lock_all(tables, Lock.ROW_EXCLUSIVE, Work.ROWS, certain=False, why=why)
    for trigger in relation.triggers:
        if any(trigger.fires(event) for event in events):
            findings.unknown.append(f"what the trigger {trigger.name} on {relation.name} does")
    for rule in relation.rules:
        findings.unknown.append(f"what the rule {rule} on {relation.name} does")
