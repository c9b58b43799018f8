"""Where statements end, held to PostgreSQL's own parser; and in which transactions a file runs."""

import subprocess
import sys

import postgast
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations import system
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import Direction, MigrationFile
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.runner.sql import grouping, lexer, statements
from fluxbase_migrations.runner.sql.grouping import Group
from fluxbase_migrations.runner.sql.prepared_file import Prepared
from fluxbase_migrations.runner.sql.refused_statements import refuse_left_out, refuse_unusable
from fluxbase_migrations.runner.sql.statements import StatementKind

LIMIT = 60.0
"""Seconds after which a scan counts as hanging."""

PIECES = [
    "SELECT 1",
    "SELECT 'a;b''c'",
    "SELECT E'it\\'s; fine', 'back\\'",
    "SELECT $$a;b$$, $tag$ ; $$ ; $other$ $tag$",
    "SELECT U&'d\\0061t;a', B'01', X'1F', N'n;'",
    'SELECT "a;""b"',
    "SELECT a$b$ FROM (VALUES (1)) AS t(a$b$)",
    "SELECT 1 -- not the end;\n + 2",
    "SELECT /* a /* nested; */ ; */ 2",
    "SELECT '{1,2,3}'::int[] , (ARRAY[1,2,3])[1:2]",
    "SELECT 5 - -3, 6/2, '@:', 1e5, 2 -- x\n",
    "DO $do$ BEGIN PERFORM 1; END; $do$",
    "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 1 ELSE 2 END; END",
    "CREATE OR REPLACE PROCEDURE p(a int DEFAULT 1) LANGUAGE sql BEGIN ATOMIC INSERT INTO t VALUES (1); END",
    "CREATE FUNCTION g() RETURNS int LANGUAGE plpgsql AS $f$ BEGIN RETURN 1; END $f$",
    "CREATE RULE r AS ON INSERT TO t DO ALSO (INSERT INTO u VALUES (1); INSERT INTO u VALUES (2))",
    "CREATE TABLE atomic (begin_ int, end_ int)",
    "INSERT INTO t VALUES ('ü;ñ', '日本;')",
    "SELECT 1 AS begin, 2 AS atomic",
    "CREATE /* c */ FUNCTION h() -- d;\n RETURNS int BEGIN /* ; */ ATOMIC SELECT 1; END",
]


def texts(sql: str, *, standard_conforming_strings: bool = True) -> list[str]:
    found = lexer.split(sql.encode(), standard_conforming_strings=standard_conforming_strings)
    return [text.decode() for text in found]


@pytest.mark.parametrize("piece", PIECES)
def test_one_statement_is_one_statement(piece: str) -> None:
    assert texts(f"{piece};SELECT 2") == [piece, "SELECT 2"]


@given(
    st.lists(st.sampled_from(PIECES), max_size=6),
    st.sampled_from([";", ";\n", " ; ", "\r\n;;", ";--x;\n", ";/*;*/"]),
)
def test_statements_joined_and_split_are_the_statements(pieces: list[str], separator: str) -> None:
    assert [text.strip() for text in texts(separator.join(pieces))] == [piece.strip() for piece in pieces]


@pytest.mark.parametrize("name", sorted(system.files()))
def test_real_files_are_split_as_postgresql_parses_them(name: str) -> None:
    sql = system.files()[name]
    starts = [one.stmt_location for one in postgast.parse(sql.decode()).stmts]
    found = lexer.split(sql)
    assert found.complete
    assert len(found) == len(starts)
    for ours, theirs in zip(found.starts, starts, strict=True):
        assert lexer.split(sql[theirs : ours + 1]).starts[0] == ours - theirs  # only blanks between


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT 'open",
        'SELECT "open',
        "SELECT $$open",
        "SELECT $a$ $$",
        "SELECT 1 /* open",
        "/* open",
        "SELECT E'a\\'",
    ],
)
def test_what_is_left_open_at_the_end_is_known(sql: str) -> None:
    assert not lexer.split(sql.encode()).complete


@pytest.mark.parametrize("sql", ["", ";;", "-- only", "/* a /* b */ c */", " \r\n\t", "SELECT 1 -- end"])
def test_comments_and_blanks_are_complete(sql: str) -> None:
    assert lexer.split(sql.encode()).complete


def test_a_backslash_escapes_where_strings_do_not_conform() -> None:
    assert texts("SELECT 'a\\';b'; SELECT 2", standard_conforming_strings=False) == [
        "SELECT 'a\\';b'",
        "SELECT 2",
    ]
    assert texts("SET standard_conforming_strings = off; SELECT 'a\\';b'; SELECT 2")[1:] == [
        "SELECT 'a\\';b'",
        "SELECT 2",
    ]


