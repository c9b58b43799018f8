"""ALTER TABLE and what has its form: ALTER INDEX, VIEW, MATERIALIZED VIEW, SEQUENCE, FOREIGN TABLE, TYPE."""

from collections.abc import Callable
from typing import Any

from fluxbase_migrations.runner.lookahead import column_types, columns
from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation, Constraint
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.rules import ALTER_TABLE, STRICT_OPTIONS, Rule
from fluxbase_migrations.runner.lookahead.tree import Name, name_of


def alter_table(found: Findings, statement: Any) -> None:
    """Every command of one ALTER TABLE."""
    name = name_of(statement.relation)
    relation = found.facts.find(name)
    if relation is None and statement.missing_ok and found.facts.path_known:
        found.notes.append(f"{'.'.join(name)} does not exist: skipped")
        return
    commands = [one.alter_table_cmd for one in statement.cmds]
    rules = [_rule(found, relation, command) for command in commands]
    lock = max((rule.lock for rule in rules), key=lambda one: one.strength)
    work = max((rule.work for rule in rules), key=lambda one: one.grade)
    relation = found.touch(name, lock, work)
    if relation is not None and statement.relation.inh and any(rule.recurses for rule in rules):
        why = "partition" if relation.kind in "pI" else "child table"
        certain = any(rule.recurses and rule.certain for rule in rules)
        found.lock_all(found.facts.descendants(relation.oid), lock, work, certain=certain, why=why)
    if relation is not None and enum("ObjectType", statement.objtype) == "OBJECT_TYPE":
        found.lock_all(found.facts.links.typed.get(relation.oid, ()), lock, why="a table of the type")
    for command in commands:
        _more(found, name, relation, command)


def _rule(found: Findings, relation: CatalogRelation | None, command: Any) -> Rule:
    """The lock table's line, or what depends on more than the command's name."""
    kind = enum("AlterTableType", command.subtype)
    rule = ALTER_TABLE.get(kind, Rule(work=Work.MAY_REWRITE))
    definition = getattr(command, "def")
    match kind:
        case "AT_AddColumn":
            return Rule(rule.lock, columns.added(found, definition.column_def), recurses=True)
        case "AT_AlterColumnType":
            return Rule(rule.lock, column_types.changed(found, relation, command), recurses=True)
        case "AT_SetNotNull":
            return Rule(rule.lock, columns.set_not_null(found, relation, command.name), recurses=True)
        case "AT_AddConstraint":
            return columns.constraint_rule(relation, definition.constraint)
        case "AT_ValidateConstraint":
            known = relation.constraints.get(command.name) if relation else None
            return Rule(rule.lock, Work.CATALOG if known and known.valid else Work.SCAN, recurses=True)
        case "AT_SetRelOptions" | "AT_ResetRelOptions":
            options = {one.def_elem.defname for one in definition.list.items}
            return Rule(Lock.ACCESS_EXCLUSIVE) if options & STRICT_OPTIONS else rule
        case "AT_SetLogged" | "AT_SetUnLogged":
            persistence = "p" if kind == "AT_SetLogged" else "u"
            same = relation is not None and relation.persistence == persistence
            return Rule(rule.lock, Work.CATALOG) if same else rule
        case "AT_SetExpression":
            return Rule(rule.lock, Work.MAY_REWRITE if found.version > 17 else Work.REWRITE, recurses=True)
        case "AT_DropNotNull" if found.version >= 18:
            return Rule(rule.lock, recurses=True, certain=False)
        case "AT_DetachPartition" if definition.partition_cmd.concurrent:
            return Rule(Lock.SHARE_UPDATE_EXCLUSIVE)
        case _:
            return rule


