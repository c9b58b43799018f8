"""Which interpreters the tests run on, and with what: said aloud, and refused where it cannot be."""

import json
import shutil
import subprocess
import sys
import tarfile
from io import BytesIO
from pathlib import Path

import pytest

from dev.localcluster.cache import Cache
from dev.localcluster.layout import REPOSITORY
from dev.localcluster.report import ClusterError, Progress
from tests.interpreters import engines, image, locks, pythons, selection
from tests.interpreters.layers import unpack_layer
from tests.support import counts

EVERYWHERE = list(selection.EVERYWHERE)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], EVERYWHERE),
        (["-k", "lock or dirty"], ["-k", "lock or dirty", *EVERYWHERE]),
        (["tests/unit/test_plan.py::test_x", "tests/e2e"], ["tests/unit/test_plan.py::test_x"]),
        (["tests"], EVERYWHERE),
        (["./tests/runner/"], ["tests/runner"]),
        (["tests/e2e", "-x"], None),
    ],
)
def test_the_tests_of_an_interpreter_are_those_asked_for_that_concern_one(
    arguments: list[str], expected: list[str] | None
) -> None:
    assert selection.choose(arguments) == (expected and [*selection.WITHOUT, *expected])


@pytest.mark.parametrize(
    ("code", "arguments", "expected"),
    [(5, ["-k", "chart"], 0), (5, [], 5), (1, ["-k", "chart"], 1), (0, [], 0)],
)
def test_no_test_at_all_is_a_failure_unless_tests_were_chosen(
    code: int, arguments: list[str], expected: int
) -> None:
    assert selection.exit_code(code, arguments) == expected


def test_the_parts_that_run_everywhere_are_there() -> None:
    assert [part for part in EVERYWHERE if not (REPOSITORY / part).is_dir()] == []


def test_the_counts_of_all_runs_of_a_command_stand_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_COUNTS", str(tmp_path / "build/counts"))
    monkeypatch.setenv("TEST_INTERPRETER", "the image x")
    first = counts.lines({"passed": [1, 2], "failed": [3]})
    monkeypatch.delenv("TEST_INTERPRETER")
    second = counts.lines({})
    assert len(first) == 1
    assert first[0].endswith(" of the image x: 2 passed, 1 failed")
    assert second[0] == first[0]
    assert second[1].endswith(": no tests ran")


def test_the_tests_own_packages_are_those_of_the_lock_file_that_the_image_has_not() -> None:
    shipped, own = REPOSITORY / "requirements.lock", REPOSITORY / "requirements-dev.lock"
    found = locks.requirements(locks.only_in(own, besides=shipped))
    assert {"pytest", "pytest-xdist", "hypothesis"} <= found.keys()
    assert not found.keys() & locks.requirements(shipped.read_text()).keys()
    assert all("--hash=sha256:" in entry for entry in found.values())


def test_what_an_upper_layer_removes_is_gone(tmp_path: Path) -> None:
    lower = _layer(tmp_path / "lower", "etc/kept", "etc/gone", "opaque/old")
    upper = _layer(tmp_path / "upper", "etc/.wh.gone", "opaque/.wh..wh..opq", "opaque/new")
    (tmp_path / "all").mkdir()
    mount = f"mount -t overlay -o lowerdir={upper}:{lower} all {tmp_path}/all"
    script = f"{mount} && cd {tmp_path}/all && find . -type f | sort"
    seen = subprocess.run(
        ["unshare", "--mount", "sh", "-c", script], capture_output=True, text=True, check=True
    )
    assert seen.stdout.split() == ["./etc/kept", "./opaque/new"]


def _layer(directory: Path, *names: str) -> Path:
    archive = BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as layer:
        for name in names:
            layer.addfile(tarfile.TarInfo(name))
    archive.seek(0)
    with tarfile.open(fileobj=archive) as layer:
        unpack_layer(layer, directory)
    return directory


