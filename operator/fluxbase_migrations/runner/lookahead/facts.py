"""What the catalog says of a plan's relations, and what the plan's own statements change of it.

Filled by :mod:`.catalog`; every method is a decision about what was read.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import field, replace
from typing import Final

from fluxbase_migrations.core.lazy_dataclass import dataclass
from fluxbase_migrations.runner.lookahead.effect import Relation, State
from fluxbase_migrations.runner.lookahead.tree import Name

_SYSTEM_SCHEMAS: Final = frozenset(("pg_catalog", "information_schema", "pg_toast"))
_TEMPORARY: Final = "pg_temp"
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_$]*")


@dataclass(frozen=True, slots=True)
class Column:
    """A column of an existing table."""

    name: str
    type: int
    """Its type's OID."""
    typmod: int = -1
    not_null: bool = False


@dataclass(frozen=True, slots=True)
class Constraint:
    """A constraint of a table."""

    name: str
    type: str
    """pg_constraint's contype: c, f, p, u, x, n."""
    valid: bool
    columns: tuple[str, ...] = ()
    target: int = 0
    """A foreign key: the referenced table."""
    check: str = ""
    """A check: its definition, as PostgreSQL prints it."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A user's trigger that is enabled."""

    name: str
    bits: int
    """pg_trigger's tgtype."""

    def fires(self, event: str) -> bool:
        """Whether it fires on ``event``: INSERT, DELETE, UPDATE or TRUNCATE."""
        return bool(self.bits & {"INSERT": 4, "DELETE": 8, "UPDATE": 16, "TRUNCATE": 32}[event])


@dataclass(slots=True)
class CatalogRelation:
    """A relation, its own OID or a negative number where the plan creates it."""

    oid: int
    schema: str
    name: str
    kind: str
    """pg_class's relkind."""
    bytes: int | None = None
    rows: int | None = None
    persistence: str = "p"
    is_partition: bool = False
    columns: dict[str, Column] = field(default_factory=dict)
    constraints: dict[str, Constraint] = field(default_factory=dict)
    triggers: tuple[Trigger, ...] = ()
    rules: tuple[str, ...] = ()

    @property
    def is_new(self) -> bool:
        """Whether a statement of the plan creates it."""
        return self.oid < 0


@dataclass(slots=True)
class Links:
    """How relations depend on each other, by OID."""

    children: dict[int, list[int]] = field(default_factory=dict)
    parents: dict[int, list[int]] = field(default_factory=dict)
    indexes: dict[int, list[int]] = field(default_factory=dict)
    table_of: dict[int, int] = field(default_factory=dict)
    """Of an index."""
    owned: dict[int, list[int]] = field(default_factory=dict)
    """A table's own sequences."""
    defaults: dict[int, list[int]] = field(default_factory=dict)
    """The sequences that a table's column defaults use."""
    uses: dict[int, list[int]] = field(default_factory=dict)
    """What a view reads."""
    references: dict[int, list[int]] = field(default_factory=dict)
    """The tables that a table's foreign keys name."""
    referenced_by: dict[int, list[int]] = field(default_factory=dict)
    default_partition: dict[int, int] = field(default_factory=dict)
    typed: dict[int, list[int]] = field(default_factory=dict)
    """The tables OF a composite type."""


@dataclass(frozen=True, slots=True)
class Function:
    """One of the functions that have a name."""

    schema: str
    volatile: str
    """pg_proc's provolatile."""
    internal: bool
    """It is C code of the server itself, which runs no SQL of a user's."""
    inlined: bool = False
    """It is SQL, whose body PostgreSQL may put in the place of the call."""


@dataclass(frozen=True, slots=True)
class Type:
    """One of the types that have a name."""

    oid: int
    schema: str
    constrained: bool
    """A domain with a constraint."""
    users: tuple[int, ...] = ()
    """A domain: the relations with a column of it."""


