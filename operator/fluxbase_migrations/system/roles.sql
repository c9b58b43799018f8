-- The platform's three roles, made once on each server, by an administrator: a superuser, or a login with CREATEROLE
-- and BYPASSRLS. After this the login that migrates needs no CREATEROLE. May be run again.

DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF to_regrole(role_name) IS NULL THEN
            EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
        ELSIF shobj_description(to_regrole(role_name), 'pg_authid') = 'Fluxbase: made by system migration 1' THEN
            -- From now on it is the administrator's: rolling a database back no longer drops it.
            EXECUTE format('COMMENT ON ROLE %I IS NULL', role_name);
        END IF;
    END LOOP;
END
$$;

-- It passes by row-level security, as the platform's own processes must in the application's tables.
ALTER ROLE service_role BYPASSRLS;
