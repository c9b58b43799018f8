"""What is known of tracks that were taken over lasts as long as the set whose status says so."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from fluxbase_migrations.api.status import Owner, TrackStatus
from fluxbase_migrations.controller.app import Operator
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.takeovers import Takeovers
from fluxbase_migrations.core.names import API_VERSION, KIND, Track
from tests.unit.api_in_memory import ApiInMemory

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
FORMER, TAKER, OTHER = ("a", "former"), ("b", "taker"), ("c", "other")
TAKEN = TrackStatus(taken_from=Owner("a/former", "uid"), taken_at=NOW)
KEPT = TrackStatus()


def test_a_loss_is_news_once() -> None:
    takeovers = Takeovers()
    assert takeovers.note(TAKER, Track.USER, KEPT) is None
    assert takeovers.note(TAKER, Track.USER, TAKEN) == FORMER
    assert takeovers.note(TAKER, Track.USER, TAKEN) is None
    assert takeovers.lost(FORMER) == {Track.USER: ("uid", NOW)}
    later = replace(TAKEN, taken_at=NOW + timedelta(hours=1))
    assert takeovers.note(TAKER, Track.USER, later) == FORMER
    assert takeovers.lost(FORMER) == {Track.USER: ("uid", later.taken_at)}


def test_of_two_takers_the_last_one_counts() -> None:
    takeovers = Takeovers()
    later = replace(TAKEN, taken_at=NOW + timedelta(hours=1))
    takeovers.note(OTHER, Track.USER, later)
    takeovers.note(TAKER, Track.USER, TAKEN)
    takeovers.note(TAKER, Track.SYSTEM, TAKEN)
    assert takeovers.lost(FORMER) == {Track.USER: ("uid", later.taken_at), Track.SYSTEM: ("uid", NOW)}


def test_nothing_is_kept_of_a_taker_that_is_gone_or_says_it_no_more() -> None:
    takeovers = Takeovers()
    for track in Track:
        takeovers.note(TAKER, track, TAKEN)
    takeovers.note(TAKER, Track.USER, KEPT)
    assert takeovers.lost(FORMER) == {Track.SYSTEM: ("uid", NOW)}
    takeovers.forget(TAKER)
    assert (len(takeovers), takeovers.lost(FORMER)) == (0, {})


SECRET = {"secretKeyRef": {"name": "db", "key": "url"}}
STATUS = {
    "tracks": {
        "system": {
            "phase": "Failed",
            "outcome": "Conflict",
            "run": 1,
            "claimedBy": {"name": "other-namespace/owner", "uid": "uid-of-owner", "cluster": "elsewhere"},
        },
        "user": {
            "phase": "Skipped",
            "takenFrom": {"name": "fluxbase/former", "uid": "uid-of-former"},
            "takenAt": "2026-01-31T12:00:00Z",
        },
    }
}


def migration_set(name: str, status: Mapping[str, Any] | None = None) -> dict[str, Any]:
    metadata = {"name": name, "namespace": "fluxbase"}
    body = {"apiVersion": API_VERSION, "kind": KIND, "metadata": metadata}
    return {**body, "spec": {"database": {"urlFrom": SECRET}}, "status": status or {}}


def test_the_operator_keeps_nothing_of_sets_that_are_gone() -> None:
    api = ApiInMemory(lambda: NOW, lambda _: None)
    api.put(path_of(Resource.NAMESPACES, None, "fluxbase"), {"metadata": {"name": "fluxbase"}})
    operator = Operator(Settings(image="image", namespaces=("fluxbase",)), api)
    reconciler = operator._reconciler

    kept: set[str] = set()

    def now_kept() -> set[str]:
        stores = {
            "remembered": reconciler._remembered,
            "claimed": reconciler._claimed,
            "takeovers": reconciler._takeovers,
            "clusters": reconciler._observer._owners._clusters,
        }
        return {name for name, store in stores.items() if len(store)}  # type: ignore[arg-type]

    async def live_and_die(name: str, status: Mapping[str, Any] | None) -> None:
        path = path_of(Resource.SETS, "fluxbase", name)
        for _ in range(2):  # and the next one of that name
            api.put(path, migration_set(name, status))
            api.show(operator._store)
            await reconciler.reconcile(("fluxbase", name))
            kept.update(now_kept())
            del api.objects[path]
            api.show(operator._store)
        await reconciler.reconcile(("fluxbase", name))

    for number in range(3):
        asyncio.run(live_and_die(f"kept-out-{number}", STATUS))
        asyncio.run(live_and_die(f"plain-{number}", None))
    assert kept == {"remembered", "claimed", "takeovers", "clusters"}
    assert now_kept() == set()
