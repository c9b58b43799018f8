"""``recovery.decide``: a case for each line of the table in docs/runner.md, and what each refusal says."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fluxbase_migrations.core.errors import MigrationError
from fluxbase_migrations.core.files import Direction, MigrationFile, MigrationFiles
from fluxbase_migrations.core.names import ANNOTATION_REQUESTED_AT, Recovery
from fluxbase_migrations.core.plan import Step
from fluxbase_migrations.core.result import Outcome
from fluxbase_migrations.runner.history.entry import Entry, EntryKind, EntryOutcome, Row
from fluxbase_migrations.runner.history.session_state import SessionState
from fluxbase_migrations.runner.recovery.case import Policy, Restore, Resume, RunAgain
from fluxbase_migrations.runner.recovery.decide import decide
from fluxbase_migrations.runner.sql.prepared_file import Prepared

DOCS = Path(__file__).resolve().parents[2] / "docs" / "runner.md"
HEADING = "## Recovery from a dirty version"
ROW = Row(2, True, 700)
TIME = datetime(2026, 1, 1, tzinfo=UTC)
SESSION = SessionState("none", "app", "app", {"search_path": "public"})
FAILED = "INSERT INTO a VALUES (1); VACUUM a; CALL b(); SELECT 1"


def source(second: str | None) -> MigrationFiles:
    files = {"1_a.up.sql": b"CREATE TABLE a (i int)", "3_c.up.sql": b"SELECT 1"}
    if second is not None:
        files["2_b.up.sql"] = second.encode()
    return MigrationFiles.scan(files)


def prepared(text: str) -> Prepared:
    file = source(text).get(2, Direction.UP)
    return Prepared.of(Step(2, Direction.UP, 1, 2, file))


def entry(text: str = FAILED, **changes: Any) -> Entry:
    """Of an attempt at version 2 that wrote the row and failed, with nothing done unless told otherwise."""
    done = changes.get("done", 0)
    of = prepared(text)
    file = of.file
    assert isinstance(file, MigrationFile)
    details: dict[str, Any] = {"session": SESSION.to_json(), **changes.pop("details", {})}
    if changes.get("in_doubt"):
        details.setdefault("after", of.prefix_checksum(done + 1))
    made = Entry(
        id=7,
        kind=EntryKind.MIGRATION,
        version=2,
        file=file.name,
        direction="up",
        checksum=file.checksum,
        from_version=1,
        to_version=2,
        outcome=EntryOutcome.FAILED,
        statements=len(of.statements),
        done=done,
        done_checksum=of.prefix_checksum(done),
        in_doubt=None,
        proven=True,
        error={"message": "boom"},
        details=details,
        token=None,
        attempt="a",
        started_at=TIME,
        finished_at=TIME,
        done_by="me",
        row_xmin=ROW.xmin,
    )
    return replace(made, **changes)


@dataclass(frozen=True)
class Case:
    """What is known of a dirty row."""

    entries: Sequence[Entry]
    file: str | None = FAILED
    wanted: bool = True
    says: str = ""
    """Part of what is told where nothing runs unasked under the policy Automatic."""
    outcome: Outcome = Outcome.DIRTY
    """Of that refusal."""
    row: Row = field(default=ROW)


HALF: dict[str, Any] = {"done": 2}
CORRECTED = FAILED.replace("CALL b()", "SELECT 2")
EDITED = FAILED.replace("(1)", "(2)")
DOUBT = entry(done=2, in_doubt=3)
TEMPORARY = {"session": replace(SESSION, temporary=True).to_json()}

DOCUMENTED: Mapping[str, Case] = {
    "nothing took effect; the file has changed": Case([entry()], CORRECTED),
    "nothing took effect; the run was interrupted or crashed": Case(
        [entry(outcome=EntryOutcome.INTERRUPTED)]
    ),
    "nothing took effect; the file failed and is unchanged": Case(
        [entry()], says="was not run again", outcome=Outcome.SQL_ERROR
    ),
    "nothing took effect; the file is gone or not wanted": Case([entry()], None),
    "1 to k took effect; they are unchanged": Case([entry(**HALF)], CORRECTED),
    "1 to k took effect; the file failed, unchanged": Case(
        [entry(**HALF)], says="was not run again", outcome=Outcome.SQL_ERROR
    ),
    "1 to k took effect; they were edited": Case([entry(**HALF)], EDITED, says="they were edited"),
    "1 to k took effect; the session cannot be restored": Case(
        [entry(**HALF, details=TEMPORARY)], CORRECTED, says="cannot be restored: temporary objects"
    ),
    "1 to k took effect; the file is not wanted any more": Case(
        [entry(**HALF)], CORRECTED, wanted=False, says="let the file finish"
    ),
    "1 to k took effect; the file is gone": Case([entry(**HALF)], None, says="no longer in the source"),
    "k + 1 is in doubt; it is unchanged": Case(
        [DOUBT],
        says="statement 3 of 4 may have taken effect in part; statements 1 to 2 of 4 took effect",
        outcome=Outcome.UNPROVEN,
    ),
    "k + 1 is in doubt; it was corrected": Case([DOUBT], CORRECTED),
    "k + 1 is in doubt; 1 to k were edited, or the session is lost": Case(
        [DOUBT], EDITED, says="may have taken effect in part", outcome=Outcome.UNPROVEN
    ),
    "k + 1 is in doubt; the file is gone": Case(
        [DOUBT], None, says="may have taken effect in part", outcome=Outcome.UNPROVEN
    ),
    "another program marked the row; this content was not tried": Case([], "SELECT 1"),
    "another program marked the row; this content was tried before": Case(
        [entry("SELECT 1", proven=False, row_xmin=1)], "SELECT 1", says="was run again once"
    ),
    "another program marked the row; in an earlier run 1 to k took effect": Case(
        [entry(**HALF, row_xmin=1)],
        "SELECT 1",
        says="in an earlier run of 2_b.up.sql, statements 1 to 2 of 4 took effect",
    ),
    "another program marked the row; the file may have committed in part": Case(
        [], says="may have committed in part: statement 3 of 4, CALL"
    ),
    "another program marked the row; the file is gone": Case([], None, says="has no up file of version 2"),
}
"""In the order and the words of the docs' table."""


