-- Webhooks: where to send changes of the application's tables, and what was sent.
--
-- An application's migration puts a table under watch with
--     CREATE TRIGGER webhooks AFTER INSERT OR UPDATE OR DELETE ON public.orders
--         FOR EACH ROW EXECUTE FUNCTION webhooks.capture();
-- and whoever manages webhooks subscribes endpoints to it. On a partitioned table one trigger serves all partitions.

CREATE SCHEMA webhooks;
COMMENT ON SCHEMA webhooks IS 'Fluxbase: changes of tables, sent to other systems';
GRANT USAGE ON SCHEMA webhooks TO authenticated, service_role;

CREATE TABLE webhooks.endpoints (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text        NOT NULL CONSTRAINT endpoints_name_length CHECK (length(name) BETWEEN 1 AND 200),
    url             text        NOT NULL CONSTRAINT endpoints_url_form
                                CHECK (url ~ '^https?://[^[:space:][:cntrl:]/?#@]+([/?#][^[:space:][:cntrl:]]*)?$'
                                       AND length(url) <= 2048),
    headers         jsonb       NOT NULL DEFAULT '{}'
                                CONSTRAINT endpoints_headers_form
                                CHECK (jsonb_typeof(headers) = 'object' AND octet_length(headers::text) <= 16384
                                       AND NOT jsonb_path_exists(headers,
                                           '$.* ? (@.type() != "string" || @ like_regex "[[:cntrl:]]")')
                                       AND NOT jsonb_path_exists(headers,
                                           '$.keyvalue().key ? (!(@ like_regex "^[A-Za-z0-9-]{1,100}$"))')),
    enabled         boolean     NOT NULL DEFAULT true,
    max_attempts    integer     NOT NULL DEFAULT 10
                                CONSTRAINT endpoints_max_attempts_range CHECK (max_attempts BETWEEN 1 AND 100),
    timeout_seconds integer     NOT NULL DEFAULT 10
                                CONSTRAINT endpoints_timeout_range CHECK (timeout_seconds BETWEEN 1 AND 300),
    created_by      uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    deleted_at      timestamptz,
    CONSTRAINT endpoints_deleted_are_disabled CHECK (deleted_at IS NULL OR NOT enabled)
);
COMMENT ON TABLE webhooks.endpoints IS 'Where to send changes';
COMMENT ON COLUMN webhooks.endpoints.url IS
    'No user name or password in it; that it leads to no private or link-local address is for the sender to see to';
COMMENT ON COLUMN webhooks.endpoints.deleted_at IS
    'Set by webhooks.delete_endpoint(): nothing is queued or sent any more, webhooks.purge() removes it';
CREATE UNIQUE INDEX endpoints_name_key ON webhooks.endpoints (name) WHERE deleted_at IS NULL;
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
    relation     regclass    NOT NULL,
    operations   text[]      NOT NULL DEFAULT '{INSERT,UPDATE,DELETE}'
                             CONSTRAINT subscriptions_operations_known
                             CHECK (operations <> '{}' AND operations <@ '{INSERT,UPDATE,DELETE}'::text[]),
    created_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT subscriptions_endpoint_relation_key UNIQUE (endpoint_id, relation)
);
COMMENT ON TABLE webhooks.subscriptions IS 'Which changes of which table go to an endpoint';
COMMENT ON COLUMN webhooks.subscriptions.relation IS
    'The table itself, whatever it is called later; a partitioned table stands for its partitions';
CREATE INDEX subscriptions_relation_idx ON webhooks.subscriptions (relation);

-- No foreign key to the endpoint: it would let somebody's INSERT into a table of the application wait for, or fail
-- because of, whoever changes or deletes the endpoint at that moment.
CREATE TABLE webhooks.deliveries (
    id               uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    sequence         bigint      GENERATED ALWAYS AS IDENTITY CONSTRAINT deliveries_sequence_key UNIQUE,
    endpoint_id      uuid        NOT NULL,
    payload          jsonb       NOT NULL,
    status           text        NOT NULL DEFAULT 'pending'
                                 CONSTRAINT deliveries_status_known
                                 CHECK (status IN ('pending', 'sending', 'delivered', 'failed')),
    attempts         integer     NOT NULL DEFAULT 0 CONSTRAINT deliveries_attempts_range CHECK (attempts >= 0),
    max_attempts     integer     NOT NULL CONSTRAINT deliveries_max_attempts_range CHECK (max_attempts >= 1),
    next_attempt_at  timestamptz NOT NULL DEFAULT now(),
    worker           text,
    lease_expires_at timestamptz,
    response_status  integer     CONSTRAINT deliveries_response_status_range
                                 CHECK (response_status BETWEEN 100 AND 599),
    last_error       text,
    created_at       timestamptz NOT NULL DEFAULT now(),
    finished_at      timestamptz,
    CONSTRAINT deliveries_sending_is_leased
        CHECK ((status = 'sending') = (worker IS NOT NULL AND lease_expires_at IS NOT NULL)),
    CONSTRAINT deliveries_finished CHECK ((finished_at IS NOT NULL) = (status IN ('delivered', 'failed')))
);
COMMENT ON TABLE webhooks.deliveries IS 'Changes on their way to an endpoint, and those that arrived or never will';
COMMENT ON COLUMN webhooks.deliveries.sequence IS
    'Order: of the changes of one transaction exactly, of different transactions as they were made, not committed';
