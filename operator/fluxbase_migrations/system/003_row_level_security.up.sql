-- Row-level security of the authentication tables: privileges say which tables and columns a role may touch at
-- all, policies say which rows.
--
-- Passwords, secrets, tokens and flows are for service_role alone. It has a policy on every table although it is
-- meant to bypass them: where 001 could not give it BYPASSRLS, the platform works all the same.
-- (SELECT auth.uid()) is evaluated once for a query, auth.uid() once for a row.

CREATE FUNCTION auth.is_admin() RETURNS boolean
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN coalesce(auth.role() = 'admin', false);
COMMENT ON FUNCTION auth.is_admin() IS 'Whether the caller''s role is admin; never null';
GRANT EXECUTE ON FUNCTION auth.is_admin() TO PUBLIC;


-- Users

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.app_users TO service_role;
GRANT SELECT ON auth.app_users TO authenticated;
-- Not the role, the address or the metadata that permissions may rest on: those go through the platform.
GRANT UPDATE (display_name, avatar_url, user_metadata) ON auth.app_users TO authenticated;

CREATE POLICY "Users can read themselves"
    ON auth.app_users FOR SELECT TO authenticated
    USING (id = (SELECT auth.uid()));

CREATE POLICY "Admins can read all users"
    ON auth.app_users FOR SELECT TO authenticated
    USING ((SELECT auth.is_admin()));

-- A token outlives the moment at which its user is disabled.
CREATE POLICY "Users can edit their own profile"
    ON auth.app_users FOR UPDATE TO authenticated
    USING (id = (SELECT auth.uid()) AND disabled_at IS NULL)
    WITH CHECK (id = (SELECT auth.uid()) AND disabled_at IS NULL);

CREATE POLICY "The service manages users"
    ON auth.app_users FOR ALL TO service_role
    USING (true) WITH CHECK (true);


-- Passwords

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.password_credentials TO service_role;

CREATE POLICY "The service manages passwords"
    ON auth.password_credentials FOR ALL TO service_role
    USING (true) WITH CHECK (true);


-- Sessions

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.sessions TO service_role;
GRANT SELECT, DELETE ON auth.sessions TO authenticated;

CREATE POLICY "Users can see their own sessions"
    ON auth.sessions FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

CREATE POLICY "Users can end their own sessions"
    ON auth.sessions FOR DELETE TO authenticated
    USING (user_id = (SELECT auth.uid()));

CREATE POLICY "The service manages sessions"
    ON auth.sessions FOR ALL TO service_role
    USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.refresh_tokens TO service_role;

CREATE POLICY "The service manages refresh tokens"
    ON auth.refresh_tokens FOR ALL TO service_role
    USING (true) WITH CHECK (true);


-- One-time tokens, second factors, API keys: users see which they have, never what is secret of them

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.one_time_tokens, auth.mfa_factors, auth.api_keys TO service_role;
GRANT SELECT (id, user_id, kind, name, confirmed_at, last_used_at, created_at) ON auth.mfa_factors TO authenticated;
GRANT SELECT (id, user_id, name, prefix, scopes, expires_at, revoked_at, last_used_at, created_at)
    ON auth.api_keys TO authenticated;

CREATE POLICY "The service manages one-time tokens"
    ON auth.one_time_tokens FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "Users can see their own factors"
    ON auth.mfa_factors FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

CREATE POLICY "The service manages factors"
    ON auth.mfa_factors FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "Users can see their own API keys"
    ON auth.api_keys FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

CREATE POLICY "The service manages API keys"
    ON auth.api_keys FOR ALL TO service_role
    USING (true) WITH CHECK (true);


-- The audit log is only added to

GRANT SELECT, INSERT ON auth.audit_log TO service_role;

CREATE POLICY "The service reads the audit log"
    ON auth.audit_log FOR SELECT TO service_role
    USING (true);

CREATE POLICY "The service adds to the audit log"
    ON auth.audit_log FOR INSERT TO service_role
    WITH CHECK (true);


-- OAuth

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.oauth_providers TO service_role;
GRANT SELECT ON auth.oauth_providers TO anon, authenticated;

CREATE POLICY "Anybody can see the providers on offer"
    ON auth.oauth_providers FOR SELECT TO anon, authenticated
    USING (enabled);

CREATE POLICY "The service manages providers"
    ON auth.oauth_providers FOR ALL TO service_role
    USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.oauth_client_secrets TO service_role;

CREATE POLICY "The service manages client secrets"
    ON auth.oauth_client_secrets FOR ALL TO service_role
    USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.oauth_identities TO service_role;
GRANT SELECT ON auth.oauth_identities TO authenticated;

CREATE POLICY "Users can see their own identities"
    ON auth.oauth_identities FOR SELECT TO authenticated
    USING (user_id = (SELECT auth.uid()));

CREATE POLICY "The service manages identities"
    ON auth.oauth_identities FOR ALL TO service_role
    USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.oauth_tokens TO service_role;

CREATE POLICY "The service manages provider tokens"
    ON auth.oauth_tokens FOR ALL TO service_role
    USING (true) WITH CHECK (true);

GRANT SELECT, INSERT, UPDATE, DELETE ON auth.oauth_flows TO service_role;

CREATE POLICY "The service manages flows"
    ON auth.oauth_flows FOR ALL TO service_role
    USING (true) WITH CHECK (true);


-- The users by the name that Fluxbase's own schema has for them. A view that reads with its reader's rights exists
-- since PostgreSQL 15; one that reads with its owner's would show everybody.
DO $$
BEGIN
    IF current_setting('server_version_num')::integer >= 150000 THEN
        EXECUTE $view$
            CREATE VIEW auth.users WITH (security_invoker = true) AS
            SELECT id, email, email_confirmed_at, email_confirmed_at IS NOT NULL AS email_verified, display_name,
                   avatar_url, role, app_metadata, user_metadata, last_sign_in_at, created_at, updated_at
            FROM auth.app_users
        $view$;
        COMMENT ON VIEW auth.users IS 'auth.app_users by its other name, to be read with the same policies';
        GRANT SELECT ON auth.users TO authenticated, service_role;
    END IF;
END
$$;
