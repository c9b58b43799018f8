"""The Dockerfile's two images: what they are made of, without building them."""

import re
from fnmatch import fnmatch
from pathlib import Path

import pytest
from kubernetes import client

from dev.localcluster.images import dockerfile_inputs
from fluxbase_migrations.cli.kubectl import cluster
from tests.interpreters.locks import requirements

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
OPERATORS_OWN = {"aiohttp", "kopf", "kubernetes", "prometheus-client", "pydantic"}


def stages() -> dict[str, tuple[str, list[str]]]:
    """Each stage's base and instructions."""
    found: dict[str, tuple[str, list[str]]] = {}
    lines: list[str] = []
    for line in DOCKERFILE.splitlines():
        if begin := re.match(r"FROM (\S+) AS (\S+)", line):
            lines = []
            found[begin[2]] = (begin[1], lines)
        elif line and not line.startswith("#"):
            lines.append(line)
    return found


@pytest.mark.parametrize("image", ["runner", "operator"])
def test_an_image_is_put_together_without_a_shell(image: str) -> None:
    base = image
    while base in stages():
        base, lines = stages()[base]
        assert [line for line in lines if line.startswith("RUN")] == []
    assert base == "${BASE_IMAGE}"


def test_the_image_that_does_both_is_the_one_that_is_built_unless_another_is_named() -> None:
    assert list(stages())[-2:] == ["runner", "operator"]


def test_the_jobs_image_has_the_operators_versions_and_nothing_that_is_only_the_operators() -> None:
    runner, operator = locked("requirements-runner.lock"), locked("requirements.lock")
    assert runner.items() <= operator.items()
    assert operator.keys() - runner.keys() >= OPERATORS_OWN


def test_the_apis_that_stay_are_those_that_the_plugin_uses() -> None:
    source = Path(cluster.__file__).read_text()
    assert set(re.findall(r"\bclient\.(\w+Api)\b", source)) == set(cluster.APIS)


def test_the_operators_image_has_what_the_plugin_uses_of_the_client() -> None:
    installed = " ".join(stages()["operator-dependencies"][1])
    for api in cluster.APIS:
        assert f" {getattr(client, api).__module__}" in installed


def locked(name: str) -> dict[str, str]:
    """Each package's version."""
    entries = requirements((ROOT / name).read_text())
    return {package: entry.partition("==")[2].split()[0] for package, entry in entries.items()}


def test_a_container_engine_is_given_everything_that_is_copied() -> None:
    admitted = [
        line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")
    ]
    for path in dockerfile_inputs(ROOT):
        name = str(path.relative_to(ROOT))
        if name not in ("Dockerfile", ".dockerignore"):
            assert any(fnmatch(name, one) or name.startswith(f"{one}/") for one in admitted), name