COMMENT ON COLUMN webhooks.deliveries.status IS 'failed: a dead letter, which webhooks.retry() sends again';
COMMENT ON COLUMN webhooks.deliveries.lease_expires_at IS 'A sender that has not finished by then counts as gone';
CREATE INDEX deliveries_endpoint_id_idx ON webhooks.deliveries (endpoint_id, sequence);
-- The sender's queue stays small however long the history grows.
CREATE INDEX deliveries_due_idx ON webhooks.deliveries (next_attempt_at, sequence) WHERE status = 'pending';
CREATE INDEX deliveries_lease_idx ON webhooks.deliveries (lease_expires_at) WHERE status = 'sending';
CREATE INDEX deliveries_finished_at_idx ON webhooks.deliveries (finished_at);

-- Whoever changes a watched table may neither read the subscriptions nor write deliveries; this runs as the owner,
-- who may. Hence the pinned search_path, and that only the owner, who makes the application's tables as well, may
-- attach it.
--
-- The application's write must not fail because of the platform. What can fail here is making JSON of a row (too
-- large, or a type whose cast to json raises an error): the change is delivered without it then. That block writes
-- nothing, so it costs no transaction ID.
CREATE FUNCTION webhooks.capture() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    root     oid   := coalesce(pg_partition_root(TG_RELID)::oid, TG_RELID);
    watched  oid[] := ARRAY(SELECT relid::oid FROM pg_partition_ancestors(TG_RELID)) || TG_RELID;
    new_row  jsonb;
    old_row  jsonb;
    problem  text;
BEGIN
    IF NOT EXISTS (
        SELECT FROM webhooks.subscriptions AS s WHERE s.relation::oid = ANY (watched) AND TG_OP = ANY (s.operations)
    ) THEN
        RETURN NULL;
    END IF;
    BEGIN
        new_row := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
        old_row := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
        -- Each may be in bounds and the whole payload not.
        IF coalesce(pg_column_size(new_row), 0) + coalesce(pg_column_size(old_row), 0) > 100000000 THEN
            RAISE program_limit_exceeded USING MESSAGE = 'the row is too large';
        END IF;
    EXCEPTION
        WHEN OTHERS THEN
            problem := SQLSTATE || ': ' || SQLERRM;
            new_row := NULL;
            old_row := NULL;
    END;
    INSERT INTO webhooks.deliveries (endpoint_id, max_attempts, payload)
    SELECT e.id,
           e.max_attempts,
           jsonb_strip_nulls(jsonb_build_object('problem', problem)) || jsonb_build_object(
               'schema', n.nspname,
               'table', c.relname,
               'operation', TG_OP,
               'occurredAt', clock_timestamp(),
               'new', new_row,
               'old', old_row
           )
    FROM webhooks.endpoints AS e, pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE c.oid = root
      AND e.enabled
      AND EXISTS (
          SELECT FROM webhooks.subscriptions AS s
          WHERE s.endpoint_id = e.id AND s.relation::oid = ANY (watched) AND TG_OP = ANY (s.operations)
      );
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION webhooks.capture() IS
    'Row trigger, AFTER: queues a delivery for each endpoint that subscribes to the change';
REVOKE EXECUTE ON FUNCTION webhooks.capture() FROM PUBLIC;


-- Sending. A claim is for a time (the lease) and has a number (the attempt): whoever reports after the lease, or for
-- an attempt that is no longer the last, is told false and has changed nothing.

