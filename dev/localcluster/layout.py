"""The directories of the cluster, and the addresses inside the node's network namespace.

There are two directories. The cache holds what is built, each thing under a key of its inputs; it outlives
the cluster. The state holds one running cluster and is removed with it.
"""

import os
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
OWN_FILES = Path(__file__).resolve().parent

# Addresses exist only inside the node's network namespace, which has no way out of the machine.
NODE_ADDRESS = "192.168.77.1"
POD_SUBNET = "10.244.0.0/16"
SERVICE_SUBNET = "10.96.0.0/16"
API_SERVICE = "10.96.0.1"
DNS_SERVICE = "10.96.0.10"
POSTGRES_SERVICE = "10.96.0.20"
API_PORT = 6443
DOMAIN = "cluster.local"

POSTGRES_NAMESPACE = "database"
# The release, the namespace of the demo, and the role and database of the application all have this name.
FLUXBASE = "fluxbase"


def _xdg(variable: str, fallback: str) -> Path:
    return Path(os.environ.get(variable) or Path.home() / fallback) / "fluxbase-migrations"


@dataclass(frozen=True)
class Layout:
    """The directories of one cluster, by the cluster's name."""

    name: str
    cache: Path
    state: Path

    @property
    def node(self) -> str:
        """The Kubernetes node's name, also the name of the cgroup that holds its pods."""
        return f"{self.name}-local"

    @property
    def pki(self) -> Path:
        """Certificates and the kubeconfig files made with them."""
        return self.state / "pki"

    @property
    def etc(self) -> Path:
        """Configuration files of the components."""
        return self.state / "etc"

    @property
    def run(self) -> Path:
        """The node's /run: sockets, among them containerd's and the init process's."""
        return self.state / "run"

    @property
    def lib(self) -> Path:
        """The node's /var/lib: containers, volumes, etcd."""
        return self.state / "lib"

    @property
    def log(self) -> Path:
        """One log per component, and the node's /var/log below `node/`."""
        return self.state / "log"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig, usable from the machine's own network by way of 127.0.0.1."""
        return self.state / "kubeconfig"

    @property
    def build_logs(self) -> Path:
        """What the builds printed."""
        return self.cache / "logs"


def layout() -> Layout:
    """The layout that the environment asks for.

    LOCALCLUSTER_NAME names a second cluster beside the usual one, for work on the cluster itself.
    """
    name = os.environ.get("LOCALCLUSTER_NAME") or "fluxbase"
    return Layout(
        name=name,
        cache=_xdg("XDG_CACHE_HOME", ".cache"),
        state=_xdg("XDG_STATE_HOME", ".local/state") / name,
    )
