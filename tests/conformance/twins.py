"""Two databases in the same state, one for each command line, and what can be seen after a command."""

import re
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from dev.peers import Finished, GolangMigrate, Ours, Peer, write_files
from dev.prefork import Prefork
from tests.conformance.cases import Case, Row
from tests.support.databases import Database

# Until PostgreSQL 14 a database's owner does not own its schema public.
EMPTY: LiteralString = """
    SET client_min_messages = warning;
    DROP SCHEMA IF EXISTS migrations CASCADE;
    DROP SCHEMA public CASCADE;
    CREATE SCHEMA public AUTHORIZATION {owner};
    SET SESSION AUTHORIZATION {owner};
"""
FIXTURES: LiteralString = """
    CREATE TABLE public.executed (id bigserial PRIMARY KEY, body text NOT NULL);
    CREATE TYPE public.mood AS ENUM ('sad');
    CREATE SCHEMA migrations;
"""
TABLE: LiteralString = """
    CREATE TABLE migrations.app (version bigint NOT NULL PRIMARY KEY, dirty boolean NOT NULL);
"""

# In this order: golang-migrate's longer messages contain the shorter ones, and it repeats the file's text.
MESSAGES = (
    r"Dirty database version -?\d+",
    r"no migration found for version \d+",
    r"limit \d+ short",
    r"file does not exist",
    r"no migration(?= \(dirty\)$|$)",
    r"no change",
    r"^-?\d+ \(dirty\)$",
    r"^-?\d+$",
    r"division by zero",
    r"syntax error at or near",
    r"duplicate key value",
    r"invalid byte sequence",
)


@dataclass(frozen=True)
class Seen:
    """What a command did, as far as the two can be held to each other."""

    rows: tuple[Row, ...]
    """The tracking table's; empty also if there is no table."""
    bodies: tuple[str, ...]
    """Of the files, in the order they were executed."""
    code: int
    message: str
    """golang-migrate's words where it has some, else ``done`` or ``other error``."""


@dataclass(frozen=True)
class Twins:
    """One database for each."""

    ours: Database
    theirs: Database
    directory: Path
    prefork: Prefork

    def compare(self, case: Case) -> tuple[Seen, Seen, str]:
        """What ours did, what golang-migrate did, and both processes' output."""
        with tempfile.TemporaryDirectory(dir=self.directory) as name:
            source = write_files(Path(name), case.files)
            ours, our_words = see(
                self.ours, Ours(self.ours.dsn, source, prefork=self.prefork), case, case.ours
            )
            theirs, their_words = see(self.theirs, GolangMigrate(self.theirs.dsn, source), case, case.theirs)
        return ours, theirs, f"{our_words.command}\n{their_words.command}"


def see(database: Database, peer: Peer, case: Case, command: tuple[str, ...]) -> tuple[Seen, Finished]:
    """Bring the database into the case's state, run the command, and look."""
    reset(database, case.start, table=case.table)
    finished = peer.run(*command, stdin=case.stdin, timeout=60)
    rows, bodies = state(database)
    return Seen(rows, bodies, finished.code, message(finished)), finished


def reset(database: Database, row: Row | None, *, table: bool = True) -> None:
    """Nothing executed, and this tracking row."""
    with psycopg.connect(database.admin_dsn, autocommit=True) as connection:
        connection.execute(sql.SQL(EMPTY).format(owner=sql.Identifier(database.user)))
        connection.execute(FIXTURES + TABLE if table else FIXTURES)
        if row is not None:
            connection.execute("INSERT INTO migrations.app VALUES (%s, %s)", row)


def state(database: Database, table: str = "migrations.app") -> tuple[tuple[Row, ...], tuple[str, ...]]:
    """The tracking rows and the executed bodies."""
    with psycopg.connect(database.dsn, autocommit=True) as connection:
        exists = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
        rows: list[Row] = []
        if exists is not None and exists[0] is not None:
            rows = connection.execute(f"SELECT version, dirty FROM {table} ORDER BY 1").fetchall()
        bodies = connection.execute("SELECT body FROM public.executed ORDER BY id").fetchall()
    return tuple((version, dirty) for version, dirty in rows), tuple(body for (body,) in bodies)


def message(finished: Finished) -> str:
    """The one phrase that tells what happened."""
    for pattern in MESSAGES:
        found = re.search(pattern, finished.output, re.MULTILINE)
        if found:
            return found[0]
    return "done" if finished.code == 0 else "other error"


def differences(ours: Seen, theirs: Seen) -> Mapping[str, tuple[object, object]]:
    """Aspect → (ours, theirs), where they are not equal."""
    return {
        name: (getattr(ours, name), getattr(theirs, name))
        for name in Seen.__dataclass_fields__
        if getattr(ours, name) != getattr(theirs, name)
    }
