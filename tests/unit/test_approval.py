"""Under ``approval: Manual`` a set waits with its plan, and runs it as it was approved."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

import pytest

from fluxbase_migrations.api.commands import Annotation
from fluxbase_migrations.api.status import CommandStatus, SetStatus, TrackStatus
from fluxbase_migrations.core.approval import (
    LOCKS,
    ApprovedPlan,
    PlannedFile,
    PlanStart,
    TrackPlan,
    set_digest,
    short,
)
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.names import CommandState, Phase, Track
from fluxbase_migrations.core.result import FORCE, ErrorInfo, Outcome, Result
from fluxbase_migrations.decisions.actions import CreateJob, DeleteJob, job_name
from fluxbase_migrations.decisions.command_status import Annotations
from fluxbase_migrations.decisions.decide import ObservedSet, SetDecision, decide, is_no_op
from fluxbase_migrations.decisions.desired import Desired
from fluxbase_migrations.decisions.job_state import Container
from fluxbase_migrations.decisions.observed import ObservedTrack, Queue
from fluxbase_migrations.runner.lookahead.modes import Lock
from tests.unit.test_decide import DISABLED, JOB, NOW, POD, UID, WANT, ended

SHOP = DatabaseIdentity("shop", "1", 2)


def plan_of(digest: str, *, count: int = 2, **more: Any) -> TrackPlan:
    """A track's plan; the digest is spelled by one character."""
    files = tuple(PlannedFile(n, f"{n:03}_x.up.sql", "up") for n in range(1, count + 1))
    more = {"destructive": 0, "unknown": 0, **more}
    start = PlanStart(database=SHOP, failed_version=more.pop("failed_version", None))
    return TrackPlan(f"sha256:{digest * 64}", count, files, count or None, start, **more)


def waits(digest: str, **more: Any) -> Result:
    return Result(
        Outcome.AWAITING_APPROVAL, observed=True, pending=2, database=SHOP, plan=plan_of(digest, **more)
    )


APPLIED = Result(Outcome.APPLIED, version=2, observed=True, database=SHOP)
FAILED = Result(Outcome.SQL_ERROR, version=2, dirty=True, observed=True, database=SHOP, error=ErrorInfo("no"))


@dataclass
class Life:
    """A set, decided about again and again; its Jobs end as they are told to."""

    system: Desired = DISABLED
    user: Desired = WANT
    status: SetStatus = field(default_factory=SetStatus)
    approve: str | None = None
    manual: bool = True
    more: dict[str, Any] = field(default_factory=dict)
    decision: SetDecision | None = None
    jobs: dict[Track, CreateJob] = field(default_factory=dict)
    """The Jobs that have not ended."""
    events: list[str] = field(default_factory=list)
    queue: Queue | None = None
    given: dict[str, Annotation] = field(default_factory=dict)

    def look(self, results: Mapping[Track, Result | None] | None = None, *, running: bool = False) -> "Life":
        """Decide until nothing is left to do; ``results`` are those of the Jobs that have ended."""
        ends = dict(results or {})
        for _ in range(8):
            decision = decide(self._observed(ends, running))
            self.status, self.decision = decision.status, decision
            self.events += [f"{note.reason}: {note.message}" for note in decision.notes]
            for track in ends:
                self.jobs.pop(track, None)
            ends = {}
            for action in decision.actions:
                if isinstance(action, CreateJob):
                    self.jobs[action.track] = action
                if isinstance(action, DeleteJob):
                    self.jobs = {one: job for one, job in self.jobs.items() if job.name != action.name}
            if is_no_op(self._observed({}, running), decide(self._observed({}, running))):
                return self
        raise AssertionError(f"no end: {self.status}")

    def _observed(self, ends: Mapping[Track, Result | None], running: bool) -> ObservedSet:
        desired = {Track.SYSTEM: self.system, Track.USER: self.user}
        tracks = {}
        for track in Track:
            job = self.jobs.get(track)
            run = self.status.tracks.of(track).run
            name = job_name("shop", UID, track, run)
            there = replace(JOB, name=name, run=run, inputs_digest=self.status.tracks.of(track).inputs_digest)
            pods = (replace(ended(ends[track]), run=run),) if track in ends else ()
            if running and track in self.jobs and track not in ends:
                pods = (replace(POD, container=Container.RUNNING, started_at=NOW, run=run),)
            jobs = (there,) if job is not None or track in ends else ()
            tracks[track] = ObservedTrack(track, desired[track], jobs=jobs, pods=pods, queue=self.queue)
        given = Annotations(approve=Annotation(self.approve) if self.approve else None, **self.given)
        context: dict[str, Any] = {"now": NOW, "database_digest": "d", "manual": self.manual, **self.more}
        return ObservedSet(UID, "shop", 1, tracks=tracks, status=self.status, annotations=given, **context)

    def track(self, track: Track = Track.USER) -> TrackStatus:
        return self.status.tracks.of(track)

    @property
    def job(self) -> CreateJob:
        (job,) = self.jobs.values()
        return job

    def command(self) -> CommandStatus:
        assert self.status.commands.approve is not None
        return self.status.commands.approve

    def state(self) -> CommandState:
        return self.command().state

    @property
    def digest(self) -> str:
        assert self.status.plan is not None
        return self.status.plan.digest

    def approved(self) -> "Life":
        self.approve = self.digest
        return self.look()


