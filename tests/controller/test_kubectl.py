"""``kubectl fluxbase`` with a real API server and a running operator."""

import asyncio
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from tests.controller.api_server import ApiServer
from tests.controller.cluster import Cluster, until
from tests.controller.conftest import Running
from tests.controller.test_lifecycle import done

PROGRAM = Path(sys.executable).with_name("kubectl-fluxbase")
FILES = {
    "001_users.up.sql": "CREATE TABLE users ();\n",
    "001_users.down.sql": "DROP TABLE users;\n",
    "002_orders.up.sql": "CREATE TABLE orders ();\n",
    "002_orders.down.sql": "DROP TABLE orders;\n",
}
DIGEST = source_digest({name: text.encode() for name, text in FILES.items()})


@dataclass
class Answer:
    """How the program ended, and what it printed."""

    code: int
    out: str
    err: str


Kubectl = Callable[..., "asyncio.Task[Answer]"]


@pytest.fixture
def kubectl(server: ApiServer, cluster: Cluster) -> Kubectl:
    """``kubectl fluxbase ARGUMENTS`` as administrator, in the test's namespace."""
    kubeconfig = server.kubeconfig(admin=True)

    async def run(*arguments: str) -> Answer:
        process = await asyncio.create_subprocess_exec(
            *(str(PROGRAM), "--kubeconfig", str(kubeconfig), "-n", cluster.namespace, *arguments),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await asyncio.wait_for(process.communicate(), 120)
        return Answer(process.returncode or 0, out.decode(), err.decode())

    return lambda *arguments: asyncio.create_task(run(*arguments))


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def creating(directory: Path, *more: str) -> tuple[str, ...]:
    return "create", "shop", "--from-file", str(directory), "--database-secret", "shop-db", *more


def applied(version: int = 2) -> Result:
    return Result(
        Outcome.APPLIED, version=version, observed=True, latest=2, source_digest=DIGEST, pending=2 - version
    )


async def test_a_set_is_created_listed_and_watched_until_it_is_applied(
    cluster: Cluster, operator: Running, kubectl: Kubectl, directory: Path
) -> None:
    created = await kubectl(*creating(directory))
    assert (created.code, created.err) == (0, "")
    assert created.out.splitlines() == [
        "configmap/shop-migrations created",
        "fluxbasemigrationset/shop created",
    ]
    watching = kubectl("watch", "fbms/shop", "--timeout", "100s")
    await cluster.run("system", 1, done(6))
    await cluster.run("user", 1, applied())
    watched = await watching
    assert (watched.code, watched.err) == (0, "")
    assert watched.out.splitlines()[-1].endswith("Applied, system: version 6; user: version 2")

    listed = await kubectl("list", "-A")
    heading, *lines = listed.out.splitlines()
    assert heading.split()[:3] == ["NAMESPACE", "NAME", "READY"]
    (ours,) = (line.split() for line in lines if line.startswith(f"{cluster.namespace} "))
    assert ours[1:8] == ["shop", "True", "Applied", "6", "2", "0", "Applied"]
    (found,) = json.loads((await kubectl("list", "-o", "json")).out)["items"]
    assert found["metadata"]["name"] == "shop"

    job = await cluster.next_job("user", 1)
    await cluster.event("Applied", "user migrations applied, version 2")
    described = await kubectl("describe", "shop")
    assert (described.code, described.err) == (0, "")
    assert job["metadata"]["name"] in described.out.split("Runs:")[1]
    assert "user migrations applied, version 2" in described.out.split("Events:")[1]


async def test_a_watch_ends_with_a_failure_and_the_next_step(
    cluster: Cluster, operator: Running, kubectl: Kubectl, directory: Path
) -> None:
    creation = kubectl(*creating(directory, "--wait", "--timeout", "100s"))
    await cluster.run("system", 1, done(6))
    error = ErrorInfo("no such type", file="002_orders.up.sql", line=1, sql_state="42704")
    failure = Result(
        Outcome.SQL_ERROR, version=1, observed=True, latest=2, source_digest=DIGEST, pending=1, error=error
    )
    await cluster.run("user", 1, failure)
    created = await creation
    assert created.code == 1
    assert "002_orders.up.sql:1: no such type (SQLSTATE 42704)" in created.out.splitlines()[-1]
    assert f"next: kubectl fluxbase retry shop -n {cluster.namespace}" in created.err
    shown = await kubectl("status", "shop")
    assert shown.out.count("no such type") == 1


async def test_a_rollback_tells_its_files_and_waits_for_its_outcome(
    cluster: Cluster, operator: Running, kubectl: Kubectl, directory: Path
) -> None:
    assert (await kubectl(*creating(directory))).code == 0
    await cluster.run("system", 1, done(6))
    await cluster.run("user", 1, applied())
    await cluster.reaches("user", "Applied")
    rolling = kubectl("rollback", "shop", "--to", "1", "--wait", "--timeout", "100s")
    result = Result(Outcome.ROLLED_BACK, version=1, observed=True, latest=2, source_digest=DIGEST, pending=0)
    await cluster.run("user", 2, result)
    rolled = await rolling
    assert rolled.code == 0
    assert rolled.err.splitlines()[1:] == ["  1 down file:", "    002_orders.down.sql"]
    assert "rolled back to version 1" in rolled.out.splitlines()[-1]


async def test_a_config_map_that_is_there_gets_new_files_as_is_said(
    cluster: Cluster, kubectl: Kubectl, directory: Path
) -> None:
    assert (await kubectl(*creating(directory))).code == 0
    refused = await kubectl(*creating(directory))
    assert refused.code == 1
    says, step = refused.err.splitlines()
    assert '"shop-migrations" already exists' in says
    command = f"kubectl create configmap shop-migrations -n {cluster.namespace} --from-file={directory}"
    assert step.startswith(f"next: {command} --dry-run=client -o yaml | kubectl replace -f -")


async def test_a_name_that_is_taken_leaves_nothing_behind(
    cluster: Cluster, kubectl: Kubectl, directory: Path
) -> None:
    await cluster.make_set()
    refused = await kubectl(*creating(directory))
    assert refused.code == 1
    assert '"shop" already exists' in refused.err
    maps = (await cluster.kube.get(Resource.CONFIG_MAPS, cluster.namespace))["items"]
    assert "shop-migrations" not in [one["metadata"]["name"] for one in maps]


async def test_a_server_dry_run_creates_nothing(cluster: Cluster, kubectl: Kubectl, directory: Path) -> None:
    tried = await kubectl(*creating(directory, "--dry-run=server", "-o", "json"))
    config_map, found = json.loads(tried.out)["items"]
    assert config_map["data"] == FILES
    assert found["spec"]["recovery"] == "Automatic", "the API server fills in what is not given"
    assert (await kubectl("list")).err == f"no FluxbaseMigrationSet in namespace {cluster.namespace}\n"


async def test_what_a_client_dry_run_prints_is_what_the_api_server_takes(
    cluster: Cluster, operator: Running, kubectl: Kubectl, directory: Path
) -> None:
    printed = await kubectl(*creating(directory, "--dry-run=client", "-o", "json"))
    config_map, found = json.loads(printed.out)["items"]
    await cluster.kube.create(Resource.CONFIG_MAPS, cluster.namespace, config_map)
    await cluster.kube.create(Resource.SETS, cluster.namespace, found)
    await cluster.run("system", 1, done(6))
    job = await cluster.next_job("user", 1)
    assert job["metadata"]["namespace"] == cluster.namespace


async def test_somebody_elses_rights_are_those_that_count(cluster: Cluster, kubectl: Kubectl) -> None:
    await cluster.make_set()
    refused = await kubectl("--as", "nobody", "list")
    assert refused.code == 1
    assert 'User "nobody" cannot list resource "fluxbasemigrationsets"' in refused.err
    assert (await kubectl("list", "--as", "operator")).code == 0


async def test_a_set_that_does_not_exist_is_named(cluster: Cluster, kubectl: Kubectl) -> None:
    refused = await kubectl("describe", "nothing")
    assert (refused.code, refused.out) == (1, "")
    assert f"there is no FluxbaseMigrationSet nothing in namespace {cluster.namespace}" in refused.err


async def test_the_version_of_the_resource_is_read_from_the_cluster(
    cluster: Cluster, kubectl: Kubectl
) -> None:
    async def served() -> bool:
        return "serves v1alpha1" in (await kubectl("version")).out

    await until("the resource is told", served)
