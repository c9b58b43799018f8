"""ALTER TABLE and what has its form: ALTER INDEX, VIEW, MATERIALIZED VIEW, SEQUENCE, FOREIGN TABLE, TYPE."""

from collections.abc import Callable
from typing import Any

from fluxbase_migrations.runner.lookahead import column_types, columns, queries
from fluxbase_migrations.runner.lookahead.effect import Work
from fluxbase_migrations.runner.lookahead.facts import CatalogRelation, Constraint
from fluxbase_migrations.runner.lookahead.findings import Findings
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.names import enum
from fluxbase_migrations.runner.lookahead.rules import ALTER_TABLE, STRICT_OPTIONS, Rule
from fluxbase_migrations.runner.lookahead.tree import Name, name_of


def alter_table(findings: Findings, statement: Any) -> None:
    """Every command of one ALTER TABLE."""
    name = name_of(statement.relation)
    relation = findings.facts.find(name)
    if relation is None and statement.missing_ok and findings.facts.path_known:
        findings.notes.append(f"{'.'.join(name)} does not exist: skipped")
        return
    commands = [node.alter_table_cmd for node in statement.cmds]
    rules = [_rule(findings, relation, command) for command in commands]
    lock = max((rule.lock for rule in rules), key=lambda lock: lock.strength)
    work = max((rule.work for rule in rules), key=lambda work: work.grade)
    relation = findings.touch(name, lock, work)
    if relation is not None and statement.relation.inh and any(rule.recurses for rule in rules):
        why = "partition" if relation.kind in "pI" else "child table"
        certain = any(rule.recurses and rule.certain for rule in rules)
        findings.lock_all(findings.facts.descendants(relation.oid), lock, work, certain=certain, why=why)
    if relation is not None and enum("ObjectType", statement.objtype) == "OBJECT_TYPE":
        findings.lock_all(findings.facts.links.typed.get(relation.oid, ()), lock, why="a table of the type")
    for command in commands:
        _side_effects(findings, name, relation, command)


def _rule(findings: Findings, relation: CatalogRelation | None, command: Any) -> Rule:
    """The rule of the lock table, or the one that depends on more than the command's name."""
    kind = enum("AlterTableType", command.subtype)
    rule = ALTER_TABLE.get(kind, Rule(work=Work.MAY_REWRITE))
    definition = getattr(command, "def")
    match kind:
        case "AT_AddColumn":
            return Rule(rule.lock, columns.work_of_addition(findings, definition.column_def), recurses=True)
        case "AT_AlterColumnType":
            return Rule(rule.lock, column_types.work_of_change(findings, relation, command), recurses=True)
        case "AT_SetNotNull":
            return Rule(rule.lock, columns.set_not_null(findings, relation, command.name), recurses=True)
        case "AT_AddConstraint":
            return columns.constraint_rule(relation, definition.constraint)
        case "AT_ValidateConstraint":
            known = relation.constraints.get(command.name) if relation else None
            return Rule(rule.lock, Work.CATALOG if known and known.valid else Work.SCAN, recurses=True)
        case "AT_SetRelOptions" | "AT_ResetRelOptions":
            options = {node.def_elem.defname for node in definition.list.items}
            return Rule(Lock.ACCESS_EXCLUSIVE) if options & STRICT_OPTIONS else rule
        case "AT_SetLogged" | "AT_SetUnLogged":
            persistence = "p" if kind == "AT_SetLogged" else "u"
            same = relation is not None and relation.persistence == persistence
            return Rule(rule.lock, Work.CATALOG) if same else rule
        case "AT_SetExpression":
            return Rule(rule.lock, Work.MAY_REWRITE if findings.version > 17 else Work.REWRITE, recurses=True)
        case "AT_DropNotNull" if findings.version >= 18:
            return Rule(rule.lock, recurses=True, certain=False)
        case "AT_DetachPartition" if definition.partition_cmd.concurrent:
            return Rule(Lock.SHARE_UPDATE_EXCLUSIVE)
        case _:
            return rule