-- SKIP LOCKED lets senders take different deliveries without waiting for each other. Under repeatable read it would
-- find rows that others have changed since, and fail (40001) whenever they had.
CREATE FUNCTION webhooks.claim(
    by_worker text,
    lease     interval DEFAULT '1 minute',
    at_most   integer  DEFAULT 1
) RETURNS TABLE (
    delivery_id      uuid,
    attempt          integer,
    sequence         bigint,
    endpoint_id      uuid,
    url              text,
    headers          jsonb,
    secret_encrypted bytea,
    timeout_seconds  integer,
    payload          jsonb
)
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
#variable_conflict use_column
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'webhooks.claim() needs the isolation level read committed'
            USING ERRCODE = 'invalid_transaction_state', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED;';
    END IF;
    IF coalesce(by_worker, '') = '' OR lease IS NULL OR lease <= interval '0' OR lease > interval '1 day'
       OR at_most IS NULL OR at_most NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'webhooks.claim() needs a worker, a lease of up to 1 day, and at_most from 1 to 1000'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    WITH abandoned AS MATERIALIZED (
        SELECT d.id FROM webhooks.deliveries AS d
        WHERE d.status = 'sending' AND d.lease_expires_at <= statement_timestamp()
        FOR UPDATE SKIP LOCKED
    )
    UPDATE webhooks.deliveries AS d
    SET status = CASE WHEN d.attempts < d.max_attempts THEN 'pending' ELSE 'failed' END,
        finished_at = CASE WHEN d.attempts < d.max_attempts THEN NULL ELSE statement_timestamp() END,
        worker = NULL,
        lease_expires_at = NULL,
        last_error = 'the sender ' || d.worker || ' did not finish in time'
    FROM abandoned
    WHERE d.id = abandoned.id;

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT d.id
        FROM webhooks.deliveries AS d
        WHERE d.status = 'pending' AND d.next_attempt_at <= statement_timestamp()
          AND EXISTS (SELECT FROM webhooks.endpoints AS e WHERE e.id = d.endpoint_id AND e.enabled)
        ORDER BY d.next_attempt_at, d.sequence
        LIMIT at_most
        FOR UPDATE OF d SKIP LOCKED
    ), taken AS (
        UPDATE webhooks.deliveries AS d
        SET status = 'sending',
            attempts = d.attempts + 1,
            worker = by_worker,
            lease_expires_at = statement_timestamp() + lease
        FROM due
        WHERE d.id = due.id
        RETURNING d.*
    )
    SELECT t.id, t.attempts, t.sequence, e.id, e.url, e.headers, k.secret_encrypted, e.timeout_seconds, t.payload
    FROM taken AS t
    JOIN webhooks.endpoints AS e ON e.id = t.endpoint_id
    LEFT JOIN webhooks.signing_secrets AS k ON k.endpoint_id = e.id
    ORDER BY t.sequence;
END
$$;
COMMENT ON FUNCTION webhooks.claim(text, interval, integer) IS
    'Gives a sender due deliveries in order, after taking back those of senders whose lease has expired';

