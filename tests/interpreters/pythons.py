"""Every Python of this machine that `requires-python` admits, and the tests that concern one, on each.

Looked for on PATH, beside Debian's own, and where pyenv and uv keep theirs. Each gets a virtual environment
of the lock file in `.venvs/`, under a key of what it is made from.
"""

import json
import os
import shutil
import subprocess
import tempfile
import tomllib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from dev.localcluster.cache import content_key
from dev.localcluster.layout import REPOSITORY
from dev.localcluster.report import ClusterError, Progress
from dev.localcluster.report import run as run_command
from tests.interpreters import selection

ENVIRONMENTS: Final = REPOSITORY / ".venvs"
INSTALL_TIMEOUT_SECONDS: Final = 900
IDENTIFY: Final = (
    "import importlib.util, json, platform as p, sys;"
    "has_pip = importlib.util.find_spec('ensurepip') is not None;"
    "found = [p.python_implementation(), p.python_version(), sys.version, sys.base_prefix, has_pip];"
    "print(json.dumps(found))"
)


@dataclass(frozen=True)
class Python:
    """An interpreter."""

    program: Path
    version: Version
    build: str
    """Its whole version, with compiler and date."""
    installation: str
    """Its prefix: several names may lead to one interpreter."""
    has_pip: bool


def admitted() -> SpecifierSet:
    """The versions that `requires-python` names."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    return SpecifierSet(project["requires-python"])


def at_hand() -> list[Python]:
    """Every CPython 3 of this machine, each once, the oldest first."""
    found: dict[tuple[str, str], Python] = {}
    for program in _programs():
        python = identify(program)
        if python is not None:
            found.setdefault((python.installation, python.build), python)
    return sorted(found.values(), key=lambda python: python.version)


def identify(program: Path) -> Python | None:
    """What a program says of itself; None where it is no CPython, or does not run."""
    try:
        done = subprocess.run(
            [program, "-I", "-c", IDENTIFY], capture_output=True, text=True, timeout=30, check=True
        )
        implementation, version, build, prefix, has_pip = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return Python(program, Version(version), build, prefix, has_pip) if implementation == "CPython" else None


def _programs() -> Iterator[Path]:
    directories = [Path(directory) for directory in os.environ.get("PATH", "").split(os.pathsep) if directory]
    directories += [Path("/usr/bin"), Path("/usr/local/bin")]
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local/share")
    kept = (
        Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions",
        Path(os.environ.get("UV_PYTHON_INSTALL_DIR") or data / "uv/python"),
    )
    for versions in kept:
        directories += sorted(path / "bin" for path in versions.glob("*"))
    for directory in dict.fromkeys(directories):
        # pyenv's shims are no interpreters of their own, and fail where no version is selected.
        if directory.name != "shims" and not directory.is_relative_to(REPOSITORY):
            yield from sorted(
                path for path in directory.glob("python3*") if path.name[6:].replace(".", "").isdecimal()
            )


def run(arguments: Sequence[str], progress: Progress) -> int:
    """Run the tests that concern an interpreter on every Python but .venv's; returns an exit code.

    Args:
        arguments: Options, files and tests for pytest.
        progress: Where it is said which were found.

    Raises:
        ClusterError: There is none, or one of them does not take the lock file's packages.
    """
    chosen = selection.choose(arguments)
    if chosen is None:
        progress.say("none of the tests asked for concerns the interpreter")
        return 0
    allowed = admitted()
    own = identify(REPOSITORY / ".venv/bin/python3")
    pythons = []
    for python in at_hand():
        use = _use(python, own, allowed)
        progress.say(f"Python {python.version} at {python.program}: {use or 'tests follow'}")
        if not use:
            pythons.append(python)
    codes = [_tests(python, chosen, progress) for python in pythons]
    return max([selection.exit_code(code, arguments) for code in codes], default=0)


def _use(python: Python, own: Python | None, allowed: SpecifierSet) -> str:
    """Why an interpreter is left out; nothing where it is not."""
    if python.version not in allowed:
        return f"left out, requires-python is {allowed}"
    if own and (python.installation, python.build) == (own.installation, own.build):
        return "that of .venv"
    return ""


def _tests(python: Python, chosen: Sequence[str], progress: Progress) -> int:
    directory = environment(python, progress)
    argv = [str(directory / "bin/pytest"), "-p", "no:cacheprovider", "-n", "2", "--dist", "loadgroup"]
    variables = selection.ENVIRONMENT | os.environ | {"TEST_INTERPRETER": str(python.program)}
    return subprocess.run([*argv, *chosen], cwd=REPOSITORY, env=variables, check=False).returncode


def environment(python: Python, progress: Progress) -> Path:
    """A virtual environment with the lock file's packages and this checkout, made now if it is not there.

    Raises:
        ClusterError: It could not be made; what it is made of may not admit this Python.
    """
    inputs = [REPOSITORY / "requirements-dev.lock", REPOSITORY / "pyproject.toml"]
    key = content_key(python.build, python.installation, *inputs)
    final = ENVIRONMENTS / f"{python.version}-{key}"
    if (final / "made").exists():
        return final
    with progress.step(f"virtual environment of Python {python.version}"):
        shutil.rmtree(final, ignore_errors=True)
        for old in ENVIRONMENTS.glob(f"{python.version}-????????????"):
            shutil.rmtree(old, ignore_errors=True)
        _make(python, final)
    (final / "made").touch()
    return final


def _make(python: Python, directory: Path) -> None:
    options = ["--quiet", "--disable-pip-version-check"]
    locked = ["--require-hashes", "--only-binary", ":all:", "-r", "requirements-dev.lock"]
    with tempfile.TemporaryDirectory() as scratch:
        if python.has_pip:
            run_command([python.program, "-m", "venv", directory])
            pip: list[str | Path] = [directory / "bin/pip"]
        else:
            # Debian's, without python3-venv: the pip of .venv installs for it.
            run_command([python.program, "-m", "venv", "--without-pip", directory])
            pip = [REPOSITORY / ".venv/bin/pip", "--python", directory / "bin/python3"]
        log = Path(scratch) / "pip.log"
        for words in (locked, ["--no-deps", "--no-build-isolation", "--editable", "."]):
            argv = [*pip, "install", *options, *words]
            run_command(argv, log=log, cwd=REPOSITORY, timeout=INSTALL_TIMEOUT_SECONDS)
    if not (directory / "bin/pytest").exists():
        raise ClusterError(f"{directory} has no pytest after the installation of requirements-dev.lock")
