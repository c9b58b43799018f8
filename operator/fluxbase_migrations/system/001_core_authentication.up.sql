-- Core authentication: the platform's roles, the schema auth, users and their sessions, the functions that
-- policies ask who is calling, and default privileges for the application's tables in public.
--
-- Needs a login that may create schemas in this database, and the three roles; a login with CREATEROLE makes those
-- that are missing. No superuser.

DO $$
BEGIN
    IF to_regnamespace('public') IS NULL THEN
        RAISE EXCEPTION 'schema "public" does not exist in database "%"', current_database()
            USING ERRCODE = 'invalid_schema_name',
                  DETAIL = 'The application''s tables belong there.',
                  HINT = 'CREATE SCHEMA public;';
    END IF;
END
$$;

CREATE SCHEMA auth;
COMMENT ON SCHEMA auth IS 'Fluxbase: users, sessions, sign-in, and who is calling';

-- What this file finds and changes outside of its own schema, so that the down file undoes that and nothing else.
CREATE TABLE auth.setup_changes (
    change    text NOT NULL CONSTRAINT setup_changes_change_known CHECK (change IN ('grant', 'revoke')),
    object    text NOT NULL CONSTRAINT setup_changes_object_known
              CHECK (object IN ('database', 'schema', 'tables', 'sequences', 'functions', 'all functions')),
    privilege text NOT NULL CONSTRAINT setup_changes_privilege_known
              CHECK (privilege IN ('SELECT', 'INSERT', 'UPDATE', 'DELETE', 'USAGE', 'EXECUTE', 'CREATE', 'CONNECT')),
    grantee   text NOT NULL CONSTRAINT setup_changes_grantee_known
              CHECK (grantee IN ('anon', 'authenticated', 'service_role', 'PUBLIC')),
    PRIMARY KEY (object, privilege, grantee)
);
COMMENT ON TABLE auth.setup_changes IS
    'Privileges of this database, of schema public and by default that migration 1 gave or took';
ALTER TABLE auth.setup_changes ENABLE ROW LEVEL SECURITY;


-- Roles ---------------------------------------------------------------------------------------------------

