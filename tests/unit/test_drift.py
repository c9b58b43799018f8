"""What the history says of the past: edited files, files that came too late, what an attempt left."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from fluxbase_migrations.core.files import NIL, Direction, MigrationFiles
from fluxbase_migrations.runner.history import drift, overview
from fluxbase_migrations.runner.history.entry import (
    PREVIOUS,
    UNCHANGED,
    Entry,
    EntryKind,
    EntryOutcome,
    Row,
    standing,
)
from fluxbase_migrations.runner.history.overview import FileState

TIME = datetime(2026, 1, 1, tzinfo=UTC)
NUMBERS = count(1)
FILES = {number: f"SELECT {number}" for number in range(1, 6)}


def source(files: dict[int, str] | None = None) -> MigrationFiles:
    texts = FILES if files is None else files
    return MigrationFiles.scan({f"{number}_f.up.sql": text.encode() for number, text in texts.items()})


def entry(version: int, before: int = NIL, **changes: Any) -> Entry:
    """Version ``version`` was applied, after version ``before``, from the file that is in the source."""
    number = next(NUMBERS)
    file = source().get(version, Direction.UP)
    made = Entry(
        id=number,
        kind=EntryKind.MIGRATION,
        version=version,
        file=f"{version}_f.up.sql",
        direction="up",
        checksum=file.checksum if file else None,
        from_version=before,
        to_version=version,
        outcome=EntryOutcome.APPLIED,
        statements=1,
        done=1,
        done_checksum=None,
        in_doubt=None,
        proven=True,
        error=None,
        details={},
        token=None,
        attempt=str(number),
        started_at=TIME,
        finished_at=TIME,
        done_by="me",
        row_xmin=number,
    )
    return replace(made, **changes)


UP = [entry(1), entry(2, 1), entry(3, 2)]
DOWN = entry(3, direction="down", from_version=3, to_version=2)
FAILED = entry(4, 3, outcome=EntryOutcome.FAILED)
APPLIED: dict[str, tuple[Sequence[Entry], list[int]]] = {
    "nothing": ([], []),
    "in order": (UP, [1, 2, 3]),
    "a failed one": ([*UP, FAILED], [1, 2, 3]),
    "rolled back": ([*UP, DOWN], [1, 2]),
    "rolled back and applied again": ([*UP, DOWN, UP[2]], [1, 2, 3]),
    "forced lower": ([*UP, entry(1, kind=EntryKind.FORCE)], [1]),
    "forced higher": ([*UP, entry(5, kind=EntryKind.FORCE)], [1, 2, 3]),
    "forced to nothing": ([*UP, entry(NIL, kind=EntryKind.FORCE)], []),
    "a baseline": ([entry(2, kind=EntryKind.BASELINE), entry(3, 2)], [3]),
    "an owner": ([*UP, replace(entry(1, kind=EntryKind.OWNER), version=None)], [1, 2, 3]),
}


@pytest.mark.parametrize(("entries", "versions"), APPLIED.values(), ids=APPLIED)
def test_applied_is_what_no_rollback_and_no_force_has_taken_back(
    entries: Sequence[Entry], versions: list[int]
) -> None:
    assert sorted(drift.applied(entries)) == versions


DRIFTED: dict[str, tuple[dict[int, str], str | None, str]] = {
    "unchanged": (FILES, "2_f.up.sql", ""),
    "edited": (FILES | {2: "SELECT 9"}, "2_f.up.sql", "2_f.up.sql was edited after it was applied"),
    "of another name": (
        FILES | {2: "SELECT 9"},
        "2_g.up.sql",
        "was applied as 2_g.up.sql",
    ),
    "renamed without an edit": (FILES, "2_g.up.sql", ""),
    "gone": ({1: FILES[1]}, "2_f.up.sql", ""),
    "recorded without a name": (FILES | {2: "SELECT 9"}, None, "2_f.up.sql was edited"),
}


@pytest.mark.parametrize(("files", "name", "says"), DRIFTED.values(), ids=DRIFTED)
def test_a_file_with_other_content_than_was_applied_is_named(
    files: dict[int, str], name: str | None, says: str
) -> None:
    told = drift.drifted([entry(1), entry(2, 1, file=name)], source(files))
    assert len(told) == bool(says)
    assert says in "".join(told)


SKIPPED: dict[str, tuple[Sequence[Entry], int, list[int]]] = {
    "none is missing": (UP, 3, []),
    "one came later": ([entry(1), entry(3, 1)], 3, [2]),
    "above what is recorded it is pending": ([entry(1), entry(3, 1)], 1, []),
    "another program applied what no entry is about": ([entry(5, 4)], 5, []),
    "a database that nothing of ours has seen": ([], 5, []),
    "it was applied in the end": ([entry(1), entry(3, 1), entry(2, 1)], 3, []),
    "the first file came later": ([entry(2, NIL)], 2, [1]),
    "taken back": ([entry(1), entry(3, 1), replace(DOWN, to_version=1)], 1, []),
}


@pytest.mark.parametrize(("entries", "current", "versions"), SKIPPED.values(), ids=SKIPPED)
def test_a_version_is_skipped_that_was_passed_over_when_it_was_not_there(
    entries: Sequence[Entry], current: int, versions: list[int]
) -> None:
    assert drift.skipped_versions(entries, source(), current) == versions


EFFECTS: dict[str, tuple[tuple[int, int | None, int | None], str]] = {
    "none": ((0, 3, None), "no statement took effect"),
    "the first": ((1, 3, None), "statement 1 of 3 took effect"),
    "some": ((2, 3, None), "statements 1 to 2 of 3 took effect"),
    "of an unknown number": ((2, None, None), "statements 1 to 2 took effect"),
    "the first is in doubt": ((0, 3, 1), "statement 1 of 3 may have taken effect in part"),
    "another one is in doubt": (
        (1, 3, 2),
        "statement 2 of 3 may have taken effect in part; statement 1 of 3 took effect",
    ),
}


@pytest.mark.parametrize(("arguments", "says"), EFFECTS.values(), ids=EFFECTS)
def test_what_took_effect_is_told_in_words(arguments: tuple[int, int | None, int | None], says: str) -> None:
    assert drift.effect(*arguments) == says


LEFT: dict[str, tuple[Sequence[Entry], str | None]] = {
    "no entry": ([], UNCHANGED),
    "applied": ([entry(1, attempt="x")], None),
    "failed": ([entry(1, attempt="x", outcome=EntryOutcome.FAILED)], "statement 1 of 1 took effect"),
}


@pytest.mark.parametrize(("entries", "left"), LEFT.values(), ids=LEFT)
def test_the_history_knows_what_an_attempt_left_whose_end_nobody_saw(
    entries: Sequence[Entry], left: str | None
) -> None:
    assert drift.effect_of(entries, "x") == left


HALF = entry(2, 1, outcome=EntryOutcome.FAILED, done=1, row_xmin=10)
NOTHING = entry(2, 1, outcome=EntryOutcome.FAILED, done=0, row_xmin=11, details={PREVIOUS: HALF.id})
STANDING: dict[str, tuple[Sequence[Entry], int, Entry | None]] = {
    "the entry that wrote the row": ([HALF], 10, HALF),
    "another program wrote it since": ([HALF], 12, None),
    "a later attempt left nothing": ([NOTHING, HALF], 11, HALF),
    "what it began from is gone": ([NOTHING], 11, NOTHING),
    "an owner's entry wrote no row": ([replace(HALF, kind=EntryKind.OWNER)], 10, None),
}


@pytest.mark.parametrize(("entries", "xmin", "expected"), STANDING.values(), ids=STANDING)
def test_the_entry_that_stands_is_what_the_database_still_holds(
    entries: Sequence[Entry], xmin: int, expected: Entry | None
) -> None:
    assert standing(Row(2, True, xmin), entries) == expected


def test_the_overview_tells_where_each_version_stands() -> None:
    entries = [entry(1), entry(3, 1, checksum="other"), replace(HALF, version=4, from_version=3)]
    states = {one.version: one.state for one in overview.migrations(Row(4, True, 10), entries, source())}
    assert states == {
        1: FileState.APPLIED,
        2: FileState.OUT_OF_ORDER,
        3: FileState.EDITED,
        4: FileState.DIRTY,
        5: FileState.PENDING,
    }
    gone = overview.migrations(Row(1, False, 10), [entry(1)], source({}))
    assert [one.state for one in gone] == [FileState.FILE_GONE]