def words(case: Case, policy: Recovery, *, asked: bool) -> str | MigrationError:
    """What is done, as the docs say it; the error where nothing is."""
    try:
        action = decide(
            case.row,
            case.entries,
            source(case.file),
            Policy(policy, retry_failed=asked, retry_unproven=asked),
            lambda step: case.wanted,
        )
    except MigrationError as error:
        return error
    match action:
        case RunAgain(proven=True):
            return "run again"
        case RunAgain():
            return "the whole file"
        case Restore():
            return "the version before it"
        case Resume(in_doubt_checksum=None, done=done):
            assert done == 2
            return "resumed after k"
        case Resume(done=done):
            assert done == 2
            return "resumed at k + 1"


def cell(case: Case, policy: Recovery) -> str:
    unasked = words(case, policy, asked=False)
    if isinstance(unasked, str):
        return unasked
    asked = words(case, policy, asked=True)
    return f"{asked} when asked" if isinstance(asked, str) else "refused"


def table() -> list[list[str]]:
    """The cells of the docs' table, without its head."""
    section = DOCS.read_text().split(HEADING, 1)[1].split("\n## ", 1)[0]
    lines = [line for line in section.splitlines() if line.startswith("| ")]
    return [[part.strip() for part in line.strip("|").split("|")] for line in lines if "---" not in line][1:]


def test_the_table_in_the_docs_is_what_is_decided() -> None:
    made = [[name, *(cell(case, policy) for policy in Recovery)] for name, case in DOCUMENTED.items()]
    shown = "\n".join(f"| {' | '.join(row)} |" for row in made)
    assert table() == made, f"docs/runner.md should say\n{shown}"


@pytest.mark.parametrize(
    "case", [case for case in DOCUMENTED.values() if case.says], ids=lambda case: case.says
)
def test_a_refusal_says_what_is_known(case: Case) -> None:
    error = words(case, Recovery.AUTOMATIC, asked=False)
    assert isinstance(error, MigrationError)
    assert error.outcome is case.outcome
    assert case.says in str(error)


