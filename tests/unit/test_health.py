"""/healthz fails when reconciling has stopped, a failed watch begins anew, and metrics are as documented."""

import asyncio
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from fluxbase_migrations.api.status import SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.controller import app
from fluxbase_migrations.controller.app import Operator
from fluxbase_migrations.controller.process import http
from fluxbase_migrations.controller.process.metrics import Metrics
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.watch import handlers, namespace_watch
from fluxbase_migrations.controller.watch.namespace_watch import Watch
from fluxbase_migrations.controller.watch.store import Listed, ObjectKind, Store
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.result import Outcome
from tests.unit.api_in_memory import ApiInMemory

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
KEY = ("fluxbase", "shop")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Operator:
    """One that watches two namespaces and is patient for no time at all."""
    monkeypatch.setattr(app, "STUCK_AFTER", 0.0)
    api = ApiInMemory(lambda: NOW, lambda body: None)
    return Operator(Settings(image="image", namespaces=("one", "two")), api)


def test_a_set_that_nobody_gets_to_is_trouble(operator: Operator) -> None:
    assert operator.health_error() is None
    operator._queue.add(KEY)
    assert "a set has been in the queue" in str(operator.health_error())


def test_blindness_is_trouble_only_in_all_namespaces(operator: Operator) -> None:
    one, two = operator._watches
    one.mark_stale()
    assert operator.health_error() is None
    two.mark_stale()
    assert "no watch has delivered anything" in str(operator.health_error())
    one.mark_synced()
    assert operator.health_error() is None


@pytest.mark.parametrize(("health_error", "status"), [(None, 200), ("a set has been in the queue", 503)])
async def test_trouble_is_what_healthz_answers(health_error: str | None, status: int) -> None:
    server = await http.serve(0, Metrics(), lambda: health_error, lambda: None)
    # Port 0 is another number for IPv4 than for IPv6, and which of them comes first is not said.
    (port,) = {address[1] for address in server.addresses if address[0] == "0.0.0.0"}
    try:
        async with (
            aiohttp.ClientSession() as session,
            session.get(f"http://127.0.0.1:{port}/healthz") as answer,
        ):
            assert (answer.status, await answer.text()) == (status, health_error or "ok")
    finally:
        await server.cleanup()


async def test_a_watch_that_fails_is_blind_until_everything_is_listed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespace_watch, "PAUSE", 0.0)
    began, complete, failures = asyncio.Event(), list[str | None](), list[float]()
    tries = iter([OSError("refused"), OSError("refused"), None])

    async def watching(namespaces: tuple[str, ...], *, listed: Any, **_: Any) -> None:
        assert namespaces == ("one",)
        error = next(tries)
        if error:
            raise error
        for kind in ObjectKind:
            assert one.stale_for() > 0
            listed(kind, Listed())
        began.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(handlers, "watch", watching)
    one = Watch(
        "one",
        Store(),
        complete=complete.append,
        changed=lambda stored, gone: None,
        failed=lambda: failures.append(one.stale_for()),
    )
    running = asyncio.create_task(one.run())
    await asyncio.wait_for(began.wait(), 10)
    assert (complete, len(failures), one.stale_for()) == (["one"], 2, 0.0)
    running.cancel()
    await asyncio.wait({running})


class Forbidden(Exception):
    """As kopf raises it."""

    status, message = 403, "pods is forbidden"


async def test_a_watch_that_is_refused_twice_says_so_and_is_complete_again_when_it_no_longer_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(namespace_watch, "PAUSE", 0.0)
    complete, refusals, ended = list[str | None](), list[str | None](), asyncio.Event()
    ends = iter([Forbidden(), OSError(), Forbidden(), Forbidden(), OSError(), None])

    async def watching(namespaces: tuple[str, ...], *, listed: Any, **_: Any) -> None:
        error = next(ends)
        if error is None or not complete:
            for kind in ObjectKind:
                listed(kind, Listed())
        if error is not None:
            raise error
        ended.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(handlers, "watch", watching)
    one = Watch(
        None,
        Store(),
        complete=complete.append,
        changed=lambda stored, gone: None,
        failed=lambda: refusals.append(one.refusal),
    )
    running = asyncio.create_task(one.run())
    await asyncio.wait_for(ended.wait(), 10)
    told = Forbidden.message
    assert (refusals, one.refusal, len(complete)) == ([None, None, None, told, told], None, 2)
    running.cancel()
    await asyncio.wait({running})


