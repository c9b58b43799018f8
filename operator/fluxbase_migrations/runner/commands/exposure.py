"""What anon and authenticated can reach although no row-level security protects it.

Default privileges give authenticated rights on every relation that a migration makes in public, views like
tables. Policies apply to tables that have row-level security enabled, reached by their own name: not to a
table without it, a partition reached directly, a view that reads with its owner's rights, a materialized view
or a foreign table, and not to TRUNCATE. A SECURITY DEFINER function runs with its owner's rights, too.

It reads the catalog and changes nothing; objects that belong to extensions are left out.
"""

from typing import Final, LiteralString

from psycopg import errors

from fluxbase_migrations.core import plan
from fluxbase_migrations.core.errors import Exposed, ServerRefused, Transient
from fluxbase_migrations.core.exposure import Exposure, ExposureKind
from fluxbase_migrations.core.names import ExposurePolicy
from fluxbase_migrations.runner.connection.session import CATALOG_QUERY, Session
from fluxbase_migrations.runner.execution.engine import Engine
from fluxbase_migrations.runner.execution.locked_track import LockedTrack

_EXPOSED: Final[LiteralString] = """
WITH request_roles AS (
    SELECT oid, rolname FROM pg_catalog.pg_roles WHERE rolname IN ('anon', 'authenticated')
),
user_schemas AS (
    SELECT n.oid, n.nspname FROM pg_catalog.pg_namespace AS n
    -- Without the roles there is nothing to check.
    WHERE EXISTS (SELECT FROM request_roles) AND n.nspname !~ '^pg_' AND n.nspname <> 'information_schema'
),
reached_relations AS (
    SELECT c.oid, c.relkind, c.relispartition, c.relrowsecurity, c.reloptions, n.nspname, c.relname,
           pg_catalog.array_agg(DISTINCT r.rolname::pg_catalog.text) AS roles,
           pg_catalog.array_agg(DISTINCT p.privilege) AS privileges
    FROM pg_catalog.pg_class AS c
    JOIN user_schemas AS n ON n.oid = c.relnamespace
    CROSS JOIN request_roles AS r
    CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE'), ('TRUNCATE')) AS p (privilege)
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f')
      -- Policies say nothing about TRUNCATE. Of a materialized view only reading is possible.
      AND (NOT c.relrowsecurity OR p.privilege = 'TRUNCATE')
      AND (c.relkind <> 'm' OR p.privilege = 'SELECT')
      AND pg_catalog.has_schema_privilege(r.oid, n.oid, 'USAGE')
      AND CASE WHEN p.privilege IN ('DELETE', 'TRUNCATE')
               THEN pg_catalog.has_table_privilege(r.oid, c.oid, p.privilege)
               ELSE pg_catalog.has_any_column_privilege(r.oid, c.oid, p.privilege) END
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend AS d
          WHERE d.classid = 'pg_catalog.pg_class'::pg_catalog.regclass
            AND d.objid = c.oid AND d.deptype = 'e')
    GROUP BY c.oid, c.relkind, c.relispartition, c.relrowsecurity, c.reloptions, n.nspname, c.relname
),
relations AS (
    SELECT *, CASE
        WHEN relrowsecurity THEN 'TRUNCATE'
        WHEN relkind = 'v' THEN 'VIEW'
        WHEN relkind = 'm' THEN 'MATERIALIZED_VIEW'
        WHEN relkind = 'f' THEN 'FOREIGN_TABLE'
        WHEN relispartition THEN 'PARTITION'
        WHEN ARRAY(SELECT a.attname || ' ' || pg_catalog.format_type(a.atttypid, NULL)
                   FROM pg_catalog.pg_attribute AS a
                   WHERE a.attrelid = reached_relations.oid AND a.attnum > 0 AND NOT a.attisdropped
                   ORDER BY a.attnum) = '{version bigint,dirty boolean}' THEN 'VERSION_TABLE'
        ELSE 'TABLE' END AS kind
    FROM reached_relations
    -- A view that reads nothing shows nothing.
    WHERE relkind <> 'v' OR (
        NOT EXISTS (
            SELECT FROM pg_catalog.pg_options_to_table(reloptions) AS o
            -- It is kept as it was written, and the server reads it as this cast does.
            WHERE CASE WHEN o.option_name = 'security_invoker' THEN o.option_value::pg_catalog.bool END)
        AND EXISTS (
            SELECT FROM pg_catalog.pg_rewrite AS w
            JOIN pg_catalog.pg_depend AS d ON d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass
                AND d.objid = w.oid AND d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass
            WHERE w.ev_class = reached_relations.oid
                AND d.refobjid <> reached_relations.oid))
),
definers AS (
    SELECT p.oid, n.oid AS schema_oid, n.nspname, p.proname, p.prokind,
           p.prorettype = 'pg_catalog.trigger'::pg_catalog.regtype AS is_trigger,
           -- Each as it is written, but for the case and the quotes of pg_temp. The pattern has no backslash:
           -- this session may have standard_conforming_strings off.
           (SELECT ARRAY(SELECT CASE WHEN pg_catalog.lower(schema) IN ('pg_temp', '"pg_temp"')
                                     THEN 'pg_temp' ELSE schema END
                         FROM pg_catalog.regexp_matches(pg_catalog.substr(s, 13),
                                                        '"(?:[^"]|"")*"|[^",]+', 'g') AS match,
                              pg_catalog.btrim(match[1]) AS schema
                         WHERE schema <> '')
            FROM pg_catalog.unnest(p.proconfig) AS s WHERE s LIKE 'search_path=%') AS schemas,
           EXISTS (SELECT FROM pg_catalog.aclexplode(
                       coalesce(p.proacl, pg_catalog.acldefault('f', p.proowner))) AS a
                   WHERE a.grantee = 0 AND a.privilege_type = 'EXECUTE') AS is_public
    FROM pg_catalog.pg_proc AS p
    JOIN user_schemas AS n ON n.oid = p.pronamespace
    WHERE p.prosecdef
      AND NOT EXISTS (
          SELECT FROM pg_catalog.pg_depend AS d
          WHERE d.classid = 'pg_catalog.pg_proc'::pg_catalog.regclass AND d.objid = p.oid AND d.deptype = 'e')
),
functions AS (
    SELECT f.*,
           ARRAY(SELECT r.rolname::pg_catalog.text FROM request_roles AS r
                 -- A trigger fires for each role that changes the table, and cannot be called otherwise.
                 WHERE CASE WHEN f.is_trigger
                            THEN EXISTS (
                                SELECT FROM pg_catalog.pg_trigger AS t
                                JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
                                WHERE t.tgfoid = f.oid
                                  AND pg_catalog.has_schema_privilege(r.oid, c.relnamespace, 'USAGE')
                                  AND (pg_catalog.has_table_privilege(r.oid, c.oid, 'DELETE, TRUNCATE')
                                       OR pg_catalog.has_any_column_privilege(
                                           r.oid, c.oid, 'INSERT, UPDATE')))
                            ELSE pg_catalog.has_schema_privilege(r.oid, f.schema_oid, 'USAGE')
                                 AND pg_catalog.has_function_privilege(r.oid, f.oid, 'EXECUTE') END
                 ORDER BY 1) AS roles,
           pg_catalog.format('%I.%I(%s)', f.nspname, f.proname,
                             pg_catalog.pg_get_function_identity_arguments(f.oid)) AS name,
           -- Unless it is named, the temporary schema, where any role may create, comes first for relations.
           NOT coalesce(f.schemas = '{}' OR f.schemas = ARRAY['""']
                        OR pg_catalog.array_position(f.schemas, 'pg_temp')
                           = pg_catalog.cardinality(f.schemas), false) AS loose,
           NULLIF(pg_catalog.array_to_string(
               pg_catalog.array_remove(f.schemas, 'pg_temp'), ', '), '') AS path
    FROM definers AS f
)
SELECT kind, pg_catalog.format('%I.%I', nspname, relname) AS name, roles, privileges,
       CASE
           WHEN kind = 'TRUNCATE' THEN
               pg_catalog.format('REVOKE TRUNCATE ON %I.%I FROM PUBLIC, anon, authenticated',
                                 nspname, relname)
           WHEN kind = 'TABLE' THEN
               pg_catalog.format('ALTER TABLE %I.%I ENABLE ROW LEVEL SECURITY', nspname, relname)
           WHEN kind = 'VIEW' AND pg_catalog.current_setting('server_version_num')::integer >= 150000 THEN
               pg_catalog.format('ALTER VIEW %I.%I SET (security_invoker = true)', nspname, relname)
           ELSE pg_catalog.format('REVOKE ALL ON %I.%I FROM PUBLIC, anon, authenticated', nspname, relname)
       END
FROM relations
UNION ALL
SELECT 'PUBLIC_FUNCTION', name, roles, '{EXECUTE}'::pg_catalog.text[],
       pg_catalog.format('REVOKE EXECUTE ON %s %s FROM PUBLIC',
                         CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, name)
FROM functions WHERE roles <> '{}' AND is_public AND NOT is_trigger
UNION ALL
SELECT 'LOOSE_FUNCTION', name, roles, '{EXECUTE}'::pg_catalog.text[],
       pg_catalog.format('ALTER %s %s SET search_path = %s, pg_temp',
                         CASE prokind WHEN 'p' THEN 'PROCEDURE' ELSE 'FUNCTION' END, name,
                         coalesce(path, pg_catalog.quote_ident(nspname)))
FROM functions WHERE roles <> '{}' AND loose
ORDER BY 2, 1
"""