def waiting(digest: str = "a", **more: Any) -> Life:
    """A set without system track whose plan waits."""
    return Life(**more).look().look({Track.USER: waits(digest)})


def suspended() -> Life:
    """The same, suspended since."""
    life = waiting()
    life.more = {"suspended": True}
    return life.look()


def shown(life: Life) -> tuple[Phase, str | None]:
    return life.track().phase, life.track().reason


def test_a_plan_is_shown_and_waits() -> None:
    life = waiting()
    assert shown(life) == (Phase.PENDING, "AwaitingApproval")
    assert life.jobs == {}
    assert {one.type: one.status for one in life.status.conditions} == {"Ready": "False", "Stalled": "True"}
    assert life.status.plan is not None
    assert life.status.plan.digest == set_digest([("user", plan_of("a").digest)])
    assert (life.status.plan.count, life.status.plan.files[0]) == (2, "user/001_x.up.sql")
    assert life.events == [
        "AwaitingApproval: 2 files wait for approval (locks nothing that exists): "
        f"kubectl fluxbase approve shop --digest {short(life.digest)}"
    ]
    assert life.track().message == (
        "2 files wait for approval (to version 2; locks nothing that exists). To approve: kubectl fluxbase "
        "approve shop, or annotation fluxbase.io/approve=<status.plan.digest>"
    )


def test_an_approved_plan_runs_and_nothing_else_does() -> None:
    life = waiting()
    life.approved()
    assert life.job.approved == ApprovedPlan(plan_of("a").digest, plan_of("a").start)
    assert not life.job.requested
    assert life.state() is CommandState.IN_PROGRESS
    assert life.status.plan is None
    life.look({Track.USER: APPLIED})
    assert shown(life) == (Phase.APPLIED, "Applied")
    assert life.state() is CommandState.OBEYED
    assert (life.track().plan, life.track().approved) == (None, None)


def test_an_approval_is_for_one_plan() -> None:
    life = waiting().approved()
    life.look({Track.USER: APPLIED})
    life.user = replace(WANT, base="newer")
    life.look().look({Track.USER: waits("b")})
    assert (shown(life), life.jobs) == ((Phase.PENDING, "AwaitingApproval"), {})
    assert life.state() is CommandState.OBEYED


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ("sha256:" + "0" * 64, "another plan waits for approval: {digest}"),
        ("yes", "is not the digest of a plan"),
    ],
)
def test_what_is_not_the_digest_of_the_plan_is_refused(value: str, why: str) -> None:
    life = waiting()
    life.approve = value
    life.look()
    assert life.state() is CommandState.REFUSED
    assert why.format(digest=life.digest) in (life.command().message or "")
    assert (life.jobs, life.events[-1].partition(":")[0]) == ({}, "CommandRefused")
    life.approved()
    assert life.job.approved is not None


def test_an_approval_without_a_plan_is_refused() -> None:
    life = Life(manual=False, approve="sha256:" + "0" * 64).look()
    assert (life.state(), life.command().message) == (CommandState.REFUSED, "no plan waits for approval")


def test_a_token_makes_it_another_approval() -> None:
    life = waiting()
    life.approve = f"{life.digest}@2"
    assert life.look().job.approved is not None


