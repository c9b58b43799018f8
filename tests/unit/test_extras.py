"""Who installs the command line alone is told how to get the rest."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from fluxbase_migrations.core.extras import PACKAGE, Extra, missing

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def test_every_extra_is_in_the_packages_metadata() -> None:
    assert PROJECT["name"] == PACKAGE
    assert sorted(PROJECT["optional-dependencies"]) == sorted(Extra)


WITHOUT = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {missing!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Missing())
{program}
"""
KUBECTL = "from fluxbase_migrations.cli.kubectl.program import main; sys.exit(main(['status', 'shop']))"
OPERATOR = "import runpy; runpy.run_module('fluxbase_migrations.controller', run_name='__main__')"


@pytest.mark.parametrize(
    ("program", "absent", "extra"),
    [
        (KUBECTL, "kubernetes", Extra.KUBECTL),
        (OPERATOR, "kopf", Extra.OPERATOR),
        (OPERATOR, "kubernetes", Extra.OPERATOR),
        (OPERATOR, "pydantic", Extra.OPERATOR),
        (OPERATOR, "prometheus_client", Extra.OPERATOR),
    ],
)
def test_a_program_without_its_extra_says_which_in_one_line(program: str, absent: str, extra: Extra) -> None:
    code = WITHOUT.format(missing=(absent,), program=program)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    said = f"the Python package {absent} is not installed; run: pip install 'fluxbase-migrations[{extra}]'"
    assert line.removeprefix("error: ") == said


def test_the_command_line_needs_no_extra() -> None:
    others = ("aiohttp", "kopf", "kubernetes", "prometheus_client", "pydantic")
    program = (
        "from fluxbase_migrations.cli import migrate\n"
        "from fluxbase_migrations.runner.commands import job, verbs\n"
        "from fluxbase_migrations.runner.sql import grammar\n"
        "import postgast, yaml, dotenv"
    )
    subprocess.run([sys.executable, "-c", WITHOUT.format(missing=others, program=program)], check=True)


def test_a_module_of_our_own_that_is_missing_is_a_fault_and_no_extra() -> None:
    error = ModuleNotFoundError("No module named 'fluxbase_migrations.x'", name="fluxbase_migrations.x")
    with pytest.raises(ModuleNotFoundError):
        missing(error, Extra.OPERATOR)
