"""A role that does not own the tracking table's schema."""

import secrets
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from dev.peers import GolangMigrate, Ours, write_files
from tests.conformance.cases import body
from tests.conformance.twins import reset, state
from tests.support.databases import Database, create_login, drop_role

# The background work is for all tests of one process.
pytestmark = pytest.mark.xdist_group("conformance")


@pytest.fixture
def guest(database: Database) -> Iterator[Database]:
    """The database as seen by a role that may only use what is there."""
    reset(database, None)
    login = Database(database.server, database.name, f"guest_{secrets.token_hex(4)}", secrets.token_hex(8))
    create_login(database.server, login.user, login.password, "")
    with psycopg.connect(database.dsn, autocommit=True) as owner:
        role = sql.Identifier(login.user)
        owner.execute(sql.SQL("GRANT USAGE ON SCHEMA public, migrations TO {}").format(role))
        owner.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA public, migrations TO {}").format(role))
        owner.execute(sql.SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA public TO {}").format(role))
    yield login
    with psycopg.connect(database.admin_dsn, autocommit=True) as admin:
        admin.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(login.user)))
    drop_role(database.server, login.user)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write_files(tmp_path / "source", {"1_one.up.sql": body("1/up"), "1_one.down.sql": body("1/down")})


def test_tables_that_exist_and_are_granted_are_enough(
    guest: Database, database: Database, source: Path
) -> None:
    """golang-migrate needs its one table; ours needs the history beside it, and says so."""
    assert GolangMigrate(guest.dsn, source).run("up").code == 0
    assert GolangMigrate(guest.dsn, source).run("down", "1").code == 0
    refused = Ours(guest.dsn, source).run("up")
    assert refused.code == 1, refused.command
    assert "migrations.history" in refused.output
    assert state(database) == ((), ("1/up", "1/down"))

    # The owner's first run makes the history; from then on the grants are enough.
    assert Ours(database.dsn, source).run("up").code == 0
    assert Ours(database.dsn, source).run("down", "1").code == 0
    with psycopg.connect(database.dsn, autocommit=True) as owner:
        role = sql.Identifier(guest.user)
        owner.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA migrations TO {}").format(role))
        owner.execute(sql.SQL("GRANT ALL ON ALL SEQUENCES IN SCHEMA migrations TO {}").format(role))
    for command in (("up",), ("version",), ("down", "1")):
        done = Ours(guest.dsn, source).run(*command)
        assert done.code == 0, done.command
    assert state(database) == ((), ("1/up", "1/down") * 3)


def test_a_table_that_may_not_be_created_is_named(guest: Database, database: Database, source: Path) -> None:
    with psycopg.connect(database.dsn, autocommit=True) as owner:
        owner.execute("DROP TABLE migrations.app")
    for peer in (Ours(guest.dsn, source), GolangMigrate(guest.dsn, source)):
        refused = peer.run("up")
        assert refused.code == 1, refused.command
        assert "migrations" in refused.output
    assert state(database) == ((), ())


def test_a_table_that_may_not_be_written_is_named_before_anything_runs(
    guest: Database, database: Database, source: Path
) -> None:
    for command in (("up",), ("down", "1")):  # the history is there
        assert Ours(database.dsn, source).run(*command).code == 0
    with psycopg.connect(database.dsn, autocommit=True) as owner:
        role = sql.Identifier(guest.user)
        owner.execute(sql.SQL("GRANT ALL ON ALL TABLES IN SCHEMA migrations TO {}").format(role))
        owner.execute(
            sql.SQL("REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON migrations.app FROM {}").format(role)
        )
    refused = Ours(guest.dsn, source).run("up")
    assert refused.code == 1, refused.command
    assert "migrations.app" in refused.output
    assert state(database) == ((), ("1/up", "1/down"))
