"""At most so many Jobs at once, first come first served."""

from fluxbase_migrations.controller.slots import Slots


def test_the_first_to_wait_is_the_first_to_go() -> None:
    woken: list[str] = []
    slots = Slots[str](2, woken.append)
    assert [slots.reserve(one) for one in "ab"] == [True, True]
    for one in "cd":
        assert slots.reserve(one) is False
        slots.wait(one)
    slots.release("a")
    assert woken == ["c"]
    assert slots.reserve("d") is False
    assert slots.reserve("e") is False
    assert slots.reserve("c") is True


def test_reserving_again_changes_nothing() -> None:
    slots = Slots[str](1, lambda _: None)
    assert slots.reserve("a")
    assert slots.reserve("a")
    assert slots.held == 1


def test_a_job_that_exists_counts_whatever_the_limit() -> None:
    slots = Slots[str](1, lambda _: None)
    slots.hold("a")
    slots.hold("b")
    assert slots.held == 2
    slots.release("a")
    assert slots.reserve("c") is False


def test_who_gives_up_waiting_makes_way() -> None:
    woken: list[str] = []
    slots = Slots[str](1, woken.append)
    slots.reserve("a")
    slots.wait("b")
    slots.wait("c")
    slots.release("b")
    slots.release("a")
    assert woken == ["c"]
    assert slots.reserve("c")


def test_releasing_nothing_wakes_nobody() -> None:
    woken: list[str] = []
    slots = Slots[str](2, woken.append)
    slots.wait("b")
    slots.release("a")
    assert woken == []
