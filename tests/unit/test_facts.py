"""Facts are shown only of the database that they were read from."""

import math
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.api.status import JobReference, Owner, SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.controller.process.metrics import Metrics
from fluxbase_migrations.core.digest import digest_of
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.decisions.actions import CreateJob, job_name
from fluxbase_migrations.decisions.decide import ObservedSet, SetDecision, decide
from fluxbase_migrations.decisions.desired import Blocked, Desired
from fluxbase_migrations.decisions.observed import ObservedTrack
from tests.unit.test_decide import APPLIED, DISABLED, JOB, NOW, RUNNING, UID, WANT, conditions, ended

OLD = DatabaseIdentity("shop", "7001", 16384, "history")
NEW = DatabaseIdentity("shop", "7002", 16384, "history")
READ = replace(APPLIED, database=OLD, read_at=NOW, database_digest="old", pending=0)


@pytest.mark.parametrize(
    ("other", "another"),
    [
        (OLD, False),
        (replace(OLD, name="renamed"), False),
        (replace(OLD, system_identifier="7002"), True),
        (replace(OLD, oid=16385), True),
        (replace(OLD, history_id="other"), True),
        (replace(OLD, history_id=None), False),
        (replace(OLD, system_identifier=None), False),
        (None, False),
    ],
    ids=["same", "renamed", "restored", "made again", "new history", "no history", "no right", "unknown"],
)
def test_two_databases_are_told_apart_by_what_is_known_of_both(
    other: DatabaseIdentity | None, another: bool
) -> None:
    assert differs(OLD, other) is another
    assert differs(other, OLD) is another


def seen(system: TrackStatus, user: TrackStatus, **more: Any) -> ObservedSet:
    """A set with both tracks read from the old database."""
    tracks = {track: ObservedTrack(track, WANT) for track in Track}
    status = SetStatus(database=OLD, database_digest="old", tracks=TracksStatus(system, user))
    given: dict[str, Any] = {"tracks": tracks, "status": status, "database_digest": "old", **more}
    return ObservedSet(uid=UID, name="shop", generation=1, now=NOW, **given)


def metric(made: SetDecision, name: str) -> float:
    """Of the user track."""
    metrics, labels = Metrics(), {"namespace": "fluxbase", "name": "shop", "track": "user"}
    metrics.set_observed(("fluxbase", "shop"), made.status)
    value = metrics._registry.get_sample_value(f"fluxbase_migrations_{name}", labels)
    assert value is not None
    return value


def shown(made: SetDecision, track: Track) -> dict[str, Any]:
    record = made.status.tracks.of(track)
    return {
        "version": record.version,
        "dirty": record.dirty,
        "pending": record.pending,
        "database": record.database,
        "claimed": record.claimed_by,
    }


NOTHING = {"version": None, "dirty": False, "pending": None, "database": None, "claimed": None}


@pytest.mark.parametrize(
    "user",
    [
        READ,
        replace(READ, dirty=True, outcome=Outcome.DIRTY, phase=Phase.FAILED),
        replace(READ, outcome=Outcome.CONFLICT, claimed_by=Owner("a/first", "1"), phase=Phase.FAILED),
        replace(READ, outcome=Outcome.UNREACHABLE, waits=3, retry_at=NOW + timedelta(minutes=5)),
    ],
    ids=["applied", "dirty", "claimed", "unreachable"],
)
@pytest.mark.parametrize(
    "desired",
    [WANT, Blocked(Outcome.SOURCE_EMPTY, "empty", empty=WANT), Blocked(Reason.SOURCE_MISSING, "missing")],
    ids=["files", "empty", "missing"],
)
def test_another_database_in_the_spec_drops_what_was_read_of_the_former_one(
    user: TrackStatus, desired: Desired
) -> None:
    tracks = {track: ObservedTrack(track, desired) for track in Track}
    made = decide(seen(READ, user, tracks=tracks, database_digest="new"))
    assert [shown(made, track) for track in Track] == [NOTHING, NOTHING]
    assert (made.status.database, made.status.dirty, made.status.pending) == (None, None, None)
    assert {made.status.tracks.of(track).phase for track in Track} == {Phase.PENDING}
    assert "DatabaseChanged" in [note.reason for note in made.notes]
    for name in ("version", "dirty", "pending"):
        assert math.isnan(metric(made, name)), name


def test_a_run_on_the_former_database_tells_nothing_of_the_new_one() -> None:
    name = job_name("shop", UID, Track.SYSTEM, 2)
    running = replace(READ, run=2, job=JobReference(name, "job"), finished_at=None, phase=Phase.RUNNING)
    job, pod = replace(JOB, name=name, run=2), replace(RUNNING, run=2)
    tracks = {track: ObservedTrack(track, WANT) for track in Track}
    tracks[Track.SYSTEM] = replace(tracks[Track.SYSTEM], jobs=(job,), pods=(pod,))
    during = decide(seen(running, READ, tracks=tracks, database_digest="new"))
    assert during.status.tracks.of(Track.SYSTEM).phase is Phase.RUNNING
    assert shown(during, Track.SYSTEM) == NOTHING
    for result in (Result(Outcome.APPLIED, version=9, observed=True, database=OLD), None):
        done = replace(ended(result), run=2)
        tracks[Track.SYSTEM] = replace(tracks[Track.SYSTEM], pods=(done,))
        after = decide(seen(running, READ, tracks=tracks, database_digest="new", status=during.status))
        assert shown(after, Track.SYSTEM) == NOTHING
        assert [one.run for one in after.actions if isinstance(one, CreateJob)] == [3]