@pytest.mark.parametrize("case", DOCUMENTED.values(), ids=DOCUMENTED)
def test_the_manual_policy_does_nothing_asked_or_not(case: Case) -> None:
    for asked in (False, True):
        error = words(case, Recovery.MANUAL, asked=asked)
        assert isinstance(error, MigrationError)
        assert error.outcome is Outcome.DIRTY


UNPROVEN = {
    "left nothing": (entry(proven=False), "SELECT 1", "the whole file"),
    "left nothing, unchanged": (entry("SELECT 1", proven=False), "SELECT 1", "the whole file when asked"),
    "half done": (entry(**HALF, proven=False), CORRECTED, "resumed after k"),
    "in doubt": (replace(DOUBT, proven=False), FAILED, "resumed at k + 1 when asked"),
    "in doubt, corrected": (replace(DOUBT, proven=False), CORRECTED, "resumed at k + 1"),
}


@pytest.mark.parametrize(("last", "file", "expected"), UNPROVEN.values(), ids=UNPROVEN)
def test_an_attempt_that_began_from_an_unproven_state_stays_unproven(
    last: Entry, file: str, expected: str
) -> None:
    case = Case([last], file)
    assert cell(case, Recovery.AUTOMATIC) == expected
    assert cell(case, Recovery.PROVEN) == "refused"


def test_an_attempt_in_which_nothing_took_effect_leaves_an_earlier_proof_standing() -> None:
    first = entry(**HALF, row_xmin=600)
    second = replace(entry(EDITED, proven=False, details={"previous": 7}), id=8)
    third = replace(entry(EDITED, proven=False, details={"previous": 8}), id=9)
    for entries in ([replace(second), first], [third, replace(second, row_xmin=650), first]):
        assert cell(Case(entries, CORRECTED), Recovery.PROVEN) == "resumed after k"
    spoiled = replace(second, done=1)
    assert cell(Case([spoiled, first], CORRECTED), Recovery.PROVEN) == "refused"


def test_a_later_failure_with_the_same_content_counts_although_an_earlier_entry_stands() -> None:
    first = entry(**HALF, row_xmin=600)
    again = replace(entry(CORRECTED, details={"previous": 7}), id=8)
    error = words(Case([again, first], CORRECTED), Recovery.AUTOMATIC, asked=False)
    assert isinstance(error, MigrationError)
    assert error.outcome is Outcome.SQL_ERROR


SESSIONS = {
    "not recorded": (None, "not known"),
    "temporary objects": (replace(SESSION, temporary=True), "temporary objects"),
    "prepared statements": (replace(SESSION, prepared=True), "prepared statements"),
    "open cursors": (replace(SESSION, cursors=True), "open cursors"),
    "LISTEN": (replace(SESSION, listening=True), "LISTEN"),
    "two": (replace(SESSION, listening=True, cursors=True), "open cursors, LISTEN"),
}


@pytest.mark.parametrize(("state", "says"), SESSIONS.values(), ids=SESSIONS)
def test_what_no_session_can_be_given_refuses_a_resume(state: SessionState | None, says: str) -> None:
    details = {"session": state.to_json() if state else None}
    error = words(Case([entry(**HALF, details=details)], CORRECTED), Recovery.AUTOMATIC, asked=False)
    assert says in str(error)


def test_nothing_of_the_session_matters_where_nothing_is_left_to_run() -> None:
    short = "INSERT INTO a VALUES (1); VACUUM a"
    last = entry(**HALF, details={"session": None})
    assert cell(Case([last], short), Recovery.PROVEN) == "resumed after k"
    removed = entry(done=2, in_doubt=3, details={"session": None})
    assert cell(Case([removed], short), Recovery.PROVEN) == "resumed at k + 1"


@pytest.mark.parametrize("end", [EntryOutcome.FAILED, EntryOutcome.INTERRUPTED, EntryOutcome.RUNNING])
def test_each_earlier_try_counts_until_the_version_was_right(end: EntryOutcome) -> None:
    tried = entry("SELECT 1", proven=False, outcome=end, row_xmin=1)
    assert cell(Case([tried], "SELECT 1"), Recovery.AUTOMATIC) == "the whole file when asked"
    forced = replace(tried, id=8, kind=EntryKind.FORCE, outcome=EntryOutcome.APPLIED, checksum=None)
    assert cell(Case([forced, tried], "SELECT 1"), Recovery.AUTOMATIC) == "the whole file"


