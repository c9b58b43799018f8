"""kubectl completes `kubectl fluxbase` with what the API server has."""

import asyncio
import sys
from pathlib import Path

import pytest

from dev.localcluster.tools import tool
from dev.peers import environment
from tests.controller.api_server import ApiServer
from tests.controller.cluster import Cluster, until

PROGRAMS = Path(sys.executable).parent
TYPED = {
    "kubectl's own first word": (["fluxb"], ["fluxbase"]),
    "a command": (["fluxbase", "desc"], ["describe"]),
    "sets of the namespace": (["fluxbase", "status", "-n", "{namespace}", ""], ["blog", "shop"]),
    "a set's beginning": (["fluxbase", "-n", "{namespace}", "retry", "sh"], ["shop"]),
    "a set with its kind": (["fluxbase", "logs", "-n={namespace}", "fbms/b"], ["fbms/blog"]),
    "a namespace": (["fluxbase", "list", "-n", "{namespace}"], ["{namespace}"]),
    "a namespace that is not there": (["fluxbase", "status", "-n", "no-such", ""], []),
    "who may list nothing": (["fluxbase", "status", "-n", "{namespace}", "--as", "nobody", ""], []),
}


@pytest.mark.parametrize(("words", "offered"), TYPED.values(), ids=TYPED.keys())
async def test_kubectl_offers_names(
    server: ApiServer, cluster: Cluster, words: list[str], offered: list[str]
) -> None:
    for name in ("blog", "shop"):
        await cluster.make_set(name)
    typed = [word.format(namespace=cluster.namespace) for word in words]
    expected = [word.format(namespace=cluster.namespace) for word in offered]

    async def answered() -> bool:
        """On a busy machine the names may come too late for one TAB."""
        return await completions(server, typed) == (expected, ":4")

    await until(f"{expected} behind {typed}", answered)


async def completions(server: ApiServer, typed: list[str]) -> tuple[list[str], str]:
    """The words that kubectl offers, and what it tells the shell to add."""
    path = f"{PROGRAMS}:{environment({})['PATH']}"
    process = await asyncio.create_subprocess_exec(
        *map(str, (tool("kubectl"), "__complete", *typed)),
        env=environment({"KUBECONFIG": str(server.kubeconfig(admin=True)), "PATH": path}),
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    *lines, directive = out.decode().splitlines()
    return sorted(line.partition("\t")[0] for line in lines), directive
