"""One statement or more of every kind in the lock table, and the database on which they are really run."""

from dataclasses import dataclass
from typing import Final

DATABASE: Final = """
CREATE TABLE customer (id int PRIMARY KEY, name varchar(10), note text, amount numeric(8,2), at timestamp,
    precise timestamp(3), bits bit varying(8), fixed char(4), n int, code int UNIQUE,
    plain int NOT NULL DEFAULT 0);
INSERT INTO customer SELECT i, 'n' || i, 't', i, now(), now(), '1', 'x', i, i FROM generate_series(1, 100) i;
ALTER TABLE customer ADD CONSTRAINT n_given CHECK (n IS NOT NULL);
CREATE TABLE purchase (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, customer int, total numeric, n int,
    CONSTRAINT purchase_customer FOREIGN KEY (customer) REFERENCES customer);
INSERT INTO purchase (customer, total) SELECT i, i FROM generate_series(1, 100) i;
CREATE INDEX purchase_total ON purchase (total);
CREATE INDEX purchase_n ON purchase (n);
CREATE INDEX purchase_next ON purchase ((n + 1));
CREATE UNIQUE INDEX purchase_unique ON purchase (id, n);
CREATE TABLE unchecked (id int, customer int, CONSTRAINT later CHECK (id > 0) NOT VALID,
    CONSTRAINT later_customer FOREIGN KEY (customer) REFERENCES customer NOT VALID);
ALTER TABLE unchecked DROP CONSTRAINT later_customer;
ALTER TABLE unchecked ADD CONSTRAINT later_customer FOREIGN KEY (customer) REFERENCES customer NOT VALID;
INSERT INTO unchecked SELECT i, i FROM generate_series(1, 10) i;
ALTER TABLE unchecked ADD CONSTRAINT later_too CHECK (id > 0) NOT VALID;
CREATE TABLE lonely (id serial, v text, w int, stored int GENERATED ALWAYS AS (w * 2) STORED);
INSERT INTO lonely (v, w) SELECT 'v', i FROM generate_series(1, 100) i;
CREATE UNIQUE INDEX lonely_w ON lonely (w);
CREATE STATISTICS lonely_statistics ON v, w FROM lonely;
CREATE UNLOGGED TABLE quick (id serial PRIMARY KEY);
INSERT INTO quick SELECT generate_series(1, 10);
CREATE TABLE event (at date NOT NULL, v int, who int REFERENCES customer) PARTITION BY RANGE (at);
CREATE TABLE event_2024 PARTITION OF event FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE event_2025 PARTITION OF event FOR VALUES FROM ('2025-01-01') TO ('2026-01-01');
INSERT INTO event SELECT date '2024-06-01' + i, i, 1 FROM generate_series(1, 300) i;
CREATE INDEX event_v ON event (v);
CREATE TABLE event_free (at date NOT NULL, v int, who int);
INSERT INTO event_free SELECT date '2023-06-01' + i, i, 1 FROM generate_series(1, 30) i;
CREATE TABLE log (at date NOT NULL, v int) PARTITION BY RANGE (at);
CREATE TABLE log_2024 PARTITION OF log FOR VALUES FROM ('2024-01-01') TO ('2025-01-01');
CREATE TABLE log_rest PARTITION OF log DEFAULT;
CREATE TABLE log_free (at date NOT NULL, v int);
INSERT INTO log SELECT date '2024-06-01' + i, i FROM generate_series(1, 300) i;
CREATE INDEX log_v ON ONLY log (v);
CREATE INDEX log_2024_v ON log_2024 (v);
CREATE TABLE base (id int, label text);
CREATE TABLE derived (extra int) INHERITS (base);
CREATE TABLE foreigner (id int, label text);
INSERT INTO base SELECT i FROM generate_series(1, 10) i;
INSERT INTO derived SELECT i FROM generate_series(1, 10) i;
CREATE VIEW seen AS SELECT id, name FROM customer WHERE n > 0;
CREATE VIEW seen_twice AS SELECT * FROM seen;
CREATE MATERIALIZED VIEW summary AS SELECT id, count(*) AS number FROM customer GROUP BY id;
CREATE UNIQUE INDEX summary_id ON summary (id);
CREATE SEQUENCE number;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION volatile_number() RETURNS int LANGUAGE sql VOLATILE AS 'SELECT 1';
CREATE FUNCTION stable_number() RETURNS int LANGUAGE sql STABLE AS 'SELECT 1';
CREATE PROCEDURE nothing() LANGUAGE sql AS '';
CREATE TABLE watched (id int PRIMARY KEY, v int);
INSERT INTO watched SELECT i FROM generate_series(1, 10) i;
CREATE TRIGGER watching BEFORE UPDATE ON watched FOR EACH ROW EXECUTE FUNCTION touch();
CREATE RULE quiet AS ON DELETE TO watched DO INSTEAD NOTHING;
CREATE POLICY everybody ON watched USING (true);
CREATE DOMAIN positive AS int CHECK (VALUE > 0);
CREATE DOMAIN loose AS int;
ALTER DOMAIN loose ADD CONSTRAINT late CHECK (VALUE <> 7) NOT VALID;
CREATE TABLE domained (id loose);
INSERT INTO domained VALUES (1);
CREATE TYPE pair AS (a int, b int);
CREATE TABLE typed OF pair;
CREATE TABLE shaped (a int, b int);
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TYPE color AS ENUM ('red');
CREATE FOREIGN DATA WRAPPER wrapper;
CREATE SERVER elsewhere FOREIGN DATA WRAPPER wrapper;
CREATE FOREIGN TABLE distant (id int, v int) SERVER elsewhere;
CREATE PUBLICATION news FOR TABLE foreigner;
CREATE SCHEMA other;
CREATE TABLE other.inside (id int PRIMARY KEY);
CREATE VIEW outside AS SELECT * FROM other.inside;
CREATE TEXT SEARCH CONFIGURATION words (COPY = simple);
CREATE TEXT SEARCH DICTIONARY simple_words (TEMPLATE = simple);
CREATE FUNCTION touch_event() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER present ON sql_drop EXECUTE FUNCTION touch_event();
CREATE USER MAPPING FOR PUBLIC SERVER elsewhere;
CREATE COLLATION mine FROM "C";
CREATE OPERATOR FAMILY own USING btree;
"""


