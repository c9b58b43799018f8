"""Start the cluster, connect to it, and end it.

A cluster whose process 1 is gone, or that was made from other versions of its parts, is created again; a
cluster that is alive is completed, so that `up` can be interrupted anywhere and run again.
"""

import json
import os
import secrets
import shutil
import socket
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path

from dev.localcluster import golang, manifests, parts, prerequisites
from dev.localcluster.cache import Cache, content_key, lock
from dev.localcluster.cluster import Cluster, External, external
from dev.localcluster.components import Ports, components, write_configuration
from dev.localcluster.images import Image, Images
from dev.localcluster.layout import FLUXBASE, OWN_FILES, POSTGRES_NAMESPACE, Layout, layout
from dev.localcluster.node import Node
from dev.localcluster.pki import kubeconfig, make_certificates
from dev.localcluster.report import ClusterError, Progress, run, wait_until

# Tried first, so that the address of the cluster rarely changes.
USUAL_PORTS = Ports(api=16443, postgres=15432)
IMAGES_TIMEOUT_SECONDS = 300
# What `connect` needs to know, in the state directory.
RECORD = "cluster.json"
# Modules that decide what a cluster is; a change in one of them makes a running cluster an old one.
DEFINITION = ("components", "layout", "manifests", "node", "nodeinit", "pki")


@dataclass(frozen=True)
class Built:
    """The results of all builds that a cluster starts with."""

    programs: Path
    coredns: Path
    helm: Path
    migrate: Path
    pause: Image
    postgres: Image
    own: tuple[Image, ...]
    """The operator's, and that of its Jobs."""

    @property
    def fingerprint(self) -> str:
        """Changes with everything but the operator's images, which a running cluster takes as it comes."""
        definition = [OWN_FILES / f"{module}.py" for module in DEFINITION]
        return content_key(
            str(self.programs), str(self.coredns), self.pause.ref, self.postgres.ref, *definition
        )


def up(progress: Progress | None = None, *, operator_image: bool = True) -> Cluster:
    """Build what is missing, start what does not run, and wait until node and PostgreSQL are ready.

    Args:
        progress: Where steps and times are reported.
        operator_image: Whether to build the operator's image and that of its Jobs, too.

    Raises:
        ClusterError: Something is missing or failed; says what, where, and the last log lines.
    """
    if external():
        return connect()
    progress = progress or Progress()
    if os.environ.get("KUBECONFIG") not in (None, "", str(layout().kubeconfig)):
        progress.say(
            "KUBECONFIG is not used: it takes IMAGE beside it to use another cluster than the local one"
        )
    where = layout()
    prerequisites.check_root()
    with _cluster_lock(where, progress):
        with lock(where.cache / "lock", "the other build to end", progress):
            cache = Cache(where.cache, progress)
            cache.sweep()
            cold = not cache.path("kube", golang.kube_key()).exists()
            prerequisites.check_disk(where, cold=cold)
            prerequisites.install_packages(where, progress)
            prerequisites.check_namespaces()
            built = _build(cache, operator_image=operator_image)
        return _start(where, built, progress)


def _cluster_lock(where: Layout, progress: Progress) -> AbstractContextManager[None]:
    """Held to start or end a cluster; the builds have another lock, so that a start does not block them."""
    return lock(where.cache / f"lock-{where.name}", "the other run to end", progress)


def connect() -> Cluster:
    """The running cluster: the local one, or the one that KUBECONFIG names if IMAGE is set too.

    Raises:
        ClusterError: There is none.
    """
    if (external_cluster := external()) is not None:
        return _connect_external(external_cluster)
    where = layout()
    node = Node(where)
    if not (where.state / RECORD).exists() or not node.alive():
        raise ClusterError("the local cluster does not run; start it with: make up")
    return _cluster(node)


