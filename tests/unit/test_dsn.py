"""Which database a URL, DB_* or PG* mean, and what golang-migrate and its drivers read from a URL."""

import pytest

from fluxbase_migrations.core.errors import ServerRefused
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.runner.connection import dsn, golang_url
from fluxbase_migrations.runner.connection.table_name import TableName
from fluxbase_migrations.runner.log import Log

BASE = "postgres://u:secret-word@h/d"


@pytest.fixture(autouse=True)
def nothing_configured(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PGHOST", "PGHOSTADDR", "PGSERVICE", "PGDATABASE", "PGUSER", "PGPASSWORD", "PGOPTIONS"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize(
    ("query", "table"),
    [
        ("", None),
        ("?x-migrations-table=", None),
        ("?x-migrations-table=versions", TableName("", "versions")),
        ("?x-migrations-table=a.b", TableName("", "a.b")),
        ("?x-migrations-table=a.b&x-migrations-table-quoted=false", TableName("", "a.b")),
        (
            "?x-migrations-table=%22migrations%22.%22app%22&x-migrations-table-quoted=1",
            TableName("migrations", "app"),
        ),
        ("?x-migrations-table-quoted=true&x-migrations-table=%22a.b%22", TableName("", "a.b")),
        (
            "?x-migrations-table=%22My%20Schema%22.%22t%22&x-migrations-table-quoted=T",
            TableName("My Schema", "t"),
        ),
        ("?x-migrations-table=%22t%22", TableName("", '"t"')),
    ],
)
def test_the_table_is_read_as_golang_migrate_reads_it(query: str, table: TableName | None) -> None:
    _, found = golang_url.split(BASE + query)
    assert found.table == table


@pytest.mark.parametrize(
    ("query", "name"),
    [
        ("x-migrations-table=t&x-migrations-table-quoted=1", "x-migrations-table"),
        ("x-migrations-table=%22a%22.%22b%22.%22c%22&x-migrations-table-quoted=1", "x-migrations-table"),
        ("x-migrations-table=t&x-migrations-table-quoted=hidden", "x-migrations-table-quoted"),
        ("x-statement-timeout=hidden", "x-statement-timeout"),
        ("x-statement-timeout=-1", "x-statement-timeout"),
        ("x-lock-strategy=table", "x-lock-strategy"),
        ("x-unheard-of=hidden", "x-unheard-of"),
        ("not%20a%20name=hidden", "not a name"),
    ],
)
def test_a_parameter_that_cannot_be_honoured_is_named_without_its_value(query: str, name: str) -> None:
    with pytest.raises(ServerRefused, match=name) as refused:
        dsn.read({}, f"{BASE}?sslmode=disable&{query}")
    assert "hidden" not in str(refused.value)
    assert "secret-word" not in str(refused.value)


def test_settings_go_to_the_server_and_libpqs_parameters_to_libpq() -> None:
    query = "search_path=a,+b&sslmode=disable&Lock_Timeout=5s&application_name=me&app.tenant=7&ssl=true"
    found = dsn.read(
        {}, f"{BASE}?{query}&x-statement-timeout=1500&x-multi-statement=true&binary_parameters=yes"
    )
    assert found.url.settings == {"search_path": "a, b", "lock_timeout": "5s", "app.tenant": "7"}
    assert found.parameters["application_name"] == "me"
    assert found.settings().startup()["statement_timeout"] == "1500"
    assert found.settings(statement_timeout=0.0).startup()["statement_timeout"] == "0"
    assert found.settings(ddl_lock_timeout=1.0).startup()["lock_timeout"] == "1000"


def test_a_statement_timeout_among_the_settings_holds_where_nothing_else_says_so() -> None:
    found = dsn.read({}, f"{BASE}?statement_timeout=7s")
    assert found.settings().startup()["statement_timeout"] == "7s"
    assert found.settings(statement_timeout=1.0).startup()["statement_timeout"] == "1000"


@pytest.mark.parametrize(
    ("track", "given", "used", "told"),
    [
        (Track.USER, None, TableName("", "versions"), False),
        (Track.USER, TableName("public", "other"), TableName("public", "other"), True),
        (Track.USER, TableName("public", "versions"), TableName("public", "versions"), False),
        (Track.SYSTEM, None, None, True),
    ],
)
def test_a_table_that_is_given_wins_over_the_urls_and_that_is_told(
    track: Track, given: TableName | None, used: TableName | None, told: bool
) -> None:
    lines: list[str] = []
    found = dsn.read({}, f"{BASE}?x-migrations-table=versions")
    assert found.table(track, given, Log(write=lines.append)) == used
    assert ["x-migrations-table is not used" in line for line in lines] == [True] * told


