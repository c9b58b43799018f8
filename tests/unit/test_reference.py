"""docs/resource.md says what the models say."""

from pathlib import Path

from fluxbase_migrations.api import reference
from fluxbase_migrations.api.reasons import EFFECTS, OUTCOMES, Effect, Reason
from fluxbase_migrations.api.transitions import TRANSITIONS
from fluxbase_migrations.core.result import Outcome

ROOT = Path(__file__).resolve().parents[2]


def test_the_tables_in_the_docs_are_up_to_date() -> None:
    text = (ROOT / reference.PATH).read_text()
    assert text == reference.filled(text), "run python -m fluxbase_migrations.api.reference --write"


def test_every_reason_outcome_and_effect_is_explained() -> None:
    told = {reason for line in TRANSITIONS for reason in line.reasons}
    assert set(Reason) <= told
    # NoChange shows as Applied, a Conflict as DatabaseClaimed.
    assert {*map(str, Outcome)} - told == {Outcome.NO_CHANGE, Outcome.CONFLICT}
    assert set(OUTCOMES) == {*Outcome, None}
    assert set(EFFECTS) == set(Effect)
