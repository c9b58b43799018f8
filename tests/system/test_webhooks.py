"""Webhooks: the application's writes never fail because of them, and no delivery is sent twice or lost."""

from collections.abc import Iterator
from typing import Any, LiteralString
from uuid import UUID

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.gateway import rows
from tests.system.track import Connection, connect

CLAIM: LiteralString = "SELECT delivery_id, attempt FROM webhooks.claim('sender', at_most => 10)"
WATCH: LiteralString = (
    "CREATE TRIGGER webhooks AFTER INSERT OR UPDATE OR DELETE ON public.notes"
    " FOR EACH ROW EXECUTE FUNCTION webhooks.capture()"
)
SEQUENCE: LiteralString = "SELECT payload FROM webhooks.deliveries ORDER BY sequence"


@pytest.fixture(scope="module")
def standing_hooks(standing: Database) -> Iterator[Connection]:
    with connect(standing.dsn) as connection:
        yield connection


@pytest.fixture
def hooks(standing_hooks: Connection) -> Iterator[Connection]:
    """A connection in a transaction of one test, which is rolled back."""
    with standing_hooks.transaction(force_rollback=True):
        yield standing_hooks


def watched_table(
    connection: Connection, create: LiteralString = "CREATE TABLE public.notes (id int)"
) -> UUID:
    """An endpoint that gets every change of public.notes."""
    connection.execute(create)
    connection.execute(WATCH)
    ((endpoint,),) = connection.execute(
        "INSERT INTO webhooks.endpoints (name, url, max_attempts)"
        " VALUES ('erp', 'https://erp.example/hook', 2) RETURNING id"
    ).fetchall()
    subscribe(connection, endpoint)
    assert isinstance(endpoint, UUID)
    return endpoint


def subscribe(connection: Connection, endpoint: UUID, relation: str = "public.notes") -> None:
    connection.execute(
        "INSERT INTO webhooks.subscriptions (endpoint_id, relation) VALUES (%s, %s)", [endpoint, relation]
    )


def call(connection: Connection, query: LiteralString, *arguments: Any) -> Any:
    ((value,),) = connection.execute(query, arguments).fetchall()
    return value


def payloads(connection: Connection) -> list[dict[str, Any]]:
    return [payload for (payload,) in connection.execute(SEQUENCE).fetchall()]


# --- Capturing


def test_deleting_an_endpoint_never_fails_or_delays_a_write(platform: Database) -> None:
    with connect(platform.dsn) as one, connect(platform.dsn) as two:
        endpoint = watched_table(one)
        two.execute("SET lock_timeout = '1s'")
        with one.transaction():
            assert call(one, "SELECT webhooks.delete_endpoint(%s)", endpoint) is True
            two.execute("INSERT INTO notes VALUES (1)")
        with one.transaction():
            one.execute("INSERT INTO notes VALUES (2)")
            two.execute("DELETE FROM webhooks.endpoints")
            one.execute("INSERT INTO notes VALUES (3)")
        assert rows(two, CLAIM, "service_role") == []
        assert rows(two, "SELECT webhooks.purge()", "service_role") == [(1,)]
        assert two.execute("SELECT count(*) FROM notes").fetchall() == [(3,)]


def test_the_service_marks_endpoints_and_purge_removes_them(hooks: Connection) -> None:
    endpoint = watched_table(hooks)
    hooks.execute("INSERT INTO notes VALUES (1)")
    with pytest.raises(psycopg.errors.InsufficientPrivilege), hooks.transaction():
        rows(hooks, "DELETE FROM webhooks.endpoints RETURNING 1", "service_role")
    assert call(hooks, "SELECT webhooks.delete_endpoint(%s)", endpoint) is True
    assert call(hooks, "SELECT webhooks.delete_endpoint(%s)", endpoint) is False
    hooks.execute("INSERT INTO notes VALUES (2)")
    assert len(payloads(hooks)) == 1
    hooks.execute("INSERT INTO webhooks.endpoints (name, url) VALUES ('erp', 'https://erp.example/new')")
    hooks.execute(
        "UPDATE webhooks.endpoints SET deleted_at = now() - interval '1 day' WHERE id = %s", [endpoint]
    )
    assert rows(hooks, "SELECT webhooks.purge(interval '1 hour')", "service_role") == [(1,)]
    assert hooks.execute("SELECT url FROM webhooks.endpoints").fetchall() == [("https://erp.example/new",)]


