"""docs/helm.md, typed as printed: both options end Applied.

Only what is the reader's own is replaced: namespace, password, names of the database, and the image. The
chart's path and the files' directory are those of the page, as seen from a directory of the test's.
What a person sees after each step goes to build/reports; the page's tables are made from it.
"""

import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import yaml

from dev.localcluster.cluster import Cluster
from tests.e2e.conftest import REPORTS, a_database, kube_for
from tests.e2e.harness import ROOT, SHOP, SYSTEM_LATEST, Kube, MigrationSet, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]

PAGE = ROOT / "docs/helm.md"
BEFORE = "Before"
OPTION_A = "Option A: using a ConfigMap"
OPTION_B = "Option B: using a volume"
INSTALL = "2. Install or upgrade"
COPY = "3. Copy the files to the volume (option B)"
RESTART = "4. Make the operator look (option B)"


def fenced(section: str, language: str) -> list[str]:
    """The page's code blocks of a language below a heading."""
    found: list[str] = []
    heading, fence = "", None
    for line in PAGE.read_text().splitlines():
        if fence is None and line.startswith("#"):
            heading = line.lstrip("# ")
        elif fence is None and line.startswith("```"):
            fence = line.removeprefix("```")
            if (heading, fence) == (section, language):
                found.append("")
        elif line == "```":
            fence = None
        elif (heading, fence) == (section, language):
            found[-1] += f"{line}\n"
    assert found, f"{PAGE.name} has no {language} under {section!r}"
    return found


