-- OAuth: the identity providers that users can sign in with, and who they are there.

CREATE TABLE auth.oauth_providers (
    id                uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name              text        NOT NULL CONSTRAINT oauth_providers_name_form
                                  CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    display_name      text        NOT NULL CONSTRAINT oauth_providers_display_name_length
                                  CHECK (length(display_name) BETWEEN 1 AND 200),
    client_id         text        NOT NULL,
    issuer            text        CONSTRAINT oauth_providers_issuer_https CHECK (issuer ~ '^https://'),
    authorization_url text        NOT NULL CONSTRAINT oauth_providers_authorization_url_https
                                  CHECK (authorization_url ~ '^https://'),
    token_url         text        NOT NULL CONSTRAINT oauth_providers_token_url_https CHECK (token_url ~ '^https://'),
    userinfo_url      text        CONSTRAINT oauth_providers_userinfo_url_https CHECK (userinfo_url ~ '^https://'),
    scopes            text[]      NOT NULL DEFAULT '{}',
    enabled           boolean     NOT NULL DEFAULT true,
    created_at        timestamptz NOT NULL DEFAULT now(),
    updated_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT oauth_providers_name_key UNIQUE (name)
);
COMMENT ON TABLE auth.oauth_providers IS 'Identity providers that users can sign in with';
COMMENT ON COLUMN auth.oauth_providers.name IS 'In the sign-in URL';
COMMENT ON COLUMN auth.oauth_providers.display_name IS 'On the sign-in button';
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON auth.oauth_providers
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

-- Apart from the providers, which anybody who is about to sign in may list.
CREATE TABLE auth.oauth_client_secrets (
    provider_id             uuid        PRIMARY KEY REFERENCES auth.oauth_providers (id) ON DELETE CASCADE,
    client_secret_encrypted bytea       NOT NULL,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE auth.oauth_client_secrets IS 'The platform''s own credentials at each provider';
COMMENT ON COLUMN auth.oauth_client_secrets.client_secret_encrypted IS 'The key is not in this database';
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON auth.oauth_client_secrets
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE auth.oauth_identities (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    user_id         uuid        NOT NULL REFERENCES auth.app_users (id) ON DELETE CASCADE,
    provider_id     uuid        NOT NULL REFERENCES auth.oauth_providers (id) ON DELETE RESTRICT,
    subject         text        NOT NULL CONSTRAINT oauth_identities_subject_length
                                CHECK (length(subject) BETWEEN 1 AND 255),
    email           text,
    claims          jsonb       NOT NULL DEFAULT '{}'
                                CONSTRAINT oauth_identities_claims_object
                                CHECK (jsonb_typeof(claims) = 'object' AND octet_length(claims::text) <= 65536),
    last_sign_in_at timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT oauth_identities_provider_subject_key UNIQUE (provider_id, subject)
);
COMMENT ON TABLE auth.oauth_identities IS 'Who a user is at an identity provider';
COMMENT ON COLUMN auth.oauth_identities.subject IS
    'The provider''s own, lasting name for the user; an email address is neither';
CREATE INDEX oauth_identities_user_id_idx ON auth.oauth_identities (user_id);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON auth.oauth_identities
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE auth.oauth_tokens (
    identity_id             uuid        PRIMARY KEY REFERENCES auth.oauth_identities (id) ON DELETE CASCADE,
    access_token_encrypted  bytea       NOT NULL,
    refresh_token_encrypted bytea,
    expires_at              timestamptz,
    created_at              timestamptz NOT NULL DEFAULT now(),
    updated_at              timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE auth.oauth_tokens IS 'What a provider gave us to act for the user there';
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON auth.oauth_tokens
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE auth.oauth_flows (
    state_hash              bytea       PRIMARY KEY
                                        CONSTRAINT oauth_flows_state_hash_length CHECK (octet_length(state_hash) = 32),
    provider_id             uuid        NOT NULL REFERENCES auth.oauth_providers (id) ON DELETE CASCADE,
    user_id                 uuid        REFERENCES auth.app_users (id) ON DELETE CASCADE,
    code_verifier_encrypted bytea       NOT NULL,
    redirect_to             text        NOT NULL,
    created_at              timestamptz NOT NULL DEFAULT now(),
    expires_at              timestamptz NOT NULL DEFAULT now() + interval '10 minutes',
    CONSTRAINT oauth_flows_expire_later CHECK (expires_at > created_at)
);
COMMENT ON TABLE auth.oauth_flows IS 'Sign-ins that are under way at a provider';
COMMENT ON COLUMN auth.oauth_flows.state_hash IS 'SHA-256 of the parameter state';
COMMENT ON COLUMN auth.oauth_flows.user_id IS 'Set when somebody who is signed in adds an identity';
CREATE INDEX oauth_flows_provider_id_idx ON auth.oauth_flows (provider_id);
CREATE INDEX oauth_flows_user_id_idx ON auth.oauth_flows (user_id);
CREATE INDEX oauth_flows_expires_at_idx ON auth.oauth_flows (expires_at);

-- Closed to everybody but the owner until 003 says who may see what.
ALTER TABLE auth.oauth_providers ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.oauth_client_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.oauth_identities ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.oauth_tokens ENABLE ROW LEVEL SECURITY;
ALTER TABLE auth.oauth_flows ENABLE ROW LEVEL SECURITY;