def test_a_row_that_cannot_become_json_is_written_and_told_of_without_it(hooks: Connection) -> None:
    hooks.execute("CREATE TYPE public.odd AS ENUM ('a')")
    hooks.execute(
        "CREATE FUNCTION public.odd_json(odd) RETURNS json LANGUAGE plpgsql"
        " AS $$ BEGIN RAISE EXCEPTION 'no json of this'; END $$"
    )
    hooks.execute("CREATE CAST (odd AS json) WITH FUNCTION public.odd_json(odd)")
    watched_table(hooks, "CREATE TABLE public.notes (id odd)")
    hooks.execute("INSERT INTO notes VALUES ('a')")
    hooks.execute("DELETE FROM notes")
    first, second = payloads(hooks)
    assert first["problem"] == "P0001: no json of this"
    assert (first["operation"], first["new"], second["operation"]) == ("INSERT", None, "DELETE")


def test_a_row_larger_than_a_payload_can_be_is_written(hooks: Connection) -> None:
    watched_table(hooks, "CREATE TABLE public.notes (id text, more text)")
    hooks.execute("INSERT INTO notes SELECT repeat('x', 70000000), repeat('y', 70000000)")
    (payload,) = payloads(hooks)
    assert payload["problem"].startswith("54000: ")
    assert call(hooks, "SELECT count(*) FROM notes") == 1


def test_changes_of_partitions_are_those_of_the_partitioned_table(hooks: Connection) -> None:
    watched_table(hooks, "CREATE TABLE public.notes (id int) PARTITION BY RANGE (id)")
    hooks.execute("CREATE TABLE public.notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (10)")
    hooks.execute(
        "CREATE TABLE public.notes_2 PARTITION OF notes FOR VALUES FROM (10) TO (20) PARTITION BY LIST (id)"
    )
    hooks.execute("CREATE TABLE public.notes_2_1 PARTITION OF notes_2 FOR VALUES IN (11)")
    hooks.execute("INSERT INTO notes VALUES (1), (11)")
    assert [(payload["table"], payload["new"]["id"]) for payload in payloads(hooks)] == [
        ("notes", 1),
        ("notes", 11),
    ]


def test_who_subscribes_to_a_partition_as_well_is_told_once(hooks: Connection) -> None:
    endpoint = watched_table(hooks, "CREATE TABLE public.notes (id int) PARTITION BY RANGE (id)")
    hooks.execute("CREATE TABLE public.notes_1 PARTITION OF notes FOR VALUES FROM (0) TO (10)")
    subscribe(hooks, endpoint, "public.notes_1")
    hooks.execute("INSERT INTO notes VALUES (1)")
    assert len(payloads(hooks)) == 1


def test_a_subscription_outlives_the_tables_name(hooks: Connection) -> None:
    watched_table(hooks)
    hooks.execute("CREATE SCHEMA archive")
    hooks.execute("ALTER TABLE notes SET SCHEMA archive")
    hooks.execute("ALTER TABLE archive.notes RENAME TO remarks")
    hooks.execute("INSERT INTO archive.remarks VALUES (1)")
    (payload,) = payloads(hooks)
    assert (payload["schema"], payload["table"], payload["new"]) == ("archive", "remarks", {"id": 1})


def test_the_changes_of_a_transaction_come_in_their_order(hooks: Connection) -> None:
    watched_table(hooks)
    for number in range(20):
        hooks.execute("INSERT INTO notes VALUES (%s)", [number])
    claimed = hooks.execute(
        "SELECT payload -> 'new' ->> 'id' FROM webhooks.claim('s', at_most => 20)"
    ).fetchall()
    assert claimed == [(str(number),) for number in range(20)]


# --- Sending


def test_a_delivery_comes_with_all_that_sending_it_needs(hooks: Connection) -> None:
    endpoint = watched_table(hooks)
    hooks.execute("INSERT INTO webhooks.signing_secrets VALUES (%s, %s)", [endpoint, b"sealed"])
    hooks.execute("INSERT INTO notes VALUES (1)")
    claimed = rows(
        hooks,
        "SELECT attempt, endpoint_id, url, headers, secret_encrypted, timeout_seconds,"
        " payload ->> 'operation' FROM webhooks.claim('sender')",
        "service_role",
    )
    assert claimed == [(1, endpoint, "https://erp.example/hook", {}, b"sealed", 10, "INSERT")]


