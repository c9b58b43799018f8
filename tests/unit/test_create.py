"""``fluxbase-migrate create``: the next pair is numbered like those that are there."""

import hashlib
import re
from argparse import Namespace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from fluxbase_migrations.cli.create import GolangNumbers, create, next_prefix
from fluxbase_migrations.core.errors import InvalidSource
from fluxbase_migrations.core.files import MAX_VERSION
from fluxbase_migrations.core.names import SUMS

NOW = datetime(2026, 11, 25, 16, 30, 5, tzinfo=UTC)
UNIX = 1795624205


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "001"),
        (["001_a.up.sql", "001_a.down.sql"], "002"),
        (["0009_a.up.sql"], "0010"),
        (["9_a.up.sql"], "10"),
        (["099_a.up.sql", "README.md"], "100"),
        (["00001234_a.up.sql"], "00001235"),
        (["0000001234_a.up.sql"], "0000001235"),
    ],
)
def test_the_next_number_is_padded_like_its_neighbours(names: list[str], expected: str) -> None:
    assert next_prefix(names, NOW) == expected


@pytest.mark.parametrize(
    ("highest", "expected"),
    [
        ("20240131120000", "20261125163005"),
        ("20261125163005", "20261125163006"),
        ("20261125235959", "20261126000000"),
        ("20270228235959", "20270301000000"),
        ("20241399999999", "20241400000000"),
        ("202401311200", "202611251630"),
        ("202611251659", "202611251700"),
        ("20240131", "20261125"),
        ("20261231", "20270101"),
        ("1706702400", str(UNIX)),
        (str(UNIX), str(UNIX + 1)),
        ("2024013101", "2024013102"),
        ("1706702400123", f"{UNIX}000"),
        (f"{UNIX}999", f"{UNIX + 1}000"),
    ],
    ids=[
        "now's, in the same form",
        "made in this second",
        "ahead of this clock",
        "at the end of a month",
        "no moment, so a number",
        "minutes",
        "minutes ahead of this clock",
        "days",
        "days ahead of this clock",
        "seconds since 1970",
        "in this second since 1970",
        "a day and a number",
        "milliseconds since 1970",
        "milliseconds ahead of this clock",
    ],
)
def test_beside_timestamps_a_timestamp_is_made_that_is_above_them(highest: str, expected: str) -> None:
    assert next_prefix(["0001_old.up.sql", f"{highest}_a.up.sql"], NOW) == expected
    assert int(expected) > int(highest)


@pytest.mark.parametrize(
    "highest",
    ["99991231235959", "9999999999", str(MAX_VERSION), str(MAX_VERSION + 1)],
    ids=["the calendar's end", "the digits' end", "the largest version", "above it"],
)
def test_a_version_that_nothing_can_follow_is_refused(highest: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidSource):
        next_prefix([f"{highest}_a.up.sql"], NOW)
    (tmp_path / f"{highest}_a.up.sql").touch()
    assert create(tmp_path, "more") == 1
    assert len([*tmp_path.iterdir()]) == 1


def test_create_makes_an_empty_pair_and_never_overwrites(tmp_path: Path) -> None:
    assert create(tmp_path / "new", "add users table!") == 0
    assert create(tmp_path / "new", "more") == 0
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [
        "001_add_users_table.down.sql",
        "001_add_users_table.up.sql",
        "002_more.down.sql",
        "002_more.up.sql",
    ]
    assert create(tmp_path, " / ") == 2


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"tz": "America"}, "-tz America"),
        ({"tz": "../UTC"}, "-tz ../UTC"),
        ({"seq": True, "digits": 10**20}, "-digits 100000000000000000000"),
        ({"seq": True, "digits": -1}, "-digits -1"),
        ({"ext": "up.sql"}, "-ext up.sql"),
    ],
)
def test_an_option_of_golang_migrates_that_cannot_be_used_is_named(
    options: dict[str, object], named: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(named)):
        GolangNumbers.of(Namespace(**{"ext": "sql", **options}))


def test_a_layout_is_gos_and_not_pythons() -> None:
    numbers = GolangNumbers.of(Namespace(ext="sql", format="2006%Y"))
    assert numbers is not None
    with pytest.raises(InvalidSource, match="2026%Y"):
        numbers.prefix([], NOW)


def test_where_checksums_are_kept_a_new_pair_is_among_them(tmp_path: Path) -> None:
    """An empty file is not an edited one; what is not about the pair stays as it is."""
    assert create(tmp_path, "first") == 0
    assert not (tmp_path / SUMS).exists()
    (tmp_path / SUMS).write_text("# kept\n" + "0" * 64 + "  001_first.up.sql")
    assert create(tmp_path, "second") == 0
    empty = hashlib.sha256().hexdigest()
    assert (tmp_path / SUMS).read_text().splitlines() == [
        "# kept",
        "0" * 64 + "  001_first.up.sql",
        f"{empty}  002_second.up.sql",
        f"{empty}  002_second.down.sql",
    ]