CREATE FUNCTION webhooks.complete(delivery uuid, attempt integer, response_status integer DEFAULT NULL)
    RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH done AS (
        UPDATE webhooks.deliveries AS d
        SET status = 'delivered', worker = NULL, lease_expires_at = NULL, last_error = NULL,
            response_status = complete.response_status, finished_at = statement_timestamp()
        WHERE d.id = delivery AND d.status = 'sending' AND d.attempts = attempt
          AND d.lease_expires_at > statement_timestamp()
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION webhooks.complete(uuid, integer, integer) IS
    'Reports that an attempt arrived; false if the delivery is no longer the sender''s';

CREATE FUNCTION webhooks.fail(
    delivery        uuid,
    attempt         integer,
    error           text,
    response_status integer  DEFAULT NULL,
    retry_after     interval DEFAULT NULL
) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF error IS NULL OR retry_after < interval '0' THEN
        RAISE EXCEPTION 'webhooks.fail() needs an error, and a retry_after that is not negative'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE webhooks.deliveries AS d
    SET status = CASE WHEN d.attempts < d.max_attempts THEN 'pending' ELSE 'failed' END,
        finished_at = CASE WHEN d.attempts < d.max_attempts THEN NULL ELSE statement_timestamp() END,
        -- 10 s, 20 s, 40 s up to 6 hours, and up to a fifth more, so that not all come back at one moment.
        next_attempt_at = statement_timestamp() + coalesce(
            fail.retry_after,
            least(interval '10 seconds' * 2 ^ least(d.attempts - 1, 20), interval '6 hours') * (1 + random() / 5)
        ),
        worker = NULL,
        lease_expires_at = NULL,
        response_status = fail.response_status,
        last_error = left(fail.error, 10000)
    WHERE d.id = delivery AND d.status = 'sending' AND d.attempts = attempt
      AND d.lease_expires_at > statement_timestamp();
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION webhooks.fail(uuid, integer, text, integer, interval) IS
    'Reports failure: sent again later, or a dead letter after the last attempt; false if no longer the sender''s';

CREATE FUNCTION webhooks.retry(delivery uuid) RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH again AS (
        UPDATE webhooks.deliveries AS d
        SET status = 'pending', finished_at = NULL, next_attempt_at = statement_timestamp(),
            max_attempts = d.attempts + e.max_attempts
        FROM webhooks.endpoints AS e
        WHERE d.id = delivery AND d.status = 'failed' AND e.id = d.endpoint_id AND e.deleted_at IS NULL
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM again)
$$;
COMMENT ON FUNCTION webhooks.retry(uuid) IS 'Queues a dead letter again, for as many attempts as its endpoint allows';

CREATE FUNCTION webhooks.delete_endpoint(endpoint uuid) RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH marked AS (
        UPDATE webhooks.endpoints SET deleted_at = statement_timestamp(), enabled = false
        WHERE id = endpoint AND deleted_at IS NULL
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM marked)
$$;
COMMENT ON FUNCTION webhooks.delete_endpoint(uuid) IS
    'Ends an endpoint: nothing more is queued or sent; webhooks.purge() removes it';

-- As the owner: nobody else may delete an endpoint, so that none goes while deliveries still name it.
CREATE FUNCTION webhooks.purge(older_than interval DEFAULT '30 days', at_most integer DEFAULT 10000) RETURNS bigint
    LANGUAGE plpgsql VOLATILE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    removed bigint;
BEGIN
    IF older_than IS NULL OR older_than < interval '0' OR at_most IS NULL OR at_most < 1 THEN
        RAISE EXCEPTION 'webhooks.purge() needs an age that is not negative, and at_most from 1'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    WITH old AS MATERIALIZED (
        SELECT d.id FROM webhooks.deliveries AS d
        WHERE d.id IN (
            (SELECT o.id FROM webhooks.deliveries AS o
             WHERE o.finished_at < statement_timestamp() - older_than
             LIMIT at_most)
            UNION
            (SELECT o.id FROM webhooks.deliveries AS o
             WHERE o.status = 'pending' AND NOT EXISTS (
                 SELECT FROM webhooks.endpoints AS e WHERE e.id = o.endpoint_id AND e.deleted_at IS NULL)
             LIMIT at_most)
        )
        FOR UPDATE SKIP LOCKED
    )
    DELETE FROM webhooks.deliveries AS d USING old WHERE d.id = old.id;
    GET DIAGNOSTICS removed = ROW_COUNT;
    DELETE FROM webhooks.endpoints AS e
    WHERE e.deleted_at < statement_timestamp() - older_than
      AND NOT EXISTS (SELECT FROM webhooks.deliveries AS d WHERE d.endpoint_id = e.id);
    RETURN removed;
END
$$;
COMMENT ON FUNCTION webhooks.purge(interval, integer) IS
    'Removes deliveries finished that long ago or without an endpoint, and deleted endpoints; returns how many deliveries';

REVOKE EXECUTE ON FUNCTION
    webhooks.claim(text, interval, integer), webhooks.complete(uuid, integer, integer),
    webhooks.fail(uuid, integer, text, integer, interval), webhooks.retry(uuid), webhooks.delete_endpoint(uuid),
    webhooks.purge(interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    webhooks.claim(text, interval, integer), webhooks.complete(uuid, integer, integer),
    webhooks.fail(uuid, integer, text, integer, interval), webhooks.retry(uuid), webhooks.delete_endpoint(uuid),
    webhooks.purge(interval, integer) TO service_role;


-- Privileges and policies. A delivery holds a copy of a row that its reader might not be allowed to see, and an
-- endpoint decides where data goes: both are the service's. Admins may look at what is set up.

ALTER TABLE webhooks.endpoints ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks.signing_secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks.subscriptions ENABLE ROW LEVEL SECURITY;
ALTER TABLE webhooks.deliveries ENABLE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE, DELETE
    ON webhooks.signing_secrets, webhooks.subscriptions, webhooks.deliveries TO service_role;
-- Endpoints are deleted with webhooks.delete_endpoint().
GRANT SELECT, INSERT, UPDATE ON webhooks.endpoints TO service_role;
-- All but the headers, which may carry a credential.
GRANT SELECT (id, name, url, enabled, max_attempts, timeout_seconds, created_by, created_at, updated_at)
    ON webhooks.endpoints TO authenticated;
GRANT SELECT ON webhooks.subscriptions TO authenticated;

CREATE POLICY "Admins can see endpoints"
    ON webhooks.endpoints FOR SELECT TO authenticated
    USING ((SELECT auth.is_admin()) AND deleted_at IS NULL);

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
