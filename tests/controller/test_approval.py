"""``approval: Manual`` from the set to the database: real API server, operator, runner and PostgreSQL."""

import asyncio
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import psycopg
import pytest

from dev.peers import environment as clean_environment
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.job import JobSpec
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ANNOTATION_APPROVE, ENV_JOB
from fluxbase_migrations.core.result import Outcome
from tests.controller.cluster import Cluster, told, until
from tests.controller.conftest import Running
from tests.controller.test_kubectl import Kubectl, kubectl  # noqa: F401 - a fixture
from tests.support.databases import Database
from tests.support.expansion import environment

FILES = {
    "001_a.up.sql": "CREATE TABLE a (i int);",
    "001_a.down.sql": "DROP TABLE a;",
    "002_b.up.sql": "CREATE TABLE b (i int);",
    "002_b.down.sql": "DROP TABLE b;",
}
ONLY_USER: Json = {"system": {"enabled": False}, "user": {"source": {"configMap": {"name": "files"}}}}
BOTH: Json = {
    "system": {"source": {"configMap": {"name": "platform"}}, "table": "migrations.platform"},
    "user": {"source": {"configMap": {"name": "files"}}},
}


class Shop:
    """A set, its database, and the node that runs its Jobs' containers as processes."""

    def __init__(self, cluster: Cluster, database: Database, directory: Path) -> None:
        self.cluster = cluster
        self.database = database
        self.log = directory / "termination-log"
        self.output = ""

    async def run(self, track: str, run: int) -> JobSpec:
        """Let the Job of a run do its work; returns what it was told."""
        job = await self.cluster.next_job(track, run)
        pod = await self.cluster.make_pod(job)
        await self.cluster.running(pod)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "fluxbase_migrations.runner"),
            env=clean_environment(await self._variables(job)),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
        )
        out, _ = await asyncio.wait_for(process.communicate(), 60)
        self.output = out.decode()
        await self.cluster.terminated(pod, self.log.read_text(), process.returncode or 0)
        return told(job)

    async def _variables(self, job: Json) -> dict[str, str]:
        (container,) = job["spec"]["template"]["spec"]["containers"]
        values = {"DATABASE_URL": self.database.dsn}
        for one in container["env"]:
            if key := one.get("valueFrom", {}).get("configMapKeyRef"):
                where = Resource.CONFIG_MAPS, self.cluster.namespace, key["name"]
                values[one["name"]] = (await self.cluster.kube.get(*where))["data"][key["key"]]
        found = environment(container["env"], values)
        return {**found, "FLUXBASE_TERMINATION_LOG": str(self.log)}

    async def waits(self, track: str = "user") -> str:
        """The digest of the plan that waits."""
        await self.cluster.reaches(track, "Pending", "AwaitingApproval")

        async def planned() -> Any:
            return (await self.cluster.status()).get("plan", {}).get("digest")

        return str(await until("the plan is shown", planned))

    async def approve(self, value: str) -> None:
        await self.cluster.patch_set(metadata={"annotations": {ANNOTATION_APPROVE: value}})

    async def command(self, state: str, value: str = "") -> Json:
        """What became of the approval, once it is this."""

        async def there() -> Any:
            found = (await self.cluster.status()).get("commands", {}).get("approve", {})
            return found if found.get("state") == state and found["value"].endswith(value) else None

        found: Json = await until(f"the approval is {state}", there)
        return found

    def tables(self) -> set[str]:
        with psycopg.connect(self.database.dsn) as connection:
            rows = connection.execute(
                "SELECT schemaname || '.' || tablename FROM pg_tables"
                " WHERE schemaname NOT IN ('pg_catalog', 'information_schema')"
            ).fetchall()
        return {name for (name,) in rows}


@pytest.fixture
def shop(cluster: Cluster, database: Database, tmp_path: Path) -> Shop:
    return Shop(cluster, database, tmp_path)


async def made(cluster: Cluster, files: Mapping[str, str] = FILES, **spec: Any) -> None:
    await cluster.config_map("files", dict(files))
    await cluster.make_set(approval="Manual", **{"tracks": ONLY_USER, **spec})


