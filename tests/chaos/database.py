"""A set's database, which notes what each of its tracking rows was, and when."""

import secrets
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from math import inf
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from dev.postgres_server import Server
from fluxbase_migrations.core.names import TRACKING_TABLE, Track
from tests.chaos.rows import Interval, State, intervals, since, states
from tests.support.databases import administer, create_database, create_login, drop_database

SETTINGS = {"track_commit_timestamp": "on"}
"""What the server must be started with."""

NOTES: LiteralString = """
    CREATE TABLE public.executed (id bigserial PRIMARY KEY, body text NOT NULL);
    ALTER TABLE public.executed OWNER TO {owner};
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.notes
        (id bigserial PRIMARY KEY, of_table text, inserted boolean, version bigint, dirty boolean);
    CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO chaos.notes (of_table, inserted, version, dirty)
        VALUES (TG_TABLE_NAME, TG_OP = 'INSERT',
            CASE TG_OP WHEN 'INSERT' THEN NEW.version END, CASE TG_OP WHEN 'INSERT' THEN NEW.dirty END);
        RETURN NULL;
    END $$;
    CREATE FUNCTION chaos.attach() RETURNS event_trigger LANGUAGE plpgsql AS $$
    DECLARE made record;
    BEGIN
        FOR made IN SELECT * FROM pg_event_trigger_ddl_commands() WHERE command_tag = 'CREATE TABLE'
            AND object_identity IN ('migrations.app', 'migrations.fluxbase')
        LOOP
            EXECUTE format('CREATE TRIGGER chaos AFTER INSERT OR DELETE ON %s'
                ' FOR EACH ROW EXECUTE FUNCTION chaos.note()', made.object_identity);
        END LOOP;
    END $$;
    GRANT USAGE ON SCHEMA chaos TO public;
    CREATE EVENT TRIGGER chaos ON ddl_command_end EXECUTE FUNCTION chaos.attach();
"""

ANSWER = 60.0
"""Seconds in which the server must do what it is told, a restart included."""
PAUSE = 0.1


@dataclass(frozen=True)
class Login:
    """A role that owns databases."""

    server: Server
    name: str
    password: str

    @classmethod
    def create(cls, server: Server) -> "Login":
        made = cls(server, f"chaos_{secrets.token_hex(6)}", secrets.token_hex(8))
        create_login(server.endpoint, made.name, made.password)
        return made


