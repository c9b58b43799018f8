"""The components of the node: their configuration files and command lines."""

import json
from dataclasses import dataclass
from pathlib import Path

from dev.localcluster.layout import (
    API_PORT,
    DNS_SERVICE,
    DOMAIN,
    NODE_ADDRESS,
    POD_SUBNET,
    POSTGRES_SERVICE,
    SERVICE_SUBNET,
    Layout,
)
from dev.localcluster.node import Component

CONTAINERD_SOCKET = "/run/containerd/containerd.sock"
CNI_CONFIG = "/run/cni/net.d"
ETCD = "http://127.0.0.1:2379"
API_SOCKET, POSTGRES_SOCKET = "/run/api.sock", "/run/postgres.sock"


@dataclass(frozen=True)
class Ports:
    """Ports on 127.0.0.1 of the machine that lead into the node."""

    api: int
    postgres: int


def write_configuration(where: Layout, pause_image: str) -> None:
    """Write the files that the components read."""
    where.etc.mkdir(parents=True, exist_ok=True)
    cni = where.run / "cni/net.d"
    cni.mkdir(parents=True, exist_ok=True)
    _write(where.etc / "containerd.toml", _containerd(pause_image))
    _write(cni / "10-pods.conflist", json.dumps(_cni(), indent=1))
    _write(where.etc / "kubelet.json", json.dumps(_kubelet(where), indent=1))
    _write(where.etc / "kube-proxy.json", json.dumps(_kube_proxy(where), indent=1))
    _write(where.etc / "Corefile", _corefile(where))
    # Pods with dnsPolicy Default ask CoreDNS too; there is no other server to ask.
    _write(where.etc / "resolv.conf", f"nameserver {NODE_ADDRESS}\n")


def _write(path: Path, text: str) -> None:
    new = path.with_name(path.name + ".new")
    new.write_text(text)
    new.rename(path)


def _containerd(pause_image: str) -> str:
    # restrict_oom_score_adj: root may lack CAP_SYS_RESOURCE, and could then not lower a sandbox's score.
    return f"""
version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{CONTAINERD_SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{pause_image}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{CNI_CONFIG}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
"""


def _cni() -> object:
    # A routed link for each pod, not a bridge that they share: then the answer to a pod that called another
    # through a Service comes back by the node, which translates it, whatever the kernel filters on bridges.
    ipam = {"type": "host-local", "dataDir": "/run/cni/addresses", "ranges": [[{"subnet": POD_SUBNET}]]}
    link = {"type": "ptp", "ipam": {**ipam, "routes": [{"dst": "0.0.0.0/0"}]}}
    return {
        "cniVersion": "0.4.0",
        "name": "pods",
        "plugins": [link, {"type": "portmap", "capabilities": {"portMappings": True}}],
    }


def _kubelet(where: Layout) -> object:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "x509": {"clientCAFile": str(where.pki / "ca.crt")},
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{CONTAINERD_SOCKET}",
        "clusterDNS": [DNS_SERVICE],
        "clusterDomain": DOMAIN,
        "resolvConf": str(where.etc / "resolv.conf"),
        "cgroupDriver": "cgroupfs",
        # A cgroup of our own: kubelet ends what it does not know below its root, and this may not be the
        # only kubelet of the machine.
        "cgroupRoot": f"/{where.node}",
        "failCgroupV1": False,
        "failSwapOn": False,
        # Keeping the machine's disk free is not this node's task.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "0%", "imagefs.available": "0%"},
        "imageGCHighThresholdPercent": 100,
        "maxPods": 250,
    }


def _kube_proxy(where: Layout) -> object:
    return {
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clusterCIDR": POD_SUBNET,
        "clientConnection": {"kubeconfig": str(where.pki / "kube-proxy.kubeconfig")},
        # Zero: leave the machine-wide limits alone, which a network namespace could not set anyway.
        "conntrack": {"maxPerCore": 0, "min": 0},
    }


def _corefile(where: Layout) -> str:
    # No cache: a name that a test asks for too early resolves as soon as its Service exists. A name outside
    # the cluster does not exist: there is no other DNS server.
    return f"""
{DOMAIN} in-addr.arpa ip6.arpa {{
    bind {NODE_ADDRESS}
    errors
    kubernetes {DOMAIN} in-addr.arpa ip6.arpa {{
        kubeconfig {where.pki / "coredns.kubeconfig"}
        pods insecure
    }}
}}
. {{
    bind {NODE_ADDRESS}
    template ANY ANY {{
        rcode NXDOMAIN
    }}
}}
"""


