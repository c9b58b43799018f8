"""ALTER COLUMN TYPE: whether the values stay as they are on disk."""

from typing import Any, Final

from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation, Column, Type
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.queries import calls
from fluxbase_migrations.runner.lookahead.tree import strings, unwrapped

_HEADER: Final = 4
"""Added to a length in a typmod."""
_VARCHAR: Final = 1043
_VARBIT: Final = 1562
_NUMERIC: Final = 1700
_TIMES: Final = frozenset((1083, 1114, 1184, 1266))
"""time, timestamp and the same with time zone: the typmod is the precision."""
_TIMESTAMP: Final = 1114
_TIMESTAMPTZ: Final = 1184
_WIDER: Final = ((21, 23, 20, _NUMERIC), (700, 701), (18, 1042, _VARCHAR, 25), (1082, _TIMESTAMP))
"""Integers and numeric; real, double precision; "char", char, varchar, text; date, timestamp."""
_CHANGES_WITH_ZONE: Final = frozenset(((_TIMESTAMP, _TIMESTAMPTZ), (_TIMESTAMPTZ, _TIMESTAMP)))


def work_of_change(findings: Findings, relation: CatalogRelation | None, command: Any) -> Work:
    """The work of ALTER COLUMN … TYPE; notes values that may be lost."""
    definition = getattr(command, "def").column_def
    name = command.name
    work = _work(findings, relation, name, definition)
    if work is Work.REWRITE and not _holds_all(findings, relation, name, definition):
        what = f"values of column {name} are converted: what the new type cannot hold is lost"
        findings.lose(relation, what)
    elif work is Work.MAY_REWRITE and not (relation is not None and relation.is_new):
        findings.notes.append(f"whether column {name} is converted depends on its types")
    if definition.HasField("raw_default"):
        calls(findings, definition.raw_default)
    return work


def _work(findings: Findings, relation: CatalogRelation | None, name: str, definition: Any) -> Work:
    column = relation.columns.get(name) if relation is not None else None
    type_name = definition.type_name
    target = None if type_name.array_bounds else findings.facts.type_of(strings(type_name.names))
    if column is None or target is None or definition.HasField("coll_clause"):
        return Work.MAY_REWRITE
    if definition.HasField("raw_default") and not _is_plain_cast(definition.raw_default, name):
        return Work.MAY_REWRITE if target.oid == column.type else Work.REWRITE
    if target.constrained:
        return Work.REWRITE
    if (column.type, target.oid) in _CHANGES_WITH_ZONE:
        return Work.MAY_REWRITE  # not where TimeZone is UTC
    if target.oid != column.type and (column.type, target.oid) not in findings.facts.binary_casts:
        return Work.REWRITE
    return _length(column, target, [unwrapped(modifier) for modifier in type_name.typmods])


def _holds_all(findings: Findings, relation: CatalogRelation | None, name: str, definition: Any) -> bool:
    """Whether the new type has every value of the old one, so that nothing can be lost."""
    column = relation.columns.get(name) if relation is not None else None
    type_name = definition.type_name
    target = findings.facts.type_of(strings(type_name.names))
    if column is None or target is None or type_name.typmods or definition.HasField("raw_default"):
        return False
    return any(column.type in line and target.oid in line[line.index(column.type) :] for line in _WIDER)


def _is_plain_cast(expression: Any, name: str) -> bool:
    kind, node = unwrapped(expression)
    if kind == "type_cast":
        return _is_plain_cast(node.arg, name)
    return kind == "column_ref" and strings(node.fields) == (name,)


def _length(column: Column, target: Type, modifiers: list[tuple[str, Any]]) -> Work:
    """Binary compatible types: does a limit become narrower?"""
    if not modifiers:
        return Work.CATALOG
    numbers = [
        node.ival.ival for kind, node in modifiers if kind == "a_const" and node.WhichOneof("val") == "ival"
    ]
    if len(numbers) != len(modifiers):
        return Work.MAY_REWRITE
    if column.type != target.oid or column.typmod < 0:
        return Work.REWRITE
    if target.oid == _VARCHAR:
        wide = numbers[0] >= column.typmod - _HEADER
    elif target.oid == _VARBIT:
        wide = numbers[0] >= column.typmod
    elif target.oid == _NUMERIC:
        packed = column.typmod - _HEADER
        wide = numbers[0] >= packed >> 16 and (numbers[1] if numbers[1:] else 0) == packed & 0x7FF
    elif target.oid in _TIMES:
        wide = numbers[0] >= column.typmod
    else:
        return Work.MAY_REWRITE
    return Work.CATALOG if wide else Work.REWRITE
