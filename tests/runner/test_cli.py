"""``fluxbase-migrate`` as people type it."""

import json
import re
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from dev.peers import Ours, environment, write_files
from fluxbase_migrations.controller.reconcile.log_follower import parse
from tests.support.databases import Database

PROGRAM = str(Path(sys.executable).with_name("fluxbase-migrate"))
FILES = {
    "001_a.up.sql": "CREATE TABLE a (i int);",
    "001_a.down.sql": "DROP TABLE a;",
    "002_b.up.sql": "CREATE TABLE b (i int);",
    "002_b.down.sql": "DROP TABLE b;",
}


def typed(*words: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PROGRAM, *words],
        env=environment(variables),
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_run_reads_as_the_documentation_shows(database: Database, tmp_path: Path) -> None:
    files = {
        f"00{number}_{name}.up.sql": f"CREATE TABLE {name} (i int);"
        f"ALTER TABLE {name} ENABLE ROW LEVEL SECURITY;"
        for number, name in enumerate("ab", 1)
    }
    source = write_files(tmp_path / "user", files)
    variables = {"DATABASE_URL": database.dsn, "DB_USER_MIGRATIONS_PATH": str(source)}
    done = typed("run", directory=tmp_path, **variables)
    assert done.returncode == 0, done.stdout
    assert [
        line
        for line in done.stdout.splitlines()
        if not any(word in line for word in (" Applying ", " Ran ", " PostgreSQL "))
    ] == [
        "INFO Running database migrations...",
        "INFO Running system migrations...",
        "INFO Migrations applied successfully source=system version=6",
        f"INFO Running user migrations... path={source}",
        "INFO Migrations applied successfully source=user version=2",
        "INFO Database migrations completed successfully",
    ]
    again = typed("run", directory=tmp_path, **variables)
    assert "INFO No new migrations to apply source=system" in again.stdout
    assert "INFO No new migrations to apply source=user" in again.stdout


def test_down_takes_a_number_or_all_but_not_both(tmp_path: Path) -> None:
    done = typed("down", "2", "--all", "--yes", directory=tmp_path)
    assert done.returncode == 2
    assert "a number or --all" in done.stderr


def test_run_skips_the_user_track_that_is_not_configured(database: Database, tmp_path: Path) -> None:
    done = typed("run", directory=tmp_path, DATABASE_URL=database.dsn, DB_USER_MIGRATIONS_PATH="")
    assert done.returncode == 0
    assert "user migrations" not in done.stdout


