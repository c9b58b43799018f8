"""At most so many at once: fair turns between namespaces, and in each who asked first goes first."""

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fluxbase_migrations.api.status import JobReference, TrackStatus
from fluxbase_migrations.controller.reconcile.slots import Slots
from fluxbase_migrations.core.names import Track
from fluxbase_migrations.decisions import status_messages
from fluxbase_migrations.decisions.job_state import ObservedJob, ObservedPod
from fluxbase_migrations.decisions.observed import SLOW_START, ObservedTrack, occupies_slot
from fluxbase_migrations.decisions.scheduling import has_begun
from tests.unit.test_decide import JOB, NOW, POD, RUNNING, WANT

Holder = tuple[str, str]


def reserve(slots: Slots[Any], holder: Any, *, begun: bool = False) -> bool:
    """Take a slot if there is one for this holder, as a decision would."""
    if slots.queue_of(holder, begun=begun) is not None:
        return False
    slots.hold(holder)
    return True


def make(limit: int, woken: list[Holder] | None = None, namespace_limit: int = 0) -> Slots[Holder]:
    """Holders are (namespace, name)."""
    told = woken if woken is not None else list[Holder]()
    return Slots(limit, told.append, lambda one: one[0], namespace_limit)


def in_one(names: str) -> list[Holder]:
    return [("one", name) for name in names]


def test_the_first_to_wait_is_the_first_to_go() -> None:
    woken: list[Holder] = []
    slots = make(2, woken)
    a, b, c, d, e = in_one("abcde")
    assert [reserve(slots, one) for one in (a, b)] == [True, True]
    for one in (c, d):
        assert reserve(slots, one) is False
        slots.wait(one)
    slots.release(a)
    assert woken == [c]
    assert reserve(slots, d) is False
    assert reserve(slots, e) is False
    assert reserve(slots, c) is True


def test_who_has_begun_goes_before_who_has_not() -> None:
    slots = make(1)
    a, b, c = in_one("abc")
    reserve(slots, a)
    slots.wait(b)
    slots.wait(c, begun=True)
    slots.release(a)
    assert reserve(slots, b) is False
    assert reserve(slots, c) is True


def test_reserving_again_changes_nothing() -> None:
    slots = make(1)
    (a,) = in_one("a")
    assert reserve(slots, a)
    assert reserve(slots, a)
    assert slots.held == 1


def test_a_container_that_runs_counts_whatever_the_limit() -> None:
    slots = make(1, namespace_limit=1)
    a, b, c = in_one("abc")
    slots.hold(a)
    slots.hold(b)
    assert slots.held == 2
    slots.release(a)
    assert reserve(slots, c) is False


def test_who_gives_up_waiting_makes_way() -> None:
    woken: list[Holder] = []
    slots = make(1, woken)
    a, b, c = in_one("abc")
    reserve(slots, a)
    slots.wait(b)
    slots.wait(c)
    slots.leave(a)  # it does not wait
    assert slots.holds(a)
    slots.leave(b)
    assert not slots.waits(b)
    slots.release(a)
    assert woken == [c]
    assert reserve(slots, c)


def test_releasing_nothing_wakes_nobody() -> None:
    woken: list[Holder] = []
    slots = make(2, woken)
    a, b = in_one("ab")
    slots.wait(b)
    slots.release(a)
    assert woken == []


def test_a_namespace_with_many_sets_keeps_no_other_out() -> None:
    slots = make(2)
    many = [("many", str(number)) for number in range(100)]
    for one in many[:2]:
        assert reserve(slots, one)
    for one in many[2:]:
        slots.wait(one)
    assert reserve(slots, ("few", "a")) is False
    slots.wait(("few", "a"))
    slots.release(many[0])
    assert reserve(slots, many[2]) is False
    assert reserve(slots, ("few", "a")) is True


def test_namespaces_take_turns() -> None:
    slots = make(1)
    reserve(slots, ("a", "first"))
    for namespace in "abc":
        for name in ("1", "2"):
            slots.wait((namespace, name))
    served: list[str] = []
    last = ("a", "first")
    for _ in range(6):
        slots.release(last)
        last = next(one for one in list(slots._waiting) if reserve(slots, one))
        served.append(last[0])
    assert served == ["b", "c", "a", "b", "c", "a"]


def test_a_namespace_has_a_limit_of_its_own() -> None:
    woken: list[Holder] = []
    slots = make(3, woken, namespace_limit=1)
    a, b = in_one("ab")
    assert reserve(slots, a)
    assert reserve(slots, b) is False
    slots.wait(b)
    assert reserve(slots, ("other", "c"))
    slots.release(("other", "c"))
    assert woken == []  # it is not for b
    slots.release(a)
    assert woken == [b]


