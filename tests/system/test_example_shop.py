"""The example is the seed's, applies after the system track, and its version 5 fails and is repaired."""

import hashlib
from collections.abc import Iterator

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.catalog import picture
from tests.system.track import EXAMPLES, Connection, connect, run_example

VERSIONS = [
    "001_create_products_table",
    "002_create_orders_table",
    "003_add_product_sku",
    "004_change_price_precision",
]

# How the SHA-256 of the seed's code blocks begins: the examples are its SQL to the byte.
VERBATIM = {
    "migrations/001_create_products_table.up.sql": "33f50e27e9cbcb66",
    "migrations/001_create_products_table.down.sql": "1249ade284b1be43",
    "migrations/002_create_orders_table.up.sql": "eb4e27c96dedcc62",
    "migrations/003_add_product_sku.up.sql": "34b89b727a5b2c1d",
    "migrations/004_change_price_precision.up.sql": "a742d5a37cd03843",
    "failure/005_add_order_status_enum.up.sql": "049680044198ef31",
}


@pytest.fixture
def shop(platform: Database) -> Iterator[Connection]:
    with connect(platform.dsn) as connection:
        yield connection


@pytest.mark.parametrize("name", VERBATIM)
def test_the_seeds_files_are_verbatim(name: str) -> None:
    assert hashlib.sha256((EXAMPLES / name).read_bytes()).hexdigest()[:16] == VERBATIM[name]


def test_each_down_restores_what_its_up_found(shop: Connection) -> None:
    for name in VERSIONS:
        before = picture(shop)
        run_example(shop, f"migrations/{name}.up.sql")
        assert picture(shop) != before
        run_example(shop, f"migrations/{name}.down.sql")
        assert picture(shop) == before, name
        run_example(shop, f"migrations/{name}.up.sql")


def test_version_5_fails_as_printed_and_leaves_nothing(shop: Connection) -> None:
    for name in VERSIONS:
        run_example(shop, f"migrations/{name}.up.sql")
    before = picture(shop)
    with pytest.raises(psycopg.errors.DatatypeMismatch, match='default for column "status" cannot be cast'):
        run_example(shop, "failure/005_add_order_status_enum.up.sql")
    assert picture(shop) == before


def test_version_5_corrected_keeps_the_orders_and_the_default(shop: Connection) -> None:
    for name in VERSIONS:
        run_example(shop, f"migrations/{name}.up.sql")
    before = picture(shop)
    shop.execute(
        "WITH ada AS (INSERT INTO auth.app_users (email) VALUES ('ada@example.com') RETURNING id)"
        " INSERT INTO orders (user_id, total, status) SELECT id, 10, 'shipped' FROM ada"
    )
    run_example(shop, "fixed/005_add_order_status_enum.up.sql")
    shop.execute("INSERT INTO orders (user_id, total) SELECT user_id, 20 FROM orders")
    query = "SELECT status::text, pg_typeof(status)::text FROM orders ORDER BY total"
    assert shop.execute(query).fetchall() == [("shipped", "order_status"), ("pending", "order_status")]
    run_example(shop, "fixed/005_add_order_status_enum.down.sql")
    assert shop.execute(query).fetchall() == [("shipped", "text"), ("pending", "text")]
    assert picture(shop) == before