@dataclass(frozen=True)
class Case:
    """A statement, and since which major version it exists."""

    sql: str
    since: int = 14
    outside: str = ""
    """It cannot run in a transaction: the LOCK TABLE that another session holds so that it has to wait."""


def _cases(text: str) -> list[Case]:
    """One a line; ``15|`` before it: since that version."""
    found = []
    for line in text.strip().splitlines():
        since, bar, rest = line.partition("|")
        found.append(Case(rest, int(since)) if bar and since.isdigit() else Case(line))
    return found


ALTER_TABLE: Final = _cases("""
ALTER TABLE lonely ADD COLUMN x int
ALTER TABLE lonely ADD COLUMN x int DEFAULT 1
ALTER TABLE lonely ADD COLUMN x int NOT NULL DEFAULT 1
ALTER TABLE lonely ADD COLUMN x timestamptz DEFAULT now()
ALTER TABLE lonely ADD COLUMN x uuid DEFAULT gen_random_uuid()
ALTER TABLE lonely ADD COLUMN x int DEFAULT volatile_number()
ALTER TABLE lonely ADD COLUMN x int DEFAULT stable_number()
ALTER TABLE lonely ADD COLUMN x int DEFAULT nextval('number')
ALTER TABLE lonely ADD COLUMN x serial
ALTER TABLE lonely ADD COLUMN x int GENERATED ALWAYS AS IDENTITY
ALTER TABLE lonely ADD COLUMN x int GENERATED ALWAYS AS (w * 2) STORED
18|ALTER TABLE lonely ADD COLUMN x int GENERATED ALWAYS AS (w * 2) VIRTUAL
ALTER TABLE lonely ADD COLUMN x positive
ALTER TABLE lonely ADD COLUMN x loose
ALTER TABLE lonely ADD COLUMN x mood
ALTER TABLE lonely ADD COLUMN x int[] DEFAULT '{}'
ALTER TABLE lonely ADD COLUMN x int CHECK (x > 0)
ALTER TABLE lonely ADD COLUMN x int UNIQUE
ALTER TABLE lonely ADD COLUMN x int REFERENCES customer
ALTER TABLE lonely ADD COLUMN x int DEFAULT 1 REFERENCES customer
ALTER TABLE lonely ADD COLUMN IF NOT EXISTS x int, ADD COLUMN y text
ALTER TABLE event ADD COLUMN x int
ALTER TABLE base ADD COLUMN x int
ALTER TABLE ONLY base ALTER label SET DEFAULT ''
ALTER TABLE lonely ALTER w SET DEFAULT 1
ALTER TABLE base ALTER id SET DEFAULT 1
ALTER TABLE event ALTER v DROP DEFAULT
ALTER TABLE lonely ALTER w SET NOT NULL
ALTER TABLE customer ALTER n SET NOT NULL
ALTER TABLE customer ALTER plain SET NOT NULL
ALTER TABLE event ALTER v SET NOT NULL
ALTER TABLE customer ALTER plain DROP NOT NULL
ALTER TABLE base ALTER id DROP NOT NULL
17|ALTER TABLE lonely ALTER stored SET EXPRESSION AS (w * 3)
ALTER TABLE lonely ALTER stored DROP EXPRESSION
ALTER TABLE lonely ALTER w SET STATISTICS 100
ALTER TABLE base ALTER id SET STATISTICS 100
ALTER TABLE lonely ALTER w SET (n_distinct = 5)
ALTER TABLE lonely ALTER w RESET (n_distinct)
ALTER TABLE lonely ALTER v SET STORAGE EXTERNAL
ALTER TABLE base ALTER label SET STORAGE EXTERNAL
ALTER TABLE lonely ALTER v SET COMPRESSION pglz
ALTER TABLE lonely DROP COLUMN v
ALTER TABLE purchase DROP COLUMN customer
ALTER TABLE base DROP COLUMN label
ALTER TABLE lonely ADD CHECK (w > 0)
ALTER TABLE lonely ADD CONSTRAINT c CHECK (w > 0) NOT VALID
ALTER TABLE base ADD CHECK (id > 0)
ALTER TABLE event ADD CHECK (v > 0)
ALTER TABLE lonely ADD PRIMARY KEY (id)
ALTER TABLE lonely ADD UNIQUE (id)
ALTER TABLE lonely ADD CONSTRAINT u UNIQUE USING INDEX lonely_w
ALTER TABLE lonely ADD CONSTRAINT p PRIMARY KEY USING INDEX lonely_w
ALTER TABLE lonely ADD EXCLUDE (id WITH =)
ALTER TABLE event ADD UNIQUE (at, v)
ALTER TABLE event ADD PRIMARY KEY (at)
ALTER TABLE purchase ADD FOREIGN KEY (n) REFERENCES customer
ALTER TABLE purchase ADD FOREIGN KEY (n) REFERENCES customer NOT VALID
ALTER TABLE lonely ADD FOREIGN KEY (w) REFERENCES lonely (w)
18|ALTER TABLE event ADD FOREIGN KEY (v) REFERENCES watched NOT VALID
ALTER TABLE event ADD FOREIGN KEY (who) REFERENCES customer
18|ALTER TABLE lonely ADD CONSTRAINT given NOT NULL w
18|ALTER TABLE lonely ADD CONSTRAINT given NOT NULL w NOT VALID
18|ALTER TABLE purchase ADD FOREIGN KEY (n) REFERENCES customer NOT ENFORCED
ALTER TABLE purchase ALTER CONSTRAINT purchase_customer DEFERRABLE
ALTER TABLE unchecked VALIDATE CONSTRAINT later
ALTER TABLE unchecked VALIDATE CONSTRAINT later_too
ALTER TABLE unchecked VALIDATE CONSTRAINT later_customer
ALTER TABLE purchase VALIDATE CONSTRAINT purchase_customer
ALTER TABLE purchase DROP CONSTRAINT purchase_customer
ALTER TABLE customer DROP CONSTRAINT n_given
ALTER TABLE customer DROP CONSTRAINT customer_pkey CASCADE
ALTER TABLE customer ALTER note TYPE varchar
ALTER TABLE customer ALTER note TYPE varchar(20)
ALTER TABLE lonely ALTER v TYPE text
ALTER TABLE lonely ALTER v TYPE text USING v::text
ALTER TABLE lonely ALTER v TYPE text USING v || 'x'
ALTER TABLE customer ALTER amount TYPE numeric(10,2)
ALTER TABLE customer ALTER amount TYPE numeric(10,3)
ALTER TABLE customer ALTER amount TYPE numeric(6,2)
ALTER TABLE customer ALTER amount TYPE numeric
ALTER TABLE customer ALTER amount TYPE numeric(10)
ALTER TABLE customer ALTER at TYPE timestamptz
ALTER TABLE customer ALTER at TYPE timestamp(3)
ALTER TABLE customer ALTER precise TYPE timestamp(6)
ALTER TABLE customer ALTER precise TYPE timestamp(1)
ALTER TABLE customer ALTER precise TYPE timestamp
ALTER TABLE customer ALTER bits TYPE bit varying(16)
ALTER TABLE customer ALTER bits TYPE bit varying(4)
ALTER TABLE customer ALTER fixed TYPE char(8)
ALTER TABLE customer ALTER fixed TYPE text
ALTER TABLE customer ALTER plain TYPE bigint
ALTER TABLE customer ALTER plain TYPE oid
ALTER TABLE customer ALTER plain TYPE positive USING plain + 1
ALTER TABLE customer ALTER note TYPE text COLLATE "C"
ALTER TABLE customer ALTER code TYPE bigint
ALTER TABLE event ALTER v TYPE bigint
ALTER TABLE base ALTER id TYPE bigint
ALTER TABLE purchase ALTER customer TYPE bigint
ALTER FOREIGN TABLE distant ALTER v OPTIONS (column_name 'x')
ALTER TABLE lonely OWNER TO pg_monitor
ALTER TABLE event OWNER TO pg_monitor
ALTER TABLE purchase OWNER TO pg_monitor
ALTER TABLE purchase CLUSTER ON purchase_total
ALTER TABLE purchase SET WITHOUT CLUSTER
ALTER TABLE lonely SET UNLOGGED
ALTER TABLE lonely SET LOGGED
ALTER TABLE quick SET LOGGED
ALTER TABLE lonely SET WITHOUT OIDS
15|ALTER TABLE lonely SET ACCESS METHOD heap
ALTER TABLE lonely SET TABLESPACE pg_default
ALTER TABLE lonely SET (fillfactor = 70)
ALTER TABLE lonely SET (autovacuum_enabled = false, parallel_workers = 2)
ALTER TABLE lonely SET (user_catalog_table = true)
ALTER TABLE lonely RESET (fillfactor)
ALTER INDEX purchase_total SET (fillfactor = 70)
ALTER INDEX purchase_total SET (deduplicate_items = off)
ALTER VIEW seen SET (security_barrier = true)
15|ALTER VIEW seen SET (security_invoker = true)
ALTER VIEW seen ALTER name SET DEFAULT ''
ALTER TABLE watched ENABLE TRIGGER watching
ALTER TABLE watched ENABLE ALWAYS TRIGGER watching
ALTER TABLE watched ENABLE REPLICA TRIGGER watching
ALTER TABLE watched DISABLE TRIGGER watching
ALTER TABLE watched ENABLE TRIGGER ALL
ALTER TABLE watched DISABLE TRIGGER ALL
ALTER TABLE watched ENABLE TRIGGER USER
ALTER TABLE watched DISABLE TRIGGER USER
ALTER TABLE event DISABLE TRIGGER USER
ALTER TABLE watched ENABLE RULE quiet
ALTER TABLE watched ENABLE ALWAYS RULE quiet
ALTER TABLE watched ENABLE REPLICA RULE quiet
ALTER TABLE watched DISABLE RULE quiet
ALTER TABLE foreigner INHERIT base
ALTER TABLE derived NO INHERIT base
ALTER TABLE shaped OF pair
ALTER TABLE typed NOT OF
ALTER TABLE lonely REPLICA IDENTITY FULL
ALTER TABLE purchase REPLICA IDENTITY USING INDEX purchase_pkey
ALTER TABLE lonely ENABLE ROW LEVEL SECURITY
ALTER TABLE lonely DISABLE ROW LEVEL SECURITY
ALTER TABLE lonely FORCE ROW LEVEL SECURITY
ALTER TABLE lonely NO FORCE ROW LEVEL SECURITY
ALTER FOREIGN TABLE distant OPTIONS (table_name 'x')
ALTER TABLE event ATTACH PARTITION event_free FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')
ALTER TABLE log ATTACH PARTITION log_free FOR VALUES FROM ('2023-01-01') TO ('2024-01-01')
ALTER INDEX log_v ATTACH PARTITION log_2024_v
ALTER TABLE event DETACH PARTITION event_2024
ALTER TABLE log DETACH PARTITION log_2024
ALTER TABLE watched ALTER id ADD GENERATED ALWAYS AS IDENTITY
ALTER TABLE purchase ALTER id SET GENERATED BY DEFAULT
ALTER TABLE purchase ALTER id DROP IDENTITY
ALTER TABLE lonely ADD COLUMN x int, ALTER w SET STATISTICS 5
ALTER MATERIALIZED VIEW summary SET (fillfactor = 70)
ALTER SEQUENCE number OWNER TO pg_monitor
ALTER VIEW seen OWNER TO pg_monitor
ALTER INDEX purchase_next ALTER COLUMN 1 SET STATISTICS 10
ALTER TYPE pair ADD ATTRIBUTE c int CASCADE
ALTER TYPE pair DROP ATTRIBUTE b CASCADE
""")

