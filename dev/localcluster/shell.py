"""A shell that reaches the cluster: its variables, and one directory with every program that we print.

The directory has links and nothing else: the virtual environment's own `bin` would put its Python and pip on
PATH, too.
"""

import shlex
import shutil
from collections.abc import Mapping
from pathlib import Path

from dev.localcluster.cluster import Cluster
from dev.localcluster.layout import REPOSITORY

BIN = REPOSITORY / "build" / "bin"
VENV = REPOSITORY / ".venv" / "bin"
OURS = ("fluxbase-migrate", "kubectl-fluxbase", "kubectl_complete-fluxbase")
"""What `make venv` installs of ours."""
LOOK_AROUND = (
    "kubectl get fbms -A",
    "kubectl fluxbase status shop -n fluxbase",
    "fluxbase-migrate status --source examples/shop/migrations",
)
"""To be typed after `make up`, in a shell with what `exports` prints."""


def programs(cluster: Cluster, venv: Path = VENV) -> dict[str, Path]:
    """Every program that goes with the cluster, by name: ours where they are installed, and its tools."""
    ours = {name: venv / name for name in OURS if (venv / name).exists()}
    return {**cluster.tools, **ours}


def link(found: Mapping[str, Path], directory: Path = BIN) -> None:
    """Make `directory` hold these programs, and no others."""
    directory.mkdir(parents=True, exist_ok=True)
    for name, path in found.items():
        new = directory / f".{name}.new"
        new.unlink(missing_ok=True)
        new.symlink_to(path)
        new.rename(directory / name)  # in one step: somebody may be running it
    for other in directory.iterdir():
        if other.name not in found:
            other.unlink()


def unlink(directory: Path = BIN) -> None:
    """Remove what `link` made."""
    shutil.rmtree(directory, ignore_errors=True)


def exports(cluster: Cluster, directory: Path = BIN) -> list[str]:
    """Shell commands that set KUBECONFIG, DATABASE_URL and PATH."""
    return [
        f"export KUBECONFIG={shlex.quote(str(cluster.kubeconfig))}",
        f"export DATABASE_URL={shlex.quote(cluster.dsn())}",
        f'export PATH={shlex.quote(str(directory))}:"$PATH"',
    ]


def advice() -> list[str]:
    """What to type next, once the example is applied."""
    return ['Look around, in this directory:\n\n  eval "$(make env)"', *(f"  {line}" for line in LOOK_AROUND)]
