"""The decision about a set, driven by a state machine through whatever a cluster may do to it.

The cluster is a model: what exists, and what Kubernetes would do next. The decisions are the real ones,
carried out as the controller does: status first, then the actions, and a crash is possible between the two.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from fluxbase_migrations.core.actions import CreateJob, DeleteJob, SetTtl
from fluxbase_migrations.core.commands import Annotation, parse_force
from fluxbase_migrations.core.decide import SetDecision, SetSeen, decide
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.observed import TrackSeen
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.core.runs import Container, JobSeen, PodSeen
from fluxbase_migrations.core.states import Reason
from fluxbase_migrations.core.status import SetStatus
from fluxbase_migrations.core.wish import Blocked, Skip, Want, Wish

UID = "set"
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TRACKS = st.sampled_from(list(Track))
CONTENTS = st.sampled_from(["a", "b", "c"])
BAD_ENDS = st.sampled_from(
    [
        Outcome.UNREACHABLE,
        Outcome.INTERRUPTED,
        Outcome.SOURCE_CHANGED,
        Outcome.TRANSIENT,
        Outcome.SQL_ERROR,
        None,
    ]
)


@dataclass
class Job:
    """A Job of the model with its one pod."""

    seen: JobSeen
    track: Track
    wanted: CreateJob
    content: str
    pod: PodSeen | None = None


@dataclass
class Model:
    """What is in the cluster, and in the database."""

    now: datetime = BEGIN
    content: dict[Track, str] = field(default_factory=lambda: dict.fromkeys(Track, "a"))
    missing: set[Track] = field(default_factory=set)
    skipped: set[Track] = field(default_factory=set)
    suspended: bool = False
    requested_at: str | None = None
    force: str | None = None
    forced: list[str] = field(default_factory=list)
    status: SetStatus = field(default_factory=SetStatus)
    jobs: list[Job] = field(default_factory=list)
    applied: dict[Track, str] = field(default_factory=dict)
    """What the database has."""
    dirty: set[Track] = field(default_factory=set)
    count: int = 0

    def wish(self, track: Track) -> Wish:
        if track in self.skipped:
            return Skip(Reason.DISABLED, "disabled")
        if track in self.missing:
            return Blocked(Reason.SOURCE_MISSING, "missing")
        return Want(self.content[track], "template")

    def observe(self) -> SetSeen:
        tracks = {}
        for track in Track:
            own = [job for job in self.jobs if job.track is track]
            tracks[track] = TrackSeen(
                track,
                self.wish(track),
                jobs=tuple(job.seen for job in own),
                pods=tuple(job.pod for job in own if job.pod),
            )
        return SetSeen(
            uid=UID,
            name="shop",
            generation=1,
            now=self.now,
            tracks=tracks,
            status=self.status,
            suspended=self.suspended,
            requested_at=Annotation(self.requested_at) if self.requested_at else None,
            force=Annotation(self.force) if self.force else None,
        )

    def reconcile(self, *, crash: int | None = None) -> SetDecision:
        """Decide and carry out, up to action number ``crash``."""
        made = decide(self.observe())
        check(self, made)
        self.status = made.status
        for action in made.actions[:crash]:
            match action:
                case CreateJob():
                    self.create(action)
                case DeleteJob(name):
                    self.delete(name)
                case SetTtl(name):
                    job = self.job(name)
                    if job:
                        job.seen = replace(job.seen, ttl=True)
        return made

    def job(self, name: str) -> Job | None:
        return next((job for job in self.jobs if job.seen.name == name), None)

    def create(self, wanted: CreateJob) -> None:
        if self.job(wanted.name):
            return  # AlreadyExists
        self.count += 1
        seen = JobSeen(
            wanted.name, f"uid-{self.count}", wanted.run, wanted.inputs_digest, wanted.template, self.now
        )
        self.jobs.append(Job(seen, wanted.track, wanted, self.content[wanted.track]))

    def delete(self, name: str) -> None:
        job = self.job(name)
        if job is None:
            return
        running = job.pod is not None and job.pod.container is Container.RUNNING
        assert not running, "the operator deleted a Job in flight"
        job.seen = replace(job.seen, deleting=True)


def check(model: Model, made: SetDecision) -> None:
    """What must hold of every decision."""
    conditions = {one.type: one.status for one in made.status.conditions}
    ready = conditions["Ready"] == "True"
    assert len(conditions) == (1 if ready else 2), conditions
    assert ready or ("Reconciling" in conditions) != ("Stalled" in conditions)
    records = {track: made.status.tracks.of(track) for track in Track}
    if ready:
        assert not made.status.dirty
        for track, record in records.items():
            if record.phase is not Phase.SKIPPED:
                assert model.applied.get(track) == model.content[track], "Ready without what is wanted"
    for action in made.actions:
        if isinstance(action, CreateJob):
            others = [job for job in model.jobs if job.track is action.track and job.pod and job.pod.active]
            assert not others, "two runs of one track"
            if action.track is Track.USER:
                assert records[Track.SYSTEM].phase in (Phase.APPLIED, Phase.SKIPPED), "out of turn"
            assert records[action.track].run == action.run
            assert not model.suspended
    # Deciding again changes nothing: no hot loop.
    model_status, model.status = model.status, made.status
    again = decide(model.observe())
    model.status = model_status
    assert replace(again.status, tracks=made.status.tracks) == made.status
    for track in Track:
        assert again.status.tracks.of(track) == records[track], "a decision that does not last"
    assert {one for one in again.actions if isinstance(one, CreateJob)} == {
        one for one in made.actions if isinstance(one, CreateJob)
    }


class Life(RuleBasedStateMachine):
    """A set's life."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()

    @rule()
    def look(self) -> None:
        self.model.reconcile()

    @rule(actions=st.integers(0, 2))
    def crash(self, actions: int) -> None:
        """The operator dies after the status and some of the actions."""
        self.model.reconcile(crash=actions)

    @rule(seconds=st.sampled_from([1, 6, 11, 60, 400]))
    def time_passes(self, seconds: int) -> None:
        self.model.now += timedelta(seconds=seconds)

    @rule(track=TRACKS, content=CONTENTS)
    def edit(self, track: Track, content: str) -> None:
        self.model.content[track] = content

    @rule(track=TRACKS)
    def remove_source(self, track: Track) -> None:
        self.model.missing ^= {track}

    @rule(track=TRACKS)
    def disable(self, track: Track) -> None:
        self.model.skipped ^= {track}

    @rule()
    def suspend(self) -> None:
        self.model.suspended = not self.model.suspended

    @rule(value=st.sampled_from(["1", "2", "3"]))
    def request(self, value: str) -> None:
        self.model.requested_at = value

    @rule(track=TRACKS, token=st.sampled_from(["x", "y"]))
    def force(self, track: Track, token: str) -> None:
        self.model.force = f"{track}=1@{token}"

    @rule()
    def start_pods(self) -> None:
        for job in self.model.jobs:
            if job.pod is None and not job.seen.deleting and not job.seen.ended:
                job.pod = PodSeen(
                    f"{job.seen.name}-pod", "pod", UID, job.seen.run, Container.WAITING, self.model.now
                )

    @rule()
    def start_containers(self) -> None:
        for job in self.model.jobs:
            if job.pod and job.pod.container is Container.WAITING and not job.seen.deleting:
                job.pod = replace(job.pod, container=Container.RUNNING, started_at=self.model.now)

    @rule(track=TRACKS)
    def succeed(self, track: Track) -> None:
        for job in self._running(track):
            self.model.applied[track] = job.content
            self.model.dirty.discard(track)
            if job.wanted.force:
                parse_force(job.wanted.force)
                self.model.forced.append(job.wanted.force)
            self._end(job, Result(Outcome.APPLIED, version=1, observed=True, source_digest=job.content))

    @rule(track=TRACKS, outcome=BAD_ENDS)
    def end_badly(self, track: Track, outcome: Outcome | None) -> None:
        for job in self._running(track):
            dirty = outcome is Outcome.SQL_ERROR
            if dirty:
                self.model.dirty.add(track)
                self.model.applied.pop(track, None)
            result = (
                Result(outcome, dirty=dirty, observed=dirty, version=1 if dirty else None)
                if outcome
                else None
            )
            self._end(job, replace(result, error=ErrorInfo("no")) if result else None)

    @rule()
    def settle_jobs(self) -> None:
        """The Job controller catches up, and the garbage collector ends deletions."""
        for job in list(self.model.jobs):
            if job.pod and not job.pod.active:
                job.seen = replace(job.seen, ended=True)
            if job.seen.deleting and not (job.pod and job.pod.container is Container.RUNNING):
                self.model.jobs.remove(job)

    @rule(track=TRACKS)
    def somebody_deletes_jobs(self, track: Track) -> None:
        """With their pods, at once, whatever they are at."""
        self.model.jobs = [job for job in self.model.jobs if job.track is not track]

    def _running(self, track: Track) -> list[Job]:
        return [
            job
            for job in self.model.jobs
            if job.track is track and job.pod and job.pod.container is Container.RUNNING
        ]

    def _end(self, job: Job, result: Result | None) -> None:
        assert job.pod
        job.pod = replace(
            job.pod,
            container=Container.TERMINATED,
            over=True,
            finished_at=self.model.now,
            result=result,
            ended_because=None if result else "exit code 137",
        )

    @invariant()
    def run_numbers_only_grow(self) -> None:
        for track in Track:
            runs = [job.seen.run for job in self.model.jobs if job.track is track]
            assert len(runs) == len(set(runs))

    def teardown(self) -> None:
        """Left alone, with nothing in its way, the set gets to what is wanted."""
        model = self.model
        model.missing.clear()
        model.suspended = False
        model.requested_at = "the end"
        for _ in range(40):
            made = model.reconcile()
            self.start_pods()
            self.start_containers()
            for track in Track:
                self.succeed(track)
            self.settle_jobs()
            model.now += timedelta(seconds=400)
            if made.status.conditions[0].status == "True":
                break
        assert made.status.conditions[0].status == "True", made.status
        idle = model.reconcile()
        assert not [one for one in idle.actions if isinstance(one, CreateJob)]


Life.TestCase.settings = settings(
    max_examples=200, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLife = Life.TestCase