RELATIONS: Final = _cases("""
CREATE TABLE fresh (id int)
CREATE TABLE fresh (id int REFERENCES customer, FOREIGN KEY (id) REFERENCES purchase)
CREATE TABLE fresh (LIKE customer INCLUDING ALL)
CREATE TABLE fresh () INHERITS (base)
CREATE TABLE event_2026 PARTITION OF event FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
CREATE TABLE log_2026 PARTITION OF log FOR VALUES FROM ('2026-01-01') TO ('2027-01-01')
CREATE TABLE IF NOT EXISTS customer (id int)
CREATE TEMP TABLE fresh (id serial)
CREATE TABLE fresh OF pair
CREATE TABLE fresh AS SELECT * FROM customer
CREATE MATERIALIZED VIEW fresh AS SELECT * FROM seen
SELECT * INTO fresh FROM customer
CREATE FOREIGN TABLE fresh (id int) SERVER elsewhere
CREATE INDEX fresh ON lonely (w)
CREATE UNIQUE INDEX ON lonely (id)
CREATE INDEX IF NOT EXISTS purchase_total ON purchase (total)
CREATE INDEX fresh ON event (v)
CREATE INDEX fresh ON ONLY event (v)
CREATE INDEX fresh ON summary (number)
CREATE VIEW fresh AS SELECT name FROM customer JOIN purchase ON customer.id = purchase.customer
CREATE VIEW fresh AS SELECT * FROM seen
CREATE VIEW fresh AS SELECT * FROM event
CREATE OR REPLACE VIEW seen AS SELECT id, name FROM customer
CREATE OR REPLACE VIEW seen AS SELECT id, name FROM customer WHERE n < (SELECT max(total) FROM purchase)
CREATE SEQUENCE fresh
CREATE SEQUENCE fresh OWNED BY lonely.id
ALTER SEQUENCE number INCREMENT 2
ALTER SEQUENCE number RESTART
ALTER SEQUENCE number OWNED BY lonely.id
CREATE TRIGGER fresh BEFORE INSERT ON lonely FOR EACH ROW EXECUTE FUNCTION touch()
CREATE OR REPLACE TRIGGER watching BEFORE INSERT ON watched FOR EACH ROW EXECUTE FUNCTION touch()
CREATE TRIGGER fresh BEFORE INSERT ON event FOR EACH ROW EXECUTE FUNCTION touch()
CREATE TRIGGER fresh AFTER INSERT ON lonely FOR EACH STATEMENT EXECUTE FUNCTION touch()
CREATE CONSTRAINT TRIGGER fresh AFTER INSERT ON lonely FROM customer FOR EACH ROW EXECUTE FUNCTION touch()
CREATE TRIGGER fresh INSTEAD OF INSERT ON seen FOR EACH ROW EXECUTE FUNCTION touch()
CREATE RULE fresh AS ON INSERT TO lonely DO ALSO INSERT INTO base VALUES (NEW.id)
CREATE RULE fresh AS ON UPDATE TO lonely DO INSTEAD NOTHING
CREATE POLICY fresh ON lonely USING (w IN (SELECT id FROM customer))
CREATE POLICY fresh ON event FOR SELECT USING (true)
ALTER POLICY everybody ON watched USING (id > 0)
ALTER POLICY everybody ON watched RENAME TO somebody
CREATE STATISTICS fresh ON v, w FROM lonely
CREATE SCHEMA fresh
CREATE SCHEMA fresh CREATE TABLE inner_one (id int) CREATE VIEW inner_view AS SELECT * FROM customer
CREATE PUBLICATION fresh FOR TABLE customer
CREATE PUBLICATION fresh FOR TABLE event, base
CREATE PUBLICATION fresh FOR ALL TABLES
ALTER PUBLICATION news ADD TABLE customer
ALTER PUBLICATION news DROP TABLE foreigner
DROP TABLE lonely
DROP TABLE purchase
DROP TABLE customer CASCADE
DROP TABLE event
DROP TABLE event_2024
DROP TABLE log_2024
DROP TABLE derived
DROP TABLE base CASCADE
DROP TABLE IF EXISTS nowhere
DROP VIEW seen_twice
DROP VIEW seen CASCADE
DROP MATERIALIZED VIEW summary
DROP SEQUENCE number
DROP SEQUENCE lonely_id_seq CASCADE
DROP FOREIGN TABLE distant
DROP INDEX purchase_total
DROP INDEX event_v
DROP TRIGGER watching ON watched
DROP RULE quiet ON watched
DROP POLICY everybody ON watched
DROP FUNCTION volatile_number()
DROP FUNCTION touch() CASCADE
DROP TYPE mood
DROP TYPE pair CASCADE
DROP DOMAIN loose CASCADE
DROP SCHEMA other CASCADE
DROP SERVER elsewhere CASCADE
DROP STATISTICS lonely_statistics
DROP PUBLICATION news
DROP PROCEDURE nothing()
DROP TEXT SEARCH CONFIGURATION words
TRUNCATE lonely
TRUNCATE lonely RESTART IDENTITY
TRUNCATE event
TRUNCATE base
TRUNCATE ONLY base
TRUNCATE customer CASCADE
TRUNCATE purchase, watched
ALTER TABLE lonely RENAME TO renamed
ALTER TABLE lonely RENAME v TO renamed
ALTER TABLE base RENAME label TO renamed
ALTER TABLE event RENAME v TO renamed
ALTER TABLE customer RENAME CONSTRAINT n_given TO renamed
ALTER INDEX purchase_total RENAME TO renamed
ALTER VIEW seen RENAME TO renamed
ALTER SEQUENCE number RENAME TO renamed
ALTER TRIGGER watching ON watched RENAME TO renamed
ALTER RULE quiet ON watched RENAME TO renamed
ALTER TYPE pair RENAME ATTRIBUTE a TO renamed CASCADE
ALTER TYPE mood RENAME TO renamed
ALTER TABLE lonely SET SCHEMA other
ALTER VIEW seen SET SCHEMA other
ALTER SEQUENCE number SET SCHEMA other
ALTER MATERIALIZED VIEW summary SET SCHEMA other
ALTER TYPE mood SET SCHEMA other
ALTER TYPE mood OWNER TO pg_monitor
ALTER SCHEMA other OWNER TO pg_monitor
ALTER FUNCTION touch() OWNER TO pg_monitor
LOCK TABLE lonely IN SHARE MODE
LOCK TABLE event IN ROW EXCLUSIVE MODE
LOCK TABLE base
LOCK TABLE seen_twice IN ACCESS SHARE MODE
CLUSTER purchase USING purchase_total
ANALYZE lonely
ANALYZE event
REINDEX TABLE purchase
REINDEX INDEX purchase_total
REFRESH MATERIALIZED VIEW summary
REFRESH MATERIALIZED VIEW summary WITH NO DATA
REFRESH MATERIALIZED VIEW CONCURRENTLY summary
COMMENT ON TABLE lonely IS 'x'
COMMENT ON COLUMN lonely.v IS 'x'
COMMENT ON INDEX purchase_total IS 'x'
COMMENT ON VIEW seen IS 'x'
COMMENT ON CONSTRAINT n_given ON customer IS 'x'
COMMENT ON TRIGGER watching ON watched IS 'x'
COMMENT ON POLICY everybody ON watched IS 'x'
COMMENT ON RULE quiet ON watched IS 'x'
COMMENT ON FUNCTION touch() IS 'x'
COMMENT ON SCHEMA other IS 'x'
GRANT SELECT ON lonely TO pg_monitor
GRANT SELECT (v) ON lonely TO pg_monitor
GRANT SELECT ON event, seen TO pg_monitor
GRANT USAGE ON SEQUENCE number TO pg_monitor
GRANT SELECT ON ALL TABLES IN SCHEMA public TO pg_monitor
GRANT USAGE ON SCHEMA other TO pg_monitor
REVOKE ALL ON lonely FROM pg_monitor
ALTER DOMAIN loose ADD CHECK (VALUE > 0)
ALTER DOMAIN loose ADD CHECK (VALUE > 0) NOT VALID
ALTER DOMAIN loose VALIDATE CONSTRAINT late
ALTER DOMAIN loose SET NOT NULL
ALTER DOMAIN loose SET DEFAULT 1
ALTER DOMAIN loose DROP CONSTRAINT late
""")

