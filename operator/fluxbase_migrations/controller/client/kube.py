"""The API server, as plain JSON: the official client's connection and credentials, without its models."""

import json
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, Final

import aiohttp
from kubernetes.aio import client, config

from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.core.json_names import Json

TIMEOUT: Final = 30.0
"""Seconds for one request."""
CHUNK: Final = 500
"""Objects of a collection that are read by one request."""
MERGE_PATCH: Final = "application/merge-patch+json"
METADATA: Final = "application/json;as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
METADATA_LIST: Final = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
_TOKEN: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount/token")
_CONNECTIONS: Final = 0
"""No limit: each watched namespace holds some, and the workers limit the other concurrent requests."""

NamespacedName = tuple[str, str]
"""Namespace and name of an object."""
Query = Mapping[str, str | int]


class KubeError(Exception):
    """The API server answered with an error, or did not answer (``status`` 0)."""

    def __init__(self, status: int, reason: str, message: str) -> None:
        super().__init__(f"{status} {reason}: {message}" if status else message)
        self.status = status
        self.reason = reason
        self.message = message


def number(version: str | None) -> int:
    """A resourceVersion as a number to compare; 0 where it is not known."""
    return int(version) if version and version.isascii() and version.isdigit() else 0


class Kube:
    """A connection pool to an API server; close it when done."""

    def __init__(self, api: client.ApiClient) -> None:
        self._api = api

    @classmethod
    async def connect(cls) -> "Kube":
        """Connect with the pod's service account, or else the current context of the kubeconfig."""
        configuration = client.Configuration()
        if _TOKEN.exists():
            config.load_incluster_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        else:
            await config.load_kube_config(client_configuration=configuration)  # type: ignore[no-untyped-call]
        configuration.connection_pool_maxsize = _CONNECTIONS
        configuration.client_session_kwargs = {"trust_env": False}
        api = client.ApiClient(configuration)
        api.user_agent = "fluxbase-migrations"
        return cls(api)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(
        self,
        resource: str,
        namespace: str | None = None,
        name: str | None = None,
        *,
        query: Query | None = None,
        accept: str | None = None,
    ) -> Json:
        """Read an object, or without ``name`` a list."""
        return await self._request("GET", path_of(resource, namespace, name), query=query, accept=accept)

    async def find(
        self, resource: str, namespace: str | None, name: str, *, accept: str | None = None
    ) -> Json | None:
        """Read an object; None if it does not exist."""
        try:
            return await self.get(resource, namespace, name, accept=accept)
        except KubeError as error:
            if error.status == 404:
                return None
            raise

    async def create(
        self, resource: str, namespace: str | None, body: Json, query: Query | None = None
    ) -> Json:
        """POST ``body`` to the collection."""
        return await self._request("POST", path_of(resource, namespace), query=query, body=body)

    async def replace(
        self, resource: str, namespace: str | None, name: str, body: Json, subresource: str = ""
    ) -> Json:
        """PUT ``body``. 409 if the object has changed since the resourceVersion in it."""
        return await self._request("PUT", path_of(resource, namespace, name, subresource), body=body)

    async def patch(
        self, resource: str, namespace: str | None, name: str, body: Json, subresource: str = ""
    ) -> Json:
        """Merge ``body`` into the object."""
        return await self._request("PATCH", path_of(resource, namespace, name, subresource), body=body)

    async def delete(
        self, resource: str, namespace: str | None, name: str, uid: str, propagation: str
    ) -> Json | None:
        """Delete the object if it exists and has this ``uid``.

        Returns the object while it is being deleted, or a Status when it is gone; None if it did not exist.
        """
        body = {"propagationPolicy": propagation, "preconditions": {"uid": uid}}
        try:
            return await self._request("DELETE", path_of(resource, namespace, name), body=body)
        except KubeError as error:
            if error.status not in (404, 409):
                raise
            # 409 may also come from a webhook.
            existing = await self.find(resource, namespace, name) if error.status == 409 else None
            if existing is not None and existing["metadata"]["uid"] == uid:
                raise
            return None

    async def pages(
        self, resource: str, namespace: str | None, accept: str | None = None
    ) -> AsyncIterator[Json]:
        """Read a collection page by page."""
        token: str | None = ""
        while token is not None:
            query: Query = {"limit": CHUNK, **({"continue": token} if token else {})}
            page = await self.get(resource, namespace, query=query, accept=accept)
            token = page["metadata"].get("continue") or None
            yield {**page, "items": page["items"] or []}  # of metadata, an empty list is null

    def watch(
        self,
        resource: str,
        namespace: str | None,
        query: Query,
        *,
        accept: str | None = None,
        silence: float,
    ) -> AsyncIterator[bytes]:
        """Yield the events of a collection, each a line of JSON; see :meth:`_lines`."""
        return self._lines(path_of(resource, namespace), {"watch": "true", **query}, accept, silence)

    def log(self, namespace: str, pod: str, query: Query, *, silence: float) -> AsyncIterator[bytes]:
        """Yield the lines of a pod's log; see :meth:`_lines`."""
        return self._lines(path_of(Resource.PODS, namespace, pod, "log"), query, None, silence)

    async def _lines(
        self, path: str, query: Query, accept: str | None, silence: float
    ) -> AsyncIterator[bytes]:
        """Yield the lines of a streamed answer until it ends.

        Raises:
            KubeError: refused, the connection broke, or nothing came for ``silence`` seconds.
        """
        limits = aiohttp.ClientTimeout(total=None, sock_connect=TIMEOUT, sock_read=silence)
        response = await self._send("GET", path, limits, query=query, accept=accept)
        try:
            if response.status >= 400:
                raise _error(response.status, response.reason, await response.read())
            async for line in response.response.content:
                yield line
        except (aiohttp.ClientError, TimeoutError, ValueError) as error:
            raise KubeError(0, "Broken", f"the stream broke: {error or type(error).__name__}") from error
        finally:
            response.response.close()

    async def _request(self, method: str, path: str, **options: Any) -> Json:
        response = await self._send(method, path, aiohttp.ClientTimeout(total=TIMEOUT), **options)
        try:
            raw = await response.read()
        except (aiohttp.ClientError, TimeoutError) as error:
            raise KubeError(0, "Broken", f"{method} {path}: {error or type(error).__name__}") from error
        if response.status >= 400:
            raise _error(response.status, response.reason, raw)
        answer: Json = json.loads(raw)
        return answer

    async def _send(
        self,
        method: str,
        path: str,
        limits: aiohttp.ClientTimeout,
        *,
        query: Query | None = None,
        body: Json | None = None,
        accept: str | None = None,
    ) -> Any:
        headers = {"Accept": accept or "application/json"}
        if body is not None:
            headers["Content-Type"] = MERGE_PATCH if method == "PATCH" else "application/json"
        pairs = [(name, str(value)) for name, value in (query or {}).items()]
        request = await self._api.param_serialize(
            method, path, query_params=pairs, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        try:
            return await self._api.call_api(*request, _request_timeout=limits)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise KubeError(0, "Unreachable", f"{method} {path}: {error or type(error).__name__}") from error


async def get_if_allowed(
    kube: Kube, resource: str, namespace: str | None, name: str | None = None, query: Query | None = None
) -> Json | None:
    """Read what is not essential: None where it does not exist, or the operator has no right to read it."""
    try:
        return await kube.get(resource, namespace, name, query=query)
    except KubeError as error:
        if error.status in (403, 404):
            return None
        raise


def _error(status: int, reason: str, raw: bytes) -> KubeError:
    try:
        payload = json.loads(raw)
        return KubeError(status, str(payload.get("reason") or reason), str(payload.get("message") or reason))
    except (ValueError, AttributeError):
        return KubeError(status, reason, raw[:300].decode("utf-8", "replace") or reason)
