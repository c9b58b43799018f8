"""A set's database, which notes when each of its tracking rows was dirty."""

import secrets
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import inf
from typing import Any, LiteralString

import psycopg
from psycopg import sql

from fluxbase_migrations.core.names import TRACKING_TABLE, Track
from tests.conftest import create_database, create_login, drop_database
from tests.postgres_server import Server

SETTINGS = {"track_commit_timestamp": "on"}
"""What the server must be started with."""

NOTES: LiteralString = """
    CREATE TABLE public.executed (id bigserial PRIMARY KEY, body text NOT NULL);
    ALTER TABLE public.executed OWNER TO {owner};
    CREATE SCHEMA chaos;
    CREATE TABLE chaos.notes (id bigserial PRIMARY KEY, of_table text, inserted boolean, dirty boolean);
    CREATE FUNCTION chaos.note() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
    BEGIN
        INSERT INTO chaos.notes (of_table, inserted, dirty)
        VALUES (TG_TABLE_NAME, TG_OP = 'INSERT', CASE TG_OP WHEN 'INSERT' THEN NEW.dirty END);
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

Interval = tuple[float, float]
"""From and until, seconds of the clock."""


@dataclass(frozen=True)
class Database:
    """A database with a login of its own that owns it."""

    server: Server
    name: str
    password: str

    @classmethod
    def create(cls, server: Server) -> "Database":
        made = cls(server, f"chaos_{secrets.token_hex(6)}", secrets.token_hex(8))
        create_login(server.endpoint, made.name, made.password)
        create_database(server.endpoint, made.name, made.name)
        with psycopg.connect(server.dsn(made.name)) as connection:
            connection.execute(sql.SQL(NOTES).format(owner=sql.Identifier(made.name)))
        return made

    @property
    def url(self) -> str:
        """As the set's Secret has it."""
        return self.server.dsn(self.name, self.name, self.password)

    def drop(self) -> None:
        drop_database(self.server.endpoint, self.name)

    def query(self, statement: LiteralString, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.server.dsn(self.name), autocommit=True) as connection:
            return connection.execute(statement, values).fetchall()

    def row(self, track: Track = Track.USER) -> list[tuple[int, bool]]:
        """What the tracking table holds; nothing if there is none."""
        table = sql.Identifier(*TRACKING_TABLE[track])
        with psycopg.connect(self.server.dsn(self.name), autocommit=True) as connection:
            try:
                rows = connection.execute(sql.SQL("SELECT version, dirty FROM {}").format(table)).fetchall()
            except psycopg.errors.UndefinedTable:
                return []
        return [(version, dirty) for version, dirty in rows]

    def executed(self) -> list[str]:
        """Every body that was committed, in order."""
        return [body for (body,) in self.query("SELECT body FROM public.executed ORDER BY id")]

    def applied(self, track: Track) -> dict[int, list[str]]:
        """The ledger's view of each version: ``up`` and ``down`` in order."""
        found: dict[int, list[str]] = defaultdict(list)
        for version, direction in self.query(
            "SELECT version, direction FROM migrations.history"
            " WHERE table_name = %s AND kind = 'migration' AND outcome = 'applied' ORDER BY id",
            TRACKING_TABLE[track][1],
        ):
            found[version].append(direction)
        return dict(found)

    def forced(self) -> list[str]:
        """The tokens of the force commands that were obeyed."""
        rows = self.query("SELECT token FROM migrations.history WHERE kind = 'force' ORDER BY id")
        return [token for (token,) in rows]

    def dirty(self) -> dict[Track, list[Interval]]:
        """When each track's row was dirty."""
        notes = self.query(
            "SELECT of_table, xmin::text, inserted, dirty,"
            " extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 FROM chaos.notes ORDER BY id"
        )
        by_table = {table: track for track, (_, table) in TRACKING_TABLE.items()}
        return {track: intervals([note for note in notes if by_table[note[0]] is track]) for track in Track}

    def ledger(self) -> str:
        """For a person who looks at a failure."""
        if not self.query(
            "SELECT 1 FROM pg_tables WHERE (schemaname, tablename) = ('migrations', 'history')"
        ):
            return "(no ledger)"
        rows = self.query(
            "SELECT id, table_name, kind, version, direction, outcome, done, statements, proven, token,"
            " started_at::time, finished_at::time, coalesce(error->>'message', details::text)"
            " FROM migrations.history ORDER BY id"
        )
        return "\n".join(" ".join(str(value) for value in row) for row in rows)


def intervals(notes: Sequence[tuple[Any, ...]]) -> list[Interval]:
    """When notes (table, transaction, inserted, dirty, time of its commit) say that a row was dirty.

    A transaction's last note is what it left.
    """
    found: list[Interval] = []
    since: float | None = None
    for _, (*_, last) in groupby(notes, key=lambda note: note[1]):
        _, _, inserted, dirty, at = last
        if inserted and dirty and since is None:
            since = at
        elif not (inserted and dirty) and since is not None:
            found.append((since, at))
            since = None
    return [*found, (since, inf)] if since is not None else found
