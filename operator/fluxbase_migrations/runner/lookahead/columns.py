"""Columns and constraints that are added: when the table is scanned or rewritten, what else is locked."""

import re
from typing import Any

from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.queries import calls
from fluxbase_migrations.runner.lookahead.rules import Rule
from fluxbase_migrations.runner.lookahead.tree import descendants, is_a, name_of, strings

_SERIAL = frozenset(("serial", "serial2", "serial4", "serial8", "bigserial", "smallserial"))
_VOLATILE = "v"
_STORED = "s"


def work_of_addition(findings: Findings, column: Any) -> Work:
    """ADD COLUMN: only a volatile default, an identity or a stored expression rewrites the table."""
    kinds = {enum("ConstrType", node.constraint.contype): node.constraint for node in column.constraints}
    grades = [Work.CATALOG, _type(findings, column), _default(findings, kinds.get("CONSTR_DEFAULT"))]
    if "CONSTR_IDENTITY" in kinds:
        grades.append(Work.REWRITE)
    if (generated := kinds.get("CONSTR_GENERATED")) is not None:
        virtual = generated.generated_kind and generated.generated_kind != _STORED
        grades.append(Work.CATALOG if virtual else Work.REWRITE)
    if {"CONSTR_CHECK", "CONSTR_PRIMARY", "CONSTR_UNIQUE"}.intersection(kinds):
        grades.append(Work.SCAN)
    if "CONSTR_NOTNULL" in kinds and "CONSTR_DEFAULT" not in kinds:
        grades.append(Work.SCAN)
    if "CONSTR_FOREIGN" in kinds and "CONSTR_DEFAULT" in kinds:
        grades.append(Work.SCAN)
    return max(grades, key=lambda work: work.grade)


def _type(findings: Findings, column: Any) -> Work:
    name = strings(column.type_name.names)
    if name and name[-1] in _SERIAL and len(name) == 1:
        return Work.REWRITE
    if column.type_name.array_bounds:
        return Work.CATALOG
    known = findings.facts.type_of(name)
    if known is None:
        return Work.CATALOG if name[0] == "pg_catalog" else Work.MAY_REWRITE
    return Work.REWRITE if known.constrained else Work.CATALOG


def _default(findings: Findings, constraint: Any) -> Work:
    """A default that is the same for all rows is kept in the catalog."""
    if constraint is None:
        return Work.CATALOG
    grades = [Work.CATALOG]
    calls(findings, constraint.raw_expr)
    for node in descendants(constraint.raw_expr):
        if is_a(node, "FuncCall"):
            functions = findings.facts.functions_of(strings(node.funcname))
            volatile = {function.volatile == _VOLATILE for function in functions}
            certain = volatile == {True} and not any(function.inlined for function in functions)
            grades.append(
                Work.REWRITE if certain else Work.CATALOG if volatile == {False} else Work.MAY_REWRITE
            )
    return max(grades, key=lambda work: work.grade)


def set_not_null(findings: Findings, relation: CatalogRelation | None, name: str) -> Work:
    """No scan where the column is that already, or a valid CHECK says so."""
    if relation is None:
        return Work.MAY_SCAN
    column = relation.columns.get(name)
    if column is not None and column.not_null:
        return Work.CATALOG
    quoted = re.compile(rf'\(\(?"?{re.escape(name)}"? IS NOT NULL\)?\)', re.IGNORECASE)
    checks = [
        constraint
        for constraint in relation.constraints.values()
        if constraint.type == "c" and constraint.valid
    ]
    if any(quoted.search(constraint.check) and " OR " not in constraint.check for constraint in checks):
        return Work.CATALOG
    return Work.SCAN


def check_text(constraint: Any) -> str:
    """A CHECK of the plan's own, where it is ``column IS NOT NULL``, as PostgreSQL prints it."""
    if constraint.raw_expr.WhichOneof("node") != "null_test":
        return ""
    test = constraint.raw_expr.null_test
    if (
        enum("NullTestType", test.nulltesttype) != "IS_NOT_NULL"
        or test.arg.WhichOneof("node") != "column_ref"
    ):
        return ""
    return f"CHECK (({strings(test.arg.column_ref.fields)[-1]} IS NOT NULL))"


def constraint_rule(relation: CatalogRelation | None, constraint: Any) -> Rule:
    """The lock and work of ADD CONSTRAINT on the table itself."""
    kind = enum("ConstrType", constraint.contype)
    checked = Work.SCAN if _is_checked(constraint) else Work.CATALOG
    match kind:
        case "CONSTR_FOREIGN":
            return Rule(Lock.SHARE_ROW_EXCLUSIVE, checked, recurses=True)
        case "CONSTR_NOTNULL" if checked is Work.SCAN and relation is not None:
            column = relation.columns.get(strings(constraint.keys)[0] if constraint.keys else "")
            return Rule(work=Work.CATALOG if column and column.not_null else Work.SCAN, recurses=True)
        case "CONSTR_PRIMARY" | "CONSTR_UNIQUE" if constraint.indexname:
            # Its columns may have to become NOT NULL first.
            return Rule(work=Work.MAY_SCAN if kind == "CONSTR_PRIMARY" else Work.CATALOG)
        case "CONSTR_PRIMARY" | "CONSTR_UNIQUE" | "CONSTR_EXCLUSION":
            return Rule(work=Work.SCAN)
        case _:
            return Rule(work=checked, recurses=True)


def _is_checked(constraint: Any) -> bool:
    """Whether rows that are there already have to satisfy a CHECK, NOT NULL or FOREIGN KEY."""
    enforced = enum("ConstrType", constraint.contype) == "CONSTR_NOTNULL" or constraint.is_enforced
    return not constraint.skip_validation and bool(enforced)


def references_of(findings: Findings, relation: CatalogRelation | None, column: Any) -> None:
    """Lock the tables that the foreign keys of an added column refer to."""
    for node in column.constraints:
        if enum("ConstrType", node.constraint.contype) == "CONSTR_FOREIGN":
            has_default = any(
                enum("ConstrType", other.constraint.contype) == "CONSTR_DEFAULT"
                for other in column.constraints
            )
            reference(findings, relation, node.constraint, checks=has_default)


def reference(
    findings: Findings, relation: CatalogRelation | None, constraint: Any, *, checks: bool | None = None
) -> None:
    """A foreign key also locks the table that it refers to, because that gets triggers."""
    scans = _is_checked(constraint) if checks is None else checks
    work = Work.ROWS if scans else Work.CATALOG
    lock = Lock.SHARE_ROW_EXCLUSIVE
    target = findings.touch(name_of(constraint.pktable), lock, work, why="referenced by the foreign key")
    if target is None:
        return
    partitions = findings.facts.descendants(target.oid)
    findings.lock_all(partitions, lock, work, why="referenced by the foreign key")
    if relation is not None:
        findings.facts.refer(relation, target)