QUERIES: Final = _cases("""
SELECT * FROM customer
SELECT count(*) FROM seen_twice
SELECT * FROM customer FOR UPDATE
SELECT * FROM customer c JOIN purchase p ON p.customer = c.id FOR SHARE OF p
SELECT * FROM (SELECT * FROM customer) AS inner_one FOR UPDATE
SELECT * FROM seen FOR UPDATE
WITH c AS (SELECT * FROM customer) SELECT * FROM c
WITH d AS (DELETE FROM unchecked RETURNING id) SELECT * FROM d
WITH RECURSIVE r AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM r WHERE i < 3) SELECT * FROM r
SELECT * FROM customer UNION SELECT * FROM customer
SELECT * FROM event WHERE at < '2025-01-01'
SELECT * FROM ONLY base
SELECT * FROM base
SELECT nextval('number')
SELECT setval('number', 5)
SELECT set_config('search_path', 'other', true)
SELECT (SELECT max(id) FROM customer), EXISTS (SELECT FROM purchase)
VALUES (1), (2)
TABLE customer
INSERT INTO customer (id) SELECT 1000 FROM purchase LIMIT 0
INSERT INTO purchase (customer, total) VALUES (1, 1)
INSERT INTO lonely (v) VALUES ('x')
INSERT INTO event VALUES ('2024-02-02', 1, 1)
INSERT INTO event_2024 VALUES ('2024-02-02', 1, 1)
INSERT INTO customer (id, n) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET n = 2
INSERT INTO customer (id, n) VALUES (1, 1) ON CONFLICT DO NOTHING
INSERT INTO seen (id, name) SELECT 2000, 'x' WHERE false
UPDATE lonely SET v = 'y'
UPDATE customer SET n = 1 WHERE id = 1
UPDATE event SET v = 1 WHERE at = '2024-06-06'
UPDATE base SET label = 'x'
UPDATE purchase SET total = c.n FROM customer c WHERE c.id = purchase.customer
UPDATE seen SET name = 'x'
UPDATE watched SET v = 1
DELETE FROM lonely
DELETE FROM purchase WHERE id = 1
DELETE FROM customer WHERE id < 0
DELETE FROM watched
15|MERGE INTO lonely l USING customer c ON c.id = l.w WHEN MATCHED THEN UPDATE SET v = 'z'
15|MERGE INTO lonely l USING customer c ON c.id = -l.w WHEN NOT MATCHED THEN INSERT (v) VALUES ('n')
15|MERGE INTO purchase USING (SELECT 1 AS i) s ON s.i = purchase.id WHEN MATCHED THEN DELETE
COPY lonely TO PROGRAM 'cat > /dev/null'
COPY (SELECT * FROM customer) TO PROGRAM 'cat > /dev/null'
COPY base (id) FROM PROGRAM 'echo 1'
EXPLAIN SELECT * FROM customer
EXPLAIN ANALYZE UPDATE lonely SET v = 'y'
DECLARE c CURSOR FOR SELECT * FROM customer
PREPARE p AS SELECT * FROM customer
PREPARE p AS UPDATE lonely SET v = 'y'
""")