def _side_effects(findings: Findings, name: Name, relation: CatalogRelation | None, command: Any) -> None:
    """What a command does beside its own table, and what it loses."""
    definition = getattr(command, "def")
    match enum("AlterTableType", command.subtype):
        case "AT_AddColumn":
            columns.references_of(findings, relation, definition.column_def)
        case "AT_AddConstraint":
            _add_constraint(findings, relation, definition.constraint)
        case "AT_DropColumn":
            findings.lose(relation, f"column {command.name} of {name[-1]} is dropped with its values")
            _dropped_keys(findings, relation, lambda constraint: command.name in constraint.columns)
            if relation is not None:
                relation.columns.pop(command.name, None)
        case "AT_AlterColumnType":
            _dropped_keys(
                findings, relation, lambda constraint: command.name in constraint.columns, Work.ROWS
            )
            if relation is not None:
                relation.columns.pop(command.name, None)
        case "AT_DropConstraint":
            _dropped_keys(findings, relation, lambda constraint: constraint.name == command.name)
            if relation is not None:
                relation.constraints.pop(command.name, None)
        case "AT_AlterConstraint":
            _referenced(findings, relation, definition.constraint.conname, Lock.ACCESS_EXCLUSIVE)
        case "AT_ValidateConstraint" if relation is not None:
            known = relation.constraints.get(command.name)
            if known is None or not known.valid:
                _referenced(findings, relation, command.name, Lock.ROW_SHARE, Work.ROWS)
        case "AT_ChangeOwner":
            _owned(findings, relation)
        case "AT_AttachPartition":
            _attach(findings, relation, name_of(definition.partition_cmd.name))
        case "AT_DetachPartition":
            partition = definition.partition_cmd
            _detach(findings, relation, name_of(partition.name), concurrently=partition.concurrent)
        case "AT_DetachPartitionFinalize":
            _detach(findings, relation, name_of(definition.partition_cmd.name), concurrently=False)
        case "AT_AddInherit" | "AT_DropInherit" as kind:
            _inherit(findings, relation, name_of(definition.range_var), adds=kind == "AT_AddInherit")
        case "AT_SetLogged" | "AT_SetUnLogged" as kind:
            _logged(findings, relation, "p" if kind == "AT_SetLogged" else "u")
        case "AT_DropIdentity" if relation is not None:
            findings.lock_all(
                findings.facts.links.owned.get(relation.oid, ()), Lock.ACCESS_EXCLUSIVE, why="its sequence"
            )
        case "AT_SetIdentity" if relation is not None:
            findings.lock_all(
                findings.facts.links.owned.get(relation.oid, ()), Lock.SHARE_ROW_EXCLUSIVE, why="its sequence"
            )


def _add_constraint(findings: Findings, relation: CatalogRelation | None, constraint: Any) -> None:
    kind = enum("ConstrType", constraint.contype)
    if kind == "CONSTR_CHECK" and not constraint.skip_validation:
        queries.calls(findings, constraint.raw_expr)  # for the rows that there are
    if kind == "CONSTR_FOREIGN":
        columns.reference(findings, relation, constraint)
    elif kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE") and constraint.indexname and relation is not None:
        index = relation.schema, constraint.indexname
        findings.touch(index, Lock.SHARE_UPDATE_EXCLUSIVE, certain=False, why="becomes its index")
    elif kind in ("CONSTR_PRIMARY", "CONSTR_UNIQUE", "CONSTR_EXCLUSION") and relation is not None:
        _indexed_partitions(findings, relation, primary=kind == "CONSTR_PRIMARY")
    _remember(relation, constraint, kind)


def _indexed_partitions(findings: Findings, relation: CatalogRelation, *, primary: bool) -> None:
    """Each partition gets an index of its own; a primary key also makes its columns NOT NULL."""
    if relation.kind == "p":
        parts = [*findings.facts.descendants(relation.oid)]
        lock = Lock.ACCESS_EXCLUSIVE if findings.version >= 18 else Lock.SHARE
        findings.lock_all(parts, lock, Work.SCAN, why="partition")
        if primary:
            findings.lock_all(parts, Lock.ACCESS_EXCLUSIVE, Work.SCAN, certain=False, why="partition")


def _remember(relation: CatalogRelation | None, constraint: Any, kind: str) -> None:
    if relation is not None and constraint.conname:
        letter = {"CONSTR_CHECK": "c", "CONSTR_FOREIGN": "f", "CONSTR_NOTNULL": "n"}.get(kind, "u")
        relation.constraints[constraint.conname] = Constraint(
            constraint.conname, letter, not constraint.skip_validation, check=columns.check_text(constraint)
        )


