"""docs/resource.md says what the models say."""

import re
from pathlib import Path

import pytest

import fluxbase_migrations
from fluxbase_migrations.api import reference
from fluxbase_migrations.api.reasons import (
    EFFECTS,
    EVENTS,
    OUTCOMES,
    WARNING_EVENTS,
    Effect,
    EventReason,
    Reason,
)
from fluxbase_migrations.api.transitions import TRANSITIONS
from fluxbase_migrations.core.result import Outcome

ROOT = Path(__file__).resolve().parents[2]


def test_the_lists_in_the_docs_are_up_to_date() -> None:
    text = (ROOT / reference.PATH).read_text()
    assert text == reference.filled(text), "run python -m fluxbase_migrations.api.reference --write"


def test_generated_lists_fit_a_narrow_window() -> None:
    for made in reference.lists().values():
        assert max(map(len, made.splitlines())) <= reference.WIDTH


WRAPPED = {
    "a dash does not begin another item": ("-", "\\-"),
    "a number does not begin another list": ("1.", "\\1."),
    "a hash does not begin a heading": ("#", "\\#"),
    "a word stays as it is": ("word", "word"),
}


@pytest.mark.parametrize(("word", "shown"), WRAPPED.values(), ids=WRAPPED.keys())
def test_what_begins_a_wrapped_line_is_text(word: str, shown: str) -> None:
    first = "x" * (reference.WIDTH - len("- "))
    assert reference.item(f"{first} {word} more") == f"- {first}\n  {shown} more"


def test_every_reason_outcome_and_effect_is_explained() -> None:
    told = {reason for line in TRANSITIONS for reason in line.reasons}
    assert set(Reason) <= told
    # NoChange shows as Applied, a Conflict as DatabaseClaimed.
    assert {*map(str, Outcome)} - told == {Outcome.NO_CHANGE, Outcome.CONFLICT}
    assert set(OUTCOMES) == {*Outcome, None}
    assert set(EFFECTS) == set(Effect)


def test_every_reason_of_an_event_is_explained_with_the_type_it_has() -> None:
    assert set(EVENTS) == set(EventReason)
    source = "".join(file.read_text() for file in Path(fluxbase_migrations.__file__).parent.rglob("*.py"))
    used = re.findall(r"EventNote\(\s*(True|False),\s*EventReason\.(\w+)", source)
    assert {EventReason[name] for warning, name in used if warning == "True"} == WARNING_EVENTS
    assert not {EventReason[name] for warning, name in used if warning == "False"} & WARNING_EVENTS
