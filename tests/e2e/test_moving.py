"""docs/moving.md by the operator: databases of golang-migrate, Flyway and Fluxbase itself, all at once.

Sets and commands are the page's, and what `kubectl fluxbase status` names next. Only what is the reader's own
is replaced: namespace, names, and the image. The tools themselves run beside the cluster.
"""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import yaml

from dev.localcluster.cluster import Cluster
from fluxbase_migrations.core.result import Outcome
from tests.e2e.harness import ROOT, MigrationSet, eventually
from tests.support.predecessors import (
    APPLIED,
    FILES,
    Fluxbase,
    Flyway,
    GolangMigrate,
    Predecessor,
    journal,
    kept,
    ours,
    write,
)

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PAGE = (ROOT / "docs/moving.md").read_text()
OPERATOR = "By the operator"
RESTRICTED = {
    "allowPrivilegeEscalation": False,
    "capabilities": {"drop": ["ALL"]},
    "runAsNonRoot": True,
    "seccompProfile": {"type": "RuntimeDefault"},
}


def fenced(heading: str, language: str) -> list[str]:
    """The samples of a section of the page."""
    section = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return re.findall(rf"^```{language}\n(.*?)^```", section, re.MULTILINE | re.DOTALL)


@dataclass
class Reader:
    """Somebody with the page, and a database that another tool has migrated."""

    cluster: Cluster
    image: str
    """Of the runner."""
    shop: MigrationSet
    tool: Predecessor
    directory: Path
    before: list[tuple[Any, ...]] = field(default_factory=list)
    """What the tool's table held before the move."""

    @property
    def dsn(self) -> str:
        """The database as its owner, from beside the cluster."""
        database = self.shop.database
        return database.server.dsn(database.name, database.user, database.password, sslmode="disable")

    @property
    def files(self) -> Path:
        """Where the tool has its files."""
        return self.directory / self.tool.directory

    def begins(self) -> None:
        """The database is migrated, and its Secret is there."""
        write(self.files, self.tool, *APPLIED)
        self.tool.migrate(self.dsn, self.files)
        self.before = kept(self.dsn, self.tool)
        self.shop.write_secret()

    def own(self, text: str) -> str:
        """The page's text with the reader's own names."""
        namespace = self.shop.kube.namespace
        text = re.sub(r"(-n |--namespace |namespace: )fluxbase\b", rf"\g<1>{namespace}", text)
        text = text.replace("user-migrations", self.shop.config_map)
        text = text.replace("fluxbase/fluxbase-migrations-runner", self.image)
        return re.sub(r"\bshop\b", self.shop.name, text)

    def types(self, script: str) -> str:
        """Run commands in the reader's directory, with the cluster's programs; return what they print."""
        tools = {str(Path(path).parent) for path in self.cluster.tools.values()}
        own = str(Path(sys.executable).parent)
        variables = {
            "PATH": os.pathsep.join([*tools, own, os.environ["PATH"]]),
            "HOME": str(self.directory),
            "KUBECONFIG": str(self.cluster.kubeconfig),
        }
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.directory,
            env=variables,
            capture_output=True,
            text=True,
            check=False,
            timeout=400,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def set_of(self, heading: str) -> dict[str, Any]:
        """The page's set of a section."""
        text = next(one for one in fenced(heading, "yaml") if "FluxbaseMigrationSet" in one)
        found: dict[str, Any] = yaml.safe_load(self.own(text))
        return found

    def writes(self, document: dict[str, Any]) -> None:
        (self.directory / f"{self.shop.name}.yaml").write_text(yaml.safe_dump(document))

    def is_refused(self, heading: str) -> str:
        """Apply the page's set without what takes the version over; return what `status` shows."""
        document = self.set_of(heading)
        for name in ("table", "baseline"):
            document["spec"]["tracks"]["user"].pop(name, None)
        self.writes(document)
        create, apply, _ = self.own(fenced(OPERATOR, "bash")[0]).splitlines()
        self.types(f"{create}\n{apply}")
        self.shop.wait("Failed", reason=Outcome.FOREIGN_TABLE)
        for message in (self.shop.message(), self.event(Outcome.FOREIGN_TABLE)):
            assert f"{self.tool.table} " in message
            assert f"records version {max(APPLIED)}" in message
        self.nothing_ran()
        return self.types(self.own("kubectl fluxbase status shop -n fluxbase"))

    def event(self, reason: str) -> str:
        """The Event comes after the status."""
        return eventually(
            f"an Event {reason}",
            lambda: next((one for one in self.shop.events() if one.startswith(f"Warning {reason} ")), None),
        )

    def nothing_ran(self) -> None:
        """Neither a file of ours nor a change of the tool's table."""
        assert journal(self.dsn) == [str(version) for version in APPLIED]
        assert kept(self.dsn, self.tool) == self.before

    def types_next(self, shown: str, heading: str) -> None:
        """Type what `status` names next; it makes the page's set."""
        match = re.search(r"^ *next: (.*)$", shown, re.MULTILINE)
        assert match is not None, shown
        self.types(match[1])
        self.is_ready()
        given = self.shop.read()["spec"]["tracks"]["user"]  # with the defaults of the CRD
        assert self.set_of(heading)["spec"]["tracks"]["user"].items() <= given.items()

    def is_ready(self) -> None:
        """The page's wait is over, and nothing was run."""
        self.types(self.own(fenced(OPERATOR, "bash")[0]).splitlines()[-1])
        assert self.shop.track()["version"] == max(APPLIED)
        self.nothing_ran()

    def goes_on(self) -> None:
        """A new file runs once."""
        content = {ours(version): FILES[version].encode() for version in (*APPLIED, 3)}
        self.shop.write_config_map(content)
        self.shop.wait("Applied", version=3)
        assert journal(self.dsn) == ["1", "2", "3"]

    def starts_the_tool_again(self) -> None:
        """It finds its own files applied."""
        self.tool.migrate(self.dsn, self.files)
        assert journal(self.dsn) == ["1", "2", "3"]


