"""deploy/policies/approval.yaml: who may write a set's spec cannot approve its plan, unless RBAC says so."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes import client, config

from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.core.approval import PlanStart, TrackPlan
from fluxbase_migrations.core.names import ANNOTATION_APPROVE
from fluxbase_migrations.core.result import Outcome, Result
from tests.controller.api_server import ApiServer
from tests.controller.cluster import Cluster, until
from tests.controller.conftest import Running
from tests.controller.test_approval import made
from tests.controller.test_kubectl import Kubectl, kubectl  # noqa: F401 - a fixture

POLICY = Path(__file__).parents[2] / "deploy" / "policies" / "approval.yaml"
FILES = Path(__file__).parents[2] / "examples" / "shop" / "migrations"
ADMISSION = "/apis/admissionregistration.k8s.io/v1"
RBAC = "/apis/rbac.authorization.k8s.io/v1"
KINDS = {
    "ValidatingAdmissionPolicy": f"{ADMISSION}/validatingadmissionpolicies",
    "ValidatingAdmissionPolicyBinding": f"{ADMISSION}/validatingadmissionpolicybindings",
    "ClusterRole": f"{RBAC}/clusterroles",
}
CREATING = ("--from-file", str(FILES), "--database-secret", "db", "--dry-run", "server")
AUTHOR = ["get", "list", "create", "patch", "update"]
ELSEWHERE = {"urlFrom": {"secretKeyRef": {"name": "another", "key": "url"}}}
PLAN = TrackPlan(f"sha256:{'a' * 64}", 1, (), 1, PlanStart(), None, None, None, 0, 0)


@pytest.fixture
async def policy(kube: Kube) -> AsyncIterator[None]:
    """The policy, for all namespaces; other tests write as administrator, who may do everything."""
    bodies = list(yaml.safe_load_all(POLICY.read_text()))
    for body in bodies:
        await kube.create(KINDS[body["kind"]], None, body)
    yield
    for body in bodies:
        await kube._request("DELETE", f"{KINDS[body['kind']]}/{body['metadata']['name']}")


async def bind(cluster: Cluster, user: str, kind: str, role: str) -> None:
    body: dict[str, Any] = {
        "metadata": {"name": user},
        "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": kind, "name": role},
        "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}],
    }
    await cluster.kube.create(f"{RBAC}/rolebindings", cluster.namespace, body)


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")  # the tests' own API server
async def test_only_an_approver_approves_or_switches_approval_off(
    cluster: Cluster,
    server: ApiServer,
    operator: Running,
    policy: None,
    kubectl: Kubectl,  # noqa: F811
) -> None:
    rules = [
        {"apiGroups": ["fluxbase.io"], "resources": ["fluxbasemigrationsets"], "verbs": AUTHOR},
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["create"]},
    ]
    role = {"metadata": {"name": "author"}, "rules": rules}
    await cluster.kube.create(f"{RBAC}/roles", cluster.namespace, role)
    await bind(cluster, "alice", "Role", "author")
    await bind(cluster, "bob", "ClusterRole", "fluxbase-approver")
    await made(cluster)
    await cluster.make_set("free", suspend=True)
    waits = Result(Outcome.AWAITING_APPROVAL, observed=True, pending=1, plan=PLAN)
    await cluster.run("user", 1, waits)
    await cluster.reaches("user", "Pending", "AwaitingApproval")
    digest = (await cluster.status())["plan"]["digest"]

    await until("the policy is in force", lambda: _refused(kubectl, "create", "other", *CREATING))
    refused = await kubectl("--as", "alice", "approve", "shop", "--yes")
    assert (refused.code, "approving a plan needs the verb approve" in refused.err) == (1, True)
    assert ANNOTATION_APPROVE not in (await cluster.get_set())["metadata"].get("annotations", {})
    suspended = await kubectl("--as", "alice", "suspend", "shop")
    assert suspended.code == 0, "the rest of the set is the author's"
    assert (await kubectl("--as", "alice", "resume", "shop")).code == 0
    approved = await kubectl("--as", "bob", "approve", "shop", "--yes")
    assert (approved.code, approved.err.count("needs the verb")) == (0, 0)
    given = (await cluster.get_set())["metadata"]["annotations"][ANNOTATION_APPROVE]
    assert given == digest

    free = await cluster.get_set("free")
    for database, status in ((free["spec"]["database"], 200), (ELSEWHERE, 403)):
        patch = {"spec": {"database": database, "retry": {"limit": 1}}}
        assert await asyncio.to_thread(_patched, server, "alice", cluster.namespace, "free", patch) == status


def _patched(server: ApiServer, user: str, namespace: str, name: str, patch: dict[str, Any]) -> int:
    """The API server's answer to a patch of a set by that user."""
    api = config.new_client_from_config(str(server.kubeconfig(admin=True)))  # type: ignore[no-untyped-call]
    api.set_default_header("Impersonate-User", user)
    try:
        client.CustomObjectsApi(api).patch_namespaced_custom_object(
            "fluxbase.io", "v1alpha1", namespace, "fluxbasemigrationsets", name, patch
        )
    except client.ApiException as error:
        return int(error.status)
    finally:
        api.close()
    return 200


async def _refused(run: Kubectl, *arguments: str) -> bool:
    answer = await run("--as", "alice", *arguments)
    return answer.code == 1 and "spec.approval other than Manual needs the verb approve" in answer.err