NO_RELATION: Final = _cases("""
SAVEPOINT s
SET search_path TO other
SHOW search_path
SET CONSTRAINTS ALL IMMEDIATE
LISTEN x
UNLISTEN x
NOTIFY x
CLOSE ALL
DEALLOCATE ALL
DISCARD PLANS
CHECKPOINT
LOAD 'plpgsql'
CREATE FUNCTION fresh() RETURNS int LANGUAGE sql AS 'SELECT 1'
ALTER FUNCTION touch() STABLE
CREATE LANGUAGE fresh HANDLER plpgsql_call_handler
CREATE TYPE fresh AS ENUM ('a')
ALTER TYPE mood ADD VALUE 'so'
CREATE TYPE fresh AS RANGE (subtype = int)
CREATE TYPE fresh AS (a int)
CREATE DOMAIN fresh AS int CHECK (VALUE > 0)
CREATE AGGREGATE fresh (int) (sfunc = int4pl, stype = int)
CREATE CAST (mood AS color) WITH INOUT
CREATE CONVERSION fresh FOR 'LATIN1' TO 'UTF8' FROM iso8859_1_to_utf8
CREATE OPERATOR CLASS fresh FOR TYPE int USING btree AS FUNCTION 1 btint4cmp(int, int)
CREATE OPERATOR FAMILY fresh USING btree
ALTER OPERATOR FAMILY own USING btree ADD FUNCTION 1 (int, int) btint4cmp(int, int)
CREATE ACCESS METHOD fresh TYPE TABLE HANDLER heap_tableam_handler
ALTER TEXT SEARCH DICTIONARY simple_words (accept = false)
ALTER TEXT SEARCH CONFIGURATION words ALTER MAPPING FOR word WITH simple
CREATE ROLE fresh_role
ALTER ROLE CURRENT_USER SET work_mem = '1MB'
ALTER ROLE CURRENT_USER CONNECTION LIMIT 90
GRANT pg_monitor TO pg_signal_backend
ALTER DEFAULT PRIVILEGES GRANT SELECT ON TABLES TO pg_monitor
CREATE EVENT TRIGGER fresh ON ddl_command_end EXECUTE FUNCTION touch_event()
ALTER EVENT TRIGGER present DISABLE
CREATE FOREIGN DATA WRAPPER fresh
ALTER FOREIGN DATA WRAPPER wrapper OPTIONS (a 'b')
CREATE SERVER fresh FOREIGN DATA WRAPPER wrapper
ALTER SERVER elsewhere OPTIONS (a 'b')
CREATE USER MAPPING FOR CURRENT_USER SERVER elsewhere
ALTER USER MAPPING FOR PUBLIC SERVER elsewhere OPTIONS (a 'b')
DROP USER MAPPING FOR PUBLIC SERVER elsewhere
ALTER FUNCTION touch() DEPENDS ON EXTENSION plpgsql
ALTER STATISTICS lonely_statistics SET STATISTICS 10
CREATE SUBSCRIPTION fresh CONNECTION 'dbname=x' PUBLICATION y WITH (connect = false, slot_name = NONE)
ALTER EXTENSION plpgsql ADD FUNCTION touch()
ALTER OPERATOR = (int, int) SET (RESTRICT = eqsel)
ALTER COLLATION mine REFRESH VERSION
ALTER TYPE pg_catalog.int4 SET (STORAGE = plain)
DROP ROLE IF EXISTS nobody
ALTER DATABASE postgres CONNECTION LIMIT 50
ALTER DATABASE postgres SET work_mem = '4MB'
15|ALTER DATABASE postgres REFRESH COLLATION VERSION
DROP SUBSCRIPTION IF EXISTS nobody
""")

