"""A line that `make up` prints can be pasted, once the shell has what `make env` prints."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from dev.localcluster import shell
from dev.localcluster.cluster import Cluster
from dev.localcluster.components import Ports
from dev.localcluster.layout import Layout
from dev.localcluster.node import Node
from dev.localcluster.tools import tool
from dev.peers import environment
from fluxbase_migrations.cli import arguments
from fluxbase_migrations.cli.kubectl import arguments as kubectl_arguments

VENV = Path(sys.executable).parent


@pytest.fixture
def cluster(tmp_path: Path) -> Cluster:
    """What is known of a local cluster; it need not run."""
    where = Layout("test", tmp_path / "cache", tmp_path / "state dir")
    where.state.mkdir()
    (where.state / "passwords.json").write_text(json.dumps({"fluxbase": "it's"}))
    return Cluster(where.kubeconfig, {"kubectl": tool("kubectl")}, Node(where), Ports(1, 2))


def typed(lines: list[str], line: str) -> str:
    """What a shell prints that has read these lines first, with nothing of ours on its PATH."""
    done = subprocess.run(
        ["bash", "-ec", "\n".join([*lines, line])],
        env=environment({"PATH": "/usr/bin:/bin"}),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_shell_has_the_programs_and_no_other_python(cluster: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "bin dir"
    shell.link(shell.programs(cluster, VENV), directory)
    lines = shell.exports(cluster, directory)
    assert typed(lines, "fluxbase-migrate --version").startswith("fluxbase-migrate ")
    assert typed(lines, "kubectl fluxbase version --client").startswith("Client: ")
    assert "status\t" in typed(lines, "kubectl __complete fluxbase sta")
    assert typed(lines, 'printf %s "$KUBECONFIG"') == str(cluster.kubeconfig)
    assert typed(lines, 'printf %s "$DATABASE_URL"') == "postgres://fluxbase:it's@127.0.0.1:2/fluxbase"
    assert not typed(lines, "command -v python3").startswith(str(tmp_path))


def test_links_follow_the_programs_and_go_with_the_cluster(cluster: Cluster, tmp_path: Path) -> None:
    directory = tmp_path / "bin"
    shell.link({"kubectl": Path("/old"), "gone": Path("/gone")}, directory)
    shell.link(shell.programs(cluster, VENV), directory)
    assert {path.name: path.readlink() for path in directory.iterdir()} == {
        "kubectl": tool("kubectl"),
        **{name: VENV / name for name in shell.OURS},
    }
    shell.unlink(directory)
    assert not directory.exists()


def test_a_program_that_is_not_installed_is_not_linked(cluster: Cluster, tmp_path: Path) -> None:
    assert shell.programs(cluster, tmp_path) == cluster.tools


@pytest.mark.parametrize("line", shell.LOOK_AROUND)
def test_what_is_advised_can_be_typed(line: str) -> None:
    words = line.split()
    match words[:2]:
        case ["fluxbase-migrate", _]:
            arguments.parser().parse_args(words[1:])
        case ["kubectl", "fluxbase"]:
            kubectl_arguments.parser().parse_args(words[2:])
        case _:
            assert words[0] == "kubectl"
    assert any(line in said for said in shell.advice())