def golang_migrate(reader: Reader) -> None:
    """Both go on with its table; an init container with our program does, too."""
    heading = "golang-migrate in an init container"
    shown = reader.is_refused(heading)
    assert f"spec.tracks.user.table: {reader.tool.table};" in " ".join(shown.split())
    reader.writes(reader.set_of(heading))
    reader.types(reader.own(fenced(OPERATOR, "bash")[0]).splitlines()[1])
    reader.is_ready()
    reader.goes_on()
    write(reader.files, reader.tool, 3)
    reader.starts_the_tool_again()
    assert kept(reader.dsn, reader.tool) == [(3, False)]
    init_container(reader, heading)


def init_container(reader: Reader, heading: str) -> None:
    """The page's, in a pod."""
    text = next(one for one in fenced(heading, "yaml") if "initContainers" in one)
    spec = yaml.safe_load(reader.own(text))
    [first] = spec["initContainers"]
    application = {"name": "app", "image": first["image"], "command": ["fluxbase-migrate", "--version"]}
    for container in (first, application):
        container["securityContext"] = RESTRICTED
    spec |= {"containers": [application], "restartPolicy": "Never"}
    kube, name = reader.shop.kube, f"{reader.shop.name}-app"
    kube.apply({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": spec})
    try:
        eventually(
            "the pod to end",
            lambda: kube.get("pod", name)["status"].get("phase") in ("Succeeded", "Failed"),
        )
        said = kube.run("logs", name, "-c", first["name"])
        assert "no change source=user version=3" in said
        assert kube.get("pod", name)["status"]["phase"] == "Succeeded", said
    finally:
        kube.run("delete", "pod", name, "--wait=false")


def helm_hook(reader: Reader) -> None:
    """The hook's template gives way to the set."""
    heading = "Helm hooks"
    templates = reader.directory / "chart/templates"
    templates.mkdir(parents=True)
    chart = {"apiVersion": "v2", "name": "shop", "version": "0.1.0"}
    (templates.parent / "Chart.yaml").write_text(yaml.safe_dump(chart))
    (templates / "migrate.yaml").write_text(yaml.safe_dump(hook(reader)))
    reader.types(reader.own("helm install shop ./chart --namespace fluxbase"))
    try:
        (templates / "migrate.yaml").unlink()
        (templates / "shop.yaml").write_text(yaml.safe_dump(reader.set_of(heading)))
        (templates / "files.yaml").write_text(yaml.safe_dump(config_map(reader)))
        reader.types("".join(map(reader.own, fenced(heading, "bash"))))
        assert reader.shop.condition("Ready").get("status") == "True", reader.shop.status()
        reader.nothing_ran()
        reader.goes_on()
        reader.starts_the_tool_again()
        jobs = reader.types(reader.own("kubectl get job -n fluxbase -l app.kubernetes.io/component=migrate"))
        assert jobs == ""
    finally:
        reader.types(reader.own("helm uninstall shop --namespace fluxbase"))


def hook(reader: Reader) -> dict[str, Any]:
    """A Job as it ran golang-migrate; what it did is done already."""
    command = ["fluxbase-migrate", "--version"]
    container = {"name": "migrate", "image": reader.image, "command": command, "securityContext": RESTRICTED}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{reader.shop.name}-migrate",
            "labels": {"app.kubernetes.io/component": "migrate"},
            "annotations": {"helm.sh/hook": "pre-install,pre-upgrade"},
        },
        "spec": {"template": {"spec": {"containers": [container], "restartPolicy": "Never"}}},
    }


