"""Files as people write them, run on a real server."""

import pytest

from fluxbase_migrations.core.files import MAX_VERSION
from fluxbase_migrations.core.result import Outcome
from tests.runner.track import Runner, numbered

MADE = "SELECT count(*) FROM pg_class WHERE relname = 'made'"
TABLE = "CREATE TABLE made (t text)"


@pytest.mark.parametrize(
    "content",
    [b"", b"\xef\xbb\xbf", b"-- nothing\n", b"/* nothing /* at */ all */", b";;\r\n;", b" \r\n\t"],
    ids=["empty", "byte-order mark", "comment", "nested comment", "semicolons", "blanks"],
)
def test_a_file_without_statements_moves_the_version(runner: Runner, content: bytes) -> None:
    result = runner.run({"1_a.up.sql": content, "2_b.up.sql": TABLE})
    assert (result.outcome, result.version) == (Outcome.APPLIED, 2), result.error
    assert runner.history == [("1_a.up.sql", "applied", 0, 0), ("2_b.up.sql", "applied", 1, 1)]


@pytest.mark.parametrize(
    "sql",
    [
        f"\ufeff{TABLE};\r\nINSERT INTO made\r\nVALUES ('x;\r\ny');\r\n",
        f"{TABLE}; INSERT INTO made VALUES ($a$;'$b$;$$ $a$), (E'it\\'s;'), (U&'\\0061;')",
        f"{TABLE}; /* ; /* nested; */ ; */ INSERT INTO made VALUES ('x') -- ;\n;",
        f"{TABLE}; DO $do$ BEGIN INSERT INTO made VALUES ('x'); EXCEPTION WHEN others THEN NULL; END $do$",
        "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT 1; SELECT CASE WHEN true THEN 2 END; END;"
        + TABLE,
        f"CREATE FUNCTION f() RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1; END; $$; {TABLE}",
        f"{TABLE}; CREATE RULE r AS ON DELETE TO made DO ALSO (NOTIFY a; NOTIFY b)",
        f'CREATE TABLE ";"(i int); {TABLE}',
    ],
    ids=[
        "byte-order mark and CRLF",
        "strings",
        "comments",
        "DO",
        "BEGIN ATOMIC",
        "function body",
        "rule",
        "quoted name",
    ],
)
@pytest.mark.parametrize("way", ["atomic", "groups"])
def test_a_semicolon_that_ends_nothing_splits_nothing(runner: Runner, sql: str, way: str) -> None:
    end = "" if way == "atomic" else "\n; VACUUM; SELECT 1"
    result = runner.run(numbered(sql + end))
    assert result.outcome is Outcome.APPLIED, result.error
    assert runner.query(MADE) == [(1,)]
    assert runner.row == [(1, False)]


@pytest.mark.parametrize("how", ["role", "file"])
def test_strings_whose_backslashes_escape_are_split_as_the_server_reads_them(
    runner: Runner, how: str
) -> None:
    setting = "standard_conforming_strings = off"
    body = (
        "CREATE TABLE made (t text); INSERT INTO made VALUES ('it\\'s; one'); INSERT INTO made VALUES ('x')"
    )
    if how == "role":
        runner.query(f"ALTER ROLE {runner.database.user} SET {setting}")
    else:
        body = f"SET {setting}; {body}"
    result = runner.run(
        numbered(body, "INSERT INTO made VALUES (current_setting('standard_conforming_strings'))")
    )
    assert result.outcome is Outcome.APPLIED, result.error
    after = "off" if how == "role" else "on"
    assert runner.query("SELECT t FROM made ORDER BY t") == [
        (one,) for one in sorted(["it's; one", "x", after])
    ]


def test_copy_from_stdin_is_refused_before_anything_runs(runner: Runner) -> None:
    result = runner.run(numbered(f"{TABLE};\nCOPY made FROM stdin;\nx\n\\.\n"))
    assert result.outcome is Outcome.INVALID_SOURCE
    assert result.error is not None
    assert (result.error.file, result.error.line) == ("1_file.up.sql", 2)
    assert runner.query(MADE) == [(0,)]
    assert runner.row == []


def test_syntax_that_no_parser_of_ours_knows_is_the_servers_to_judge(runner: Runner) -> None:
    result = runner.run(numbered("CREATE TABLE made (t text);\nFROBNICATE TABLE made;"))
    assert result.outcome is Outcome.SQL_ERROR
    assert result.error is not None
    assert (result.error.line, result.error.column, result.error.sql_state) == (2, 1, "42601")


def test_the_largest_version_fits_the_row(runner: Runner) -> None:
    files = {f"{MAX_VERSION}_last.up.sql": TABLE, f"{MAX_VERSION}_last.down.sql": "DROP TABLE made"}
    assert runner.run(files).version == MAX_VERSION
    assert runner.row == [(MAX_VERSION, False)]
    assert runner.run(files, target=0).outcome is Outcome.ROLLED_BACK


def test_a_missing_down_file_is_named_before_anything_is_undone(runner: Runner) -> None:
    files = {"1_a.up.sql": "SELECT 1", "2_b.up.sql": TABLE, "2_b.down.sql": "DROP TABLE made"}
    runner.run(files)
    result = runner.run(files, target=0)
    assert result.outcome is Outcome.MISSING_DOWN_FILE
    assert result.error is not None
    assert "version 1" in result.error.message
    assert runner.query(MADE) == [(1,)]
