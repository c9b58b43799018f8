"""The catalog's answers to a plan: which relations its names can mean, and what hangs on them.

Every query only reads pg_catalog, which each role may. Sizes need a moment's ACCESS SHARE lock; where
another session holds the table exclusively, the estimate of the last VACUUM or ANALYZE takes their place.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Final, LiteralString

from psycopg import errors

from fluxbase_migrations.runner.connection.session import Session
from fluxbase_migrations.runner.lookahead.facts import (
    CatalogRelation,
    Column,
    Constraint,
    Facts,
    Function,
    Links,
    Trigger,
    Type,
)
from fluxbase_migrations.runner.lookahead.tree import Name

_NAMED: Final[LiteralString] = (
    "SELECT c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')"
    " WHERE c.relname = ANY (%s::text[])"
)
_INHERITS: Final = "SELECT inhrelid, inhparent FROM pg_catalog.pg_inherits"
_INDEXES: Final = (
    "SELECT indexrelid, indrelid FROM pg_catalog.pg_index WHERE indrelid >= 16384 ORDER BY indexrelid"
)
_FOREIGN_KEYS: Final = "SELECT DISTINCT conrelid, confrelid FROM pg_catalog.pg_constraint WHERE contype = 'f'"
_SEQUENCES: Final = (
    "SELECT d.objid, d.refobjid FROM pg_catalog.pg_depend d JOIN pg_catalog.pg_class c ON c.oid = d.objid"
    " WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND c.relkind = 'S'"
    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.deptype IN ('a', 'i')"
)
_DEFAULTS: Final = (
    "SELECT DISTINCT a.adrelid, d.refobjid FROM pg_catalog.pg_attrdef a JOIN pg_catalog.pg_depend d"
    " ON d.classid = 'pg_catalog.pg_attrdef'::pg_catalog.regclass AND d.objid = a.oid"
    " JOIN pg_catalog.pg_class c ON c.oid = d.refobjid AND c.relkind = 'S'"
    " WHERE d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass"
)
_USES: Final = (
    "SELECT DISTINCT r.ev_class, d.refobjid FROM pg_catalog.pg_rewrite r JOIN pg_catalog.pg_depend d"
    " ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND d.objid = r.oid"
    " AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass AND d.refobjid <> r.ev_class"
    " JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm')"
    " WHERE r.ev_class >= 16384 AND d.refobjid >= 16384"
)
_DEFAULT_PARTITIONS: Final = (
    "SELECT partrelid, partdefid FROM pg_catalog.pg_partitioned_table WHERE partdefid <> 0"
)
_RELATIONS: Final = (
    "SELECT c.oid, CASE WHEN c.relpersistence = 't' THEN 'pg_temp' ELSE n.nspname END, c.relname,"
    " c.relkind::text, c.relpersistence::text, c.relispartition,"
    " CASE WHEN c.reltuples >= 0 THEN c.reltuples::bigint END,"
    " c.relpages::bigint * pg_catalog.current_setting('block_size')::bigint"
    " FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace"
    " WHERE c.oid = ANY (%s::oid[])"
)
_SIZES: Final = (
    "SELECT c.oid, CASE WHEN c.relkind IN ('i', 'I') THEN pg_catalog.pg_relation_size(c.oid)"
    " ELSE pg_catalog.pg_table_size(c.oid) END"
    " FROM pg_catalog.pg_class c WHERE c.oid = ANY (%s::oid[]) AND c.relkind IN ('r', 'm', 'i')"
)
_COLUMNS: Final = (
    "SELECT attrelid, attname, atttypid, atttypmod, attnotnull FROM pg_catalog.pg_attribute"
    " WHERE attrelid = ANY (%s::oid[]) AND attnum > 0 AND NOT attisdropped"
)
_CONSTRAINTS: Final = (
    "SELECT k.conrelid, k.conname, k.contype::text, k.convalidated, ARRAY(SELECT a.attname::text"
    " FROM pg_catalog.pg_attribute a WHERE a.attrelid = k.conrelid AND a.attnum = ANY (k.conkey)),"
    " k.confrelid, CASE WHEN k.contype = 'c' THEN pg_catalog.pg_get_constraintdef(k.oid) END"
    " FROM pg_catalog.pg_constraint k WHERE k.conrelid = ANY (%s::oid[])"
)
_TRIGGERS: Final = (
    "SELECT tgrelid, tgname, tgtype FROM pg_catalog.pg_trigger"
    " WHERE tgrelid = ANY (%s::oid[]) AND NOT tgisinternal AND tgenabled <> 'D' ORDER BY tgname"
)
_RULES: Final = (
    "SELECT ev_class, rulename FROM pg_catalog.pg_rewrite"
    " WHERE ev_class = ANY (%s::oid[]) AND rulename <> '_RETURN'"
)
_FUNCTIONS: Final = (
    "SELECT p.proname, n.nspname, p.provolatile::text, l.lanname = 'internal' AND n.nspname = 'pg_catalog',"
    " l.lanname = 'sql'"
    " FROM pg_catalog.pg_proc p JOIN pg_catalog.pg_namespace n ON n.oid = p.pronamespace"
    " JOIN pg_catalog.pg_language l ON l.oid = p.prolang WHERE p.proname = ANY (%s::text[])"
)
_TYPES: Final = (
    "SELECT t.typname, t.oid, n.nspname, t.typtype = 'd' AND (t.typnotnull OR EXISTS"
    " (SELECT FROM pg_catalog.pg_constraint k WHERE k.contypid = t.oid)),"
    " CASE WHEN t.typtype = 'd' THEN ARRAY(SELECT DISTINCT a.attrelid::text FROM pg_catalog.pg_attribute a"
    " JOIN pg_catalog.pg_class c ON c.oid = a.attrelid AND c.relkind IN ('r', 'm', 'p')"
    " WHERE a.atttypid = t.oid AND NOT a.attisdropped) END"
    " FROM pg_catalog.pg_type t JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace"
    " WHERE t.typname = ANY (%s::text[])"
)
_EVENT_TRIGGERS: Final = (
    "SELECT evtname FROM pg_catalog.pg_event_trigger WHERE evtenabled IN ('O', 'A') AND evtevent <> 'login'"
    " ORDER BY evtname"
)
_BINARY_CASTS: Final = "SELECT castsource, casttarget FROM pg_catalog.pg_cast WHERE castmethod = 'b'"
_TYPED: Final = (
    "SELECT t.typrelid, c.oid FROM pg_catalog.pg_class c JOIN pg_catalog.pg_type t ON t.oid = c.reloftype"
)
_STATISTICS: Final = (
    "SELECT stxname, stxrelid FROM pg_catalog.pg_statistic_ext WHERE stxname = ANY (%s::text[])"
)

_IN_SCHEMA: Final[LiteralString] = (
    " JOIN pg_catalog.pg_namespace n ON n.oid = {} WHERE {} = %s AND n.nspname = ANY (%s::text[])"
)
_STARTS: Final[Mapping[str, LiteralString]] = {
    "relation": "pg_class'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_class o"
    + _IN_SCHEMA.format("o.relnamespace", "o.relname"),
    "type": "pg_type'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_type o"
    + _IN_SCHEMA.format("o.typnamespace", "o.typname"),
    "function": "pg_proc'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_proc o"
    + _IN_SCHEMA.format("o.pronamespace", "o.proname"),
    "schema": "pg_namespace'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_namespace o"
    " WHERE o.nspname = %s AND %s::text[] IS NOT NULL",
    "extension": "pg_extension'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_extension o"
    " WHERE o.extname = %s AND %s::text[] IS NOT NULL",
    "server": "pg_foreign_server'::pg_catalog.regclass, o.oid FROM pg_catalog.pg_foreign_server o"
    " WHERE o.srvname = %s AND %s::text[] IS NOT NULL",
}
"""By kind of object: where a DROP … CASCADE begins. The parameters are the name and the schemas."""
_DEPENDENTS: Final[LiteralString] = """
    UNION
    SELECT dependent.* FROM reached r CROSS JOIN LATERAL (
        SELECT d.classid, d.objid, d.objsubid FROM pg_catalog.pg_depend d
        WHERE d.refclassid = r.classid AND d.refobjid = r.objid
        AND (r.objsubid = 0 OR d.refobjsubid = r.objsubid) AND d.deptype <> 'x'
        UNION ALL
        SELECT 'pg_catalog.pg_class'::pg_catalog.regclass, w.ev_class, 0 FROM pg_catalog.pg_rewrite w
        WHERE r.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass AND w.oid = r.objid
        AND w.rulename = '_RETURN'
    ) AS dependent
)
SELECT oid, pg_catalog.bool_or(whole) FROM (
    SELECT r.classid = 'pg_catalog.pg_class'::pg_catalog.regclass AND r.objsubid = 0 AS whole,
        CASE r.classid
        WHEN 'pg_catalog.pg_class'::pg_catalog.regclass THEN r.objid
        WHEN 'pg_catalog.pg_rewrite'::pg_catalog.regclass
            THEN (SELECT ev_class FROM pg_catalog.pg_rewrite WHERE oid = r.objid)
        WHEN 'pg_catalog.pg_constraint'::pg_catalog.regclass
            THEN (SELECT conrelid FROM pg_catalog.pg_constraint WHERE oid = r.objid)
        WHEN 'pg_catalog.pg_trigger'::pg_catalog.regclass
            THEN (SELECT tgrelid FROM pg_catalog.pg_trigger WHERE oid = r.objid)
        WHEN 'pg_catalog.pg_attrdef'::pg_catalog.regclass
            THEN (SELECT adrelid FROM pg_catalog.pg_attrdef WHERE oid = r.objid)
        WHEN 'pg_catalog.pg_policy'::pg_catalog.regclass
            THEN (SELECT polrelid FROM pg_catalog.pg_policy WHERE oid = r.objid) END AS oid
    FROM reached r
) AS relations JOIN pg_catalog.pg_class c USING (oid)
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I') GROUP BY oid ORDER BY oid
"""
"""What DROP … CASCADE drops or changes, as relations."""


def event_triggers(session: Session) -> list[str]:
    """The names of the event triggers that fire on DDL."""
    return [name for (name,) in session.query(_EVENT_TRIGGERS)]


def read(session: Session, names: Iterable[str]) -> Facts:
    """What the catalog knows of ``names``, whatever kind of object they may mean."""
    sorted_names = sorted(set(names))
    facts = Facts(version=session.server_version // 10000)
    ((path, user),) = session.query(
        "SELECT pg_catalog.current_schemas(false)::text[], CURRENT_USER::pg_catalog.text"
    )
    facts.path, facts.user = [*path], user
    facts.links = _links(session)
    for name, schema, volatile, internal, inlined in session.query(_FUNCTIONS, (sorted_names,)):
        facts.functions.setdefault(name, []).append(Function(schema, volatile, internal, inlined))
    seeds = {oid for (oid,) in session.query(_NAMED, (sorted_names,))}
    for name, table in session.query(_STATISTICS, (sorted_names,)):
        facts.statistics.setdefault(name, []).append(table)
        seeds.add(table)
    for name, oid, schema, constrained, users in session.query(_TYPES, (sorted_names,)):
        user_type = Type(oid, schema, constrained, tuple(map(int, users or ())))
        facts.types.setdefault(name, []).append(user_type)
        seeds.update(user_type.users)
    facts.binary_casts = frozenset((source, target) for source, target in session.query(_BINARY_CASTS))
    _load(session, facts, _closure(facts.links, seeds))

    def dependents(kind: str, name: Name) -> list[tuple[int, bool]]:
        places = [name[-2]] if len(name) > 1 else facts.path
        reached = session.query(_dependents(kind), (name[-1], places))
        _load(session, facts, {oid for oid, _ in reached} - facts.relations.keys())
        return [(oid, bool(whole)) for oid, whole in reached]

    facts.dependents = dependents
    return facts


def _dependents(kind: str) -> LiteralString:
    start = _STARTS[kind].replace(" FROM ", ", 0 FROM ", 1)
    begin: LiteralString = "WITH RECURSIVE reached (classid, objid, objsubid) AS (SELECT 'pg_catalog."
    return begin + start + _DEPENDENTS


def _links(session: Session) -> Links:
    links = Links()
    for child, parent in session.query(_INHERITS):
        links.children.setdefault(parent, []).append(child)
        links.parents.setdefault(child, []).append(parent)
    for index, table in session.query(_INDEXES):
        links.indexes.setdefault(table, []).append(index)
        links.table_of[index] = table
    for source, target in session.query(_FOREIGN_KEYS):
        links.references.setdefault(source, []).append(target)
        links.referenced_by.setdefault(target, []).append(source)
    for sequence, table in session.query(_SEQUENCES):
        links.owned.setdefault(table, []).append(sequence)
        links.table_of[sequence] = table
    for table, sequence in session.query(_DEFAULTS):
        links.defaults.setdefault(table, []).append(sequence)
    for table, sequences in links.owned.items():  # an identity column has no default
        links.defaults[table] = sorted({*links.defaults.get(table, ()), *sequences})
    for view, used in session.query(_USES):
        links.uses.setdefault(view, []).append(used)
    for composite, table in session.query(_TYPED):
        links.typed.setdefault(composite, []).append(table)
    links.default_partition = dict(session.query(_DEFAULT_PARTITIONS))
    return links


def _closure(links: Links, seeds: Collection[int]) -> set[int]:
    """The seeds, their indexes, sequences, partitions and what views read; then one foreign key further."""
    near = _reached(
        seeds,
        [links.children, links.parents, links.indexes, links.owned, links.defaults, links.uses, links.typed],
        links,
    )
    further = {
        related
        for oid in near
        for related in (*links.references.get(oid, ()), *links.referenced_by.get(oid, ()))
    }
    return near | _reached(further, [links.children, links.parents, links.indexes, links.defaults], links)


def _reached(seeds: Collection[int], links_to_follow: list[dict[int, list[int]]], links: Links) -> set[int]:
    reached: set[int] = set()
    queue = [*seeds]
    while queue:
        oid = queue.pop()
        if oid in reached:
            continue
        reached.add(oid)
        queue += [neighbour for targets in links_to_follow for neighbour in targets.get(oid, ())]
        if oid in links.table_of:
            queue.append(links.table_of[oid])
    return reached


def _load(session: Session, facts: Facts, oids: Collection[int]) -> None:
    parameter = [str(oid) for oid in sorted(oids)]
    if not parameter:
        return
    loaded: dict[int, CatalogRelation] = {}
    for oid, schema, name, kind, persistence, is_partition, rows, size in session.query(
        _RELATIONS, (parameter,)
    ):
        loaded[oid] = CatalogRelation(oid, schema, name, kind, size, rows, persistence, is_partition)
    _measure(session, loaded, parameter)
    for oid, name, kind, typmod, not_null in session.query(_COLUMNS, (parameter,)):
        loaded[oid].columns[name] = Column(name, kind, typmod, not_null)
    for oid, name, kind, valid, columns, target, check in session.query(_CONSTRAINTS, (parameter,)):
        loaded[oid].constraints[name] = Constraint(name, kind, valid, tuple(columns), target, check or "")
    for oid, name, bits in session.query(_TRIGGERS, (parameter,)):
        loaded[oid].triggers = (*loaded[oid].triggers, Trigger(name, bits))
    for oid, name in session.query(_RULES, (parameter,)):
        loaded[oid].rules = (*loaded[oid].rules, name)
    for relation in loaded.values():
        facts.add(relation)


def _measure(session: Session, loaded: dict[int, CatalogRelation], parameter: list[str]) -> None:
    session.query("SAVEPOINT sizes")
    try:
        for oid, size in session.query(_SIZES, (parameter,)):
            loaded[oid].bytes = size
    except errors.LockNotAvailable:
        session.query("ROLLBACK TO SAVEPOINT sizes")
    session.query("RELEASE SAVEPOINT sizes")