@pytest.mark.parametrize(
    "finished_at",
    [NOW + timedelta(seconds=1), NOW, NOW - timedelta(minutes=1)],
    ids=["later", "the same second", "by a clock that is behind"],
)
def test_another_database_behind_the_same_spec_is_told_and_looked_at_from_the_beginning(
    finished_at: datetime,
) -> None:
    """Restored, dropped and made again, or the Secret's content was exchanged."""
    name = job_name("shop", UID, Track.USER, 2)
    planned = replace(READ, run=2, job=JobReference(name, "job"), finished_at=None)
    result = Result(
        Outcome.DATABASE_CHANGED, version=1, observed=True, database=NEW, error=ErrorInfo("another")
    )
    tracks = {track: ObservedTrack(track, WANT) for track in Track}
    tracks[Track.USER] = replace(
        tracks[Track.USER],
        jobs=(replace(JOB, name=name, run=2),),
        pods=(replace(ended(result), run=2, finished_at=finished_at),),
    )
    made = decide(seen(READ, planned, tracks=tracks))
    assert shown(made, Track.SYSTEM) == NOTHING
    assert shown(made, Track.USER)["version"] == 1
    assert made.status.database == NEW
    assert [(one.track, one.run) for one in made.actions if isinstance(one, CreateJob)] == [(Track.SYSTEM, 2)]
    assert {note.reason for note in made.notes if note.warning} == {"DatabaseChanged", "DatabaseReplaced"}
    again = decide(replace(seen(READ, planned, tracks=tracks), status=made.status))
    assert again.status == made.status
    assert again.notes == ()


def test_of_a_database_that_was_found_and_not_read_nothing_is_shown() -> None:
    """It is not called empty: a copy, or a restored one, holds as much as the former."""
    name = job_name("shop", UID, Track.SYSTEM, 2)
    planned = replace(READ, run=2, job=JobReference(name, "job"), finished_at=None)
    tracks = {track: ObservedTrack(track, WANT) for track in Track}
    tracks[Track.SYSTEM] = replace(
        tracks[Track.SYSTEM],
        jobs=(replace(JOB, name=name, run=2),),
        pods=(replace(ended(Result(Outcome.DATABASE_CHANGED, database=NEW, error=ErrorInfo("no"))), run=2),),
    )
    made = decide(seen(planned, READ, tracks=tracks))
    assert (made.status.database, made.status.dirty, made.status.pending) == (NEW, None, None)
    assert [shown(made, track) for track in Track] == [{**NOTHING, "database": NEW}, NOTHING]
    for name in ("version", "dirty", "pending"):
        assert math.isnan(metric(made, name)), name


def test_the_user_track_is_told_which_database_the_system_track_was_applied_to() -> None:
    tracks = {track: ObservedTrack(track, WANT) for track in Track}
    made = decide(seen(READ, TrackStatus(), tracks=tracks))
    (job,) = (one for one in made.actions if isinstance(one, CreateJob))
    assert (job.track, job.expected_database, job.database_digest) == (Track.USER, OLD, "old")


@pytest.mark.parametrize("phase", [Phase.APPLIED, Phase.SKIPPED])
def test_a_dirty_track_is_never_ready(phase: Phase) -> None:
    tracks = {track: ObservedTrack(track, WANT) for track in Track}
    if phase is Phase.SKIPPED:
        tracks[Track.USER] = ObservedTrack(Track.USER, DISABLED)
    made = decide(seen(READ, replace(READ, dirty=True), tracks=tracks))
    assert made.status.tracks.of(Track.USER).phase is phase
    assert conditions(made) == {"Ready": "False", "Stalled": "True"}


def test_what_stands_in_the_database_is_shown_without_control_characters() -> None:
    result = Result(
        Outcome.CONFLICT,
        owner="a\nb/c",
        owner_uid="\x1b[31m",
        taken_from="x\ry",
        database=replace(OLD, name="shop\nReady"),
    )
    assert result.database is not None
    for text in (result.owner, result.owner_uid, result.taken_from, result.database.name):
        assert text is not None
        assert text.isprintable()


def test_a_digest_in_a_status_is_the_same_after_an_upgrade() -> None:
    """With another one, an upgrade of the operator would start a run of every set."""
    assert digest_of("a", None, 3) == (
        "sha256:0d3f8d9fea94245ff27a28a562ac4fb5c2b0eeddeda3ebb51f0deec7443fd6a4"
    )