@given(st.text(alphabet="aE'\";$-/*\\ \n(x1é", max_size=40))
def test_any_text_is_split_without_loss_or_error(sql: str) -> None:
    data = sql.encode()
    found = lexer.split(data)
    at = 0
    for start, end in zip(found.starts, found.ends, strict=True):
        assert at <= start < end <= len(data)
        assert len(lexer.split(data[at:start])) == 0  # between statements: blanks, comments, semicolons
        at = end
    assert not found.complete or len(lexer.split(data[at:])) == 0


def cut(sql: str) -> list[Group]:
    found = lexer.split(sql.encode())
    return grouping.group(found, statements.classify(found), (), (), "1_a.up.sql")


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("A; B", [[0, 1]]),
        ("BEGIN; A; B; COMMIT", [[1, 2]]),
        ("A; BEGIN; B; COMMIT; C", [[0, 2], [4]]),
        ("BEGIN; A; COMMIT; BEGIN; B; END", [[1], [4]]),
        ("A; CREATE INDEX CONCURRENTLY i ON t (a); B", [[0], [1], [2]]),
        ("CREATE UNIQUE INDEX /* x */ CONCURRENTLY ON t (a)", [[0]]),
        ("VACUUM t; A; B", [[0], [1, 2]]),
        ("BEGIN; SAVEPOINT a; A; ROLLBACK TO a; COMMIT", [[1, 2, 3]]),
        ("ALTER TABLE t DETACH PARTITION p CONCURRENTLY; A", [[0], [1]]),
    ],
)
def test_a_file_is_cut_where_its_transactions_end(sql: str, expected: list[list[int]]) -> None:
    assert [one.send for one in cut(sql)] == expected


@pytest.mark.parametrize(
    "sql",
    [
        'CREATE INDEX "concurrently" ON t (a)',
        "CREATE TABLE concurrently_not (a int)",
        "SELECT 'VACUUM; COMMIT'",
        "ALTER TABLE t DETACH PARTITION p",
        "DO $$ BEGIN COMMIT; END $$",
        "BEGIN; A; COMMIT",
        "",
    ],
)
def test_these_are_atomic(sql: str) -> None:
    assert grouping.is_atomic(cut(sql))


def test_modes_of_the_files_own_transaction_move_to_ours() -> None:
    (group,) = cut("BEGIN ISOLATION LEVEL SERIALIZABLE; SET TRANSACTION READ WRITE; A; COMMIT")
    assert group.modes == [b"ISOLATION LEVEL SERIALIZABLE", b"READ WRITE"]
    assert group.send == [2]


def test_rollback_and_prepare_end_a_group() -> None:
    assert [one.end for one in cut("A; ROLLBACK; B")] == [StatementKind.ROLLBACK, StatementKind.COMMIT]
    assert [one.end for one in cut("BEGIN; A; PREPARE TRANSACTION 'x'; B")] == [
        StatementKind.PREPARE,
        StatementKind.COMMIT,
    ]


def test_commit_and_chain_opens_the_next_transaction() -> None:
    with pytest.raises(InvalidSource, match="ends inside the transaction"):
        cut("BEGIN; A; COMMIT AND CHAIN; B")


def test_a_file_that_ends_in_its_own_transaction_is_refused_with_the_line() -> None:
    with pytest.raises(InvalidSource) as caught:
        cut("A;\n\nBEGIN; B")
    assert caught.value.info.line == 3


def test_copy_from_stdin_is_refused_with_the_way_out() -> None:
    found = lexer.split(b"SELECT 1;\nCOPY t (a, b) FROM STDIN;\nit's\t2\n\\.\n")
    with pytest.raises(InvalidSource, match="COPY") as caught:
        refuse_unusable(found, statements.classify(found), "1_a.up.sql")
    assert (caught.value.info.line, "INSERT" in (caught.value.info.hint or "")) == (2, True)
    assert cut("COPY t FROM '/tmp/x'")


@pytest.mark.parametrize(
    ("sql", "tag"),
    [
        ("alter table t add c int", "ALTER TABLE"),
        ("CREATE OR REPLACE FUNCTION f", "CREATE FUNCTION"),
        ("CREATE UNIQUE INDEX CONCURRENTLY i", "CREATE INDEX"),
        ("CREATE MATERIALIZED VIEW v", "CREATE MATERIALIZED VIEW"),
        ("/* x */ insert into t values (1)", "INSERT"),
        ("(SELECT 1)", "SELECT"),
    ],
)
def test_a_statement_is_named_by_its_tag(sql: str, tag: str) -> None:
    assert statements.tag(lexer.split(sql.encode()), 0) == tag


