"""A URL of golang-migrate's or of libpq's means here what it means there."""

from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from dev.peers import write_files
from fluxbase_migrations.core.job import JobSpec, SetRef
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.core.result import Outcome
from tests.runner.test_cli import typed
from tests.runner.test_job import Pod
from tests.runner.track import Runner
from tests.support.databases import Database

FILES = {"1_a.up.sql": "CREATE TABLE a (i int)", "1_a.down.sql": "DROP TABLE a", "2_b.up.sql": "SELECT 2"}
SET = SetRef("uid-1", "fluxbase", "shop")


def with_query(database: Database, query: str) -> str:
    return f"{database.dsn}{'&' if '?' in database.dsn else '?'}{query}"


def rows(runner: Runner, table: str) -> list[tuple[int, bool]]:
    return [(version, dirty) for version, dirty in runner.query(f"SELECT version, dirty FROM {table}")]


@pytest.mark.parametrize(
    ("query", "table"),
    [
        ("x-migrations-table=versions", "public.versions"),
        ("x-migrations-table=Odd.Name", 'public."Odd.Name"'),
        ("x-migrations-table=%22other%22.%22v%22&x-migrations-table-quoted=1", "other.v"),
        ("x-migrations-table=v&search_path=other", "other.v"),
        ("x-migrations-table=%22v%22&x-migrations-table-quoted=true&search_path=nowhere,other", "other.v"),
    ],
)
def test_every_command_uses_the_urls_table(runner: Runner, tmp_path: Path, query: str, table: str) -> None:
    runner.query("CREATE SCHEMA other")
    source = str(write_files(tmp_path / "source", FILES))
    url = with_query(runner.database, query)

    def said(*words: str) -> str:
        done = typed(*words, "--source", source, directory=tmp_path, DATABASE_URL=url)
        assert done.returncode == 0, done.stdout
        return done.stdout

    said("up", "1")
    assert rows(runner, table) == [(1, False)]
    assert said("version").strip() == "1"
    assert "1_a.up.sql" in said("history")
    said("goto", "2")
    said("force", "1")
    assert rows(runner, table) == [(1, False)]
    said("down")
    assert rows(runner, table) == []
    said("run")
    assert rows(runner, table) == [(2, False)]
    assert not runner.exists("migrations.app")
    assert rows(runner, "migrations.fluxbase") != []


def test_a_job_uses_the_urls_table_for_the_users_track_only(runner: Runner, tmp_path: Path) -> None:
    pod = Pod(runner.database, tmp_path)
    url = with_query(runner.database, "x-migrations-table=versions")
    write_files(pod.source, FILES)
    system = pod.run(JobSpec(SET, Track.SYSTEM, 1), DATABASE_URL=url)
    assert system.outcome is Outcome.APPLIED, system.error
    user = pod.run(JobSpec(SET, Track.USER, 1, paths=(str(pod.source),)), DATABASE_URL=url)
    assert (user.outcome, user.version) == (Outcome.APPLIED, 2), user.error
    assert rows(runner, "public.versions") == [(2, False)]
    assert rows(runner, "migrations.fluxbase") == [(system.version, False)]


def test_the_table_option_wins_over_the_urls_and_says_so(runner: Runner, tmp_path: Path) -> None:
    url = with_query(runner.database, "x-migrations-table=versions")
    source = str(write_files(tmp_path / "source", FILES))
    done = typed("up", "--table", "public.mine", "--source", source, directory=tmp_path, DATABASE_URL=url)
    assert done.returncode == 0, done.stdout
    assert "the URL's x-migrations-table is not used" in done.stdout
    assert rows(runner, "public.mine") == [(2, False)]
    assert not runner.exists("public.versions")


def test_a_search_path_without_a_schema_is_told(runner: Runner, tmp_path: Path) -> None:
    url = with_query(runner.database, "x-migrations-table=v&search_path=nowhere")
    done = typed("version", directory=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert "no schema for the tracking table v" in done.stdout


def test_settings_in_a_url_hold_for_every_file(runner: Runner, tmp_path: Path) -> None:
    show = "INSERT INTO public.seen SELECT current_setting('search_path'), current_setting('app.tenant')"
    files = {"1_a.up.sql": f"SET search_path = b; {show}", "2_b.up.sql": show}
    runner.query("CREATE TABLE public.seen (path text, tenant text)")
    value = quote("it's a \\ b;c", safe="")
    url = with_query(runner.database, f"search_path=public,+pg_temp&app.tenant={value}")
    source = str(write_files(tmp_path / "source", files))
    done = typed("up", "--source", source, directory=tmp_path, DATABASE_URL=url)
    assert done.returncode == 0, done.stdout
    tenant = "it's a \\ b;c"
    assert runner.query("SELECT path, tenant FROM public.seen ORDER BY path") == [
        ("b", tenant),
        ("public, pg_temp", tenant),
    ]


@pytest.mark.parametrize("query", ["x-statement-timeout=200", "statement_timeout=200ms"])
def test_a_statement_timeout_in_a_url_holds_unless_the_option_is_given(
    runner: Runner, tmp_path: Path, query: str
) -> None:
    source = str(write_files(tmp_path / "source", {"1_a.up.sql": "SELECT pg_sleep(1)"}))
    url = with_query(runner.database, query)
    done = typed("up", "--source", source, directory=tmp_path, DATABASE_URL=url)
    assert done.returncode == 1
    assert "SQLSTATE 57014" in done.stdout
    words = ("up", "--statement-timeout", "0", "--source", source)
    assert typed(*words, directory=tmp_path, DATABASE_URL=url).returncode == 0


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("colour=hidden", "colour"),
        ("work_mem=hidden", "work_mem"),
        ("shared_buffers=hidden", "shared_buffers"),
        ("session_preload_libraries=hidden", "session_preload_libraries"),
    ],
)
def test_a_setting_that_the_server_does_not_take_is_named_without_its_value(
    runner: Runner, tmp_path: Path, query: str, name: str
) -> None:
    done = typed("version", directory=tmp_path, DATABASE_URL=with_query(runner.database, query))
    assert done.returncode == 1
    assert f"parameter {name} of the database URL cannot be used" in done.stdout
    assert "hidden" not in done.stdout
    assert "retrying" not in done.stdout


