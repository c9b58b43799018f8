"""The static checks, as tests: one command and one summary for everything."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent

CHECKS = {
    "ruff finds nothing": ["ruff", "check", "."],
    "every file is formatted": ["ruff", "format", "--check", "."],
    "mypy --strict finds nothing": ["mypy"],
    "the layers hold": ["lint-imports", "--no-cache"],
}


@pytest.mark.parametrize("command", CHECKS.values(), ids=CHECKS.keys())
def test_static_check(command: list[str]) -> None:
    tool, *arguments = command
    done = subprocess.run(
        [str(BIN / tool), *arguments], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_source_root_is_never_a_package() -> None:
    """`operator/__init__.py` would shadow Python's own module of that name."""
    assert not (ROOT / "operator" / "__init__.py").exists()


LOCKS = [f"requirements{kind}.lock" for kind in ("", "-build", "-dev", "-mutants")]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pinned_dependency_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    for requirement in text.replace("\\\n", " ").splitlines():
        if requirement and not requirement.lstrip().startswith("#"):
            assert "--hash=sha256:" in requirement, requirement
