-- Jobs: a queue in the database, and schedules that feed it. Functions: the application's server-side code and a
-- record of its runs.

-- Jobs ----------------------------------------------------------------------------------------------------

CREATE SCHEMA jobs;
COMMENT ON SCHEMA jobs IS 'Fluxbase: work to be done in the background';
GRANT USAGE ON SCHEMA jobs TO authenticated, service_role;

-- The values that one field of a cron expression stands for: *, 5, 1-5, */15, 10-50/20, and lists of these.
CREATE FUNCTION jobs.cron_field(field text, low integer, high integer) RETURNS integer[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    part   text;
    parsed text[];
    first  integer;
    last   integer;
    step   integer;
    listed integer[] := '{}';
BEGIN
    FOREACH part IN ARRAY string_to_array(field, ',') LOOP
        parsed := regexp_match(part, '^(?:(\*)|([0-9]{1,2})(?:-([0-9]{1,2}))?)(?:/([0-9]{1,2}))?$');
        first := CASE WHEN parsed[1] IS NOT NULL THEN low ELSE parsed[2]::integer END;
        last := CASE WHEN parsed[1] IS NOT NULL THEN high
                     WHEN parsed[3] IS NOT NULL THEN parsed[3]::integer
                     WHEN parsed[4] IS NOT NULL THEN high
                     ELSE first END;
        step := coalesce(parsed[4]::integer, 1);
        IF parsed IS NULL OR first < low OR last > high OR first > last OR step < 1 THEN
            RAISE EXCEPTION '"%" is no cron field from % to %', field, low, high
                USING ERRCODE = 'invalid_parameter_value',
                      HINT = 'Like *, 5, 1-5, */15, 10-50/20, or several of these with commas between them.';
        END IF;
        listed := listed || ARRAY(SELECT generate_series(first, last, step));
    END LOOP;
    RETURN ARRAY(SELECT DISTINCT value FROM unnest(listed) AS value ORDER BY value);
END
$$;
COMMENT ON FUNCTION jobs.cron_field(text, integer, integer) IS
    'The values of one field of a cron expression; error 22023 if it is none';

-- In local time. What falls into the hour that the clocks skip runs when they have; an hour that they repeat counts
-- once. As in cron, a day has to be one of the days of the month or of the week where both are given.
CREATE FUNCTION jobs.next_run(cron_expression text, time_zone text, after timestamptz) RETURNS timestamptz
    LANGUAGE plpgsql STABLE STRICT PARALLEL SAFE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    fields   text[] := regexp_split_to_array(btrim(cron_expression), ' +');
    minutes  integer[];
    hours    integer[];
    days     integer[];
    months   integer[];
    weekdays integer[];
    either   boolean;
    day      date;
    found_at timestamptz;
BEGIN
    IF cardinality(fields) <> 5 OR '' = ANY (fields) THEN
        RAISE EXCEPTION '"%" is no cron expression', cron_expression
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Five fields: minute, hour, day of month, month, day of week (0 to 7, Sunday is 0 or 7).';
    END IF;
    minutes := jobs.cron_field(fields[1], 0, 59);
    hours := jobs.cron_field(fields[2], 0, 23);
    days := jobs.cron_field(fields[3], 1, 31);
    months := jobs.cron_field(fields[4], 1, 12);
    weekdays := ARRAY(SELECT value % 7 FROM unnest(jobs.cron_field(fields[5], 0, 7)) AS value);
    either := fields[3] NOT LIKE '*%' AND fields[5] NOT LIKE '*%';
    day := (after AT TIME ZONE time_zone)::date;
    -- Eight years, for 29 February around 2100.
    FOR offset_days IN 0..2922 LOOP
        IF extract(month FROM day) = ANY (months)
           AND (extract(day FROM day) = ANY (days) AND extract(dow FROM day) = ANY (weekdays)
                OR either AND (extract(day FROM day) = ANY (days) OR extract(dow FROM day) = ANY (weekdays))) THEN
            SELECT min(moment) INTO found_at
            FROM unnest(hours) AS h, unnest(minutes) AS m,
                 LATERAL (SELECT (day + make_time(h, m, 0)) AT TIME ZONE time_zone) AS c (moment)
            WHERE moment > after;
            IF found_at IS NOT NULL THEN
                RETURN found_at;
            END IF;
        END IF;
        day := day + 1;
    END LOOP;
    RAISE EXCEPTION '"%" never comes', cron_expression USING ERRCODE = 'invalid_parameter_value';
END
$$;
COMMENT ON FUNCTION jobs.next_run(text, text, timestamptz) IS
    'When a cron expression is due next; error 22023 if it is none, or never is';

CREATE TABLE jobs.schedules (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text        NOT NULL CONSTRAINT schedules_name_length CHECK (length(name) BETWEEN 1 AND 200),
    cron_expression text        NOT NULL,
    time_zone       text        NOT NULL DEFAULT 'UTC',
    queue           text        NOT NULL DEFAULT 'default'
                                CONSTRAINT schedules_queue_form CHECK (queue ~ '^[a-z][a-z0-9_-]{0,62}$'),
    kind            text        NOT NULL CONSTRAINT schedules_kind_length CHECK (length(kind) BETWEEN 1 AND 200),
    payload         jsonb       NOT NULL DEFAULT '{}'
                                CONSTRAINT schedules_payload_size CHECK (octet_length(payload::text) <= 1048576),
    enabled         boolean     NOT NULL DEFAULT true,
    next_run_at     timestamptz,
    last_run_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedules_name_key UNIQUE (name),
    CONSTRAINT schedules_enabled_are_due CHECK (next_run_at IS NOT NULL OR NOT enabled)
);
COMMENT ON TABLE jobs.schedules IS 'Jobs to be queued again and again';
COMMENT ON COLUMN jobs.schedules.cron_expression IS 'Minute, hour, day of month, month, day of week';
COMMENT ON COLUMN jobs.schedules.time_zone IS 'A name of pg_timezone_names';
COMMENT ON COLUMN jobs.schedules.next_run_at IS 'Computed from the expression';

CREATE FUNCTION jobs.check_schedule() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    -- Otherwise anything like "FOO+3" is a zone, for PostgreSQL.
    IF NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.time_zone) THEN
        RAISE EXCEPTION 'time zone "%" is not known to this server', NEW.time_zone
            USING ERRCODE = 'invalid_parameter_value', HINT = 'SELECT name FROM pg_timezone_names;';
    END IF;
    NEW.next_run_at := jobs.next_run(NEW.cron_expression, NEW.time_zone, statement_timestamp());
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION jobs.check_schedule() IS 'Trigger: refuses what is no schedule, and computes when it is due';
REVOKE EXECUTE ON FUNCTION jobs.check_schedule() FROM PUBLIC;
CREATE TRIGGER check_schedule BEFORE INSERT OR UPDATE OF cron_expression, time_zone, enabled ON jobs.schedules
    FOR EACH ROW EXECUTE FUNCTION jobs.check_schedule();