-- Roles belong to the whole server, so another database's migration may be making, granting or dropping the same
-- ones at this moment, and no lock of one database is seen by the other. Every step is therefore tried and looked
-- at again. Each error that is caught comes after the other transaction has ended, so that trying again at once
-- finds a settled state. All databases go through the roles in this order, which rules out deadlocks.
DO $$
DECLARE
    role_name          text;
    role_is_ours       boolean;
    too_much           text;
    login_is_superuser boolean := (SELECT rolsuper FROM pg_catalog.pg_roles WHERE rolname = current_user);
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        role_is_ours := false;

        FOR attempt IN 1..20 LOOP
            BEGIN
                IF to_regrole(role_name) IS NULL THEN
                    EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
                    -- The down file of whichever database is the last drops a role with this comment, and no other.
                    EXECUTE format('COMMENT ON ROLE %I IS %L', role_name, 'Fluxbase: made by system migration 1');
                    role_is_ours := true;
                END IF;
                -- A role that this database's privileges name can no longer be dropped by another's migration.
                EXECUTE format('GRANT USAGE ON SCHEMA auth TO %I', role_name);
                EXIT;
            EXCEPTION
                WHEN duplicate_object OR unique_violation OR undefined_object THEN
                    -- Made, or dropped, by another database since we looked.
                    role_is_ours := false;
                    IF attempt = 20 THEN
                        RAISE;
                    END IF;
                WHEN internal_error THEN
                    role_is_ours := false;
                    IF attempt = 20 OR SQLERRM NOT LIKE 'tuple concurrently %' THEN
                        RAISE;
                    END IF;
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role "%" does not exist and "%" may not create it', role_name, current_user
                        USING ERRCODE = 'insufficient_privilege',
                              HINT = 'As an administrator run what "fluxbase-migrate system roles --sql" prints.';
            END;
        END LOOP;

        -- A request runs as anon or authenticated: with any of these, privileges and policies would not bind it.
        SELECT string_agg(item, ', ' ORDER BY item) INTO too_much
        FROM (
            SELECT attribute
            FROM pg_catalog.pg_roles,
                 LATERAL (VALUES ('SUPERUSER', rolsuper), ('LOGIN', rolcanlogin), ('CREATEROLE', rolcreaterole),
                                 ('CREATEDB', rolcreatedb), ('REPLICATION', rolreplication),
                                 ('BYPASSRLS', rolbypassrls AND role_name <> 'service_role')) AS a (attribute, has)
            WHERE rolname = role_name AND has
            UNION ALL
            SELECT format('membership of "%s"', g.rolname)
            FROM pg_catalog.pg_auth_members AS m
            JOIN pg_catalog.pg_roles AS r ON r.oid = m.member
            JOIN pg_catalog.pg_roles AS g ON g.oid = m.roleid
            WHERE r.rolname = role_name AND g.rolname NOT IN ('anon', 'authenticated')
        ) AS found (item);
        IF too_much IS NULL THEN
            NULL;
        ELSIF role_name = 'service_role' THEN
            RAISE WARNING 'role "service_role" exists with more rights than it needs: %', too_much
                USING HINT = 'As an administrator take them away with ALTER ROLE and REVOKE.';
        ELSE
            RAISE EXCEPTION 'role "%" exists with rights that no request may have: %', role_name, too_much
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      DETAIL = 'Requests of users would pass by privileges and row-level security.',
                      HINT = 'As an administrator take them away with ALTER ROLE and REVOKE.';
        END IF;

        -- Only for a role made here: whether one that was there before may pass by every policy of every database
        -- of this server is its maker's decision.
        IF role_name = 'service_role' AND role_is_ours THEN
            BEGIN
                ALTER ROLE service_role BYPASSRLS;
            EXCEPTION
                -- Before PostgreSQL 16 only a superuser may; since then only somebody who has BYPASSRLS as well.
                WHEN insufficient_privilege THEN
                    RAISE NOTICE 'role "service_role" is made without BYPASSRLS: "%" may not grant it', current_user
                        USING DETAIL = 'Row-level security applies to service_role. The platform''s own tables have '
                                       'policies for it; the application''s tables need one each.',
                              HINT = 'As a superuser: ALTER ROLE service_role BYPASSRLS.';
            END;
        END IF;

        -- Migrations need no membership. Whoever makes the roles gets it, so that one login can do everything; with
        -- SET ROLE and, where the server knows the difference, without having the role's rights all the time.
        IF role_is_ours AND NOT login_is_superuser THEN
            FOR attempt IN 1..20 LOOP
                BEGIN
                    EXECUTE format('GRANT %I TO CURRENT_USER', role_name)
                            || CASE WHEN current_setting('server_version_num')::integer >= 160000
                                    THEN ' WITH INHERIT FALSE, SET TRUE' ELSE '' END;
                    EXIT;
                EXCEPTION
                    WHEN duplicate_object OR unique_violation THEN
                        IF attempt = 20 THEN
                            RAISE;
                        END IF;
                    WHEN internal_error THEN
                        IF attempt = 20 OR SQLERRM NOT LIKE 'tuple concurrently %' THEN
                            RAISE;
                        END IF;
                END;
            END LOOP;
        END IF;
    END LOOP;

    -- service_role has all rights in every platform database of the server.
    IF pg_has_role(current_user, 'service_role', 'USAGE') AND NOT login_is_superuser THEN
        RAISE WARNING '"%" has the rights of "service_role" in every database that it can connect to', current_user
            USING HINT = CASE WHEN current_setting('server_version_num')::integer >= 160000
                THEN format('As an administrator: GRANT service_role TO %I WITH INHERIT FALSE.', current_user)
                ELSE format('Give the application a login of its own ("fluxbase-migrate system roles --sql"); then, '
                            'as an administrator: REVOKE anon, authenticated, service_role FROM %I.', current_user)
                END;
    END IF;