@dataclass
class Reader:
    """Somebody who follows the page, in a directory with the chart and migration files."""

    cluster: Cluster
    shop: MigrationSet
    directory: Path
    seen: list[str] = field(default_factory=list)

    @property
    def namespace(self) -> str:
        return self.shop.kube.namespace

    def begins(self) -> None:
        """Make namespace and Secret; the namespace is a restricted one."""
        self.types(BEFORE)
        label = "pod-security.kubernetes.io/enforce=restricted"
        self.cluster.kubectl("label", "namespace", self.namespace, label)

    def types(self, section: str) -> str:
        """Run the commands of a section, as they are printed; return what they print."""
        return "".join(self.run(self.own(block)) for block in fenced(section, "bash"))

    def writes_values(self, section: str) -> None:
        """Save the section's values.yaml, with the image of this tree."""
        [block] = fenced(section, "yaml")
        repository, _, tag = self.cluster.ensure_image().rpartition(":")
        image = yaml.safe_dump({"image": {"repository": repository, "tag": tag}})
        (self.directory / "values.yaml").write_text(f"{self.own(block)}\n{image}")

    def own(self, block: str) -> str:
        """The block with the reader's own names in the place of the page's."""
        database = urlsplit(self.shop.database.inside)
        block = re.sub(r"(-n|--namespace|create namespace) fluxbase\b", rf"\1 {self.namespace}", block)
        block = block.replace("fluxbase/$POD_NAME", f"{self.namespace}/$POD_NAME")
        block = block.replace("choose-one", database.password or "")
        where = f"host: {database.hostname}\n    port: {database.port or 5432}"
        block = block.replace("host: postgres.database", where)
        return re.sub(r"(name|user): shop\b", rf"\1: {self.shop.database.name}", block)

    def run(self, script: str) -> str:
        tools = {str(Path(path).parent) for path in self.cluster.tools.values()}
        variables = {
            "PATH": os.pathsep.join([*tools, os.environ["PATH"]]),
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

    def looks(self, step: str) -> None:
        """Note what `kubectl get fbms -o wide` shows, and the Events."""
        lines = self.shop.kube.run("get", "fbms", "-o", "wide").splitlines()
        events = self.shop.events()
        self.seen += [f"### {step}", "", "```", *lines, "", *events, "```", ""]

    def reports(self, name: str) -> None:
        REPORTS.mkdir(parents=True, exist_ok=True)
        (REPORTS / f"helm-{name}.md").write_text("\n".join(self.seen))

    def tracks(self) -> dict[str, tuple[str, int | None]]:
        found = self.shop.status()["tracks"]
        return {name: (track["phase"], track.get("version")) for name, track in found.items()}


NewReader = Callable[[str], Reader]


@pytest.fixture
def new_reader(cluster: Cluster, tmp_path: Path) -> Iterator[NewReader]:
    """Make a reader with a namespace, which the page creates, and a database of his own."""
    with contextlib.ExitStack() as stack:

        def make(option: str) -> Reader:
            worker = os.environ.get("PYTEST_XDIST_WORKER")
            kube = kube_for(cluster, "-".join(filter(None, ("helm", option, worker))))
            # Helm never upgrades a CRD, and the cluster may be older than this tree.
            cluster.kubectl("apply", "--server-side", "--force-conflicts", "-f", str(ROOT / "crds"))
            remove_namespace(cluster, kube, wait=True)
            stack.callback(remove_namespace, cluster, kube, wait=False)
            shop = MigrationSet(kube, stack.enter_context(a_database(cluster)), "fluxbase", tmp_path)
            (tmp_path / "deploy").symlink_to(ROOT / "deploy")
            (tmp_path / "migrations").mkdir()
            shutil.copytree(SHOP, tmp_path / "migrations/user")
            return Reader(cluster, shop, tmp_path)

        yield make


def remove_namespace(cluster: Cluster, kube: Kube, *, wait: bool) -> None:
    cluster.kubectl(
        "delete",
        "namespace",
        kube.namespace,
        "--ignore-not-found",
        f"--wait={str(wait).lower()}",
        timeout=240,
    )


def both_applied(reader: Reader) -> None:
    assert reader.tracks() == {"system": ("Applied", SYSTEM_LATEST), "user": ("Applied", 4)}
    assert reader.shop.database.row("system") == [(SYSTEM_LATEST, False)]
    assert reader.shop.database.row("user") == [(4, False)]


def test_option_a_ends_applied(new_reader: NewReader) -> None:
    reader = new_reader("a")
    reader.begins()
    reader.types(OPTION_A)
    reader.writes_values(OPTION_A)
    reader.types(INSTALL)
    reader.looks("A, installed")
    both_applied(reader)
    reader.reports("a")


def test_option_b_ends_applied(new_reader: NewReader) -> None:
    reader = new_reader("b")
    kube = reader.shop.kube
    reader.begins()
    reader.writes_values(OPTION_B)
    notes = reader.types(INSTALL)
    for section in (COPY, RESTART):
        commands = reader.own(fenced(section, "bash")[0]).splitlines()
        assert [line for line in commands if line and line[0] != "#" and line not in notes] == []
    reader.looks("B, installed")
    assert reader.tracks() == {"system": ("Applied", SYSTEM_LATEST), "user": ("Skipped", None)}
    assert "the volume has no migration files" in reader.shop.message()
    assert not [event for event in reader.shop.events() if event.startswith("Warning")]
    assert "Error" not in kube.run("get", "pods")

    reader.types(COPY)
    reader.looks("B, files copied")
    assert reader.tracks()["user"] == ("Skipped", None), "the operator cannot see into a volume"

    reader.types(RESTART)
    reader.looks("B, restarted")
    both_applied(reader)
    [job] = [
        name for name in reader.shop.jobs("user") if "subdirectory=user" in kube.run("logs", f"job/{name}")
    ]
    assert "INFO Migrations applied successfully source=user version=4" in kube.run("logs", f"job/{job}")
    reader.reports("b")


def test_an_upgrade_starts_no_job_and_an_uninstall_keeps_the_files(new_reader: NewReader) -> None:
    reader = new_reader("again")
    kube, shop = reader.shop.kube, reader.shop
    reader.begins()
    reader.writes_values(OPTION_B)
    for section in (INSTALL, COPY, RESTART):
        reader.types(section)

    # The upgrade replaces the operator's pod, which keeps the annotation of the last rollout restart.
    before = shop.track()["run"]
    with (reader.directory / "values.yaml").open("a") as values:
        values.write("\nlogFormat: json\n")
    reader.types(INSTALL)
    assert '"level"' in kube.run("logs", "deployment/fluxbase")
    kube.run("annotate", "fbms", "fluxbase", "fluxbase.io/requested-at=now")
    shop.wait("Applied", run=before + 1)

    reader.run(f"helm uninstall fluxbase -n {kube.namespace} --wait --timeout 2m")
    eventually("all to be gone", lambda: kube.run("get", "fbms,deployment,job", "-o", "name") == "")
    assert kube.run("get", "pvc", "-o", "name") == "persistentvolumeclaim/fluxbase-migrations\n"
    reader.types(INSTALL)
    both_applied(reader)
    assert set(shop.database.times_applied().values()) == {1}