def test_a_withdrawn_approval_is_in_force_no_more() -> None:
    life = suspended().approved()
    assert (life.state(), life.jobs) == (CommandState.WAITING, {})
    life.approve = None
    life.look()
    life.more = {}
    life.look()
    assert (life.state(), life.jobs) == (CommandState.WITHDRAWN, {})
    assert shown(life) == (Phase.PENDING, "AwaitingApproval")
    assert life.approved().job.approved is not None


def test_an_approved_job_that_has_not_started_gives_way_when_the_approval_is_withdrawn() -> None:
    life = waiting().approved()
    before = life.job
    life.approve = None
    life.look()
    assert (life.job.name != before.name, life.job.approved) == (True, None)
    life.look({Track.USER: waits("a")})
    assert (life.jobs, life.status.plan is not None) == ({}, True)


def test_a_change_of_the_source_withdraws_the_plan() -> None:
    life = waiting()
    old = life.digest
    life.user = replace(WANT, base="newer")
    life.look()
    assert (life.status.plan, life.track().plan, life.job.approved) == (None, None, None)
    life.approve = old
    life.look()
    assert life.state() is CommandState.REFUSED
    life.look({Track.USER: waits("b")})
    assert life.digest != old
    assert len([one for one in life.events if one.startswith("AwaitingApproval")]) == 2


def test_a_change_of_the_source_after_the_approval_ends_it() -> None:
    life = suspended().approved()
    life.user, life.more = replace(WANT, base="newer"), {}
    life.look()
    assert life.job.approved is None
    assert (life.state(), life.command().message) == (
        CommandState.REFUSED,
        "the plan has changed since it was given",
    )


@pytest.mark.parametrize("digest", ["a", "b"], ids=["the same plan", "another plan"])
def test_what_the_runner_does_not_take_for_approved_is_not_approved(digest: str) -> None:
    life = waiting().approved().look({Track.USER: waits(digest)})
    assert (life.jobs, life.track().approved) == ({}, None)
    assert life.state() is CommandState.REFUSED
    assert life.status.plan is not None


@pytest.mark.parametrize(
    "result", [None, replace(FAILED, outcome=Outcome.TRANSIENT)], ids=["lost", "transient"]
)
def test_a_retry_goes_on_with_the_approval(result: Result | None) -> None:
    life = waiting().approved().look({Track.USER: result})
    assert (life.jobs, life.state()) == ({}, CommandState.IN_PROGRESS)
    life.more = {"now": NOW + timedelta(hours=1)}
    life.look()
    assert life.job.approved == ApprovedPlan(plan_of("a").digest, plan_of("a").start)


def test_a_failed_run_is_asked_for_again_with_its_approval() -> None:
    life = waiting().approved().look({Track.USER: FAILED})
    assert (shown(life), life.state()) == ((Phase.FAILED, "SQLError"), CommandState.WAITING)
    life.given = {"requested_at": Annotation("now")}
    life.look()
    assert (life.job.approved is not None, life.job.requested_at) == (True, "now")


def test_who_approves_a_plan_that_begins_with_a_failed_file_asks_for_it() -> None:
    life = Life().look().look({Track.USER: waits("a", failed_version=3)}).approved()
    assert (life.job.requested, life.job.requested_at) == (True, life.approve)


def test_a_force_is_carried_and_ends_the_plan() -> None:
    life = waiting()
    life.given = {"force": Annotation("user=1@t")}
    life.look()
    assert (life.job.force, life.job.approved) == ("user=1@t", None)
    life.look({Track.USER: replace(waits("b"), obeyed=(FORCE,))})
    assert life.status.plan is not None
    assert life.status.plan.digest == set_digest([("user", plan_of("b").digest)])


def test_suspend_wins_over_an_approval() -> None:
    life = suspended()
    assert (shown(life), life.status.plan is not None) == ((Phase.PENDING, "Suspended"), True)
    life.approved()
    assert (life.jobs, life.command().message) == ({}, "spec.suspend is true")
    life.more = {}
    assert life.look().job.approved is not None


def test_automatic_runs_at_once_what_waited() -> None:
    life = waiting()
    life.manual = False
    life.look()
    assert (life.job.approved, life.status.plan) == (None, None)