@dataclass
class Database:
    """A database, whatever its name is now: a name may be given to another one."""

    login: Login
    name: str
    oid: int
    born: float = 0.0
    """A copy: when it was made. What its tables say of the time before is about the original."""

    @classmethod
    def create(cls, login: Login) -> "Database":
        """An empty one that takes notes."""
        name, server = _fresh(), login.server
        create_database(server.endpoint, name, login.name)
        with psycopg.connect(server.dsn(name)) as connection:
            connection.execute(sql.SQL(NOTES).format(owner=sql.Identifier(login.name)))
        return cls(login, name, _oid(server, name))

    def copy(self) -> "Database":
        """A copy under a name of its own; whoever is connected is thrown out."""
        name = _fresh()
        self._closed(
            sql.SQL("CREATE DATABASE {} OWNER {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(self.login.name), sql.Identifier(self.name)
            )
        )
        return Database(self.login, name, _oid(self._server, name), time.time())

    def rename(self, name: str) -> None:
        """Give it another name; whoever is connected is thrown out. It may have been done already."""
        if self._query_server("SELECT datname FROM pg_database WHERE oid = %s", self.oid) != [(name,)]:
            self._closed(
                sql.SQL("ALTER DATABASE {} RENAME TO {}").format(
                    sql.Identifier(self.name), sql.Identifier(name)
                )
            )
        self.name = name

    def leave(self) -> None:
        """As if it were dropped, for those who know its name."""
        self.rename(_fresh())

    @property
    def url(self) -> str:
        """As the set's Secret has it."""
        return self._server.dsn(self.name, self.login.name, self.login.password)

    @property
    def _server(self) -> Server:
        return self.login.server

    def drop(self) -> None:
        drop_database(self._server.endpoint, self.name)

    def query(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._server.dsn(self.name), autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def row(self, track: Track = Track.USER) -> list[tuple[int, bool]]:
        """What the tracking table holds; nothing if there is none."""
        table = sql.Identifier(*TRACKING_TABLE[track])
        with psycopg.connect(self._server.dsn(self.name), autocommit=True) as connection:
            try:
                rows = connection.execute(sql.SQL("SELECT version, dirty FROM {}").format(table)).fetchall()
            except psycopg.errors.UndefinedTable:
                return []
        return [(version, dirty) for version, dirty in rows]

    def executed(self) -> list[str]:
        """Every body that was committed, in order."""
        return [body for (body,) in self.query("SELECT body FROM public.executed ORDER BY id")]

    def applied(self, track: Track) -> dict[int, list[str]]:
        """The history's view of each version: ``up`` and ``down`` in order."""
        found: dict[int, list[str]] = defaultdict(list)
        if not self._has_history():
            return found
        for version, direction in self.query(
            "SELECT version, direction FROM migrations.history"
            " WHERE table_name = %s AND kind = 'migration' AND outcome = 'applied' ORDER BY id",
            TRACKING_TABLE[track][1],
        ):
            found[version].append(direction)
        return dict(found)

    def obeyed(self) -> list[str]:
        """The tokens of the commands that were obeyed here, not in what it was copied from."""
        if not self._has_history():
            return []
        rows = self.query(
            "SELECT token FROM migrations.history WHERE kind IN ('force', 'owner') AND token IS NOT NULL"
            " AND extract(epoch FROM started_at) > %s ORDER BY id",
            self.born,
        )
        return [token for (token,) in rows]

    def owned(self, track: Track) -> dict[str, list[Interval]]:
        """When which set's uid owned a track."""
        if not self._has_history():
            return {}
        entries = self.query(
            "SELECT details->>'uid', extract(epoch FROM started_at)::float8 FROM migrations.history"
            " WHERE table_name = %s AND kind = 'owner' ORDER BY id",
            TRACKING_TABLE[track][1],
        )
        found: dict[str, list[Interval]] = defaultdict(list)
        for (uid, begin), (_, until) in pairwise([*entries, ("", inf)]):
            found[uid].append((begin, until))
        return dict(found)

    def history_id(self) -> str | None:
        """What the history says that it is."""
        if not self._has_history():
            return None
        rows = self.query("SELECT attempt::text FROM migrations.history WHERE kind = 'identity'")
        return rows[0][0] if rows else None

    def states(self) -> dict[Track, list[State]]:
        """What each track's row was, oldest first; of a copy, from when it was made."""
        notes = self.query(
            "SELECT of_table, xmin::text, inserted, version, dirty,"
            " extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM chaos.notes ORDER BY id"
        )
        by_table = {table: track for track, (_, table) in TRACKING_TABLE.items()}
        return {
            track: since(self.born, states([note for note in notes if by_table[note[0]] is track]))
            for track in Track
        }

    def dirty(self) -> dict[Track, list[Interval]]:
        """When each track's row was dirty."""
        return {track: intervals(found) for track, found in self.states().items()}

    def history(self) -> str:
        """For a person who looks at a failure."""
        if not self._has_history():
            return "(no history)"
        rows = self.query(
            "SELECT id, table_name, kind, version, direction, outcome, done, statements, proven, token,"
            " started_at::time, finished_at::time, coalesce(error->>'message', details::text)"
            " FROM migrations.history ORDER BY id"
        )
        return "\n".join(" ".join(str(value) for value in row) for row in rows)

    def _has_history(self) -> bool:
        found = self.query(
            "SELECT 1 FROM pg_tables WHERE (schemaname, tablename) = ('migrations', 'history')"
        )
        return bool(found)

    def _query_server(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self._server.dsn(), autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def _closed(self, statement: sql.Composed) -> None:
        """Do what cannot be done while somebody is connected."""
        try:
            self._allow(connections=False)
            self._query_server(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datid = %s", self.oid
            )
            administer(self._server.endpoint, statement)
        finally:
            self._allow(connections=True)

    def _allow(self, *, connections: bool) -> None:
        """By its present name: a statement that was cut off from its answer may have given it another."""
        end = time.monotonic() + ANSWER
        while True:
            try:
                (name,) = self._query_server("SELECT datname FROM pg_database WHERE oid = %s", self.oid)[0]
                administer(
                    self._server.endpoint,
                    sql.SQL("ALTER DATABASE {} ALLOW_CONNECTIONS {}").format(
                        sql.Identifier(name), sql.Literal(connections)
                    ),
                )
                return
            except psycopg.Error:
                if time.monotonic() > end:
                    raise
                time.sleep(PAUSE)


def _fresh() -> str:
    return f"chaos_{secrets.token_hex(6)}"


def _oid(server: Server, name: str) -> int:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        found = connection.execute("SELECT oid::int8 FROM pg_database WHERE datname = %s", (name,)).fetchone()
    assert found is not None, name
    oid: int = found[0]
    return oid
