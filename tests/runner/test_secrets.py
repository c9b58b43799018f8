"""No password in an error, a log line, the history, or what other users of the machine see."""

import subprocess
import sys
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest
from psycopg import sql

from dev.peers import environment, write_files
from dev.waiting import eventually
from tests.runner.test_cli import PROGRAM, typed
from tests.runner.track import Runner
from tests.support.databases import Database

PASSWORD = "p@ss/w%rd 'é\"$!"
ENCODED = quote(PASSWORD, safe="")
PLACES = {
    "a refused login": "postgres://{user}:{encoded}@{host}:{port}/{name}",
    "an unknown host": "postgres://{user}:{encoded}@nowhere.invalid:{port}/{name}",
    "a missing database": "postgres://{user}:{encoded}@{host}:{port}/none",
    "a port that is none": "postgres://{user}:{encoded}@{host}:port/{name}",
    "an unknown parameter": "postgres://{user}:{encoded}@{host}:{port}/{name}?colour=blue",
    "a value that libpq refuses": "postgres://{user}:{encoded}@{host}:{port}/{name}?sslmode=maybe",
    "a password that is not encoded": "postgres://{user}:{raw}@{host}:{port}/{name}",
    "an @ that is not encoded": "postgres://{user}:p@ss@{host}:{port}/{name}",
    "a / that is not encoded": "postgres://{user}:p%40ss/word@{host}:{port}/{name}",
    "a string of parts": "host={host} port={port} user={user} password={encoded} dbname=none",
    "parts that do not end": "host={host} password='{encoded}",
    "another scheme": "mysql://{user}:{encoded}@{host}:{port}/{name}",
}


def _url(database: Database, form: str) -> str:
    server = database.server
    return form.format(
        user=database.user,
        encoded=ENCODED,
        raw=PASSWORD,
        host=server.host,
        port=server.port,
        name=database.name,
    )


@pytest.mark.parametrize("way", ["flag", "variable"])
@pytest.mark.parametrize("form", PLACES.values(), ids=PLACES)
def test_a_connection_that_fails_does_not_tell_the_password(
    database: Database, tmp_path: Path, form: str, way: str
) -> None:
    url = _url(database, form)
    variables: dict[str, str] = {}
    words = ["version", "--connect-timeout", "0"]
    if way == "flag":
        words += ["--database-url", url]
    else:
        variables["DATABASE_URL"] = url
    done = typed(*words, directory=tmp_path, **variables)
    assert done.returncode in (1, 2), done.stdout
    assert done.stdout + done.stderr
    _clean(done.stdout + done.stderr)


@pytest.mark.parametrize(
    "words",
    [
        ["-databse", "{}", "up"],
        ["-databse={}", "up"],
        ["-source", "{}", "-path", "x", "up"],
        ["--databse-url={}", "up"],
        ["--databse-url", "{}", "up"],
        ["up", "{}"],
        ["up", "--track", "{}"],
        ["up", "--table", "{}"],
        ["create", "name", "{}"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("place", ["a missing database", "a string of parts", "a space"])
def test_a_connection_in_the_wrong_place_does_not_tell_the_password(
    database: Database, tmp_path: Path, words: list[str], place: str
) -> None:
    form = PLACES.get(place, "host={host} password = 'a {encoded}' dbname={name}")
    url = _url(database, form)
    done = typed(*(word.format(url) for word in words), directory=tmp_path)
    assert done.returncode == 2, done.stdout
    assert "error: " in done.stderr
    _clean(done.stdout + done.stderr)


def _clean(text: str) -> None:
    for secret in (PASSWORD, ENCODED, "p@ss", "w%rd", "p%40ss"):
        assert secret not in text, text


@pytest.mark.parametrize(
    "form",
    [
        "--database-url {}",
        "--database-url={}",
        "--database-url {}?x=1 --database-url {}",
        "-database {}",
        "-database={}",
    ],
)
def test_a_running_command_does_not_show_the_password(runner: Runner, tmp_path: Path, form: str) -> None:
    database = runner.database
    source = write_files(tmp_path / "source", {"1_a.up.sql": "SELECT pg_advisory_lock(7)"})
    argv = [PROGRAM, *form.replace("{}", database.dsn).split(" "), "--source", str(source), "up"]
    log = tmp_path / "log"
    sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
    waiting = f"{sessions} AND wait_event_type = 'Lock'"
    with (
        psycopg.connect(database.dsn, autocommit=True) as holder,
        log.open("w") as output,
    ):
        holder.execute("SELECT pg_advisory_lock(7)")
        with subprocess.Popen(argv, env=environment(), cwd=tmp_path, stdout=output) as process:
            try:
                eventually("it to run", lambda: runner.query(waiting) == [(1,)])
                shown = Path(f"/proc/{process.pid}/cmdline").read_bytes().decode()
                process.terminate()
                process.wait(30)
            finally:
                process.kill()
    assert database.password not in shown
    assert "-database" in shown
    assert str(source) in shown
    assert database.password not in log.read_text()


def test_nothing_but_the_value_is_blanked(tmp_path: Path) -> None:
    show = (
        "from pathlib import Path; from fluxbase_migrations.cli.process_list import hide;"
        " [hide(one) for one in ('', 'x', 'postgres://u:p@h/d')];"
        " print(Path('/proc/self/cmdline').read_bytes().split(b'\\0')[3:-1])"
    )
    words = ["--database-url=postgres://u:p@h/d", "xx", "x", "--a=x", "y=x", "--url", "postgres://u:p@h/d"]
    done = subprocess.run([sys.executable, "-c", show, *words], capture_output=True, text=True, check=True)
    stars = "*" * len("postgres://u:p@h/d")
    assert done.stdout.strip() == str(
        [one.encode() for one in (f"--database-url={stars}", "xx", "*", "--a=*", "y=x", "--url", stars)]
    )


def test_a_password_in_a_file_is_not_repeated(runner: Runner) -> None:
    """What a failed statement says is the server's message; its text is neither logged nor stored."""
    body = f"CREATE ROLE {runner.database.user}_x PASSWORD 'hunter2-secret'; SELECT nope"
    result = runner.run({"1_a.up.sql": body})
    assert "hunter2" not in f"{result}{runner.lines}"
    stored = "SELECT count(*) FROM migrations.history h WHERE h::text LIKE '%hunter2%'"
    assert runner.query(stored) == [(0,)]


def test_a_short_password_does_not_blank_names_that_contain_it(runner: Runner, tmp_path: Path) -> None:
    """Neither on the terminal nor in the history."""
    database = runner.database
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute(
            sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(database.user), sql.Literal("app"))
        )
    source = write_files(tmp_path / "source", {"1_a.up.sql": "SELECT * FROM my_app, app"})
    url = database.server.dsn(database.name, database.user, "app")
    done = typed("up", "--source", str(source), directory=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert 'relation "my_app" does not exist' in done.stdout
    with psycopg.connect(database.admin_dsn) as admin:
        told = admin.execute(
            "SELECT error->>'message' FROM migrations.history WHERE kind <> 'identity'"
        ).fetchall()
    assert told == [('relation "my_app" does not exist',)]


def test_the_servers_own_words_are_scrubbed(runner: Runner) -> None:
    """A file may quote our own password, which it can know from its configuration."""
    result = runner.run(
        {
            "1_a.up.sql": f"DO $$ BEGIN RAISE WARNING '{runner.database.password}';"
            f" RAISE EXCEPTION 'no %', '{runner.database.password}'; END $$"
        }
    )
    assert result.error is not None
    assert runner.database.password not in f"{result}{runner.lines}"
    assert "no ***" in result.error.message
