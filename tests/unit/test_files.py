"""File names and contents: golang-migrate's rules, and what is said aloud where it is silent."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import (
    MAX_VERSION,
    NIL,
    Direction,
    MigrationFiles,
    invalid_utf8,
    parse_name,
)


@pytest.mark.parametrize(
    ("name", "version", "title", "direction"),
    [
        ("001_create.up.sql", 1, "create", Direction.UP),
        ("0_zero.down.sql", 0, "zero", Direction.DOWN),
        ("1_a.up.down.sql", 1, "a.up", Direction.DOWN),
        ("1_a.up.sql.bak", 1, "a", Direction.UP),
        ("1_.up.sql", 1, "", Direction.UP),
        ("1_a.up.", 1, "a", Direction.UP),
        (f"{MAX_VERSION}_last.up.sql", MAX_VERSION, "last", Direction.UP),
        ("000000000000000000000000007_padded.up.sql", 7, "padded", Direction.UP),
    ],
)
def test_a_name_that_matches_is_read_greedily(
    name: str, version: int, title: str, direction: Direction
) -> None:
    parsed = parse_name(name)
    assert parsed is not None
    assert (parsed.version, parsed.title, parsed.direction) == (version, title, direction)


@pytest.mark.parametrize(
    "name",
    [
        "-1_foobar.up.sql",
        "foobar.up.sql",
        "1.up.sql",
        "1_foobar.sql",
        "1_foobar.up",
        "1_foobar.down",
        "1_A.UP.sql",
        "\N{ARABIC-INDIC DIGIT ONE}_a.up.sql",
        "1_a.up.sql\n",
        "1_a\n.up.sql",
    ],
)
def test_a_name_that_does_not_match_is_none(name: str) -> None:
    assert parse_name(name) is None


@pytest.mark.parametrize("digits", [str(2**63), str(2**64), "9" * 5000])
def test_a_version_above_bigint_is_refused_with_the_limit(digits: str) -> None:
    with pytest.raises(InvalidSource, match=str(MAX_VERSION)):
        parse_name(f"{digits}_a.up.sql")


@given(
    st.from_regex(r"[0-9]{1,18}_[a-z.]{0,8}\.(up|down)\.[a-z]{0,3}", fullmatch=True) | st.text(max_size=20)
)
def test_names_are_read_by_the_regular_expression_alone(name: str) -> None:
    expected = re.fullmatch(r"([0-9]+)_(.*)\.(down|up)\.(.*)", name, re.ASCII)
    parsed = parse_name(name)
    assert (parsed is None) == (expected is None)
    if parsed and expected:
        assert (parsed.version, parsed.title) == (int(expected[1]), expected[2])


def test_two_files_of_one_version_and_direction_are_refused_naming_both() -> None:
    with pytest.raises(InvalidSource, match=r"001_b\.up\.sql.*1_a\.up\.sql"):
        MigrationFiles.scan({"1_a.up.sql": b"", "001_b.up.sql": b""})


def test_a_pair_may_have_two_titles() -> None:
    source = MigrationFiles.scan(
        {"1_a.up.sql": b"", "001_b.down.sql": b"", "README.md": b"", ".1_x.up.sql": b""}
    )
    assert source.versions == (1,)
    assert len(source) == 2


def test_an_sql_file_that_is_no_migration_is_refused_with_the_expected_form() -> None:
    with pytest.raises(InvalidSource) as caught:
        MigrationFiles.scan({"seed.sql": b""})
    assert caught.value.info.file == "seed.sql"
    assert "001_create_users.up.sql" in (caught.value.info.hint or "")


def test_a_migration_without_sql_extension_counts_and_is_told() -> None:
    source = MigrationFiles.scan({"1_a.up.sql.bak": b"SELECT 1"})
    assert source.versions == (1,)
    assert "1_a.up.sql.bak" in source.warnings[0]


def test_previous_is_the_next_lower_version_of_the_union() -> None:
    source = MigrationFiles.scan({"1_a.up.sql": b"", "5_b.down.sql": b"", "9_c.up.sql": b""})
    assert [source.previous(one) for one in (1, 5, 7, 9)] == [NIL, 1, 5, 5]


@pytest.mark.parametrize(
    ("content", "words", "line"),
    [
        (b"SELECT 1;\nSELECT '\0';", "NUL", 2),
        (b"SELECT 1;\nSELECT 'caf\xe9';", "0xe9 at offset 21", 2),
        ("SELECT 1;".encode("utf-16"), "UTF-16", 1),
    ],
)
def test_bytes_that_postgresql_cannot_read_are_refused_with_their_line(
    content: bytes, words: str, line: int
) -> None:
    (file,) = MigrationFiles.scan({"1_a.up.sql": content})
    with pytest.raises(InvalidSource, match=words) as caught:
        file.check()
    assert caught.value.info.line == line


def test_a_byte_order_mark_is_not_sent() -> None:
    (file,) = MigrationFiles.scan({"1_a.up.sql": b"\xef\xbb\xbfSELECT 1"})
    assert file.sql == b"SELECT 1"


@given(st.binary(max_size=40), st.integers(0, 6))
def test_invalid_utf8_is_found_where_python_finds_it(content: bytes, chunk: int) -> None:
    padded = b"a" * ((1 << 20) - chunk) + content
    found = invalid_utf8(padded)
    valid = padded if found is None else padded[:found]
    assert valid.decode() is not None
    if found is not None:
        with pytest.raises(UnicodeDecodeError) as caught:
            padded.decode()
        assert caught.value.start == found


@pytest.mark.parametrize(
    ("name", "tool"),
    [
        ("V1.2__users.sql", "flyway"),
        ("R__views.sql", "flyway"),
        ("00001_users.sql", "goose (or dbmate)"),
        ("seed.sql", None),
    ],
)
def test_a_file_that_another_tool_calls_so_is_refused_with_what_converts_it(
    name: str, tool: str | None
) -> None:
    with pytest.raises(InvalidSource) as refused:
        MigrationFiles.scan({name: b""})
    hint = refused.value.info.hint or ""
    assert (f"fluxbase-migrate import {tool} DIR" in hint) if tool else ("import" not in hint)
