"""No text of others is obeyed by a terminal, or makes a line of its own."""

import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.api import status_json
from fluxbase_migrations.api.commands import bounded
from fluxbase_migrations.api.status import CommandsStatus, CommandStatus, SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.controller.process import logs
from fluxbase_migrations.controller.watch import parsing
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.names import CommandState, Phase, Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.core.text import visible, visible_in
from fluxbase_migrations.decisions import status_messages
from fluxbase_migrations.decisions.desired import RetryPolicy
from fluxbase_migrations.decisions.job_state import Ended
from fluxbase_migrations.decisions.run_result import apply_run_result, run_events

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBEYED = "\x1b[2J\r\nERROR forged\x00\x07\x7f\x85\x9b31m\u2028\u202eevil\u2066"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("größe, 表, 🙂, \\n", "größe, 表, 🙂, \\n"),
        ("a\nb\tc\rd", "a\\nb\\tc\\rd"),
        ("\x1b[31mred\x9b0m", "\\x1b[31mred\\x9b0m"),
        ("\u202eabc\u2028", "\\u202eabc\\u2028"),
        ("\ud800", "\\ud800"),
    ],
)
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


@given(st.text())
def test_it_is_one_line_that_stays_as_it_is(text: str) -> None:
    made = visible(text)
    assert len(made.splitlines()) <= 1
    assert visible(made) == made
    made.encode()


DOCUMENTS = st.recursive(
    st.text() | st.integers() | st.none(), lambda one: st.lists(one) | st.dictionaries(st.text(), one)
)


@given(DOCUMENTS)
def test_every_text_in_a_document_is_made_visible(value: Any) -> None:
    made = json.dumps(visible_in(value), ensure_ascii=False)
    assert visible(made) == made


@pytest.fixture
def root_logger() -> Iterator[None]:
    """Leaves the log of the tests as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    root.handlers[:] = []  # pytest's own would be closed
    yield
    root.handlers[:], root.level = before


@pytest.mark.usefixtures("root_logger")
@pytest.mark.parametrize("form", ["text", "json"])
def test_what_is_logged_is_one_line(capsys: pytest.CaptureFixture[str], form: str) -> None:
    logs.configure(form)
    logger = logging.getLogger("fluxbase_migrations.test")
    try:
        raise ValueError(OBEYED)
    except ValueError:
        logger.warning("%s", OBEYED, exc_info=True)
    (line, rest) = capsys.readouterr().out.split("\n", 1)
    assert rest == ""
    assert line.isprintable()
    assert "forged" in line


def hostile_result() -> Result:
    error = ErrorInfo(OBEYED, file=OBEYED, statement=OBEYED, detail=OBEYED, hint=OBEYED, effect=OBEYED)
    result = Result(Outcome.CONFLICT, recovered=OBEYED, owner=OBEYED, owner_uid=OBEYED, error=error)
    return Result.from_json(json.dumps({**json.loads(result.to_json()), "warnings": [OBEYED]}))


def test_a_result_is_shown_without_being_obeyed() -> None:
    record = apply_run_result(TrackStatus(run=1), Ended(None, hostile_result(), ""), RetryPolicy(), NOW)
    record = status_messages.with_phase(record, status_messages.PhaseStatus(Phase.FAILED, "Conflict", OBEYED))
    notes = run_events(Track.USER, record, None)
    written = status_json.write(
        SetStatus(
            tracks=TracksStatus(user=record),
            last_handled_force=bounded(OBEYED),
            database=DatabaseIdentity(OBEYED, system_identifier=OBEYED, history_id=OBEYED),
            commands=CommandsStatus(force=CommandStatus(bounded(OBEYED), CommandState.REFUSED, OBEYED)),
        )
    )
    assert json.dumps(written, ensure_ascii=False).isprintable()
    assert all(note.message.isprintable() for note in notes)
    assert "forged" in record.message if record.message else False


def test_a_status_is_printable_whatever_it_is_made_of() -> None:
    written = status_json.write(SetStatus(tracks=TracksStatus(user=TrackStatus(message=OBEYED))))
    assert written["tracks"]["user"]["message"] == visible(OBEYED)


@pytest.mark.parametrize(
    ("text", "kept"),
    [("FailedMount", True), ("CreateContainerConfigError", True), ("A" * 300, False), ("not a word", False)],
)
def test_only_what_may_be_a_reason_becomes_one(text: str, kept: bool) -> None:
    assert (parsing.reason_of(text) is not None) is kept


def body(name: str | None = "shop", **labels: str) -> dict[str, Any]:
    annotations = {} if name is None else {"fluxbase.io/set": name}
    found = {f"fluxbase.io/{label}": value for label, value in labels.items()}
    return {"metadata": {"labels": found, "annotations": annotations}}


def test_labels_and_annotations_are_anybodys_text() -> None:
    assert parsing.set_of(body("../../../api/v1/secrets/x")) is None
    assert parsing.set_of(body(OBEYED)) is None
    assert parsing.set_of(body("my.shop-1")) == "my.shop-1"
    assert parsing.track_of(body(track="everything")) is None
    assert parsing.track_of(body(track="user")) is Track.USER
    assert parsing.run_number(body(run="9" * 60)) == 0
    assert parsing.run_number(body(run="٣")) == 0
    assert parsing.run_number(body(run="-1")) == 0
    assert parsing.run_number(body(run="12")) == 12
