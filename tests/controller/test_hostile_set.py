"""What a tenant gets who may do nothing but create and get sets, and writes hostile ones."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from fluxbase_migrations.controller.client.kube import Kube, KubeError
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.job import JobSpec
from fluxbase_migrations.core.names import ENV_JOB
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.core.text import visible
from tests.controller.api_server import ApiServer
from tests.controller.cluster import RBAC, Cluster
from tests.controller.conftest import Running, credentials
from tests.support.expansion import environment

CANARY = "postgres://app:canary-51c2@db/shop"
ESCAPE = "\x1b]0;owned\x07\nERROR a line of its own\u202e"


@pytest.fixture
async def tenant(server: ApiServer, cluster: Cluster) -> AsyncIterator[Cluster]:
    """The same namespace, as a user with two rights."""
    rules = [
        {"apiGroups": ["fluxbase.io"], "resources": ["fluxbasemigrationsets"], "verbs": ["create", "get"]}
    ]
    subject = {"kind": "User", "name": "tenant", "apiGroup": "rbac.authorization.k8s.io"}
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "tenant"}
    await cluster.kube.create(
        f"{RBAC}/roles", cluster.namespace, {"metadata": {"name": "tenant"}, "rules": rules}
    )
    binding = {"metadata": {"name": "tenant"}, "roleRef": role, "subjects": [subject]}
    await cluster.kube.create(f"{RBAC}/rolebindings", cluster.namespace, binding)
    with credentials(server, admin=True):
        connected = await Kube.connect()
    connected._api.default_headers["Impersonate-User"] = "tenant"
    yield Cluster(connected, cluster.namespace)
    await connected.close()


async def test_the_tenant_may_read_neither_secrets_nor_jobs(tenant: Cluster) -> None:
    """Otherwise the test below would prove nothing."""
    for resource in ("/api/v1/secrets", Resource.JOBS):
        with pytest.raises(KubeError) as refused:
            await tenant.kube.get(resource, tenant.namespace)
        assert refused.value.status == 403


async def test_no_secret_and_no_escape_comes_back_by_a_hostile_set(
    cluster: Cluster, tenant: Cluster, operator: Running, caplog: pytest.LogCaptureFixture
) -> None:
    volume = {"claimName": "files", "path": "$(DATABASE_URL)/$$(DATABASE_URL)"}
    tracks = {"system": {"enabled": False}, "user": {"source": {"persistentVolumeClaim": volume}}}
    await tenant.make_set(tracks=tracks)
    job = await cluster.next_job("user", 1)
    (container,) = job["spec"]["template"]["spec"]["containers"]
    variables = environment(container["env"], {"DATABASE_URL": CANARY})
    seen = JobSpec.from_json(variables[ENV_JOB])
    assert seen.paths == ("/migrations/user/$(DATABASE_URL)/$$(DATABASE_URL)",)
    # What the runner would say of such a directory, and of a server that answers with a terminal's commands.
    message = f"no such directory: {seen.paths[0]} {ESCAPE}"
    error = ErrorInfo(message, file=f"001_{ESCAPE}.up.sql", hint=ESCAPE)
    pod = await cluster.make_pod(job)
    await cluster.running(pod)
    await cluster.reaches("user", "Running")
    hostile = Result(Outcome.INVALID_SOURCE, warnings=(ESCAPE,), recovered=ESCAPE, error=error)
    await cluster.terminated(pod, hostile.to_json(), 1)
    await cluster.reaches("user", "Failed", "InvalidSource")
    await cluster.event("InvalidSource")
    shown: list[Any] = [await tenant.get_set(), await cluster.events(), caplog.messages]
    accept = "application/json;as=Table;v=v1;g=meta.k8s.io"
    shown.append((await cluster.kube.get(Resource.SETS, cluster.namespace, accept=accept))["rows"])
    text = json.dumps(shown[:2] + shown[3:], ensure_ascii=False)
    assert visible(text) == text
    assert "canary-51c2" not in text + "".join(caplog.messages)
    assert "a line of its own" in text, "it is told, without being obeyed"
