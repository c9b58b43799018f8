-- Undoes 002.

DROP TABLE auth.oauth_flows;
DROP TABLE auth.oauth_tokens;
DROP TABLE auth.oauth_identities;
DROP TABLE auth.oauth_client_secrets;
DROP TABLE auth.oauth_providers;
