"""A running cluster, as tests and the demo use it.

`lifecycle.up` and `lifecycle.connect` make one.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from dev.localcluster import manifests
from dev.localcluster.cache import Cache, lock
from dev.localcluster.components import Ports
from dev.localcluster.images import Image, Images
from dev.localcluster.layout import DOMAIN, FLUXBASE, POSTGRES_NAMESPACE
from dev.localcluster.node import Component, Node
from dev.localcluster.report import ClusterError, Progress, run, wait_until

POSTGRES_HOST = f"postgres.{POSTGRES_NAMESPACE}.svc.{DOMAIN}"


@dataclass(frozen=True)
class External:
    """An existing cluster and images, from KUBECONFIG, IMAGE and RUNNER_IMAGE."""

    kubeconfig: Path
    image: str
    runner_image: str


def external() -> External | None:
    """What KUBECONFIG and IMAGE name, if both are set."""
    config, image = os.environ.get("KUBECONFIG"), os.environ.get("IMAGE")
    if not config or not image:
        return None
    return External(Path(config), image, os.environ.get("RUNNER_IMAGE") or image)


@dataclass(frozen=True)
class Cluster:
    """A running cluster.

    For an external one, `node` and `ports` are None, and methods about its parts raise ClusterError.

    Attributes:
        kubeconfig: Usable from this machine's own network.
        tools: The paths of `kubectl`, `helm` and `migrate`; of the latter only where it is known.
        node: The local node.
        ports: Ports on 127.0.0.1 that lead to the API server and to PostgreSQL.
        parts: The local cluster's components by name.
    """

    kubeconfig: Path
    tools: Mapping[str, Path]
    node: Node | None = None
    ports: Ports | None = None
    parts: Mapping[str, Component] = field(default_factory=dict)

    # Commands

    def kubectl(self, *args: str, stdin: str | None = None, timeout: float = 120) -> str:
        """Run kubectl and return what it prints; raises ClusterError with its message if it fails."""
        return run([self.tools["kubectl"], *args], env=self.env, stdin=stdin, timeout=timeout)

    def helm(self, *args: str, timeout: float = 300) -> str:
        """Run helm and return what it prints; raises ClusterError with its message if it fails."""
        return run([self.tools["helm"], *args], env=self.env, timeout=timeout)

    def psql(self, sql: str, *, database: str = FLUXBASE, role: str = FLUXBASE) -> str:
        """Run SQL and return its rows, one a line, columns separated by `|`."""
        options = ["--no-psqlrc", "--quiet", "--no-align", "--tuples-only", "-v", "ON_ERROR_STOP=1"]
        return run(
            ["psql", self.dsn(database=database, role=role), *options],
            env={"PGCONNECT_TIMEOUT": "10"},
            stdin=sql,
        ).rstrip("\n")

    def apply(self, *objects: manifests.Object) -> None:
        """Create or change objects, whatever their size."""
        document = json.dumps({"apiVersion": "v1", "kind": "List", "items": list(objects)})
        self.kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=document)

    @property
    def env(self) -> dict[str, str]:
        """Environment variables with which kubectl and helm reach the cluster."""
        return {"KUBECONFIG": str(self.kubeconfig)}

    # PostgreSQL

    def password(self, role: str = FLUXBASE) -> str:
        """The password of a role of the local cluster's PostgreSQL."""
        passwords: dict[str, str] = json.loads((self.local().where.state / "passwords.json").read_text())
        return passwords[role]

    def dsn(self, *, database: str = FLUXBASE, role: str = FLUXBASE, inside: bool = False) -> str:
        """The URL of a database, as this machine reaches it, or as pods do (`inside`).

        For an external cluster it is DATABASE_URL in both cases.
        """
        if self.node is None or self.ports is None:
            if "DATABASE_URL" not in os.environ:
                raise ClusterError("with KUBECONFIG and IMAGE, DATABASE_URL must name the database to use")
            return os.environ["DATABASE_URL"]
        address = f"{POSTGRES_HOST}:5432" if inside else f"127.0.0.1:{self.ports.postgres}"
        return f"postgres://{role}:{self.password(role)}@{address}/{database}"

    def psql_env(self, role: str = FLUXBASE) -> dict[str, str]:
        """Environment variables with which psql, given nothing else, reaches the database as a role."""
        if self.ports is None:
            # The variable takes a URL where it takes a name.
            return {"PGDATABASE": self.dsn()}
        address = {"PGHOST": "127.0.0.1", "PGPORT": str(self.ports.postgres)}
        return {**address, "PGUSER": role, "PGPASSWORD": self.password(role), "PGDATABASE": FLUXBASE}

    # Images

    def ensure_image(self, progress: Progress | None = None) -> str:
        """Build the operator's image if an input changed, load it into the node, and return its name."""
        if (external_cluster := external()) is not None:
            return external_cluster.image
        return self._ensure(Images.operator, progress)

    def ensure_runner_image(self, progress: Progress | None = None) -> str:
        """The same for the image of the Jobs."""
        if (external_cluster := external()) is not None:
            return external_cluster.runner_image
        return self._ensure(Images.runner, progress)

    def _ensure(self, make: Callable[[Images], Image], progress: Progress | None) -> str:
        where = self.local().where
        cache = Cache(where.cache, progress or Progress())
        with lock(where.cache / "lock", "another build to end", cache.progress):
            image = make(Images(cache))
        self.load_image(image)
        return image.ref

    def chart_images(self, progress: Progress | None = None) -> list[str]:
        """The chart's values that name both images."""
        images = {
            "image": self.ensure_image(progress),
            "runnerImage": self.ensure_runner_image(progress),
        }
        values = []
        for value, image in images.items():
            repository, _, tag = image.rpartition(":")
            values += [f"{value}.repository={repository}", f"{value}.tag={tag}"]
        return values

    def load_image(self, image: Image) -> None:
        """Load an image into the node's containerd, unless it has it."""
        if image.ref not in run([*self.ctr(), "images", "ls", "-q"]).split():
            run([*self.ctr(), "images", "import", image.archive], timeout=300)

    def ctr(self) -> list[str]:
        """The command that talks to the node's containerd, to be continued with a subcommand."""
        socket = self.local().where.run / "containerd/containerd.sock"
        return ["ctr", "--address", str(socket), "--namespace", "k8s.io"]

    # Faults

    def start(self, part: str) -> None:
        """Start a component, or PostgreSQL's pod (`postgres`), and wait until it is ready."""
        if part == "postgres":
            self._scale_postgres(1)
            return
        self.local().start(self._part(part))
        if part == "kube-apiserver":
            wait_until("the API server", self.api_ready, timeout=60, why_not=lambda: self.logs(part))

    def stop(self, part: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a component a signal and wait for its end; `postgres` removes the pod and keeps the data."""
        if part == "postgres":
            self._scale_postgres(0)
        else:
            self.local().stop(self._part(part).name, number)

    def logs(self, part: str) -> str:
        """The last lines of a component's log."""
        return self.local().log_tail(self._part(part).name)

    def netns_exec(self, argv: Sequence[str], timeout: float = 120) -> str:
        """Run a command on the node's network, where addresses of pods and Services work."""
        return run(self.local().enter(list(argv)), timeout=timeout)

    def refresh_volumes(self) -> None:
        """Empty the PersistentVolumes that are no longer claimed, and create them again."""
        where = self.local().where
        volumes = json.loads(self.kubectl("get", "persistentvolumes", "-o", "json"))["items"]
        phases = {item["metadata"]["name"]: item["status"].get("phase") for item in volumes}
        used = [name for name in manifests.volume_names() if phases.get(name) in ("Released", "Failed")]
        if used:
            self.kubectl("delete", "persistentvolumes", *used, "--wait=true")
        missing = [name for name in manifests.volume_names() if name not in phases or name in used]
        for name in missing:
            shutil.rmtree(manifests.make_volume_directory(where, name), ignore_errors=True)
            manifests.make_volume_directory(where, name)
        if missing:
            self.apply(*(manifests.volume(name) for name in missing))

    def _scale_postgres(self, replicas: int) -> None:
        name = ("-n", POSTGRES_NAMESPACE)
        self.kubectl("scale", "statefulset/postgres", *name, f"--replicas={replicas}")
        if replicas:
            self.kubectl("rollout", "status", "statefulset/postgres", *name, "--timeout=60s")
        else:
            self.kubectl("wait", "pod/postgres-0", *name, "--for=delete", "--timeout=60s")

    def api_ready(self) -> bool:
        """Whether the API server says that it is ready; raises ClusterError if it has ended."""
        self.local().check_running("kube-apiserver")
        argv = [str(self.tools["kubectl"]), "get", "--raw", "/readyz"]
        completed = subprocess.run(
            argv, env={**os.environ, **self.env}, capture_output=True, timeout=30, check=False
        )
        return completed.returncode == 0

    def _part(self, name: str) -> Component:
        if name not in self.parts:
            raise ClusterError(
                f"there is no part called {name}; there are: {', '.join([*self.parts, 'postgres'])}"
            )
        return self.parts[name]

    def local(self) -> Node:
        """The local node; raises ClusterError if the cluster is external."""
        if self.node is None:
            raise ClusterError("this is for the local cluster; KUBECONFIG and IMAGE name another")
        return self.node
