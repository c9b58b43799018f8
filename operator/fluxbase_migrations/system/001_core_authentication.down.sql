-- Undoes 001, roles included where nobody needs them any more.
--
-- Nothing is dropped with CASCADE: if the application's own tables refer to auth.app_users or its policies to
-- auth.role(), this fails and changes nothing. Roll the application's migrations back first.

DROP TABLE auth.refresh_tokens;
DROP TABLE auth.sessions;
DROP TABLE auth.password_credentials;
DROP TABLE auth.app_users;

DROP FUNCTION auth.touch_updated_at();
DROP FUNCTION auth.role();
DROP FUNCTION auth.uid();
DROP FUNCTION auth.jwt();

DROP SCHEMA auth;

ALTER DEFAULT PRIVILEGES IN SCHEMA public
    REVOKE SELECT, INSERT, UPDATE, DELETE ON TABLES FROM authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    REVOKE USAGE, SELECT ON SEQUENCES FROM authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    REVOKE EXECUTE ON FUNCTIONS FROM authenticated, service_role;

DO $$
BEGIN
    IF has_schema_privilege(current_user, 'public', 'USAGE WITH GRANT OPTION') THEN
        REVOKE USAGE ON SCHEMA public FROM anon, authenticated, service_role;
    END IF;
END
$$;

-- A role goes only when nothing on the whole server depends on it. The order is that of 001, see there.
DO $$
DECLARE
    role_name text;
    why       text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        FOR attempt IN 1..20 LOOP
            BEGIN
                IF to_regrole(role_name) IS NOT NULL THEN
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
