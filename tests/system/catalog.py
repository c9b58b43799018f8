"""A picture of everything in a database that a migration could have left behind."""

from tests.system.track import Connection

# Privileges are compared by their meaning: where none were ever given, the built-in defaults stand for them,
# and the order in which they were given is no difference.
PICTURE = """
SELECT 'role', rolname,
       concat_ws(' ', rolinherit, rolcanlogin, rolbypassrls, shobj_description(oid, 'pg_authid'))
FROM pg_roles
UNION ALL
SELECT 'database', datname, privileges(coalesce(datacl, acldefault('d', datdba)))
FROM pg_database WHERE datname = current_database()
UNION ALL
SELECT 'member', roleid::regrole::text, member::regrole::text FROM pg_auth_members
UNION ALL
SELECT 'schema', nspname, privileges(coalesce(nspacl, acldefault('n', nspowner))) FROM ours_namespace
UNION ALL
SELECT 'relation', c.oid::regclass::text,
       concat_ws(' ', c.relkind, c.relrowsecurity, c.relforcerowsecurity,
                 privileges(coalesce(c.relacl, acldefault('r', c.relowner))))
FROM pg_class AS c JOIN ours_namespace AS n ON n.oid = c.relnamespace
UNION ALL
SELECT 'column', a.attrelid::regclass::text || '.' || a.attname,
       concat_ws(' ', format_type(a.atttypid, a.atttypmod), a.attnotnull,
                 privileges(coalesce(a.attacl, '{}')), pg_get_expr(d.adbin, d.adrelid))
FROM pg_attribute AS a
JOIN pg_class AS c ON c.oid = a.attrelid
JOIN ours_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
WHERE a.attnum > 0 AND NOT a.attisdropped
UNION ALL
SELECT 'constraint', conrelid::regclass::text || '.' || conname, pg_get_constraintdef(k.oid)
FROM pg_constraint AS k JOIN ours_namespace AS n ON n.oid = k.connamespace
UNION ALL
SELECT 'index', indexrelid::regclass::text, pg_get_indexdef(indexrelid)
FROM pg_index JOIN pg_class AS c ON c.oid = indexrelid JOIN ours_namespace AS n ON n.oid = c.relnamespace
UNION ALL
SELECT 'function', p.oid::regprocedure::text,
       privileges(coalesce(p.proacl, acldefault('f', p.proowner))) || pg_get_functiondef(p.oid)
FROM pg_proc AS p JOIN ours_namespace AS n ON n.oid = p.pronamespace WHERE p.prokind = 'f'
UNION ALL
SELECT 'type', t.oid::regtype::text, '' FROM pg_type AS t JOIN ours_namespace AS n ON n.oid = t.typnamespace
UNION ALL
SELECT 'trigger', tgrelid::regclass::text || '.' || tgname, pg_get_triggerdef(oid)
FROM pg_trigger WHERE NOT tgisinternal
UNION ALL
SELECT 'policy', schemaname || '.' || tablename || '.' || policyname,
       concat_ws(' ', permissive, roles, cmd, qual, with_check)
FROM pg_policies
UNION ALL
SELECT 'default privileges',
       concat_ws(' ', defaclrole::regrole, defaclnamespace::regnamespace, defaclobjtype),
       privileges(defaclacl)
FROM pg_default_acl
"""

HELPERS = """
CREATE FUNCTION pg_temp.privileges(acl aclitem[]) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(string_agg(item::text, ',' ORDER BY item::text), '') FROM unnest(acl) AS item $$;
CREATE TEMPORARY VIEW ours_namespace AS
SELECT * FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema)'
"""


def picture(connection: Connection) -> set[tuple[str, str, str]]:
    """Kind, name and definition of everything that is not PostgreSQL's own."""
    with connection.transaction(force_rollback=True):
        connection.execute(HELPERS)
        rows = connection.execute(PICTURE.replace("privileges(", "pg_temp.privileges(")).fetchall()
    return {(kind, name, definition) for kind, name, definition in rows}
