"""A track on a real database, driven through the engine in this process."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import psycopg

from fluxbase_migrations.core.files import MigrationFiles
from fluxbase_migrations.core.names import Recovery, Rollback, Track
from fluxbase_migrations.core.result import Result
from fluxbase_migrations.runner.commands import verbs
from fluxbase_migrations.runner.commands.track_run import RunRequest, run_track
from fluxbase_migrations.runner.connection import session
from fluxbase_migrations.runner.connection.session import Settings
from fluxbase_migrations.runner.connection.signals import Stop
from fluxbase_migrations.runner.execution.engine import Options
from fluxbase_migrations.runner.log import Log
from fluxbase_migrations.runner.recovery.case import Policy
from tests.support.databases import Database

APP = "migrations.app"


@dataclass
class Runner:
    """Runs files on a database and looks at what they left."""

    database: Database
    lines: list[str] = field(default_factory=list)
    stop: Stop = field(default_factory=Stop)
    settings: Settings = field(default_factory=lambda: Settings(connect_patience=5.0))
    lock_timeout: float = 10.0

    @property
    def log(self) -> Log:
        return Log(write=self.lines.append)

    @property
    def setup(self) -> verbs.Setup:
        parameters = {
            **psycopg.conninfo.conninfo_to_dict(self.database.dsn),
            "application_name": "fluxbase-migrate",
        }
        texts = {key: str(value) for key, value in parameters.items()}
        return verbs.Setup(
            texts,
            [self.database.password],
            self.settings,
            self.log,
            self.stop,
            lock_timeout=self.lock_timeout,
        )

    def run(self, files: Mapping[str, str | bytes], **wish: Any) -> Result:
        """As a Job does: to the target, with the policy Automatic unless told otherwise."""
        policy = Policy(
            wish.pop("recovery", Recovery.AUTOMATIC),
            retry_failed=wish.get("requested", False),
            retry_unproven=wish.pop("requested", False),
            request=wish.pop("requested_at", None),
        )
        setup = self.setup
        wanted = RunRequest(
            Track.USER,
            Options(policy),
            self.lock_timeout,
            rollback=wish.pop("rollback", Rollback.ALLOW),
        )
        return run_track(replace(wanted, **wish), source(files), setup.connect, setup.log, self.stop)

    def query(self, text: str) -> list[tuple[Any, ...]]:
        """Ask the database, on a connection of the test's own."""
        with psycopg.connect(self.database.dsn, autocommit=True) as connection:
            cursor = connection.execute(text.encode())
            return cursor.fetchall() if cursor.description else []

    @property
    def row(self) -> list[tuple[int, bool]]:
        return [(version, dirty) for version, dirty in self.query(f"SELECT version, dirty FROM {APP}")]

    @contextmanager
    def holding_lock(self, number: int) -> Iterator[None]:
        """Hold an advisory lock that a file waits for."""
        with psycopg.connect(self.database.dsn, autocommit=True) as holder:
            holder.execute("SELECT pg_advisory_lock(%s)", [number])
            yield

    def exists(self, relation: str) -> bool:
        return bool(self.query(f"SELECT 1 WHERE to_regclass('{relation}') IS NOT NULL"))

    @property
    def history(self) -> list[tuple[Any, ...]]:
        return self.query(
            "SELECT file, outcome, done, statements FROM migrations.history"
            " WHERE kind <> 'identity' ORDER BY id"
        )


def source(files: Mapping[str, str | bytes]) -> MigrationFiles:
    return MigrationFiles.scan(
        {name: one.encode() if isinstance(one, str) else one for name, one in files.items()}
    )


def numbered(*bodies: str) -> dict[str, str]:
    """Bodies as 1_file.up.sql, 2_file.up.sql and so on."""
    return {f"{number}_file.up.sql": text for number, text in enumerate(bodies, 1)}


def connect_as(runner: Runner) -> session.Session:
    """A session as the engine opens it."""
    return runner.setup.connect()
