"""``fluxbase-migrate plan``: what would run now, and what it would do."""

import json
import re
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from dev.peers import write_files
from dev.postgres_server import Endpoint
from dev.waiting import eventually
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.runner.lookahead.effect import Effect, State
from fluxbase_migrations.runner.lookahead.modes import Lock
from fluxbase_migrations.runner.lookahead.pending import Target, pending
from fluxbase_migrations.runner.lookahead.wrapping import WIDTH
from tests.runner.test_cli import typed
from tests.runner.track import Runner, source
from tests.support.databases import Database, administer, create_login, drop_role, fresh_database

APPLIED = {
    "001_order.up.sql": "CREATE TABLE purchase (id int PRIMARY KEY, total int, v text);"
    "INSERT INTO purchase SELECT i, i FROM generate_series(1, 5000) i;",
    "001_order.down.sql": "DROP TABLE purchase;",
}
PENDING = {
    "002_big.up.sql": "ALTER TABLE purchase ALTER total TYPE bigint;\n"
    "CREATE TABLE item (purchase int REFERENCES purchase);\nCREATE INDEX item_purchase ON item (purchase);",
    "002_big.down.sql": "DROP TABLE item; ALTER TABLE purchase ALTER total TYPE int;",
    "003_index.up.sql": "CREATE INDEX CONCURRENTLY purchase_v ON purchase (v);\n"
    "DO $$ BEGIN END $$;\nALTER TABLE purchase DROP COLUMN v;",
}


