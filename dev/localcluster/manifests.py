"""The objects that are in the cluster from the start: DNS, storage, and PostgreSQL."""

from pathlib import Path
from typing import Any

from dev.localcluster.layout import (
    DNS_SERVICE,
    FLUXBASE,
    NODE_ADDRESS,
    POSTGRES_NAMESPACE,
    POSTGRES_SERVICE,
    Layout,
)

Object = dict[str, Any]

# StorageClass → volumeBindingMode. The default one waits for a pod, as those of real clusters mostly do.
STORAGE_CLASSES = {"standard": "WaitForFirstConsumer", "immediate": "Immediate"}
VOLUMES_PER_CLASS = 24
POSTGRES_VOLUME = "postgres-data"
# Within the node; in the state directory it is lib/volumes.
VOLUMES = "/var/lib/volumes"


def dns() -> list[Object]:
    """CoreDNS's Service, which leads to the process on the node, and what it may read."""
    name = {"name": "kube-dns", "namespace": "kube-system"}
    reader = {"name": "system:coredns"}
    ports = [
        {"name": f"dns-{protocol.lower()}", "port": 53, "protocol": protocol} for protocol in ("UDP", "TCP")
    ]
    watch = ["list", "watch"]
    return [
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": name,
            "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
        },
        {
            "apiVersion": "discovery.k8s.io/v1",
            "kind": "EndpointSlice",
            "metadata": {**name, "labels": {"kubernetes.io/service-name": "kube-dns"}},
            "addressType": "IPv4",
            "endpoints": [{"addresses": [NODE_ADDRESS], "conditions": {"ready": True}}],
            "ports": ports,
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": reader,
            "rules": [
                {"apiGroups": [""], "resources": ["namespaces", "pods", "services"], "verbs": watch},
                {"apiGroups": ["discovery.k8s.io"], "resources": ["endpointslices"], "verbs": watch},
            ],
        },
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": reader,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", **reader},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", **reader}],
        },
    ]


def storage_classes() -> list[Object]:
    """The StorageClasses, `standard` being the default."""
    default = {"storageclass.kubernetes.io/is-default-class": "true"}
    return [
        {
            "apiVersion": "storage.k8s.io/v1",
            "kind": "StorageClass",
            "metadata": {"name": name, "annotations": default if name == "standard" else {}},
            "provisioner": "kubernetes.io/no-provisioner",
            "volumeBindingMode": mode,
        }
        for name, mode in STORAGE_CLASSES.items()
    ]


def volume_names() -> dict[str, str]:
    """PersistentVolume → its StorageClass; PostgreSQL's has none, and is claimed by name."""
    names = {
        f"{name}-{number}": name for name in STORAGE_CLASSES for number in range(1, VOLUMES_PER_CLASS + 1)
    }
    return {**names, POSTGRES_VOLUME: ""}


def volume(name: str) -> Object:
    """A PersistentVolume, which is a directory of the node."""
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": name},
        "spec": {
            "storageClassName": volume_names()[name],
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": f"{VOLUMES}/{name}", "type": "Directory"},
        },
    }


def make_volume_directory(where: Layout, name: str) -> Path:
    """The directory behind a PersistentVolume, writable by any user: kubelet changes no hostPath's owner."""
    directory = where.lib / Path(VOLUMES).relative_to("/var/lib") / name
    directory.mkdir(parents=True, exist_ok=True)
    directory.chmod(0o777)
    return directory


def postgres(where: Layout, image: str, passwords: dict[str, str]) -> list[Object]:
    """PostgreSQL in its namespace: Secret, Service, and a StatefulSet of one pod whose data outlive the pod.

    Args:
        where: The layout with PostgreSQL's certificate.
        image: The image's name.
        passwords: By role, `postgres` and `fluxbase`.
    """
    labels = {"app.kubernetes.io/name": "postgres"}
    name = {"name": "postgres", "namespace": POSTGRES_NAMESPACE}
    tls = {
        "tls.crt": (where.pki / "postgres.crt").read_text(),
        "tls.key": (where.pki / "postgres.key").read_text(),
        "ca.crt": (where.pki / "ca.crt").read_text(),
    }
    claim = {
        "storageClassName": "",
        "volumeName": POSTGRES_VOLUME,
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": "1Gi"}},
    }
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": name,
            "stringData": {f"{role}-password": password for role, password in passwords.items()},
        },
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {**name, "name": "postgres-tls"},
            "type": "kubernetes.io/tls",
            "stringData": tls,
        },
        {
            "apiVersion": "v1",
            "kind": "Service",
            "metadata": {**name, "labels": labels},
            # A fixed address: the forward from the machine's 127.0.0.1 leads to it.
            "spec": {
                "clusterIP": POSTGRES_SERVICE,
                "selector": labels,
                "ports": [{"name": "sql", "port": 5432}],
            },
        },
        {
            "apiVersion": "apps/v1",
            "kind": "StatefulSet",
            "metadata": {**name, "labels": labels},
            "spec": {
                "serviceName": "postgres",
                "replicas": 1,
                "selector": {"matchLabels": labels},
                "template": {"metadata": {"labels": labels}, "spec": _postgres_pod(image)},
                "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
            },
        },
    ]


def _postgres_pod(image: str) -> Object:
    def password(role: str) -> Object:
        source = {"secretKeyRef": {"name": "postgres", "key": f"{role}-password"}}
        return {"name": f"{role.upper()}_PASSWORD", "valueFrom": source}

    ready = {
        "exec": {"command": ["pg_isready", "-q", "-h", "127.0.0.1"]},
        "periodSeconds": 1,
        "timeoutSeconds": 3,
    }
    return {
        "securityContext": {
            "runAsUser": 999,
            "runAsGroup": 999,
            "fsGroup": 999,
            "runAsNonRoot": True,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "automountServiceAccountToken": False,
        "terminationGracePeriodSeconds": 10,
        "containers": [
            {
                "name": "postgres",
                "image": image,
                "imagePullPolicy": "IfNotPresent",
                "env": [password("postgres"), password(FLUXBASE)],
                "ports": [{"name": "sql", "containerPort": 5432}],
                "readinessProbe": ready,
                "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}},
                "volumeMounts": [
                    {"name": "data", "mountPath": "/data"},
                    {"name": "socket", "mountPath": "/run/postgresql"},
                    {"name": "tls", "mountPath": "/tls"},
                ],
            }
        ],
        "volumes": [
            {"name": "socket", "emptyDir": {}},
            # Readable by the pod's group only: PostgreSQL refuses a key that others can read.
            {"name": "tls", "secret": {"secretName": "postgres-tls", "defaultMode": 0o440}},
        ],
    }
