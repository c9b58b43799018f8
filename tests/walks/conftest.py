"""The API server and the operator of the controller's tests."""

from tests.controller.conftest import cluster, kube, server, settings, start_operator

__all__ = ["cluster", "kube", "server", "settings", "start_operator"]