def test_a_run_in_flight_ends_undisturbed_when_approval_becomes_manual() -> None:
    life = Life(manual=False).look()
    before = life.job
    life.manual = True
    assert life.look(running=True).job == before
    assert shown(life.look({Track.USER: APPLIED})) == (Phase.APPLIED, "Applied")


def test_a_waiting_set_does_nothing_when_nothing_has_changed() -> None:
    life = waiting()
    for now in (NOW, NOW + timedelta(days=9)):
        life.more = {"now": now}
        assert is_no_op(life._observed({}, False), decide(life._observed({}, False)))


def test_a_routine_check_of_a_waiting_plan_is_quiet() -> None:
    life = waiting(user=replace(WANT, recheck=timedelta(hours=1)))
    events = list(life.events)
    life.more = {"now": NOW + timedelta(hours=2)}
    life.look()
    assert (shown(life), life.status.plan is not None) == ((Phase.PENDING, "AwaitingApproval"), True)
    life.look({Track.USER: waits("a")})
    assert life.events == events
    assert life.digest


def test_a_database_that_is_replaced_takes_the_plan_with_it() -> None:
    life = suspended().approved()
    life.more = {"database_digest": "other"}
    life.look()
    assert (life.job.approved, life.status.plan, life.state()) == (None, None, CommandState.REFUSED)


BOTH: dict[str, Any] = {"system": WANT, "user": WANT}


def two_plans() -> Life:
    life = Life(**BOTH).look()
    life.look({Track.SYSTEM: waits("a", strongest_lock="SHARE")})
    return life


def test_both_tracks_plans_are_made_before_one_approval_is_asked_for() -> None:
    life = two_plans()
    assert (life.status.plan, life.job.track, life.job.plan_only) == (None, Track.USER, True)
    life.look({Track.USER: waits("b", destructive=1, strongest_lock="ACCESS EXCLUSIVE")})
    plan = life.status.plan
    assert plan is not None
    assert plan.digest == set_digest([("system", plan_of("a").digest), ("user", plan_of("b").digest)])
    assert (plan.tracks, plan.count, plan.strongest_lock, plan.destructive) == (
        (Track.SYSTEM, Track.USER),
        4,
        "ACCESS EXCLUSIVE",
        True,
    )


def test_one_approval_runs_the_system_track_and_then_the_user_track() -> None:
    life = two_plans().look({Track.USER: waits("b")}).approved()
    assert (life.job.track, life.job.approved) == (
        Track.SYSTEM,
        ApprovedPlan(plan_of("a").digest, plan_of("a").start),
    )
    assert life.track().reason == "WaitingForSystem"
    life.look({Track.SYSTEM: APPLIED})
    assert (life.job.track, life.job.plan_only, life.job.approved) == (
        Track.USER,
        False,
        ApprovedPlan(plan_of("b").digest, plan_of("b").start),
    )
    assert life.state() is CommandState.IN_PROGRESS
    life.look({Track.USER: APPLIED})
    assert (life.state(), life.status.phase) == (CommandState.OBEYED, Phase.APPLIED)


def test_a_user_track_without_anything_to_run_follows_the_system_track() -> None:
    life = two_plans().look({Track.USER: waits("b", count=0)})
    assert life.track().reason == "WaitingForSystem"
    assert life.status.plan is not None
    assert life.status.plan.tracks == (Track.SYSTEM,)
    life.approved().look({Track.SYSTEM: APPLIED})
    assert (life.job.track, life.job.plan_only, life.job.approved) == (Track.USER, False, None)
    life.look({Track.USER: replace(APPLIED, outcome=Outcome.NO_CHANGE)})
    assert life.status.phase is Phase.APPLIED


def test_while_the_system_track_waits_the_user_track_applies_nothing() -> None:
    life = two_plans().look({Track.USER: waits("b")}).approved()
    life.look({Track.SYSTEM: waits("c")})
    assert life.jobs == {}
    assert life.status.plan is not None
    assert life.status.plan.tracks == (Track.SYSTEM,)


def test_a_waiting_set_waits_for_no_slot() -> None:
    life = waiting()
    life.queue = Queue("maxConcurrentJobs", 1, 0)
    life.look()
    assert life.decision is not None
    assert life.decision.queued == frozenset()


def test_the_strongest_lock_is_found_by_postgresql_s_order() -> None:
    assert tuple(Lock) == LOCKS
