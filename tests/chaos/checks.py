"""What must hold of every round, however it went."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from math import inf

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import Track
from tests.chaos.database import Database
from tests.chaos.history import Revision
from tests.chaos.life import Life
from tests.chaos.migrations import executed_in_full
from tests.chaos.node import Container
from tests.chaos.rows import Interval
from tests.support import kstatus

LATE = 0.5
"""Seconds by which a write may be seen later than it was made."""
SYSTEM_VERSIONS = range(1, 7)


def check_database(life: Life) -> None:
    """In the set's database each migration took effect once, and the history says so."""
    database = life.places.current
    rows, version = database.row(), life.version
    expected = [(version, life.fails)] if version is not None else []
    assert [row for row in rows if row[0] >= 0] == expected, f"{life.name}: row {rows}, not {expected}"
    did = executed_in_full(life.source.migrations.values(), database.executed())
    applied = database.applied(Track.USER)
    reached = (version or 0) - life.fails
    for number, directions in did.items():
        told = (
            f"{life.name}: version {number} was executed {directions}, by the history {applied.get(number)}"
        )
        assert applied.get(number, []) == directions, told
        assert len(directions) % 2 == (number <= reached), f"{told}; the row is {rows}"
    system = database.applied(Track.SYSTEM)
    wanted = {number: ["up"] for number in SYSTEM_VERSIONS} if life.script.system else {}
    assert system == wanted, f"{life.name}: system, by the history: {system}"


def check_left_database(life: Life, database: Database) -> None:
    """In a database that the set was led away from, nothing took effect twice, and the history says what did.

    Its last file may have been interrupted; the row is dirty then.
    """
    told = f"{life.name}: in OID {database.oid}"
    rows = database.row()
    interrupted = next((version for version, dirty in rows if dirty), None)
    did = executed_in_full(life.source.migrations.values(), database.executed(), interrupted=interrupted)
    try:
        check_history(did, database.applied(Track.USER), interrupted)
    except AssertionError as error:
        raise AssertionError(f"{told}, row {rows}, {error}") from None
    system = database.applied(Track.SYSTEM)
    assert all(directions == ["up"] for directions in system.values()), f"{told}, system: {system}"


def check_history(
    did: Mapping[int, list[str]], applied: Mapping[int, list[str]], interrupted: int | None
) -> None:
    """The history says what was executed; of an interrupted file all may have been, and not be recorded."""
    for number, directions in did.items():
        found = applied.get(number, [])
        unrecorded = number == interrupted and directions[:-1] == found
        assert found == directions or unrecorded, (
            f"version {number} was executed {directions}, by the history {found}"
        )


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


def check_never_ready_while_dirty(
    oid: int,
    dirty: Sequence[Interval],
    owned: Mapping[str, Sequence[Interval]],
    revisions: Sequence[Revision],
) -> None:
    """No set said Ready of a database, which it owned, while a tracking row was dirty there."""
    for uid, times in owned.items():
        ready = _ready_times(revisions, uid, oid)
        for since, until in common(times, dirty):
            for begin, end in ready:
                assert min(until, end - LATE) <= max(since, begin), (
                    f"{revisions[0].name} was Ready from {_clock(begin)} to {_clock(end)}, while a row was "
                    f"dirty from {_clock(since)} to {_clock(until)} in OID {oid}"
                )


def common(some: Sequence[Interval], others: Sequence[Interval]) -> list[Interval]:
    """The times that are in both."""
    pairs = [(max(a, c), min(b, d)) for a, b in some for c, d in others]
    return [(since, until) for since, until in pairs if since < until]


def check_never_ready_in_flight(revisions: Sequence[Revision], containers: Iterable[Container]) -> None:
    """Ready was never said while a container of the set ran, but for a routine check, which keeps it."""
    for container in containers:
        if container.started is None:
            continue
        own = [one for one in revisions if one.body and one.body["metadata"]["uid"] == container.set_uid]
        until = container.ended or inf
        at_start = [one for one in own if one.version <= container.started][-1:]
        during = [one for one in own if container.started < one.version < until]
        for one in at_start + during:
            assert one.body is not None
            told = f"Ready at {one.version} while this ran: {container}"
            assert not _ready(one.body) or _is_routine(one.body, container), told


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
        assert not (running < looked < ended and at < ended), (
            f"the operator deleted the Job of {container} at {_clock(at)}; at {_clock(looked)} it had read "
            f"that its container runs, which it did from {_clock(running)} to {_clock(ended)}"
        )
    return deleted


def check_slots(containers: Iterable[Container], slots: int) -> int:
    """Not more containers ran at once than there are slots; returns how many did.

    A container's end is counted from before it was told, and its begin from afterwards: not to be mistaken.
    """
    ran = [(one.seen_running, one.exited or inf) for one in containers if one.seen_running is not None]
    most = max((sum(begin <= at < end for begin, end in ran) for at, _ in ran), default=0)
    assert most <= slots, f"{most} containers ran at once, with {slots} slots: {sorted(ran)}"
    return most


def _is_routine(body: Json, container: Container) -> bool:
    """Whether the status says that the container's run is a look at a database in which nothing is due."""
    record = ((body.get("status") or {}).get("tracks") or {}).get(container.track) or {}
    return record.get("run") == container.run and bool(record.get("routine"))


def _ready(body: Json) -> bool:
    conditions = (body.get("status") or {}).get("conditions") or ()
    return any((one["type"], one["status"]) == ("Ready", "True") for one in conditions)


def _ready_times(revisions: Sequence[Revision], uid: str, oid: int) -> list[Interval]:
    """When the set with this uid was Ready, and showed a track of this database."""
    found: list[Interval] = []
    since: float | None = None
    for one in revisions:
        ready = one.body is not None and _ready(one.body) and _is_about(one.body, uid, oid)
        if ready and since is None:
            since = one.at
        elif not ready and since is not None:
            found.append((since, one.at))
            since = None
    return [*found, (since, inf)] if since is not None else found


def _is_about(body: Json, uid: str, oid: int) -> bool:
    tracks = ((body.get("status") or {}).get("tracks") or {}).values()
    oids = {(track.get("database") or {}).get("oid") for track in tracks}
    return body["metadata"]["uid"] == uid and oid in oids


def _clock(at: float) -> str:
    return "ever" if at == inf else f"{datetime.fromtimestamp(at):%H:%M:%S.%f}"
