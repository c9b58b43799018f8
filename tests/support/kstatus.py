"""The rules of kstatus, and our own beside them, for one write of a set's status.

kstatus is how Flux, Argo CD and ``kubectl wait`` read any resource; its rules are in the document
"kstatus: the status of Kubernetes resources" of sigs.k8s.io/cli-utils.
"""

import re
from typing import Final

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Phase

_REASON: Final = re.compile(r"[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?")
_PRECEDENCE: Final = ("Failed", "Running", "Pending", "RolledBack", "Applied")
"""As docs/resource.md promises; not taken from what is checked."""
_DONE: Final = (Phase.APPLIED, Phase.ROLLED_BACK, Phase.SKIPPED)


def compute(body: Json) -> str:
    """What kstatus makes of the object: Terminating, InProgress, Failed or Current."""
    if body["metadata"].get("deletionTimestamp"):
        return "Terminating"
    status = body.get("status") or {}
    if status.get("observedGeneration", body["metadata"]["generation"]) != body["metadata"]["generation"]:
        return "InProgress"
    stated = {one["type"]: one["status"] for one in status.get("conditions") or ()}
    if stated.get("Reconciling") == "True":
        return "InProgress"
    if stated.get("Stalled") == "True":
        return "Failed"
    return "InProgress" if stated.get("Ready") in ("False", "Unknown") else "Current"


def check(body: Json, before: Json | None = None) -> None:
    """Check a set as it was written, ``before`` being the write before it of the same set.

    Raises:
        AssertionError: a rule is broken; says which.
    """
    status, generation = body.get("status") or {}, body["metadata"]["generation"]
    observed = status.get("observedGeneration", -1)
    if observed == -1:
        assert compute(body) == "InProgress", f"looks {compute(body)} before anybody has looked at it"
        return
    assert observed <= generation, f"observedGeneration {observed} is ahead of generation {generation}"
    _check_conditions(status)
    _check_phases(status)
    if observed == generation:
        expected = {"True": "Current", "False": "InProgress" if _has(status, "Reconciling") else "Failed"}
        stated = _has(status, "Ready")["status"]
        assert compute(body) in (expected[stated], "Terminating"), f"Ready {stated} looks {compute(body)}"
    if before is not None and before["metadata"]["uid"] == body["metadata"]["uid"]:
        _check_change(before.get("status") or {}, status)
        if status != before.get("status"):
            assert observed == generation, (
                f"written about generation {observed} of a set that has {generation}"
            )


def _has(status: Json, kind: str) -> Json:
    found: Json = next((one for one in status.get("conditions") or () if one["type"] == kind), {})
    return found


def _check_conditions(status: Json) -> None:
    conditions = status.get("conditions") or []
    kinds = [one["type"] for one in conditions]
    assert len(set(kinds)) == len(kinds), f"a condition twice: {kinds}"
    ready = _has(status, "Ready")
    assert ready, "no condition Ready"
    others = set(kinds) - {"Ready"}
    if ready["status"] == "True":
        assert not others, f"Ready, and yet {others}"
    else:
        assert ready["status"] == "False", f"Ready is {ready['status']}"
        assert others in ({"Reconciling"}, {"Stalled"}), f"not Ready, with {others or 'nothing'} beside it"
    for one in conditions:
        assert one["type"] == "Ready" or one["status"] == "True", f"{one['type']} is {one['status']}"
        assert one["observedGeneration"] == status["observedGeneration"], f"{one['type']}: another generation"
        assert _REASON.fullmatch(one["reason"]), f"{one['type']}: reason {one['reason']!r}"
        assert one["message"], f"{one['type']} has no message"


def _check_phases(status: Json) -> None:
    tracks = {name: one for name, one in (status.get("tracks") or {}).items() if one}
    phases = {one["phase"] for one in tracks.values()} - {Phase.SKIPPED}
    if not tracks:  # nobody has got so far as to look at any
        assert status["phase"] == Phase.PENDING, f"phase {status['phase']} without tracks"
        return
    expected = next((phase for phase in _PRECEDENCE if phase in phases), Phase.SKIPPED)
    assert status["phase"] == expected, f"phase {status['phase']} of tracks {phases}"
    dirty = [name for name, one in tracks.items() if one.get("dirty")]
    assert bool(status.get("dirty")) == bool(dirty), f"dirty is {status.get('dirty')}, dirty tracks: {dirty}"
    if _has(status, "Ready")["status"] == "True":
        assert phases <= set(_DONE), f"Ready with tracks {phases}"
        shown = [name for name in dirty if tracks[name]["phase"] != Phase.SKIPPED]
        assert not shown, f"Ready, and {shown} dirty"


def _check_change(before: Json, after: Json) -> None:
    old, new = before.get("observedGeneration", -1), after["observedGeneration"]
    assert new >= old, f"observedGeneration went back from {old} to {new}"
    for one in after["conditions"]:
        was = _has(before, one["type"])
        if was and was["status"] == one["status"]:
            same = was["lastTransitionTime"] == one["lastTransitionTime"]
            assert same, f"{one['type']} stayed {one['status']}, its lastTransitionTime did not"
        elif was:
            back = one["lastTransitionTime"] < was["lastTransitionTime"]
            assert not back, f"the lastTransitionTime of {one['type']} went back"
    for name, track in (after.get("tracks") or {}).items():
        was = ((before.get("tracks") or {}).get(name) or {}).get("run", 0)
        run = (track or {}).get("run", 0)
        assert run >= was, f"{name}: run went back from {was} to {run}"
