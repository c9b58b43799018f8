"""The decision about a set: every situation by its name."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from fluxbase_migrations.api.commands import Annotation, inputs_digest
from fluxbase_migrations.api.reasons import Reason
from fluxbase_migrations.api.status import (
    Commands,
    CommandsStatus,
    CommandStatus,
    JobReference,
    Owner,
    Progress,
    SetStatus,
    TracksStatus,
    TrackStatus,
)
from fluxbase_migrations.api.transitions import TRANSITIONS, line_of
from fluxbase_migrations.core.approval import TrackPlan
from fluxbase_migrations.core.identity import DatabaseIdentity
from fluxbase_migrations.core.names import CommandState, Phase, Track
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.decisions.actions import CreateJob, DeleteJob, FreePod, SetTtl, job_name
from fluxbase_migrations.decisions.command_status import Annotations
from fluxbase_migrations.decisions.decide import ObservedSet, SetDecision, decide
from fluxbase_migrations.decisions.desired import Blocked, Desired, DesiredRun, Refused, RetryPolicy, Skip
from fluxbase_migrations.decisions.job_state import Container, Explanation, ObservedJob, ObservedPod
from fluxbase_migrations.decisions.observed import ObservedTrack, Queue, ReconcileContext, Refusal
from fluxbase_migrations.decisions.owner import OwnerState
from fluxbase_migrations.decisions.track import decide_track

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
UID = "3f0c7f6e-0000-0000-0000-000000000000"
WANT = DesiredRun(base="content", template="template")
DIGEST = inputs_digest("content")
DISABLED = Skip(Reason.DISABLED, "disabled")
NAME = job_name("shop", UID, Track.USER, 1)
APPLIED = TrackStatus(
    phase=Phase.APPLIED,
    reason="Applied",
    version=4,
    inputs_digest=DIGEST,
    run=1,
    job=JobReference(NAME, "job"),
    outcome=Outcome.APPLIED,
    started_at=NOW,
    finished_at=NOW,
    attempts=1,
)
PLANNED = TrackStatus(run=1, inputs_digest=DIGEST, job=JobReference(NAME), attempts=1, reason=Reason.STARTING)
JOB = ObservedJob(NAME, "job", 1, DIGEST, "template", NOW)
POD = ObservedPod("pod", "pod-uid", UID, 1, Container.WAITING, NOW)
RUNNING = replace(POD, container=Container.RUNNING, started_at=NOW)


def ended(result: Result | None, because: str = "exit code 137") -> ObservedPod:
    return replace(
        POD,
        container=Container.TERMINATED,
        over=True,
        started_at=NOW,
        finished_at=NOW,
        result=result,
        ended_because=None if result else because,
    )


def look(
    record: TrackStatus | None = None,
    desired: Desired = WANT,
    *,
    jobs: tuple[ObservedJob, ...] = (),
    pods: tuple[ObservedPod, ...] = (),
    now: datetime = NOW,
    suspended: bool = False,
    retry: RetryPolicy | None = None,
    seen: ObservedTrack | None = None,
    status: SetStatus | None = None,
    requested_at: Annotation | None = None,
    force: Annotation | None = None,
    manual: bool = False,
) -> SetDecision:
    """Decide about a set whose system track is disabled."""
    user = replace(seen or ObservedTrack(Track.USER, desired), jobs=jobs, pods=pods)
    before = status or SetStatus()
    return decide(
        ObservedSet(
            uid=UID,
            name="shop",
            generation=1,
            now=now,
            tracks={Track.SYSTEM: ObservedTrack(Track.SYSTEM, DISABLED), Track.USER: user},
            status=replace(before, tracks=TracksStatus(None, record)),
            retry=retry or RetryPolicy(),
            suspended=suspended,
            manual=manual,
            annotations=Annotations(requested_at, force),
        )
    )


def user(decision: SetDecision) -> TrackStatus:
    return decision.status.tracks.of(Track.USER)


def created(decision: SetDecision) -> CreateJob | None:
    found = [action for action in decision.actions if isinstance(action, CreateJob)]
    assert len(found) <= 1
    return found[0] if found else None


def conditions(decision: SetDecision) -> dict[str, str]:
    return {one.type: one.status for one in decision.status.conditions}


@dataclass(frozen=True)
class Case:
    """One situation and what comes of it."""

    phase: Phase
    reason: str
    decision: SetDecision
    creates: int | None = None
    """Run of the Job that is created."""
    deletes: bool = False
    stalled: bool | None = None
    says: str = ""


NO_CLAIM = 'persistentvolumeclaim "files" not found'
CHANGED = DesiredRun(base="other", template="template")
RECHECKED = replace(WANT, volume="files, path .", recheck=timedelta(seconds=10))
VOLUME = replace(WANT, volume="files, path .", allow_empty=True)
ERROR = ErrorInfo("syntax error", file="005_x.up.sql", line=3, sql_state="42601", hint="no")
SQL_ERROR = Result(Outcome.SQL_ERROR, version=5, dirty=True, observed=True, error=ERROR)
EXPOSED = Result(Outcome.EXPOSED, version=4, observed=True, error=ErrorInfo("public.t"))
WAITS = Result(
    Outcome.AWAITING_APPROVAL,
    version=4,
    observed=True,
    pending=1,
    plan=TrackPlan("sha256:0", 1, to_version=5),
)
INCOMPLETE = Result(Outcome.PLATFORM_INCOMPLETE, version=4, observed=True, error=ErrorInfo("role anon"))
FAILED = replace(APPLIED, phase=Phase.FAILED, outcome=Outcome.SQL_ERROR, dirty=True, version=5)
WAITING = replace(APPLIED, outcome=Outcome.UNREACHABLE, waits=1, retry_at=NOW + timedelta(seconds=10))
LATER = NOW + timedelta(seconds=11)
CLAIMED = replace(APPLIED, outcome=Outcome.CONFLICT, claimed_by=Owner("a/first", "1"))
MISSING = Blocked(Reason.SOURCE_MISSING, "ConfigMap files not found")
ENDED_JOB = replace(JOB, ended=True)
FORCED = SetStatus(commands=CommandsStatus(force=CommandStatus("user=-1@token", CommandState.IN_PROGRESS)))
EMPTY = Blocked("SourceEmpty", "empty", empty=WANT)

CASES = {
    "a plan waits for approval": Case(
        Phase.PENDING,
        "AwaitingApproval",
        look(PLANNED, jobs=(JOB,), pods=(ended(WAITS),), manual=True),
        stalled=True,
        says="1 file waits for approval (to version 5; effects unknown)",
    ),
    "a new track gets a Job": Case(Phase.PENDING, "Starting", look(), creates=1, stalled=False),
    "a planned run without a Job gets it, after a crash between the two": Case(
        Phase.PENDING, "Starting", look(PLANNED), creates=1
    ),
    "a planned run that is not wanted any more is given up for the next": Case(
        Phase.PENDING, "Starting", look(PLANNED, CHANGED), creates=2
    ),
    "a Job that was just created is not worth another write": Case(
        Phase.PENDING, "Starting", look(PLANNED, jobs=(JOB,), pods=(POD,))
    ),
    "a Job without a pod waits": Case(Phase.PENDING, "PodPending", look(PLANNED, jobs=(JOB,), now=LATER)),
    "a Job that does not start is explained by its newest Event": Case(
        Phase.PENDING,
        "FailedMount",
        look(
            PLANNED,
            jobs=(JOB,),
            now=LATER,
            seen=ObservedTrack(Track.USER, WANT, event=Explanation(True, "FailedMount", "no volume")),
        ),
        says="no volume",
    ),
    "a claim that cannot be used comes with the advice for it": Case(
        Phase.PENDING,
        "Unschedulable",
        look(
            PLANNED,
            jobs=(JOB,),
            pods=(replace(POD, waiting_reason="Unschedulable", waiting_message=NO_CLAIM),),
        ),
        says="Create the claim, or a volume that fits it",
    ),
    "a container that cannot start is told": Case(
        Phase.PENDING,
        "ImagePullBackOff",
        look(PLANNED, jobs=(JOB,), pods=(replace(POD, waiting_reason="ImagePullBackOff"),)),
        stalled=False,
    ),
    "a Job that has not started gives way to a newer wish": Case(
        Phase.PENDING, "Replacing", look(PLANNED, CHANGED, jobs=(JOB,), pods=(POD,)), deletes=True
    ),
    "a Job that has not started gives way to another image": Case(
        Phase.PENDING, "Replacing", look(PLANNED, replace(WANT, template="new"), jobs=(JOB,)), deletes=True
    ),
    "a Job that has not started gives way to suspension": Case(
        Phase.PENDING, "Replacing", look(PLANNED, jobs=(JOB,), suspended=True), deletes=True
    ),
    "a Job that is being deleted is waited for": Case(
        Phase.PENDING, "JobDeleted", look(PLANNED, jobs=(replace(JOB, deleting=True),))
    ),
    "a replaced Job that is gone makes room": Case(
        Phase.PENDING,
        "Starting",
        look(replace(PLANNED, reason=Reason.REPLACING, job=JobReference(NAME, "job")), CHANGED),
        creates=2,
    ),
    "a Job that somebody deleted before it started is made again, but not at once": Case(
        Phase.PENDING, "JobDeleted", look(replace(PLANNED, job=JobReference(NAME, "job")))
    ),
    "a running container is running": Case(
        Phase.RUNNING, "Running", look(PLANNED, jobs=(JOB,), pods=(RUNNING,))
    ),
    "a running container is left alone whatever is wanted": Case(
        Phase.RUNNING,
        "Running",
        look(PLANNED, CHANGED, jobs=(JOB,), pods=(RUNNING,), suspended=True),
        says="will be applied after this run",
    ),
    "a running container without a Job is left alone": Case(
        Phase.RUNNING, "Running", look(replace(PLANNED, started_at=NOW), pods=(RUNNING,))
    ),
    "a container on a lost node holds everything up": Case(
        Phase.RUNNING,
        "NodeLost",
        look(
            PLANNED, CHANGED, jobs=(JOB,), pods=(replace(RUNNING, name="shop-usr-x-abcde", node_lost=True),)
        ),
        says="kubectl delete job/shop-usr-x pod/shop-usr-x-abcde --force",
    ),
    "a pod of an earlier run that still runs holds everything up": Case(
        Phase.RUNNING, "Running", look(APPLIED, CHANGED, pods=(RUNNING,))
    ),
    "an applied run is Applied": Case(
        Phase.APPLIED,
        "Applied",
        look(PLANNED, jobs=(JOB,), pods=(ended(Result(Outcome.APPLIED, version=4, observed=True)),)),
    ),
    "nothing to do is Applied": Case(
        Phase.APPLIED,
        "Applied",
        look(PLANNED, jobs=(JOB,), pods=(ended(Result(Outcome.NO_CHANGE, version=4, observed=True)),)),
    ),
    "a rollback is RolledBack": Case(
        Phase.ROLLED_BACK,
        "RolledBack",
        look(PLANNED, jobs=(JOB,), pods=(ended(Result(Outcome.ROLLED_BACK, version=2, observed=True)),)),
    ),
    "a look at a rolled back track leaves it RolledBack": Case(
        Phase.ROLLED_BACK,
        "RolledBack",
        look(
            replace(PLANNED, outcome=Outcome.UNREACHABLE, rolled_back=True, version=2),
            jobs=(JOB,),
            pods=(ended(Result(Outcome.NO_CHANGE, version=2, observed=True, latest=4)),),
        ),
    ),
    "an SQL error is Failed for good": Case(
        Phase.FAILED,
        "SQLError",
        look(PLANNED, jobs=(JOB,), pods=(ended(SQL_ERROR),)),
        stalled=True,
        says="005_x.up.sql:3",
    ),
    "something is reachable past row-level security, and must not be": Case(
        Phase.FAILED,
        "Exposed",
        look(PLANNED, jobs=(JOB,), pods=(ended(EXPOSED),)),
        stalled=True,
        says="public.t",
    ),
    "the platform is not all there": Case(
        Phase.PENDING,
        "PlatformIncomplete",
        look(PLANNED, jobs=(JOB,), pods=(ended(INCOMPLETE),)),
        stalled=False,
        says="role anon",
    ),
    "a failed track stays failed": Case(Phase.FAILED, "SQLError", look(FAILED), stalled=True),
    "a failed track runs again when its source changes": Case(
        Phase.PENDING, "Starting", look(FAILED, CHANGED), creates=2
    ),
    "an applied track is left alone": Case(Phase.APPLIED, "Applied", look(APPLIED)),
    "an applied track is left alone when only the image changes": Case(
        Phase.APPLIED, "Applied", look(APPLIED, replace(WANT, template="new"))
    ),
    "an unreachable server is tried again": Case(
        Phase.PENDING,
        "Unreachable",
        look(PLANNED, jobs=(JOB,), pods=(ended(Result(Outcome.UNREACHABLE, error=ErrorInfo("no route"))),)),
        stalled=False,
        says="no route; next retry at",
    ),
    "a server that was refused before anything ran is tried again": Case(
        Phase.PENDING,
        "ServerRefused",
        look(
            PLANNED, jobs=(JOB,), pods=(ended(Result(Outcome.SERVER_REFUSED, error=ErrorInfo("no right"))),)
        ),
        stalled=False,
        says="no right; next retry at",
    ),
    "another version table is Failed until the spec says what it is": Case(
        Phase.FAILED,
        "ForeignTable",
        look(PLANNED, jobs=(JOB,), pods=(ended(Result(Outcome.FOREIGN_TABLE, error=ErrorInfo("public.v"))),)),
        stalled=True,
        says="public.v. Record the version",
    ),
    "a retry waits for its time": Case(Phase.PENDING, "Unreachable", look(WAITING)),
    "a retry comes when it is due": Case(Phase.PENDING, "Starting", look(WAITING, now=LATER), creates=2),
    "a newer wish does not wait for a retry's time": Case(
        Phase.PENDING, "Starting", look(WAITING, CHANGED), creates=2
    ),
    "a run that its deadline ends is not tried for ever": Case(
        Phase.FAILED,
        "Interrupted",
        look(
            PLANNED,
            jobs=(replace(JOB, reason="DeadlineExceeded"),),
            pods=(ended(Result(Outcome.INTERRUPTED, error=ErrorInfo("SIGTERM"))),),
            retry=RetryPolicy(limit=0),
        ),
        stalled=True,
        says="activeDeadlineSeconds",
    ),
    "what may have taken effect in part is Failed, and not tried again": Case(
        Phase.FAILED,
        "Unproven",
        look(
            PLANNED,
            jobs=(JOB,),
            pods=(ended(Result(Outcome.UNPROVEN, dirty=True, observed=True, error=ErrorInfo("lost"))),),
        ),
        stalled=True,
        says="lost",
    ),
    "no result is tried again": Case(
        Phase.PENDING, "ResultMissing", look(PLANNED, jobs=(JOB,), pods=(ended(None),)), says="exit code 137"
    ),
    "no result too often is Failed": Case(
        Phase.FAILED,
        "ResultMissing",
        look(PLANNED, jobs=(JOB,), pods=(ended(None),), retry=RetryPolicy(limit=0)),
        stalled=True,
    ),
    "a run whose Job and pod were deleted has no result": Case(
        Phase.PENDING, "ResultMissing", look(replace(PLANNED, started_at=NOW)), says="deleted"
    ),
    "a Job that is Complete without a result is not believed": Case(
        Phase.PENDING, "ResultMissing", look(PLANNED, jobs=(replace(JOB, ended=True),))
    ),
    "an empty volume that must not be empty is waited for": Case(
        Phase.PENDING,
        "SourceEmpty",
        look(
            PLANNED,
            replace(VOLUME, allow_empty=False),
            jobs=(JOB,),
            pods=(ended(Result(Outcome.SOURCE_EMPTY)),),
        ),
        stalled=False,
        says="files, path .",
    ),
    "an empty volume that may be empty is Skipped": Case(
        Phase.SKIPPED,
        "SourceEmpty",
        look(PLANNED, VOLUME, jobs=(JOB,), pods=(ended(Result(Outcome.SOURCE_EMPTY)),)),
    ),
    "an empty volume below an applied version is Failed": Case(
        Phase.FAILED,
        "AheadOfSource",
        look(
            PLANNED,
            VOLUME,
            jobs=(JOB,),
            pods=(ended(Result(Outcome.SOURCE_EMPTY, version=4, observed=True)),),
        ),
        stalled=True,
    ),
    "a missing ConfigMap is waited for": Case(
        Phase.PENDING,
        "SourceMissing",
        look(APPLIED, Blocked(Reason.SOURCE_MISSING, "not there")),
        stalled=False,
    ),
    "an empty ConfigMap is waited for": Case(Phase.PENDING, "SourceEmpty", look(None, EMPTY), stalled=False),
    "an empty ConfigMap below an applied version is Failed": Case(
        Phase.FAILED,
        "AheadOfSource",
        look(APPLIED, EMPTY),
        stalled=True,
    ),
    "files that cannot be used are Failed": Case(
        Phase.FAILED, "InvalidSource", look(APPLIED, Refused("InvalidSource", "bad")), stalled=True
    ),
    "a failed track that was left out for a while says again what went wrong": Case(
        Phase.FAILED,
        "SQLError",
        look(user(look(replace(FAILED, error=ErrorInfo("no")), DISABLED))),
        stalled=True,
        says="no",
    ),
    "an Event without a reason explains nothing": Case(
        Phase.PENDING,
        "PodPending",
        look(
            PLANNED,
            seen=ObservedTrack(Track.USER, WANT, event=Explanation(True, "", "")),
            jobs=(JOB,),
            now=LATER,
        ),
    ),
    "a volume is looked at again when its interval is over": Case(
        Phase.APPLIED, "Applied", look(APPLIED, RECHECKED, now=LATER), creates=2
    ),
    "a volume is left alone until its interval is over": Case(
        Phase.APPLIED, "Applied", look(APPLIED, RECHECKED, now=NOW + timedelta(seconds=9))
    ),
    "a volume's Job that has not started does not give way to the interval": Case(
        Phase.PENDING, "PodPending", look(PLANNED, RECHECKED, jobs=(JOB,), now=NOW + timedelta(hours=1))
    ),
    "a claim that no second pod can use is Failed": Case(
        Phase.FAILED,
        "UnsupportedAccessMode",
        look(APPLIED, Refused(Reason.UNSUPPORTED_ACCESS_MODE, "no")),
        stalled=True,
    ),
    "a track without source is Skipped and keeps its version": Case(
        Phase.SKIPPED, "NoSource", look(APPLIED, Skip(Reason.NO_SOURCE, "no source"))
    ),
    "a suspended set with work is Stalled": Case(
        Phase.PENDING, "Suspended", look(APPLIED, CHANGED, suspended=True), stalled=True
    ),
    "a suspended set without work is Applied": Case(Phase.APPLIED, "Applied", look(APPLIED, suspended=True)),
    "without a free slot a track is queued": Case(
        Phase.PENDING,
        "Queued",
        look(seen=ObservedTrack(Track.USER, WANT, queue=Queue("maxConcurrentJobs", 2, 3))),
        stalled=False,
    ),
    "pods of a former set of the name are waited for": Case(
        Phase.PENDING,
        "WaitingForPreviousPods",
        look(seen=ObservedTrack(Track.USER, WANT, foreign_pods=(replace(RUNNING, set_uid="old"),))),
    ),
    "so is a Job of it that may still start one": Case(
        Phase.PENDING,
        "WaitingForPreviousPods",
        look(seen=ObservedTrack(Track.USER, WANT, foreign_jobs=(replace(JOB, set_uid="old"),))),
    ),
    "a Job of an earlier run that has ended keeps nobody, though a finalizer keeps it": Case(
        Phase.PENDING,
        "Starting",
        look(APPLIED, CHANGED, jobs=(replace(ENDED_JOB, deleting=True),)),
        creates=2,
    ),
    "one whose pod has ended does not either, though its own status lags": Case(
        Phase.PENDING,
        "Starting",
        look(APPLIED, CHANGED, jobs=(replace(JOB, deleting=True),), pods=(ended(None),)),
        creates=2,
    ),
    "a Job that is being deleted and may still run is waited for": Case(
        Phase.PENDING, "WaitingForPreviousPods", look(APPLIED, CHANGED, jobs=(replace(JOB, deleting=True),))
    ),
    "a pod whose Job was deleted without it is waited for": Case(
        Phase.PENDING, "JobDeleted", look(PLANNED, pods=(replace(POD, orphan=True),))
    ),
    "when that pod is gone, a corrected reference is taken up": Case(
        Phase.PENDING,
        "Starting",
        look(replace(PLANNED, reason=Reason.JOB_DELETED, job=JobReference(NAME, "job")), CHANGED),
        creates=2,
    ),
    "a suspended set without its source is Stalled": Case(
        Phase.PENDING, "Suspended", look(APPLIED, MISSING, suspended=True), stalled=True
    ),
    "a suspended set whose database is ahead of an empty source says so": Case(
        Phase.FAILED, "AheadOfSource", look(APPLIED, EMPTY, suspended=True), stalled=True
    ),
    "a refused Job is tried again later": Case(
        Phase.PENDING,
        "JobRefused",
        look(
            PLANNED,
            seen=ObservedTrack(Track.USER, WANT, refusal=Refusal(1, "template", "quota", False, LATER)),
        ),
        stalled=False,
    ),
    "a Job that can never be created waits for a change": Case(
        Phase.FAILED,
        "JobRefused",
        look(
            PLANNED, seen=ObservedTrack(Track.USER, WANT, refusal=Refusal(1, "template", "no", True, LATER))
        ),
        stalled=True,
    ),
    "a Job that was refused is created when its template changed": Case(
        Phase.PENDING,
        "Starting",
        look(PLANNED, seen=ObservedTrack(Track.USER, WANT, refusal=Refusal(1, "older", "no", True, LATER))),
        creates=1,
    ),
    "a database that another set owns is Stalled": Case(
        Phase.FAILED,
        "DatabaseClaimed",
        look(
            PLANNED,
            jobs=(JOB,),
            pods=(ended(Result(Outcome.CONFLICT, owner="a/first", owner_uid="1")),),
        ),
        stalled=True,
        says="a/first",
    ),
    "a database whose owner is gone is taken over": Case(
        Phase.PENDING,
        "Starting",
        look(CLAIMED, seen=ObservedTrack(Track.USER, WANT, owner=OwnerState.DELETED)),
        creates=2,
    ),
    "a database whose owner was gone before the run ended is taken over": Case(
        Phase.PENDING,
        "Starting",
        look(
            PLANNED,
            jobs=(JOB,),
            pods=(ended(Result(Outcome.CONFLICT, owner="a/first", owner_uid="1")),),
            seen=ObservedTrack(Track.USER, WANT, owner=OwnerState.DELETED),
        ),
        creates=2,
    ),
    "a force on an empty source is obeyed": Case(
        Phase.PENDING, "Starting", look(APPLIED, EMPTY, force=Annotation("user=-1@token")), creates=2
    ),
    "a force on an empty source has been obeyed": Case(
        Phase.PENDING,
        "SourceEmpty",
        look(
            replace(
                PLANNED,
                commands=Commands(force="user=-1@token"),
            ),
            EMPTY,
            jobs=(JOB,),
            pods=(ended(Result(Outcome.SOURCE_EMPTY, observed=True, obeyed=("force",))),),
            status=FORCED,
            force=Annotation("user=-1@token"),
        ),
        stalled=False,
    ),
    "a lost status is found again in the Jobs": Case(
        Phase.RUNNING,
        "Running",
        look(None, jobs=(replace(JOB, run=7),), pods=(replace(RUNNING, run=7),)),
    ),
    "a run number is never used twice": Case(
        Phase.PENDING, "Starting", look(replace(APPLIED, run=9), CHANGED, jobs=(JOB,)), creates=10
    ),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
def test_situation(case: Case) -> None:
    record = user(case.decision)
    assert (record.phase, record.reason) == (case.phase, case.reason)
    job = created(case.decision)
    assert (job.run if job else None) == case.creates
    assert any(isinstance(one, DeleteJob) and one.wait for one in case.decision.actions) is case.deletes
    assert case.says in (record.message or "")
    found = conditions(case.decision)
    if record.phase in (Phase.APPLIED, Phase.ROLLED_BACK, Phase.SKIPPED) and not record.dirty:
        assert found == {"Ready": "True"}
    else:
        assert found["Ready"] == "False"
        assert len(found) == 2
    if case.stalled is not None:
        assert ("Stalled" in found) is case.stalled


@pytest.mark.parametrize("owner", OwnerState)
@pytest.mark.parametrize(
    "change",
    [
        {"seen": ObservedTrack(Track.USER, CHANGED)},
        {"seen": ObservedTrack(Track.USER, WANT), "requested_at": Annotation("again")},
    ],
    ids=["edit", "request"],
)
def test_only_a_set_that_let_go_loses_its_database(change: dict[str, Any], owner: OwnerState) -> None:
    seen = replace(change["seen"], owner=owner)
    job = created(look(CLAIMED, **{**change, "seen": seen}))
    assert job is not None
    let_go = owner in (OwnerState.DELETED, OwnerState.RELEASED)
    assert job.take_over_from == ("1" if let_go else None)


@pytest.mark.parametrize("owner", [OwnerState.PRESENT, OwnerState.UNREADABLE, OwnerState.ELSEWHERE])
def test_a_set_that_is_claimed_away_starts_no_job_by_itself(owner: OwnerState) -> None:
    for days in range(3):
        made = look(
            CLAIMED,
            now=NOW + timedelta(days=days),
            seen=ObservedTrack(Track.USER, RECHECKED, owner=owner),
        )
        assert created(made) is None
        assert (user(made).phase, user(made).reason) == (Phase.FAILED, "DatabaseClaimed")
        assert "kubectl fluxbase take-over shop" in (user(made).message or "")


def test_nobody_is_warned_of_an_owner_that_is_gone() -> None:
    pods = (ended(Result(Outcome.CONFLICT, owner="a/first", owner_uid="1")),)
    made = look(
        PLANNED, jobs=(JOB,), pods=pods, seen=ObservedTrack(Track.USER, WANT, owner=OwnerState.DELETED)
    )
    assert [note.reason for note in made.notes] == ["TakingOver"]


@pytest.mark.parametrize("outcome", [Outcome.TRANSIENT, None])
def test_a_request_is_over_when_its_retries_are_used_up(outcome: Outcome | None) -> None:
    asked = replace(PLANNED, commands=Commands(requested=True))
    pods = (ended(Result(outcome) if outcome else None),)
    for attempts, still in ((1, True), (6, None)):
        record = user(look(replace(asked, attempts=attempts), jobs=(JOB,), pods=pods))
        assert record.commands.requested is still


def test_every_line_of_the_table_of_states_has_a_situation() -> None:
    here = {line_of(case.phase, case.reason) for case in CASES.values()}
    there = {line_of(Phase.PENDING, Reason.WAITING_FOR_SYSTEM)}  # tested with both tracks
    assert here | there == set(TRANSITIONS)


def test_backoff_doubles_up_to_five_minutes() -> None:
    record, now, delays = PLANNED, NOW, []
    for _ in range(8):
        pods = (replace(ended(Result(Outcome.AUTHENTICATION_FAILED)), run=record.run),)
        record = user(look(record, jobs=(replace(JOB, run=record.run),), pods=pods, now=now))
        assert record.retry_at is not None
        delays.append((record.retry_at - now).total_seconds())
        now = record.retry_at
        record = user(look(record, now=now))
        assert record.attempts == 1
    for delay, expected in zip(delays, (10, 20, 40, 80, 160, 300, 300, 300), strict=True):
        assert delay == pytest.approx(expected, rel=0.11)


def test_a_changed_source_is_tried_again_at_once_and_then_ever_later() -> None:
    record, now, delays = PLANNED, NOW, []
    for _ in range(4):
        pods = (replace(ended(Result(Outcome.SOURCE_CHANGED)), run=record.run),)
        made = look(record, jobs=(replace(JOB, run=record.run),), pods=pods, now=now)
        record = user(made)
        if created(made):
            delays.append(0.0)
            continue
        assert record.retry_at is not None
        delays.append((record.retry_at - now).total_seconds())
        now = record.retry_at
        record = user(look(record, now=now))
    assert delays == [0, 1, 2, 4]


def test_a_request_is_handled_once_and_asks_for_a_failed_file_again() -> None:
    annotation = Annotation("today", "kubectl", NOW)
    made = look(FAILED, requested_at=annotation)
    job = created(made)
    assert job is not None
    assert (job.requested, job.requested_at) == (True, "today")
    assert made.status.last_handled_requested_at == "today"
    assert [note.message for note in made.notes] == [
        "another run was requested: today by kubectl at 2026-01-31T12:00:00Z"
    ]
    done = ended(Result(Outcome.APPLIED, version=5, observed=True))
    record = user(made)
    for annotation_then in (annotation, None):
        again = look(
            record,
            jobs=(replace(JOB, run=2),),
            pods=(replace(done, run=2),),
            status=made.status,
            requested_at=annotation_then,
        )
        assert user(again).phase is Phase.APPLIED
        assert created(again) is None


def test_a_force_names_its_track_and_is_carried_until_a_run_has_obeyed_it() -> None:
    given = Annotation("user=3@a")
    made = look(APPLIED, force=given)
    job = created(made)
    assert job is not None
    assert job.force == "user=3@a"
    other = look(APPLIED, force=Annotation("system=3@a"))
    assert created(other) is None
    # Its run never began, because something newer is wanted: that run carries it.
    given_up = created(look(user(made), CHANGED, status=made.status, force=given))
    assert given_up is not None
    assert given_up.force == "user=3@a"
    result = Result(Outcome.APPLIED, version=4, observed=True, obeyed=("force",))
    pod = replace(ended(result), run=2)
    done = look(user(made), status=made.status, jobs=(replace(JOB, run=2),), pods=(pod,), force=given)
    later = created(look(user(done), CHANGED, status=done.status, force=given))
    assert later is not None
    assert later.force is None


@pytest.mark.parametrize("value", ["", "user", "user=x@t", "user=-2@t", "both=1@t", "user=1@", "user=1@a b"])
def test_a_malformed_force_is_refused_once(value: str) -> None:
    made = look(APPLIED, force=Annotation(value))
    assert created(made) is None
    if value:
        assert [note.reason for note in made.notes] == ["CommandRefused"]
        assert look(APPLIED, force=Annotation(value), status=made.status).notes == ()


def test_the_user_track_waits_for_the_system_track() -> None:
    system = ObservedTrack(Track.SYSTEM, WANT)
    tracks = {Track.SYSTEM: system, Track.USER: ObservedTrack(Track.USER, WANT)}
    seen = ObservedSet(uid=UID, name="shop", generation=1, now=NOW, tracks=tracks)
    made = decide(seen)
    assert [action.track for action in made.actions if isinstance(action, CreateJob)] == [Track.SYSTEM]
    assert user(made).reason == Reason.WAITING_FOR_SYSTEM
    # In the same look in which the system track's end is seen, the user track's run begins.
    name = job_name("shop", UID, Track.SYSTEM, 1)
    done = ended(Result(Outcome.APPLIED, version=6, observed=True))
    tracks[Track.SYSTEM] = replace(system, jobs=(replace(JOB, name=name),), pods=(done,))
    made = decide(replace(seen, status=made.status, tracks=tracks))
    assert [action.track for action in made.actions if isinstance(action, CreateJob)] == [Track.USER]
    assert conditions(made) == {"Ready": "False", "Reconciling": "True"}


def test_a_failed_system_track_stalls_the_set() -> None:
    record = replace(FAILED, job=JobReference("x", "y"))
    seen = ObservedSet(
        uid=UID,
        name="shop",
        generation=1,
        now=NOW,
        tracks={track: ObservedTrack(track, WANT) for track in Track},
        status=SetStatus(tracks=TracksStatus(record, None)),
    )
    made = decide(seen)
    assert made.status.phase is Phase.FAILED
    assert conditions(made) == {"Ready": "False", "Stalled": "True"}


def test_only_the_last_two_finished_jobs_of_a_track_are_kept() -> None:
    jobs = tuple(replace(JOB, name=f"job-{run}", uid=f"{run}", run=run) for run in range(1, 6))
    made = look(replace(APPLIED, run=5), jobs=jobs)
    assert {one.name for one in made.actions if isinstance(one, DeleteJob)} == {"job-1", "job-2", "job-3"}
    assert {one.name for one in made.actions if isinstance(one, SetTtl)} == {"job-4", "job-5"}


def test_a_ready_set_is_never_dirty() -> None:
    made = look(replace(APPLIED, dirty=True))
    assert conditions(made)["Ready"] == "False"


def test_a_ready_set_says_that_its_volume_waits_for_files_and_warns_of_nothing() -> None:
    made = look(PLANNED, VOLUME, jobs=(JOB,), pods=(ended(Result(Outcome.SOURCE_EMPTY)),))
    assert conditions(made) == {"Ready": "True"}
    assert "user: the volume has no migration files; copy them there" in made.status.conditions[0].message
    assert [(note.warning, note.reason) for note in made.notes] == [(False, "SourceEmpty")]


def test_a_condition_keeps_its_time_until_it_changes() -> None:
    first = look(APPLIED)
    second = look(APPLIED, status=first.status, now=LATER)
    assert second.status.conditions[0].last_transition_time == NOW
    third = look(APPLIED, CHANGED, status=first.status, now=LATER)
    assert third.status.conditions[0].last_transition_time == LATER


def test_job_names_are_short_unique_and_valid() -> None:
    long = "a.very.long.name" * 10
    names = {job_name(long, UID, track, run) for track in Track for run in range(50)}
    assert len(names) == 100
    assert all(len(name) < 63 and "." not in name and "--" not in name for name in names)


def test_pending_counts_what_is_known_to_be_outstanding() -> None:
    """Newer content that waits counts at once; a database that was never read is not guessed at."""
    known = replace(WANT, base="newer", versions=(1, 2, 4, 5, 6))
    read = replace(APPLIED, pending=0)
    waiting = look(read, known, suspended=True)
    assert (user(waiting).pending, user(waiting).latest, waiting.status.pending) == (2, 6, 2)
    assert user(look(read, replace(known, target=5), suspended=True)).pending == 1
    assert user(look(read, replace(known, target=0), suspended=True)).pending == 0
    assert user(look(replace(read, dirty=True), known, suspended=True)).pending == 3
    assert user(look(replace(read, version=None), known, suspended=True)).pending == 5
    assert look(None, known).status.pending is None
    assert user(look(read, replace(known, versions=None), suspended=True)).pending == 0, "a volume"


def test_pending_of_a_set_is_not_told_while_that_of_a_track_is_unknown() -> None:
    system = ObservedTrack(Track.SYSTEM, WANT)
    seen = ObservedSet(
        uid=UID,
        name="shop",
        generation=1,
        now=NOW,
        tracks={Track.SYSTEM: system, Track.USER: ObservedTrack(Track.USER, WANT)},
        status=SetStatus(tracks=TracksStatus(replace(APPLIED, pending=0), None)),
    )
    assert decide(seen).status.pending is None
    both = replace(seen.status, tracks=TracksStatus(*[replace(APPLIED, pending=0)] * 2))
    assert decide(replace(seen, status=both)).status.pending == 0


def test_a_run_that_never_reached_the_database_tells_nothing_about_pending() -> None:
    unreachable = Result(Outcome.UNREACHABLE, latest=4, pending=4, source_digest="sha256:x")
    assert user(look(PLANNED, jobs=(JOB,), pods=(ended(unreachable),))).pending is None


def test_what_keeps_a_run_waiting_is_named_with_the_command_that_helps() -> None:
    job = user(look(APPLIED, CHANGED, jobs=(replace(JOB, deleting=True),))).message or ""
    assert f"kubectl patch job {NAME} --type=merge" in job
    old = replace(POD, name="old-pod", run=7)
    pod = user(look(APPLIED, CHANGED, pods=(old,))).message or ""
    assert "kubectl delete pod old-pod" in pod
    orphan = replace(
        POD, orphan=True, waiting_reason="CreateContainerConfigError", waiting_message="no secret"
    )
    told = user(look(PLANNED, pods=(orphan,))).message or ""
    assert "no secret" in told
    assert told.endswith("kubectl delete pod pod")
    going = replace(orphan, deletion_deadline=LATER)
    assert "is being deleted" in (user(look(PLANNED, pods=(going,))).message or "")


@pytest.mark.parametrize(
    ("known", "run", "creates"),
    [(0, 7, 8), (3, 7, 8), (7, 7, 8), (9, 7, 10)],
    ids=["the status was lost", "it was restored", "it knows", "the Jobs were deleted"],
)
def test_a_run_goes_on_from_the_latest_that_anybody_knows_of(known: int, run: int, creates: int) -> None:
    """A number that was used is never used again, whichever of status and Jobs was lost."""
    job = replace(JOB, run=run, name=f"job-{run}", ended=True, inputs_digest="sha256:older")
    record = replace(APPLIED, run=known) if known else None
    found = look(record, CHANGED, jobs=(job,))
    made = created(found)
    assert made is not None
    assert made.run == creates == user(found).run


def test_a_pod_that_a_sidecar_keeps_may_be_evicted() -> None:
    """Its migration has ended; the run is recorded, and nothing waits for the pod."""
    kept = replace(ended(Result(Outcome.APPLIED, version=4, observed=True)), over=False, undisturbed=True)
    found = look(PLANNED, jobs=(JOB,), pods=(kept,))
    assert user(found).phase is Phase.APPLIED
    assert FreePod("pod") in found.actions
    for other in (
        replace(kept, undisturbed=False),
        replace(kept, over=True),
        replace(RUNNING, undisturbed=True),
    ):
        assert FreePod("pod") not in look(PLANNED, jobs=(JOB,), pods=(other,)).actions


def test_a_run_in_flight_is_taken_up_when_the_status_was_lost() -> None:
    job, pod = replace(JOB, run=7, inputs_digest="sha256:older"), replace(RUNNING, run=7)
    found = look(None, WANT, jobs=(job,), pods=(pod,))
    assert created(found) is None
    taken = user(found)
    assert (taken.run, taken.job, taken.phase) == (7, JobReference(NAME, "job"), Phase.RUNNING)
    assert taken.inputs_digest == "sha256:older", "what it runs is not what is wanted now"


HERE = DatabaseIdentity("shop", "7001", 16384)
THERE = DatabaseIdentity("shop", "7002", 16384)
CORRECTED = replace(CHANGED, versions=(4, 5, 6))
BROKEN = replace(FAILED, database=HERE, error=ErrorInfo("syntax error", file="005_x.up.sql"))
CONTEXT = ReconcileContext(UID, "shop", NOW, RetryPolicy(), database_digest="spec", expected_database=HERE)


def running(planned: TrackStatus, file: str, number: int, context: ReconcileContext = CONTEXT) -> TrackStatus:
    """The record while the run of ``planned`` is at ``file``."""
    progress = Progress(file, number, 2, NOW + timedelta(seconds=1))
    job = replace(JOB, run=2, inputs_digest=planned.inputs_digest or "")
    pods = (replace(RUNNING, run=2),)
    seen = ObservedTrack(Track.USER, CORRECTED, record=planned, jobs=(job,), pods=pods, progress=progress)
    return decide_track(seen, context).record


def test_a_status_follows_the_progress_of_a_run() -> None:
    """005 failed and was corrected; while 006 runs, neither its error nor its mark is there any more."""
    planned = decide_track(ObservedTrack(Track.USER, CORRECTED, record=BROKEN), CONTEXT).record
    assert planned.error is None
    assert (planned.version, planned.dirty) == (5, True), "the row is as it was read"
    for file, number, row in (
        ("005_x.up.sql", 1, (5, True)),
        ("006_y.up.sql", 2, (5, False)),
        ("006_y.down.sql", 1, (5, True)),
        ("nothing", 2, (5, True)),
    ):
        record = running(planned, file, number)
        assert (record.version, record.dirty) == row, file


@pytest.mark.parametrize(
    "context",
    [
        pytest.param(replace(CONTEXT, expected_database=None), id="the run takes whatever is there"),
        pytest.param(replace(CONTEXT, expected_database=THERE), id="the run expects another one"),
        pytest.param(replace(CONTEXT, database_digest="other"), id="the spec names another one by now"),
    ],
)
def test_progress_in_what_may_be_another_database_is_no_fact_of_this_one(context: ReconcileContext) -> None:
    planned = decide_track(ObservedTrack(Track.USER, CORRECTED, record=BROKEN), CONTEXT).record
    record = running(planned, "006_y.up.sql", 2, context)
    assert (record.version, record.dirty) == (5, True)


def test_progress_in_a_database_that_was_never_read_is_no_fact() -> None:
    planned = decide_track(ObservedTrack(Track.USER, CORRECTED), CONTEXT).record
    record = running(replace(planned, run=2), "006_y.up.sql", 2)
    assert (record.version, record.dirty) == (None, False)


@pytest.mark.parametrize("base", [f"content-{number}" for number in range(8)])
def test_a_job_gives_way_to_other_content_whichever_digest_is_the_greater(base: str) -> None:
    newer = replace(WANT, base=base)
    assert inputs_digest(base) != DIGEST
    waiting = look(PLANNED, newer, jobs=(JOB,))
    assert user(waiting).reason == Reason.REPLACING
    assert [type(action) for action in waiting.actions] == [DeleteJob]
    running = look(PLANNED, newer, jobs=(JOB,), pods=(RUNNING,))
    assert "run" in (user(running).message or "")
    assert user(running).message != user(look(PLANNED, jobs=(JOB,), pods=(RUNNING,))).message


def test_a_run_that_was_deleted_before_its_start_is_no_attempt() -> None:
    gone = replace(PLANNED, job=JobReference(NAME, "job"), attempts=3)
    found = user(look(gone))
    assert (found.attempts, found.waits, found.reason) == (2, 1, Reason.JOB_DELETED)
    assert found.retry_at is not None


def test_what_keeps_a_pod_from_starting_is_told_again_when_kubernetes_corrects_itself() -> None:
    """The kubelet first says that it could not look, and only then that the Secret is missing."""
    made, told = look(PLANNED, jobs=(JOB,), pods=(POD,), now=LATER), list[str]()
    for message in ("failed to sync secret cache", "secret not found", "secret not found"):
        pod = replace(POD, waiting_reason="CreateContainerConfigError", waiting_message=message)
        made = look(user(made), jobs=(JOB,), pods=(pod,), now=LATER, status=made.status)
        told += [note.message for note in made.notes]
    assert [message in one for one, message in zip(told, ("sync", "not found"), strict=True)] == [True, True]