END
$$;


-- This database and schema public ---------------------------------------------------------------------------

-- The roles are the same in every database of the server, so a neighbour's login may well be a member of them.
-- What keeps it out is that it cannot connect.
DO $$
BEGIN
    IF NOT EXISTS (
        SELECT FROM pg_catalog.pg_database, aclexplode(coalesce(datacl, acldefault('d', datdba)))
        WHERE datname = current_database() AND grantee = 0 AND privilege_type = 'CONNECT'
    ) THEN
        RETURN;
    END IF;
    IF pg_has_role(current_user, (SELECT datdba FROM pg_catalog.pg_database WHERE datname = current_database()),
                   'USAGE') THEN
        EXECUTE format('REVOKE CONNECT ON DATABASE %I FROM PUBLIC', current_database());
        INSERT INTO auth.setup_changes VALUES ('revoke', 'database', 'CONNECT', 'PUBLIC');
        RAISE NOTICE 'CONNECT on database "%" is revoked from PUBLIC', current_database()
            USING HINT = format('For each other login that needs it: GRANT CONNECT ON DATABASE %I TO name.',
                                current_database());
    ELSE
        RAISE WARNING 'every login of this server can connect to database "%"', current_database()
            USING DETAIL = 'A member of "service_role" reads and changes everything of the platform here.',
                  HINT = format('As the database''s owner: REVOKE CONNECT ON DATABASE %I FROM PUBLIC.',
                                current_database());
    END IF;
END
$$;

-- Whoever may create in public can put a function of his own where a better-ranking role will call it. Up to
-- PostgreSQL 14, and in databases that come from there, everybody may.
DO $$
DECLARE
    role_name text;
BEGIN
    IF EXISTS (
        SELECT FROM pg_catalog.pg_namespace, aclexplode(coalesce(nspacl, acldefault('n', nspowner)))
        WHERE nspname = 'public' AND grantee = 0 AND privilege_type = 'CREATE'
    ) THEN
        IF NOT pg_has_role(current_user,
                           (SELECT nspowner FROM pg_catalog.pg_namespace WHERE nspname = 'public'), 'USAGE') THEN
            RAISE EXCEPTION 'everybody may create objects in schema "public", and "%" may not revoke that',
                            current_user
                USING ERRCODE = 'insufficient_privilege',
                      DETAIL = 'Users of the application could make functions that others call by mistake.',
                      HINT = format('As an administrator, in database "%s": ALTER SCHEMA public OWNER TO %I, '
                                    'or REVOKE CREATE ON SCHEMA public FROM PUBLIC and GRANT CREATE ON SCHEMA '
                                    'public TO %I.', current_database(), current_user, current_user);
        END IF;
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
        INSERT INTO auth.setup_changes VALUES ('revoke', 'schema', 'CREATE', 'PUBLIC');
    END IF;
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated'] LOOP
        IF has_schema_privilege(role_name, 'public', 'CREATE') THEN
            RAISE EXCEPTION 'role "%" may create objects in schema "public"', role_name
                USING ERRCODE = 'object_not_in_prerequisite_state',
                      HINT = format('As the schema''s owner: REVOKE CREATE ON SCHEMA public FROM %I.', role_name);
        END IF;
    END LOOP;
END
$$;

-- Everybody has USAGE on public unless an administrator took it away. A grant of our own outlasts that, but only
-- the schema's owner can make it; for anybody else GRANT would be a warning without effect.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF has_schema_privilege(current_user, 'public', 'USAGE WITH GRANT OPTION') THEN
            IF NOT EXISTS (
                SELECT FROM pg_catalog.pg_namespace, aclexplode(nspacl)
                WHERE nspname = 'public' AND grantee = to_regrole(role_name) AND privilege_type = 'USAGE'
            ) THEN
                EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role_name);
                INSERT INTO auth.setup_changes VALUES ('grant', 'schema', 'USAGE', role_name);
            END IF;
        ELSIF NOT has_schema_privilege(role_name, 'public', 'USAGE') THEN
            RAISE NOTICE 'role "%" has no USAGE on schema public, and "%" may not grant it', role_name, current_user
                USING HINT = format('As the schema''s owner: GRANT USAGE ON SCHEMA public TO %I.', role_name);
        END IF;
    END LOOP;
