-- Webhooks: where to send changes of the application's tables, and what was sent.
--
-- An application's migration puts a table under watch with
--     CREATE TRIGGER webhooks AFTER INSERT OR UPDATE OR DELETE ON public.orders
--         FOR EACH ROW EXECUTE FUNCTION webhooks.capture();
-- and whoever manages webhooks subscribes endpoints to it.

CREATE SCHEMA webhooks;
COMMENT ON SCHEMA webhooks IS 'Fluxbase: changes of tables, sent to other systems';
GRANT USAGE ON SCHEMA webhooks TO authenticated, service_role;

CREATE TABLE webhooks.endpoints (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text        NOT NULL CONSTRAINT endpoints_name_length CHECK (length(name) BETWEEN 1 AND 200),
    url             text        NOT NULL CONSTRAINT endpoints_url_form
                                CHECK (url ~ '^https?://[^[:space:]]+$' AND length(url) <= 2048),
    headers         jsonb       NOT NULL DEFAULT '{}'
                                CONSTRAINT endpoints_headers_object CHECK (jsonb_typeof(headers) = 'object'),
    enabled         boolean     NOT NULL DEFAULT true,
    max_attempts    integer     NOT NULL DEFAULT 10
                                CONSTRAINT endpoints_max_attempts_range CHECK (max_attempts BETWEEN 1 AND 100),
    timeout_seconds integer     NOT NULL DEFAULT 10
                                CONSTRAINT endpoints_timeout_range CHECK (timeout_seconds BETWEEN 1 AND 300),
    created_by      uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT endpoints_name_key UNIQUE (name)
);
COMMENT ON TABLE webhooks.endpoints IS 'Where to send changes';
CREATE INDEX endpoints_created_by_idx ON webhooks.endpoints (created_by);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON webhooks.endpoints
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE webhooks.signing_secrets (
    endpoint_id      uuid        PRIMARY KEY REFERENCES webhooks.endpoints (id) ON DELETE CASCADE,
    secret_encrypted bytea       NOT NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    updated_at       timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE webhooks.signing_secrets IS
    'What deliveries are signed with, so that the receiver can tell them from forgeries';
COMMENT ON COLUMN webhooks.signing_secrets.secret_encrypted IS 'The key is not in this database';
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON webhooks.signing_secrets
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE webhooks.subscriptions (
    id           uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    endpoint_id  uuid        NOT NULL REFERENCES webhooks.endpoints (id) ON DELETE CASCADE,
    table_schema text        NOT NULL DEFAULT 'public',
    table_name   text        NOT NULL,
    operations   text[]      NOT NULL DEFAULT '{INSERT,UPDATE,DELETE}'
                             CONSTRAINT subscriptions_operations_known
                             CHECK (operations <> '{}' AND operations <@ '{INSERT,UPDATE,DELETE}'::text[]),
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscriptions_endpoint_table_key UNIQUE (endpoint_id, table_schema, table_name)
);
COMMENT ON TABLE webhooks.subscriptions IS 'Which changes of which table go to an endpoint';
CREATE INDEX subscriptions_table_idx ON webhooks.subscriptions (table_schema, table_name);

CREATE TABLE webhooks.deliveries (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    endpoint_id     uuid        NOT NULL REFERENCES webhooks.endpoints (id) ON DELETE CASCADE,
    payload         jsonb       NOT NULL,
    status          text        NOT NULL DEFAULT 'pending'
                                CONSTRAINT deliveries_status_known
                                CHECK (status IN ('pending', 'sending', 'delivered', 'failed')),
    attempts        integer     NOT NULL DEFAULT 0 CONSTRAINT deliveries_attempts_range CHECK (attempts >= 0),
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    response_status integer     CONSTRAINT deliveries_response_status_range
                                CHECK (response_status BETWEEN 100 AND 599),
    last_error      text,
    created_at      timestamptz NOT NULL DEFAULT now(),
    finished_at     timestamptz,
    CONSTRAINT deliveries_finished CHECK ((finished_at IS NOT NULL) = (status IN ('delivered', 'failed')))
);
COMMENT ON TABLE webhooks.deliveries IS 'Changes on their way to an endpoint, and those that arrived or never will';
CREATE INDEX deliveries_endpoint_id_idx ON webhooks.deliveries (endpoint_id, created_at);
-- The sender's queue stays small however long the history grows.
CREATE INDEX deliveries_due_idx ON webhooks.deliveries (next_attempt_at) WHERE status IN ('pending', 'sending');
CREATE INDEX deliveries_finished_at_idx ON webhooks.deliveries (finished_at);

-- Whoever changes a watched table may neither read the subscriptions nor write deliveries; this runs as the owner,
-- who may. Hence the pinned search_path, and that only the owner, who makes the application's tables as well, may
-- attach it.
CREATE FUNCTION webhooks.capture() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    INSERT INTO webhooks.deliveries (endpoint_id, payload)
    SELECT e.id,
           jsonb_build_object(
               'schema', TG_TABLE_SCHEMA,
               'table', TG_TABLE_NAME,
               'operation', TG_OP,
               'occurredAt', clock_timestamp(),
               'new', CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END,
               'old', CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END
           )
    FROM webhooks.subscriptions AS s
    JOIN webhooks.endpoints AS e ON e.id = s.endpoint_id
    WHERE e.enabled
      AND s.table_schema = TG_TABLE_SCHEMA
      AND s.table_name = TG_TABLE_NAME
      AND TG_OP = ANY (s.operations);
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhooks.capture() IS
    'Row trigger, AFTER: queues a delivery for each endpoint that subscribes to the change';
REVOKE EXECUTE ON FUNCTION webhooks.capture() FROM PUBLIC;


-- Privileges and policies. A delivery holds a copy of a row that its reader might not be allowed to see, and an
-- endpoint decides where data goes: both are the service's. Admins may look at what is set up.

ALTER TABLE webhooks.endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks.signing_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks.subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks.deliveries ENABLE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE, DELETE
    ON webhooks.endpoints, webhooks.signing_secrets, webhooks.subscriptions, webhooks.deliveries TO service_role;
-- All but the headers, which may carry a credential.
GRANT SELECT (id, name, url, enabled, max_attempts, timeout_seconds, created_by, created_at, updated_at)
    ON webhooks.endpoints TO authenticated;
GRANT SELECT ON webhooks.subscriptions TO authenticated;

CREATE POLICY "Admins can see endpoints"
    ON webhooks.endpoints FOR SELECT TO authenticated
    USING ((SELECT auth.is_admin()));

CREATE POLICY "The service manages endpoints"
    ON webhooks.endpoints FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "The service manages signing secrets"
    ON webhooks.signing_secrets FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "Admins can see subscriptions"
    ON webhooks.subscriptions FOR SELECT TO authenticated
    USING ((SELECT auth.is_admin()));

CREATE POLICY "The service manages subscriptions"
    ON webhooks.subscriptions FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "The service manages deliveries"
    ON webhooks.deliveries FOR ALL TO service_role
    USING (true) WITH CHECK (true);
