"""Progress from the log of a running Job: shown, never trusted."""

from datetime import UTC, datetime

import pytest

from fluxbase_migrations.controller.progress import parse

NOW = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    "line",
    [
        b"INFO Applying migration file=001_a.up.sql number=1 total=6 source=user\n",
        b'INFO Applying migration file="001_a.up.sql" number=1 total=6\n',
        b'{"level": "INFO", "msg": "Applying migration", "file": "001_a.up.sql", "number": 1, "total": 6}\n',
    ],
)
def test_a_line_about_a_file_is_progress(line: bytes) -> None:
    found = parse(b"2026-01-01T00:00:00.123456789Z " + line)
    assert found is not None
    assert (found.file, found.number, found.total, found.since) == ("001_a.up.sql", 1, 6, NOW)


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"INFO Running user migrations... path=/migrations/user",
        b"file=001_a.up.sql number=7 total=6",
        b"file=001_a.up.sql number=0 total=6",
        b"file=001_a.up.sql number=x total=6",
        b"file=../../etc/passwd number=1 total=6",
        b"file=" + b"1" * 2000 + b"_a.up.sql number=1 total=6",
        b"[1, 2]",
        b'{"file": null, "number": 1, "total": 2}',
        b"{broken",
        b"\xff\xfe\x00",
    ],
)
def test_any_other_line_is_not(line: bytes) -> None:
    assert parse(b"2026-01-01T00:00:00.123456789Z " + line) is None
    assert parse(line) is None