END
$$;

-- These apply to what this login creates from now on, and to nobody else's tables. A policy can only narrow what a
-- privilege allows: without the privilege nobody could use a table that has only policies. anon gets nothing,
-- because a table on which row-level security was forgotten would be open to the world.
--
-- PostgreSQL lets everybody execute a new function, anon included. What is given to PUBLIC everywhere cannot be
-- taken away in one schema, hence for all that this login creates in this database.
DO $$
DECLARE
    wanted record;
BEGIN
    FOR wanted IN
        SELECT r.grantee, p.object, p.privilege, p.object_type
        FROM unnest(ARRAY['authenticated', 'service_role']) AS r (grantee),
             (VALUES ('tables', 'SELECT', 'r'), ('tables', 'INSERT', 'r'), ('tables', 'UPDATE', 'r'),
                     ('tables', 'DELETE', 'r'), ('sequences', 'USAGE', 'S'), ('sequences', 'SELECT', 'S'),
                     ('functions', 'EXECUTE', 'f')) AS p (object, privilege, object_type)
    LOOP
        IF NOT EXISTS (
            SELECT FROM pg_catalog.pg_default_acl, aclexplode(defaclacl) AS given
            WHERE defaclrole = to_regrole(quote_ident(current_user))
              AND defaclnamespace = 'public'::regnamespace
              AND defaclobjtype = wanted.object_type::"char"
              AND given.grantee = to_regrole(wanted.grantee)
              AND given.privilege_type = wanted.privilege
        ) THEN
            EXECUTE format('ALTER DEFAULT PRIVILEGES IN SCHEMA public GRANT %s ON %s TO %I',
                           wanted.privilege, wanted.object, wanted.grantee);
            INSERT INTO auth.setup_changes VALUES ('grant', wanted.object, wanted.privilege, wanted.grantee);
        END IF;
    END LOOP;

    IF EXISTS (
        SELECT FROM aclexplode(coalesce(
            (SELECT defaclacl FROM pg_catalog.pg_default_acl
             WHERE defaclrole = to_regrole(quote_ident(current_user)) AND defaclnamespace = 0
               AND defaclobjtype = 'f'),
            acldefault('f', to_regrole(quote_ident(current_user)))))
        WHERE grantee = 0 AND privilege_type = 'EXECUTE'
    ) THEN
        ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
        INSERT INTO auth.setup_changes VALUES ('revoke', 'all functions', 'EXECUTE', 'PUBLIC');
    END IF;
END
$$;


-- Who is calling ------------------------------------------------------------------------------------------

-- The bodies are parsed here and now, so no caller's search_path can change what they mean, and the planner can
-- still inline them into a policy. Everybody may execute them: they tell a session only what it has set itself,
-- and a policy that applies to PUBLIC calls them as whoever asks.

-- Claims come as one JSON document, or one setting a claim as older gateways send them. Never from both: that
-- would be somebody's identity with somebody else's role. Claims that are not JSON are an error (22P02), so that
-- a broken gateway is noticed rather than taken for a stranger.
CREATE FUNCTION auth.jwt() RETURNS jsonb
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(
        nullif(current_setting('request.jwt.claims', true), '')::jsonb,
        nullif(
            jsonb_strip_nulls(jsonb_build_object(
                'sub', nullif(current_setting('request.jwt.claim.sub', true), ''),
                'role', nullif(current_setting('request.jwt.claim.role', true), ''),
                'email', nullif(current_setting('request.jwt.claim.email', true), ''),
                'aud', nullif(current_setting('request.jwt.claim.aud', true), ''),
                'iss', nullif(current_setting('request.jwt.claim.iss', true), '')
            )),
            '{}'::jsonb
        )
    );