OUTSIDE: Final = (
    Case("CREATE INDEX CONCURRENTLY fresh ON purchase (n)", outside="purchase IN ROW EXCLUSIVE MODE"),
    Case(
        "CREATE INDEX CONCURRENTLY fresh ON purchase (n)", outside="purchase IN SHARE UPDATE EXCLUSIVE MODE"
    ),
    Case("DROP INDEX CONCURRENTLY purchase_total", outside="purchase IN ROW EXCLUSIVE MODE"),
    Case("REINDEX TABLE CONCURRENTLY purchase", outside="purchase IN ROW EXCLUSIVE MODE"),
    Case("REINDEX INDEX CONCURRENTLY purchase_total", outside="purchase IN ROW EXCLUSIVE MODE"),
    Case("REINDEX (CONCURRENTLY) TABLE purchase", outside="purchase IN ROW EXCLUSIVE MODE"),
    Case("REINDEX TABLE event", outside="event_2025 IN ROW EXCLUSIVE MODE"),
    Case("VACUUM lonely", outside="lonely IN SHARE UPDATE EXCLUSIVE MODE"),
    Case("VACUUM (ANALYZE) lonely", outside="lonely IN SHARE UPDATE EXCLUSIVE MODE"),
    Case("VACUUM FULL lonely", outside="lonely IN ACCESS SHARE MODE"),
    Case(
        "ALTER TABLE event DETACH PARTITION event_2024 CONCURRENTLY",
        outside="event_2024 IN ACCESS SHARE MODE",
    ),
)
"""Looked at while they wait."""

NEVER_LOCK: Final = frozenset(
    (
        *("createdb_stmt", "dropdb_stmt", "alter_system_stmt"),
        *("create_table_space_stmt", "drop_table_space_stmt", "alter_table_space_options_stmt"),
        *("create_transform_stmt", "sec_label_stmt"),
    )
)
"""Statements about the server, not this database; and those that need C code of somebody's to be tried."""
