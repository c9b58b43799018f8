-- Jobs: a queue in the database, and schedules that feed it. Functions: the application's server-side code and a
-- record of its runs.

-- Jobs ----------------------------------------------------------------------------------------------------

CREATE SCHEMA jobs;
COMMENT ON SCHEMA jobs IS 'Fluxbase: work to be done in the background';
GRANT USAGE ON SCHEMA jobs TO authenticated, service_role;

CREATE TABLE jobs.schedules (
    id              uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    name            text        NOT NULL CONSTRAINT schedules_name_length CHECK (length(name) BETWEEN 1 AND 200),
    cron_expression text        NOT NULL CONSTRAINT schedules_cron_fields
                                CHECK (cron_expression ~ '^[^[:space:]]+( [^[:space:]]+){4}$'),
    time_zone       text        NOT NULL DEFAULT 'UTC',
    queue           text        NOT NULL DEFAULT 'default',
    kind            text        NOT NULL,
    payload         jsonb       NOT NULL DEFAULT '{}',
    enabled         boolean     NOT NULL DEFAULT true,
    next_run_at     timestamptz,
    last_run_at     timestamptz,
    created_at      timestamptz NOT NULL DEFAULT now(),
    updated_at      timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedules_name_key UNIQUE (name)
);
COMMENT ON TABLE jobs.schedules IS 'Jobs to be queued again and again';
COMMENT ON COLUMN jobs.schedules.cron_expression IS 'Minute, hour, day of month, month, day of week';
CREATE INDEX schedules_due_idx ON jobs.schedules (next_run_at) WHERE enabled;
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON jobs.schedules
    FOR EACH ROW EXECUTE FUNCTION auth.touch_updated_at();

CREATE TABLE jobs.jobs (
    id               uuid        PRIMARY KEY DEFAULT gen_random_uuid(),
    queue            text        NOT NULL DEFAULT 'default'
                                 CONSTRAINT jobs_queue_form CHECK (queue ~ '^[a-z][a-z0-9_-]{0,62}$'),
    kind             text        NOT NULL CONSTRAINT jobs_kind_length CHECK (length(kind) BETWEEN 1 AND 200),
    payload          jsonb       NOT NULL DEFAULT '{}',
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

-- SKIP LOCKED lets workers take different jobs without waiting for each other. The CTE is materialized so that
-- the limit holds: planned as a join, its rows could be fetched, and locked, more than once.
CREATE FUNCTION jobs.claim(
    from_queue text,
    by_worker  text,
    lease      interval DEFAULT '5 minutes',
    at_most    integer  DEFAULT 1
) RETURNS SETOF jobs.jobs
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH abandoned AS MATERIALIZED (
        SELECT j.id
        FROM jobs.jobs AS j
        WHERE j.queue = from_queue AND j.status = 'running' AND j.lease_expires_at <= now()
        FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs.jobs AS j
    SET status = CASE WHEN j.attempts < j.max_attempts THEN 'pending' ELSE 'failed' END,
        finished_at = CASE WHEN j.attempts < j.max_attempts THEN NULL ELSE now() END,
        worker = NULL,
        lease_expires_at = NULL,
        last_error = 'the worker ' || j.worker || ' did not finish in time'
    FROM abandoned
    WHERE j.id = abandoned.id;

    WITH due AS MATERIALIZED (
        SELECT j.id
        FROM jobs.jobs AS j
        WHERE j.queue = from_queue AND j.status = 'pending' AND j.run_at <= now()
        ORDER BY j.priority DESC, j.run_at
        LIMIT at_most
        FOR UPDATE SKIP LOCKED
    )
    UPDATE jobs.jobs AS j
    SET status = 'running',
        attempts = j.attempts + 1,
        worker = by_worker,
        lease_expires_at = now() + lease,
        started_at = now()
    FROM due
    WHERE j.id = due.id
    RETURNING j.*
$$;
COMMENT ON FUNCTION jobs.claim(text, text, interval, integer) IS
    'Gives a worker due jobs of a queue, after taking back those of workers whose lease has expired';
REVOKE EXECUTE ON FUNCTION jobs.claim(text, text, interval, integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION jobs.claim(text, text, interval, integer) TO service_role;

-- Both answer whether the job was still this worker's: one whose lease has expired may be somebody else's by now.
CREATE FUNCTION jobs.complete(job uuid, by_worker text) RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH done AS (
        UPDATE jobs.jobs
        SET status = 'succeeded', worker = NULL, lease_expires_at = NULL, last_error = NULL, finished_at = now()
        WHERE id = job AND status = 'running' AND worker = by_worker
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM done)
$$;
COMMENT ON FUNCTION jobs.complete(uuid, text) IS 'Reports success; false if the job is no longer the worker''s';
REVOKE EXECUTE ON FUNCTION jobs.complete(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION jobs.complete(uuid, text) TO service_role;

CREATE FUNCTION jobs.fail(job uuid, by_worker text, error text, retry_after interval DEFAULT '30 seconds')
    RETURNS boolean
    LANGUAGE sql VOLATILE SET search_path = pg_catalog, pg_temp
    AS $$
    WITH failed AS (
        UPDATE jobs.jobs
        SET status = CASE WHEN attempts < max_attempts THEN 'pending' ELSE 'failed' END,
            finished_at = CASE WHEN attempts < max_attempts THEN NULL ELSE now() END,
            run_at = now() + retry_after,
            worker = NULL,
            lease_expires_at = NULL,
            last_error = error
        WHERE id = job AND status = 'running' AND worker = by_worker
        RETURNING true
    )
    SELECT EXISTS (SELECT FROM failed)
$$;
COMMENT ON FUNCTION jobs.fail(uuid, text, text, interval) IS
    'Reports failure: queued again, or failed after the last attempt; false if the job is no longer the worker''s';
REVOKE EXECUTE ON FUNCTION jobs.fail(uuid, text, text, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION jobs.fail(uuid, text, text, interval) TO service_role;


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
ALTER TABLE functions.invocations ENABLE ROW LEVEL SECURITY;

GRANT SELECT, INSERT, UPDATE, DELETE
    ON jobs.schedules, jobs.jobs, functions.functions, functions.versions, functions.invocations TO service_role;
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

CREATE POLICY "Users can see their own invocations"
    ON functions.invocations FOR SELECT TO authenticated
    USING (called_by = (SELECT auth.uid()));

CREATE POLICY "The service manages invocations"
    ON functions.invocations FOR ALL TO service_role
    USING (true) WITH CHECK (true);