COMMENT ON FUNCTION auth.jwt() IS
    'The request''s claims: request.jwt.claims, else request.jwt.claim.{sub,role,email,aud,iss}; null without';

CREATE FUNCTION auth.uid() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN nullif(auth.jwt() ->> 'sub', '')::uuid;
COMMENT ON FUNCTION auth.uid() IS
    'The caller''s auth.app_users.id: the claim sub; null without one, error 22P02 if it is no UUID';

-- From the claims alone, whatever the connection's own user is called: inside a SECURITY DEFINER function that is
-- the function's owner. A token that names no role has none.
CREATE FUNCTION auth.role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN auth.jwt() IS NULL THEN 'anon' ELSE nullif(auth.jwt() ->> 'role', '') END;
COMMENT ON FUNCTION auth.role() IS
    'The caller''s role: the claim role, null if the claims have none; without any claims anon';

-- The names that Fluxbase's own schema has for the same.
CREATE FUNCTION auth.current_user_id() RETURNS uuid
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN auth.uid();
COMMENT ON FUNCTION auth.current_user_id() IS 'auth.uid() by its other name';

CREATE FUNCTION auth.current_user_role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN auth.role();
COMMENT ON FUNCTION auth.current_user_role() IS 'auth.role() by its other name';

GRANT EXECUTE ON FUNCTION
    auth.jwt(), auth.uid(), auth.role(), auth.current_user_id(), auth.current_user_role() TO PUBLIC;


-- Users and sessions --------------------------------------------------------------------------------------

CREATE FUNCTION auth.touch_updated_at() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
BEGIN
    NEW.updated_at := pg_catalog.now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION auth.touch_updated_at() IS 'Trigger: keeps updated_at of the platform''s tables';
REVOKE EXECUTE ON FUNCTION auth.touch_updated_at() FROM PUBLIC;

CREATE TABLE auth.app_users (
    id                 uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    email              text        CONSTRAINT app_users_email_form
                                   CHECK (email ~ '^[^@[:space:]]+@[^@[:space:]]+$' AND length(email) <= 320),
    email_confirmed_at timestamptz,
    display_name       text        CONSTRAINT app_users_display_name_length CHECK (length(display_name) <= 200),
    avatar_url         text        CONSTRAINT app_users_avatar_url_form
                                   CHECK (avatar_url ~ '^https?://[^[:space:]]+$' AND length(avatar_url) <= 2048),
    role               text        NOT NULL DEFAULT 'authenticated'
                                   CONSTRAINT app_users_role_form CHECK (role ~ '^[a-z][a-z0-9_]{0,62}$'),
    app_metadata       jsonb       NOT NULL DEFAULT '{}'
                                   CONSTRAINT app_users_app_metadata_object
                                   CHECK (jsonb_typeof(app_metadata) = 'object'
                                          AND octet_length(app_metadata::text) <= 65536),
    user_metadata      jsonb       NOT NULL DEFAULT '{}'
                                   CONSTRAINT app_users_user_metadata_object
                                   CHECK (jsonb_typeof(user_metadata) = 'object'
                                          AND octet_length(user_metadata::text) <= 65536),
    disabled_at        timestamptz,
    last_sign_in_at    timestamptz,
    created_at         timestamptz NOT NULL DEFAULT now(),
    updated_at         timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT app_users_confirmed_address CHECK (email_confirmed_at IS NULL OR email IS NOT NULL)
);
COMMENT ON TABLE auth.app_users IS 'People who can sign in to the application';
COMMENT ON COLUMN auth.app_users.email IS 'Null for somebody whose identity provider does not tell it';
COMMENT ON COLUMN auth.app_users.role IS 'The claim role of this user''s tokens, what auth.role() returns';
COMMENT ON COLUMN auth.app_users.app_metadata IS 'Written by the platform and the application only';
COMMENT ON COLUMN auth.app_users.user_metadata IS 'Written by the user: never a basis for a permission';
CREATE UNIQUE INDEX app_users_email_key ON auth.app_users (lower(email));
CREATE INDEX app_users_created_at_idx ON auth.app_users (created_at);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON auth.app_users
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