IN_PART = {
    "CALL": "CALL b()",
    "DO with COMMIT": "DO $$ BEGIN COMMIT; END $$",
    "DO with CALL": "DO $$ BEGIN CALL b(); END $$",
    "COMMIT with more behind": "SELECT 1; COMMIT; SELECT 2",
    "ROLLBACK with more behind": "SELECT 1; ROLLBACK; SELECT 2",
}
WHOLE = {
    "its own transaction": "BEGIN; SELECT 1; COMMIT",
    "words in a string": "DO $$ BEGIN PERFORM 'COMMIT; CALL b()'; END $$",
    "a body of CREATE PROCEDURE": "CREATE PROCEDURE b() LANGUAGE plpgsql AS $$ BEGIN COMMIT; END $$",
}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        *((one, "the whole file when asked") for one in IN_PART.values()),
        *((one, "the whole file") for one in WHOLE.values()),
    ],
    ids=[*IN_PART, *WHOLE],
)
def test_a_file_that_may_have_committed_in_part_elsewhere(body: str, expected: str) -> None:
    assert cell(Case([], body), Recovery.AUTOMATIC) == expected


def test_where_nothing_is_known_behind_the_position_no_edit_counts_as_a_correction() -> None:
    case = Case([entry(done=2, in_doubt=3, details={"after": None})], CORRECTED)
    assert cell(case, Recovery.AUTOMATIC) == "resumed at k + 1 when asked"
    assert "what 2_b.up.sql left is not known" in str(words(case, Recovery.AUTOMATIC, asked=False))


@pytest.mark.parametrize(("request_before", "runs"), [(None, True), ("a", True), ("b", False)])
def test_a_request_is_answered_once(request_before: str | None, runs: bool) -> None:
    last = entry(done=2, in_doubt=3, details={"request": request_before})
    policy = Policy(Recovery.AUTOMATIC, retry_failed=True, retry_unproven=True, request="b")

    def ask() -> object:
        return decide(ROW, [last], source(FAILED), policy, lambda step: True)

    if runs:
        assert isinstance(ask(), Resume)
        return
    with pytest.raises(MigrationError, match="may have taken effect in part"):
        ask()


WHOLE_FILE = f"{ANNOTATION_REQUESTED_AT}, runs the whole file again"
STATEMENT = f"{ANNOTATION_REQUESTED_AT}, runs the statement again"
BACK = "restore those statements"


@pytest.mark.parametrize(
    ("case", "policy", "said"),
    [
        (Case([entry(**HALF)], EDITED), Recovery.AUTOMATIC, {BACK, WHOLE_FILE}),
        (Case([entry(**HALF)], EDITED), Recovery.PROVEN, {BACK}),
        (Case([entry(**HALF, details=TEMPORARY)], CORRECTED), Recovery.AUTOMATIC, {WHOLE_FILE}),
        (Case([DOUBT]), Recovery.AUTOMATIC, {STATEMENT}),
        (Case([DOUBT]), Recovery.PROVEN, {STATEMENT}),
        (Case([DOUBT], EDITED), Recovery.AUTOMATIC, {BACK, WHOLE_FILE}),
        (Case([DOUBT], EDITED), Recovery.PROVEN, {BACK}),
    ],
)
@pytest.mark.parametrize("can_be_requested", [True, False], ids=["operator", "command"])
def test_a_refusal_advises_only_what_would_work(
    case: Case, policy: Recovery, said: set[str], can_be_requested: bool
) -> None:
    chosen = Policy(policy, retry_failed=False, can_be_requested=can_be_requested)
    with pytest.raises(MigrationError) as refused:
        decide(case.row, case.entries, source(case.file), chosen, lambda step: True)
    expected = said if can_be_requested else said - {WHOLE_FILE, STATEMENT}
    assert {part for part in (BACK, WHOLE_FILE, STATEMENT) if part in str(refused.value)} == expected
    assert ("retry" in str(refused.value)) == bool(expected & {WHOLE_FILE, STATEMENT})