def components(where: Layout, programs: Path, coredns: Path, ports: Ports) -> dict[str, Component]:
    """Every component by its name, in the order of starting.

    Args:
        where: The cluster's layout.
        programs: The directory of the Kubernetes programs.
        coredns: The CoreDNS program.
        ports: Where the machine's ends of the forwards listen.
    """
    pki = where.pki

    def kube(name: str, *options: str) -> Component:
        return Component(name, [str(programs / name), *options])

    def known_as(name: str) -> str:
        return f"--kubeconfig={pki / name}.kubeconfig"

    ordered = [
        Component("containerd", ["containerd", "--config", str(where.etc / "containerd.toml")]),
        kube(
            "etcd",
            "--data-dir=/var/lib/etcd",
            f"--listen-client-urls={ETCD}",
            f"--advertise-client-urls={ETCD}",
            "--listen-peer-urls=http://127.0.0.1:2380",
            # The cluster is created again after a restart of the machine: its data need not survive that.
            "--unsafe-no-fsync",
            "--log-level=warn",
        ),
        kube(
            "kube-apiserver",
            f"--etcd-servers={ETCD}",
            f"--advertise-address={NODE_ADDRESS}",
            f"--secure-port={API_PORT}",
            f"--service-cluster-ip-range={SERVICE_SUBNET}",
            f"--client-ca-file={pki / 'ca.crt'}",
            f"--tls-cert-file={pki / 'kube-apiserver.crt'}",
            f"--tls-private-key-file={pki / 'kube-apiserver.key'}",
            f"--kubelet-client-certificate={pki / 'apiserver-kubelet-client.crt'}",
            f"--kubelet-client-key={pki / 'apiserver-kubelet-client.key'}",
            # Names of nodes are in no DNS; without this `kubectl logs`, `exec` and `cp` fail.
            "--kubelet-preferred-address-types=InternalIP",
            "--authorization-mode=Node,RBAC",
            "--enable-admission-plugins=NodeRestriction",
            "--allow-privileged=true",
            f"--service-account-issuer=https://kubernetes.default.svc.{DOMAIN}",
            f"--service-account-key-file={pki / 'service-account.key'}",
            f"--service-account-signing-key-file={pki / 'service-account.key'}",
        ),
        kube(
            "kubelet",
            f"--config={where.etc / 'kubelet.json'}",
            known_as("kubelet"),
            f"--node-ip={NODE_ADDRESS}",
            f"--hostname-override={where.node}",
        ),
        kube(
            "kube-controller-manager",
            known_as("kube-controller-manager"),
            "--leader-elect=false",
            "--use-service-account-credentials=true",
            f"--service-account-private-key-file={pki / 'service-account.key'}",
            f"--root-ca-file={pki / 'ca.crt'}",
        ),
        kube("kube-scheduler", known_as("kube-scheduler"), "--leader-elect=false"),
        kube("kube-proxy", f"--config={where.etc / 'kube-proxy.json'}", f"--hostname-override={where.node}"),
        Component("coredns", [str(coredns), "-conf", str(where.etc / "Corefile")]),
        *_forward("api", ports.api, API_SOCKET, f"{NODE_ADDRESS}:{API_PORT}"),
        *_forward("postgres", ports.postgres, POSTGRES_SOCKET, f"{POSTGRES_SERVICE}:5432"),
    ]
    return {component.name: component for component in ordered}


def _forward(name: str, port: int, path: str, target: str) -> list[Component]:
    """A port of the machine's 127.0.0.1 that leads to an address of the node, by way of a socket file."""
    inner = [
        "socat",
        "-b65536",
        f"UNIX-LISTEN:{path},fork,unlink-early,mode=600,backlog=128",
        f"TCP:{target},nodelay,connect-timeout=5",
    ]
    listen = f"TCP-LISTEN:{port},bind=127.0.0.1,fork,reuseaddr,nodelay,backlog=128"
    outer = ["socat", "-b65536", listen, f"UNIX-CONNECT:{path}"]
    return [
        Component(f"{name}-forward-inner", inner),
        Component(f"{name}-forward", outer, machine_network=True),
    ]
