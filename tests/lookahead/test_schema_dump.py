"""A schema as pg_dump writes it: compared, or the reason why not."""

from pathlib import Path

import pytest

from fluxbase_migrations.runner.lookahead.schema_dump import Dump, difference, dump

FAKE = """#!/bin/sh
echo '-- Dumped from database version 1'
printf '%s\\n' '\\restrict abc'
echo "SET client_encoding = 'UTF8';"
echo
echo "CREATE TABLE t ();"
echo "secret is $PGPASSWORD on $PGHOST" >&2
exit $CODE
"""


def pretend(directory: Path, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    """A pg_dump of our own."""
    program = directory / "pg_dump"
    program.write_text(FAKE)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    monkeypatch.setenv("CODE", str(code))


def test_without_pg_dump_the_reason_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert dump({}) == Dump(problem="pg_dump is not installed")


def test_only_what_describes_the_schema_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(tmp_path, monkeypatch, 0)
    assert dump({"host": "h"}) == Dump(("CREATE TABLE t ();",))


def test_a_failure_is_told_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The password travels by the environment; a command line can be read by everybody."""
    pretend(tmp_path, monkeypatch, 1)
    assert dump({"host": "h", "password": "p"}).problem == "secret is p on h"


@pytest.mark.parametrize(
    ("after", "lines"),
    [(("a", "b"), []), (("a", "c"), ["-b", "+c"]), (("a",), ["-b"]), (("a", "b", "d"), ["+d"])],
    ids=["same", "changed", "gone", "new"],
)
def test_a_difference_is_what_one_has_and_the_other_has_not(after: tuple[str, ...], lines: list[str]) -> None:
    assert difference(Dump(("a", "b")), Dump(after)) == lines
