"""One set's part of a round: what somebody does to it and its database, and where it must get to."""

import asyncio
import secrets

from fluxbase_migrations.controller.client.kube import KubeError
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.files import NIL
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_APPROVE,
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    Approval,
    Phase,
    Track,
)
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.decisions.command_status import OPEN
from tests.chaos.migrations import Source
from tests.chaos.objects import EVERY, Objects
from tests.chaos.places import Places
from tests.chaos.plan import Change, Kind, Script
from tests.chaos.succession import take_over
from tests.chaos.world import OTHER_NAME, World
from tests.support import kstatus

NOTICE = 60.0
"""Seconds in which the operator must have taken note of a command."""
CALM = 20.0
"""Seconds to wait for a set to be at rest before a command that is for such a one, or not given at all."""
SETTLE = 120.0
"""Seconds in which a set must get to its right state."""


class Life:
    """Follows one script. What it keeps is what the set should be like."""

    def __init__(self, world: World, script: Script, places: Places) -> None:
        self.objects = Objects(world.kube, world.namespace)
        self.script = script
        self.name = script.name
        """The set's: a successor has another."""
        self.names = [script.name]
        """Of all sets that there were."""
        self.places = places
        self.source = Source({one.version: one for one in script.initial})
        self.target: int | None = None
        self.requested_at: str | None = None
        """None: nothing is asked for that still stands there."""
        self.force: str | None = None
        """The command that stands there."""
        self.approved: set[str] = set()
        """Digests of the tracks' plans that were approved."""
        self._suspended = False
        self._operator = ""
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

    @property
    def tracks(self) -> list[Track]:
        """Those that the set has."""
        return [track for track in Track if track is Track.USER or self.script.system]

    @property
    def spec(self) -> Json:
        """As it should be now."""
        user: Json = {"source": {"configMap": {"name": self.script.name}}, "rollback": "Allow"}
        if self.target is not None:
            user["targetVersion"] = self.target
        return {
            "database": _database(self.places.secret),
            "tracks": {"system": {"enabled": self.script.system}, "user": user},
            "retry": {"backoff": "1s"},
            "approval": Approval.MANUAL if self.script.manual else Approval.AUTOMATIC,
            "suspend": self._suspended,
            "operator": self._operator,
        }

    async def begin(self) -> None:
        """Create Secret, ConfigMap and set."""
        await self.objects.secret(self.places.secret, self.places.current.url)
        await self.objects.config_map(self.script.name, self.source.files())
        await self.objects.make_set(self.name, self.spec)

    async def follow(self) -> None:
        """Make the script's changes, each at its time or when the one before it is made."""
        began = asyncio.get_running_loop().time()
        for change in self.script.changes:
            await asyncio.sleep(max(0.0, began + change.at - asyncio.get_running_loop().time()))
            await self._make(change)
            self.said.append(f"{asyncio.get_running_loop().time() - began:.2f} s: {self.name}: {change.kind}")

    async def approve(self) -> None:
        """Approve each plan that is shown, until cancelled."""
        while True:
            name, body = self.name, await self.objects.find_set(self.name)
            plan = (body or {}).get("status", {}).get("plan")
            if body is not None and plan is not None and not _is_being_approved(body, plan["digest"]):
                tracks = body["status"]["tracks"]
                self.approved |= {tracks[track]["plan"]["digest"] for track in plan["tracks"]}
                value = f"{plan['digest']}@{secrets.token_hex(4)}"
                try:
                    await self.objects.annotate(name, ANNOTATION_APPROVE, value)
                except KubeError as error:
                    if error.status != 404:  # it was deleted meanwhile
                        raise
            await asyncio.sleep(EVERY)

    async def settle(self) -> Json:
        """Wait for the right state; returns the set.

        Raises:
            AssertionError: it does not get there.
        """
        advised = False
        until = asyncio.get_running_loop().time() + SETTLE
        while asyncio.get_running_loop().time() < until:
            body = await self.objects.find_set(self.name)
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
            f"{'failed' if self.fails else 'ready'}, requested-at {self.requested_at}, force {self.force}, "
            f"in the database with OID {self.places.current.oid}"
        )

    async def end(self) -> None:
        """Delete everything but the databases."""
        await self.objects.delete_set(self.name)
        await self.objects.delete_config_map(self.script.name)

    def _right(self, body: Json) -> bool:
        status = body.get("status") or {}
        track = (status.get("tracks") or {}).get("user") or {}
        handled = (
            self.requested_at in (None, status.get("lastHandledRequestedAt"))
            and self.force in (None, status.get("lastHandledForce"))
            and track.get("sourceDigest") == self._digest()
            and (track.get("database") or {}).get("oid") == self.places.current.oid
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
                await self.objects.write(self.script.name, self.source.files())
            case Kind.CORRECT:
                self.source.correct()
                await self.objects.write(self.script.name, self.source.files())
            case Kind.TAKE_AWAY:
                await self.objects.delete_config_map(self.script.name)
            case Kind.PUT_BACK:
                await self.objects.config_map(self.script.name, self.source.files())
            case Kind.FORCE:
                await self._force(change)
            case Kind.REQUEST:
                await self._request(change.brief)
            case Kind.LOWER | Kind.RAISE:
                await self._aim_at(change.target)
                if change.brief is not None:
                    await asyncio.sleep(change.brief)
                    await self._aim_at(None)
            case Kind.SUSPEND | Kind.RESUME:
                await self._suspend(change.kind is Kind.SUSPEND)
                if change.brief is not None:
                    await asyncio.sleep(change.brief)
                    await self._suspend(False)
            case Kind.RECREATE:
                await self.objects.delete_set(self.name)
                self.requested_at = self.force = None
                await self.objects.make_set(self.name, self.spec)
            case Kind.SWITCH:
                self._operator = "" if self._operator else OTHER_NAME
                await self._patch_spec({"operator": self._operator})
            case Kind.HAND_OVER:
                await self._hand_over()
            case _:
                await self._change_database(change.kind)

    async def _change_database(self, kind: Kind) -> None:
        places = self.places
        match kind:
            case Kind.MOVE:
                secret, database = self._new_name(), await places.new()
                await self.objects.secret(secret, database.url)
                places.put(secret, database)
                await self._name_secret(secret)
            case Kind.RETURN:
                assert places.former is not None
                await self._name_secret(places.former)
            case Kind.EXCHANGE | Kind.COPY:
                database = await (places.new() if kind is Kind.EXCHANGE else places.copied())
                places.put(places.secret, database)
                await self.objects.exchange(places.secret, database.url)
                await self._request()
            case Kind.REMAKE:
                await places.remake()
                await self._request()
            case Kind.BACK_UP:
                places.backup = await places.copied()
            case Kind.RESTORE:
                await places.restore()
                await self._request()
            case _:
                raise AssertionError(kind)

    async def _name_secret(self, secret: str) -> None:
        self.places.name(secret)
        await self._patch_spec({"database": _database(secret)})

    async def _request(self, brief: float | None = None) -> None:
        """Ask for a run, as somebody must who has changed what nobody watches.

        What is asked for briefly gives way to what was asked for before: that may still be needed.
        """
        before, self.requested_at = self.requested_at, secrets.token_hex(4)
        await self.objects.annotate(self.name, ANNOTATION_REQUESTED_AT, self.requested_at)
        if brief is not None:
            await asyncio.sleep(brief)
            self.requested_at = before
            await self.objects.annotate(self.name, ANNOTATION_REQUESTED_AT, before)

    async def _aim_at(self, target: int | None) -> None:
        self.target = target
        await self._patch_spec({"tracks": {"user": {"targetVersion": target}}})

    async def _suspend(self, suspended: bool) -> None:
        self._suspended = suspended
        await self._patch_spec({"suspend": suspended})

    async def _patch_spec(self, patch: Json) -> None:
        await self.objects.patch_set(self.name, {"spec": patch})

    async def _force(self, change: Change) -> None:
        """Undo a failed migration's mark, once it is seen; or force what is there, once all is applied."""
        broken = self.source.broken if self.fails else None
        if broken is not None:
            await self._comes_to_its_failure(broken)
            version = broken - 1
        elif await self.objects.until(self.name, self._right, CALM) is None:
            self.said.append(f"{self.name}: not at rest, no force")
            return
        else:
            version = NIL if self.version is None else self.version
        command = self.force = f"user={version}@{secrets.token_hex(4)}"
        await self.objects.annotate(self.name, ANNOTATION_FORCE, command)
        if change.brief is not None:
            await asyncio.sleep(change.brief)
            await self.objects.annotate(self.name, ANNOTATION_FORCE, None)
            self.force = None
            return
        # A correction that was seen before the command would be applied, and then undone by it.
        noticed = await self.objects.until(self.name, lambda body: _noticed(body, "force", command), NOTICE)
        assert noticed is not None, f"{command} of {self.name} is not noticed"

    async def _comes_to_its_failure(self, broken: int) -> None:
        until = asyncio.get_running_loop().time() + NOTICE
        while (await asyncio.to_thread(self._row)) != [(broken, True)]:
            assert asyncio.get_running_loop().time() < until, f"{self.name} does not come to its failure"
            await asyncio.sleep(EVERY)

    async def _hand_over(self) -> None:
        """Another set takes the database over; this one sees that it has lost it, and is deleted."""
        former, secret = self.name, self._new_name()
        self.name = secret
        self.names.append(secret)
        await self.objects.secret(secret, self.places.current.url)
        self.places.put(secret, self.places.current)
        self.places.name(secret)
        self.requested_at = self.force = None
        await self.objects.make_set(self.name, self.spec)
        taken = await take_over(self.objects, former, self.name, self.tracks)
        self.said.append(f"{self.name}: has taken over {', '.join(taken) or 'nothing'} from {former}")
        await self.objects.delete_set(former)

    def _new_name(self) -> str:
        return f"{self.script.name}-{secrets.token_hex(2)}"

    def _row(self) -> list[tuple[int, bool]] | None:
        try:
            return self.places.current.row()
        except Exception:  # the server may just have been killed
            return None


def _database(secret: str) -> Json:
    return {"urlFrom": {"secretKeyRef": {"name": secret, "key": "url"}}}


def _is_being_approved(body: Json, digest: str) -> bool:
    """Whether the annotation approves that plan, and the operator has not refused or forgotten it."""
    value = (body["metadata"].get("annotations") or {}).get(ANNOTATION_APPROVE, "")
    command = (body["status"].get("commands") or {}).get("approve") or {}
    over = command.get("value") == value and command["state"] not in OPEN
    return value.startswith(digest) and not over


def _noticed(body: Json, command: str, value: str) -> bool:
    commands = (body.get("status") or {}).get("commands") or {}
    return (commands.get(command) or {}).get("value") == value


def _half_done_and_unwanted(body: Json) -> bool:
    """Whether a file was interrupted half way that the lowered target does not want any more."""
    track = ((body.get("status") or {}).get("tracks") or {}).get("user") or {}
    hint = (track.get("error") or {}).get("hint") or ""
    return track.get("outcome") == Outcome.DIRTY and hint.startswith("let the file finish first")