async def test_a_plan_is_made_approved_and_applied(shop: Shop, operator: Running) -> None:
    await made(shop.cluster)
    assert (await shop.run("user", 1)).approved is None
    digest = await shop.waits()
    assert shop.tables() == set()
    status = await shop.cluster.status()
    assert status["phase"] == "Pending"
    assert {one["type"]: one["status"] for one in status["conditions"]} == {
        "Ready": "False",
        "Stalled": "True",
    }
    assert status["plan"]["files"] == ["user/001_a.up.sql", "user/002_b.up.sql"]
    await shop.cluster.event("AwaitingApproval", "2 files wait for approval")
    await shop.approve(digest)
    assert (await shop.run("user", 2)).approved is not None
    await shop.cluster.reaches("user", "Applied")
    await shop.command("Obeyed")
    assert shop.tables() == {"public.a", "public.b", "migrations.app", "migrations.history"}
    assert "plan" not in await shop.cluster.status()


async def test_an_edited_file_needs_another_approval(shop: Shop, operator: Running) -> None:
    await made(shop.cluster)
    await shop.run("user", 1)
    first = await shop.waits()
    await shop.cluster.edit_config_map("files", {"002_b.up.sql": "CREATE TABLE c (i int);"})
    await shop.cluster.next_job("user", 2)
    await shop.approve(first)
    refused = await shop.command("Refused")
    assert refused["message"] == "no plan waits for approval"
    await shop.run("user", 2)
    second = await shop.waits()
    assert (second != first, shop.tables()) == (True, set())
    await shop.approve(first + "@again")
    assert second in (await shop.command("Refused", "@again"))["message"]
    await shop.cluster.event("CommandRefused", second)
    await shop.approve(second)
    await shop.run("user", 3)
    await shop.cluster.reaches("user", "Applied")
    assert {"public.a", "public.c"} <= shop.tables()


async def test_a_rollback_needs_an_approval(shop: Shop, operator: Running) -> None:
    await made(shop.cluster)
    await shop.run("user", 1)
    await shop.approve(await shop.waits())
    await shop.run("user", 2)
    await shop.cluster.reaches("user", "Applied")
    await shop.cluster.patch_set(spec={"tracks": {"user": {"targetVersion": 1, "rollback": "Allow"}}})
    await shop.run("user", 3)
    digest = await shop.waits()
    plan = (await shop.cluster.track("user"))["plan"]
    assert (plan["toVersion"], plan["destructive"], plan["strongestLock"]) == (1, 1, "ACCESS EXCLUSIVE")
    assert "public.b" in shop.tables()
    await shop.approve(digest)
    await shop.run("user", 4)
    await shop.cluster.reaches("user", "RolledBack")
    assert "public.b" not in shop.tables()


async def test_one_approval_is_for_both_tracks(shop: Shop, operator: Running) -> None:
    await shop.cluster.config_map("platform", {"001_p.up.sql": "CREATE TABLE p (i int);"})
    await made(shop.cluster, {"001_a.up.sql": "CREATE TABLE a AS SELECT * FROM p;"}, tracks=BOTH)
    await shop.run("system", 1)
    assert (await shop.run("user", 1)).plan_only
    await shop.waits("system")
    digest = await shop.waits("user")
    assert shop.tables() == set()
    await shop.approve(digest)
    await shop.run("system", 2)
    await shop.run("user", 2)
    await shop.cluster.reaches("user", "Applied")
    assert {"public.a", "public.p"} <= shop.tables()
    await shop.command("Obeyed")


async def test_an_approved_run_that_failed_is_retried_with_its_approval(
    shop: Shop, operator: Running
) -> None:
    files = {**FILES, "002_b.up.sql": "CREATE TABLE b AS SELECT * FROM elsewhere;"}
    await made(shop.cluster, files)
    await shop.run("user", 1)
    await shop.approve(await shop.waits())
    await shop.run("user", 2)
    await shop.cluster.reaches("user", "Failed", "SQLError")
    with psycopg.connect(shop.database.dsn) as connection:
        connection.execute("CREATE TABLE elsewhere (i int)")
    await shop.cluster.patch_set(metadata={"annotations": {"fluxbase.io/requested-at": "now"}})
    assert (await shop.run("user", 3)).approved is not None
    await shop.cluster.reaches("user", "Applied")