def _more(found: Findings, name: Name, relation: CatalogRelation | None, command: Any) -> None:
    """What a command does beside its own table, and what it loses."""
    definition = getattr(command, "def")
    match enum("AlterTableType", command.subtype):
        case "AT_AddColumn":
            columns.references_of(found, relation, definition.column_def)
        case "AT_AddConstraint":
            _add_constraint(found, relation, definition.constraint)
        case "AT_DropColumn":
            found.lose(relation, f"column {command.name} of {name[-1]} is dropped with its values")
            _dropped_keys(found, relation, lambda one: command.name in one.columns)
            if relation is not None:
                relation.columns.pop(command.name, None)
        case "AT_AlterColumnType":
            _dropped_keys(found, relation, lambda one: command.name in one.columns, Work.ROWS)
            if relation is not None:
                relation.columns.pop(command.name, None)
        case "AT_DropConstraint":
            _dropped_keys(found, relation, lambda one: one.name == command.name)
            if relation is not None:
                relation.constraints.pop(command.name, None)
        case "AT_AlterConstraint":
            _referenced(found, relation, definition.constraint.conname, Lock.ACCESS_EXCLUSIVE)
        case "AT_ValidateConstraint" if relation is not None:
            known = relation.constraints.get(command.name)
            if known is None or not known.valid:
                _referenced(found, relation, command.name, Lock.ROW_SHARE, Work.ROWS)
        case "AT_ChangeOwner":
            _owned(found, relation)
        case "AT_AttachPartition":
            _attach(found, relation, name_of(definition.partition_cmd.name))
        case "AT_DetachPartition":
            partition = definition.partition_cmd
            _detach(found, relation, name_of(partition.name), concurrently=partition.concurrent)
        case "AT_DetachPartitionFinalize":
            _detach(found, relation, name_of(definition.partition_cmd.name), concurrently=False)
        case "AT_AddInherit" | "AT_DropInherit" as kind:
            _inherit(found, relation, name_of(definition.range_var), adds=kind == "AT_AddInherit")
        case "AT_SetLogged" | "AT_SetUnLogged" as kind:
            _logged(found, relation, "p" if kind == "AT_SetLogged" else "u")
        case "AT_DropIdentity" if relation is not None:
            found.lock_all(
                found.facts.links.owned.get(relation.oid, ()), Lock.ACCESS_EXCLUSIVE, why="its sequence"
            )
        case "AT_SetIdentity" if relation is not None:
            found.lock_all(
                found.facts.links.owned.get(relation.oid, ()), Lock.SHARE_ROW_EXCLUSIVE, why="its sequence"
            )


def _add_constraint(found: Findings, relation: CatalogRelation | None, constraint: Any) -> None:
    kind = enum("ConstrType", constraint.contype)
    if kind == "CONSTR_FOREIGN":
        columns.reference(found, relation, constraint)
    elif kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE") and constraint.indexname and relation is not None:
        index = relation.schema, constraint.indexname
        found.touch(index, Lock.SHARE_UPDATE_EXCLUSIVE, certain=False, why="becomes its index")
    elif kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_EXCLUSION") and relation is not None:
        _indexed_partitions(found, relation, primary=kind == "CONSTR_PRIMARY")
    _remember(relation, constraint, kind)


def _indexed_partitions(found: Findings, relation: CatalogRelation, *, primary: bool) -> None:
    """Each partition gets an index of its own; a primary key also makes its columns NOT NULL."""
    if relation.kind == "p":
        parts = [*found.facts.descendants(relation.oid)]
        lock = Lock.ACCESS_EXCLUSIVE if found.version >= 18 else Lock.SHARE
        found.lock_all(parts, lock, Work.SCAN, why="partition")
        if primary:
            found.lock_all(parts, Lock.ACCESS_EXCLUSIVE, Work.SCAN, certain=False, why="partition")


def _remember(relation: CatalogRelation | None, constraint: Any, kind: str) -> None:
    if relation is not None and constraint.conname:
        letter = {"CONSTR_CHECK": "c", "CONSTR_FOREIGN": "f", "CONSTR_NOTNULL": "n"}.get(kind, "u")
        relation.constraints[constraint.conname] = Constraint(
            constraint.conname, letter, not constraint.skip_validation, check=columns.check_text(constraint)
        )


def _dropped_keys(
    found: Findings,
    relation: CatalogRelation | None,
    chosen: Callable[[Constraint], bool],
    work: Work = Work.CATALOG,
) -> None:
    """A foreign key that goes takes its triggers from the other table, too; a key may be referred to."""
    if relation is None:
        return
    for one in relation.constraints.values():
        if not chosen(one):
            continue
        if one.type == "f":
            others = [one.target, *found.facts.descendants(one.target)]
            found.lock_all(others, Lock.ACCESS_EXCLUSIVE, work, why="referenced by the foreign key")
        elif one.type in "pu":
            found.lock_all(
                found.facts.links.referenced_by.get(relation.oid, ()),
                Lock.ACCESS_EXCLUSIVE,
                Work.CATALOG if work is Work.CATALOG else Work.MAY_SCAN,
                certain=False,
                why="its foreign key refers here",
            )


