"""Our reading of kstatus' rules is kstatus' own: both read the same objects."""

import itertools
from pathlib import Path
from typing import Any

import yaml

from tests.support import kstatus
from tests.support.kstatus_program import read_by_kstatus

ROOT = Path(__file__).resolve().parents[2]
RECORDED = sorted((ROOT / "deploy" / "argocd").rglob("testdata/*.yaml"))
GENERATION = 3
STATES = ("True", "False", "Unknown", None)


def an_object(ready: str | None, reconciling: str | None, stalled: str | None, observed: int | None) -> Any:
    stated = {"Ready": ready, "Reconciling": reconciling, "Stalled": stalled}
    status: dict[str, Any] = {
        "conditions": [
            {"type": kind, "status": state, "reason": "Reason", "message": "message"}
            for kind, state in stated.items()
            if state is not None
        ]
    }
    if observed is not None:
        status["observedGeneration"] = observed
    metadata = {"name": "shop", "namespace": "fluxbase", "generation": GENERATION}
    kind = {"apiVersion": "fluxbase.io/v1alpha1", "kind": "FluxbaseMigrationSet"}
    return {**kind, "metadata": metadata, "status": status}


def test_every_combination_of_conditions_and_generations() -> None:
    objects = [
        an_object(*stated, observed)
        for stated in itertools.product(STATES, STATES, STATES)
        for observed in (GENERATION, GENERATION - 1, -1, None)
    ]
    gone = an_object("True", None, None, GENERATION)
    gone["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z"
    objects += [gone, {**gone, "status": {}}, {**objects[0], "status": {"observedGeneration": -1}}]
    ours = [kstatus.compute(one) for one in objects]
    assert ours == read_by_kstatus(objects)
    assert set(ours) == {"Current", "InProgress", "Failed", "Terminating"}


def test_recorded_sets() -> None:
    """Those that Argo CD's health check is tested with: each file says in its name what it is."""
    assert len(RECORDED) > 10
    objects = [yaml.safe_load(path.read_text()) for path in RECORDED]
    expected = {
        "healthy": "Current",
        "progressing": "InProgress",
        "degraded": "Failed",
        "suspended": "Failed",
    }
    read = dict(zip((path.name for path in RECORDED), read_by_kstatus(objects), strict=True))
    assert read == {path.name: expected[path.name.partition("_")[0]] for path in RECORDED}
    assert list(read.values()) == [kstatus.compute(one) for one in objects]
