"""On a terminal a line says what runs; it is gone when the run has ended, and nowhere else to be seen."""

import re
import subprocess
import sys
import threading
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import psycopg
import pytest

from dev.peers import environment, write_files
from dev.waiting import eventually
from fluxbase_migrations.cli.live_line import LiveLine, fitted
from fluxbase_migrations.runner.connection import activity
from fluxbase_migrations.runner.connection.activity import Activity
from fluxbase_migrations.runner.connection.lock_waits import LockWait
from fluxbase_migrations.runner.sql.simple_query import QueryPart, statements_at
from tests.runner.test_cli import PROGRAM, typed
from tests.runner.track import Runner
from tests.support.databases import Database
from tests.support.terminal import CLEAR, Terminal, plain, screen

SLOW = {
    "001_t.up.sql": "CREATE TABLE t (i int);\nSELECT pg_sleep(1.4);\nCREATE INDEX t_i ON t (i);",
    "002_quick.up.sql": "INSERT INTO t VALUES (1);",
}


def started(directory: Path, *words: str, variables: Mapping[str, str], columns: int = 100) -> Terminal:
    """Our program on a terminal; its standard error is none."""
    environ = environment({"TERM": "xterm", **variables})
    return Terminal(directory, [PROGRAM, *words], variables=environ, columns=columns)


def remaining(text: str) -> list[str]:
    """The lines that stand on the screen in the end, without colours."""
    return [plain(line) for line in screen(text) if line]


def without_times(lines: list[str]) -> list[str]:
    return [re.sub(r"took=\S+", "took=…", line) for line in lines]