def _referenced(
    found: Findings, relation: CatalogRelation | None, name: str, lock: Lock, work: Work = Work.CATALOG
) -> None:
    known = relation.constraints.get(name) if relation is not None else None
    if known is not None and known.type == "f" and known.target:
        others = [known.target, *found.facts.descendants(known.target)]
        found.lock_all(others[:1], lock, work, why="referenced by the foreign key")
        found.lock_all(others[1:], lock, work, certain=False, why="referenced by the foreign key")


def _owned(found: Findings, relation: CatalogRelation | None) -> None:
    if relation is not None:
        found.lock_all(
            found.facts.links.owned.get(relation.oid, ()), Lock.ACCESS_EXCLUSIVE, why="its sequence"
        )


def _logged(found: Findings, relation: CatalogRelation | None, persistence: str) -> None:
    if relation is None or relation.persistence == persistence:
        return
    links = found.facts.links
    if found.version >= 15:
        found.lock_all(links.owned.get(relation.oid, ()), Lock.ACCESS_EXCLUSIVE, why="its sequence")
    near = {*links.references.get(relation.oid, ()), *links.referenced_by.get(relation.oid, ())}
    found.lock_all(sorted(near - {relation.oid}), Lock.ACCESS_SHARE, why="tied by a foreign key")


def _attach(found: Findings, parent: CatalogRelation | None, name: Name) -> None:
    child = found.facts.find(name)
    proven = child is not None and (child.is_new or child.kind in "iI")
    work = Work.CATALOG if proven else Work.MAY_SCAN
    child = found.touch(name, Lock.ACCESS_EXCLUSIVE, work, why="the partition")
    if parent is None:
        return
    links = found.facts.links
    default = links.default_partition.get(parent.oid)
    if default is not None:
        others = [default, *found.facts.descendants(default)]
        found.lock_all(others, Lock.ACCESS_EXCLUSIVE, Work.MAY_SCAN, why="default partition")
    if child is not None:
        found.lock_all(
            found.facts.descendants(child.oid), Lock.ACCESS_EXCLUSIVE, work, why="part of the partition"
        )
        if parent.kind == "I":
            tables = [links.table_of[oid] for oid in (parent.oid, child.oid) if oid in links.table_of]
            found.lock_all(tables, Lock.ACCESS_SHARE, why="table of the index")
        found.lock_all(
            links.references.get(parent.oid, ()),
            Lock.SHARE_ROW_EXCLUSIVE,
            Work.ROWS,
            why="referenced by a foreign key of the parent",
        )
        found.facts.inherit(child, parent)


def _detach(found: Findings, parent: CatalogRelation | None, name: Name, *, concurrently: bool) -> None:
    child = found.touch(name, Lock.ACCESS_EXCLUSIVE, why="the partition")
    if parent is None or child is None:
        return
    links = found.facts.links
    default = links.default_partition.get(parent.oid)
    if default is not None and default != child.oid:
        found.lock_all([default], Lock.ACCESS_EXCLUSIVE, why="default partition")
    found.lock_all(
        links.references.get(parent.oid, ()),
        Lock.SHARE_ROW_EXCLUSIVE,
        certain=not concurrently,
        why="referenced by a foreign key of the parent",
    )
    others = links.referenced_by.get(parent.oid, ())
    found.lock_all(
        others, Lock.SHARE_ROW_EXCLUSIVE, Work.MAY_SCAN, certain=False, why="its foreign key refers here"
    )
    found.facts.disinherit(child, parent)


def _inherit(found: Findings, child: CatalogRelation | None, name: Name, *, adds: bool) -> None:
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if adds else Lock.ACCESS_SHARE
    parent = found.touch(name, lock, why="the parent")
    if parent is None or child is None:
        return
    if adds:
        found.facts.inherit(child, parent)
    else:
        found.facts.disinherit(child, parent)
