"""Certificates of the cluster, by the `openssl` command, and the kubeconfig files made with them."""

import base64
import json
from dataclasses import dataclass
from pathlib import Path

from dev.localcluster.layout import API_PORT, API_SERVICE, DOMAIN, NODE_ADDRESS, POSTGRES_NAMESPACE, Layout
from dev.localcluster.report import run

VALID_DAYS = "365"
# What serves by TLS, and the names and addresses it is reached by.
API_NAMES = (
    *(f"DNS:{name}" for name in ("localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc")),
    f"DNS:kubernetes.default.svc.{DOMAIN}",
    *(f"IP:{address}" for address in ("127.0.0.1", API_SERVICE, NODE_ADDRESS)),
)
POSTGRES_NAMES = (
    "DNS:localhost",
    "IP:127.0.0.1",
    *(
        f"DNS:postgres{rest}"
        for rest in (
            "",
            f".{POSTGRES_NAMESPACE}",
            f".{POSTGRES_NAMESPACE}.svc",
            f".{POSTGRES_NAMESPACE}.svc.{DOMAIN}",
        )
    ),
)


@dataclass(frozen=True)
class Identity:
    """The owner of a certificate: its user and group for Kubernetes, or the names that it serves."""

    name: str
    user: str
    group: str = ""
    serves: tuple[str, ...] = ()


def identities(node: str) -> tuple[Identity, ...]:
    """The owners of all certificates."""
    return (
        Identity("kube-apiserver", "kube-apiserver", serves=API_NAMES),
        Identity("postgres", "postgres", serves=POSTGRES_NAMES),
        Identity("apiserver-kubelet-client", "apiserver-kubelet-client", "system:masters"),
        Identity("admin", "kubernetes-admin", "system:masters"),
        Identity("kube-controller-manager", "system:kube-controller-manager"),
        Identity("kube-scheduler", "system:kube-scheduler"),
        Identity("kube-proxy", "system:kube-proxy"),
        Identity("kubelet", f"system:node:{node}", "system:nodes"),
        Identity("coredns", "system:coredns"),
    )


def make_certificates(where: Layout) -> None:
    """Create every key, certificate and kubeconfig that does not exist yet."""
    pki = where.pki
    pki.mkdir(parents=True, exist_ok=True, mode=0o700)
    if not (pki / "service-account.key").exists():
        key = pki / "service-account.new"
        run(
            [
                "openssl",
                "genpkey",
                "-quiet",
                "-algorithm",
                "RSA",
                "-pkeyopt",
                "rsa_keygen_bits:2048",
                "-out",
                key,
            ]
        )
        key.rename(pki / "service-account.key")
    if not (pki / "ca.crt").exists():
        new = [*_new_key(pki / "ca.key"), "-subj", f"/CN={where.node}", "-days", VALID_DAYS]
        run([*new, "-x509", "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-out", pki / "ca.new"])
        (pki / "ca.new").rename(pki / "ca.crt")
    for identity in identities(where.node):
        if not (pki / f"{identity.name}.crt").exists():
            _issue(pki, identity)
        if not identity.serves:
            config = kubeconfig(where, identity.name, f"https://{NODE_ADDRESS}:{API_PORT}")
            (pki / f"{identity.name}.kubeconfig").write_text(config)


def _new_key(key: Path) -> list[str | Path]:
    curve = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    return ["openssl", "req", "-new", *curve, "-nodes", "-keyout", key]


def _issue(pki: Path, identity: Identity) -> None:
    subject = f"/O={identity.group}/CN={identity.user}" if identity.group else f"/CN={identity.user}"
    request, extensions = pki / f"{identity.name}.csr", pki / f"{identity.name}.ext"
    run([*_new_key(pki / f"{identity.name}.key"), "-subj", subject, "-out", request])
    names = [f"subjectAltName={','.join(identity.serves)}"] if identity.serves else []
    usage = "serverAuth" if identity.serves else "clientAuth"
    extensions.write_text(
        "\n".join([f"extendedKeyUsage={usage}", "keyUsage=critical,digitalSignature", *names])
    )
    authority: list[str | Path] = [
        "-CA",
        pki / "ca.crt",
        "-CAkey",
        pki / "ca.key",
        "-days",
        VALID_DAYS,
        "-extfile",
        extensions,
    ]
    new = pki / f"{identity.name}.new"
    run(["openssl", "x509", "-req", "-in", request, *authority, "-out", new])
    new.rename(pki / f"{identity.name}.crt")


def kubeconfig(where: Layout, name: str, server: str) -> str:
    """A kubeconfig with everything in it, as JSON, which is YAML too.

    Args:
        where: The layout with the certificates.
        name: Whose certificate.
        server: The API server's URL.
    """

    def data(file: str) -> str:
        return base64.b64encode((where.pki / file).read_bytes()).decode()

    user = {"client-certificate-data": data(f"{name}.crt"), "client-key-data": data(f"{name}.key")}
    context = {"cluster": where.node, "user": name, "namespace": "default"}
    return json.dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {
                    "name": where.node,
                    "cluster": {"server": server, "certificate-authority-data": data("ca.crt")},
                }
            ],
            "users": [{"name": name, "user": user}],
            "contexts": [{"name": where.node, "context": context}],
            "current-context": where.node,
        },
        indent=1,
    )
