"""Commands, options and values complete in a shell; what asks is argcomplete's own script."""

import subprocess
import sys
from pathlib import Path

import pytest

from fluxbase_migrations.cli.completion import SHELLS
from fluxbase_migrations.cli.help_texts import GROUPS
from tests.support.completion import completed
from tests.unit.test_extras import WITHOUT

PROGRAM = Path(sys.executable).with_name("fluxbase-migrate")
EVERY = {name for group in GROUPS.values() for name in group}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("fluxbase-migrate ", EVERY),
        ("fluxbase-migrate h", {"history"}),
        ("fluxbase-migrate up --log-", {"--log-format", "--log-timestamps"}),
        ("fluxbase-migrate up --log-format ", {"text", "json"}),
        ("fluxbase-migrate completion ", set(SHELLS)),
        ("fluxbase-migrate import ", {"flyway", "dbmate", "goose", "sqitch-plan"}),
        ("fluxbase-migrate validate ", {"directory/"}),
        ("fluxbase-migrate --source d", {"directory/"}),
        ("fluxbase-migrate up --database-u", {"--database-url"}),
        ("fluxbase-migrate version --on-s", set()),
        ("fluxbase-migrate goto ", set()),
    ],
)
def test_what_is_typed_so_far_is_completed(line: str, offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "directory").mkdir()
    (tmp_path / "file.sql").write_text("")
    assert completed(line, tmp_path) == offered


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_has_a_script_that_names_the_program(shell: str) -> None:
    done = subprocess.run([PROGRAM, "completion", shell], capture_output=True, text=True, check=True)
    assert "fluxbase-migrate" in done.stdout
    assert "_ARGCOMPLETE" in done.stdout


def test_without_the_extra_it_is_named() -> None:
    program = "from fluxbase_migrations.cli.migrate import main; sys.exit(main(['completion', 'bash']))"
    code = WITHOUT.format(missing=("argcomplete",), program=program)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "pip install 'fluxbase-migrations[completion]'" in done.stderr