def test_a_delivery_is_tried_up_to_its_limit_and_a_dead_letter_can_be_sent_again(hooks: Connection) -> None:
    watched_table(hooks)
    hooks.execute("INSERT INTO notes VALUES (1)")
    fail: LiteralString = "SELECT webhooks.fail(%s, %s, 'no answer', 503, interval '0')"
    for attempt in (1, 2):
        ((delivery, number),) = rows(hooks, CLAIM, "service_role")
        assert number == attempt
        assert call(hooks, fail, delivery, attempt + 1) is False
        assert call(hooks, fail, delivery, attempt) is True
    assert rows(hooks, CLAIM, "service_role") == []
    seen: LiteralString = "SELECT status, response_status, last_error FROM webhooks.deliveries"
    assert hooks.execute(seen).fetchall() == [("failed", 503, "no answer")]
    assert call(hooks, "SELECT webhooks.retry(%s)", delivery) is True
    assert rows(hooks, CLAIM, "service_role") == [(delivery, 3)]
    assert call(hooks, "SELECT webhooks.complete(%s, 3, 200)", delivery) is True
    assert call(hooks, "SELECT webhooks.complete(%s, 3, 200)", delivery) is False
    assert hooks.execute(seen).fetchall() == [("delivered", 200, None)]


def test_a_sender_whose_lease_has_expired_can_report_nothing(hooks: Connection) -> None:
    watched_table(hooks)
    hooks.execute("INSERT INTO notes VALUES (1)")
    ((delivery, attempt),) = rows(hooks, CLAIM, "service_role")
    expire: LiteralString = "UPDATE webhooks.deliveries SET lease_expires_at = now() - interval '1 second'"
    hooks.execute(expire)
    assert call(hooks, "SELECT webhooks.complete(%s, %s)", delivery, attempt) is False
    assert call(hooks, "SELECT webhooks.fail(%s, %s, 'late')", delivery, attempt) is False
    assert rows(hooks, CLAIM, "service_role") == [(delivery, 2)]
    assert call(hooks, "SELECT webhooks.complete(%s, %s)", delivery, attempt) is False
    hooks.execute(expire)
    assert rows(hooks, CLAIM, "service_role") == []
    assert hooks.execute("SELECT status FROM webhooks.deliveries").fetchall() == [("failed",)]


def test_a_disabled_endpoints_deliveries_wait(hooks: Connection) -> None:
    watched_table(hooks)
    hooks.execute("INSERT INTO notes VALUES (1)")
    hooks.execute("UPDATE webhooks.endpoints SET enabled = false")
    assert rows(hooks, CLAIM, "service_role") == []
    hooks.execute("UPDATE webhooks.endpoints SET enabled = true")
    assert len(rows(hooks, CLAIM, "service_role")) == 1


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("url", "ftp://erp.example/hook"),
        ("url", "file:///etc/passwd"),
        ("url", "https://"),
        ("url", "https:///path"),
        ("url", "https://user:password@erp.example/"),
        ("url", "https://erp.example/a b"),
        ("url", "https://erp.example/\x01"),
        ("url", "https://erp.example/" + "x" * 2048),
        ("headers", '{"X-Token": "a\\r\\nHost: other"}'),
        ("headers", '{"X Token": "a"}'),
        ("headers", '{"X-Token": 1}'),
        ("headers", '["X-Token"]'),
    ],
)
def test_an_endpoint_that_no_sender_should_call_is_refused(
    hooks: Connection, column: str, value: str
) -> None:
    values = {"url": "https://erp.example/", "headers": "{}"} | {column: value}
    with pytest.raises(psycopg.errors.CheckViolation):
        hooks.execute(
            "INSERT INTO webhooks.endpoints (name, url, headers) VALUES ('x', %(url)s, %(headers)s)", values
        )


@pytest.mark.parametrize(
    "url", ["http://erp", "https://erp.example:8443/a?b=c#d", "https://[2001:db8::1]/hook"]
)
def test_an_ordinary_endpoint_is_accepted(hooks: Connection, url: str) -> None:
    hooks.execute(
        "INSERT INTO webhooks.endpoints (name, url, headers) VALUES ('x', %s, %s)",
        [url, '{"X-Token": "a b c", "Authorization": "Bearer x"}'],
    )
