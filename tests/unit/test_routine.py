"""A routine check keeps the status as it was until it has found something."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fluxbase_migrations.api.status import Owner, Progress, SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.decisions.actions import CreateJob, job_name
from fluxbase_migrations.decisions.decide import ObservedSet, SetDecision, decide
from fluxbase_migrations.decisions.job_state import Container
from fluxbase_migrations.decisions.observed import ObservedTrack, Queue, Refusal
from fluxbase_migrations.decisions.owner import OwnerState
from tests.unit.test_decide import APPLIED, DISABLED, JOB, NOW, POD, RUNNING, UID, WANT, conditions, ended
from tests.unit.test_facts import NEW, OLD, READ

DAY = timedelta(days=1)
DAILY = replace(WANT, recheck=DAY)
TOMORROW = NOW + DAY
VOLUME = replace(WANT, volume="files, path .")
READY = {"Ready": "True"}


def look(record: TrackStatus | SetStatus, **more: Any) -> SetDecision:
    """Decide about a set whose system track is disabled, a day after its last run."""
    given = {
        name: more.pop(name)
        for name in ("jobs", "pods", "progress", "queue", "refusal", "owner", "lost_at")
        if name in more
    }
    user = ObservedTrack(Track.USER, more.pop("desired", DAILY), **given)
    status = record
    if isinstance(status, TrackStatus):
        status = SetStatus(database=OLD, database_digest="old", tracks=TracksStatus(None, status))
    context: dict[str, Any] = {"now": TOMORROW, "database_digest": "old", **more}
    tracks = {Track.SYSTEM: ObservedTrack(Track.SYSTEM, DISABLED), Track.USER: user}
    return decide(ObservedSet(UID, "shop", 1, tracks=tracks, status=status, **context))


def user(made: SetDecision) -> TrackStatus:
    return made.status.tracks.of(Track.USER)


def job_of(made: SetDecision) -> CreateJob | None:
    return next((one for one in made.actions if isinstance(one, CreateJob)), None)


def run_of(made: SetDecision, result: Result | None = None, **more: Any) -> dict[str, Any]:
    """Job and pod of the run that was planned."""
    run = user(made).run
    job = replace(JOB, name=job_name("shop", UID, Track.USER, run), run=run, **more)
    pod = ended(result) if result or more.get("ended") else RUNNING
    return {"jobs": (job,), "pods": (replace(pod, run=run, finished_at=TOMORROW),)}


SETTLED = {
    "applied": READ,
    "rolled back": replace(
        READ,
        phase=Phase.ROLLED_BACK,
        reason="RolledBack",
        outcome=Outcome.ROLLED_BACK,
        rolled_back=True,
        latest=9,
    ),
}


@pytest.mark.parametrize("record", SETTLED.values(), ids=SETTLED.keys())
def test_a_look_that_finds_nothing_is_not_seen(record: TrackStatus) -> None:
    before = look(record, now=NOW)
    assert conditions(before) == READY
    planned = look(before.status)
    assert job_of(planned) is not None
    steps = [planned]
    for more in (
        {"queue": Queue("maxConcurrentJobs", 1, 0)},
        {"jobs": run_of(planned)["jobs"], "pods": (replace(POD, run=2),)},
        run_of(planned),
        run_of(planned, Result(Outcome.NO_CHANGE, version=4, observed=True, database=OLD, latest=9)),
    ):
        steps.append(look(steps[-1].status, **more))
    for step in steps:
        assert step.status.conditions == before.status.conditions
        assert (user(step).phase, user(step).message) == (user(before).phase, user(before).message)
        assert step.notes == ()
    assert user(steps[-1]).read_at == TOMORROW
    assert steps[-1].due == TOMORROW + DAY


FOUND = {
    "another version": (Result(Outcome.AHEAD_OF_SOURCE, version=9, observed=True, database=OLD), "Failed"),
    "a dirty mark": (Result(Outcome.DIRTY, version=4, dirty=True, observed=True, database=OLD), "Failed"),
    "new files": (Result(Outcome.APPLIED, version=5, observed=True, database=OLD), "Applied"),
    "a file that fails": (
        Result(Outcome.SQL_ERROR, version=5, dirty=True, observed=True, error=ErrorInfo("no")),
        "Failed",
    ),
    "a view that everybody reads": (
        Result(Outcome.EXPOSED, version=4, observed=True, database=OLD, error=ErrorInfo("public.v")),
        "Failed",
    ),
    "a platform without its roles": (
        Result(Outcome.PLATFORM_INCOMPLETE, version=4, observed=True, database=OLD, error=ErrorInfo("anon")),
        "Pending",
    ),
    "no server": (Result(Outcome.UNREACHABLE, error=ErrorInfo("no such database")), "Pending"),
    "no login": (Result(Outcome.AUTHENTICATION_FAILED, error=ErrorInfo("no")), "Pending"),
    "another owner": (Result(Outcome.CONFLICT, owner="a/b", owner_uid="1", observed=True), "Failed"),
}


@pytest.mark.parametrize(("result", "phase"), FOUND.values(), ids=FOUND.keys())
def test_what_a_look_finds_is_seen(result: Result, phase: str) -> None:
    planned = look(READ)
    made = look(planned.status, **run_of(planned, result))
    assert user(made).phase == phase
    assert user(made).version == (result.version if result.observed else READ.version)
    assert conditions(made)["Ready"] == ("True" if phase == "Applied" else "False")
    assert user(made).routine is None


def test_a_look_that_finds_another_database_or_an_edited_file_says_so() -> None:
    planned = look(READ)
    result = Result(Outcome.NO_CHANGE, version=4, observed=True, database=NEW)
    made = look(planned.status, **run_of(planned, result))
    assert "DatabaseReplaced" in [note.reason for note in made.notes]
    edited = replace(result, database=OLD, warnings=("001_a.up.sql was edited after it was applied",))
    made = look(planned.status, **run_of(planned, edited))
    assert user(made).warnings == edited.warnings
    assert "MigrationWarning" in [note.reason for note in made.notes]


@pytest.mark.parametrize("outcome", [Outcome.LOCK_HELD, Outcome.INTERRUPTED, Outcome.TRANSIENT, None])
def test_a_look_that_could_not_look_is_repeated_without_being_seen(outcome: Outcome | None) -> None:
    planned = look(READ)
    result = Result(outcome, error=ErrorInfo("no")) if outcome else None
    made = look(planned.status, **run_of(planned, result, ended=True))
    assert conditions(made) == READY
    again = look(made.status, now=TOMORROW + timedelta(minutes=1))
    assert conditions(again) == READY
    job = job_of(again)
    assert job is not None
    assert job.run == 3
    done = Result(Outcome.NO_CHANGE, version=4, observed=True, database=OLD)
    last = look(again.status, now=TOMORROW + timedelta(minutes=2), **run_of(again, done))
    assert (conditions(last), user(last).routine) == (READY, None)


def test_a_look_that_runs_files_shows_them() -> None:
    planned = look(READ)
    progress = Progress("005_x.up.sql", 1, 2, TOMORROW)
    made = look(planned.status, progress=progress, **run_of(planned))
    assert (user(made).phase, conditions(made)["Ready"]) == (Phase.RUNNING, "False")


@pytest.mark.parametrize(
    "change",
    [{"desired": replace(DAILY, base="newer")}, {"database_digest": "new"}],
    ids=["another source", "another database"],
)
def test_a_change_during_a_look_is_seen_at_once(change: dict[str, Any]) -> None:
    planned = look(READ)
    made = look(planned.status, **run_of(planned), **change)
    assert conditions(made) == {"Ready": "False", "Reconciling": "True"}


def test_a_look_whose_job_does_not_start_is_told_beside_what_was_there() -> None:
    planned = look(READ)
    pod = replace(POD, run=2, container=Container.WAITING, waiting_reason="ImagePullBackOff")
    made = look(planned.status, jobs=run_of(planned)["jobs"], pods=(pod,))
    assert conditions(made) == READY
    assert "routine check: pod has not started: ImagePullBackOff" in (user(made).message or "")
    refusal = Refusal(2, "template", "exceeded quota", False, TOMORROW + DAY)
    made = look(planned.status, refusal=refusal)
    assert conditions(made) == READY
    assert "exceeded quota" in (user(made).message or "")


def test_the_user_track_waits_for_a_look_at_the_system_track() -> None:
    tracks = {track: ObservedTrack(track, DAILY) for track in Track}
    status = SetStatus(database=OLD, database_digest="old", tracks=TracksStatus(READ, READ))
    seen = ObservedSet(UID, "shop", 1, TOMORROW, tracks, status, database_digest="old")
    made = decide(seen)
    assert [one.track for one in made.actions if isinstance(one, CreateJob)] == [Track.SYSTEM]
    assert conditions(made) == READY
    edited = {**tracks, Track.USER: ObservedTrack(Track.USER, replace(DAILY, base="newer"))}
    waiting = decide(replace(seen, status=made.status, tracks=edited))
    assert waiting.status.tracks.of(Track.USER).reason == "WaitingForSystem"
    assert conditions(waiting) == {"Ready": "False", "Reconciling": "True"}


def test_a_volume_that_must_not_be_empty_is_looked_at_again_ever_later() -> None:
    made, now, delays = look(APPLIED, desired=VOLUME, now=NOW), NOW, []
    record = replace(APPLIED, version=None, outcome=Outcome.SOURCE_EMPTY, waits=1)
    for _ in range(7):
        made = look(record, desired=VOLUME, now=now)
        assert (user(made).phase, user(made).reason) == (Phase.PENDING, "SourceEmpty")
        assert made.due is not None
        delays.append((made.due - now).total_seconds())
        now = made.due
        planned = look(made.status, desired=VOLUME, now=now)
        job, pod = run_of(planned)["jobs"], ended(Result(Outcome.SOURCE_EMPTY))
        pods = (replace(pod, run=user(planned).run, finished_at=now),)
        record = user(look(planned.status, desired=VOLUME, now=now, jobs=job, pods=pods))
    assert delays == [10, 20, 40, 80, 160, 300, 300]


@pytest.mark.parametrize("before", [True, False])
def test_allow_empty_counts_at_once(before: bool) -> None:
    record = replace(APPLIED, version=None, outcome=Outcome.SOURCE_EMPTY, waits=1)
    first = look(record, desired=replace(VOLUME, allow_empty=before), now=NOW)
    desired = replace(VOLUME, allow_empty=not before)
    then = look(first.status, desired=desired, now=NOW)
    assert {conditions(one)["Ready"] for one in (first, then)} == {"True", "False"}
    assert job_of(then) is None


def test_a_former_owner_is_looked_at_once_and_sees_that_it_lost_the_track() -> None:
    taken_at = NOW + timedelta(hours=1)
    at = {"now": taken_at + timedelta(seconds=1), "lost_at": taken_at, "desired": WANT}
    planned = look(READ, **at)
    assert job_of(planned) is not None
    assert conditions(planned) == READY
    lost = Result(Outcome.CONFLICT, owner="a/second", owner_uid="2", observed=True, database=OLD)
    made = look(planned.status, owner=OwnerState.PRESENT, **run_of(planned, lost), **at)
    assert user(made).reason == "DatabaseClaimed"
    assert user(made).claimed_by == Owner("a/second", "2")
    assert job_of(look(made.status, owner=OwnerState.PRESENT, **at)) is None


@pytest.mark.parametrize("started", [False, True], ids=["no Job yet", "a Job that has not started"])
@pytest.mark.parametrize(
    "before",
    [
        READ,
        replace(
            READ,
            phase=Phase.FAILED,
            reason=Outcome.SQL_ERROR,
            message="syntax error",
            error=ErrorInfo("syntax error", hint="correct it"),
            outcome=Outcome.SQL_ERROR,
        ),
    ],
    ids=["Applied", "Failed"],
)
def test_a_look_that_is_put_off_by_suspending_leaves_what_was_found_before(
    before: TrackStatus, started: bool
) -> None:
    planned = look(before)
    assert job_of(planned)
    jobs = run_of(planned)["jobs"] if started else ()
    made = look(planned.status, jobs=jobs, suspended=True)
    assert len(made.actions) == (1 if started else 0)
    made = look(made.status, suspended=True)
    shown = user(made)
    assert (shown.phase, shown.reason, shown.message) == (before.phase, before.reason, before.message)
    assert job_of(made) is None
    assert job_of(look(made.status)), "it is still due"
    changed = look(made.status, desired=replace(DAILY, base="newer"), suspended=True)
    assert user(changed).reason == "Suspended"