@pytest.mark.parametrize("edge", [" ", "\n", "\r\n", "\t"])
def test_white_space_around_everything_but_a_password_is_dropped(edge: str) -> None:
    assert dsn.read({"DATABASE_URL": f"{edge}{BASE}{edge}"}).parameters["dbname"] == "d"
    parts = {"DB_HOST": f"h{edge}", "DB_USER": f"{edge}u{edge}", "DB_PASSWORD": f"p{edge}"}
    found = dsn.read(parts).parameters
    assert (found["host"], found["user"], found["password"]) == ("h", "u", f"p{edge}")
    assert dsn.read({"PGHOST": "h", "PGUSER": f"u{edge}"}).parameters["user"] == "u"


@pytest.mark.parametrize(
    ("environment", "words"),
    [
        ({}, "no database is configured"),
        ({"DATABASE_URL": " \n"}, "DATABASE_URL is empty"),
        ({"PGUSER": "u", "PGPORT": "1"}, "no database is configured"),
        ({"DB_HOST": ""}, "no database is configured"),
    ],
)
def test_no_database_at_all_is_told_with_the_ways_to_configure_one(
    environment: dict[str, str], words: str
) -> None:
    with pytest.raises(dsn.NotConfigured, match=words) as refused:
        dsn.read(environment)
    assert "DB_HOST" in str(refused.value)
    assert "PGHOST" in str(refused.value)


@pytest.mark.parametrize("name", ["PGHOST", "PGHOSTADDR", "PGDATABASE", "DB_NAME", "DB_USER", "DB_HOST"])
def test_one_part_is_a_configuration(name: str) -> None:
    dsn.read({name: "127.0.0.1"})


@pytest.mark.parametrize(
    "url",
    [
        "postgres://u:secret?-word@h/d",
        "postgres://u:secret/-word@h/d",
        "postgres://u:secret@-word@h/d",
        "postgres://u:secret-word@h:port/d",
        "postgres://u:secret-word@h/d?sslmode=secret",
        "host=h password=secret-word=secret bad",
        "service=nowhere-secret",
        "secret:5432/d",
        "mysql://u:secret@h/d",
        "secret=//u:secret@h/d",
    ],
)
def test_what_libpq_cannot_use_is_told_before_it_connects_and_without_the_value(url: str) -> None:
    with pytest.raises(ServerRefused) as refused:
        dsn.read({}, url)
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "h:5432/d"}, "the URL does not begin with postgres://"),
        ({"DATABASE_URL": "mysql://u@h/d"}, "the URL does not begin with postgres://"),
        ({"DB_HOST": "h", "DB_PORT": "many"}, 'invalid integer value … for connection option "port"'),
        ({"DB_HOST": "h", "DB_SSLMODE": "yes"}, "invalid sslmode value"),
    ],
)
def test_which_part_libpq_cannot_use_is_told(environment: dict[str, str], said: str) -> None:
    with pytest.raises(ServerRefused) as refused:
        dsn.read(environment)
    assert f"{said}; hint: " in f"{refused.value}".replace(": …; hint", "; hint")


def test_several_hosts_are_fine() -> None:
    dsn.read({}, "postgres://u@a,b,c/d")
    dsn.read({}, "postgres://u@a:1,b:2/d?target_session_attrs=read-write")


def test_options_of_the_environment_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGOPTIONS", "-c geqo=off")
    monkeypatch.setenv("PGAPPNAME", "mine")
    assert dsn.read({"DB_HOST": "h"}).parameters["options"] == "-c geqo=off"
    assert "application_name" not in dsn.read({"DB_HOST": "h"}).parameters
    assert dsn.read({}, f"{BASE}?options=-cjit%3Doff").parameters["options"] == "-cjit=off"


def test_encryption_by_kerberos_may_be_required_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Libpq refuses it for a socket, which is where parameters are tried out."""
    found = dsn.read({}, "postgres://u@h:5,6/d?gssencmode=require")
    assert found.parameters["gssencmode"] == "require"
    monkeypatch.setenv("PGGSSENCMODE", "require")
    assert "gssencmode" not in dsn.read({}, BASE).parameters
    with pytest.raises(ServerRefused, match="invalid sslmode value"):
        dsn.read({}, f"{BASE}?sslmode=hidden")
