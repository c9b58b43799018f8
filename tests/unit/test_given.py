"""A command is in force while it stands there, for the database that it was given for."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from fluxbase_migrations.api.commands import Annotation
from fluxbase_migrations.api.status import CommandStatus, Owner, SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.core.names import CommandState, Phase, Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.decisions.actions import CreateJob, job_name
from fluxbase_migrations.decisions.command_status import Annotations
from fluxbase_migrations.decisions.decide import ObservedSet, SetDecision, decide
from fluxbase_migrations.decisions.observed import ObservedTrack
from tests.unit.test_decide import APPLIED, DISABLED, JOB, LATER, NOW, RUNNING, UID, WANT, ended
from tests.unit.test_facts import NEW, OLD, READ

FORCE = Annotation("user=3@a", "kubectl", NOW)
REQUEST = Annotation("today", "kubectl", NOW)
TAKE_OVER = Annotation("user=1@b")
CLAIMED = replace(
    READ, outcome=Outcome.CONFLICT, phase=Phase.FAILED, claimed_by=Owner("a/first", "1", "cluster")
)
KINDS = {
    "force": Annotations(force=FORCE),
    "request": Annotations(requested_at=REQUEST),
    "take-over": Annotations(take_over=TAKE_OVER),
}


def look(status: SetStatus | TrackStatus, given: Annotations | None = None, **more: Any) -> SetDecision:
    """Decide about a set whose system track is disabled, and whose database was read."""
    if isinstance(status, TrackStatus):
        status = SetStatus(database=OLD, database_digest="old", tracks=TracksStatus(None, status))
    seen = {name: more.pop(name) for name in ("jobs", "pods") if name in more}
    tracks = {
        Track.SYSTEM: ObservedTrack(Track.SYSTEM, DISABLED),
        Track.USER: ObservedTrack(Track.USER, more.pop("desired", WANT), **seen),
    }
    context: dict[str, Any] = {"now": NOW, "database_digest": "old", **more}
    return decide(
        ObservedSet(
            UID, "shop", 1, tracks=tracks, status=status, annotations=given or Annotations(), **context
        )
    )


def job_of(made: SetDecision) -> CreateJob | None:
    return next((one for one in made.actions if isinstance(one, CreateJob)), None)


def command(made: SetDecision, kind: str) -> CommandStatus:
    commands = made.status.commands
    found = {"force": commands.force, "request": commands.requested_at, "take-over": commands.take_over}[kind]
    assert found is not None
    return found


def after(made: SetDecision, result: Result | None, given: Annotations, **more: Any) -> SetDecision:
    """The decision after the run that ``made`` has planned has ended."""
    run = made.status.tracks.of(Track.USER).run
    job = replace(JOB, name=job_name("shop", UID, Track.USER, run), run=run)
    return look(made.status, given, jobs=(job,), pods=(replace(ended(result), run=run),), **more)


def carries(made: SetDecision, kind: str) -> bool:
    job = job_of(made)
    assert job is not None
    return bool({"force": job.force, "request": job.requested, "take-over": job.take_over}[kind])


def obeyed(outcome: Outcome = Outcome.APPLIED, *commands: str) -> Result:
    return Result(outcome, version=4, observed=True, database=OLD, obeyed=commands, error=ErrorInfo("no"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_is_carried_by_a_run_and_says_for_which_database(kind: str) -> None:
    made = look(READ, KINDS[kind])
    assert carries(made, kind)
    job = job_of(made)
    assert job is not None
    assert job.command_database == OLD
    assert command(made, kind).state is CommandState.IN_PROGRESS
    again = after(made, obeyed(Outcome.APPLIED, "force", "take-over"), KINDS[kind])
    assert command(again, kind).state is CommandState.OBEYED
    assert job_of(again) is None


@pytest.mark.parametrize("kind", ["force", "take-over"])
@pytest.mark.parametrize("outcome", [Outcome.SQL_ERROR, Outcome.AHEAD_OF_SOURCE, Outcome.TRANSIENT])
def test_a_command_is_over_as_soon_as_it_is_obeyed_also_where_the_run_then_fails(
    kind: str, outcome: Outcome
) -> None:
    """After that the annotation may stay, go, or come back: the set may be pointed anywhere."""
    made = after(look(READ, KINDS[kind]), obeyed(outcome, kind), KINDS[kind])
    assert command(made, kind).state is CommandState.OBEYED
    for given in (KINDS[kind], Annotations()):
        later = look(made.status, given, desired=replace(WANT, base="newer"), now=LATER)
        assert not carries(later, kind)
        elsewhere = look(made.status, given, database_digest="new", now=LATER)
        assert not carries(elsewhere, kind)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("result", [None, obeyed(Outcome.UNREACHABLE), obeyed(Outcome.CONFLICT)])
def test_a_command_that_is_gone_from_the_annotations_is_disarmed(kind: str, result: Result | None) -> None:
    made = after(look(READ, KINDS[kind]), result, Annotations())
    assert command(made, kind).state in (CommandState.WITHDRAWN, CommandState.OBEYED)
    later = look(
        made.status, Annotations(), desired=replace(WANT, base="newer"), now=NOW + timedelta(hours=1)
    )
    assert not carries(later, kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_job_that_carries_it_and_has_not_started_gives_way_when_it_is_withdrawn(kind: str) -> None:
    made = look(READ, KINDS[kind])
    run = made.status.tracks.of(Track.USER).run
    job = replace(JOB, name=job_name("shop", UID, Track.USER, run), run=run)
    gone = look(made.status, Annotations(), jobs=(job,))
    assert gone.status.tracks.of(Track.USER).reason == "Replacing"
    kept = look(made.status, KINDS[kind], jobs=(job,))
    assert kept.status.tracks.of(Track.USER).reason == "Starting"


@pytest.mark.parametrize("kind", ["force", "take-over"])
def test_what_a_run_in_flight_has_obeyed_is_told_though_it_was_withdrawn_meanwhile(kind: str) -> None:
    made = look(READ, KINDS[kind])
    run = made.status.tracks.of(Track.USER).run
    job = replace(JOB, name=job_name("shop", UID, Track.USER, run), run=run)
    gone = look(made.status, Annotations(), jobs=(job,), pods=(replace(RUNNING, run=run),))
    assert command(gone, kind).state is CommandState.WITHDRAWN
    done = after(gone, obeyed(Outcome.APPLIED, kind), Annotations())
    assert command(done, kind).state is CommandState.OBEYED


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_for_another_database_is_refused(kind: str) -> None:
    waiting = look(READ, KINDS[kind], suspended=True)
    moved = look(waiting.status, KINDS[kind], database_digest="new")
    assert command(moved, kind).state is CommandState.REFUSED
    assert not carries(moved, kind)
    assert "CommandRefused" in [note.reason for note in moved.notes if note.warning]
    # The same spec, and a run finds another database there.
    made = look(READ, KINDS[kind])
    unobeyed = Result(Outcome.APPLIED, version=1, observed=True, database=NEW)
    read_at = {"now": NOW + timedelta(seconds=1)}
    replaced = after(made, unobeyed, KINDS[kind], **read_at)
    if kind != "request":
        assert command(replaced, kind).state is CommandState.REFUSED
        assert "7002" in (command(replaced, kind).message or "")
    assert job_of(replaced) is None


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"suspended": True}, "spec.suspend is true"),
        ({"desired": DISABLED}, "disabled"),
    ],
    ids=["suspended", "disabled"],
)
def test_what_waits_is_shown_as_waiting(kind: str, more: dict[str, Any], why: str) -> None:
    made = look(READ, KINDS[kind], **more)
    assert job_of(made) is None
    if kind == "request" and "desired" in more:
        assert command(made, kind).state is CommandState.OBEYED, "there is nothing to run"
        return
    assert command(made, kind).state is CommandState.WAITING
    assert why in (command(made, kind).message or "")
    assert (made.status.last_handled_force, made.status.last_handled_requested_at) == (None, None)


def test_a_force_on_a_claimed_database_waits_and_is_carried_by_later_runs_while_it_stands_there() -> None:
    given = Annotations(force=FORCE)
    conflict = Result(Outcome.CONFLICT, owner="a/first", owner_uid="1", observed=True, database=OLD)
    made = after(look(READ, given), conflict, given)
    assert command(made, "force").state is CommandState.WAITING
    assert "a/first" in (command(made, "force").message or "")
    both = Annotations(force=FORCE, take_over=TAKE_OVER)
    taken = look(made.status, both)
    assert carries(taken, "force")
    assert carries(taken, "take-over")


def test_a_take_over_that_names_another_owner_is_refused() -> None:
    given = Annotations(take_over=TAKE_OVER)
    conflict = Result(Outcome.CONFLICT, owner="a/second", owner_uid="2", observed=True, database=OLD)
    made = after(look(CLAIMED, given), conflict, given)
    assert command(made, "take-over").state is CommandState.REFUSED
    assert "a/second (uid 2)" in (command(made, "take-over").message or "")


def test_a_command_that_an_earlier_operator_has_handled_is_not_obeyed_again() -> None:
    status = SetStatus(tracks=TracksStatus(None, APPLIED), last_handled_force=FORCE.value)
    made = look(status, Annotations(force=FORCE))
    assert job_of(made) is None
    assert command(made, "force").state is CommandState.OBEYED


def test_a_request_is_over_when_both_tracks_have_run_with_it() -> None:
    tracks = {track: ObservedTrack(track, WANT) for track in Track}
    status = SetStatus(database=OLD, database_digest="old", tracks=TracksStatus(READ, READ))
    given = Annotations(requested_at=REQUEST)
    seen = ObservedSet(UID, "shop", 1, NOW, tracks, status, database_digest="old", annotations=given)
    for track, state in ((Track.SYSTEM, CommandState.IN_PROGRESS), (Track.USER, CommandState.OBEYED)):
        made = decide(replace(seen, status=status, tracks=tracks))
        job = job_of(made)
        assert job is not None
        assert (job.track, job.requested) == (track, True)
        done = replace(
            tracks[track],
            jobs=(replace(JOB, name=job.name, run=2),),
            pods=(replace(ended(obeyed(Outcome.NO_CHANGE)), run=2),),
        )
        tracks = {**tracks, track: done}
        made = decide(replace(seen, status=made.status, tracks=tracks))
        assert command(made, "request").state is state
        status = made.status


@pytest.mark.parametrize("kind", ["force", "take-over"])
@pytest.mark.parametrize("hidden", ["\x01", "\x1b", "\u202e", "\ufeff"], ids=ascii)
def test_a_token_that_cannot_be_shown_is_refused(kind: str, hidden: str) -> None:
    """Status could not hold it as it is, and no run would ever answer to it."""
    annotation = Annotation(f"user=1@{hidden}")
    given = Annotations(force=annotation) if kind == "force" else Annotations(take_over=annotation)
    made = look(READ, given)
    assert command(made, kind).state is CommandState.REFUSED
    assert job_of(made) is None
    assert look(made.status, given).status == made.status


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_was_given_before_any_database_was_known_is_for_the_first_that_is_read(
    kind: str,
) -> None:
    unread = SetStatus(database_digest="old")
    waiting = look(unread, KINDS[kind], suspended=True)
    assert command(waiting, kind).database is None
    known = replace(waiting.status, database=OLD, tracks=TracksStatus(None, READ))
    bound = look(known, KINDS[kind], suspended=True)
    assert command(bound, kind).database == OLD
    exchanged = replace(bound.status, database=NEW, tracks=TracksStatus(None, replace(READ, database=NEW)))
    assert command(look(exchanged, KINDS[kind]), kind).state is CommandState.REFUSED


@pytest.mark.parametrize("kind", ["force", "take-over"])
@pytest.mark.parametrize(
    ("result", "state", "why"),
    [
        ("obeyed", CommandState.OBEYED, "in the database that spec.database named before"),
        ("failed", CommandState.REFUSED, "spec.database was changed after it was given"),
        (None, CommandState.REFUSED, "spec.database was changed after it was given"),
    ],
    ids=["obeyed there", "failed there", "no result"],
)
def test_a_command_in_flight_while_spec_database_changes_shows_what_became_of_it(
    kind: str, result: str | None, state: CommandState, why: str
) -> None:
    given = KINDS[kind]
    planned = look(READ, given)
    run = planned.status.tracks.of(Track.USER).run
    job = replace(JOB, name=job_name("shop", UID, Track.USER, run), run=run)
    flying = {"jobs": (job,), "pods": (replace(RUNNING, run=run),), "database_digest": "new"}
    moved = look(planned.status, given, **flying)
    assert command(moved, kind).state is CommandState.IN_PROGRESS
    assert "has not ended yet" in (command(moved, kind).message or "")
    assert not [note for note in moved.notes if note.reason == "CommandRefused"]
    end = {"obeyed": obeyed(Outcome.APPLIED, kind), "failed": obeyed(Outcome.SQL_ERROR), None: None}[result]
    made = after(moved, end, given, database_digest="new")
    assert (command(made, kind).state, command(made, kind).message) == (state, why)
    assert not carries(made, kind)
    again = after(made, obeyed(Outcome.NO_CHANGE), given, database_digest="new")
    assert (command(again, kind).state, job_of(again)) == (state, None)


@pytest.mark.parametrize("kind", KINDS)
def test_a_command_that_no_run_carries_is_refused_as_soon_as_spec_database_changes(kind: str) -> None:
    waiting = look(READ, KINDS[kind], suspended=True)
    moved = look(waiting.status, KINDS[kind], database_digest="new")
    assert command(moved, kind).state is CommandState.REFUSED
    assert not carries(moved, kind)


@pytest.mark.parametrize("kind", ["force", "take-over"])
def test_a_command_of_a_job_that_gives_way_to_another_database_is_refused(kind: str) -> None:
    planned = look(READ, KINDS[kind])
    run = planned.status.tracks.of(Track.USER).run
    job = replace(JOB, name=job_name("shop", UID, Track.USER, run), run=run)
    replacing = look(planned.status, KINDS[kind], jobs=(job,), database_digest="new")
    gone = look(replacing.status, KINDS[kind], database_digest="new")
    assert command(gone, kind).state is CommandState.REFUSED
    assert not carries(gone, kind)
