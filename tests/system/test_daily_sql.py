"""The statements of docs/platform.md, run in their order and as the role that each names."""

import hashlib
import re
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.contents import ROOT
from tests.system.gateway import acting
from tests.system.track import Connection, connect, run_example

PAGE = ROOT / "docs" / "platform.md"
BLOCK = re.compile(
    r"^```sql\n-- as (the login|\w+): ([^;\n]+)(?:;[^\n]*)?\n(.*?)^```", re.MULTILINE | re.DOTALL
)
OPEN = re.compile(r"^```sql\n", re.MULTILINE)

Run = Callable[..., list[tuple[Any, ...]]]


def statements() -> dict[str, tuple[str, str]]:
    """Role and SQL by the title."""
    return {title: (role, sql) for role, title, sql in BLOCK.findall(PAGE.read_text())}


def sha256(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()


class Day:
    """Runs the page's statements by their titles, and notes which were."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.statements = statements()
        self.ran: set[str] = set()

    def __call__(self, title: str, *parameters: Any, sub: str = "") -> list[tuple[Any, ...]]:
        role, text = self.statements[title]
        self.ran.add(title)
        if role == "the login":
            return self.execute(text, parameters)
        with acting(self.connection, role, sub=sub):
            return self.execute(text, parameters)

    def execute(self, text: str, parameters: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        cursor = psycopg.RawCursor(self.connection)
        cursor.execute(text.encode(), parameters)
        return cursor.fetchall() if cursor.description else []


@pytest.fixture
def day(platform: Database) -> Iterator[Day]:
    with connect(platform.dsn) as connection:
        run_example(connection, "migrations/001_create_products_table.up.sql")
        yield Day(connection)


def test_every_statement_of_the_page_has_a_role_and_a_title_of_its_own() -> None:
    text = PAGE.read_text()
    assert len(statements()) == len(BLOCK.findall(text)) == len(OPEN.findall(text))


def test_a_platforms_day(day: Day) -> None:
    users(day)
    files(day)
    webhooks(day)
    jobs(day)
    functions(day)
    assert day.ran == set(statements())


def users(day: Day) -> None:
    ((ada,),) = day("sign up", "ada@example.com", "$argon2id$x", sha256("confirm"))
    with pytest.raises(psycopg.errors.UniqueViolation):
        day("sign up", "Ada@Example.com", "$argon2id$x", sha256("other"))
    assert day("find who signs in", "ada@example.com") == []
    assert day("confirm the address", sha256("wrong")) == []
    assert day("confirm the address", sha256("confirm")) == [(ada,)]
    assert day("confirm the address", sha256("confirm")) == []
    assert day("find who signs in", "ADA@example.com") == [(ada, "authenticated", "$argon2id$x")]

    ((session,),) = day("begin a session", ada, sha256("r1"), "browser", "2001:db8::1")
    assert day("refresh", sha256("r1"), sha256("r2")) == [(session,)]
    assert day("end the session of a token that was used before", sha256("r2")) == []
    # The first token again: refused, and whoever has the second one is out as well.
    assert day("refresh", sha256("r1"), sha256("r3")) == []
    assert day("end the session of a token that was used before", sha256("r1")) == [(str(session),)]
    assert day("refresh", sha256("r2"), sha256("r4")) == []

    day("begin a session", ada, sha256("s1"), None, None)
    day("begin a session", ada, sha256("s2"), None, None)
    day("sign out everywhere", sub=str(ada))
    assert day("refresh", sha256("s1"), sha256("s3")) == []
    assert day.connection.execute("SELECT count(*) FROM auth.sessions").fetchall() == [(0,)]

    day.connection.execute(
        "INSERT INTO auth.one_time_tokens (user_id, purpose, email, token_hash, expires_at)"
        " VALUES (%s, 'reset_password', 'ada@example.com', %s, now() + interval '1 hour')",
        [ada, sha256("reset")],
    )
    assert day("reset the password, and sign out everywhere", sha256("reset"), "$argon2id$y") == [(ada,)]
    assert day("reset the password, and sign out everywhere", sha256("reset"), "$argon2id$z") == []
    assert day("find who signs in", "ada@example.com")[0][2] == "$argon2id$y"

    ((factor,),) = day.connection.execute(
        "INSERT INTO auth.mfa_factors (user_id, kind, name, secret_encrypted, confirmed_at)"
        " VALUES (%s, 'totp', 'phone', 'x', now()) RETURNING id",
        [ada],
    ).fetchall()
    assert day("accept a second factor", factor, 1000) == [(ada,)]
    assert day("accept a second factor", factor, 1000) == []
    day.connection.execute(
        "INSERT INTO auth.api_keys (user_id, name, prefix, key_hash, scopes)"
        " VALUES (%s, 'ci', 'fb_1', %s, '{read}')",
        [ada, sha256("key")],
    )
    assert day("recognize an API key", sha256("key")) == [(ada, ["read"])]
    day.connection.execute("UPDATE auth.api_keys SET revoked_at = now()")
    assert day("recognize an API key", sha256("key")) == []


def files(day: Day) -> None:
    ((ada,),) = day.connection.execute("SELECT id::text FROM auth.app_users").fetchall()
    day("allow uploads")
    day("make a public bucket")
    assert len(day("upload", f"{ada}/me.png", 10, "image/png", sub=ada)) == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
        day("upload", "somebody-else/me.png", 10, "image/png", sub=ada)
    with pytest.raises(psycopg.errors.CheckViolation):
        day("upload", f"{ada}/page.html", 10, "text/html", sub=ada)
    assert [row[0] for row in day("list a folder", f"{ada}/", "")] == [f"{ada}/me.png"]


def webhooks(day: Day) -> None:
    day("watch a table")
    day("subscribe an endpoint")
    day.connection.execute("INSERT INTO products (name, price) VALUES ('Teapot', 24.5), ('Kettle', 30)")
    (first, second) = day("claim deliveries")
    assert first[8]["new"]["name"] == "Teapot"
    assert day("report a delivery", first[0], first[1], 204) == [(True,)]
    assert day("report a delivery", first[0], first[1], 204) == [(False,)]
    assert day("report a failed delivery", second[0], second[1], "no answer", None) == [(True,)]
    assert day("claim deliveries") == []


def jobs(day: Day) -> None:
    day("queue a job", '{"to": "ada"}')
    ((job, attempt, kind, payload),) = day("claim a job")
    assert (attempt, kind, payload) == (1, "welcome", {"to": "ada"})
    assert day("go on with a long job", job, attempt) == [(True,)]
    assert day("report failure", job, attempt, "no answer") == [(True,)]
    assert day("report success", job, attempt) == [(False,)]
    assert len(day("make a schedule")) == 1
    assert day("queue what is due, every minute") == [(0,)]


def functions(day: Day) -> None:
    ((function, version),) = day("publish a function", "hello", "export default 1")
    assert version == 1
    assert day("publish a function", "hello", "export default 2") == [(function, 2)]
    day("set a secret", function, "API_TOKEN", b"sealed")
    day("set a secret", function, "API_TOKEN", b"sealed again")
    assert day.connection.execute("SELECT value_encrypted FROM functions.secrets").fetchall() == [
        (b"sealed again",)
    ]
