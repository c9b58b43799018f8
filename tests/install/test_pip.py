"""`pip install` of the wheel, with each extra, into an environment that has nothing else."""

import subprocess
import sys
import venv
from pathlib import Path

import pytest

from fluxbase_migrations import __version__
from fluxbase_migrations.core.extras import PACKAGE, Extra
from tests.install.conftest import Typed

ROOT = Path(__file__).parents[2]
pytestmark = pytest.mark.timeout(600)

NOT_INSTALLED = "is not installed; run: pip install"
SHIPS = {
    "": [
        ("fluxbase-migrate", "--version", 0, f"fluxbase-migrate {__version__}"),
        ("fluxbase-migrate", "--help", 0, "Run migrations:"),
        ("fluxbase-migrate", "validate {files}", 0, "2 files"),
        ("fluxbase-migrate", "completion bash", 1, f"{NOT_INSTALLED} '{PACKAGE}[completion]'"),
        ("kubectl-fluxbase", "--help", 0, "Look at and steer"),
        ("kubectl-fluxbase", "list", 1, f"{NOT_INSTALLED} '{PACKAGE}[kubectl]'"),
        ("kubectl_complete-fluxbase", "st", 1, ""),
    ],
    Extra.COMPLETION: [("fluxbase-migrate", "completion bash", 0, "complete ")],
    Extra.KUBECTL: [
        ("kubectl-fluxbase", "version --client", 0, f"Client: {__version__}"),
        ("kubectl-fluxbase", "list", 1, "no cluster to talk to"),
        ("kubectl-fluxbase", "completion bash", 0, "complete "),
        ("kubectl_complete-fluxbase", "st", 0, "status\t"),
    ],
    Extra.LINT: [("fluxbase-migrate", "lint {files}", 1, "adding-required-field")],
    Extra.OPERATOR: [("python", "-m fluxbase_migrations.controller", 2, "MIGRATION_IMAGE")],
}
"""By extra: a program, its words, its exit code, and something of what it says."""


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("wheel")
    pip = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--wheel-dir", directory, ROOT], check=True)
    (found,) = directory.iterdir()
    return found


def test_every_extra_ships_something() -> None:
    assert SHIPS.keys() == {"", *Extra}


@pytest.mark.parametrize("extra", SHIPS)
def test_a_fresh_environment_runs_what_it_ships(
    extra: str, wheel: Path, typed: Typed, tmp_path: Path
) -> None:
    files = tmp_path / "files"
    files.mkdir()
    (files / "1_a.up.sql").write_text("ALTER TABLE a ADD COLUMN b bigint NOT NULL;\n")
    (files / "1_a.down.sql").write_text("ALTER TABLE a DROP COLUMN b;\n")
    home = tmp_path / "venv"
    venv.create(home, with_pip=False)
    wanted = f"{PACKAGE}[{extra}] @ {wheel.as_uri()}" if extra else str(wheel)
    pip = [sys.executable, "-m", "pip", "--python", str(home / "bin/python"), "install", "--quiet"]
    subprocess.run([*pip, "--no-compile", "--only-binary", ":all:", wanted], check=True)
    for program, words, code, part in SHIPS[extra]:
        ended, said = typed(home / "bin" / program, *words.format(files=files).split())
        assert (ended, part in said) == (code, True), f"{program} {words}: exit code {ended}\n{said}"