def test_the_line_tells_file_and_time_and_leaves_the_log_alone(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", SLOW)
    text = started(tmp_path, "up", variables={"DATABASE_URL": database.dsn}).end()
    assert re.search(r"001_t\.up\.sql \(1 of 2\) \| 1\.\ds \| 3 statements", text), text
    assert "002_quick.up.sql (" not in text
    assert "\x1b[2m" in text
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        connection.execute("DROP SCHEMA migrations CASCADE; DROP TABLE t")
    plain = typed("up", directory=tmp_path, DATABASE_URL=database.dsn, TERM="xterm").stdout
    assert without_times(remaining(text)) == without_times(plain.splitlines())
    assert "\x1b" not in plain


@pytest.mark.parametrize(
    ("variables", "words", "line", "colours"),
    [
        ({}, (), True, True),
        ({"NO_COLOR": "1"}, (), True, False),
        ({"CLICOLOR": "0"}, (), True, False),
        ({"NO_COLOR": ""}, (), True, True),
        ({"TERM": "dumb"}, (), False, False),
        ({}, ("--log-format", "json"), False, False),
    ],
    ids=["terminal", "NO_COLOR", "CLICOLOR", "empty NO_COLOR", "dumb terminal", "json"],
)
def test_what_the_terminal_and_its_user_want_is_done(
    database: Database,
    tmp_path: Path,
    variables: dict[str, str],
    words: tuple[str, ...],
    line: bool,
    colours: bool,
) -> None:
    write_files(tmp_path / "migrations", {"001_t.up.sql": "SELECT pg_sleep(0.8)"})
    text = started(tmp_path, "up", *words, variables={"DATABASE_URL": database.dsn, **variables}).end()
    assert (CLEAR in text, "\x1b[2m" in text) == (line, colours)


def test_a_file_in_groups_tells_its_statement(database: Database, tmp_path: Path) -> None:
    body = "CREATE TABLE t (i int);\nCREATE INDEX CONCURRENTLY t_i ON t (i);\nSELECT pg_sleep(0.8);"
    write_files(tmp_path / "migrations", {"001_t.up.sql": body})
    text = started(tmp_path, "up", variables={"DATABASE_URL": database.dsn}).end()
    assert "001_t.up.sql (1 of 1) | 1.0s | statement 3 of 3" in text


def test_who_holds_a_lock_is_told(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", {"001_t.up.sql": "ALTER TABLE t ADD x int"})
    with psycopg.connect(database.dsn, application_name="the-blocker") as other:
        other.execute("CREATE TABLE t (i int)")
        other.commit()
        other.execute("SELECT * FROM t")
        terminal = started(tmp_path, "up", columns=200, variables={"DATABASE_URL": database.dsn})
        terminal.read(lambda text: f"held by pid {other.info.backend_pid}" in text)
        other.rollback()
        text = terminal.end()
    assert "waits for AccessExclusiveLock on public.t, held by pid" in text
    assert not any("waits for" in line for line in remaining(text))


def test_a_narrow_terminal_has_a_narrow_line(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", {"001_a_file_with_a_long_name.up.sql": "SELECT pg_sleep(0.8)"})
    text = started(
        tmp_path, "up", columns=20, variables={"DATABASE_URL": database.dsn, "NO_COLOR": "1"}
    ).end()
    drawn = [one for one in re.findall(r"\x1b\[2K([^\r\n\x1b]*)", text) if one and not one.startswith("INFO")]
    assert drawn
    assert all(len(line) <= 19 for line in drawn)


PAUSING = """
CREATE TABLE t (i int);
INSERT INTO t SELECT generate_series(1, 2000);
CREATE FUNCTION pausing(i int) RETURNS int IMMUTABLE LANGUAGE plpgsql AS $$
BEGIN IF i = 1000 THEN PERFORM pg_advisory_xact_lock_shared(77); END IF; RETURN i; END $$
"""
"""An index on it waits, when half of it is built, for whoever holds the lock 77."""


@pytest.mark.parametrize(
    ("held", "build", "phase", "counted"),
    [
        (
            "INSERT INTO t VALUES (1)",
            "CREATE INDEX CONCURRENTLY t_i ON t (i)",
            "waiting for writers before build",
            False,
        ),
        (
            "SELECT pg_advisory_xact_lock(77)",
            "CREATE INDEX t_i ON t (pausing(i))",
            "building index: scanning table",
            True,
        ),
    ],
    ids=["before", "half"],
)
def test_the_server_tells_how_far_an_index_is(
    runner: Runner, held: str, build: str, phase: str, counted: bool
) -> None:
    runner.query(PAUSING)
    dsn = runner.database.dsn
    with psycopg.connect(dsn) as holder, psycopg.connect(dsn, autocommit=True) as builder:
        holder.execute(held.encode())
        session = runner.setup.connect()
        session.server_pid = builder.info.backend_pid
        try:
            assert activity.read_activity(session) == Activity()
            thread = threading.Thread(target=lambda: builder.execute(build.encode()))
            thread.start()
            seen = eventually("the build", lambda: _building(activity.read_activity(session)))
        finally:
            session.close()
            holder.rollback()
        thread.join(60)
    assert seen.index_phase == phase
    assert (seen.index_percent is not None and 20 < seen.index_percent < 80) == counted
    assert seen.wait is not None
    assert seen.wait.holder.startswith("held by pid")


def _building(seen: Activity) -> Activity | None:
    return seen if seen.index_phase is not None and seen.wait is not None else None


@pytest.mark.parametrize(
    ("counts", "percent"),
    [([0, 0, 0, 0], None), ([43, 100, 0, 0], 43), ([0, 0, 1, 3], 33), ([5, 4, 0, 0], 100), ([0, 9, 5, 5], 0)],
)
def test_per_cent_are_of_blocks_or_else_of_tuples(counts: list[int], percent: int | None) -> None:
    assert activity.percent(counts) == percent


PARTS = [
    QueryPart(b"BEGIN; LOCK", 2),
    QueryPart(b"a; b; c", 3, origin=0, first=0),
    QueryPart(b"ours", 1),
    QueryPart(b"d", 1, origin=9, first=3),
]


@pytest.mark.parametrize(
    ("answered", "at"),
    [(0, (1, 4)), (1, (1, 4)), (2, (1, 4)), (3, (2, 4)), (5, (4, 4)), (6, (4, 4)), (7, None)],
)
def test_the_statements_are_the_files_own(answered: int, at: tuple[int, int] | None) -> None:
    assert statements_at(PARTS, answered) == at


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ((1, 3), " | 3 statements"),
        ((2, 2), " | statement 2 of 3"),
        ((2, 3), " | statements 2 to 3 of 3"),
        (None, ""),
    ],
)
def test_the_line_says_no_more_than_the_server_has_said(at: tuple[int, int] | None, said: str) -> None:
    line = LiveLine(colours=False, clock=lambda: 0.0)
    line.begin("001_a.up.sql", 1, 1, 3)
    line.tick(0, at, Activity)
    assert line.text() == f"001_a.up.sql (1 of 1) | 1.0s{said}"


def test_the_line_has_what_is_known(capsys: pytest.CaptureFixture[str]) -> None:
    now = [100.0]
    line = LiveLine(colours=True, clock=lambda: now[0])
    wait = LockWait("a lock", "held by pid 7\x1b[31m")
    line.begin("001_a.up.sql", 1, 2, 3)
    now[0] += 65
    line.tick(65, (2, 2), lambda: Activity(wait, "building index: scanning table", 43))
    assert line.text() == (
        "001_a.up.sql (1 of 2) | 1m5s | statement 2 of 3 | building index: scanning table 43% | "
        "waits for a lock, held by pid 7\\x1b[31m"
    )
    line.write("2026-01-01T00:00:00.000+00:00 ERROR it failed with ERROR 5\n")
    assert capsys.readouterr().out.endswith(
        f"{CLEAR}2026-01-01T00:00:00.000+00:00 \x1b[31mERROR\x1b[0m it failed with ERROR 5\n"
    )
    line.write("INFO said ERROR before\n")
    assert capsys.readouterr().out == "INFO said ERROR before\n"


def test_what_is_least_important_goes_first_where_it_is_narrow() -> None:
    start, end = "a.up.sql (1 of 1) | 1.0s | ", "held by pid 7, application psql"
    said = [
        f"{start}2 statements | waits for ShareLock on public.t, {end}, user shop, idle",
        f"{start}2 statements | waits for ShareLock on public.t, {end}, user shop",
        f"{start}2 statements | waits for ShareLock on public.t, {end}",
        f"{start}2 statements | waits for public.t, {end}",
        f"{start}waits for public.t, {end}",
        f"{start}waits for public.t, {end}"[:-2] + "…",
    ]
    line = LiveLine(colours=False, clock=lambda: 0.0)
    line.begin("a.up.sql", 1, 1, 2)
    line.tick(0, (1, 2), Activity)
    line._activity = Activity(LockWait("ShareLock on public.t", f"{end}, user shop, idle"))
    for wide, narrow in pairwise(said):
        assert line.text(len(wide)) == wide
        assert narrow in (line.text(len(wide) - 1), line.text(len(narrow)))


def test_a_phase_that_names_no_index_says_what_it_is_of() -> None:
    line = LiveLine(colours=False, clock=lambda: 0.0)
    line.begin("a.up.sql", 1, 1, 1)
    line._activity = Activity(None, "waiting for writers before build", None)
    assert line.text() == "a.up.sql (1 of 1) | 1.0s | index: waiting for writers before build"


def test_a_server_that_cannot_be_asked_is_asked_once() -> None:
    now, asked = [0.0], []

    def look() -> Activity:
        asked.append(now[0])
        raise OSError("no slot")

    line = LiveLine(colours=False, clock=lambda: now[0])
    line.begin("001_a.up.sql", 1, 1, 1)
    for _ in range(10):
        now[0] += 1
        line.tick(now[0], (1, 1), look)
    assert len(asked) == 1
    assert line.text() == "001_a.up.sql (1 of 1) | 10.0s"


@pytest.mark.parametrize(
    ("text", "width", "shown"),
    [("abc", 3, "abc"), ("abcd", 3, "ab…"), ("数数", 4, "数数"), ("数数数", 4, "数…"), ("é", 1, "é")],
)
def test_a_line_is_as_wide_as_the_terminal(text: str, width: int, shown: str) -> None:
    assert fitted(text, width) == shown


def test_what_is_no_terminal_does_not_even_load_it(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", {"001_t.up.sql": "SELECT pg_sleep(0.8)"})
    program = (
        "import sys; from fluxbase_migrations.cli.migrate import main; code = main(['up']); "
        "assert 'fluxbase_migrations.cli.live_line' not in sys.modules; "
        "assert 'fluxbase_migrations.runner.connection.activity' not in sys.modules; sys.exit(code)"
    )
    subprocess.run(
        [sys.executable, "-c", program],
        env=environment({"DATABASE_URL": database.dsn, "TERM": "xterm"}),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=60,
    )
