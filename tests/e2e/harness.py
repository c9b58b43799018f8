"""Steps of the end-to-end tests: what a user types, and what a user sees."""

import atexit
import contextlib
import functools
import json
import secrets
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode

import yaml

from dev import waiting
from fluxbase_migrations.core.names import API_VERSION, KIND, PLURAL
from tests.e2e.database import Database

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples/shop/migrations"
FAILURE = ROOT / "examples/shop/failure"
FIXED = ROOT / "examples/shop/fixed"
SYSTEM_LATEST = 6

T = TypeVar("T")
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


eventually = functools.partial(waiting.eventually, timeout=90, every=0.25)
"""On a cluster, where things take longer, and a look costs more."""


@functools.cache
def proxy(argv: tuple[str, ...]) -> str:
    """Address of a `kubectl proxy`: what is looked at again and again is not worth a process each time."""
    process = subprocess.Popen([*argv, "proxy", "--port=0"], stdout=subprocess.PIPE, text=True)
    atexit.register(process.wait)
    atexit.register(process.terminate)
    assert process.stdout
    with process.stdout as told:
        return f"http://{told.readline().split()[-1]}"


@dataclass(frozen=True)
class Kube:
    """kubectl against the cluster under test."""

    argv: Sequence[str]
    namespace: str

    def run(self, *arguments: str, stdin: str | None = None, check: bool = True) -> str:
        """Run kubectl in the test's namespace; return its standard output (with ``check`` off: and error)."""
        done = subprocess.run(
            [*self.argv, "-n", self.namespace, *arguments],
            input=stdin,
            capture_output=True,
            text=True,
            check=False,
            timeout=180,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"kubectl {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout if check else done.stdout + done.stderr

    def get(self, *arguments: str) -> dict[str, Any]:
        """``kubectl get … -o json``."""
        found: dict[str, Any] = json.loads(self.run("get", *arguments, "-o", "json"))
        return found

    def read(self, path: str, **query: str) -> dict[str, Any]:
        """GET an object or a list below the namespace: ``batch/v1 jobs``, ``v1 events``, ….

        Raises:
            AssertionError: there is no such thing.
        """
        found: dict[str, Any] = json.loads(self.text(path, **query))
        return found

    def text(self, path: str, **query: str) -> str:
        """The same as it was sent."""
        url = self._url(path, query)
        try:
            with _DIRECT.open(url, timeout=30) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            raise AssertionError(f"GET {url}: {error.code}") from None

    def watch_sets(self) -> Iterator[bytes]:
        """Events of the sets, one JSON document a line, until the stream ends."""
        with _DIRECT.open(self._url(f"{API_VERSION} {PLURAL}", {"watch": "true"})) as answer:
            yield from answer

    def _url(self, path: str, query: Mapping[str, str]) -> str:
        group, _, rest = path.partition(" ")
        prefix = "/apis/" if "/" in group else "/api/"
        return (
            f"{proxy(tuple(self.argv))}{prefix}{group}/namespaces/{self.namespace}/{rest}?{urlencode(query)}"
        )

    def apply(self, *documents: Mapping[str, Any]) -> None:
        self.run("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


def files(*directories: Path) -> dict[str, bytes]:
    """Read the migration files of ``directories``; later ones replace earlier ones."""
    return {
        path.name: path.read_bytes() for directory in directories for path in sorted(directory.glob("*.sql"))
    }


def tables(*versions: int, **replaced: bytes) -> dict[str, bytes]:
    """Pairs of files, each for a table; ``up2=…`` replaces the up file of version 2."""
    content = {}
    for one in versions:
        table = f"public.t{one}"
        up = f"CREATE TABLE {table} (id int);\nALTER TABLE {table} ENABLE ROW LEVEL SECURITY;\n"
        content[f"00{one}_t{one}.up.sql"] = up.encode()
        content[f"00{one}_t{one}.down.sql"] = f"DROP TABLE public.t{one};\n".encode()
    for name, data in replaced.items():
        direction, version = name.rstrip("0123456789"), name.lstrip("updown")
        content[f"00{version}_t{version}.{direction}.sql"] = data
    return content


@dataclass
class MigrationSet:
    """One FluxbaseMigrationSet with its Secret, ConfigMap and database."""

    kube: Kube
    database: Database
    name: str
    scratch: Path
    spec: dict[str, Any] = field(default_factory=dict)
    others: dict[str, str] = field(default_factory=dict)
    """Names of other sets of the test, and what the docs call them."""

    @property
    def secret(self) -> str:
        return f"{self.name}-db"

    @property
    def config_map(self) -> str:
        return f"{self.name}-migrations"

    def write_secret(self, url: str | None = None) -> None:
        document = self.kube.run(
            "create", "secret", "generic", self.secret,
            f"--from-literal=url={url or self.database.inside}", "--dry-run=client", "-o", "yaml",
        )  # fmt: skip
        self.kube.run("apply", "-f", "-", stdin=document)

    def write_config_map(self, content: Mapping[str, bytes], create: bool = False) -> None:
        """Plain ``kubectl create configmap … --from-file``, or the replacing of what that made."""
        directory = self.scratch / secrets.token_hex(4)
        directory.mkdir()
        for name, data in content.items():
            (directory / name).write_bytes(data)
        arguments = ["create", "configmap", self.config_map, f"--from-file={directory}/"]
        if create:
            self.kube.run(*arguments)
            return
        document = self.kube.run(*arguments, "--dry-run=client", "-o", "yaml")
        self.kube.run("replace", "-f", "-", stdin=document)

    def apply(self, **changes: Any) -> None:
        """``kubectl apply`` the set; ``changes`` replace top-level fields of the spec (None removes one)."""
        self.kube.apply(self.document(**changes))

    def document(self, **changes: Any) -> dict[str, Any]:
        """The set, with ``changes`` of its spec, as it is applied."""
        self.spec = {
            "database": {"urlFrom": {"secretKeyRef": {"name": self.secret, "key": "url"}}},
            "tracks": {"system": {}, "user": {"source": {"configMap": {"name": self.config_map}}}},
            **self.spec,
            **changes,
        }
        self.spec = {key: value for key, value in self.spec.items() if value is not None}
        return {
            "apiVersion": "fluxbase.io/v1alpha1",
            "kind": "FluxbaseMigrationSet",
            "metadata": {"name": self.name, "namespace": self.kube.namespace},
            "spec": self.spec,
        }

    def read(self) -> dict[str, Any]:
        return self.kube.read(f"{API_VERSION} {PLURAL}/{self.name}")

    def status(self) -> dict[str, Any]:
        status: dict[str, Any] = self.read().get("status", {})
        return status

    def track(self, track: str = "user") -> dict[str, Any]:
        found: dict[str, Any] = self.status().get("tracks", {}).get(track, {})
        return found

    def condition(self, kind: str) -> dict[str, Any]:
        conditions = self.status().get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def message(self) -> str:
        """What ``kubectl get -o wide`` shows."""
        return str(self.condition("Ready").get("message", ""))

    def wait(self, phase: str, timeout: float = 120, **track: Any) -> dict[str, Any]:
        """Wait for the set's phase, and for these fields of the user track; return the status."""

        def look() -> dict[str, Any] | None:
            status = self.status()
            user = status.get("tracks", {}).get("user", {})
            return status if status.get("phase") == phase and track.items() <= user.items() else None

        try:
            return eventually(f"{self.name} to be {phase} {track or ''}", look, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is: {json.dumps(self.status(), indent=1)}") from None

    def wait_message(self, *words: str, timeout: float = 90) -> str:
        """Wait until the Ready message holds all ``words`` while Ready is not True; return it."""

        def look() -> str | None:
            ready = self.condition("Ready")
            message = str(ready.get("message", ""))
            good = ready.get("status") == "False" and all(word.lower() in message.lower() for word in words)
            return message if good else None

        try:
            return eventually(f"a message of {self.name} with {words}", look, timeout=timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is: {json.dumps(self.status(), indent=1)}") from None

    def annotate(self, **commands: str) -> None:
        """``kubectl annotate`` with commands: ``requested_at``, ``force``."""
        given = (f"fluxbase.io/{name.replace('_', '-')}={value}" for name, value in commands.items())
        self.kube.run("annotate", "fbms", self.name, "--overwrite", *given)

    def set_user(self, system: bool = False, **track: Any) -> None:
        """``kubectl apply`` with these fields of the user track, and the system track only if asked for."""
        user = {"source": {"configMap": {"name": self.config_map}}, **track}
        self.apply(tracks={"system": {"enabled": system}, "user": user})

    def start(self, content: Mapping[str, bytes], **spec: Any) -> None:
        """Make Secret, ConfigMap and set, user track only."""
        self.write_secret()
        self.write_config_map(content, create=True)
        self.spec |= spec
        self.set_user()

    def log(self) -> list[str]:
        """The lines that the newest pod of a Job has logged; none before its container has started."""
        items = self.kube.read("v1 pods", labelSelector=f"fluxbase.io/set={self.name}")["items"]
        newest = max(items, key=_newness, default=None)
        if newest is None:
            return []
        with contextlib.suppress(AssertionError):
            return self.kube.text(f"v1 pods/{newest['metadata']['name']}/log").splitlines()
        return []

    def jobs(self, track: str | None = None) -> list[str]:
        selector = f"fluxbase.io/set={self.name}" + (f",fluxbase.io/track={track}" if track else "")
        found = self.kube.read("batch/v1 jobs", labelSelector=selector)["items"]
        return [job["metadata"]["name"] for job in found]

    def events(self) -> list[str]:
        """``<type> <reason> <message>`` of the set's Events, the last told last."""
        selector = f"involvedObject.kind={KIND},involvedObject.name={self.name}"
        items = self.kube.read("v1 events", fieldSelector=selector)["items"]
        items.sort(key=lambda item: int(item["metadata"]["resourceVersion"]))
        return [f"{item['type']} {item['reason']} {item['message']}" for item in items]

    def shown(self) -> str:
        """Whatever anybody may read of the set: itself, its Events, Jobs and pods, and all logs."""
        selector = {"labelSelector": f"fluxbase.io/set={self.name}"}
        parts = [self.kube.run("get", "fbms", self.name, "-o", "yaml", check=False), *self.events()]
        parts += [json.dumps(self.kube.read(path, **selector)) for path in ("batch/v1 jobs", "v1 pods")]
        for pod in self.kube.read("v1 pods")["items"]:
            with contextlib.suppress(AssertionError):
                parts.append(self.kube.text(f"v1 pods/{pod['metadata']['name']}/log"))
        return "\n".join(parts)

    def delete(self) -> None:
        self.kube.run("delete", "fbms", self.name, "--ignore-not-found", "--wait=false")


def fluxbase(shop: MigrationSet, command: str, *arguments: str) -> str:
    """``kubectl fluxbase COMMAND`` on the set."""
    [kubeconfig] = [argument for argument in shop.kube.argv if argument.startswith("--kubeconfig")]
    program = Path(sys.executable).with_name("kubectl-fluxbase")
    done = subprocess.run(
        [program, command, shop.name, *arguments, "-n", shop.kube.namespace, kubeconfig],
        check=False,
        capture_output=True,
        text=True,
        timeout=360,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _newness(pod: Mapping[str, Any]) -> tuple[bool, int]:
    """Later is more: the user track follows the system track."""
    labels = pod["metadata"]["labels"]
    return labels["fluxbase.io/track"] == "user", int(labels["fluxbase.io/run"])
