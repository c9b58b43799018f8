"""Where the command line's settings come from, and the next file's number."""

from pathlib import Path

import pytest

from fluxbase_migrations.cli import config
from fluxbase_migrations.cli.arguments import parser
from fluxbase_migrations.cli.migrate import main
from fluxbase_migrations.cli.options import chosen_options
from fluxbase_migrations.runner.connection import dsn, masking

YAML = """
database:
  host: from-yaml
  port: 6000
  username: someone
  password: "p@ss/w^%#"
  ssl_mode: disable
  user_migrations_path: ./migrations
"""


def test_the_environment_wins_over_dotenv_and_dotenv_over_yaml(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        "# a comment\nexport DB_PORT=5433\nDB_NAME='shop'  \nDB_HOST=from-dotenv # why\n"
    )
    (tmp_path / "fluxbase.yaml").write_text(YAML)
    found = config.load({"DB_HOST": "from-environment"}, tmp_path)
    assert found == {
        "DB_HOST": "from-environment",
        "DB_PORT": "5433",
        "DB_NAME": "shop",
        "DB_USER": "someone",
        "DB_PASSWORD": "p@ss/w^%#",
        "DB_SSLMODE": "disable",
        "DB_USER_MIGRATIONS_PATH": "./migrations",
    }


def test_dotenv_is_read_as_its_own_library_reads_it(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text(
        """
        DB_PASSWORD='p$ss ${HOME} # "all" of it'
        DB_USER="some\\"one\\nelse"
        DB_NAME=
        DB_HOST = here
        MULTI="one
        two"
        """
    )
    assert config.load({}, tmp_path) == {
        "DB_PASSWORD": 'p$ss ${HOME} # "all" of it',
        "DB_USER": 'some"one\nelse',
        "DB_NAME": "",
        "DB_HOST": "here",
        "MULTI": "one\n        two",
    }


def test_a_url_of_a_lower_layer_does_not_override_a_host_of_a_higher_one(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("DATABASE_URL=postgres://dotenv/x\n")
    assert "DATABASE_URL" not in config.load({"DB_HOST": "here"}, tmp_path)
    assert config.load({"DB_PORT": "1"}, tmp_path)["DATABASE_URL"] == "postgres://dotenv/x"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        (".env", "A=1\nnot a line\n", r"\.env:2"),
        (".env", "A=1\n\n\nB='open\nC=2\n", r"\.env:4"),
        (".env", "A=1\nB\n", r"\.env:2"),
        ("fluxbase.yaml", "database: [\n", r"fluxbase\.yaml:2: not valid YAML"),
    ],
)
def test_a_file_that_cannot_be_read_is_named_with_the_line(
    tmp_path: Path, name: str, text: str, words: str
) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(config.ConfigError, match=words):
        config.load({}, tmp_path)


@pytest.mark.parametrize(
    ("text", "expected"), [("90", 90), ("1.5s", 1.5), ("500ms", 0.5), ("5M", 300), ("1h30m", 5400), ("0", 0)]
)
def test_durations(text: str, expected: float) -> None:
    assert config.seconds(text) == expected


@pytest.mark.parametrize("text", ["", "soon", "-1", "5 m", "1d"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="duration"):
        config.seconds(text)


def test_golang_migrates_urls_are_understood() -> None:
    url = "pgx5://u:p@h/d?x-migrations-table=a&sslmode=disable&x-multi-statement=true"
    found = dsn.read({}, url).parameters
    assert (found["host"], found["dbname"], found["sslmode"]) == ("h", "d", "disable")


def test_secrets_are_scrubbed_longest_first() -> None:
    assert masking.scrub("abcdefghij abcdefgh", ["abcdefgh", "abcdefghij"]) == "*** ***"


def test_a_flag_wins_over_the_environment_that_over_dotenv_and_that_over_yaml(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for variable in ("FLUXBASE_SOURCE", "DB_USER_MIGRATIONS_PATH"):
        monkeypatch.delenv(variable, raising=False)

    def directory(*words: str) -> str:
        assert main(words) == 0
        return str(Path(capsys.readouterr().out.split()[0]).parent)

    assert directory("create", "x") == "migrations"
    (tmp_path / "fluxbase.yaml").write_text("database:\n  user_migrations_path: from-yaml\n")
    assert directory("create", "x") == "from-yaml"
    (tmp_path / ".env").write_text("DB_USER_MIGRATIONS_PATH=from-dotenv\n")
    assert directory("create", "x") == "from-dotenv"
    monkeypatch.setenv("DB_USER_MIGRATIONS_PATH", "from-environment")
    assert directory("create", "x") == "from-environment"
    assert directory("--source", "from-flag", "create", "x") == "from-flag"
    assert directory("create", "x", "--source", "from-flag") == "from-flag"
    assert directory("--source", "first", "create", "--source", "second", "x") == "second"


@pytest.mark.parametrize("value", ["JSON", "json", "Json"])
def test_values_are_read_in_any_case_as_flags_and_as_variables(value: str) -> None:
    given = parser().parse_args(["--log-format", value, "--recovery", "MANUAL", "version"])
    assert chosen_options(given, {}) == {"log_format": "json", "recovery": "Manual"}
    given = parser().parse_args(["version"])
    variables = {"LOG_FORMAT": value, "FLUXBASE_TRACK": "System", "FLUXBASE_LOCK_TIMEOUT": "5M"}
    assert chosen_options(given, variables) == {"log_format": "json", "track": "system", "lock_timeout": 300}
