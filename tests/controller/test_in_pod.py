"""`kubectl-fluxbase` in a pod: without a kubeconfig, the pod's service account is used."""

from pathlib import Path
from urllib.parse import urlsplit

import pytest
from kubernetes.config import incluster_config, kube_config
from kubernetes.config.config_exception import ConfigException

from fluxbase_migrations.cli.kubectl.arguments import parser
from fluxbase_migrations.cli.kubectl.cluster import Cluster as Plugin
from tests.controller.api_server import ApiServer
from tests.controller.cluster import Cluster


@pytest.fixture
def pod(server: ApiServer, cluster: Cluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kubelet gives a container, in the test's namespace."""
    (tmp_path / "token").write_text(server.operator_token)
    (tmp_path / "namespace").write_text(cluster.namespace)
    (tmp_path / "ca.crt").write_bytes((server.directory / "certificates/apiserver.crt").read_bytes())
    monkeypatch.setattr(incluster_config, "SERVICE_TOKEN_FILENAME", str(tmp_path / "token"))
    monkeypatch.setattr(incluster_config, "SERVICE_CERT_FILENAME", str(tmp_path / "ca.crt"))
    monkeypatch.setattr(kube_config, "KUBE_CONFIG_DEFAULT_LOCATION", str(tmp_path / "none"))
    address = urlsplit(server.url)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", address.hostname or "")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", str(address.port))


@pytest.mark.usefixtures("pod")
async def test_a_pods_service_account_lists_the_sets_of_its_namespace(cluster: Cluster) -> None:
    await cluster.make_set("shop")
    plugin = Plugin(parser().parse_args(["list"]))
    assert plugin.namespace == cluster.namespace
    assert [one["metadata"]["name"] for one in plugin.sets(everywhere=False)] == ["shop"]


@pytest.mark.usefixtures("pod")
@pytest.mark.parametrize("words", [["--kubeconfig", "/none"], ["--context", "other"]])
def test_what_is_named_and_missing_is_an_error(words: list[str]) -> None:
    with pytest.raises(ConfigException):
        Plugin(parser().parse_args([*words, "list"]))


@pytest.mark.usefixtures("pod")
def test_outside_of_a_pod_a_missing_kubeconfig_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST")
    with pytest.raises(ConfigException):
        Plugin(parser().parse_args(["list"]))