def config_map(reader: Reader) -> dict[str, Any]:
    data = {ours(version): FILES[version] for version in APPLIED}
    name = {"name": reader.shop.config_map}
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": name, "data": data}


def fluxbase(reader: Reader) -> None:
    """Its table stays in our place, and ours gets another one."""
    heading = "Fluxbase's own start-up migrations"
    reader.types_next(reader.is_refused(heading), heading)
    reader.goes_on()
    reader.starts_the_tool_again()


def flyway(reader: Reader) -> None:
    """Its files are converted first: they are refused as they are, with the command that does it."""
    heading = "Flyway"
    reader.shop.write_config_map(
        {path.name: path.read_bytes() for path in reader.files.iterdir()}, create=True
    )
    reader.writes(reader.set_of(heading))
    reader.types(reader.own("kubectl apply -f shop.yaml"))
    reader.shop.wait("Failed", reason=Outcome.INVALID_SOURCE)
    match = re.search(r"fluxbase-migrate import flyway DIR", reader.shop.message())
    assert match is not None, reader.shop.message()
    reader.types(f"{match[0].replace('DIR', reader.tool.directory)} --to migrations")
    reader.types(
        reader.own("kubectl delete -f shop.yaml && kubectl delete configmap user-migrations -n fluxbase")
    )
    reader.types_next(reader.is_refused(heading), heading)
    reader.goes_on()
    reader.starts_the_tool_again()


WAYS: dict[Callable[[Reader], None], Predecessor] = {
    golang_migrate: GolangMigrate(),
    helm_hook: GolangMigrate(),
    fluxbase: Fluxbase(),
    flyway: Flyway(),
}


def test_each_database_is_taken_over_without_a_file_run_twice(
    cluster: Cluster, new_set: Callable[[str], MigrationSet], tmp_path: Path
) -> None:
    image = cluster.ensure_runner_image()

    def walk(way: Callable[[Reader], None], shop: MigrationSet) -> None:
        directory = tmp_path / way.__name__
        directory.mkdir()
        reader = Reader(cluster, image, shop, WAYS[way], directory)
        reader.begins()
        way(reader)

    with ThreadPoolExecutor(len(WAYS)) as pool:
        names = {way: way.__name__.replace("_", "-") for way in WAYS}
        walks = {names[way]: pool.submit(walk, way, new_set(name)) for way, name in names.items()}
    errors = [f"{name}: {error}" for name, one in walks.items() if (error := one.exception()) is not None]
    assert not errors, "\n".join(errors)
