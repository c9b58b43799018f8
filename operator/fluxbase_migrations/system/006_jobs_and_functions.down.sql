-- Undoes 006.

DROP TABLE functions.invocations;
DROP TABLE functions.secrets;
DROP TABLE functions.versions;
DROP TABLE functions.functions;
DROP SCHEMA functions;

DROP FUNCTION jobs.enqueue_due(integer);
DROP FUNCTION jobs.fail(uuid, integer, text, interval);
DROP FUNCTION jobs.complete(uuid, integer);
DROP FUNCTION jobs.heartbeat(uuid, integer, interval);
DROP FUNCTION jobs.claim(text, text, interval, integer);
DROP TABLE jobs.jobs;
DROP TABLE jobs.schedules;
DROP FUNCTION jobs.check_schedule();
DROP FUNCTION jobs.next_run(text, text, timestamptz);
DROP FUNCTION jobs.cron_field(text, integer, integer);
DROP SCHEMA jobs;
