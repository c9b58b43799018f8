-- Undoes 006.

DROP TABLE functions.invocations;
DROP TABLE functions.versions;
DROP TABLE functions.functions;
DROP SCHEMA functions;

DROP FUNCTION jobs.fail(uuid, text, text, interval);
DROP FUNCTION jobs.complete(uuid, text);
DROP FUNCTION jobs.claim(text, text, interval, integer);
DROP TABLE jobs.jobs;
DROP TABLE jobs.schedules;
DROP SCHEMA jobs;
