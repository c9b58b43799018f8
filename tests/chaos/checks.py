"""What must hold of every round, however it went."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import inf
from typing import Any

from fluxbase_migrations.core.names import Track
from tests import kstatus
from tests.chaos.database import Interval
from tests.chaos.history import Revision
from tests.chaos.life import Life
from tests.chaos.migrations import executed_in_full
from tests.chaos.node import Container

Json = dict[str, Any]

LATE = 0.5
"""Seconds by which a write may be seen later than it was made."""
SYSTEM_VERSIONS = range(1, 7)


def check_database(life: Life) -> None:
    """Each migration took effect once, and the ledger says so."""
    rows, version = life.database.row(), life.version
    expected = [(version, life.fails)] if version is not None else []
    assert [row for row in rows if row[0] >= 0] == expected, f"{life.name}: row {rows}, not {expected}"
    did = executed_in_full(life.source.migrations.values(), life.database.executed())
    applied = life.database.applied(Track.USER)
    reached = (version or 0) - life.fails
    for number, directions in did.items():
        told = f"{life.name}: version {number} was executed {directions}, by the ledger {applied.get(number)}"
        assert applied.get(number, []) == directions, told
        assert len(directions) % 2 == (number <= reached), f"{told}; the row is {rows}"
    system = life.database.applied(Track.SYSTEM)
    wanted = {number: ["up"] for number in SYSTEM_VERSIONS} if life.script.system else {}
    assert system == wanted, f"{life.name}: system, by the ledger: {system}"
    forced = life.database.forced()
    assert len(set(forced)) == len(forced), f"{life.name}: a force command was obeyed twice: {forced}"
    assert life.token is None or life.token in forced, f"{life.name}: {life.token} not obeyed, only {forced}"


def check_status(revisions: Sequence[Revision]) -> int:
    """Every write keeps the rules; returns how many there were."""
    before: Json | None = None
    for one in revisions:
        if one.body is not None:
            try:
                kstatus.check(one.body, before)
            except AssertionError as error:
                was = (before or {}).get("status")
                told = f"{one.name} at {one.version}: {error}\n{one.body.get('status')}\nbefore: {was}"
                raise AssertionError(told) from None
        before = one.body
    return len(revisions)


def check_never_ready_while_dirty(dirty: Iterable[Interval], revisions: Sequence[Revision]) -> None:
    """Ready was never said while a tracking row was dirty."""
    for since, until in dirty:
        for begin, end in _ready_times(revisions):
            assert min(until, end - LATE) <= max(since, begin), (
                f"{revisions[0].name} was Ready from {_clock(begin)} to {_clock(end)}, while a row was dirty "
                f"from {_clock(since)} to {_clock(until)}"
            )


def check_never_ready_in_flight(revisions: Sequence[Revision], containers: Iterable[Container]) -> None:
    """Ready was never said while a container of the set ran."""
    for container in containers:
        if container.started is None:
            continue
        own = [one for one in revisions if one.body and one.body["metadata"]["uid"] == container.set_uid]
        until = container.ended or inf
        at_start = [one for one in own if one.version <= container.started][-1:]
        during = [one for one in own if container.started < one.version < until]
        for one in at_start + during:
            assert one.body is not None
            assert not _ready(one.body), f"Ready at {one.version} while this ran: {container}"


def check_no_job_in_flight_deleted(requests: Sequence[Json], containers: Iterable[Container]) -> int:
    """The operator deleted no Job after it had read that its container runs; returns how many it deleted."""
    deleted = 0
    by_job = {container.job: container for container in containers}
    listed: list[tuple[float, str]] = []
    for request in requests:
        about, uri = request.get("objectRef") or {}, request["requestURI"]
        at = datetime.fromisoformat(request["requestReceivedTimestamp"]).timestamp()
        if request["verb"] == "list" and about.get("resource") == "pods":
            listed.append((at, uri))
        if request["verb"] != "delete" or about.get("resource") != "jobs":
            continue
        container = by_job.get(about.get("name", ""))
        if container is None or request.get("responseStatus", {}).get("code", 0) >= 400:
            continue
        deleted += 1
        looked = max((when for when, what in listed if container.set_name in what), default=0.0)
        running, ended = container.seen_running or inf, container.seen_ended or inf
        assert not running < looked < ended, (
            f"the operator deleted the Job of {container} at {_clock(at)}; at {_clock(looked)} it had read "
            f"that its container runs, which it did from {_clock(running)} to {_clock(ended)}"
        )
    return deleted


def _ready(body: Json) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def _ready_times(revisions: Sequence[Revision]) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []
    since: float | None = None
    for one in revisions:
        ready = one.body is not None and _ready(one.body)
        if ready and since is None:
            since = one.at
        elif not ready and since is not None:
            found.append((since, one.at))
            since = None
    return [*found, (since, inf)] if since is not None else found


def _clock(at: float) -> str:
    return "ever" if at == inf else f"{datetime.fromtimestamp(at):%H:%M:%S.%f}"