def down(progress: Progress, *, purge: bool = False) -> None:
    """End the local cluster and remove its state; with `purge`, what was built for it as well."""
    where = layout()
    if external():
        raise ClusterError("KUBECONFIG and IMAGE name a cluster that is not ours to end")
    prerequisites.check_root()
    with _cluster_lock(where, progress):
        with progress.step("end the local cluster"):
            Node(where).end()
        if purge:
            building = lock(where.cache / "lock", "the other build to end", progress)
            with building, progress.step("remove what was built"):
                shutil.rmtree(where.cache, ignore_errors=True)
        for parent in (where.state.parent, where.cache):
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


def _connect_external(external_cluster: External) -> Cluster:
    if not external_cluster.kubeconfig.is_file():
        raise ClusterError(f"KUBECONFIG is {external_cluster.kubeconfig}, which is no file")
    tools = {name: Path(path) for name in ("kubectl", "helm", "migrate") if (path := shutil.which(name))}
    missing = [name for name in ("kubectl", "helm") if name not in tools]
    if missing:
        raise ClusterError(f"with KUBECONFIG and IMAGE, {' and '.join(missing)} must be on PATH")
    return Cluster(external_cluster.kubeconfig, tools)


def _build(cache: Cache, *, operator_image: bool) -> Built:
    """Build what is missing: Go programs in one thread, images, which mostly wait for disks, in another."""
    images = Images(cache)
    programs: dict[str, Path] = {}
    images_built: dict[str, Image] = {}

    def go_programs() -> None:
        programs["programs"] = golang.kube(cache)
        for tool in parts.GO_TOOLS:
            programs[tool.name] = golang.tool(cache, tool)

    def debian_images() -> None:
        images_built["postgres"] = images.postgres()
        if operator_image:
            images_built.update(operator=images.operator(), runner=images.runner())

    _in_parallel(go_programs, debian_images)
    postgres = images_built.pop("postgres")
    return Built(pause=images.pause(), postgres=postgres, own=tuple(images_built.values()), **programs)


def _in_parallel(*tasks: Callable[[], None]) -> None:
    """Run tasks in threads; the first error is raised at once, and the rest end with the process."""
    errors: list[BaseException] = []

    def guarded(task: Callable[[], None]) -> None:
        try:
            task()
        except BaseException as error:
            errors.append(error)

    # Daemon threads: an interrupted program must not wait for builds, which end when it does.
    threads = [threading.Thread(target=guarded, args=(task,), daemon=True) for task in tasks]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads) and not errors:
        for thread in threads:
            thread.join(0.05)
    if errors:
        raise errors[0]


def _start(where: Layout, built: Built, progress: Progress) -> Cluster:
    node = Node(where)
    fingerprint = where.state / "fingerprint"
    if node.alive() and fingerprint.exists() and fingerprint.read_text() == built.fingerprint:
        is_new = False
    else:
        if node.holder() is not None:
            progress.say(
                "the cluster that runs was made from other versions or not to the end: making it anew"
            )
        elif where.state.exists() and any(where.state.iterdir()):
            progress.say("the processes of the last cluster are gone: making it anew")
        is_new = True
    if is_new:
        with progress.step("namespaces, certificates, configuration"):
            node.end()
            where.state.mkdir(parents=True, mode=0o700)
            _prepare(where, built)
            node.begin()
            fingerprint.write_text(built.fingerprint)
    cluster = _cluster(node)
    images_loaded = threading.Event()

    def control_plane_and_node() -> None:
        with progress.step("control plane"):
            for name in ("containerd", "etcd", "kube-apiserver", "api-forward-inner", "api-forward"):
                node.start(cluster.parts[name])
            _await_containerd(cluster)
            _await_api(cluster)
        with progress.step("node"):
            for component in cluster.parts.values():
                node.start(component)
            _await_node(cluster)
        if not images_loaded.wait(IMAGES_TIMEOUT_SECONDS):
            raise ClusterError(f"containerd did not take the images\n{cluster.logs('containerd')}")
        with progress.step("PostgreSQL"):
            _await_postgres(cluster, built.postgres.ref)

    def images() -> None:
        wait_until("containerd to be started", lambda: node.running("containerd"), timeout=60)
        _await_containerd(cluster)
        with progress.step("images"):
            for image in (built.pause, built.postgres):
                cluster.load_image(image)
        images_loaded.set()
        if built.own:
            with progress.step("the operator's and the Jobs' image"):
                for image in built.own:
                    cluster.load_image(image)

    _in_parallel(control_plane_and_node, images)
    return cluster