def looks(sql: bytes) -> int:
    """How often a scan of a file lets others look."""
    count = 0

    def look() -> None:
        nonlocal count
        count += 1

    lexer.split(sql, check_stop=look)
    return count


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC {} END",
        "CREATE RULE r AS ON INSERT TO t DO ALSO ({})",
        "{}",
    ],
    ids=["body", "rule", "plain"],
)
def test_a_file_of_twice_the_length_takes_twice_the_steps(sql: str) -> None:
    statement = "INSERT INTO t SELECT o.end, o.case, 'a;b' FROM o;"
    short, long = (looks(sql.format(statement * count).encode()) for count in (5_000, 10_000))
    assert 0 < short <= long <= 2.2 * short + 2


def test_a_scan_can_be_ended() -> None:
    class Ended(Exception):
        pass

    def look() -> None:
        raise Ended

    with pytest.raises(Ended):
        lexer.split(
            b"CREATE FUNCTION f() RETURNS int BEGIN ATOMIC " + b"SELECT o.end;" * 50_000, check_stop=look
        )


@pytest.mark.parametrize(
    ("sql", "what", "line", "column"),
    [
        ("SELECT 1;\n/* a /* b */ ;", "comment", 2, 1),
        ("SELECT 1;\n  SELECT 'it''s", "string", 2, 10),
        ("SELECT E'it\\'s", "string", 1, 9),
        ('SELECT "a;', "quoted identifier", 1, 8),
        ("SELECT 'é', $x$ ; $y$", "dollar-quoted string", 1, 13),
    ],
)
def test_what_never_ends_refuses_a_file_where_it_opens(sql: str, what: str, line: int, column: int) -> None:
    found = lexer.split(sql.encode())
    with pytest.raises(InvalidSource, match=f"the {what} that opens here never ends") as caught:
        refuse_unusable(found, statements.classify(found), "1_a.up.sql")
    assert (caught.value.info.line, caught.value.info.column) == (line, column)


@pytest.mark.parametrize(
    ("sql", "command", "line"),
    [
        ("\\restrict x\nSELECT 1;", "\\restrict", 1),
        ("SELECT 1;\n\\i other.sql\n", "\\i", 2),
        ("SELECT 1 \\gexec", "\\gexec", 1),
        ("SELECT '\\x', E'\\'', $$ \\ $$ /* \\ */ -- \\\n;\n\\c other", "\\c", 3),
    ],
)
def test_psqls_commands_are_told_from_backslashes_in_text(sql: str, command: str, line: int) -> None:
    found = lexer.split(sql.encode())
    with pytest.raises(InvalidSource) as caught:
        refuse_unusable(found, statements.classify(found), "1_a.up.sql")
    assert caught.value.info.message == f"{command} is a command of psql, and a migration is plain SQL"
    assert caught.value.info.line == line


def test_backslashes_in_text_refuse_nothing() -> None:
    found = lexer.split(b"SELECT '\\x', E'\\'', $$ \\ $$ /* \\ */ -- \\\n")
    refuse_unusable(found, statements.classify(found), "1_a.up.sql")


def test_a_line_of_dashes_behind_a_string_does_not_hang() -> None:
    sql = "SELECT E'a' " + "-" * 1000 + "\\n, 2; SELECT 3"
    code = f'from fluxbase_migrations.runner.sql import lexer; print(len(lexer.split(b"{sql}")))'
    done = subprocess.run(  # a process of its own: nothing interrupts a pattern
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=LIMIT, check=True
    )
    assert done.stdout.strip() == "2"


@pytest.mark.parametrize(
    ("sql", "kept", "line"),
    [
        ("SELECT 1;\nSELECT 2;", 1, 1),
        ("SELECT 1; /* c */ ;; -- c\n", 1, None),
        ("/* SELECT 1", 0, 1),
        ("x", 0, 1),
    ],
)
def test_a_part_that_is_in_no_statement_refuses_the_file(sql: str, kept: int, line: int | None) -> None:
    found = lexer.split(sql.encode())
    del found.starts[kept:], found.ends[kept:]
    if line is None:
        return refuse_left_out(found, "1_a.up.sql")
    with pytest.raises(InvalidSource, match="would not be run") as caught:
        refuse_left_out(found, "1_a.up.sql")
    assert caught.value.info.line == line
    return None


def test_a_statement_means_the_same_whatever_its_white_space_comments_and_case() -> None:
    def meaning(sql: str) -> str:
        step = Step(1, Direction.UP, 0, 1, MigrationFile("1_a.up.sql", 1, "a", Direction.UP, sql.encode()))
        return Prepared.of(step).meaning(0)

    body = "DO $$ BEGIN INSERT INTO a VALUES ('x'); COMMIT; END $$"
    assert meaning(body) == meaning(
        "do /* c */ $$ begin\n insert INTO a values ('x'); -- c\n commit; end $$;"
    )
    assert meaning(body) != meaning(body.replace("'x'", "'X'"))
    assert meaning(body) != meaning(body.replace(" COMMIT;", ""))
    assert meaning('CALL "P"()') != meaning("CALL P()")