CREATE INDEX schedules_due_idx ON jobs.schedules (next_run_at) WHERE enabled;
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON jobs.schedules
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE jobs.jobs (
    id               uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    queue            text        NOT NULL DEFAULT 'default'
                                 CONSTRAINT jobs_queue_form CHECK (queue ~ '^[a-z][a-z0-9_-]{0,62}$'),
    kind             text        NOT NULL CONSTRAINT jobs_kind_length CHECK (length(kind) BETWEEN 1 AND 200),
    payload          jsonb       NOT NULL DEFAULT '{}'
                                 CONSTRAINT jobs_payload_size CHECK (octet_length(payload::text) <= 1048576),
    status           text        NOT NULL DEFAULT 'pending'
                                 CONSTRAINT jobs_status_known
                                 CHECK (status IN ('pending', 'running', 'succeeded', 'failed', 'cancelled')),
    priority         smallint    NOT NULL DEFAULT 0,
    run_at           timestamptz NOT NULL DEFAULT now(),
    attempts         integer     NOT NULL DEFAULT 0 CONSTRAINT jobs_attempts_range CHECK (attempts >= 0),
    max_attempts     integer     NOT NULL DEFAULT 5 CONSTRAINT jobs_max_attempts_range CHECK (max_attempts >= 1),
    worker           text,
    lease_expires_at timestamptz,
    last_error       text,
    deduplication    text,
    schedule_id      uuid        REFERENCES jobs.schedules (id) ON DELETE SET NULL,
    created_by       uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    created_at       timestamptz NOT NULL DEFAULT now(),
    started_at       timestamptz,
    finished_at      timestamptz,
    CONSTRAINT jobs_running_is_leased
        CHECK ((status = 'running') = (worker IS NOT NULL AND lease_expires_at IS NOT NULL)),
    CONSTRAINT jobs_finished CHECK ((finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'cancelled')))
);
COMMENT ON TABLE jobs.jobs IS 'Work to be done, being done, and done';
COMMENT ON COLUMN jobs.jobs.priority IS 'Higher goes first';
COMMENT ON COLUMN jobs.jobs.lease_expires_at IS 'A worker that has not finished by then counts as gone';
COMMENT ON COLUMN jobs.jobs.deduplication IS 'At most one unfinished job of a queue has the same';
-- The queue's own order, and only what is still to be done, however long the history grows.
CREATE INDEX jobs_due_idx ON jobs.jobs (queue, priority DESC, run_at) WHERE status = 'pending';
CREATE INDEX jobs_lease_idx ON jobs.jobs (queue, lease_expires_at) WHERE status = 'running';
CREATE UNIQUE INDEX jobs_deduplication_key ON jobs.jobs (queue, deduplication)
    WHERE status IN ('pending', 'running');
