"""Steps of the end-to-end tests: what a user types, and what a user sees."""

import json
import secrets
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import psycopg
import yaml
from psycopg import sql

ROOT = Path(__file__).parents[2]
SHOP = ROOT / "examples/shop/migrations"
FAILURE = ROOT / "examples/shop/failure"
FIXED = ROOT / "examples/shop/fixed"
SYSTEM_LATEST = 6

T = TypeVar("T")


def eventually(what: str, look: Callable[[], T | None], timeout: float = 90, every: float = 0.25) -> T:
    """Look until there is something to return; fail with ``what`` was awaited after ``timeout`` s."""
    deadline = time.monotonic() + timeout
    while True:
        found = look()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout:.0f} s for {what}")
        time.sleep(every)


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

    def apply(self, *documents: Mapping[str, Any]) -> None:
        self.run("apply", "-f", "-", stdin=yaml.safe_dump_all(documents))


@dataclass(frozen=True)
class Database:
    """A database of its own on the cluster's server: the address from here, and the one from inside pods."""

    outside: str
    inside: str
    name: str

    def query(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.outside, autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def row(self, track: str) -> list[tuple[int, bool]]:
        """The tracking table's content."""
        table = {"system": "fluxbase", "user": "app"}[track]
        if self.query(f"SELECT to_regclass('migrations.{table}')") == [(None,)]:
            return []
        return [
            (version, dirty)
            for version, dirty in self.query(f"SELECT version, dirty FROM migrations.{table}")
        ]

    def times_applied(self, track: str = "user") -> dict[str, int]:
        """How often each file went up, by the ledger."""
        table = {"system": "fluxbase", "user": "app"}[track]
        rows = self.query(
            "SELECT file, count(*) FROM migrations.history"
            f" WHERE table_name = '{table}' AND direction = 'up' AND outcome = 'applied' GROUP BY file"
        )
        return {str(file): int(count) for file, count in rows}


def files(*directories: Path) -> dict[str, bytes]:
    """Read the migration files of ``directories``; later ones replace earlier ones."""
    return {
        path.name: path.read_bytes() for directory in directories for path in sorted(directory.glob("*.sql"))
    }


@dataclass
class MigrationSet:
    """One FluxbaseMigrationSet with its Secret, ConfigMap and database."""

    kube: Kube
    database: Database
    name: str
    scratch: Path
    spec: dict[str, Any] = field(default_factory=dict)

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
        self.spec = {
            "database": {"urlFrom": {"secretKeyRef": {"name": self.secret, "key": "url"}}},
            "tracks": {"system": {}, "user": {"source": {"configMap": {"name": self.config_map}}}},
            **self.spec,
            **changes,
        }
        self.spec = {key: value for key, value in self.spec.items() if value is not None}
        self.kube.apply(
            {
                "apiVersion": "fluxbase.io/v1alpha1",
                "kind": "FluxbaseMigrationSet",
                "metadata": {"name": self.name, "namespace": self.kube.namespace},
                "spec": self.spec,
            }
        )

    def read(self) -> dict[str, Any]:
        return self.kube.get("fbms", self.name)

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
            return eventually(f"{self.name} to be {phase} {track or ''}", look, timeout)
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
            return eventually(f"a message of {self.name} with {words}", look, timeout)
        except AssertionError as error:
            raise AssertionError(f"{error}; it is: {json.dumps(self.status(), indent=1)}") from None

    def jobs(self, track: str | None = None) -> list[str]:
        selector = f"fluxbase.io/set={self.name}" + (f",fluxbase.io/track={track}" if track else "")
        return [job["metadata"]["name"] for job in self.kube.get("jobs", "-l", selector)["items"]]

    def events(self) -> list[str]:
        """``<type> <reason> <message>`` of the set's Events, oldest first."""
        items = self.kube.get(
            "events",
            "--field-selector",
            f"involvedObject.kind=FluxbaseMigrationSet,involvedObject.name={self.name}",
        )["items"]
        items.sort(key=lambda item: item["metadata"]["creationTimestamp"])
        return [f"{item['type']} {item['reason']} {item['message']}" for item in items]

    def delete(self) -> None:
        self.kube.run("delete", "fbms", self.name, "--ignore-not-found", "--wait=false")


def create_database(server_outside: str, inside_host: str) -> Database:
    """Create a database owned by a login of its own that has CREATEROLE and is no superuser.

    ``server_outside`` is a superuser's DSN reachable from here; ``inside_host`` the Service's name and port.
    """
    name = f"e2e_{secrets.token_hex(5)}"
    password = secrets.token_hex(12)
    with psycopg.connect(server_outside, autocommit=True) as connection:
        login = sql.Identifier(name)
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEROLE PASSWORD {}").format(login, sql.Literal(password))
        )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(login, login))
    outside = urlsplit(server_outside)._replace(path=f"/{name}").geturl()
    return Database(outside, f"postgres://{name}:{password}@{inside_host}/{name}?sslmode=disable", name)


def drop_database(server_outside: str, database: Database) -> None:
    """Remove what :func:`create_database` made; roles that the system track shares stay."""
    with psycopg.connect(server_outside, autocommit=True) as connection:
        name = sql.Identifier(database.name)
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(name))
        connection.execute(sql.SQL("ALTER ROLE {} NOLOGIN").format(name))