@dataclass(slots=True)
class Facts:
    """The catalog as it will be when the next statement of the plan runs."""

    version: int = 18
    """The server's major version."""
    path: list[str] = field(default_factory=lambda: ["public"])
    """The schemas that names without one are looked for in."""
    user: str = ""
    """Whose schema ``$user`` means."""
    relations: dict[int, CatalogRelation] = field(default_factory=dict)
    links: Links = field(default_factory=Links)
    functions: dict[str, list[Function]] = field(default_factory=dict)
    types: dict[str, list[Type]] = field(default_factory=dict)
    binary_casts: frozenset[tuple[int, int]] = frozenset()
    statistics: dict[str, list[int]] = field(default_factory=dict)
    """The tables of extended statistics, by their name."""
    dependents: Callable[[str, Name], list[tuple[int, bool]]] = lambda _kind, _name: []
    """The relations that a DROP … CASCADE of such an object reaches, and whether it drops them."""
    path_known: bool = True
    """False after the plan has set search_path in a way that cannot be read."""
    _first_path: list[str] | None = None
    _names: dict[tuple[str, str], int] = field(default_factory=dict)
    _last: int = 0

    def add(self, relation: CatalogRelation) -> None:
        """Make a relation known by its name."""
        self.relations[relation.oid] = relation
        self._names[relation.schema, relation.name] = relation.oid

    def find(self, name: Name) -> CatalogRelation | None:
        """The relation that a name means with the present search_path; None if there is none."""
        *schema, relname = name[-2:]
        places = schema or [_TEMPORARY, *self.path]
        for place in places:
            oid = self._names.get((place, relname))
            if oid is not None:
                return self.relations[oid]
        return None

    def is_system(self, name: Name) -> bool:
        """Whether it is one of PostgreSQL's own relations, whose locks the plan leaves out."""
        if len(name) > 1:
            return name[-2] in _SYSTEM_SCHEMAS
        return name[0].startswith("pg_") and self.find(name) is None

    def described(self, relation: CatalogRelation) -> Relation:
        """As the plan shows it; a partitioned table has the size of its partitions."""
        name = qualified(relation.schema, relation.name)
        if relation.is_new:
            return Relation(name, state=State.NEW, oid=relation.oid)
        parts = [self.relations[oid] for oid in self.descendants(relation.oid) if oid in self.relations]
        if relation.kind != "p":
            parts = [relation]
        return Relation(
            name, _sum(part.bytes for part in parts), _sum(part.rows for part in parts), oid=relation.oid
        )

    def named(self, name: Name) -> Relation:
        """What a name means, known or not."""
        relation = self.find(name)
        return (
            Relation(qualified(*name), state=State.UNKNOWN) if relation is None else self.described(relation)
        )

    def descendants(self, oid: int) -> Iterator[int]:
        """Partitions and children of a table, and theirs."""
        queue = [*self.links.children.get(oid, ())]
        visited = set()
        while queue:
            child = queue.pop(0)
            if child not in visited:
                visited.add(child)
                yield child
                queue += self.links.children.get(child, ())

    # What the plan's statements change.

    def begin_file(self) -> None:
        """Each file begins with the session's own settings, and without temporary relations."""
        self.reset_path()
        for name in [name for name in self._names if name[0] == _TEMPORARY]:
            del self._names[name]

    def set_path(self, schemas: list[str]) -> None:
        """SET search_path."""
        self._first_path = self.path if self._first_path is None else self._first_path
        self.path = [self.user if schema == "$user" else schema for schema in schemas]

    def reset_path(self) -> None:
        """RESET search_path."""
        self.path = self.path if self._first_path is None else self._first_path
        self.path_known = True

    def create(self, name: Name, kind: str, *, temporary: bool = False, table: int = 0) -> CatalogRelation:
        """A statement of the plan makes a relation."""
        self._last -= 1
        *schema, relname = name[-2:]
        place = _TEMPORARY if temporary else schema[0] if schema else self.path[0] if self.path else "?"
        relation = CatalogRelation(self._last, place, relname, kind)
        self.add(relation)
        if table:
            self.links.table_of[relation.oid] = table
            self.links.indexes.setdefault(table, []).append(relation.oid)
        return relation

    def drop(self, relation: CatalogRelation) -> None:
        """A statement of the plan drops it, with its partitions, indexes and sequences."""
        self._names.pop((relation.schema, relation.name), None)
        parts = [*self.links.children.get(relation.oid, ())] if relation.kind == "p" else []
        for oid in (
            *parts,
            *self.links.indexes.get(relation.oid, ()),
            *self.links.owned.get(relation.oid, ()),
        ):
            if oid in self.relations and self.relations[oid] is not relation:
                self.drop(self.relations[oid])
        for links in (
            self.links.children,
            self.links.indexes,
            self.links.referenced_by,
            self.links.references,
            self.links.owned,
        ):
            for oids in links.values():
                oids[:] = [oid for oid in oids if oid != relation.oid]

    def move(self, relation: CatalogRelation, *, schema: str | None = None, name: str | None = None) -> None:
        """A statement of the plan renames it, or moves it to another schema."""
        self._names.pop((relation.schema, relation.name), None)
        moved = replace(relation, schema=schema or relation.schema, name=name or relation.name)
        self.add(moved)

    def inherit(self, child: CatalogRelation, parent: CatalogRelation) -> None:
        """A statement of the plan makes one a child or partition of the other."""
        self.links.children.setdefault(parent.oid, []).append(child.oid)
        self.links.parents.setdefault(child.oid, []).append(parent.oid)

    def disinherit(self, child: CatalogRelation, parent: CatalogRelation) -> None:
        """The opposite of :meth:`inherit`."""
        if child.oid in self.links.children.get(parent.oid, ()):
            self.links.children[parent.oid].remove(child.oid)
            self.links.parents[child.oid].remove(parent.oid)

    def refer(self, source: CatalogRelation, target: CatalogRelation) -> None:
        """A statement of the plan adds a foreign key."""
        self.links.references.setdefault(source.oid, []).append(target.oid)
        self.links.referenced_by.setdefault(target.oid, []).append(source.oid)

    def type_of(self, name: Name) -> Type | None:
        """The type that a name means; None where it is not there, or not certain."""
        candidates = self.types.get(name[-1], [])
        places = [name[-2]] if len(name) > 1 else ["pg_catalog", *self.path]
        return next(
            (candidate for place in places for candidate in candidates if candidate.schema == place), None
        )

    def functions_of(self, name: Name) -> list[Function]:
        """Every function that such a call may mean."""
        candidates = self.functions.get(name[-1], [])
        if len(name) > 1:
            return [function for function in candidates if function.schema == name[-2]]
        places = {"pg_catalog", *self.path}
        return [function for function in candidates if function.schema in places]


def qualified(*parts: str) -> str:
    """A name with its schema, quoted where SQL requires it."""
    quoted = (part if _PLAIN.fullmatch(part) else '"' + part.replace('"', '""') + '"' for part in parts)
    return ".".join(quoted)


def _sum(values: Iterable[int | None]) -> int | None:
    known = [value for value in values if value is not None]
    return sum(known) if known else None