CREATE INDEX jobs_schedule_id_idx ON jobs.jobs (schedule_id);
CREATE INDEX jobs_created_by_idx ON jobs.jobs (created_by);
CREATE INDEX jobs_finished_at_idx ON jobs.jobs (finished_at);

-- A claim is for a time (the lease) and has a number (the attempt): whoever reports after the lease, or for an attempt
-- that is no longer the last, is told false and has changed nothing.

-- SKIP LOCKED lets workers take different jobs without waiting for each other. Under repeatable read it would find
-- rows that others have changed since, and fail (40001) whenever they had. The CTE is materialized so that the limit
-- holds: planned as a join, its rows could be fetched, and locked, more than once.
CREATE FUNCTION jobs.claim(
    from_queue text,
    by_worker  text,
    lease      interval DEFAULT '5 minutes',
    at_most    integer  DEFAULT 1
) RETURNS SETOF jobs.jobs
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'jobs.claim() needs the isolation level read committed'
            USING ERRCODE = 'invalid_transaction_state', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED;';
    END IF;
    IF from_queue IS NULL OR coalesce(by_worker, '') = '' OR lease IS NULL OR lease <= interval '0'
       OR lease > interval '7 days' OR at_most IS NULL OR at_most NOT BETWEEN 1 AND 1000 THEN
        RAISE EXCEPTION 'jobs.claim() needs a queue, a worker, a lease of up to 7 days, and at_most from 1 to 1000'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    WITH abandoned AS MATERIALIZED (
        SELECT j.id
        FROM jobs.jobs AS j
        WHERE j.queue = from_queue AND j.status = 'running' AND j.lease_expires_at <= statement_timestamp()
        FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs.jobs AS j
    SET status = CASE WHEN j.attempts < j.max_attempts THEN 'pending' ELSE 'failed' END,
        finished_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE statement_timestamp() END,
        worker = NULL,
        lease_expires_at = NULL,
        last_error = 'the worker ' || j.worker || ' did not finish in time'
    FROM abandoned
    WHERE j.id = abandoned.id;

    RETURN QUERY
    WITH due AS MATERIALIZED (
        SELECT j.id
        FROM jobs.jobs AS j
        WHERE j.queue = from_queue AND j.status = 'pending' AND j.run_at <= statement_timestamp()
        ORDER BY j.priority DESC, j.run_at
        LIMIT at_most
        FOR UPDATE SKIP LOCKED
    ), taken AS (
        UPDATE jobs.jobs AS j
        SET status = 'running',
            attempts = j.attempts + 1,
            worker = by_worker,
            lease_expires_at = statement_timestamp() + lease,
            started_at = statement_timestamp()
        FROM due
        WHERE j.id = due.id
        RETURNING j.*
    )
    SELECT * FROM taken ORDER BY taken.priority DESC, taken.run_at;
END
$$;
COMMENT ON FUNCTION jobs.claim(text, text, interval, integer) IS
    'Gives a worker due jobs of a queue, after taking back those of workers whose lease has expired';

CREATE FUNCTION jobs.heartbeat(job uuid, attempt integer, lease interval DEFAULT '5 minutes') RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF lease IS NULL OR lease <= interval '0' OR lease > interval '7 days' THEN
        RAISE EXCEPTION 'jobs.heartbeat() needs a lease of up to 7 days' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE jobs.jobs AS j
    SET lease_expires_at = statement_timestamp() + lease
    WHERE j.id = job AND j.status = 'running' AND j.attempts = attempt
      AND j.lease_expires_at > statement_timestamp();
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION jobs.heartbeat(uuid, integer, interval) IS
    'Prolongs an attempt''s lease from now on; false if the job is no longer the worker''s, who should stop';

CREATE FUNCTION jobs.complete(job uuid, attempt integer) RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH done AS (
        UPDATE jobs.jobs AS j
        SET status = 'succeeded', worker = NULL, lease_expires_at = NULL, last_error = NULL,
            finished_at = statement_timestamp()
        WHERE j.id = job AND j.status = 'running' AND j.attempts = attempt
          AND j.lease_expires_at > statement_timestamp()
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION jobs.complete(uuid, integer) IS
    'Reports that an attempt succeeded; false if the job is no longer the worker''s';

CREATE FUNCTION jobs.fail(job uuid, attempt integer, error text, retry_after interval DEFAULT NULL) RETURNS boolean
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
BEGIN
    IF error IS NULL OR retry_after < interval '0' THEN
        RAISE EXCEPTION 'jobs.fail() needs an error, and a retry_after that is not negative'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    UPDATE jobs.jobs AS j
    SET status = CASE WHEN j.attempts < j.max_attempts THEN 'pending' ELSE 'failed' END,
        finished_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE statement_timestamp() END,
        -- 30 s, 1 min, 2 min up to 6 hours, and up to a fifth more, so that not all come back at one moment.
        run_at = statement_timestamp() + coalesce(
            retry_after,
            least(interval '30 seconds' * 2 ^ least(j.attempts - 1, 20), interval '6 hours') * (1 + random() / 5)
        ),
        worker = NULL,
        lease_expires_at = NULL,
        last_error = left(error, 10000)
    WHERE j.id = job AND j.status = 'running' AND j.attempts = attempt
      AND j.lease_expires_at > statement_timestamp();
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION jobs.fail(uuid, integer, text, interval) IS
    'Reports failure: queued again, or failed after the last attempt; false if the job is no longer the worker''s';

-- Runs that were missed count as one, and one whose last job has not finished yet is left out.
CREATE FUNCTION jobs.enqueue_due(at_most integer DEFAULT 100) RETURNS integer
    LANGUAGE plpgsql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
DECLARE
    due    jobs.schedules;
    queued integer := 0;
BEGIN
    IF current_setting('transaction_isolation') NOT IN ('read committed', 'read uncommitted') THEN
        RAISE EXCEPTION 'jobs.enqueue_due() needs the isolation level read committed'
            USING ERRCODE = 'invalid_transaction_state', HINT = 'BEGIN ISOLATION LEVEL READ COMMITTED;';
    END IF;
    IF at_most IS NULL OR at_most < 1 THEN
        RAISE EXCEPTION 'jobs.enqueue_due() needs at_most from 1' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOR due IN
        SELECT * FROM jobs.schedules AS s
        WHERE s.enabled AND s.next_run_at <= statement_timestamp()
        ORDER BY s.next_run_at
        LIMIT at_most
        FOR UPDATE SKIP LOCKED
    LOOP
        INSERT INTO jobs.jobs (queue, kind, payload, schedule_id, deduplication)
        VALUES (due.queue, due.kind, due.payload, due.id, 'schedule ' || due.id)
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            queued := queued + 1;
        END IF;
        UPDATE jobs.schedules AS s
        SET last_run_at = statement_timestamp(),
            next_run_at = jobs.next_run(s.cron_expression, s.time_zone, statement_timestamp())
        WHERE s.id = due.id;
    END LOOP;
    RETURN queued;
END
$$;
COMMENT ON FUNCTION jobs.enqueue_due(integer) IS
    'Queues a job for each schedule that is due; returns how many. To be called every minute or so';

REVOKE EXECUTE ON FUNCTION
    jobs.cron_field(text, integer, integer), jobs.next_run(text, text, timestamptz),
    jobs.claim(text, text, interval, integer), jobs.heartbeat(uuid, integer, interval), jobs.complete(uuid, integer),
    jobs.fail(uuid, integer, text, interval), jobs.enqueue_due(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION
    jobs.cron_field(text, integer, integer), jobs.next_run(text, text, timestamptz),
    jobs.claim(text, text, interval, integer), jobs.heartbeat(uuid, integer, interval), jobs.complete(uuid, integer),
    jobs.fail(uuid, integer, text, interval), jobs.enqueue_due(integer) TO service_role;


-- Functions -----------------------------------------------------------------------------------------------

CREATE SCHEMA functions;
COMMENT ON SCHEMA functions IS 'Fluxbase: the application''s server-side code';
GRANT USAGE ON SCHEMA functions TO authenticated, service_role;

CREATE TABLE functions.functions (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text        NOT NULL CONSTRAINT functions_name_form CHECK (name ~ '^[a-z][a-z0-9_-]{0,62}$'),
    description     text,
    enabled         boolean     NOT NULL DEFAULT true,
    requires_jwt    boolean     NOT NULL DEFAULT true,
    timeout_seconds integer     NOT NULL DEFAULT 30
                                CONSTRAINT functions_timeout_range CHECK (timeout_seconds BETWEEN 1 AND 3600),
    memory_mebibyte integer     NOT NULL DEFAULT 128
                                CONSTRAINT functions_memory_range CHECK (memory_mebibyte BETWEEN 16 AND 16384),
    created_by      uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT functions_name_key UNIQUE (name)
);
COMMENT ON TABLE functions.functions IS 'Functions that can be called';
COMMENT ON COLUMN functions.functions.name IS 'In the function''s URL';
COMMENT ON COLUMN functions.functions.requires_jwt IS 'False: anybody may call it';
CREATE INDEX functions_created_by_idx ON functions.functions (created_by);
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON functions.functions
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE functions.versions (
    function_id uuid        NOT NULL REFERENCES functions.functions (id) ON DELETE CASCADE,
    version     integer     NOT NULL CONSTRAINT versions_version_range CHECK (version >= 1),
    source      text        NOT NULL,
    created_by  uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (function_id, version)
);
COMMENT ON TABLE functions.versions IS
    'The code of each release of a function; the highest version is the one that runs';
CREATE INDEX versions_created_by_idx ON functions.versions (created_by);

CREATE TABLE functions.secrets (
    function_id     uuid        NOT NULL REFERENCES functions.functions (id) ON DELETE CASCADE,
    name            text        NOT NULL CONSTRAINT secrets_name_form CHECK (name ~ '^[A-Z][A-Z0-9_]{0,99}$'),
    value_encrypted bytea       NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (function_id, name)
);
COMMENT ON TABLE functions.secrets IS 'Environment variables of a function that nobody may read';
COMMENT ON COLUMN functions.secrets.value_encrypted IS 'The key is not in this database';
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON functions.secrets
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE functions.invocations (
    id            uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    function_id   uuid        NOT NULL,
    version       integer     NOT NULL,
    job_id        uuid        REFERENCES jobs.jobs (id) ON DELETE SET NULL,
    called_by     uuid        REFERENCES auth.app_users (id) ON DELETE SET NULL,
    status        text        NOT NULL DEFAULT 'running'
                              CONSTRAINT invocations_status_known
                              CHECK (status IN ('running', 'succeeded', 'failed', 'timed_out')),
    http_status   integer     CONSTRAINT invocations_http_status_range CHECK (http_status BETWEEN 100 AND 599),
    error         text,
    started_at    timestamptz NOT NULL DEFAULT now(),
    finished_at   timestamptz,
    FOREIGN KEY (function_id, version) REFERENCES functions.versions (function_id, version) ON DELETE CASCADE,
    CONSTRAINT invocations_finished CHECK ((finished_at IS NULL) = (status = 'running'))
);
COMMENT ON TABLE functions.invocations IS 'Runs of functions';
CREATE INDEX invocations_function_idx ON functions.invocations (function_id, version, started_at);
CREATE INDEX invocations_job_id_idx ON functions.invocations (job_id);
CREATE INDEX invocations_called_by_idx ON functions.invocations (called_by);
CREATE INDEX invocations_started_at_idx ON functions.invocations (started_at);


-- Privileges and policies. Queueing, running and publishing are the service's; a user sees what he or she has set
-- going, without the worker's side of it.

ALTER TABLE jobs.schedules ENABLE ROW LEVEL SECURITY;
ALTER TABLE jobs.jobs ENABLE ROW LEVEL SECURITY;
ALTER TABLE functions.functions ENABLE ROW LEVEL SECURITY;
ALTER TABLE functions.versions ENABLE ROW LEVEL SECURITY;
ALTER TABLE functions.secrets ENABLE ROW LEVEL SECURITY;
ALTER TABLE functions.invocations ENABLE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE, DELETE
    ON jobs.schedules, jobs.jobs, functions.functions, functions.versions, functions.secrets, functions.invocations
    TO service_role;
GRANT SELECT (id, queue, kind, status, run_at, created_by, created_at, started_at, finished_at)
    ON jobs.jobs TO authenticated;
GRANT SELECT (id, name, description, requires_jwt) ON functions.functions TO authenticated;
GRANT SELECT (id, function_id, version, called_by, status, http_status, started_at, finished_at)
    ON functions.invocations TO authenticated;

CREATE POLICY "The service manages schedules"
    ON jobs.schedules FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "Users can follow their own jobs"
    ON jobs.jobs FOR SELECT TO authenticated
    USING (created_by = (SELECT auth.uid()));

CREATE POLICY "The service manages jobs"
    ON jobs.jobs FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "Users can see the functions on offer"
    ON functions.functions FOR SELECT TO authenticated
    USING (enabled);

CREATE POLICY "The service manages functions"
    ON functions.functions FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "The service manages versions"
    ON functions.versions FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "The service manages secrets"
    ON functions.secrets FOR ALL TO service_role
    USING (true) WITH CHECK (true);

CREATE POLICY "Users can see their own invocations"
    ON functions.invocations FOR SELECT TO authenticated
    USING (called_by = (SELECT auth.uid()));

CREATE POLICY "The service manages invocations"
    ON functions.invocations FOR ALL TO service_role
    USING (true) WITH CHECK (true);