@pytest.mark.parametrize("how", ["in the URL", "in the environment"])
def test_a_service_files_options_are_kept(runner: Runner, tmp_path: Path, how: str) -> None:
    parts = psycopg.conninfo.conninfo_to_dict(runner.database.dsn)
    lines = [f"{name}={value}" for name, value in parts.items()]
    service = tmp_path / "services"
    service.write_text("\n".join(["[shop]", *lines, "options=-c app.tenant=7", "application_name=shop-ci"]))
    variables = {"PGSERVICEFILE": str(service)}
    if how == "in the URL":
        variables["DATABASE_URL"] = "postgres://?service=shop"
    else:
        variables["PGSERVICE"] = "shop"
    body = (
        "CREATE TABLE seen AS SELECT current_setting('app.tenant') t, current_setting('application_name') n,"
        " current_setting('idle_session_timeout') i"
    )
    source = str(write_files(tmp_path / "source", {"1_a.up.sql": body}))
    done = typed("up", "--source", source, directory=tmp_path, **variables)
    assert done.returncode == 0, done.stdout
    assert runner.query("SELECT t, n, i FROM seen") == [("7", "shop-ci", "0")]


def test_a_service_that_is_not_defined_is_told_at_once(tmp_path: Path) -> None:
    done = typed("version", directory=tmp_path, DATABASE_URL="postgres://?service=nowhere")
    assert done.returncode == 1
    assert "definition of service" in done.stdout
    assert "retrying" not in done.stdout


@pytest.mark.parametrize(
    ("words", "variables", "said"),
    [
        (("version",), {}, "no database is configured"),
        (("version",), {"DATABASE_URL": ""}, "DATABASE_URL is empty"),
        (("version", "--database-url", ""), {}, "--database-url: the URL is empty"),
        (("version", "--database-url", " "), {"DB_HOST": "h"}, "--database-url: the URL is empty"),
    ],
)
def test_no_database_is_a_usage_error(
    tmp_path: Path, words: tuple[str, ...], variables: dict[str, str], said: str
) -> None:
    done = typed(*words, directory=tmp_path, **variables)
    assert done.returncode == 2
    assert said in done.stderr


def test_a_job_without_a_database_ends_at_once_with_the_reason(database: Database, tmp_path: Path) -> None:
    result = Pod(database, tmp_path).run(JobSpec(SET, Track.SYSTEM, 1), DATABASE_URL="")
    assert result.outcome is Outcome.SERVER_REFUSED
    assert result.error is not None
    assert "no database is configured" in result.error.message


@pytest.mark.parametrize(
    ("changed", "outcome", "words"),
    [
        ({}, Outcome.APPLIED, ""),
        ({"PGUSER": "{user}\n"}, Outcome.APPLIED, ""),
        ({"PGOPTIONS": "-c app.tenant=7"}, Outcome.APPLIED, ""),
        (
            {"PGPASSWORD": "{password}\n"},
            Outcome.AUTHENTICATION_FAILED,
            "the password ends with a line break",
        ),
        ({"PGUSER": "nobody"}, Outcome.AUTHENTICATION_FAILED, "authentication failed"),
        ({"PGSSLMODE": "maybe"}, Outcome.SERVER_REFUSED, "invalid sslmode value"),
        ({"PGOPTIONS": "-c colour=blue"}, Outcome.SERVER_REFUSED, "refuses the connection's options"),
    ],
    ids=str,
)
def test_a_connection_in_its_parts_is_treated_as_a_url(
    database: Database, tmp_path: Path, changed: dict[str, str], outcome: Outcome, words: str
) -> None:
    """As the operator's Jobs give ``spec.database.connection``."""
    server = database.server
    parts = {
        "PGHOST": server.host,
        "PGPORT": str(server.port),
        "PGDATABASE": database.name,
        "PGUSER": database.user,
        "PGPASSWORD": database.password,
        "PGSSLMODE": "prefer",
        **{
            name: value.format(user=database.user, password=database.password)
            for name, value in changed.items()
        },
    }
    pod = Pod(database, tmp_path)
    write_files(pod.source, FILES)
    spec = JobSpec(SET, Track.USER, 1, paths=(str(pod.source),))
    result = pod.run(spec, DATABASE_URL="", **parts)
    assert result.outcome is outcome, result.error
    if words:
        assert result.error is not None
        assert words in f"{result.error.message} {result.error.hint}"