def _dropped_keys(
    findings: Findings,
    relation: CatalogRelation | None,
    is_dropped: Callable[[Constraint], bool],
    work: Work = Work.CATALOG,
) -> None:
    """A foreign key that goes takes its triggers from the other table, too; a key may be referred to."""
    if relation is None:
        return
    for constraint in relation.constraints.values():
        if not is_dropped(constraint):
            continue
        if constraint.type == "f":
            tables = [constraint.target, *findings.facts.descendants(constraint.target)]
            findings.lock_all(tables, Lock.ACCESS_EXCLUSIVE, work, why="referenced by the foreign key")
        elif constraint.type in "pu":
            findings.lock_all(
                findings.facts.links.referenced_by.get(relation.oid, ()),
                Lock.ACCESS_EXCLUSIVE,
                Work.CATALOG if work is Work.CATALOG else Work.MAY_SCAN,
                certain=False,
                why="its foreign key refers here",
            )


def _referenced(
    findings: Findings, relation: CatalogRelation | None, name: str, lock: Lock, work: Work = Work.CATALOG
) -> None:
    constraint = relation.constraints.get(name) if relation is not None else None
    if constraint is not None and constraint.type == "f" and constraint.target:
        tables = [constraint.target, *findings.facts.descendants(constraint.target)]
        findings.lock_all(tables[:1], lock, work, why="referenced by the foreign key")
        findings.lock_all(tables[1:], lock, work, certain=False, why="referenced by the foreign key")


def _owned(findings: Findings, relation: CatalogRelation | None) -> None:
    if relation is not None:
        findings.lock_all(
            findings.facts.links.owned.get(relation.oid, ()), Lock.ACCESS_EXCLUSIVE, why="its sequence"
        )


def _logged(findings: Findings, relation: CatalogRelation | None, persistence: str) -> None:
    if relation is None or relation.persistence == persistence:
        return
    links = findings.facts.links
    if findings.version >= 15:
        findings.lock_all(links.owned.get(relation.oid, ()), Lock.ACCESS_EXCLUSIVE, why="its sequence")
    tables = {*links.references.get(relation.oid, ()), *links.referenced_by.get(relation.oid, ())}
    findings.lock_all(sorted(tables - {relation.oid}), Lock.ACCESS_SHARE, why="tied by a foreign key")


def _attach(findings: Findings, parent: CatalogRelation | None, name: Name) -> None:
    child = findings.facts.find(name)
    proven = child is not None and (child.is_new or child.kind in "iI")
    work = Work.CATALOG if proven else Work.MAY_SCAN
    child = findings.touch(name, Lock.ACCESS_EXCLUSIVE, work, why="the partition")
    if parent is None:
        return
    links = findings.facts.links
    default = links.default_partition.get(parent.oid)
    if default is not None:
        partitions = [default, *findings.facts.descendants(default)]
        findings.lock_all(partitions, Lock.ACCESS_EXCLUSIVE, Work.MAY_SCAN, why="default partition")
    if child is not None:
        findings.lock_all(
            findings.facts.descendants(child.oid), Lock.ACCESS_EXCLUSIVE, work, why="part of the partition"
        )
        if parent.kind == "I":
            tables = [links.table_of[oid] for oid in (parent.oid, child.oid) if oid in links.table_of]
            findings.lock_all(tables, Lock.ACCESS_SHARE, why="table of the index")
        findings.lock_all(
            links.references.get(parent.oid, ()),
            Lock.SHARE_ROW_EXCLUSIVE,
            Work.ROWS,
            why="referenced by a foreign key of the parent",
        )
        findings.facts.inherit(child, parent)


def _detach(findings: Findings, parent: CatalogRelation | None, name: Name, *, concurrently: bool) -> None:
    child = findings.touch(name, Lock.ACCESS_EXCLUSIVE, why="the partition")
    if parent is None or child is None:
        return
    links = findings.facts.links
    default = links.default_partition.get(parent.oid)
    if default is not None and default != child.oid:
        findings.lock_all([default], Lock.ACCESS_EXCLUSIVE, why="default partition")
    findings.lock_all(
        links.references.get(parent.oid, ()),
        Lock.SHARE_ROW_EXCLUSIVE,
        certain=not concurrently,
        why="referenced by a foreign key of the parent",
    )
    tables = links.referenced_by.get(parent.oid, ())
    findings.lock_all(
        tables, Lock.SHARE_ROW_EXCLUSIVE, Work.MAY_SCAN, certain=False, why="its foreign key refers here"
    )
    findings.facts.disinherit(child, parent)


def _inherit(findings: Findings, child: CatalogRelation | None, name: Name, *, adds: bool) -> None:
    lock = Lock.SHARE_UPDATE_EXCLUSIVE if adds else Lock.ACCESS_SHARE
    parent = findings.touch(name, lock, why="the parent")
    if parent is None or child is None:
        return
    if adds:
        findings.facts.inherit(child, parent)
    else:
        findings.facts.disinherit(child, parent)
