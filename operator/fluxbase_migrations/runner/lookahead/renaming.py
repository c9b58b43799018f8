"""ALTER … RENAME, SET SCHEMA and OWNER TO."""

from typing import Any, Final

from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.tree import name_of

_RELATIONS: Final = frozenset(("TABLE", "VIEW", "MATVIEW", "SEQUENCE", "FOREIGN_TABLE", "INDEX"))
_WITHIN: Final = frozenset(("COLUMN", "TABCONSTRAINT", "TRIGGER", "POLICY", "RULE", "ATTRIBUTE"))


def rename(findings: Findings, statement: Any) -> None:
    """RENAME of a relation, or of a part of a table such as a column or trigger."""
    kind = enum("ObjectType", statement.rename_type).removeprefix("OBJECT_")
    if kind not in _RELATIONS and kind not in _WITHIN:
        return
    name = name_of(statement.relation)
    relation = findings.facts.find(name)
    is_index = kind == "INDEX" or (relation is not None and relation.kind in "iI" and kind in _RELATIONS)
    relation = findings.touch(name, Lock.SHARE_UPDATE_EXCLUSIVE if is_index else Lock.ACCESS_EXCLUSIVE)
    if relation is None:
        return
    if kind in _RELATIONS:
        if findings.facts.find((relation.schema, statement.newname)) is None:
            findings.facts.move(relation, name=statement.newname)
        findings.notes.append(f"running versions of an application that use {name[-1]} fail from here on")
    elif kind == "ATTRIBUTE":
        tables = findings.facts.links.typed.get(relation.oid, ())
        findings.lock_all(tables, Lock.ACCESS_EXCLUSIVE, why="a table of the type")
    elif kind in ("COLUMN", "TABCONSTRAINT") and statement.relation.inh:
        why = "partition or child table"
        findings.lock_all(findings.facts.descendants(relation.oid), Lock.ACCESS_EXCLUSIVE, why=why)
        if kind == "COLUMN":
            findings.notes.append(
                f"running versions of an application that use {statement.subname} fail from here on"
            )
            relation.columns.pop(statement.subname, None)
    elif kind == "TRIGGER" and statement.relation.inh:
        parts = findings.facts.descendants(relation.oid)
        findings.lock_all(parts, Lock.ACCESS_EXCLUSIVE, certain=relation.kind == "p", why="partition")


def set_schema(findings: Findings, statement: Any) -> None:
    """SET SCHEMA of a relation, which moves its sequences, too."""
    kind = enum("ObjectType", statement.object_type).removeprefix("OBJECT_")
    if kind not in _RELATIONS:
        return
    relation = findings.touch(name_of(statement.relation), Lock.ACCESS_EXCLUSIVE)
    if relation is not None:
        owned = findings.facts.links.owned.get(relation.oid, ())
        findings.lock_all(owned, Lock.ACCESS_EXCLUSIVE, why="its sequence")
        findings.facts.move(relation, schema=statement.newschema)


def owner(findings: Findings, statement: Any) -> None:
    """OWNER TO of what is no relation; those are ALTER TABLE to the parser."""
    if statement.relation.relname:
        findings.touch(name_of(statement.relation), Lock.ACCESS_EXCLUSIVE)
