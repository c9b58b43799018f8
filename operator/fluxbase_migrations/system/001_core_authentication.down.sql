-- Undoes 001, roles included where nobody needs them any more.
--
-- Nothing is dropped with CASCADE: if the application's own tables refer to auth.app_users or its policies to
-- auth.role(), this fails and changes nothing. Roll the application's migrations back first.

DROP TABLE auth.audit_log;
DROP TABLE auth.api_keys;
DROP TABLE auth.mfa_factors;
DROP TABLE auth.one_time_tokens;
DROP TABLE auth.refresh_tokens;
DROP TABLE auth.sessions;
DROP TABLE auth.password_credentials;
DROP TABLE auth.app_users;

DROP FUNCTION auth.touch_updated_at();
DROP FUNCTION auth.current_user_role();
DROP FUNCTION auth.current_user_id();
DROP FUNCTION auth.role();
DROP FUNCTION auth.uid();
DROP FUNCTION auth.jwt();

-- What 001 gave and took outside of its schema, and only that: what was there before stays.
DO $$
DECLARE
    done record;
BEGIN
    FOR done IN SELECT * FROM auth.setup_changes LOOP
        CASE
            WHEN done.object IN ('tables', 'sequences', 'functions') THEN
                EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public REVOKE %s ON %s FROM %I',
                               done.privilege, done.object, done.grantee);
            WHEN done.object = 'all functions' THEN
                ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;
            WHEN done.object = 'database' THEN
                EXECUTE format('GRANT CONNECT ON DATABASE %I TO PUBLIC', current_database());
            WHEN done.change = 'revoke' THEN
                GRANT CREATE ON SCHEMA public TO PUBLIC;
            ELSE
                EXECUTE format('REVOKE USAGE ON SCHEMA public FROM %I', done.grantee);
        END CASE;
    END LOOP;
END
$$;

DROP TABLE auth.setup_changes;
DROP SCHEMA auth;

-- A role goes only if 001 made it, in this database or another one, and nothing on the whole server depends on it.
-- The order is that of 001, see there.
DO $$
DECLARE
    role_name text;
    why       text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        FOR attempt IN 1..20 LOOP
            BEGIN
                IF shobj_description(to_regrole(role_name), 'pg_authid') = 'Fluxbase: made by system migration 1' THEN
                    EXECUTE format('DROP ROLE %I', role_name);
                END IF;
                EXIT;
            EXCEPTION
                WHEN undefined_object THEN
                    EXIT;
                WHEN dependent_objects_still_exist THEN
                    GET STACKED DIAGNOSTICS why = PG_EXCEPTION_DETAIL;
                    RAISE NOTICE 'role "%" stays: something on this server still depends on it', role_name
                        USING DETAIL = why;
                    EXIT;
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role "%" stays: "%" may not drop it', role_name, current_user
                        USING HINT = 'Somebody else has made it, for this or another database.';
                    EXIT;
                WHEN internal_error THEN
                    IF attempt = 20 OR SQLERRM NOT LIKE 'tuple concurrently %' THEN
                        RAISE;
                    END IF;
            END;
        END LOOP;
    END LOOP;
END
$$;
