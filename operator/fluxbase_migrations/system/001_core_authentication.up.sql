-- Core authentication: the platform's roles, the schema auth, users and their sessions, the functions that
-- policies ask who is calling, and default privileges for the application's tables in public.
--
-- Needs a login that may create schemas in this database and roles on this server (CREATEROLE, unless the three
-- roles are there already). No superuser.

CREATE SCHEMA auth;
COMMENT ON SCHEMA auth IS 'Fluxbase: users, sessions, sign-in, and who is calling';


-- Roles ---------------------------------------------------------------------------------------------------

-- Roles belong to the whole server, so another database's migration may be making, granting or dropping the same
-- ones at this moment, and no lock of one database is seen by the other. Every step is therefore tried and looked
-- at again. Each error that is caught comes after the other transaction has ended, so that trying again at once
-- finds a settled state. All databases go through the roles in this order, which rules out deadlocks.
DO $$
DECLARE
    role_name    text;
    role_is_ours boolean;
    may_set_role text := CASE WHEN current_setting('server_version_num')::integer >= 160000
                              THEN 'SET' ELSE 'MEMBER' END;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        role_is_ours := false;

        FOR attempt IN 1..20 LOOP
            BEGIN
                IF to_regrole(role_name) IS NULL THEN
                    EXECUTE format('CREATE ROLE %I NOLOGIN NOINHERIT', role_name);
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
                              HINT = format('As an administrator: ALTER ROLE %I CREATEROLE, or CREATE ROLE %I '
                                            'NOLOGIN NOINHERIT.', current_user, role_name);
            END;
        END LOOP;

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

        -- The application connects with this login and takes on one of the roles for each request.
        FOR attempt IN 1..20 LOOP
            BEGIN
                -- Since PostgreSQL 16 a role's maker is a member of it, but not one who may SET ROLE to it.
                IF NOT pg_has_role(current_user, role_name, may_set_role) THEN
                    EXECUTE format('GRANT %I TO CURRENT_USER', role_name);
                END IF;
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
                WHEN insufficient_privilege THEN
                    RAISE NOTICE '"%" may not grant itself role "%", which somebody else has made',
                                 current_user, role_name
                        USING DETAIL = 'Migrations do not need it. An application that connects with this login '
                                       'and uses SET ROLE does.',
                              HINT = format('As an administrator: GRANT %I TO %I.', role_name, current_user);
                    EXIT;
            END;
        END LOOP;
    END LOOP;
END
$$;


-- The application's tables in public ----------------------------------------------------------------------

-- Everybody has USAGE on public unless an administrator took it away. A grant of our own outlasts that, but only
-- the schema's owner can make it; for anybody else GRANT would be a warning without effect.
DO $$
DECLARE
    role_name text;
BEGIN
    FOREACH role_name IN ARRAY ARRAY['anon', 'authenticated', 'service_role'] LOOP
        IF has_schema_privilege(current_user, 'public', 'USAGE WITH GRANT OPTION') THEN
            EXECUTE format('GRANT USAGE ON SCHEMA public TO %I', role_name);
        ELSIF NOT has_schema_privilege(role_name, 'public', 'USAGE') THEN
            RAISE NOTICE 'role "%" has no USAGE on schema public, and "%" may not grant it', role_name, current_user
                USING HINT = format('As the schema''s owner: GRANT USAGE ON SCHEMA public TO %I.', role_name);
        END IF;
    END LOOP;
END
$$;

-- These apply to what this login creates in public from now on, and to nobody else's tables. A policy can only
-- narrow what a privilege allows: without the privilege nobody could use a table that has only policies.
-- anon gets nothing, because a table on which row-level security was forgotten would be open to the world.
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT USAGE, SELECT ON SEQUENCES TO authenticated, service_role;
ALTER DEFAULT PRIVILEGES IN SCHEMA public
    GRANT EXECUTE ON FUNCTIONS TO authenticated, service_role;


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

-- With claims only they count: a token that names no role has none, whatever the connection's own user is called.
CREATE FUNCTION auth.role() RETURNS text
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN CASE WHEN auth.jwt() IS NULL THEN current_user::text ELSE nullif(auth.jwt() ->> 'role', '') END;
COMMENT ON FUNCTION auth.role() IS
    'The caller''s role: the claim role, null if the claims have none; without any claims the database role';


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
    avatar_url         text        CONSTRAINT app_users_avatar_url_length CHECK (length(avatar_url) <= 2048),
    role               text        NOT NULL DEFAULT 'authenticated'
                                   CONSTRAINT app_users_role_form CHECK (role ~ '^[a-z][a-z0-9_]{0,62}$'),
    app_metadata       jsonb       NOT NULL DEFAULT '{}'
                                   CONSTRAINT app_users_app_metadata_object
                                   CHECK (jsonb_typeof(app_metadata) = 'object'),
    user_metadata      jsonb       NOT NULL DEFAULT '{}'
                                   CONSTRAINT app_users_user_metadata_object
                                   CHECK (jsonb_typeof(user_metadata) = 'object'),
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
    CONSTRAINT refresh_tokens_expire_later CHECK (expires_at > created_at)
);
COMMENT ON TABLE auth.refresh_tokens IS 'One-time tokens that prolong a session; each use makes the next one';
COMMENT ON COLUMN auth.refresh_tokens.token_hash IS 'SHA-256 of the token, which is stored nowhere';
COMMENT ON COLUMN auth.refresh_tokens.parent_id IS
    'The token this one replaced: a used one that comes again was stolen';
CREATE INDEX refresh_tokens_session_id_idx ON auth.refresh_tokens (session_id);
CREATE INDEX refresh_tokens_parent_id_idx ON auth.refresh_tokens (parent_id);
CREATE INDEX refresh_tokens_expires_at_idx ON auth.refresh_tokens (expires_at);

-- Closed to everybody but the owner until 003 says who may see what.
ALTER TABLE auth.app_users ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.password_credentials ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.refresh_tokens ENABLE ROW LEVEL SECURITY;