def test_the_message_says_who_has_the_slots_and_how_many_are_ahead() -> None:
    slots = make(3)
    for one in [("shop", "a"), ("shop", "b"), ("bank", "a")]:
        reserve(slots, one)
    for one in [("shop", "c"), ("shop", "d"), ("bank", "b")]:
        slots.wait(one)
    told = {one: status_messages.queued(slots.queue(one)).message for one in slots._waiting}
    held = "slots are held by migrations: 2 in shop, 1 in bank"
    assert told == {
        ("bank", "b"): f"queued: maxConcurrentJobs limit (3) reached, 0 ahead; {held}",
        ("shop", "c"): f"queued: maxConcurrentJobs limit (3) reached, 1 ahead; {held}",
        ("shop", "d"): f"queued: maxConcurrentJobs limit (3) reached, 2 ahead; {held}",
    }


def test_the_message_names_the_limit_that_is_reached_and_few_namespaces() -> None:
    slots = make(20, namespace_limit=1)
    reserve(slots, ("shop", "a"))
    slots.wait(("shop", "b"))
    assert slots.queue(("shop", "b")).setting == "maxConcurrentJobsPerNamespace"
    crowded = make(6)
    for number in range(6):
        reserve(crowded, (f"n{number}", "a"))
    crowded.wait(("shop", "a"))
    told = status_messages.queued(crowded.queue(("shop", "a"))).message
    assert told.endswith("1 in n0, 1 in n1, 1 in n2, some in 3 more namespaces")


def test_who_has_begun_goes_before_all_others_whatever_their_namespace() -> None:
    woken: list[Holder] = []
    slots = make(2, woken)
    for name in ("1", "2"):
        reserve(slots, ("many", name))
    slots.wait(("few", "a"))
    assert reserve(slots, ("many", "3"), begun=True) is False
    slots.wait(("many", "3"), begun=True)
    assert slots.queue(("many", "3")).ahead == 0
    assert slots.queue(("few", "a")).ahead == 1
    slots.release(("many", "1"))
    assert woken == [("many", "3")]
    assert reserve(slots, ("few", "a")) is False
    assert reserve(slots, ("many", "3"), begun=True) is True


def test_a_slot_can_be_handed_on_before_anybody_is_woken() -> None:
    woken: list[Holder] = []
    slots = make(1, woken)
    system, user, other = in_one("sao")
    reserve(slots, system)
    slots.wait(other)
    slots.release(system, wake=False)
    assert reserve(slots, user, begun=True)
    slots.wake_next()
    assert woken == []


EARLY, LATE = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("system", "user", "begun"),
    [
        pytest.param(EARLY, None, True, id="the rest of a new set"),
        pytest.param(LATE, EARLY, True, id="the rest of what both tracks were asked for"),
        pytest.param(EARLY, LATE, False, id="its ConfigMap has changed"),
        pytest.param(None, None, False, id="there is no system track"),
        pytest.param(None, EARLY, False, id="there is no system track, and it ran before"),
    ],
)
def test_a_set_has_begun_while_its_user_track_is_the_rest_of_what_was_asked(
    system: datetime | None, user: datetime | None, begun: bool
) -> None:
    assert has_begun(TrackStatus(finished_at=system), TrackStatus(finished_at=user)) is begun


def test_asking_what_there_is_to_wait_for_changes_nobodys_place() -> None:
    slots = make(1)
    for namespace in ("one", "two"):
        for name in "abc":
            slots.wait((namespace, name))
    before = {holder: slots.queue(holder) for holder in slots._waiting}
    for holder in [*before, ("three", "a")]:
        for begun in (False, True):
            slots.queue_of(holder, begun=begun)
    assert {holder: slots.queue(holder) for holder in slots._waiting} == before


def test_what_is_said_of_the_queue_is_what_waiting_comes_to() -> None:
    slots = make(1)
    slots.hold(("one", "a"))
    slots.wait(("two", "a"))
    told = slots.queue_of(("one", "b"))
    slots.wait(("one", "b"))
    assert told == slots.queue(("one", "b"))


def test_sets_without_a_system_track_get_their_turn_however_many_others_are_asked_for_anew() -> None:
    """Each set with a system track is changed again as soon as it is done."""
    slots = make(1)
    reserve(slots, ("one", "busy-0"))
    slots.wait(("one", "plain"))
    for number in range(3):
        slots.wait(("one", f"busy-{number + 1}"))
        slots.release(("one", f"busy-{number}"))
        if reserve(slots, ("one", "plain")):
            break
    assert number == 0


HOLDERS = st.tuples(st.sampled_from("abc"), st.sampled_from("12345"))
STEPS = st.lists(st.tuples(st.sampled_from(["ask", "end", "start"]), HOLDERS), max_size=80)


@pytest.mark.parametrize("namespace_limit", [0, 1, 2])
@given(steps=STEPS)
def test_the_limits_hold_and_every_one_who_waits_is_served(
    namespace_limit: int, steps: list[tuple[str, Holder]]
) -> None:
    woken: list[Holder] = []
    slots = make(3, woken, namespace_limit)
    beyond: set[Holder] = set()
    """Jobs that started late."""
    for step, holder in steps:
        if step == "ask" and not reserve(slots, holder):
            slots.wait(holder)
        elif step == "end":
            slots.release(holder)
            beyond.discard(holder)
        elif step == "start" and not slots.holds(holder):
            slots.hold(holder)
            beyond.add(holder)
        reserved = slots._held - beyond
        assert len(reserved) <= 3
        counts = Counter(one[0] for one in reserved)
        assert namespace_limit == 0 or all(count <= namespace_limit for count in counts.values())
        _woken_ones_ask(slots, woken)
    for holder in list(slots._held):
        slots.release(holder)
    _woken_ones_ask(slots, woken)
    for _ in range(20):
        for holder in list(slots._held):
            slots.release(holder)
        _woken_ones_ask(slots, woken)
    assert not slots._waiting
    for holder in list(slots._held):
        slots.release(holder)
    assert not slots._lines


