"""The local cluster's table of parts, and the keys under which it keeps what it builds."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dev.localcluster import parts
from dev.localcluster.cache import content_key
from dev.localcluster.images import dockerfile_inputs
from dev.localcluster.layout import REPOSITORY
from dev.localcluster.report import ClusterError


def test_the_documentation_has_the_table_of_the_parts() -> None:
    assert parts.markdown() in (REPOSITORY / "docs/local-cluster.md").read_text()


def test_the_kubernetes_binary_is_of_the_version_in_the_table() -> None:
    assert (
        f"k8s.io/kubernetes v{parts.KUBERNETES}\n"
        in (REPOSITORY / "dev/localcluster/kube/go.mod").read_text()
    )


def test_a_key_changes_with_a_file_its_name_and_its_executable_bit(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_text("x")
    keys = {content_key(tmp_path)}
    file.write_text("y")
    keys.add(content_key(tmp_path))
    file.chmod(0o755)
    keys.add(content_key(tmp_path))
    file.rename(tmp_path / "b")
    keys.add(content_key(tmp_path))
    assert len(keys) == 4


def test_a_key_keeps_inputs_apart() -> None:
    assert content_key("ab", "c") != content_key("a", "bc")


def test_an_image_is_made_of_the_dockerfile_and_what_it_copies_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM base AS build\nCOPY a.txt \\\n  b.txt ./\nCOPY code /code\n"
        "FROM base\nCOPY --from=build /code /code\n"
    )
    for name in (
        "a.txt",
        "b.txt",
        "unused.txt",
        "code/main.py",
        "code/__pycache__/main.pyc",
        "code/.cache/x",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    names = [str(path.relative_to(tmp_path)) for path in dockerfile_inputs(tmp_path)]
    assert names == ["Dockerfile", "a.txt", "b.txt", "code/main.py"]


def test_a_dockerfile_that_copies_what_is_not_there_is_refused_with_the_name(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM base\nCOPY gone.txt ./\n")
    with pytest.raises(ClusterError, match=r"copies gone\.txt"):
        dockerfile_inputs(tmp_path)


def test_kubectl_finds_the_plugin_as_the_documentation_types_it(tmp_path: Path) -> None:
    kubectl = tmp_path / "kubectl"
    kubectl.write_text('#!/bin/sh\nexec "kubectl-$@"\n')  # what the real one does with its first word
    kubectl.chmod(0o755)
    (tmp_path / "helm").symlink_to(kubectl)
    (tmp_path / "config").touch()
    done = subprocess.run(
        [sys.executable, "-m", "dev.localcluster", "kubectl", "fluxbase", "version", "--client"],
        cwd=REPOSITORY,
        env={"PATH": f"{tmp_path}:{os.defpath}", "KUBECONFIG": str(tmp_path / "config"), "IMAGE": "any"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout[:8], done.stderr) == (0, "Client: ", "")