@pytest.mark.parametrize("change", ["changed", "missing"])
def test_other_code_in_the_image_than_in_the_checkout_is_seen(tmp_path: Path, change: str) -> None:
    shutil.copytree(REPOSITORY / "operator", tmp_path, dirs_exist_ok=True)
    file = tmp_path / "fluxbase_migrations/runner/sql/lexer.py"
    argv = [sys.executable, "-c", image.LOOK, str(tmp_path)]
    same = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(same.stdout)["other"] == []
    file.write_text("changed") if change == "changed" else file.unlink()
    seen = subprocess.run(argv, capture_output=True, text=True, check=True)
    assert json.loads(seen.stdout)["other"] == ["runner/sql/lexer.py"]


def test_an_image_that_no_engine_gives_is_a_failure_with_the_way_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    _program(tmp_path / "podman", "echo 'Error: not known' >&2; exit 125")
    with pytest.raises(ClusterError) as caught:
        engines.save("registry.example/x:1", Cache(tmp_path, Progress()))
    message = str(caught.value)
    for part in (
        "registry.example/x:1",
        "docker is not on PATH",
        "podman: Error: not known",
        "IMAGE_TESTS=no",
    ):
        assert part in message


def test_an_image_is_pulled_once_and_its_archive_kept_by_its_id(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    _program(
        tmp_path / "docker",
        f'echo "$@" >> {tmp_path}/calls\n'
        f'case "$1" in pull) touch {tmp_path}/pulled;; save) echo archive > "$3";;\n'
        f"image) test -e {tmp_path}/pulled && echo sha256:1;; esac",
    )
    cache = Cache(tmp_path / "cache", Progress())
    archive = engines.save("x:1", cache)
    assert archive.read_text() == "archive\n"
    assert engines.save("x:1", cache) == archive
    calls = [line.split()[0] for line in (tmp_path / "calls").read_text().splitlines()]
    assert calls == ["image", "pull", "image", "save", "image"]


def _program(path: Path, script: str) -> Path:
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    return path


def test_a_program_that_is_no_python_is_none(tmp_path: Path) -> None:
    assert pythons.identify(_program(tmp_path / "python3", "echo hello")) is None
    assert pythons.identify(tmp_path / "nothing") is None


def test_the_python_of_the_tests_is_at_hand_and_admitted() -> None:
    own = pythons.identify(Path(sys.executable))
    assert own is not None
    assert own.version in pythons.admitted()
    assert (own.installation, own.build) in [(one.installation, one.build) for one in pythons.at_hand()]


def _python(directory: Path, version: tuple[int, int, int]) -> Path:
    """This interpreter under an assumed version."""
    assumed = f"import sys; sys.version_info = {version}; sys.version = '{'.'.join(map(str, version))} (x)'"
    return _program(
        directory / "python3",
        f'[ "$1" = -c ] && exec {sys.executable} -c "{assumed}; exec(sys.argv[1])" "$2"',
    )


def _check_of_the_dockerfile() -> str:
    text = (REPOSITORY / "Dockerfile").read_text()
    (check,) = [line.strip() for line in text.splitlines() if line.strip().startswith("python3 -c")]
    return check.removesuffix("\\").strip()


@pytest.mark.parametrize("version", [(3, 9, 2), (3, 10, 13), (3, 11, 0), (3, 13, 1)])
def test_an_interpreter_that_requires_python_excludes_is_refused_aloud(
    tmp_path: Path, version: tuple[int, int, int]
) -> None:
    program, name = _python(tmp_path, version), ".".join(map(str, version))
    allowed = name in pythons.admitted()
    build = subprocess.run(
        ["/bin/sh", "-c", _check_of_the_dockerfile()],
        env={"PATH": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (build.returncode == 0) is allowed
    assert (f"BASE_IMAGE has Python {name}; python3 >= 3.11 is needed" in build.stderr) is not allowed
    if not allowed:
        for file in ("Makefile", "requirements-dev.lock", "pyproject.toml"):
            shutil.copy(REPOSITORY / file, tmp_path)
        argv = ["make", "-C", str(tmp_path), "venv", f"PYTHON={program}"]
        made = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert made.returncode == 2
        assert f"Python {name} is too old: requires-python is {pythons.admitted()}" in made.stderr