def plan(database: Database, directory: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return typed("plan", *words, directory=directory, DATABASE_URL=database.dsn)


def tracks(database: Database, directory: Path, *words: str) -> list[dict[str, Any]]:
    done = plan(database, directory, *words, "-o", "json")
    assert not done.stderr, done.stderr
    found: list[dict[str, Any]] = json.loads(done.stdout)["tracks"]
    return found


def test_programs_find_the_worst_at_the_top(database: Database, tmp_path: Path) -> None:
    def top() -> dict[str, Any]:
        document: dict[str, Any] = json.loads(plan(database, tmp_path, "1", "-o", "json").stdout)
        return {key: value for key, value in document.items() if key != "tracks"}

    directory = applied(database, tmp_path)
    nothing = {"pending": 0, "strongestLock": None, "destructive": False, "unknown": False}
    assert top() == nothing
    write_files(directory, {"002_a.up.sql": "CREATE TABLE fresh (); DROP TABLE fresh;"})
    assert top() == {**nothing, "pending": 1}
    write_files(directory, {"002_a.up.sql": "DO ''; CREATE INDEX ON purchase (v); DELETE FROM purchase;"})
    assert top() == {"pending": 1, "strongestLock": "SHARE", "destructive": True, "unknown": True}


def user(database: Database, directory: Path, *words: str) -> dict[str, Any]:
    (found,) = tracks(database, directory, "--track", "user", *words)
    return found


def applied(database: Database, directory: Path, files: Mapping[str, str] = APPLIED) -> Path:
    """A database with these files applied; the directory of the files."""
    made = write_files(directory / "migrations", files)
    done = typed("up", directory=directory, DATABASE_URL=database.dsn)
    assert done.returncode == 0, done.stdout
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute("ANALYZE")
    return made


def test_the_exit_code_tells_whether_something_is_pending(database: Database, tmp_path: Path) -> None:
    directory = applied(database, tmp_path)
    words = ("--track", "user", "--detailed-exitcode")
    assert plan(database, tmp_path, *words).returncode == 0
    write_files(directory, PENDING)
    assert plan(database, tmp_path, *words).returncode == 2
    assert plan(database, tmp_path, "--track", "user").returncode == 0, "only where it is asked for"
    (directory / "001_order.up.sql").rename(directory / "009_order.up.sql")
    (directory / "001_order.down.sql").unlink()
    refused = plan(database, tmp_path, *words)
    assert refused.returncode == 1
    assert refused.stdout.count("no migration found for version 1") == 1, "an error is told once"


@pytest.mark.parametrize(
    "words",
    [("--nonsense",), ("x",), ("1", "--to", "2"), ()],
    ids=["option", "number", "both", "no database"],
)
def test_a_usage_error_does_not_look_as_if_something_were_pending(
    tmp_path: Path, words: tuple[str, ...]
) -> None:
    def code(*more: str) -> int:
        return typed("plan", *words, *more, directory=tmp_path, PGDATABASE="").returncode

    assert (code(), code("--detailed-exitcode")) == (2, 1)


def test_people_read_what_is_locked_and_whom_that_blocks(database: Database, tmp_path: Path) -> None:
    write_files(applied(database, tmp_path), PENDING)
    done = plan(database, tmp_path, "--track", "user")
    size = "[… kB, ~5000 rows]"
    assert re.sub(r"\[\d+ kB", "[… kB", done.stdout).splitlines() == [
        "user (migrations.app): version 1, 2 files pending",
        "",
        "002_big.up.sql: atomic",
        "  1 ALTER TABLE (line 1)",
        f"    public.purchase {size}: ACCESS EXCLUSIVE, blocks reads, writes, DDL; is rewritten",
        "  2 CREATE TABLE (line 2)",
        f"    public.purchase {size}: SHARE ROW EXCLUSIVE, blocks writes, DDL (referenced by the",
        "        foreign key)",
        "  3 CREATE INDEX: locks nothing that exists",
        "",
        "003_index.up.sql: 2 transactions (statement 1, CREATE INDEX: cannot run in a transaction)",
        "  no down file: it cannot be rolled back",
        "  1 CREATE INDEX (line 1, transaction 1)",
        f"    public.purchase {size}: SHARE UPDATE EXCLUSIVE, blocks DDL; is scanned",
        "    note: waits for the end of every transaction that uses the table",
        "  2 DO (line 2, transaction 2)",
        "    UNKNOWN: what the block does",
        "  3 ALTER TABLE (line 3, transaction 2)",
        f"    public.purchase {size}: ACCESS EXCLUSIVE, blocks reads, writes, DDL",
        "    DESTROYS: column v of purchase is dropped with its values",
        "",
        "strongest lock: ACCESS EXCLUSIVE on public.purchase (002_big.up.sql, statement 1)",
        "1 relation is rewritten",
        "1 relation is scanned",
        "1 of 6 statements is destructive",
        "1 of 6 statements is not known in full",
    ]


def test_programs_read_it_too(database: Database, tmp_path: Path) -> None:
    write_files(applied(database, tmp_path), PENDING)
    found = user(database, tmp_path)
    assert (found["track"], found["table"], found["version"], found["dirty"]) == (
        "user",
        "migrations.app",
        1,
        False,
    )
    first, second = found["files"]
    assert (first["version"], first["atomic"], first["hasDownFile"]) == (2, True, True)
    assert (second["atomic"], second["hasDownFile"]) == (False, False)
    (alter,) = first["statements"][0]["relations"]
    assert alter.pop("bytes") > 100_000
    assert alter == {
        "relation": "public.purchase",
        "state": "exists",
        "rows": 5000,
        "lock": "ACCESS EXCLUSIVE",
        "blocks": ["reads", "writes", "DDL"],
        "work": "rewrite",
        "certain": True,
        "why": "",
    }
    assert [one["relations"][0]["state"] for one in first["statements"]] == ["exists", "exists", "new"]
    assert [one["transaction"] for one in second["statements"]] == [1, 2, 2]


def test_nothing_is_changed_and_no_transaction_is_counted(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", APPLIED)
    with psycopg.connect(database.admin_dsn, autocommit=True) as observer:
        count = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text"
        before = observer.execute(count).fetchall()
        assert plan(database, tmp_path).returncode == 0
        assert observer.execute(count).fetchall() == before
        left = "SELECT count(*) FROM pg_class WHERE relnamespace::regnamespace::text = 'migrations'"
        assert observer.execute(left).fetchall() == [(0,)]


def test_a_role_that_may_only_connect_sees_the_plan(database: Database, tmp_path: Path) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("CREATE SCHEMA closed; CREATE TABLE closed.purchase (id int)")
    write_files(tmp_path / "migrations", {"1_a.up.sql": "ALTER TABLE closed.purchase ADD x int;"})
    name = f"{database.user}_reader"
    create_login(database.server, name, "secret", "")
    try:
        url = database.server.dsn(database.name, name, "secret")
        done = typed("plan", "--track", "user", directory=tmp_path, DATABASE_URL=url)
    finally:
        drop_role(database.server, name)
    assert done.returncode == 0, done.stdout
    assert "closed.purchase [0 bytes]: ACCESS EXCLUSIVE" in done.stdout


def test_a_table_that_somebody_has_locked_is_not_waited_for(database: Database, tmp_path: Path) -> None:
    write_files(applied(database, tmp_path), PENDING)
    with psycopg.connect(database.dsn) as holder:
        holder.execute("LOCK TABLE purchase")
        found = user(database, tmp_path)
    (alter,) = found["files"][0]["statements"][0]["relations"]
    assert (alter["lock"], alter["rows"]) == ("ACCESS EXCLUSIVE", 5000)
    assert alter["bytes"] > 100_000, "the last ANALYZE's"


def test_edited_late_and_missing_files_are_told(database: Database, tmp_path: Path) -> None:
    directory = applied(database, tmp_path, {**APPLIED, "005_five.up.sql": "CREATE TABLE five ();"})
    write_files(directory, {"001_order.up.sql": "SELECT 1;", "003_late.up.sql": "SELECT 1;"})
    write_files(directory, {"006_six.down.sql": "SELECT 1;"})
    found = user(database, tmp_path)
    assert found["warnings"] == [
        "001_order.up.sql was edited after it was applied; the database keeps what it did then",
        "version 3 is out of order: below the recorded version, never applied",
    ]
    (six,) = found["files"]
    assert (six["file"], six["statements"]) == (None, [])


def test_a_dirty_version_comes_first(database: Database, tmp_path: Path) -> None:
    directory = applied(database, tmp_path)
    write_files(directory, {"002_bad.up.sql": "SELECT no_such_column;", "003_more.up.sql": "SELECT 1;"})
    assert typed("up", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 1
    found = user(database, tmp_path)
    assert found["dirty"]
    assert [(file["version"], file["dirty"]) for file in found["files"]] == [(2, True), (3, False)]


def test_a_failed_down_file_of_the_first_version_comes_first(
    database: Database, runner: Runner, tmp_path: Path
) -> None:
    applied(database, tmp_path)
    runner.query("DROP TABLE migrations.history; UPDATE migrations.app SET version = -1, dirty = true")
    found = user(database, tmp_path)
    assert [(file["file"], file["dirty"]) for file in found["files"]] == [
        ("001_order.down.sql", True),
        ("001_order.up.sql", False),
    ]


def test_a_file_that_would_be_refused_is_an_error_with_its_place(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", {"1_a.up.sql": "SELECT 1;\nSELECT 'open;"})
    done = plan(database, tmp_path, "--track", "user", "--detailed-exitcode")
    assert done.returncode == 1
    assert "error: 1_a.up.sql:2:8" in done.stdout


@pytest.mark.parametrize(
    ("words", "versions"),
    [
        ((), [2, 3]),
        (("1",), [2]),
        (("--to", "2"), [2]),
        (("--to", "1"), []),
    ],
    ids=["everything", "the next", "up to", "where it is"],
)
def test_the_plan_goes_as_far_as_is_asked(
    database: Database, tmp_path: Path, words: tuple[str, ...], versions: list[int]
) -> None:
    write_files(applied(database, tmp_path), PENDING)
    assert [file["version"] for file in user(database, tmp_path, *words)["files"]] == versions


def test_the_way_down_is_planned_too(database: Database, tmp_path: Path) -> None:
    applied(database, tmp_path, {**APPLIED, "002_two.up.sql": "", "002_two.down.sql": "TRUNCATE purchase;"})
    (file,) = user(database, tmp_path, "--to", "1")["files"]
    assert (file["file"], file["direction"]) == ("002_two.down.sql", "down")
    assert file["statements"][0]["destructive"] == ["every row of purchase is deleted"]


def test_what_the_plan_itself_drops_and_makes_is_known(shop: Runner) -> None:
    def states(file: str) -> list[State]:
        return [one.relation.state for one in effects(shop, file)[-1].touches]

    assert states("DROP TABLE thing CASCADE; ALTER TABLE child ADD v int") == [State.EXISTS]
    assert states("DROP TABLE thing CASCADE; ALTER TABLE seen RENAME TO s") == [State.UNKNOWN]
    assert states("DROP TABLE thing CASCADE; CREATE TABLE thing (); DROP TABLE thing") == [State.NEW]
    assert states("DROP TABLE many; ALTER TABLE many_1 ADD v int") == [State.UNKNOWN]
    assert states("DROP SCHEMA other CASCADE; ALTER TABLE other.thing ADD v int") == [State.UNKNOWN]
    again = "DROP TABLE thing CASCADE; CREATE TABLE thing (id int);"
    assert effects(shop, f"{again} CREATE INDEX IF NOT EXISTS thing_pkey ON thing (id)")[-1].notes == ()


def test_each_file_begins_with_the_sessions_own_settings(shop: Runner) -> None:
    files = {
        "1_a.up.sql": "SET search_path TO other; CREATE TEMP TABLE child (); DROP TABLE thing;"
        "RESET ALL; DROP TABLE thing",
        "2_b.up.sql": "SET search_path TO nowhere, public; DROP TABLE child",
        "3_c.up.sql": "ALTER VIEW seen SET (security_barrier = true)",
    }
    (track,) = pending(shop.setup, [(Track.USER, source(files))], Target())
    named = [
        touch.relation.name
        for file in track.files
        for one in file.statements
        for touch in one.effect.touches
        if not touch.why
    ]
    assert named == ["other.thing", "public.thing", "public.child", "public.seen"]


def test_event_triggers_are_named(database: Database, runner: Runner, tmp_path: Path) -> None:
    with psycopg.connect(database.admin_dsn) as connection:
        connection.execute("CREATE FUNCTION e() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END'")
        for name in ("acts", "sleeps"):
            made = sql.SQL("CREATE EVENT TRIGGER {} ON sql_drop EXECUTE FUNCTION e()")
            connection.execute(made.format(sql.Identifier(name)))
        connection.execute("ALTER EVENT TRIGGER sleeps DISABLE")
    (track,) = pending(runner.setup, [(Track.USER, source({"1_a.up.sql": "SELECT 1"}))], Target())
    assert track.warnings == ("the event trigger acts fires on DDL; what it does is unknown",)


def test_what_the_plan_has_made_itself_is_no_loss(shop: Runner) -> None:
    made = "CREATE TABLE made (v int);"
    for lost in ("DROP TABLE made", "TRUNCATE made", "DELETE FROM made", "ALTER TABLE made DROP COLUMN v"):
        assert effects(shop, f"{made} {lost}")[-1].destructive == ()


def test_without_files_nothing_is_pending(database: Database, tmp_path: Path) -> None:
    applied(database, tmp_path)
    for file in (tmp_path / "migrations").iterdir():
        file.unlink()
    done = plan(database, tmp_path, "--track", "user", "--detailed-exitcode")
    assert (done.returncode, done.stdout.splitlines()) == (
        0,
        ["user (migrations.app): version 1, nothing pending", "  warning: there are no migration files"],
    )


def test_a_number_alone_means_the_track_that_up_means(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", APPLIED)
    assert [track["track"] for track in tracks(database, tmp_path)] == ["system", "user"]
    assert [track["track"] for track in tracks(database, tmp_path, "1")] == ["user"]


def test_another_version_table_is_told_as_a_run_would(
    database: Database, runner: Runner, tmp_path: Path
) -> None:
    runner.query("CREATE TABLE schema_migrations (version bigint PRIMARY KEY, dirty boolean NOT NULL)")
    runner.query("INSERT INTO schema_migrations VALUES (1, false)")
    write_files(tmp_path / "migrations", APPLIED)
    done = plan(database, tmp_path, "--track", "user")
    assert done.returncode == 1
    assert "public.schema_migrations" in done.stdout


SETUP = """
CREATE SCHEMA other;
CREATE TABLE other.thing (id int);
CREATE TABLE thing (id int PRIMARY KEY, v int);
CREATE TABLE child (id int, thing int REFERENCES thing);
CREATE VIEW seen AS SELECT * FROM thing;
CREATE TABLE "Odd ""name" (id int);
CREATE TABLE many (id int) PARTITION BY LIST (id);
DO $$ BEGIN FOR i IN 1..20 LOOP
    EXECUTE format('CREATE TABLE many_%s PARTITION OF many FOR VALUES IN (%s)', i, i);
END LOOP; END $$;
CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS 'BEGIN RETURN 1; END';
CREATE FUNCTION t() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER acts BEFORE INSERT ON other.thing FOR EACH ROW EXECUTE FUNCTION t();
"""


@pytest.fixture(scope="module")
def shop(postgres: Endpoint) -> Iterator[Runner]:
    """One database for all whose files are only looked at."""
    with fresh_database(postgres) as database:
        made = Runner(database)
        made.query(SETUP)
        yield made


def effects(shop: Runner, file: str) -> list[Effect]:
    """What the plan says of each statement of one file."""
    tracks = [(Track.USER, source({"1_a.up.sql": file}))]
    (track,) = pending(shop.setup, tracks, Target())
    assert not track.failed
    return [one.effect for one in track.files[0].statements]


@pytest.mark.parametrize(
    ("file", "expected"),
    [
        ("ALTER TABLE thing RENAME TO renamed; DROP TABLE renamed CASCADE;", "public.renamed"),
        ("SET search_path TO other; DROP TABLE thing;", "other.thing"),
        ("SELECT set_config('search_path', 'other', false); DROP TABLE thing;", "other.thing"),
        ('ALTER TABLE "Odd ""name" ADD v int;', 'public."Odd ""name"'),
        ("ALTER TABLE thing SET SCHEMA other RESTRICT;", None),
        ("CREATE TEMP TABLE thing (); DROP TABLE thing;", "pg_temp.thing"),
        ("DROP TABLE IF EXISTS nothing;", ""),
        ("ALTER TABLE IF EXISTS nothing ADD x int;", ""),
        ("DROP TABLE thing CASCADE; CREATE TABLE thing (); ALTER TABLE thing ADD v int", "public.thing"),
        ("DROP SCHEMA other CASCADE; ALTER TABLE other.thing ADD v int", "other.thing"),
        ("DROP TABLE many; ALTER TABLE many_1 ADD v int", "many_1"),
        ("DROP TABLE nothing;", "nothing"),
    ],
    ids=[
        *("renamed", "search_path", "set_config", "quoted", "no grammar", "temporary", "if exists"),
        *("alter if exists", "made again", "schema is gone", "partition is gone", "not found"),
    ],
)
def test_names_mean_what_they_mean_when_the_statement_runs(
    shop: Runner, file: str, expected: str | None
) -> None:
    last = effects(shop, file)[-1]
    if expected is None:
        assert last.unknown == (
            "what it does: PostgreSQL 18's grammar does not know it, or it nests too deeply",
        )
    else:
        assert [one.relation.name for one in last.touches][:1] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("file", "unknown"),
    [
        ("DO $$ BEGIN END $$", ["what the block does"]),
        ("CALL p()", ["what the procedure does"]),
        ("EXECUTE p", ["what the prepared statement does"]),
        ("SELECT f()", ["what f() does"]),
        ("SELECT public.f(), now(), max(id) FROM thing", ["what public.f() does"]),
        ("SELECT g()", ["what g() does: it is not found"]),
        ("SELECT query_to_xml('SELECT 1', true, true, '')", ["what query_to_xml() does"]),
        ("SELECT nextval(v) FROM (VALUES ('s')) AS x (v)", ["which sequence is used"]),
        ("INSERT INTO other.thing VALUES (1)", ["what the trigger acts on thing does"]),
        ("DELETE FROM other.thing WHERE id = 1", []),
        ("CREATE VIEW made AS SELECT f()", []),
        ("VACUUM", ["which tables: every one of the database that the role may"]),
        ("REINDEX SCHEMA public", ["which tables: every one of the schema"]),
        ("CREATE EXTENSION hstore", ["what the extension's script does"]),
        ("DROP OWNED BY CURRENT_USER", ["what the role owns"]),
        ("ALTER TABLE thing ADD x int DEFAULT f()", ["what f() does"]),
        ("ALTER TABLE thing ADD CHECK (f() IS NOT NULL)", ["what f() does"]),
        ("ALTER TABLE thing ADD CHECK (f() IS NOT NULL) NOT VALID", []),
        ("COPY thing FROM PROGRAM 'true'", ["what the program does, which the server starts"]),
        (
            "COPY (SELECT f()) TO PROGRAM 'true'",
            ["what the program does, which the server starts", "what f() does"],
        ),
    ],
)
def test_what_the_grammar_cannot_tell_is_said_to_be_unknown(
    shop: Runner, file: str, unknown: list[str]
) -> None:
    assert [*effects(shop, file)[0].unknown] == unknown


@pytest.mark.parametrize(
    ("file", "lost"),
    [
        ("DROP TABLE child", ["table child is dropped with its content"]),
        (
            "TRUNCATE thing CASCADE",
            ["every row of thing is deleted", "every row of child is deleted (CASCADE)"],
        ),
        ("DELETE FROM child", ["every row of child is deleted (no WHERE)"]),
        ("DELETE FROM child USING thing WHERE thing.id = child.id", []),
        (
            "WITH d AS (DELETE FROM child RETURNING id) SELECT * FROM d",
            ["every row of child is deleted (no WHERE)"],
        ),
        ("COPY (DELETE FROM child RETURNING id) TO STDOUT", ["every row of child is deleted (no WHERE)"]),
        ("UPDATE thing SET v = 1", ["every row of thing is overwritten (no WHERE)"]),
        ("UPDATE thing SET v = 1 WHERE id = 1", []),
        ("ALTER TABLE thing DROP COLUMN v", ["column v of thing is dropped with its values"]),
        ("ALTER TABLE thing ALTER v TYPE bigint", []),
        (
            "ALTER TABLE thing ALTER v TYPE smallint",
            ["values of column v are converted: what the new type cannot hold is lost"],
        ),
        ("DROP SCHEMA other CASCADE", ["schema other is dropped with everything in it"]),
        ("DROP VIEW seen", []),
        ("EXPLAIN DELETE FROM child", []),
        ("EXPLAIN (ANALYZE) DELETE FROM child", ["every row of child is deleted (no WHERE)"]),
        ("DROP DATABASE nothing", ["database nothing is dropped"]),
    ],
)
def test_what_is_lost_is_marked(shop: Runner, file: str, lost: list[str]) -> None:
    assert [*effects(shop, file)[0].destructive] == lost


def test_many_partitions_are_a_few_lines_that_fit_the_terminal(
    database: Database, runner: Runner, tmp_path: Path
) -> None:
    runner.query(SETUP)
    long = "\n".join(f"ALTER TABLE {'long_' * 9}{number} ADD v int;" for number in range(3))
    write_files(tmp_path / "migrations", {"1_a.up.sql": f"ALTER TABLE many ADD v int;\n{long}"})
    lines = plan(database, tmp_path, "--track", "user").stdout.splitlines()
    assert "    and 17 more in the same way, 0 bytes together" in lines
    assert max(map(len, lines)) <= WIDTH


def test_a_version_table_that_somebody_has_locked_is_an_error(database: Database, tmp_path: Path) -> None:
    applied(database, tmp_path)
    with psycopg.connect(database.dsn) as holder:
        holder.execute("LOCK TABLE migrations.app")
        done = plan(database, tmp_path, "--track", "user")
    assert done.returncode == 1
    assert "lock timeout" in done.stdout + done.stderr


DOCUMENTED = """
CREATE TABLE other (id int PRIMARY KEY);
CREATE TABLE t (id int PRIMARY KEY, n int, v varchar(20), at timestamp,
    checked int CHECK (checked IS NOT NULL),
    CONSTRAINT late CHECK (n > 0));
ALTER TABLE t ADD CONSTRAINT later CHECK (n > 0) NOT VALID;
CREATE INDEX t_n ON t (n);
CREATE UNIQUE INDEX t_unique ON t (n);
CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
"""
PAGE = Path(__file__).parents[2] / "docs" / "plan.md"
ROWS = re.findall(r"^\| `(.+)` \| ([A-Z ]+) \| ([a-z ]+) \|$", PAGE.read_text(), re.MULTILINE)


def test_the_documentation_shows_what_the_plan_says(database: Database, runner: Runner) -> None:
    runner.query(DOCUMENTED)
    assert len(ROWS) > 50
    wrong = []
    for statement, lock, work in ROWS:
        touches = [one for one in effects(runner, statement)[0].touches if one.relation.name == "public.t"]
        told = [(one.lock.value, one.work.value) for one in touches]
        if told != [(lock, work)]:
            wrong.append(f"{statement}: {told}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("lock", Lock)
def test_the_documentation_shows_whom_a_lock_blocks(lock: Lock) -> None:
    assert f"| {lock} | {', '.join(lock.blocks)} |" in PAGE.read_text()


def copied(database: Database) -> str:
    """The name of a copy of the database."""
    name = f"{database.name}_copy"
    statement = sql.SQL("CREATE DATABASE {} TEMPLATE {} OWNER {}")
    names = (sql.Identifier(one) for one in (name, database.name, database.user))
    eventually("nobody to use it", lambda: _is_free(database))
    administer(database.server, statement.format(*names))
    return name


def _is_free(database: Database) -> bool:
    with psycopg.connect(database.server.dsn()) as connection:
        query = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s"
        return connection.execute(query, [database.name]).fetchall() == [(0,)]


def rehearsed(database: Database, directory: Path, files: Mapping[str, str]) -> tuple[int, dict[str, Any]]:
    """Apply what there is, copy the database, and rehearse ``files`` on the copy."""
    where = applied(database, directory)
    name = copied(database)
    try:
        write_files(where, files)
        url = database.server.dsn(name, database.user, database.password)
        done = plan(database, directory, "--track", "user", "-o", "json", "--rehearse", url)
        assert not done.stderr, done.stderr
        found: dict[str, Any] = json.loads(done.stdout)["rehearsal"]
        return done.returncode, found
    finally:
        administer(database.server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


SLOW = "CREATE FUNCTION slow(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS"
REHEARSED = {
    "002_big.up.sql": "DO $$ BEGIN LOCK TABLE purchase IN SHARE MODE; END $$;\n"
    "ALTER TABLE purchase ADD x int;\n"
    # An index that takes long enough to be looked at while it is built.
    f"{SLOW} 'BEGIN PERFORM pg_sleep(0.00002); RETURN 1; END';",
    "002_big.down.sql": "ALTER TABLE purchase DROP COLUMN x; DROP FUNCTION slow;",
    "003_index.up.sql": "CREATE INDEX CONCURRENTLY purchase_v ON purchase (slow(v));",
    "003_index.down.sql": "DROP INDEX purchase_v;",
}


@pytest.mark.clients
def test_a_rehearsal_tells_what_the_files_really_did(database: Database, tmp_path: Path) -> None:
    code, found = rehearsed(database, tmp_path, REHEARSED)
    assert [(file["file"], file["error"]) for file in found["files"]] == [
        ("002_big.up.sql", None),
        ("003_index.up.sql", None),
        ("003_index.down.sql", None),
        ("002_big.down.sql", None),
        ("002_big.up.sql", None),
        ("003_index.up.sql", None),
    ]
    block, alter, _ = found["files"][0]["statements"]
    assert (block["locks"], block["notInThePlan"]) == (
        {"public.purchase": "SHARE"},
        ["SHARE on public.purchase"],
    )
    assert (alter["locks"], alter["notInThePlan"]) == ({"public.purchase": "ACCESS EXCLUSIVE"}, [])
    (index,) = found["files"][1]["statements"]
    assert index["sampled"]
    assert index["locks"] == {"public.purchase": "SHARE UPDATE EXCLUSIVE"}
    states = {one["after"]: one["same"] for one in found["schema"]}
    if states["up, down"] is None:  # a pg_dump that is older than the server
        assert "version" in found["schema"][0]["why"]
    else:
        assert states == {"up, down": True, "up, down, up": True}
    assert code == 0
    with psycopg.connect(database.dsn) as connection:
        untouched = (
            "SELECT count(*) FROM pg_attribute WHERE attrelid = 'purchase'::regclass AND attname = 'x'"
        )
        assert connection.execute(untouched).fetchall() == [(0,)]


@pytest.mark.parametrize(
    ("files", "last", "error"),
    [
        (
            {"002_a.up.sql": "ALTER TABLE purchase ADD x int;\nSELECT no_such_column;"},
            "002_a.up.sql",
            'statement 2 of 2, SELECT: column "no_such_column" does not exist',
        ),
        (
            {"002_a.up.sql": "CREATE TABLE a ();", "002_a.down.sql": "DROP TABLE b;"},
            "002_a.down.sql",
            'statement 1 of 1, DROP TABLE: table "b" does not exist',
        ),
        (
            {"002_a.up.sql": "CREATE TABLE a ();", "002_a.down.sql": "SELECT 1;"},
            "002_a.up.sql",
            'relation "a" already exists',
        ),
    ],
    ids=["up fails", "down fails", "down leaves something"],
)
def test_a_rehearsal_that_fails_says_where(
    database: Database, tmp_path: Path, files: Mapping[str, str], last: str, error: str
) -> None:
    code, found = rehearsed(database, tmp_path, files)
    assert code == 1
    assert found["files"][-1]["file"] == last
    assert error in found["files"][-1]["error"]


def test_a_statement_that_postgresql_refuses_in_a_transaction_is_rehearsed_alone(
    database: Database, tmp_path: Path
) -> None:
    files = {
        "002_a.up.sql": "CREATE TABLE a (id int);\nDO $$ BEGIN COMMIT; END $$;\nDROP TABLE a;",
        "003_b.up.sql": "BEGIN;\nCREATE TYPE mood AS ENUM ('a');\nCOMMIT;\nALTER TYPE mood ADD VALUE 'b';\n"
        "CREATE TABLE b (v mood DEFAULT 'b');",
    }
    code, found = rehearsed(database, tmp_path, files)
    assert [(file["transactions"], file["error"]) for file in found["files"]] == [(3, None), (3, None)]
    assert found["schema"] == [
        {"after": "up, down", "same": None, "why": "no down file for version 3, 2", "difference": []}
    ]
    assert code == 0


def test_the_database_itself_is_never_rehearsed_on(database: Database, tmp_path: Path) -> None:
    directory = applied(database, tmp_path)
    write_files(directory, {"002_a.up.sql": "CREATE TABLE must_not_be ();"})
    for url in (database.dsn, database.admin_dsn):
        done = plan(database, tmp_path, "--track", "user", "--rehearse", url)
        assert done.returncode == 1
        assert "cannot be told from the database that the plan is for" in done.stdout + done.stderr
        assert database.password not in done.stdout + done.stderr
    with psycopg.connect(database.dsn) as connection:
        assert connection.execute("SELECT to_regclass('must_not_be')").fetchall() == [(None,)]


def test_what_a_run_would_refuse_is_not_rehearsed(database: Database, tmp_path: Path) -> None:
    directory = applied(database, tmp_path)
    write_files(directory, {"002_a.up.sql": "SELECT 'open"})
    done = plan(
        database, tmp_path, "--track", "user", "-o", "json", "--rehearse", "postgres://nowhere.invalid/x"
    )
    assert done.returncode == 1
    assert done.stderr == "not rehearsed: the files would be refused, or the recorded version is dirty\n"
    assert json.loads(done.stdout)["pending"] == 1


def test_a_copy_of_another_version_is_refused(database: Database, tmp_path: Path) -> None:
    directory = applied(database, tmp_path)
    name = copied(database)
    try:
        write_files(directory, {"002_a.up.sql": "SELECT 1;", "003_b.up.sql": "SELECT 1;"})
        assert typed("up", "1", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 0
        url = database.server.dsn(name, database.user, database.password)
        done = plan(database, tmp_path, "--track", "user", "--rehearse", url)
        assert done.returncode == 1
        assert "the copy is at version 1 of migrations.app" in done.stdout + done.stderr
    finally:
        administer(database.server, sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
