-- Undoes 003: the tables keep row-level security and are closed to everybody but their owner again.

DO $$
BEGIN
    IF to_regclass('auth.users') IS NOT NULL THEN
        DROP VIEW auth.users;
    END IF;
END
$$;

DROP POLICY "The service manages flows" ON auth.oauth_flows;
DROP POLICY "The service manages provider tokens" ON auth.oauth_tokens;
DROP POLICY "The service manages identities" ON auth.oauth_identities;
DROP POLICY "Users can see their own identities" ON auth.oauth_identities;
DROP POLICY "The service manages client secrets" ON auth.oauth_client_secrets;
DROP POLICY "The service manages providers" ON auth.oauth_providers;
DROP POLICY "Anybody can see the providers on offer" ON auth.oauth_providers;
DROP POLICY "The service adds to the audit log" ON auth.audit_log;
DROP POLICY "The service reads the audit log" ON auth.audit_log;
DROP POLICY "The service manages API keys" ON auth.api_keys;
DROP POLICY "Users can see their own API keys" ON auth.api_keys;
DROP POLICY "The service manages factors" ON auth.mfa_factors;
DROP POLICY "Users can see their own factors" ON auth.mfa_factors;
DROP POLICY "The service manages one-time tokens" ON auth.one_time_tokens;
DROP POLICY "The service manages refresh tokens" ON auth.refresh_tokens;
DROP POLICY "The service manages sessions" ON auth.sessions;
DROP POLICY "Users can end their own sessions" ON auth.sessions;
DROP POLICY "Users can see their own sessions" ON auth.sessions;
DROP POLICY "The service manages passwords" ON auth.password_credentials;
DROP POLICY "The service manages users" ON auth.app_users;
DROP POLICY "Users can edit their own profile" ON auth.app_users;
DROP POLICY "Admins can read all users" ON auth.app_users;
DROP POLICY "Users can read themselves" ON auth.app_users;

REVOKE ALL ON
    auth.app_users, auth.password_credentials, auth.sessions, auth.refresh_tokens,
    auth.one_time_tokens, auth.mfa_factors, auth.api_keys, auth.audit_log,
    auth.oauth_providers, auth.oauth_client_secrets, auth.oauth_identities, auth.oauth_tokens, auth.oauth_flows
    FROM anon, authenticated, service_role;
-- REVOKE of a whole table's UPDATE takes the single columns' along.

DROP FUNCTION auth.is_admin();
