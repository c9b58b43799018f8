"""Every write of a set's status, held against the rules while a test runs."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator

from fluxbase_migrations.controller.client.kube import Kube
from fluxbase_migrations.controller.client.resources import Resource
from fluxbase_migrations.core.json_names import Json
from tests.support import kstatus
from tests.support.kstatus_program import read_by_kstatus


@contextlib.asynccontextmanager
async def every_write_checked(kube: Kube, namespace: str) -> AsyncIterator[None]:
    """Watch the sets of a namespace from its beginning on.

    Raises:
        AssertionError: at the end, if a write broke a rule.
    """
    broken: list[str] = []
    written: list[Json] = []
    before: dict[str, Json] = {}

    async def watch() -> None:
        query = {"resourceVersion": "0"}
        async for line in kube.watch(Resource.SETS, namespace, query, silence=600.0):
            event = json.loads(line)
            body: Json = event["object"]
            if event["type"] not in ("ADDED", "MODIFIED"):
                continue
            written.append(body)
            name = body["metadata"]["name"]
            try:
                kstatus.check(body, before.get(name))
            except AssertionError as error:
                broken.append(f"{name}: {error}\n{json.dumps(body.get('status'), indent=1)}")
            before[name] = body

    watching = asyncio.create_task(watch(), name="kstatus")
    try:
        yield
    finally:
        ended_early = watching.done()
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    assert not ended_early, "the watch of the sets ended"
    assert not broken, "\n".join(broken)
    assert [kstatus.compute(body) for body in written] == read_by_kstatus(written)
