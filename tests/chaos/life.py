"""One set's part of a round: its database and objects, what somebody does to it, and where it must get to."""

import asyncio
import json
import secrets
from collections.abc import Awaitable, Callable
from typing import Any

from fluxbase_migrations.controller import paths
from fluxbase_migrations.controller.kube import KubeError
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.names import (
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    API_VERSION,
    KIND,
    Phase,
)
from fluxbase_migrations.core.result import Outcome
from tests import kstatus
from tests.chaos.database import Database
from tests.chaos.migrations import Source
from tests.chaos.plan import Change, Kind, Script
from tests.chaos.world import World

Json = dict[str, Any]

EVERY = 0.1
"""Seconds between two looks."""
ANSWER = 60.0
"""Seconds in which the API server must take a change."""
NOTICE = 60.0
"""Seconds in which the operator must have taken note of a command."""
SETTLE = 120.0
"""Seconds in which a set must get to its right state."""


class Life:
    """Follows one script. What it keeps is what the set should be like."""

    def __init__(self, world: World, script: Script, database: Database) -> None:
        self._world = world
        self._kube = world.kube
        self._namespace = world.namespace
        self.script = script
        self.name = script.name
        self.database = database
        self.source = Source({one.version: one for one in script.initial})
        self.target: int | None = None
        self.requested_at: str | None = None
        self.token: str | None = None
        """Of the last force command; None once the set was created anew."""
        self._suspended = False
        self.said: list[str] = []

    @property
    def version(self) -> int | None:
        """Where the user track must end; None: nothing applied."""
        version = self.source.latest if self.target is None else self.target
        return version or None

    @property
    def fails(self) -> bool:
        """Whether the user track must end Failed, at a migration that cannot be applied."""
        return self.source.broken is not None and self.target is None

    async def begin(self) -> None:
        """Create Secret, ConfigMap and set."""
        secret = {"metadata": {"name": self.name}, "stringData": {"url": self.database.url}}
        await self._create(f"/api/v1/namespaces/{self._namespace}/secrets", secret)
        await self._create_config_map()
        await self._create_set()

    async def follow(self) -> None:
        """Make the script's changes, each at its time or when the one before it is made."""
        began = asyncio.get_running_loop().time()
        for change in self.script.changes:
            await asyncio.sleep(max(0.0, began + change.at - asyncio.get_running_loop().time()))
            await self._make(change)
            self.said.append(f"{asyncio.get_running_loop().time() - began:.2f} s: {self.name}: {change.kind}")

    async def settle(self) -> Json:
        """Wait for the right state; returns the set.

        Raises:
            AssertionError: it does not get there.
        """
        advised = False
        until = asyncio.get_running_loop().time() + SETTLE
        while asyncio.get_running_loop().time() < until:
            body = await self._kube_now()
            if body is not None and self._right(body):
                return body
            if body is not None and not advised and _half_done_and_unwanted(body):
                # What its message advises.
                self.said.append(f"{self.name}: the half done file is let finish first")
                await self._make(Change(0.0, Kind.RAISE))
                advised = True
            await asyncio.sleep(EVERY)
        raise AssertionError(
            f"{self.name} is not where it should be after {SETTLE:.0f} s: version {self.version}, "
            f"{'failed' if self.fails else 'ready'}, requested-at {self.requested_at}, force {self.token}"
        )

    async def end(self) -> None:
        """Delete everything but the database."""
        await self._delete(paths.one_set(self._namespace, self.name))
        await self._delete(paths.config_map(self._namespace, self.name))

    def _right(self, body: Json) -> bool:
        status = body.get("status") or {}
        track = (status.get("tracks") or {}).get("user") or {}
        handled = (
            status.get("lastHandledRequestedAt") == self.requested_at
            and (self.token is None or str(status.get("lastHandledForce")).endswith(f"@{self.token}"))
            and track.get("sourceDigest") == self._digest()
        )
        if self.fails:
            stalled = kstatus.compute(body) == "Failed" and track.get("phase") == Phase.FAILED
            return handled and stalled and bool(track.get("dirty")) and track.get("version") == self.version
        return handled and kstatus.compute(body) == "Current" and track.get("version") == self.version

    def _digest(self) -> str:
        return source_digest({name: text.encode() for name, text in self.source.files().items()})

    async def _make(self, change: Change) -> None:
        match change.kind:
            case Kind.APPEND | Kind.BREAK:
                assert change.migration is not None
                self.source.put(change.migration)
                await self._write_config_map()
            case Kind.CORRECT:
                self.source.correct()
                await self._write_config_map()
            case Kind.FORCE:
                await self._force()
            case Kind.LOWER | Kind.RAISE:
                self.target = change.target
                await self._patch_set({"spec": {"tracks": {"user": {"targetVersion": self.target}}}})
            case Kind.REQUEST:
                self.requested_at = secrets.token_hex(4)
                await self._annotate(ANNOTATION_REQUESTED_AT, self.requested_at)
            case Kind.TAKE_AWAY:
                await self._delete(paths.config_map(self._namespace, self.name))
            case Kind.PUT_BACK:
                await self._create_config_map()
            case Kind.SUSPEND | Kind.RESUME:
                self._suspended = change.kind is Kind.SUSPEND
                await self._patch_set({"spec": {"suspend": self._suspended}})
            case Kind.RECREATE:
                await self._delete(paths.one_set(self._namespace, self.name))
                self.requested_at = self.token = None
                await self._create_set()

    async def _force(self) -> None:
        """Undo a failed migration's mark, as an administrator would: once it is seen dirty."""
        broken = self.source.broken
        assert broken is not None
        until = asyncio.get_running_loop().time() + NOTICE
        while (await asyncio.to_thread(self._row)) != [(broken, True)]:
            assert asyncio.get_running_loop().time() < until, f"{self.name} does not come to its failure"
            await asyncio.sleep(EVERY)
        self.token = secrets.token_hex(4)
        command = f"user={broken - 1}@{self.token}"
        await self._annotate(ANNOTATION_FORCE, command)
        # A correction that was seen before the command would be applied, and then undone by it.
        until = asyncio.get_running_loop().time() + NOTICE
        while True:
            body = await self._kube_now()
            commands = ((body or {}).get("status") or {}).get("commands") or {}
            if (commands.get("force") or {}).get("value") == command:
                return
            assert asyncio.get_running_loop().time() < until, f"{command} of {self.name} is not noticed"
            await asyncio.sleep(EVERY)

    def _row(self) -> list[tuple[int, bool]] | None:
        try:
            return self.database.row()
        except Exception:  # the server may just have been killed
            return None

    async def _create_config_map(self) -> None:
        body = {"metadata": {"name": self.name}, "data": self.source.files()}
        await self._create(paths.config_maps(self._namespace), body)

    async def _write_config_map(self) -> None:
        body = {"data": self.source.files()}
        await self._insist(lambda: self._kube.patch(paths.config_map(self._namespace, self.name), body))

    async def _create_set(self) -> None:
        user: Json = {"source": {"configMap": {"name": self.name}}, "rollback": "Allow"}
        if self.target is not None:
            user["targetVersion"] = self.target
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": self.name, "namespace": self._namespace},
            "spec": {
                "database": {"urlFrom": {"secretKeyRef": {"name": self.name, "key": "url"}}},
                "tracks": {"system": {"enabled": self.script.system}, "user": user},
                "retry": {"backoff": "1s"},
                "suspend": self._suspended,
            },
        }
        await self._create(paths.sets(self._namespace), body)

    async def _patch_set(self, patch: Json) -> None:
        await self._insist(lambda: self._kube.patch(paths.one_set(self._namespace, self.name), patch))

    async def _annotate(self, name: str, value: str) -> None:
        await self._patch_set({"metadata": {"annotations": {name: value}}})

    async def _kube_now(self) -> Json | None:
        try:
            return await self._kube.find(paths.one_set(self._namespace, self.name))
        except KubeError:
            return None

    async def _create(self, path: str, body: Json) -> None:
        """Create; that it exists means that an earlier try was cut off from its answer."""

        async def create() -> None:
            try:
                await self._kube.create(path, body)
            except KubeError as error:
                if error.status != 409:
                    raise

        await self._insist(create)

    async def _delete(self, path: str) -> None:
        """Delete, and wait until it is gone."""

        async def delete() -> None:
            found = await self._kube.find(path)
            if found is not None:
                await self._kube.delete(path, found["metadata"]["uid"], "Background")
                raise KubeError(0, "Deleting", path)

        await self._insist(delete)

    async def _insist(self, request: Callable[[], Awaitable[object]]) -> None:
        """Repeat while the API server does not answer."""
        until = asyncio.get_running_loop().time() + ANSWER
        while True:
            try:
                await request()
                return
            except KubeError as error:
                # 403 and 404 too: while it starts, the API server knows neither roles nor our resource.
                if asyncio.get_running_loop().time() > until:
                    raise AssertionError(f"{self.name}: {error}") from error
            await asyncio.sleep(EVERY)

    async def told(self) -> str:
        """Everything about the set, for a person who looks at a failure."""
        body = await self._kube_now()
        status = json.dumps((body or {}).get("status"), indent=1)
        try:
            ledger, row = await asyncio.to_thread(lambda: (self.database.ledger(), self.database.row()))
        except Exception as error:  # whatever it is, the rest is worth reading
            ledger, row = str(error), []
        return f"--- {self.name}: status\n{status}\n--- {self.name}: row {row}, ledger\n{ledger}"


def _half_done_and_unwanted(body: Json) -> bool:
    """Whether a file was interrupted half way that the lowered target does not want any more."""
    track = ((body.get("status") or {}).get("tracks") or {}).get("user") or {}
    hint = (track.get("error") or {}).get("hint") or ""
    return track.get("outcome") == Outcome.DIRTY and hint.startswith("let the file finish first")
