"""The databases that one set's Secrets have named, and what is done to them."""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

import psycopg

from dev.postgres_server import Server
from tests.chaos.database import ANSWER, PAUSE, Database, Login

Done = TypeVar("Done")


@dataclass(frozen=True)
class Placed:
    """Since when a Secret has led to a database, in seconds of the clock."""

    at: float
    secret: str
    database: Database


@dataclass
class Places:
    """Secrets by name, and every database of the set, whatever became of it."""

    login: Login
    secret: str
    """The one that the set names now."""
    databases: list[Database] = field(default_factory=list)
    backup: Database | None = None
    former: str | None = None
    """The Secret that the set named before."""
    placed: list[Placed] = field(default_factory=list)

    @classmethod
    async def create(cls, server: Server, secret: str) -> "Places":
        """With one database."""
        made = cls(await insist(lambda: Login.create(server)), secret)
        made.put(secret, await made.new())
        return made

    @property
    def current(self) -> Database:
        """Where the set's Secret leads."""
        return self.of(self.secret)

    def of(self, secret: str) -> Database:
        """Where a Secret leads."""
        return next(one.database for one in reversed(self.placed) if one.secret == secret)

    def put(self, secret: str, database: Database) -> None:
        """A Secret leads to another database from now on."""
        self.placed.append(Placed(time.time(), secret, database))

    def name(self, secret: str) -> None:
        """The set names another Secret from now on."""
        if secret != self.secret:
            self.former, self.secret = self.secret, secret

    async def new(self) -> Database:
        """An empty database."""
        return self._keep(await insist(lambda: Database.create(self.login)))

    async def copied(self) -> Database:
        """A copy of the current one."""
        return self._keep(await insist(self.current.copy))

    async def remake(self) -> None:
        """Drop the current one, and create it again."""
        await self._replace_with(await self.new())

    async def restore(self) -> None:
        """Put the backup in the place of the current one."""
        assert self.backup is not None
        backup, self.backup = self.backup, None
        await self._replace_with(backup)

    async def _replace_with(self, other: Database) -> None:
        current = self.current
        name, secrets = current.name, {one.secret for one in self.placed}
        led_here = [secret for secret in secrets if self.of(secret) is current]
        await insist(current.leave)
        # Before it can be connected to.
        for secret in led_here:
            self.put(secret, other)
        await insist(lambda: other.rename(name))

    def _keep(self, database: Database) -> Database:
        self.databases.append(database)
        return database


async def insist(what: Callable[[], Done]) -> Done:
    """Do something with the server, which may be killed meanwhile; what is done twice must do no harm."""

    def attempt() -> Done:
        end = time.monotonic() + ANSWER
        while True:
            try:
                return what()
            except psycopg.Error:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE)

    return await asyncio.to_thread(attempt)