def test_a_developers_afternoon(database: Database, tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(f"DATABASE_URL={database.dsn}\n")
    write_files(tmp_path / "migrations", FILES)
    for words, code, said in (
        (("version",), 1, "no migration"),
        (("up", "1"), 0, "version=1"),
        (("up",), 0, "version=2"),
        (("up",), 0, "no change"),
        (("version",), 0, "2"),
        (("down",), 0, "version=1"),
        (("goto", "2", "--lock-timeout", "3s"), 0, "version=2"),
        (("--log-format", "JSON", "force", "1"), 0, '"version": 1'),
        (("force", "--", "-1"), 0, "version=-1"),
        (("down",), 1, "file does not exist"),
        (("history", "-n", "3"), 0, "force"),
        (("up", "--all"), 2, ""),
        (("force", "x"), 2, ""),
    ):
        done = typed(*words, directory=tmp_path)
        assert (done.returncode, said in done.stdout) == (code, True), (words, done.stdout, done.stderr)
        assert database.password not in done.stdout + done.stderr


def test_a_failed_migration_is_given_up_by_goto(database: Database, tmp_path: Path) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", FILES | {"002_b.up.sql": "SELECT nope;"}))
    assert ours.run("up").code == 1
    assert "2 (dirty)" in ours.run("version").output
    assert ours.run("goto", "1").code == 0
    assert ours.run("version").output.strip() == "1"
    assert "001_a.down.sql" in ours.run("down").output


def test_down_after_a_failed_up_undoes_that_one_alone(database: Database, tmp_path: Path) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", FILES | {"002_b.up.sql": "SELECT nope;"}))
    assert ours.run("up").code == 1
    assert ours.run("down").code == 0
    assert ours.run("version").output.strip() == "1"
    assert "001_a.down.sql" in ours.run("down").output


def test_a_failed_down_of_the_first_file_shows_as_dirty(database: Database, tmp_path: Path) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", FILES | {"001_a.down.sql": "SELECT nope;"}))
    assert ours.run("up", "1").code == 0
    assert ours.run("down").code == 1
    shown = ours.run("version")
    assert (shown.code, "no migration (dirty)" in shown.output) == (1, True)


def test_down_all_asks_first(database: Database, tmp_path: Path) -> None:
    ours = Ours(database.dsn, write_files(tmp_path / "source", FILES))
    assert ours.run("up").code == 0
    assert ours.run("down", "--all", stdin="n\n").code == 1
    assert "2" in ours.run("version").output
    assert ours.run("down", "--all", stdin="y\n").code == 0
    assert "no migration" in ours.run("version").output


@pytest.mark.parametrize(
    ("variable", "value"),
    [("FLUXBASE_LOCK_TIMEOUT", "soon"), ("FLUXBASE_TRACK", "other"), ("FLUXBASE_TABLE", "app")],
)
def test_a_variable_that_cannot_be_understood_is_a_usage_error(
    tmp_path: Path, variable: str, value: str
) -> None:
    done = typed("version", directory=tmp_path, **{variable: value})
    assert done.returncode == 2
    assert value in done.stderr


def test_the_password_is_not_in_a_failed_logins_output(database: Database, tmp_path: Path) -> None:
    done = typed(
        "version", "--database-url", database.dsn.replace(database.user, "nobody"), directory=tmp_path
    )
    assert done.returncode == 1
    assert database.password not in done.stdout + done.stderr


def piped(command: str, directory: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """A line of shell in which ``$MIGRATE`` is the program; ``$code`` is its exit code."""
    script = f'{command}; code=${{PIPESTATUS[0]}}; echo "code=$code" >&2'
    return subprocess.run(
        ["bash", "-c", script],
        env=environment({"MIGRATE": PROGRAM, **variables}),
        cwd=directory,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
        timeout=60,
    )


MANY = {f"{number:03}_t.up.sql": f"CREATE TABLE t{number} (i int);" for number in range(1, 41)}


@pytest.mark.parametrize("to", ["| head -1", "| true", "> /dev/full", ">&-", ">&- 2>&-", "> /dev/full 2>&1"])
def test_a_run_goes_on_when_nobody_takes_its_log(database: Database, tmp_path: Path, to: str) -> None:
    write_files(tmp_path / "migrations", MANY)
    done = piped(f"$MIGRATE up {to}", tmp_path, DATABASE_URL=database.dsn)
    if "2>" not in to:
        assert done.stderr.splitlines()[-1] == "code=0", done.stderr
        assert "Traceback" not in done.stderr
        assert "rror" not in done.stderr.replace("OSError", "")
    with psycopg.connect(database.dsn) as connection:
        assert connection.execute("SELECT version, dirty FROM migrations.app").fetchall() == [(40, False)]


@pytest.mark.parametrize("to", ["| true", "> /dev/full", ">&-"])
def test_a_failure_is_told_on_stderr_when_stdout_is_gone(database: Database, tmp_path: Path, to: str) -> None:
    write_files(tmp_path / "migrations", {**MANY, "041_bad.up.sql": "SELECT 1/0"})
    done = piped(f"$MIGRATE up {to}", tmp_path, DATABASE_URL=database.dsn)
    *said, code = done.stderr.splitlines()
    assert code == "code=1"
    assert "division by zero" in said[-2]
    assert said[-1].startswith("next: ")
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ("$MIGRATE version | true", 0),
        ("$MIGRATE history | head -1", 0),
        ("$MIGRATE version > /dev/full", 1),
        ("$MIGRATE history > /dev/full", 1),
        ("$MIGRATE version >&-", 1),
        ("$MIGRATE create x > /dev/full", 1),
        ("$MIGRATE --help > /dev/full", 0),
        ("$MIGRATE --help | true", 0),
        ("$MIGRATE --version >&-", 0),
        ("$MIGRATE up --statement-timeout nope 2>&-", 2),
    ],
)
def test_an_answer_that_cannot_be_written_is_no_traceback(
    database: Database, tmp_path: Path, command: str, code: int
) -> None:
    write_files(tmp_path / "migrations", FILES)
    assert typed("up", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 0
    done = piped(command, tmp_path, DATABASE_URL=database.dsn)
    assert done.stderr.splitlines()[-1] == f"code={code}", done.stderr
    assert "Traceback" not in done.stderr
    assert "Exception ignored" not in done.stderr


LOCALES = {
    "C": {"LC_ALL": "C"},
    "C without UTF-8 mode": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "ASCII streams": {"PYTHONIOENCODING": "ascii"},
    "ASCII streams, strict": {"PYTHONIOENCODING": "ascii:strict"},
    "Latin-1 streams": {"PYTHONIOENCODING": "latin-1"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_no_locale_and_no_encoding_stops_a_run(database: Database, tmp_path: Path, locale: str) -> None:
    """A name on disk is UTF-8, whatever the terminal shows."""
    variables = {"DATABASE_URL": database.dsn, **LOCALES[locale]}
    files = {
        "001_größe.up.sql": "DO $$ BEGIN RAISE NOTICE 'größe 数 %', chr(233); END $$;",
        "002_größe.up.sql": "SELECT 1/0 AS größe, 'ß'",
    }
    write_files(tmp_path / "verzeichnis größe", files)
    done = piped("$MIGRATE up --source 'verzeichnis größe'", tmp_path, **variables)
    step, code = done.stderr.splitlines()
    assert step.startswith("next: correct 002_gr")
    assert code == "code=1"
    assert "division by zero" in done.stdout
    with psycopg.connect(database.dsn) as connection:
        rows = connection.execute("SELECT file FROM migrations.history WHERE id > 0 ORDER BY id").fetchall()
    assert rows == [("001_größe.up.sql",), ("002_größe.up.sql",)]
    for command in ("history", "--help", "up --no-such-größe", "create größe"):
        done = piped(f"$MIGRATE {command}", tmp_path, **variables)
        assert "Traceback" not in done.stderr, command


def test_a_database_named_in_utf8_is_reached_from_an_ascii_locale(database: Database, tmp_path: Path) -> None:
    variables = LOCALES["C without UTF-8 mode"]
    url = database.dsn.replace(f"/{database.name}?", "/größe?")
    for done in (
        piped(f"$MIGRATE version --connect-timeout 0 --database-url '{url}'", tmp_path, **variables),
        piped("$MIGRATE version --connect-timeout 0", tmp_path, DATABASE_URL=url, **variables),
    ):
        assert "does not exist" in done.stdout, (done.stdout, done.stderr)
        assert "bug" not in done.stdout


@pytest.mark.parametrize("command", ["up", "version", "create x", "run", "--help"])
def test_a_deleted_working_directory_is_no_traceback(
    database: Database, tmp_path: Path, command: str
) -> None:
    (tmp_path / "gone").mkdir()
    source = write_files(tmp_path / "source", FILES)
    variables = {"DATABASE_URL": database.dsn, "FLUXBASE_SOURCE": str(source)}
    done = piped(f"cd gone && rmdir ../gone && $MIGRATE {command}", tmp_path, **variables)
    code = 1 if command == "version" else 0
    assert done.stderr.splitlines()[-1] == f"code={code}", done.stderr + done.stdout
    assert "Traceback" not in done.stderr
    done = piped(f"mkdir gone; cd gone && rmdir ../gone && $MIGRATE {command}", tmp_path)
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("up", "--statement-timeout", "999999h"), "the largest duration is 596h31m"),
        (("up", "--ddl-lock-timeout", "2147483648ms"), "the largest duration is 596h31m"),
        (("up", "--lock-timeout", "9" * 400), "the largest duration is 596h31m"),
        (("up", "--connect-timeout", "1e9"), "is not a duration"),
        (("up", "--statement-timeout", "0.1ms"), "the smallest duration is 1ms"),
        (("up", "--statement-timeout", "-1s"), "--statement-timeout"),
        (("up", "--statement-timeout", "NaN"), "is not a duration"),
        (("up", "--statement-timeout", ""), "is not a duration"),
        (("up", "--unknown-files", "ignore"), "is not one of Fail, Warn"),
        (("goto", "9" * 5000), "is not a version"),
        (("goto", "٣"), "is not a version"),
        (("up", "x"), "'x' is not a number"),
        (("down", "-1"), "'-1' is not a number"),
        (("history", "-n", "x"), "'x' is not a number"),
        (("version",), "postgres://user:password@host:5432/name), or DB_HOST"),
        (("version", "--table", "postgres://u:secret@h"), "--table: 'postgres://…"),
        (("version", "--table", "one"), "argument --table: 'one' is not schema.name"),
        (
            ("up", "1", "2"),
            "fluxbase-migrate up: error: unknown argument 2; fluxbase-migrate up --help shows",
        ),
        (("version", "--databse-url=postgres://u:secret@h"), "--databse-url=postgres://…; fluxbase-migrate"),
        (("upp",), "unknown command 'upp', did you mean up?; fluxbase-migrate --help lists the commands"),
        (("xyz",), "error: unknown command 'xyz'; fluxbase-migrate --help lists the commands"),
        (("drop", "-f"), "drop is left out: drop and create the database"),
        (("create", "/ /"), "is no name for a file"),
        (("up", "--recovery", "x\x1b[2J\n"), "is not one of"),
        ((), "Run migrations:"),
    ],
)
def test_a_usage_error_is_one_and_says_what_would_do(
    tmp_path: Path, words: tuple[str, ...], said: str
) -> None:
    done = typed(*words, directory=tmp_path)
    assert done.returncode == 2, done.stdout + done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr


