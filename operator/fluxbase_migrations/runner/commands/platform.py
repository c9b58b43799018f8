"""Whether what the system track's recorded version created is still there.

A dump restored on a server without the platform's roles loses every policy and grant that names them, while
the version table says that all is applied. ``system/contents.txt`` lists what each version makes, as this
module describes a database; ``python -m tests.system.contents`` writes it.
"""

from typing import Final, LiteralString

from fluxbase_migrations.core.errors import PlatformIncomplete
from fluxbase_migrations.core.files import NIL, Direction
from fluxbase_migrations.core.plan import Plan
from fluxbase_migrations.runner.connection.session import CATALOG_QUERY, Session
from fluxbase_migrations.runner.execution.engine import Engine
from fluxbase_migrations.system import contents

_FACTS: Final[LiteralString] = """
WITH platform_schemas AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_catalog.pg_namespace
    WHERE nspname IN ('auth', 'webhooks', 'storage', 'jobs', 'functions')
),
relations AS (
    SELECT c.oid, c.relkind, c.relowner, c.relacl, c.relrowsecurity, n.nspname || '.' || c.relname AS name
    FROM pg_catalog.pg_class AS c JOIN platform_schemas AS n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p', 'v', 'S')
),
routines AS (
    SELECT p.oid, p.proowner, p.proacl,
           n.nspname || '.' || p.proname || '(' || pg_catalog.array_to_string(ARRAY(
               SELECT pg_catalog.format_type(t.type, NULL)
               FROM pg_catalog.unnest(p.proargtypes) WITH ORDINALITY AS t (type, place)
               ORDER BY t.place), ', ') || ')' AS name
    FROM pg_catalog.pg_proc AS p JOIN platform_schemas AS n ON n.oid = p.pronamespace
),
grants (grantee, privilege, object) AS (
    SELECT a.grantee, a.privilege_type, 'schema ' || n.nspname
    FROM platform_schemas AS n, pg_catalog.aclexplode(n.nspacl) AS a WHERE a.grantee <> n.nspowner
    UNION ALL
    SELECT a.grantee, a.privilege_type, r.name
    FROM relations AS r, pg_catalog.aclexplode(r.relacl) AS a WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT a.grantee, a.privilege_type || ' (' || c.attname || ')', r.name
    FROM relations AS r
    JOIN pg_catalog.pg_attribute AS c ON c.attrelid = r.oid AND NOT c.attisdropped,
    pg_catalog.aclexplode(c.attacl) AS a WHERE a.grantee <> r.relowner
    UNION ALL
    SELECT a.grantee, a.privilege_type, r.name
    FROM routines AS r, pg_catalog.aclexplode(coalesce(r.proacl, pg_catalog.acldefault('f', r.proowner))) AS a
    WHERE a.grantee <> r.proowner
    UNION ALL
    SELECT a.grantee, a.privilege_type,
           CASE d.defaclobjtype WHEN 'r' THEN 'new tables' WHEN 'S' THEN 'new sequences'
                                ELSE 'new functions' END || ' in public'
    FROM pg_catalog.pg_default_acl AS d
    JOIN pg_catalog.pg_namespace AS p ON p.oid = d.defaclnamespace AND p.nspname = 'public'
    JOIN platform_schemas AS n ON n.nspname = 'auth' AND n.nspowner = d.defaclrole,
    pg_catalog.aclexplode(d.defaclacl) AS a
    WHERE d.defaclobjtype IN ('r', 'S', 'f') AND a.grantee <> d.defaclrole
)
SELECT 'role ' || rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated', 'service_role')
UNION ALL SELECT 'schema ' || nspname FROM platform_schemas
UNION ALL SELECT CASE relkind WHEN 'v' THEN 'view ' WHEN 'S' THEN 'sequence ' ELSE 'table ' END || name
          FROM relations
UNION ALL SELECT 'row-level security of ' || name FROM relations WHERE relrowsecurity
UNION ALL SELECT 'function ' || name FROM routines
UNION ALL
SELECT 'trigger ' || t.tgname || ' of ' || r.name
FROM pg_catalog.pg_trigger AS t JOIN relations AS r ON r.oid = t.tgrelid
WHERE NOT t.tgisinternal AND t.tgenabled IN ('O', 'A')
UNION ALL
SELECT 'policy "' || p.polname || '" of ' || r.name || ' for ' || role.name
FROM pg_catalog.pg_policy AS p
JOIN relations AS r ON r.oid = p.polrelid,
LATERAL (SELECT coalesce(i.rolname::pg_catalog.text, 'PUBLIC')
         FROM pg_catalog.unnest(p.polroles) AS grantee (oid)
         LEFT JOIN pg_catalog.pg_roles AS i ON i.oid = grantee.oid) AS role (name)
UNION ALL
SELECT g.privilege || ' on ' || g.object || ' for ' || coalesce(i.rolname, 'PUBLIC')
FROM grants AS g LEFT JOIN pg_catalog.pg_roles AS i ON i.oid = g.grantee
WHERE g.grantee = 0 OR i.rolname IN ('anon', 'authenticated', 'service_role')
"""

_VIEWS_SINCE: Final = 150000
"""The platform's views read with their reader's rights, which needs PostgreSQL 15: before, there are none."""
_VIEW: Final = "auth.users"
_NAMED: Final = 5
"""How many missing things a message names."""
_LOGGED: Final = 100
"""How many missing things a log names."""


def facts(session: Session) -> set[str]:
    """What of the platform is in this database: a line for each role, table, policy, privilege and so on."""
    return {fact for (fact,) in session.query(CATALOG_QUERY + _FACTS)}


def missing(session: Session, version: int) -> list[str]:
    """What the system track up to ``version`` creates and this database lacks, in the order of the file."""
    expected = [fact for since, fact in contents() if since <= version]
    if session.server_version < _VIEWS_SINCE:
        views = [fact.removeprefix("view ") for fact in expected if fact.startswith("view ")]
        expected = [fact for fact in expected if not any(view in fact.split() for view in views)]
    present = facts(session)
    return [fact for fact in expected if fact not in present]


def require(engine: Engine, plan: Plan) -> None:
    """Check that what the recorded version creates is there, before ``plan`` goes on from it.

    A rollback is not refused: what is left may have to be removed.

    Raises:
        PlatformIncomplete: something that the platform needs is missing.
    """
    track = engine.track
    version = track.row.version
    if version == NIL or (plan.steps and plan.steps[0].direction is Direction.DOWN):
        return
    lacking = missing(track.session, version)
    if not lacking:
        return
    for fact in lacking[:_LOGGED]:
        track.log.warn("Missing in the database", object=fact, source=track.label)
    required = [fact for fact in lacking if not _is_optional(fact)]
    if required:
        raise PlatformIncomplete.of(version, required)
    engine.warnings.append(_optional(lacking))


def _is_optional(fact: str) -> bool:
    """Whether the platform itself works without it.

    A server that was upgraded from PostgreSQL 14 has no views, and what new tables in public come with is the
    application's: it may have been narrowed on purpose.
    """
    return fact.endswith(_VIEW) or f" {_VIEW} " in fact or " on new " in fact


def _optional(lacking: list[str]) -> str:
    more = f", and {len(lacking) - _NAMED} more" if len(lacking) > _NAMED else ""
    return f"the database lacks what the system migrations make: {', '.join(lacking[:_NAMED])}{more}"