async def test_a_watch_that_lists_nothing_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not there when kopf starts, kopf never looks for again."""
    monkeypatch.setattr(namespace_watch, "PAUSE", 0.0)
    monkeypatch.setattr(namespace_watch, "LISTED_WITHIN", 0.05)
    tries, complete = list[int](), asyncio.Event()

    async def watching(namespaces: tuple[str, ...], *, listed: Any, **_: Any) -> None:
        tries.append(1)
        for kind in (ObjectKind.JOB, ObjectKind.POD, *([ObjectKind.SET] if len(tries) == 2 else ())):
            listed(kind, Listed())
        await asyncio.Event().wait()

    monkeypatch.setattr(handlers, "watch", watching)
    one = Watch(
        None,
        Store(),
        complete=lambda namespace: complete.set(),
        changed=lambda stored, gone: None,
        failed=lambda: None,
    )
    running = asyncio.create_task(one.run())
    await asyncio.wait_for(complete.wait(), 10)
    await asyncio.wait({running}, timeout=0.2)
    assert (len(tries), running.done()) == (2, False)
    running.cancel()
    await asyncio.wait({running})


def test_every_documented_metric_is_there_and_a_deleted_set_has_none() -> None:
    metrics = Metrics()
    record = TrackStatus(
        phase=Phase.FAILED,
        version=5,
        dirty=True,
        outcome=Outcome.SQL_ERROR,
        started_at=NOW,
        finished_at=NOW + timedelta(seconds=3),
    )
    metrics.set_observed(KEY, SetStatus(tracks=TracksStatus(None, record)))
    metrics.run_ended(Track.USER, record)
    metrics.job_created(Track.USER)
    metrics.status_written()
    found = _samples(metrics)
    user = 'name="shop" namespace="fluxbase" track="user"'
    assert found[f"fluxbase_migrations_version {user}"] == 5
    assert found[f"fluxbase_migrations_dirty {user}"] == 1
    assert (
        found['fluxbase_migrations_phase name="shop" namespace="fluxbase" phase="Failed" track="user"'] == 1
    )
    assert (
        found['fluxbase_migrations_phase name="shop" namespace="fluxbase" phase="Applied" track="user"'] == 0
    )
    assert str(found[f"fluxbase_migrations_pending {user}"]) == "nan"
    assert found['fluxbase_migrations_runs_total outcome="SQLError" track="user"'] == 1
    assert found['fluxbase_migrations_run_seconds_sum track="user"'] == 3
    assert found['fluxbase_migrations_jobs_created_total track="user"'] == 1
    assert found["fluxbase_migrations_status_writes_total"] == 1

    told = set(
        re.findall(r"^\| `(fluxbase_migrations_\w+)`", (ROOT / "docs/operator.md").read_text(), re.MULTILINE)
    )
    parts = ("_sum", "_count", "_bucket", "_created")  # of histograms, and when counting began
    there = {re.sub(rf"({'|'.join(parts)})$", "", one.split(" ")[0]) for one in found}
    counters = {one.removesuffix("_total") for one in told if one.endswith("_total")}
    assert told == {one for one in there if one.startswith("fluxbase_")} - counters
    assert len(told) > 10
    metrics.set_removed(KEY)
    assert not [one for one in _samples(metrics) if "shop" in one]


def _samples(metrics: Metrics) -> dict[str, float]:
    return {
        " ".join(
            [sample.name, *(f'{key}="{value}"' for key, value in sorted(sample.labels.items()))]
        ): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
    }
