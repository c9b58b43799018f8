"""Storage: a file is where and what it was uploaded as, and folders are listed from an index."""

from collections.abc import Iterator
from typing import Any, LiteralString

import psycopg
import pytest

from tests.support.databases import Database
from tests.system.gateway import ADA, BOB, acting, changed, rows
from tests.system.track import Connection, connect

FILES = 60_000


@pytest.fixture(scope="module")
def standing_files(standing: Database) -> Iterator[Connection]:
    with connect(standing.dsn) as connection:
        connection.execute(
            "INSERT INTO auth.app_users (id, email) VALUES (%s, 'ada@example.com'), (%s, 'bob@example.com')",
            [ADA, BOB],
        )
        connection.execute(
            "INSERT INTO storage.buckets (id, public, file_size_limit, allowed_mime_types, owner_id) VALUES"
            " ('closed', false, NULL, NULL, %(ada)s), ('open', true, 1000, '{image/png}', %(ada)s)",
            {"ada": ADA},
        )
        connection.execute(
            'CREATE POLICY "Owners upload" ON storage.objects FOR INSERT TO authenticated'
            " WITH CHECK (owner_id = (SELECT auth.uid()))"
        )
        connection.execute(
            'CREATE POLICY "Owners change" ON storage.objects FOR UPDATE TO authenticated'
            " USING (owner_id = (SELECT auth.uid()))"
        )
        yield connection


@pytest.fixture
def files(standing_files: Connection) -> Iterator[Connection]:
    """In a transaction of one test, which is rolled back."""
    with standing_files.transaction(force_rollback=True):
        yield standing_files


UPLOAD: LiteralString = (
    "INSERT INTO storage.objects (bucket_id, path, size_bytes, mime_type, owner_id, metadata)"
    " VALUES ('closed', 'a/b.html', 10, 'text/html', auth.uid(), '{\"note\": \"mine\"}')"
)


@pytest.mark.parametrize(
    "change",
    [
        "bucket_id = 'open'",
        "path = 'index.html'",
        "owner_id = NULL",
        "size_bytes = 1",
        "mime_type = 'image/png'",
        "checksum_sha256 = NULL",
        "id = gen_random_uuid()",
        "created_at = now()",
    ],
)
def test_an_update_policy_lets_nobody_change_what_identifies_a_file(
    files: Connection, change: LiteralString
) -> None:
    assert changed(files, UPLOAD, "authenticated", sub=ADA) == 1
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
        changed(files, "UPDATE storage.objects SET " + change, "authenticated", sub=ADA)


def test_an_update_policy_lets_the_owner_change_the_metadata(files: Connection) -> None:
    assert changed(files, UPLOAD, "authenticated", sub=ADA) == 1
    assert changed(files, "UPDATE storage.objects SET metadata = '{}'", "authenticated", sub=ADA) == 1
    assert changed(files, "UPDATE storage.objects SET metadata = '{}'", "authenticated", sub=BOB) == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ("'x.png', 1001, 'image/png'", "takes up to 1000"),
        ("'x.html', 10, 'text/html'", "takes no files of type"),
    ],
)
@pytest.mark.parametrize("role", ["authenticated", "service_role"])
def test_a_bucket_takes_only_what_it_is_for(
    files: Connection, role: str, values: LiteralString, message: str
) -> None:
    upload: LiteralString = (
        "INSERT INTO storage.objects (bucket_id, path, size_bytes, mime_type, owner_id) VALUES ('open', "
        + values
        + ", auth.uid())"
    )
    with pytest.raises(psycopg.errors.CheckViolation, match=message):
        changed(files, upload, role, sub=ADA)


def test_moving_a_file_into_a_bucket_is_held_to_its_limits(files: Connection) -> None:
    changed(files, UPLOAD, "authenticated", sub=ADA)
    with pytest.raises(psycopg.errors.CheckViolation, match="takes no files of type"):
        changed(files, "UPDATE storage.objects SET bucket_id = 'open'", "service_role")


def test_a_stranger_lists_public_files_and_learns_nothing_else_of_them(files: Connection) -> None:
    files.execute(
        "INSERT INTO storage.objects (bucket_id, path, size_bytes, mime_type, owner_id, metadata)"
        " VALUES ('open', 'a.png', 10, 'image/png', %s, '{\"gps\": \"home\"}')",
        [ADA],
    )
    listing: LiteralString = "SELECT bucket_id, path, size_bytes, mime_type FROM storage.objects"
    assert rows(files, listing, "anon") == [("open", "a.png", 10, "image/png")]
    assert rows(files, "SELECT id FROM storage.buckets WHERE public", "anon") == [("open",)]
    for column in ("owner_id", "metadata", "checksum_sha256", "last_accessed_at"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), files.transaction():
            rows(files, b"SELECT " + column.encode() + b" FROM storage.objects", "anon")  # type: ignore[arg-type]
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        rows(files, "SELECT owner_id FROM storage.buckets", "anon")


def test_a_path_is_limited_in_bytes_and_every_path_up_to_it_can_be_stored(files: Connection) -> None:
    # No two alike, so that compression cannot save the index.
    long = "".join(chr(0x4E00 + 7 * number) for number in range(341))
    insert = "INSERT INTO storage.objects (bucket_id, path, size_bytes) VALUES ('closed', %s, 1)"
    files.execute(insert, [long])
    with pytest.raises(psycopg.errors.CheckViolation, match="objects_path_form"):
        files.execute(insert, [long + "xx"])


def test_listing_a_folder_reads_an_index_under_row_level_security(files: Connection) -> None:
    files.execute(
        "INSERT INTO storage.objects (bucket_id, path, size_bytes, mime_type)"
        " SELECT 'open', format('folder-%%s/file-%%s.png', n / 100, n), 1, 'image/png'"
        " FROM generate_series(1, %s) AS n",
        [FILES],
    )
    files.execute("ANALYZE storage.objects")
    query: LiteralString = (
        "SELECT path FROM storage.objects WHERE bucket_id = 'open' AND path ^@ 'folder-77/'"
    )
    explain: LiteralString = "EXPLAIN (ANALYZE, TIMING OFF, FORMAT JSON) " + query
    with acting(files, "anon"):
        assert len(files.execute(query).fetchall()) == 100
        ((plan,),) = files.execute(explain).fetchall()
    nodes = list(walk(plan[0]["Plan"]))
    assert all(node["Node Type"] != "Seq Scan" or node["Relation Name"] != "objects" for node in nodes), plan
    read = [node["Actual Rows"] + node.get("Rows Removed by Filter", 0) for node in nodes]
    assert max(read) <= 110, plan


def walk(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield node
    for child in node.get("Plans", []):
        yield from walk(child)
