"""Answers of an API server, given where the official client would send its requests.

All above is what the operator runs: paths, queries, headers, JSON in both directions, reading of errors.
"""

import copy
import functools
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import aiohttp
from kubernetes.aio import client
from kubernetes.aio.client.rest import RESTClientObject

from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.core.json_names import Json


@dataclass(frozen=True)
class Request:
    """As it would reach the API server."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any

    @property
    def only_metadata(self) -> bool:
        return "PartialObjectMetadata" in self.headers["Accept"]


Answer = Callable[[Request], Awaitable[Json | AsyncIterator[bytes]]]
"""Returns an object, or the lines of a stream. KubeError: refused, or with status 0 the connection breaks."""


class _Response:
    """What the operator's client takes of aiohttp's and the official client's responses."""

    def __init__(self, status: int, reason: str, answer: Json | AsyncIterator[bytes]) -> None:
        self.status = status
        self.reason = reason
        self._answer = answer

    @property
    def response(self) -> "_Response":
        return self

    @property
    def content(self) -> AsyncIterator[bytes]:
        assert not isinstance(self._answer, dict), "an object is no stream"
        return _broken_as_a_connection_breaks(self._answer)

    async def read(self) -> bytes:
        return json.dumps(self._answer).encode()

    def close(self) -> None:
        """Nothing is open."""


class _Transport(RESTClientObject):
    def __init__(self, answer: Answer) -> None:
        self._answer = answer

    async def request(
        self,
        method: Any,
        url: Any,
        headers: Any = None,
        body: Any = None,
        post_params: Any = None,
        _request_timeout: Any = None,
    ) -> Any:
        address = urlsplit(url)
        request = Request(
            method, address.path, dict(parse_qsl(address.query)), headers, json.loads(json.dumps(body))
        )
        try:
            return _Response(200, "OK", await self._answer(request))
        except KubeError as error:
            if error.status == 0:
                raise aiohttp.ClientError(error.message) from error
            told = {"kind": "Status", "code": error.status, "reason": error.reason, "message": error.message}
            return _Response(error.status, "as HTTP has it", told)


def answered_by(answer: Answer) -> client.ApiClient:
    """The official client, for :class:`Kube`, whose requests are answered by a function."""
    api = copy.copy(_client())
    api.rest_client = _Transport(answer)
    return api


@functools.cache
def _client() -> client.ApiClient:
    """Made once: reading the system's certificates takes longer than most tests."""
    configuration = client.Configuration()
    configuration.host = "https://api.test"
    return client.ApiClient(configuration)


async def _broken_as_a_connection_breaks(lines: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    try:
        async for line in lines:
            yield line
    except KubeError as error:
        raise aiohttp.ClientPayloadError(error.message) from error