_LOGGED: Final = 100
"""How many objects a log names."""
NOT_PROTECTED: Final = "Not protected by row-level security"
UNKNOWN: Final = "could not check what is reachable past row-level security"


def exposed(session: Session) -> list[Exposure]:
    """What anon and authenticated can reach in this database past row-level security, by name.

    Nothing where those roles do not exist. One round trip; takes no locks that a migration waits for.
    """
    return [
        Exposure(ExposureKind[kind], name, tuple(roles), tuple(privileges), statement)
        for kind, name, roles, privileges, statement in session.query(CATALOG_QUERY + _EXPOSED)
    ]


def check(engine: Engine, policy: ExposurePolicy) -> list[Exposure] | None:
    """Check, once the files are applied, and warn about each object; None: not checked.

    Raises:
        Exposed: something is exposed and the policy is Fail.
        ServerRefused, Transient: the check failed and the policy is Fail.
    """
    if policy is ExposurePolicy.IGNORE:
        return None
    track = engine.track
    try:
        exposures = exposed(track.session)
    except errors.Error as error:
        reason = track.session.scrub(" ".join(str(error).split()))
        if policy is ExposurePolicy.FAIL:
            kind = Transient if isinstance(error, errors.OperationalError) else ServerRefused
            raise kind(f"{UNKNOWN}: {reason}", effect=f"all files are applied, {_version(track)}") from error
        # The files are applied, even if what they left could not be checked.
        track.log.warn(UNKNOWN, reason=reason, source=track.label)
        engine.warnings.append(f"{UNKNOWN}: {reason}")
        return None
    _warn(track, exposures)
    if exposures and policy is ExposurePolicy.FAIL:
        raise Exposed.of(exposures, _version(track))
    return exposures


def _version(track: LockedTrack) -> str:
    return plan.name_of(track.row.version)


def _warn(track: LockedTrack, exposures: list[Exposure]) -> None:
    for exposure in exposures[:_LOGGED]:
        track.log.warn(
            NOT_PROTECTED,
            object=exposure.name,
            kind=exposure.kind,
            roles=", ".join(exposure.roles),
            privileges=", ".join(exposure.privileges),
            close_with=exposure.statement,
            source=track.label,
        )
    if len(exposures) > _LOGGED:
        track.log.warn(f"{NOT_PROTECTED}: {len(exposures) - _LOGGED} more objects", source=track.label)