def _prepare(where: Layout, built: Built) -> None:
    """Everything that is written before the node's first process."""
    passwords = {role: secrets.token_urlsafe(18) for role in ("postgres", FLUXBASE)}
    _write_private(where.state / "passwords.json", json.dumps(passwords))
    ports = Ports(api=_free_port(USUAL_PORTS.api), postgres=_free_port(USUAL_PORTS.postgres))
    record = {
        "programs": str(built.programs),
        "coredns": str(built.coredns),
        "tools": {
            "kubectl": str(built.programs / "kubectl"),
            "helm": str(built.helm),
            "migrate": str(built.migrate),
        },
        "ports": asdict(ports),
    }
    (where.state / RECORD).write_text(json.dumps(record))
    make_certificates(where)
    _write_private(where.kubeconfig, kubeconfig(where, "admin", f"https://127.0.0.1:{ports.api}"))
    write_configuration(where, built.pause.ref)
    for name in manifests.volume_names():
        manifests.make_volume_directory(where, name)


def _cluster(node: Node) -> Cluster:
    """The cluster that `_prepare` left a record of."""
    record = json.loads((node.where.state / RECORD).read_text())
    ports = Ports(**record["ports"])
    return Cluster(
        kubeconfig=node.where.kubeconfig,
        tools={name: Path(path) for name, path in record["tools"].items()},
        node=node,
        ports=ports,
        parts=components(node.where, Path(record["programs"]), Path(record["coredns"]), ports),
    )


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)


def _free_port(usual: int) -> int:
    """The usual port if it is free, else any free one."""
    for port in (usual, 0):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise ClusterError("no port of 127.0.0.1 is free")


def _await_api(cluster: Cluster) -> None:
    wait_until(
        "the API server to be ready",
        cluster.api_ready,
        timeout=120,
        why_not=lambda: cluster.logs("kube-apiserver"),
    )


def _await_containerd(cluster: Cluster) -> None:
    node = cluster.local()

    def answers() -> bool:
        node.check_running("containerd")
        return subprocess.run([*cluster.ctr(), "version"], capture_output=True, check=False).returncode == 0

    wait_until("containerd", answers, timeout=60, why_not=lambda: cluster.logs("containerd"))


def _await_node(cluster: Cluster) -> None:
    node = cluster.local()

    def namespaces() -> bool:
        return "kube-system" in cluster.kubectl("get", "namespaces", "-o", "name")

    def ready() -> bool:
        for name in cluster.parts:
            node.check_running(name)
        path = "-o=jsonpath={.items[*].status.conditions[?(@.type=='Ready')].status}"
        return cluster.kubectl("get", "nodes", path) == "True"

    wait_until(
        "the namespace kube-system", namespaces, timeout=60, why_not=lambda: cluster.logs("kube-apiserver")
    )
    cluster.apply(*manifests.dns(), *manifests.storage_classes())
    cluster.refresh_volumes()
    wait_until("the node to be ready", ready, timeout=120, why_not=lambda: cluster.logs("kubelet"))


def _await_postgres(cluster: Cluster, image: str) -> None:
    where = cluster.local().where
    passwords = json.loads((where.state / "passwords.json").read_text())
    namespace = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": POSTGRES_NAMESPACE}}
    cluster.apply(namespace, *manifests.postgres(where, image, passwords))

    def why_not() -> str:
        pod = ("-n", POSTGRES_NAMESPACE, "pod/postgres-0")
        description = run([cluster.tools["kubectl"], "describe", *pod], env=cluster.env)
        return "\n".join(description.splitlines()[-12:])

    def answers() -> bool:
        # By the Service and the forward, as its users reach it.
        try:
            return cluster.psql("SELECT 1") == "1"
        except ClusterError:
            return False

    wait_until("PostgreSQL", answers, timeout=120, why_not=why_not, interval=0.3)