def test_more_than_there_are_is_said_in_more_than_golang_migrates_words(
    database: Database, tmp_path: Path
) -> None:
    write_files(tmp_path / "migrations", FILES)
    done = typed("up", "9", directory=tmp_path, DATABASE_URL=database.dsn)
    there = sum(name.endswith(".up.sql") for name in FILES)
    assert done.returncode == 1
    said = f"limit {9 - there} short; hint: {there} of the 9 that were asked for were there, and are done"
    assert said in done.stdout + done.stderr


def test_the_largest_duration_is_one_that_postgresql_takes(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", FILES)
    largest = "--statement-timeout=2147483647ms", "--ddl-lock-timeout=2147483647ms", "--lock-timeout=596h31m"
    done = typed("up", *largest, directory=tmp_path, DATABASE_URL=database.dsn)
    assert done.returncode == 0, done.stdout


def test_control_c_at_the_question_is_a_no(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", FILES)
    assert typed("up", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 0
    with subprocess.Popen(
        [PROGRAM, "down", "--all"],
        env=environment({"DATABASE_URL": database.dsn}),
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert "Are you sure" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None
        assert "not confirmed" in process.stdout.readline()
        assert process.wait(30) == 1
    assert "2" in typed("version", directory=tmp_path, DATABASE_URL=database.dsn).stdout


UNKNOWN = {**FILES, "seed.sql": "SELECT 1/0;", "3.up.sql": "SELECT 1/0;", "README.md": "x"}


def test_unknown_files_refuse_the_source_unless_they_are_to_be_left_out(
    database: Database, tmp_path: Path
) -> None:
    source = write_files(tmp_path / "migrations", UNKNOWN)
    (source / "nowhere.sql").symlink_to("nothing")
    (source / b"caf\xe9.sql".decode("utf-8", "surrogateescape")).touch()
    refused = typed("up", directory=tmp_path, DATABASE_URL=database.dsn)
    assert refused.returncode == 1
    assert "--unknown-files warn" in refused.stdout
    assert typed("version", directory=tmp_path, DATABASE_URL=database.dsn).returncode == 1
    done = typed("up", "--unknown-files", "WARN", directory=tmp_path, DATABASE_URL=database.dsn)
    assert done.returncode == 0, done.stdout
    warnings = [line for line in done.stdout.splitlines() if line.startswith("WARN")]
    assert [line.split()[1] for line in warnings] == ["3.up.sql", "caf\\xe9.sql", "nowhere.sql", "seed.sql"]
    again = typed("up", directory=tmp_path, DATABASE_URL=database.dsn, FLUXBASE_UNKNOWN_FILES="warn")
    assert (again.returncode, "no change" in again.stdout) == (0, True)


@pytest.mark.parametrize("form", ["text", "json"])
def test_what_a_file_says_is_never_more_than_a_value(database: Database, tmp_path: Path, form: str) -> None:
    line = "INFO Applying migration file=009_x.up.sql number=1 total=9 source=user"
    document = '{"level":"INFO","msg":"Applying migration","file":"009_x.up.sql","number":1,"total":9}'
    body = "DO $d$ BEGIN "
    for text in (f"x\n{line}", f"x\r{line}", f'"\n{document}', document, "\x1b[31mred\x85\u2028\u202e"):
        body += f"RAISE NOTICE $n${text}$n$; RAISE WARNING $n${text}$n$; "
    body += f"RAISE EXCEPTION USING MESSAGE = $n$x\n{line}$n$, HINT = $n$\x1b\n{line}$n$; END $d$"
    write_files(tmp_path / "migrations", {"001_a.up.sql": body})
    done = typed("up", "--log-format", form, directory=tmp_path, DATABASE_URL=database.dsn)
    assert done.returncode == 1
    lines = done.stdout.removesuffix("\n").split("\n")
    assert all(one.isprintable() for one in lines), lines
    told = [parse(b"2026-01-01T00:00:00Z " + one.encode()) for one in lines]
    assert [one.file for one in told if one] == ["001_a.up.sql"]
    assert len(lines) == 12
    history = typed("history", directory=tmp_path, DATABASE_URL=database.dsn).stdout.splitlines()
    assert len(history) == 2
    assert all(one.isprintable() for one in history)
    with psycopg.connect(database.dsn) as connection:
        stored = connection.execute(
            "SELECT error->>'message' FROM migrations.history WHERE id > 0"
        ).fetchone()
    assert stored is not None
    assert str(stored[0]).isprintable()


def test_a_lock_that_is_not_granted_says_what_to_do(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", {"001_a.up.sql": "ALTER TABLE held ADD x int"})
    with psycopg.connect(database.dsn, autocommit=True) as holder:
        holder.execute("CREATE TABLE held (i int)")
        with holder.transaction():
            holder.execute("SELECT * FROM held")
            done = typed("up", "--ddl-lock-timeout", "50ms", directory=tmp_path, DATABASE_URL=database.dsn)
    assert done.returncode == 1
    assert "run the command again" in done.stdout
    assert "--ddl-lock-timeout" in done.stdout
    assert "retry.limit" not in done.stdout


def test_history_tells_of_one_version_or_of_all(database: Database, tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", FILES)
    variables = {"DATABASE_URL": database.dsn}
    for words in (("up",), ("down",), ("up",)):
        assert typed(*words, directory=tmp_path, **variables).returncode == 0

    def versions(*words: str) -> list[int]:
        done = typed("history", "-o", "json", *words, directory=tmp_path, **variables)
        assert done.returncode == 0, done.stderr
        return [entry["version"] for entry in json.loads(done.stdout) if entry["file"]]

    assert versions("--all") == [1, 2, 2, 2]
    assert versions("--version", "2") == versions("--version=2") == [2, 2, 2]
    assert versions("--version=1") == [1]
    assert versions("--version", "2", "-n", "1") == [2]
    assert versions("--version", "9") == []


@pytest.mark.parametrize("words", [("--log-timestamps",), ("--log-format", "json")], ids=["text", "json"])
def test_each_file_tells_its_time_and_each_line_when(
    database: Database, tmp_path: Path, words: tuple[str, ...]
) -> None:
    write_files(tmp_path / "migrations", FILES)
    done = typed("up", *words, directory=tmp_path, DATABASE_URL=database.dsn)
    assert done.returncode == 0, done.stderr
    assert len(re.findall(r"\btook\W{1,4}\d+ms", done.stdout)) == 2
    for line in done.stdout.splitlines():
        assert re.match(r'(\{"time": ")?20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00\b', line), line


@pytest.mark.parametrize(
    ("body", "words", "step"),
    [
        ("SELECT nope;", ("up",), "correct 002_b.up.sql, then: fluxbase-migrate up"),
        ("SELECT nope;", ("run", "--source", "migrations"), "fluxbase-migrate --source migrations run"),
        ("SELEC;", ("up",), "fluxbase-migrate"),
    ],
)
def test_a_failure_ends_with_the_next_step_once_and_apart_from_the_log(
    database: Database, tmp_path: Path, body: str, words: tuple[str, ...], step: str
) -> None:
    write_files(tmp_path / "migrations", FILES | {"002_b.up.sql": body})
    done = typed(*words, directory=tmp_path, DATABASE_URL=database.dsn)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith("next: ")
    assert step in line
    assert "next: " not in done.stdout


def test_a_server_that_is_not_there_has_no_next_step(tmp_path: Path) -> None:
    write_files(tmp_path / "migrations", FILES)
    done = typed(
        "up", "--connect-timeout", "0", directory=tmp_path, DATABASE_URL="postgres://me@127.0.0.1:1/x"
    )
    assert (done.returncode, done.stderr) == (1, "")


def test_a_job_that_nobody_describes_says_who_would(tmp_path: Path) -> None:
    done = typed("job", directory=tmp_path)
    assert done.returncode == 1
    assert "FLUXBASE_JOB: it is not set; the operator sets it in its Jobs" in done.stdout
