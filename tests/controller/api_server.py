"""A real etcd and kube-apiserver on loopback, for tests that need nothing else of a cluster.

KUBEBUILDER_ASSETS names a directory with both programs (envtest's layout); otherwise the local cluster's are
used, and built if need be.
"""

import contextlib
import json
import os
import secrets
import shutil
import socket
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from dev.programs import Program

ADMIN = "system:masters"
START_SECONDS = 90.0


OPERATOR = "operator"
AUDIT_POLICY = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived", "ResponseStarted"],
    "rules": [{"level": "Metadata", "users": [OPERATOR]}, {"level": "None"}],
}
"""Logs every request of the operator's, when it has been answered."""


@dataclass(frozen=True)
class ApiServer:
    """A running API server; ``program`` and ``etcd`` can be killed and started again."""

    url: str
    etcd_url: str
    directory: Path
    admin_token: str
    operator_token: str
    program: Program
    etcd: Program

    def start(self) -> None:
        """Start the API server, and wait until it is ready.

        Raises:
            RuntimeError: it does not get ready; the message ends with its log.
        """
        self.program.start()
        _wait(self)

    @property
    def audit_log(self) -> Path:
        """Where the API server writes what :data:`AUDIT_POLICY` asks for."""
        return self.directory / "audit.log"

    def requests(self, since: int) -> list[tuple[str, str]]:
        """Verb and resource of the operator's requests, by the audit log from the byte ``since``."""
        with self.audit_log.open("rb") as log:
            log.seek(since)
            entries = [json.loads(line) for line in log]
        return [
            (
                entry["verb"],
                "/".join(
                    filter(None, (entry["objectRef"].get("resource"), entry["objectRef"].get("subresource")))
                ),
            )
            for entry in entries
            if "objectRef" in entry
        ]

    def kubeconfig(self, *, admin: bool) -> Path:
        """The path of a kubeconfig, as administrator or as the operator's service account."""
        path = self.directory / ("admin.kubeconfig" if admin else "operator.kubeconfig")
        token = self.admin_token if admin else self.operator_token
        named = {"cluster": "test", "user": "test"}
        cluster = {"server": self.url, "insecure-skip-tls-verify": True}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "test",
            "clusters": [{"name": "test", "cluster": cluster}],
            "contexts": [{"name": "test", "context": named}],
            "users": [{"name": "test", "user": {"token": token}}],
        }
        path.write_text(json.dumps(config))
        return path


def programs() -> Path:
    """The directory with ``etcd`` and ``kube-apiserver``."""
    assets = os.environ.get("KUBEBUILDER_ASSETS")
    if assets:
        return Path(assets)
    from dev.localcluster.cache import Cache
    from dev.localcluster.golang import kube
    from dev.localcluster.layout import layout
    from dev.localcluster.report import Progress

    return kube(Cache(layout().cache, Progress()))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def start(directory: Path, *options: str) -> Iterator[ApiServer]:
    """Run both; what they leave is in ``directory``. ``options`` are more of kube-apiserver's."""
    found = programs()
    client, peer, secure = free_port(), free_port(), free_port()
    key = directory / "service-account.key"
    subprocess.run(["openssl", "genrsa", "-out", key, "2048"], check=True, capture_output=True)
    admin, operator = secrets.token_hex(16), secrets.token_hex(16)
    tokens = directory / "tokens.csv"
    tokens.write_text(f"{admin},admin,admin,{ADMIN}\n{operator},{OPERATOR},{OPERATOR}\n")
    policy = directory / "audit-policy.json"
    policy.write_text(json.dumps(AUDIT_POLICY))
    etcd_url = f"http://127.0.0.1:{client}"
    etcd: Sequence[Path | str] = [
        found / "etcd",
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={etcd_url}",
        f"--advertise-client-urls={etcd_url}",
        f"--listen-peer-urls=http://127.0.0.1:{peer}",
        "--unsafe-no-fsync",
        "--log-level=error",
    ]
    api: Sequence[Path | str] = [
        found / "kube-apiserver",
        f"--etcd-servers={etcd_url}",
        f"--cert-dir={directory / 'certificates'}",
        "--bind-address=127.0.0.1",
        f"--secure-port={secure}",
        f"--token-auth-file={tokens}",
        "--authorization-mode=RBAC",
        "--service-cluster-ip-range=10.0.0.0/24",
        "--service-account-issuer=https://kubernetes.default.svc",
        f"--service-account-key-file={key}",
        f"--service-account-signing-key-file={key}",
        "--disable-admission-plugins=ServiceAccount",
        f"--audit-policy-file={policy}",
        f"--audit-log-path={directory / 'audit.log'}",
        *options,
    ]
    with (
        Program(etcd, directory / "etcd.log") as storage,
        Program(api, directory / "kube-apiserver.log") as program,
    ):
        url = f"https://127.0.0.1:{secure}"
        server = ApiServer(url, etcd_url, directory, admin, operator, program, storage)
        _wait(server)
        yield server


def _wait(server: ApiServer) -> None:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
    )
    request = urllib.request.Request(f"{server.url}/readyz")  # noqa: S310 - our own
    request.add_header("Authorization", f"Bearer {server.admin_token}")
    until = time.monotonic() + START_SECONDS
    while time.monotonic() < until and server.program.runs():
        with contextlib.suppress(OSError, urllib.error.URLError), opener.open(request, timeout=5) as answer:
            if answer.status == 200:
                return
        time.sleep(0.1)
    log = server.program.log_tail()
    raise RuntimeError(f"the API server was not ready within {START_SECONDS:.0f} s; its log ends:\n{log}")


def available() -> bool:
    """Whether the programs are there, or can be built."""
    return (
        bool(os.environ.get("KUBEBUILDER_ASSETS"))
        or shutil.which("go") is not None
        or Path("/usr/local/go/bin/go").exists()
    )
