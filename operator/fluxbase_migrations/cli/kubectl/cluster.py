"""The API server as ``kubectl fluxbase`` talks to it; objects are the API's own JSON."""

import argparse
import json
import os
from pathlib import Path
from typing import Any, Final

from fluxbase_migrations.cli.kubectl import logs, set_view
from fluxbase_migrations.cli.kubectl.steering import MANAGER
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    GROUP,
    LABEL_NAME,
    OPERATOR_APP_NAME,
    PLURAL,
    VERSION,
)

APIS: Final = ("CustomObjectsApi", "CoreV1Api", "BatchV1Api", "AppsV1Api", "ApiextensionsV1Api")
"""What is used of the Kubernetes client; images and archives leave out the rest."""
_MOST_NAMES: Final = 500
"""The most names that are offered for completion."""


class Cluster:
    """The one namespace, and mostly the one set, that a command is about."""

    def __init__(self, options: argparse.Namespace) -> None:
        # Imported here: 0.4 s that `--help` need not wait for.
        from kubernetes import client

        api, namespace = _connected(options)
        if options.user:
            api.set_default_header("Impersonate-User", options.user)
        self.namespace: str = options.namespace or namespace or "default"
        self.name: str = getattr(options, "name", "")
        self._api = api
        self._sets = client.CustomObjectsApi(api)
        self._core = client.CoreV1Api(api)
        self._address = (GROUP, VERSION, self.namespace, PLURAL, self.name)

    def read(self) -> Json:
        """The set, as the API server has it."""
        migration_set: Any = self._sets.get_namespaced_custom_object(*self._address)
        return dict(migration_set)

    def sets(self, *, everywhere: bool) -> list[Json]:
        """The sets of the namespace, or of all."""
        response: Any = (
            self._sets.list_cluster_custom_object(GROUP, VERSION, PLURAL)
            if everywhere
            else self._sets.list_namespaced_custom_object(GROUP, VERSION, self.namespace, PLURAL)
        )
        items: list[Json] = response["items"]
        return items

    def names_of_sets(self, timeout: float) -> list[str]:
        """The sets of the namespace, for completion; the server sends no more than their metadata."""
        return self._names(f"/apis/{GROUP}/{VERSION}/namespaces/{{namespace}}/{PLURAL}", timeout)

    def names_of_namespaces(self, timeout: float) -> list[str]:
        """All namespaces, for completion."""
        return self._names("/api/v1/namespaces", timeout)

    def _names(self, path: str, timeout: float) -> list[str]:
        request = self._api.param_serialize(
            "GET",
            path,
            path_params={"namespace": self.namespace},
            query_params=[("limit", str(_MOST_NAMES))],
            header_params={"Accept": "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"},
            auth_settings=["BearerToken"],
        )
        answer = self._api.call_api(*request, _request_timeout=timeout)
        return [item["metadata"]["name"] for item in json.loads(answer.read())["items"]]

    def patch(self, body: Json) -> None:
        """Merge ``body`` into the set."""
        self._sets.patch_namespaced_custom_object(*self._address, body, field_manager=MANAGER)

    def patch_unchanged(self, body: Json) -> bool:
        """Merge ``body``, which names a resourceVersion; False if the set is not the one of that version."""
        from kubernetes.client.exceptions import ApiException

        try:
            self.patch(body)
        except ApiException as error:
            if error.status != 409:
                raise
            return False
        return True

    def create(self, body: Json, *, dry_run: bool = False) -> Json:
        """Create a ConfigMap or a set in the namespace; returns what the API server made of it."""
        options: Any = {"field_manager": MANAGER, **({"dry_run": "All"} if dry_run else {})}
        if body["kind"] == "ConfigMap":
            config_map: Any = body  # the client takes JSON for its models
            return self._json(self._core.create_namespaced_config_map(self.namespace, config_map, **options))
        created: Any = self._sets.create_namespaced_custom_object(
            GROUP, VERSION, self.namespace, PLURAL, body, **options
        )
        return dict(created)

    def pods(self, selector: str) -> list[Json]:
        """Pods of the set's namespace."""
        return self._items(self._core.list_namespaced_pod(self.namespace, label_selector=selector))

    def jobs(self, selector: str) -> list[Json]:
        """Jobs of the set's namespace."""
        from kubernetes import client

        batch = client.BatchV1Api(self._api)
        return self._items(batch.list_namespaced_job(self.namespace, label_selector=selector))

    def events(self, uid: str) -> list[Json]:
        """Events about the object with that uid."""
        selector = f"involvedObject.uid={uid}"
        return self._items(self._core.list_namespaced_event(self.namespace, field_selector=selector))

    def operators(self, *, everywhere: bool) -> list[Json]:
        """Deployments of the operator, as its chart labels them."""
        from kubernetes import client

        apps, selector = client.AppsV1Api(self._api), f"{LABEL_NAME}={OPERATOR_APP_NAME}"
        return self._items(
            apps.list_deployment_for_all_namespaces(label_selector=selector)
            if everywhere
            else apps.list_namespaced_deployment(self.namespace, label_selector=selector)
        )

    def resource(self) -> Json:
        """The CustomResourceDefinition of the sets."""
        from kubernetes import client

        api = client.ApiextensionsV1Api(self._api)
        return self._json(api.read_custom_resource_definition(f"{PLURAL}.{GROUP}"))

    def log(self, pod: Json, *, follow: bool) -> None:
        """Print the log of one of :meth:`pods`."""
        logs.show(self._core, self.namespace, pod, follow=follow)

    def log_text(self, pod: Json) -> str:
        """The log of one of :meth:`pods`, empty if there is none any more."""
        return logs.read(self._core, self.namespace, pod)

    def config_map(self, name: str) -> Json:
        """A ConfigMap of the set's namespace.

        Raises:
            LookupError: there is none of that name.
        """
        from kubernetes.client.exceptions import ApiException

        try:
            config_map = self._core.read_namespaced_config_map(name, self.namespace)
        except ApiException as error:
            if error.status == 404:
                raise LookupError(f"ConfigMap {name} not found") from error
            raise
        return self._json(config_map)

    def _items(self, response: Any) -> list[Json]:
        return [self._json(item) for item in response.items]

    def _json(self, model: Any) -> Json:
        return set_view.as_json(self._api, model)


def _connected(options: argparse.Namespace) -> tuple[Any, str | None]:
    """A client and its namespace: by the kubeconfig, or, in a pod without one, by its service account.

    Raises:
        ConfigException: there is neither.
    """
    from kubernetes import config as untyped
    from kubernetes.config.config_exception import ConfigException

    config: Any = untyped
    try:
        api = config.new_client_from_config(config_file=options.kubeconfig, context=options.context)
        contexts, active = config.list_kube_config_contexts(config_file=options.kubeconfig)
    except ConfigException:
        if options.kubeconfig or options.context or "KUBERNETES_SERVICE_HOST" not in os.environ:
            raise
        return _in_pod(config)
    chosen = next((context for context in contexts if context["name"] == options.context), active)
    return api, chosen["context"].get("namespace")


def _in_pod(config: Any) -> tuple[Any, str]:
    from kubernetes.client import ApiClient, Configuration

    settings = Configuration()
    config.load_incluster_config(client_configuration=settings)
    namespace = Path(config.incluster_config.SERVICE_TOKEN_FILENAME).with_name("namespace")
    return ApiClient(settings), namespace.read_text().strip()
