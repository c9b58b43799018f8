"""The table of the cluster's parts: the only place that names versions, packages and sources.

``python3 -m dev.localcluster parts`` prints it as the table in ``docs/local-cluster.md``.
"""

from dataclasses import dataclass

KUBERNETES = "1.34.4"
DEBIAN_SUITE = "bookworm"
POSTGRES_MAJOR = "15"
# Fetched as a Go module where neither PATH nor Debian has a Go that is new enough.
GO_TOOLCHAIN = "1.24.13"
# What the modules below require in their go.mod, at least.
GO_MINIMUM = (1, 24)

# Debian package → a program of it that must be on PATH, or a file that must exist.
DEBIAN_PACKAGES = {
    "buildah": "buildah",
    "ca-certificates": "/etc/ssl/certs/ca-certificates.crt",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "containernetworking-plugins": "/usr/lib/cni/ptp",
    "debootstrap": "debootstrap",
    "iproute2": "ip",
    "iptables": "iptables",
    "mount": "mount",
    "openssl": "openssl",
    "postgresql-client": "psql",
    "runc": "runc",
    "socat": "socat",
    "util-linux": "nsenter",
}

# The base of every image: what the Dockerfile's BASE_IMAGE needs.
BASE_PACKAGES = ("ca-certificates", "python3", "python3-venv")


@dataclass(frozen=True)
class GoTool:
    """A program built from a Go module with `go install`."""

    name: str
    package: str
    version: str
    tags: str = ""


COREDNS = GoTool("coredns", "github.com/coredns/coredns", "v1.12.4")
HELM = GoTool("helm", "helm.sh/helm/v3/cmd/helm", "v3.19.5")
MIGRATE = GoTool(
    "migrate", "github.com/golang-migrate/migrate/v4/cmd/migrate", "v4.19.1", tags="postgres pgx5 file"
)
GO_TOOLS = (COREDNS, HELM, MIGRATE)

# The names under which the Kubernetes binary is installed; it acts as the program whose name it is called by.
KUBE_PROGRAMS = (
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-scheduler",
    "kube-proxy",
    "kubelet",
    "kubectl",
)


@dataclass(frozen=True)
class Part:
    """One row of the table."""

    name: str
    what: str
    source: str
    version: str


PARTS = (
    Part("node init", "process 1 of the node: starts, stops and reaps the others", "`nodeinit.py`", "—"),
    Part(
        "etcd",
        "the API server's store; without fsync, the cluster is disposable",
        "Go module, in `kube`",
        "3.6",
    ),
    Part(
        "kube-apiserver",
        "the API, with Node and RBAC authorization and Pod Security",
        "Go module, in `kube`",
        KUBERNETES,
    ),
    Part(
        "kube-controller-manager",
        "Jobs, Deployments, garbage collection, …",
        "Go module, in `kube`",
        KUBERNETES,
    ),
    Part("kube-scheduler", "binds pods to the node", "Go module, in `kube`", KUBERNETES),
    Part("kubelet", "runs the pods", "Go module, in `kube`", KUBERNETES),
    Part("kube-proxy", "Service addresses, by iptables", "Go module, in `kube`", KUBERNETES),
    Part("kubectl", "the command line", "Go module, in `kube`", KUBERNETES),
    Part("CoreDNS", "names of Services and pods", "Go module", COREDNS.version),
    Part("containerd, runc", "containers", f"Debian {DEBIAN_SUITE}", "1.6, 1.1"),
    Part("CNI ptp, host-local, portmap", "pod network", f"Debian {DEBIAN_SUITE}", "1.1"),
    Part("pause", "the process that holds a pod's namespaces", "`kube/pause/main.go`", "—"),
    Part("standard, immediate", "StorageClasses over volumes made beforehand", "`manifests.py`", "—"),
    Part("PostgreSQL", "pod and Service `postgres.database`", f"Debian {DEBIAN_SUITE}", POSTGRES_MAJOR),
    Part(
        "base image",
        "Debian with Python, below PostgreSQL's and the operator's image",
        "debootstrap",
        DEBIAN_SUITE,
    ),
    Part(
        "socat",
        "127.0.0.1 of the machine → API server and PostgreSQL of the node",
        f"Debian {DEBIAN_SUITE}",
        "1.7",
    ),
    Part("Helm", "installs the chart", "Go module", HELM.version),
    Part("migrate", "golang-migrate's own command line, the peer in tests", "Go module", MIGRATE.version),
)


def markdown() -> str:
    """The table of the parts as Markdown."""
    rows = [f"| {part.name} | {part.what} | {part.source} | {part.version} |" for part in PARTS]
    return "\n".join(
        ["| part | what it is | where it comes from | version |", "| --- | --- | --- | --- |", *rows]
    )
