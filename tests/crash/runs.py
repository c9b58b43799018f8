"""One crash run: migrate, be killed at some moment, look, go on; and the rules for what may be seen.

The rules, at every look:

- the bodies executed are those of the files that are done, in order, and a prefix of the next file's;
- a clean row means that this prefix is empty;
- what a process called done before the crash is still done after it.
"""

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import psycopg

from dev.peers import Finished, Ours, Started
from dev.postgres_server import Server
from dev.prefork import Prefork
from dev.waiting import eventually
from tests.conformance.cases import NIL, body
from tests.conformance.twins import reset, state
from tests.support.databases import Database, invalid_indexes

Victim = Literal["process", "connection", "server", "server stopped", "machine"]
VICTIMS: Mapping[Victim, int] = {
    "process": 5,
    "connection": 4,
    "server": 2,
    "server stopped": 1,
    "machine": 2,
}
"""Who is killed, and how often in proportion. A process whose server dies lives on and may find it again."""

MOST_CRASHES = 3  # in a row, in one run
LONGEST_DELAY = 0.05  # seconds
SETTLE = 60.0  # seconds for a dead client's session to end
END = 90.0  # seconds for a process to end; it looks for a lost server for a minute


@dataclass(frozen=True)
class Migration:
    """A pair of files; ``{}`` in the text becomes the statements that record the bodies, in order."""

    up: str
    down: str = "{0}"

    def text(self, version: int, direction: str) -> str:
        records = (body(name) for name in self.bodies(version, direction))
        return (self.up if direction == "up" else self.down).format(*records)

    def bodies(self, version: int, direction: str) -> tuple[str, ...]:
        text = self.up if direction == "up" else self.down
        return tuple(f"{version}/{direction} {place}" for place in range(text.count("{")))


PAUSE = "SELECT pg_sleep(0.02);"
NAP = "PERFORM pg_sleep(0.02);"
IN_DOUBT = "may have taken effect in part"
"""What a command says that asks before it goes on."""
QUICK = Migration("{0}")
MIGRATIONS: Sequence[Migration] = (
    Migration("CREATE TABLE public.big (i int, t text); {0}", "DROP TABLE public.big; {0}"),
    Migration(
        "INSERT INTO public.big SELECT i, repeat('x', 100) FROM generate_series(1, 3000) i; {0}" + PAUSE
    ),
    QUICK,
    Migration(
        f"BEGIN; {{0}} {PAUSE} COMMIT; BEGIN; {{1}} COMMIT; {PAUSE} {{2}}",
        f"BEGIN; {{0}} COMMIT; {PAUSE} {{1}}",
    ),
    QUICK,
    Migration(
        "{0} CREATE INDEX CONCURRENTLY big_i ON public.big (i); {1}",
        "{0} DROP INDEX CONCURRENTLY public.big_i; {1}",
    ),
    Migration(
        "ALTER TABLE public.big ADD COLUMN j int; {0}" + PAUSE + "{1}",
        "ALTER TABLE public.big DROP COLUMN j; {0}",
    ),
    QUICK,
    Migration(
        "CREATE UNIQUE INDEX CONCURRENTLY big_i_t ON public.big (i, t);",
        "DROP INDEX CONCURRENTLY public.big_i_t;",
    ),
    Migration("{0} VACUUM public.big; {1}", "{0} VACUUM public.big;"),
    QUICK,
    Migration(
        f"{{0}} DO $$ BEGIN {{1}} COMMIT; {NAP} {{2}} COMMIT; {NAP} {{3}} END $$; {{4}}",
        f"DO $$ BEGIN {{0}} COMMIT; {NAP} {{1}} COMMIT; {NAP} {{2}} END $$",
    ),
    *[QUICK] * 2,
    Migration(
        "CREATE PROCEDURE public.batches() LANGUAGE plpgsql AS"
        f" $$ BEGIN {{0}} COMMIT; {NAP} {{1}} COMMIT; {NAP} {{2}} COMMIT; END $$;"
        " CALL public.batches(); {3} COMMIT; {4}",
        "DROP PROCEDURE public.batches(); {0}",
    ),
    *[QUICK] * 3,
    Migration("{0} COMMIT; {1}" + PAUSE),
    QUICK,
)
"""Atomic files, files with their own transactions, statements that cannot be in a transaction, and statements
that commit in part."""

