"""What is made of objects that requests reach past row-level security, once a run has found them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from fluxbase_migrations.api.reasons import EventReason
from fluxbase_migrations.api.status import TrackStatus
from fluxbase_migrations.core.errors import Exposed, PlatformIncomplete
from fluxbase_migrations.core.exposure import Exposure, ExposureKind, bounded, listed
from fluxbase_migrations.core.names import Phase
from fluxbase_migrations.core.result import LIMIT, AppliedFile, Outcome, Result
from fluxbase_migrations.decisions.decide import SetDecision
from tests.unit.test_decide import (
    APPLIED,
    CHANGED,
    JOB,
    LATER,
    NOW,
    PLANNED,
    WANT,
    conditions,
    created,
    ended,
    user,
)
from tests.unit.test_decide import look as decided
from tests.unit.test_facts import NEW, OLD

VIEW = Exposure(
    ExposureKind.VIEW,
    "public.v",
    ("authenticated",),
    ("SELECT", "UPDATE"),
    "ALTER VIEW public.v SET (security_invoker = true)",
)
TABLE = replace(VIEW, kind=ExposureKind.TABLE, name="public.t", statement="ALTER TABLE public.t ENABLE …")


def result(*exposures: Exposure, outcome: Outcome = Outcome.NO_CHANGE, looked: bool = True) -> Result:
    count = len(exposures) if looked else None
    return Result(outcome, version=4, observed=True, exposed=count, exposures=exposures)


def run(found: Result, before: TrackStatus = PLANNED) -> SetDecision:
    return decided(before, jobs=(JOB,), pods=(ended(found),))


def told(decision: SetDecision) -> list[tuple[bool, str]]:
    return [(note.warning, note.reason) for note in decision.notes]


def failed() -> Result:
    return replace(result(VIEW, outcome=Outcome.EXPOSED), error=Exposed.of([VIEW], "version 4").info)


def test_a_warning_leaves_the_set_ready_and_is_in_list_message_and_event() -> None:
    made = run(result(VIEW, TABLE))
    assert conditions(made) == {"Ready": "True"}
    assert (user(made).exposed, user(made).exposures) == (2, (VIEW, TABLE))
    assert user(made).message == "version 4; 2 objects reachable past row-level security, see exposures"
    assert told(made) == [(False, "NoChange"), (True, "Exposed")]
    assert "ALTER VIEW public.v SET (security_invoker = true)" in made.notes[1].message


@pytest.mark.parametrize(
    ("before", "found", "events"),
    [
        ((VIEW,), (VIEW,), []),
        ((VIEW,), (VIEW, TABLE), [(True, "Exposed")]),
        ((VIEW,), (TABLE,), [(True, "Exposed")]),
        ((VIEW,), (), [(False, EventReason.NOT_EXPOSED)]),
        ((), (), []),
    ],
)
def test_an_event_tells_what_has_changed(
    before: tuple[Exposure, ...], found: tuple[Exposure, ...], events: list[tuple[bool, str]]
) -> None:
    record = replace(PLANNED, exposed=len(before), exposures=before)
    assert told(run(result(*found), record)) == [(False, "NoChange"), *events]


@pytest.mark.parametrize(
    ("found", "kept"),
    [
        (result(looked=False), None),
        (result(looked=False, outcome=Outcome.UNREACHABLE), 1),
        (result(looked=False, outcome=Outcome.SQL_ERROR), 1),
        (result(), 0),
    ],
    ids=["nobody is to look", "no connection", "a file failed", "closed"],
)
def test_what_was_found_is_kept_until_somebody_has_looked_again(found: Result, kept: int | None) -> None:
    made = run(found, replace(PLANNED, exposed=1, exposures=(VIEW,)))
    assert user(made).exposed == kept
    assert len(user(made).exposures) == (kept or 0)


def test_another_database_has_exposures_of_its_own() -> None:

    record = replace(PLANNED, exposed=1, exposures=(VIEW,), database=OLD, version=3)
    made = run(replace(result(looked=False, outcome=Outcome.SQL_ERROR), database=NEW), record)
    assert user(made).exposed is None


def test_failing_says_that_the_files_are_applied_and_what_closes_it() -> None:
    made = run(failed())
    assert (user(made).phase, user(made).reason, user(made).version) == (Phase.FAILED, "Exposed", 4)
    assert conditions(made) == {"Ready": "False", "Stalled": "True"}
    for words in (
        "view with its owner's rights public.v: authenticated can SELECT, UPDATE",
        "ALTER VIEW public.v SET (security_invoker = true)",
        "all files are applied, version 4",
        "exposure: Warn",
    ):
        assert words in (user(made).message or "")
    assert told(made) == [(True, "Exposed")]
    assert created(decided(user(made), now=NOW + timedelta(days=30))) is None, "nobody runs it in a loop"


def test_a_failed_look_is_repeated_when_something_changes_or_time_has_come() -> None:
    record = user(run(failed()))
    job = created(decided(record, CHANGED))
    assert job is not None
    assert job.run == 2
    daily = replace(WANT, recheck=timedelta(seconds=10))
    planned = decided(record, daily, now=LATER)
    assert created(planned) is not None
    assert conditions(planned)["Stalled"] == "True", "a routine check does not show"
    second, pods = replace(JOB, run=2), (replace(ended(failed()), run=2, finished_at=LATER),)
    same = decided(user(planned), daily, now=LATER, jobs=(second,), pods=pods)
    assert told(same) == [], "it is told once"
    pods = (replace(ended(result()), run=2, finished_at=LATER),)
    closed = decided(user(planned), daily, now=LATER, jobs=(second,), pods=pods)
    assert conditions(closed) == {"Ready": "True"}
    assert (False, EventReason.NOT_EXPOSED) in told(closed)


def test_a_routine_look_that_finds_something_open_leaves_the_set_ready_and_says_so() -> None:
    daily = replace(WANT, recheck=timedelta(seconds=10))
    planned = decided(replace(APPLIED, exposed=0), daily, now=LATER)
    second, pods = replace(JOB, run=2), (replace(ended(result(VIEW)), run=2, finished_at=LATER),)
    made = decided(user(planned), daily, now=LATER, jobs=(second,), pods=pods)
    assert conditions(made) == {"Ready": "True"}
    assert (True, "Exposed") in told(made)
    assert "1 object reachable past row-level security" in (user(made).message or "")
    third, pods = replace(JOB, run=3), (replace(ended(result(VIEW)), run=3, finished_at=LATER),)
    again = decided(user(made), daily, now=LATER + timedelta(minutes=1))
    same = decided(user(again), daily, now=LATER + timedelta(minutes=1), jobs=(third,), pods=pods)
    assert told(same) == []


def test_a_rollback_that_exposes_is_rolled_back_once_it_is_closed() -> None:
    down = replace(failed(), applied=(AppliedFile(5, "x", "down", 0.1),))
    record = replace(user(run(down)), latest=5)
    second = replace(JOB, run=2)
    planned = replace(record, run=2, finished_at=None)
    again = replace(result(), latest=5)
    made = decided(planned, jobs=(second,), pods=(replace(ended(again), run=2),))
    assert user(made).phase is Phase.ROLLED_BACK
    assert conditions(made) == {"Ready": "True"}


# --- How much is told

LONG = Exposure(ExposureKind.TABLE, "n" * 5000, ("anon",), ("SELECT",), "s" * 5000)
HOSTILE = Exposure(ExposureKind.TABLE, 'public."a\nb"', ("anon",), ("SELECT",), 'ALTER TABLE public."a\nb" …')


def test_a_statement_is_told_whole_or_not_at_all() -> None:
    first, second = bounded([LONG, HOSTILE])
    assert (len(first.name), first.statement) == (200, None)
    assert (second.name, second.statement) == (r'public."a\nb"', None)
    assert bounded([VIEW]) == (VIEW,)


@pytest.mark.parametrize("count", [1, 10, 5000])
def test_a_result_with_any_number_of_exposures_fits_and_says_how_many(count: int) -> None:
    wide = Exposure(ExposureKind.TABLE, "🙂" * 200, ("anon", "authenticated"), ("SELECT",), "🙂" * 400)
    text = Result(Outcome.APPLIED, exposed=count, exposures=(wide,) * count).to_json()
    assert len(text.encode()) <= LIMIT
    read = Result.from_json(text)
    assert read.exposed == count
    assert all(one == wide for one in read.exposures)


def test_what_is_left_out_is_counted() -> None:
    assert listed([VIEW], 3).endswith("; and 2 more")
    assert listed([VIEW], 1) == VIEW.described()


# --- The platform

LACKS = [f"policy {number}" for number in range(40)] + ["role anon", "role authenticated"]


def test_what_the_platform_lacks_is_named_roles_first() -> None:
    error = PlatformIncomplete.of(6, LACKS)
    assert str(error).startswith(
        "the database lacks what system version 6 makes: role anon, role authenticated, policy 0, policy 1, "
        "policy 2, and 37 more"
    )
    assert "fluxbase-migrate system roles --sql" in str(error)
    assert not error.is_transient
    assert "system roles" not in str(PlatformIncomplete.of(6, LACKS[:1]))


def test_an_incomplete_platform_is_not_ready_and_looked_at_again() -> None:
    lacking = Result(
        Outcome.PLATFORM_INCOMPLETE,
        version=6,
        observed=True,
        error=PlatformIncomplete.of(6, LACKS).info,
    )
    made = run(lacking)
    assert (user(made).phase, user(made).reason) == (Phase.PENDING, "PlatformIncomplete")
    assert conditions(made) == {"Ready": "False", "Reconciling": "True"}
    assert "role anon" in (user(made).message or "")
    assert made.due is not None
    assert created(decided(user(made), now=made.due)) is not None