async def test_a_restarted_operator_neither_forgets_the_plan_nor_makes_it_again(
    shop: Shop, operator: Running, start_operator: Callable[..., Any]
) -> None:
    await made(shop.cluster)
    await shop.run("user", 1)
    digest = await shop.waits()
    await operator.has_seen_all(shop.cluster)
    await operator.stop()
    second = await start_operator()
    await second.has_seen_all(shop.cluster)
    assert (await shop.waits(), len(await shop.cluster.jobs())) == (digest, 1)
    await second.stop()
    await shop.approve(digest)
    await start_operator()
    await shop.run("user", 2)
    await shop.cluster.reaches("user", "Applied")


async def test_automatic_runs_what_waited_and_suspend_wins_over_an_approval(
    shop: Shop, operator: Running
) -> None:
    await made(shop.cluster)
    await shop.run("user", 1)
    digest = await shop.waits()
    await shop.cluster.patch_set(spec={"suspend": True})
    await shop.cluster.reaches("user", "Pending", "Suspended")
    await shop.approve(digest)
    assert (await shop.command("Waiting"))["message"] == "spec.suspend is true"
    await operator.has_seen_all(shop.cluster)
    assert len(await shop.cluster.jobs()) == 1
    await shop.approve("")
    await shop.command("Withdrawn")
    await shop.cluster.patch_set(spec={"suspend": False, "approval": "Automatic"})
    told_now = await shop.run("user", 2)
    assert (told_now.manual, told_now.approved) == (False, None)
    await shop.cluster.reaches("user", "Applied")


async def test_kubectl_shows_and_approves_the_plan(
    shop: Shop,
    operator: Running,
    kubectl: Kubectl,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    await made(shop.cluster)
    name = f"{shop.cluster.namespace}/shop"
    await shop.run("user", 1)
    digest = await shop.waits()
    shown = await kubectl("plan", "shop")
    assert (shown.code, shown.err) == (0, "")
    assert shown.out.splitlines() == [
        f"{name}: 2 files wait for approval (locks nothing that exists)",
        f"digest: {digest}",
        "",
        "TRACK   VERSION   DIRECTION   FILE",
        "user    1         up          001_a.up.sql",
        "user    2         up          002_b.up.sql",
        "",
        "user: from nothing to version 2; locks nothing that exists",
        "",
        f"next: kubectl fluxbase approve shop -n {shop.cluster.namespace}",
    ]
    status = await kubectl("status", "shop")
    assert f"next: kubectl fluxbase approve shop -n {shop.cluster.namespace}" in status.out
    assert "AwaitingApproval" in (await kubectl("list")).out
    unasked = await kubectl("approve", "shop")
    assert (unasked.code, "add --yes" in unasked.err) == (2, True)
    other = await kubectl("approve", "shop", "--digest", "sha256:" + "0" * 12, "--yes")
    assert (other.code, digest in other.err) == (1, True)
    approving = kubectl("approve", "shop", "--digest", digest[:20], "--yes", "--wait", "--timeout", "100s")
    await shop.run("user", 2)
    answer = await approving
    assert answer.code == 0, answer
    assert f"approved the plan {digest[:19]}" in answer.out
    nothing = await kubectl("plan", "shop")
    assert nothing.out == f"{name}: nothing waits for approval; the set is Applied\n"
    assert (await kubectl("approve", "shop", "--yes")).code == 1
    assert (await kubectl("plan", "shop", "-o", "json")).out == "{}\n"


async def test_what_a_job_was_told_names_no_more_than_the_plan(shop: Shop, operator: Running) -> None:
    await made(shop.cluster)
    await shop.run("user", 1)
    await shop.approve(await shop.waits())
    job = await shop.cluster.next_job("user", 2)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    given = environment(container["env"], {})[ENV_JOB]
    assert shop.database.password not in given
    await shop.run("user", 2)
    assert (await shop.cluster.reaches("user", "Applied"))["outcome"] == Outcome.APPLIED
