"""docs/scenarios.md shows what is recorded, and only scenarios that a test brings about."""

from tests.e2e import scenarios


def test_the_page_shows_what_is_recorded() -> None:
    page = scenarios.DOCS.read_text()
    assert page == scenarios.filled(page, scenarios.read()), "run python -m tests.e2e.scenarios"


def test_every_recorded_scenario_has_a_test() -> None:
    assert scenarios.orphans(scenarios.read()) == set()