-- Apart from app_users, so that no grant on a user's row can ever include it.
CREATE TABLE auth.password_credentials (
    user_id       uuid        PRIMARY KEY REFERENCES auth.app_users (id) ON DELETE CASCADE,
    password_hash text        NOT NULL CONSTRAINT password_credentials_hash_form CHECK (password_hash LIKE '$%'),
    created_at    timestamptz NOT NULL DEFAULT now(),
    updated_at    timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE auth.password_credentials IS 'Passwords of users who sign in with one';
COMMENT ON COLUMN auth.password_credentials.password_hash IS
    'In modular crypt format: algorithm, parameters, salt, hash';
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON auth.password_credentials
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE auth.sessions (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      uuid        NOT NULL REFERENCES auth.app_users (id) ON DELETE CASCADE,
    user_agent   text        CONSTRAINT sessions_user_agent_length CHECK (length(user_agent) <= 1024),
    ip_address   inet,
    created_at   timestamptz NOT NULL DEFAULT now(),
    last_seen_at timestamptz NOT NULL DEFAULT now(),
    expires_at   timestamptz NOT NULL,
    revoked_at   timestamptz,
    CONSTRAINT sessions_expire_later CHECK (expires_at > created_at)
);
COMMENT ON TABLE auth.sessions IS 'Sign-ins, one for each device';
CREATE INDEX sessions_user_id_idx ON auth.sessions (user_id);
CREATE INDEX sessions_expires_at_idx ON auth.sessions (expires_at);

CREATE TABLE auth.refresh_tokens (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    session_id uuid        NOT NULL REFERENCES auth.sessions (id) ON DELETE CASCADE,
    parent_id  uuid        REFERENCES auth.refresh_tokens (id) ON DELETE SET NULL,
    token_hash bytea       NOT NULL CONSTRAINT refresh_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    revoked_at timestamptz,
    CONSTRAINT refresh_tokens_token_hash_key UNIQUE (token_hash),
    -- Of two requests that use one token at the same moment, one cannot go on.
    CONSTRAINT refresh_tokens_parent_id_key UNIQUE (parent_id),
    CONSTRAINT refresh_tokens_expire_later CHECK (expires_at > created_at)
);
COMMENT ON TABLE auth.refresh_tokens IS 'One-time tokens that prolong a session; each use makes the next one';
COMMENT ON COLUMN auth.refresh_tokens.token_hash IS 'SHA-256 of the token, which is stored nowhere';
COMMENT ON COLUMN auth.refresh_tokens.parent_id IS
    'The token this one replaced: a used one that comes again was stolen';
CREATE INDEX refresh_tokens_session_id_idx ON auth.refresh_tokens (session_id);
CREATE INDEX refresh_tokens_expires_at_idx ON auth.refresh_tokens (expires_at);

CREATE TABLE auth.one_time_tokens (
    id         uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id    uuid        NOT NULL REFERENCES auth.app_users (id) ON DELETE CASCADE,
    purpose    text        NOT NULL CONSTRAINT one_time_tokens_purpose_known
                           CHECK (purpose IN ('confirm_email', 'change_email', 'reset_password', 'magic_link')),
    email      text        NOT NULL CONSTRAINT one_time_tokens_email_length CHECK (length(email) <= 320),
    token_hash bytea       NOT NULL CONSTRAINT one_time_tokens_hash_length CHECK (octet_length(token_hash) = 32),
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    used_at    timestamptz,
    CONSTRAINT one_time_tokens_token_hash_key UNIQUE (token_hash),
    CONSTRAINT one_time_tokens_expire_soon
        CHECK (expires_at > created_at AND expires_at <= created_at + interval '7 days')
);
COMMENT ON TABLE auth.one_time_tokens IS 'Links that were sent to confirm an address, reset a password or sign in';
COMMENT ON COLUMN auth.one_time_tokens.email IS 'Where it was sent; for change_email the address to be';
COMMENT ON COLUMN auth.one_time_tokens.token_hash IS 'SHA-256 of the token, which is stored nowhere';
CREATE INDEX one_time_tokens_user_id_idx ON auth.one_time_tokens (user_id);
CREATE INDEX one_time_tokens_expires_at_idx ON auth.one_time_tokens (expires_at);

CREATE TABLE auth.mfa_factors (
    id               uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id          uuid        NOT NULL REFERENCES auth.app_users (id) ON DELETE CASCADE,
    kind             text        NOT NULL CONSTRAINT mfa_factors_kind_known
                                 CHECK (kind IN ('totp', 'webauthn', 'recovery_codes')),
    name             text        NOT NULL CONSTRAINT mfa_factors_name_length CHECK (length(name) BETWEEN 1 AND 200),
    secret_encrypted bytea       NOT NULL,
    counter          bigint      NOT NULL DEFAULT 0,
    confirmed_at     timestamptz,
    last_used_at     timestamptz,
    created_at       timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT mfa_factors_user_name_key UNIQUE (user_id, name)
);
COMMENT ON TABLE auth.mfa_factors IS 'Second factors of users';
COMMENT ON COLUMN auth.mfa_factors.secret_encrypted IS 'The key is not in this database';
COMMENT ON COLUMN auth.mfa_factors.counter IS
    'The last time step or signature counter that was accepted: only a higher one is';
COMMENT ON COLUMN auth.mfa_factors.confirmed_at IS 'Null until the user has shown once that it works';

CREATE TABLE auth.api_keys (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id      uuid        REFERENCES auth.app_users (id) ON DELETE CASCADE,
    name         text        NOT NULL CONSTRAINT api_keys_name_length CHECK (length(name) BETWEEN 1 AND 200),
    prefix       text        NOT NULL CONSTRAINT api_keys_prefix_form CHECK (prefix ~ '^[A-Za-z0-9_]{1,12}$'),
    key_hash     bytea       NOT NULL CONSTRAINT api_keys_hash_length CHECK (octet_length(key_hash) = 32),
    scopes       text[]      NOT NULL DEFAULT '{}',
    expires_at   timestamptz,
    revoked_at   timestamptz,
    last_used_at timestamptz,
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT api_keys_key_hash_key UNIQUE (key_hash)
);
COMMENT ON TABLE auth.api_keys IS 'Keys with which programs call, for a user or for the application itself';
COMMENT ON COLUMN auth.api_keys.prefix IS 'How the key begins, so that its owner can tell it from others';
COMMENT ON COLUMN auth.api_keys.key_hash IS 'SHA-256 of the key, which is stored nowhere: it has to be random';
CREATE INDEX api_keys_user_id_idx ON auth.api_keys (user_id);

-- No foreign key: an entry outlives whoever it is about.
CREATE TABLE auth.audit_log (
    id          bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_at timestamptz NOT NULL DEFAULT now(),
    actor_id    uuid,
    action      text        NOT NULL CONSTRAINT audit_log_action_form CHECK (action ~ '^[a-z][a-z0-9_.]{0,99}$'),
    subject     text        CONSTRAINT audit_log_subject_length CHECK (length(subject) <= 1000),
    ip_address  inet,
    details     jsonb       NOT NULL DEFAULT '{}'
                            CONSTRAINT audit_log_details_object
                            CHECK (jsonb_typeof(details) = 'object' AND octet_length(details::text) <= 65536)
);
COMMENT ON TABLE auth.audit_log IS 'Who did what. The service may add entries, and nobody but the owner remove them';
COMMENT ON COLUMN auth.audit_log.action IS 'Like user.sign_in';
CREATE INDEX audit_log_actor_id_idx ON auth.audit_log (actor_id, occurred_at);
CREATE INDEX audit_log_occurred_at_idx ON auth.audit_log (occurred_at);

-- Closed to everybody but the owner until 003 says who may see what.
ALTER TABLE auth.app_users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.password_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.one_time_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.mfa_factors ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.audit_log ENABLE ROW LEVEL SECURITY;
