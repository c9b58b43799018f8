"""Runs what has been installed, without this checkout and without the environment of the tests."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from dev.peers import environment

Typed = Callable[..., tuple[int, str]]


@pytest.fixture
def typed(tmp_path: Path) -> Typed:
    """A program with its words: the exit code, and what it said."""

    def run(program: Path, *words: str, **variables: str) -> tuple[int, str]:
        done = subprocess.run(
            [program, *words],
            env=environment({"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(tmp_path), **variables}),
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=120,
        )
        return done.returncode, done.stdout

    return run