LAST = len(MIGRATIONS)


@cache
def files() -> Mapping[str, str]:
    """The migrations as files."""
    return {
        f"{version:03}_it.{direction}.sql": migration.text(version, direction)
        for version, migration in enumerate(MIGRATIONS, 1)
        for direction in ("up", "down")
    }


@dataclass(frozen=True)
class Road:
    """A command, and the way it takes."""

    command: tuple[str, ...]
    start: int
    stops: tuple[tuple[int, tuple[str, ...]], ...]
    """Each file: the version that it leads to, and its bodies."""

    @classmethod
    def up(cls) -> "Road":
        stops = ((version, one.bodies(version, "up")) for version, one in enumerate(MIGRATIONS, 1))
        return cls(("up",), NIL, tuple(stops))

    @classmethod
    def down(cls) -> "Road":
        """To version 1."""
        downs = (
            (version - 1, MIGRATIONS[version - 1].bodies(version, "down")) for version in range(LAST, 1, -1)
        )
        return cls(("goto", "1"), LAST, tuple(downs))

    @property
    def end(self) -> int:
        return self.stops[-1][0]

    def bodies(self, count: int) -> tuple[str, ...]:
        """Of the first ``count`` files."""
        return tuple(name for _, names in self.stops[:count] for name in names)

    def check(self, database: Database) -> None:
        """Hold the database to the rules."""
        rows, executed = state(database)
        assert len(rows) < 2, f"more than one tracking row: {rows}"
        version, dirty = rows[0] if rows else (NIL, False)
        versions = [self.start, *(to for to, _ in self.stops)]
        assert version in versions, f"row {rows} is nowhere on the way"
        done = versions.index(version) - dirty
        sure = self.bodies(done)
        assert executed[: len(sure)] == sure, f"row {rows}, but executed {executed}"
        rest = executed[len(sure) :]
        begun = self.stops[done][1][: len(rest)] if dirty else ()
        assert rest == begun, f"row {rows}, but executed {executed[-5:]}"

    def check_end(self, database: Database) -> None:
        """Everything once, and nothing left over."""
        assert state(database) == (((self.end, False),), self.bodies(len(self.stops)))
        assert invalid_indexes(database) == []
        with psycopg.connect(database.dsn) as connection:
            found = connection.execute("SELECT count(*) FROM pg_indexes WHERE tablename = 'big'").fetchone()
        assert found == (2 if self.end == LAST else 0,)


@dataclass(frozen=True)
class Crash:
    """Who is killed and when: so many seconds after the command has executed so many bodies."""

    victim: Victim
    after: int
    delay: float

    def __str__(self) -> str:
        return f"{self.victim} killed {self.delay * 1000:.0f} ms after {self.after} bodies"


@dataclass(frozen=True)
class Plan:
    """What a run does, drawn from the seed and its number."""

    number: int
    road: Road
    crashes: tuple[Crash, ...]

    @classmethod
    def draw(cls, seed: str, number: int) -> "Plan":
        chance = random.Random(f"{seed}/{number}")
        road = Road.down() if chance.random() < 0.25 else Road.up()
        count = chance.choice((1, 1, 1, 2, MOST_CRASHES))
        places = sorted(chance.randrange(len(road.bodies(len(road.stops)))) for _ in range(count))
        victims = chance.choices([*VICTIMS], weights=[*VICTIMS.values()], k=count)
        crashes = (
            Crash(victim, after, chance.uniform(0, LONGEST_DELAY))
            for victim, after in zip(victims, places, strict=True)
        )
        return cls(number, road, tuple(crashes))

    def __str__(self) -> str:
        return f"{' '.join(self.road.command)}; {'; '.join(map(str, self.crashes))}"


