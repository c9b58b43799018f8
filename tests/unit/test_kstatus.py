"""The checker of the status rules finds what it is there to find."""

import copy
from collections.abc import Callable

import pytest

from fluxbase_migrations.core.json_names import Json
from tests.support import kstatus


def condition(kind: str, status: str = "True", generation: int = 2) -> Json:
    return {
        "type": kind,
        "status": status,
        "reason": "Applied",
        "message": "version 3",
        "lastTransitionTime": "2026-01-01T00:00:00Z",
        "observedGeneration": generation,
    }


def a_set(*conditions: Json, phase: str = "Applied", observed: int = 2) -> Json:
    track = {"phase": phase, "run": 3, "dirty": False}
    return {
        "metadata": {"namespace": "n", "name": "shop", "uid": "u", "generation": 2, "resourceVersion": "7"},
        "status": {
            "observedGeneration": observed,
            "phase": phase,
            "tracks": {"user": track, "system": {"phase": "Skipped"}},
            "conditions": [*conditions],
        },
    }


def older(obj: Json) -> None:
    obj["status"].update(observedGeneration=1, conditions=[condition("Ready", generation=1)])


READY = a_set(condition("Ready"))
RUNNING = a_set(condition("Ready", "False"), condition("Reconciling"), phase="Running")


def edited(obj: Json, edit: Callable[[Json], object]) -> Json:
    made = copy.deepcopy(obj)
    edit(made)
    return made


@pytest.mark.parametrize(
    "obj",
    [
        READY,
        RUNNING,
        a_set(condition("Ready", "False"), condition("Stalled"), phase="Failed"),
        {"metadata": READY["metadata"], "status": {"observedGeneration": -1}},
    ],
    ids=["ready", "running", "failed", "before the first look"],
)
def test_what_keeps_the_rules_passes(obj: Json) -> None:
    kstatus.check(obj)


@pytest.mark.parametrize(
    ("obj", "told"),
    [
        (a_set(condition("Ready"), condition("Reconciling")), "Ready, and yet"),
        (a_set(condition("Ready", "False"), phase="Running"), "nothing beside it"),
        (
            edited(RUNNING, lambda it: it["status"]["conditions"].append(condition("Stalled"))),
            "not Ready, with",
        ),
        (a_set(condition("Ready", "False"), condition("Stalled", "False"), phase="Failed"), "Stalled is"),
        (a_set(condition("Ready", generation=3), observed=3), "ahead of generation"),
        (a_set(condition("Ready", generation=1)), "another generation"),
        (a_set(condition("Ready"), phase="Running"), "Ready with tracks"),
        (a_set(condition("Ready"), condition("Ready")), "a condition twice"),
        (a_set(), "no condition Ready"),
        (edited(READY, lambda it: it["status"]["tracks"]["user"].update(dirty=True)), "dirty tracks"),
        (edited(READY, lambda it: it["status"].update(phase="Failed")), "phase Failed of tracks"),
        (edited(READY, lambda it: it["status"]["conditions"][0].update(message="")), "no message"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_broken_rule_is_told(obj: Json, told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        kstatus.check(obj)


@pytest.mark.parametrize(
    ("edit", "told"),
    [
        (older, "observedGeneration went back"),
        (lambda it: it["status"]["tracks"]["user"].update(run=2), "user: run went back"),
        (
            lambda it: it["status"]["conditions"][0].update(lastTransitionTime="2026-01-01T00:00:01Z"),
            "stayed True, its lastTransitionTime did not",
        ),
        (
            lambda it: (it["metadata"].update(generation=3), it["status"].update(pending=0)),
            "of a set that has 3",
        ),
    ],
    ids=["observedGeneration", "run", "lastTransitionTime", "older generation"],
)
def test_a_broken_step_is_told(edit: Callable[[Json], object], told: str) -> None:
    with pytest.raises(AssertionError, match=told):
        kstatus.check(edited(READY, edit), READY)


@pytest.mark.parametrize("obj", [READY, RUNNING], ids=["unchanged", "another run"])
def test_a_good_step_passes(obj: Json) -> None:
    kstatus.check(obj, READY)


def test_what_a_reader_makes_of_it() -> None:
    assert kstatus.compute(READY) == "Current"
    assert kstatus.compute(RUNNING) == "InProgress"
    assert kstatus.compute(edited(READY, lambda it: it["metadata"].update(generation=3))) == "InProgress"
