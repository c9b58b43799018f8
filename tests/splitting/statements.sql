SELECT 1
----
SELECT 'a;b', 'it''s; so', E'it\'s; so', E'\\', U&'d\0061t;', N';', B'01', X'1F'
----
SELECT 'one'
  ' two;'
  ' three'
----
SELECT $$;$$, $a$ $$;$$ $a$, $é$ ; $é$, $_1$ $1 ; $_1$
----
SELECT $a$ $b$ ; $a$ || $b$ $a$ ; $b$
----
SELECT "a;b", "c""d;", "e'f" FROM "t;" AS "x"
----
SELECT a$b$, c$d FROM t AS t(a$b$, c$d)
----
SELECT 1 -- ; not yet
  + 2 /* ; nor /* here; */ ; */ - 3
----
SELECT 5 - -3, 4 --
- 2, 6/2, 6 /*;*//*;*/ / 3
----
SELECT a*/*;*/b, a-/*;*/-b, a+--;
b FROM t
----
SELECT 1.5, .5, 2., 1e5, 1E-3, $1, $2::int
----
SELECT '{1,2;3}'::text[], (ARRAY[1,2,3])[1:2], (ARRAY['a;'])[1]
----
SELECT o.case, o.end, o.begin, o.atomic, o."end" FROM orders o
----
SELECT 1 AS case, 2 AS end, 3 AS begin, 4 AS atomic, 5 AS commit
----
SELECT 1 end, 2 case, 3 begin
----
SELECT (o).end, (o).case.end, o . end, o./*;*/case FROM orders o
----
SELECT CASE WHEN a THEN 'x;' ELSE CASE b WHEN 1 THEN 2 END END AS end FROM t
----
SELECT CASE WHEN a THEN 1 END::text || ';' FROM t
----
SELECT count(*) FILTER (WHERE a > 1), sum(x) OVER (PARTITION BY y ORDER BY z ROWS UNBOUNDED PRECEDING) FROM t
----
SELECT data->>'a;', data#>>'{b,;}', data @> '{"c": ";"}', data ? ';' FROM docs
----
SELECT * FROM a NATURAL JOIN b LEFT JOIN LATERAL (SELECT ';' WHERE a.id = 1) AS c ON true
----
SELECT DISTINCT ON (a) a, b FROM t ORDER BY a, b DESC NULLS LAST LIMIT 5 OFFSET 1 FOR UPDATE SKIP LOCKED
----
SELECT extract(epoch FROM now()), position(';' IN 'a;b'), trim(BOTH ';' FROM ';a;'), interval '1 day'
----
SELECT a FROM t UNION ALL (SELECT b FROM u ORDER BY b) EXCEPT SELECT ';'
----
SELECT x'1f'::int, b'1'::bit, e'\x41;', u&"d!0061t;" UESCAPE '!' FROM t
----
TABLE t
----
VALUES (1, ';'), (2, NULL), (3, $$;$$)
----
WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n WHERE i < 5), d AS (
  DELETE FROM t WHERE x = ';' RETURNING *
) SELECT * FROM n, d
----
INSERT INTO t (a, b) VALUES (1, 'ü;ñ'), (2, '日本;')
----
INSERT INTO t SELECT * FROM u ON CONFLICT (id) DO UPDATE SET a = excluded.a || ';' WHERE t.a <> ';' RETURNING id
----
INSERT INTO t DEFAULT VALUES
----
UPDATE t SET a = CASE WHEN b THEN ';' ELSE a END, (c, d) = (SELECT 1, ';') FROM u WHERE t.id = u.id
----
DELETE FROM ONLY t USING u WHERE t.id = u.id AND u.note = ';'
----
MERGE INTO t USING u ON t.id = u.id WHEN MATCHED AND u.gone THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (u.id, ';')
----
TRUNCATE a, b RESTART IDENTITY CASCADE
----
CREATE TABLE t (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, -- the key;
    name text NOT NULL DEFAULT 'a;b' CHECK (name <> ';'),
    kind text CHECK (CASE WHEN name = 'x' THEN kind = ';' ELSE true END),
    total numeric(10, 2) GENERATED ALWAYS AS (1.5 * 2) STORED,
    CONSTRAINT "one;two" UNIQUE (name, kind)
)
----
CREATE TABLE atomic (begin_ int, end_ int, "end" int, "begin" int)
----
CREATE TABLE p (LIKE t INCLUDING ALL) PARTITION BY RANGE (id)
----
CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (1) TO (10) WITH (fillfactor = 70)
----
CREATE TEMPORARY TABLE x ON COMMIT DROP AS SELECT ';' AS a
----
CREATE UNLOGGED TABLE IF NOT EXISTS u (a int[] DEFAULT '{1,2}', b timestamptz DEFAULT now())
----
ALTER TABLE t ADD COLUMN a text DEFAULT ';', DROP COLUMN b CASCADE, ALTER c TYPE int USING c::int
----
ALTER TABLE t ADD CONSTRAINT c FOREIGN KEY (a) REFERENCES u (id) ON DELETE SET NULL NOT VALID
----
ALTER TABLE p DETACH PARTITION p1 CONCURRENTLY
----
ALTER TABLE t ENABLE ROW LEVEL SECURITY
----
CREATE POLICY own ON t FOR ALL TO app USING (owner = current_setting('app.user;', true)) WITH CHECK (true)
----
DROP TABLE IF EXISTS a, "b;" CASCADE
----
CREATE INDEX CONCURRENTLY IF NOT EXISTS i ON t USING gin (to_tsvector('english', a || ';')) WHERE b <> ';'
----
CREATE UNIQUE INDEX ON t (lower(a), (b->>';')) INCLUDE (c)
----
REINDEX (VERBOSE) TABLE CONCURRENTLY t
----
CREATE VIEW v AS SELECT a, CASE WHEN b THEN 1 ELSE 2 END AS end FROM t WITH CHECK OPTION
----
CREATE OR REPLACE RECURSIVE VIEW v (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM v WHERE n < 100
----
CREATE MATERIALIZED VIEW m AS SELECT ';' AS a WITH NO DATA
----
REFRESH MATERIALIZED VIEW CONCURRENTLY m
----
CREATE SEQUENCE s START WITH 10 OWNED BY t.id
----
CREATE TYPE mood AS ENUM ('a;', 'b', 'it''s')
----
ALTER TYPE mood ADD VALUE IF NOT EXISTS 'c;' BEFORE 'b'
----
CREATE TYPE pair AS (a int, "end" text)
----
CREATE DOMAIN d AS text CHECK (VALUE !~ ';') DEFAULT ';'
----
CREATE SCHEMA s AUTHORIZATION app CREATE TABLE a (x int) CREATE VIEW b AS SELECT x FROM a
----
CREATE EXTENSION IF NOT EXISTS pgcrypto WITH SCHEMA public
----
CREATE FUNCTION plain() RETURNS int LANGUAGE sql AS 'SELECT 1; SELECT 2'
----
CREATE FUNCTION dollar(a int, OUT b text) LANGUAGE plpgsql AS $$
BEGIN
    -- it's; fine
    b := 'x;' || $1;
    IF a > 1 THEN PERFORM 1; END IF;
END
$$
----
CREATE OR REPLACE FUNCTION nested() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = '' AS $body$
DECLARE q text := $q$ SELECT $$;$$ $q$;
BEGIN
    EXECUTE q;
EXCEPTION WHEN others THEN
    RAISE NOTICE '%;', SQLERRM;
END;
$body$
----
CREATE FUNCTION atomic() RETURNS int BEGIN ATOMIC SELECT 1; END
----
CREATE FUNCTION empty() RETURNS void BEGIN ATOMIC END
----
CREATE FUNCTION empties() RETURNS void BEGIN ATOMIC ;; SELECT 1;; END
----
CREATE FUNCTION cases(a int) RETURNS int LANGUAGE sql
BEGIN ATOMIC
    SELECT CASE WHEN a > 1 THEN CASE a WHEN 2 THEN 3 END ELSE 4 END;
    SELECT CASE a WHEN 1 THEN 2 END;
END
----
CREATE FUNCTION as_case() RETURNS int BEGIN ATOMIC SELECT 1 AS case; SELECT 2; END
----
CREATE FUNCTION as_end() RETURNS int BEGIN ATOMIC SELECT 1 AS end; SELECT 2; END
----
CREATE FUNCTION dot_case() RETURNS int BEGIN ATOMIC SELECT o.case FROM orders o; SELECT 2; END
----
CREATE FUNCTION dot_end() RETURNS int BEGIN ATOMIC SELECT o.end FROM orders o; SELECT 2; END
----
CREATE FUNCTION dot_quoted() RETURNS int BEGIN ATOMIC SELECT x."end", x."case" FROM x; SELECT 2; END
----
CREATE FUNCTION far_dot() RETURNS int BEGIN ATOMIC SELECT o /* a */ . -- b;
 end FROM o; SELECT o./*;*/case FROM o; END
----
CREATE FUNCTION far_as() RETURNS int BEGIN ATOMIC SELECT 1 AS /* a; */ end; SELECT 1 AS -- b;
 case; END
----
CREATE FUNCTION bare_end() RETURNS int BEGIN ATOMIC SELECT 1 end; SELECT 2; END
----
CREATE FUNCTION bare_case() RETURNS int BEGIN ATOMIC SELECT 1 case; SELECT 2; END
----
CREATE FUNCTION bare_end_of_case() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END end, 2 end; SELECT 2; END
----
CREATE FUNCTION selected_end() RETURNS int BEGIN ATOMIC SELECT (o).end FROM o; SELECT (o).case FROM o; END
----
CREATE FUNCTION words() RETURNS int BEGIN ATOMIC SELECT backend, ending, "END", case_ FROM legend; SELECT 1; END
----
CREATE FUNCTION strings() RETURNS text BEGIN ATOMIC SELECT 'end; case', $$end;$$, E'\'end;'; SELECT ';' /* end; */; END
----
CREATE FUNCTION returned(a int) RETURNS int RETURN CASE WHEN a > 0 THEN 1 ELSE a END
----
CREATE FUNCTION return_inside() RETURNS int BEGIN ATOMIC INSERT INTO t VALUES (1); RETURN 1; END
----
CREATE FUNCTION "begin atomic"("end" int DEFAULT CASE WHEN true THEN 1 END) RETURNS int BEGIN ATOMIC SELECT "end"; END
----
CREATE FUNCTION tables() RETURNS TABLE ("end" int, atomic text) BEGIN/**/ATOMIC SELECT 1, 'a'; END
----
CREATE PROCEDURE atomic_procedure(INOUT a int) LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (a); UPDATE t SET x = CASE WHEN true THEN 1 END; END
----
CREATE /* c; */ OR -- d;
REPLACE /* ; */ FUNCTION f() RETURNS int begin /* ; */ atomic select 1; end
----
CREATE PROCEDURE batches() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$
----
DO $do$ BEGIN PERFORM 1; COMMIT; END; $do$
----
DO LANGUAGE plpgsql 'BEGIN PERFORM ''x;''; END'
----
CALL batches()
----
CREATE TRIGGER g BEFORE INSERT OR UPDATE OF a ON t FOR EACH ROW WHEN (new.a IS DISTINCT FROM ';') EXECUTE FUNCTION f('x;')
----
CREATE EVENT TRIGGER e ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION f()
----
CREATE AGGREGATE total (int) (SFUNC = int4pl, STYPE = int, INITCOND = '0')
----
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = int4eq, COMMUTATOR = ===)
----
CREATE CAST (text AS mood) WITH INOUT AS ASSIGNMENT
----
CREATE RULE one AS ON INSERT TO t DO INSTEAD NOTHING
----
CREATE RULE two AS ON INSERT TO t DO ALSO INSERT INTO log VALUES (';')
----
CREATE RULE three AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); INSERT INTO u VALUES (2))
----
CREATE OR REPLACE RULE four AS ON UPDATE TO t WHERE new.a = ';' DO INSTEAD (
    UPDATE u SET a = (SELECT ')' ); -- );
    DELETE FROM u WHERE b IN (1, 2);
)
----
CREATE RULE "five (" AS ON DELETE TO "t(;" DO ALSO (SELECT ')', $$)$$, ")" FROM u; SELECT 2)
----
CREATE ROLE app LOGIN PASSWORD 'a;b''c' VALID UNTIL 'infinity'
----
GRANT SELECT (a, b), UPDATE ON t TO app, PUBLIC WITH GRANT OPTION
----
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM PUBLIC CASCADE
----
ALTER DEFAULT PRIVILEGES FOR ROLE app IN SCHEMA s GRANT EXECUTE ON FUNCTIONS TO app
----
ALTER ROLE app SET search_path = s, "$user", public
----
ALTER DATABASE d SET statement_timeout = '5s'
----
COMMENT ON COLUMN t.a IS 'it''s;'
----
COMMENT ON FUNCTION f(int, text) IS $$;$$
----
SET search_path TO "a;b", public
----
SET LOCAL statement_timeout = '10min'
----
SET SESSION AUTHORIZATION 'app'
----
RESET ALL
----
SHOW ALL
----
BEGIN
----
BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY, DEFERRABLE
----
START TRANSACTION READ WRITE
----
SAVEPOINT a
----
ROLLBACK TO SAVEPOINT a
----
RELEASE a
----
COMMIT
----
COMMIT AND CHAIN
----
END
----
END WORK
----
ROLLBACK
----
ABORT TRANSACTION
----
PREPARE TRANSACTION 'a;b'
----
COMMIT PREPARED 'a;b'
----
LOCK TABLE t IN ACCESS EXCLUSIVE MODE NOWAIT
----
PREPARE p (int, text) AS SELECT $1, $2 || ';'
----
EXECUTE p (1, ';')
----
DEALLOCATE ALL
----
DECLARE c SCROLL CURSOR WITH HOLD FOR SELECT ';'
----
FETCH FORWARD 5 FROM c
----
CLOSE ALL
----
COPY t (a, b) FROM '/tmp/a;b' WITH (FORMAT csv, DELIMITER ';', QUOTE '"', ESCAPE E'\\')
----
COPY (SELECT ';' AS a) TO '/tmp/x'
----
EXPLAIN (ANALYZE, BUFFERS off, FORMAT json) SELECT ';'
----
ANALYZE VERBOSE t (a, b)
----
VACUUM (FULL, ANALYZE) t
----
CLUSTER t USING i
----
LISTEN "a;b"
----
NOTIFY channel, 'a;b'
----
UNLISTEN *
----
DISCARD TEMP
----
CHECKPOINT
----
LOAD 'a;b'
----
SECURITY LABEL ON TABLE t IS 'a;b'
----
CREATE PUBLICATION p FOR TABLE t WHERE (a <> ';') WITH (publish = 'insert')
----
CREATE SUBSCRIPTION s CONNECTION 'host=a dbname=b;' PUBLICATION p WITH (connect = false)
----
CREATE SERVER f FOREIGN DATA WRAPPER w OPTIONS (host 'a;b', port '5432')
----
CREATE STATISTICS st (dependencies) ON a, (b || ';') FROM t
----
CREATE TEXT SEARCH CONFIGURATION c (COPY = pg_catalog.english)
----
CREATE COLLATION german (provider = icu, locale = 'de-u-co-phonebk')
----
CREATE TABLESPACE ts LOCATION '/tmp/a;b'
----
CREATE DATABASE "d;" TEMPLATE template0 ENCODING 'UTF8'
----
ALTER SYSTEM SET work_mem = '64MB'
----
REASSIGN OWNED BY a TO b
----
DROP FUNCTION IF EXISTS f(int, text), "g;"(), h
----
IMPORT FOREIGN SCHEMA s LIMIT TO (a, b) FROM SERVER f INTO t