@dataclass(frozen=True)
class Arena:
    """A server to kill, and a database on it."""

    server: Server
    database: Database
    source: Path
    log: Path
    prefork: Prefork
    """For the commands that nobody kills."""

    def prepare(self, road: Road) -> None:
        """Bring the database to the road's start."""
        reset(self.here(), None)
        if road.start != NIL:
            done = self.ours.run("up")
            assert done.code == 0, done.command
            with psycopg.connect(self.here().dsn, autocommit=True) as connection:
                connection.execute("TRUNCATE public.executed")

    @property
    def ours(self) -> Ours:
        # After a restart the server may listen elsewhere, so the string is made anew.
        return Ours(self.here().dsn, self.source, prefork=self.prefork)

    def here(self) -> Database:
        """The database, where the server listens now."""
        return Database(self.server.endpoint, self.database.name, self.database.user, self.database.password)

    def follow(self, plan: Plan) -> None:
        """Crash as planned, then go to the end of the road."""
        self.prepare(plan.road)
        said: list[str] = []
        try:
            for crash in plan.crashes:
                said.append(self.crash(plan.road, crash).command)
                plan.road.check(self.here())
            self.go_on(plan.road, said)
            plan.road.check_end(self.here())
        except AssertionError as error:
            history = "\n--- then ---\n".join(said)
            raise AssertionError(f"{error}\n{plan}\n{history}\n{self.server.log_tail(15)}") from None

    def go_on(self, road: Road, said: list[str]) -> None:
        """Reach the end; a person helps only with a statement that may have taken effect in part.

        A connection lost or a server just up again may cost one more attempt, never a repair.
        """
        attempts, repaired = 2, False
        while attempts:
            before = state(self.here())
            done = self.ours.run(*road.command)
            said.append(done.command)
            road.check(self.here())
            if done.code == 0:
                return
            if IN_DOUBT in done.output:
                assert state(self.here()) == before, "it went on unasked"
                assert not repaired, "it asks again"
                self.repair(road)
                repaired = True
            else:
                attempts -= 1
        raise AssertionError("it does not reach the end by itself")

    def repair(self, road: Road) -> None:
        """As a person would: do by hand what is missing of the file in doubt, then force its version."""
        ((version, dirty),), executed = state(self.here())
        assert dirty, "only a dirty version is in doubt"
        place = [to for to, _ in road.stops].index(version)
        missing = road.bodies(place + 1)[len(executed) :]
        with psycopg.connect(self.here().dsn, autocommit=True) as connection:
            for name in missing:
                connection.execute(body(name).encode())
        done = self.ours.run("force", str(version))
        assert done.code == 0, done.command

    def crash(self, road: Road, crash: Crash) -> Finished:
        """Start the command, kill, and bring back what is needed to look."""
        started = self.ours.start(*road.command, log=self.log)
        try:
            self.wait(crash, started)
            self.strike(crash.victim, started)
            finished = started.finish(END)
        finally:
            started.kill()
        self.settle()
        if finished.code == 0:
            # What was called done before the server died is done.
            assert state(self.here())[0] == ((road.end, False),), finished.command
        return finished

    def wait(self, crash: Crash, started: Started) -> None:
        """Until the crash's moment has come, or the command has ended."""
        with psycopg.connect(self.server.dsn(self.database.name), autocommit=True) as admin:

            def come() -> bool:
                found = admin.execute(
                    "SELECT count(*) >= %s AND EXISTS (SELECT FROM pg_stat_activity"
                    " WHERE datname = current_database() AND usename = %s) FROM public.executed",
                    [crash.after, self.database.user],
                ).fetchone()
                return found == (True,) or started.process.poll() is not None

            eventually("the command to get that far", come, END, every=0.005)
        time.sleep(crash.delay)  # the moment itself

    def strike(self, victim: Victim, started: Started) -> None:
        match victim:
            case "process":
                started.kill()
            case "connection":
                with psycopg.connect(self.server.dsn(self.database.name), autocommit=True) as admin:
                    admin.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE datname = current_database() AND usename = %s",
                        [self.database.user],
                    )
            case "server":
                self.server.kill()
                self.server.start()
            case "server stopped":
                self.server.stop("immediate", keep=True)
                self.server.start()
            case "machine":
                self.server.kill()
                started.kill()
                self.server.start()

    def settle(self) -> None:
        """Wait until no session of the killed command is left."""
        with psycopg.connect(self.server.dsn(self.database.name), autocommit=True) as admin:

            def gone() -> bool:
                found = admin.execute(
                    "SELECT count(*) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND usename = %s",
                    [self.database.user],
                ).fetchone()
                return found == (0,)

            eventually("the killed command's session to end", gone, SETTLE)