def _woken_ones_ask(slots: Slots[Holder], woken: list[Holder]) -> None:
    """Who is next may change while several ask; whoever asks wakes those who are next then."""
    while woken:
        holder = woken.pop(0)
        if slots.waits(holder):
            reserve(slots, holder)
            slots.wake_next()
    assert not slots._next(), "a slot is free for somebody who was not woken"


@given(
    held=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("678")), unique=True, min_size=1),
    waiting=st.dictionaries(HOLDERS, st.booleans(), min_size=1),
)
def test_as_many_are_served_before_as_the_message_says(
    held: list[Holder], waiting: dict[Holder, bool]
) -> None:
    slots = make(len(held))
    for holder in held:
        slots.hold(holder)
    for holder, begun in waiting.items():
        slots.wait(holder, begun=begun)
    told = {holder: slots.queue(holder).ahead for holder in waiting}
    slots._limit = len(held) + len(waiting)
    served = slots._next()
    assert [told[holder] for holder in served] == list(range(len(waiting)))
    assert [waiting[holder] for holder in served] == sorted(waiting.values(), reverse=True)


OVER = replace(POD, over=True)
PLANNED = TrackStatus(run=1, job=JobReference("job"))
RECORDED = replace(PLANNED, finished_at=NOW)


@pytest.mark.parametrize(
    ("record", "jobs", "pods", "takes_one"),
    [
        (PLANNED, (JOB,), (), True),
        (PLANNED, (JOB,), (POD,), True),
        (PLANNED, (JOB,), (RUNNING,), True),
        (PLANNED, (JOB,), (OVER,), False),
        (RECORDED, (JOB,), (OVER,), False),
        (RECORDED, (JOB,), (), False),
        (RECORDED, (JOB,), (POD,), True),
        (RECORDED, (JOB,), (RUNNING,), True),
        (replace(PLANNED, run=2), (JOB,), (), False),
        (RECORDED, (replace(JOB, run=2),), (), True),
        (TrackStatus(), (JOB,), (), True),
    ],
    ids=[
        "without a pod yet",
        "about to start",
        "running",
        "ended",
        "ended and recorded",
        "recorded, its pod gone, and its own status late",
        "recorded, but another pod may start",
        "recorded, and running all the same",
        "of an earlier run",
        "of a later run than the status knows",
        "of a status that was lost",
    ],
)
def test_what_takes_a_slot(
    record: TrackStatus, jobs: tuple[ObservedJob, ...], pods: tuple[ObservedPod, ...], takes_one: bool
) -> None:
    assert occupies_slot(ObservedTrack(Track.USER, WANT, jobs=jobs, pods=pods), record, NOW) is takes_one


OLD_JOB, OLD_POD = replace(JOB, set_uid="old"), replace(POD, set_uid="old")


@pytest.mark.parametrize(
    ("jobs", "pods", "takes_one"),
    [
        ((OLD_JOB,), (), True),
        ((OLD_JOB,), (OLD_POD,), True),
        ((), (OLD_POD,), True),
        ((), (replace(RUNNING, set_uid="old"),), True),
        ((OLD_JOB,), (replace(OVER, set_uid="old"),), False),
        ((replace(OLD_JOB, ended=True),), (), False),
        ((replace(OLD_JOB, created_at=NOW - 2 * SLOW_START),), (), False),
    ],
    ids=[
        "without a pod yet",
        "about to start",
        "its Job is deleted",
        "running",
        "ended",
        "ended, its pod gone",
        "it never starts",
    ],
)
def test_what_is_left_of_a_deleted_set_takes_a_slot_as_long_as_it_works(
    jobs: tuple[ObservedJob, ...], pods: tuple[ObservedPod, ...], takes_one: bool
) -> None:
    observed = ObservedTrack(Track.USER, WANT, foreign_jobs=jobs, foreign_pods=pods)
    assert occupies_slot(observed, TrackStatus(), NOW) is takes_one


@given(
    held=st.sets(HOLDERS),
    waiting=st.dictionaries(HOLDERS, st.booleans()),
    asking=HOLDERS,
    limit=st.integers(1, 4),
    namespace_limit=st.integers(0, 2),
)
def test_who_may_take_a_slot_may_also_if_it_has_begun(
    held: set[Holder], waiting: dict[Holder, bool], asking: Holder, limit: int, namespace_limit: int
) -> None:
    """So only who would have to wait is asked about twice."""
    slots = make(limit, [], namespace_limit)
    for holder in held:
        slots.hold(holder)
    for holder, begun in waiting.items():
        slots.wait(holder, begun=begun)
    if slots.queue_of(asking) is None:
        assert slots.queue_of(asking, begun=True) is None
