"""The life of a set: the real reconcile, driven through whatever a cluster may do to it.

The API server, the Job controller, the kubelet and the databases are models; everything of the operator is
real. Each write of a status is held against kstatus' rules and the table of states.
"""

import asyncio
import difflib
import hashlib
import json
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from fluxbase_migrations.api import status_json
from fluxbase_migrations.api.commands import parse_force
from fluxbase_migrations.api.status import SetStatus
from fluxbase_migrations.api.transitions import line_of
from fluxbase_migrations.controller.client.kube import NamespacedName
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.controller.process.metrics import Metrics
from fluxbase_migrations.controller.process.settings import Settings
from fluxbase_migrations.controller.reconcile.events import EventRecorder
from fluxbase_migrations.controller.reconcile.log_follower import LogFollower
from fluxbase_migrations.controller.reconcile.observe import Memory, Observation, Observer
from fluxbase_migrations.controller.reconcile.reconciler import Reconciler
from fluxbase_migrations.controller.reconcile.slots import Slots
from fluxbase_migrations.controller.watch.config_map_reader import ConfigMapIndex, ConfigMapReader
from fluxbase_migrations.controller.watch.store import ObjectKind, Store
from fluxbase_migrations.core.approval import PlanStart, TrackPlan
from fluxbase_migrations.core.digest import source_digest
from fluxbase_migrations.core.exposure import Exposure
from fluxbase_migrations.core.identity import DatabaseIdentity, differs
from fluxbase_migrations.core.job import JobSpec, SetRef
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    API_VERSION,
    CONTAINER,
    KIND,
    Approval,
    CommandState,
    ExposurePolicy,
    Phase,
    Rollback,
    Track,
)
from fluxbase_migrations.core.result import ErrorInfo, Outcome, Result
from fluxbase_migrations.decisions.actions import CreateJob
from fluxbase_migrations.decisions.decide import SetDecision, decide
from tests.controller.cluster import told
from tests.support import kstatus
from tests.unit.api_in_memory import ApiInMemory, OperatorDied

NAMESPACE, NAME = "fluxbase", "shop"
KEY = (NAMESPACE, NAME)
SET = path_of(Resource.SETS, *KEY)
CLUSTER = "cluster"
OTHER = path_of(Resource.SETS, NAMESPACE, "other")
"""Another set, with the same database."""
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
TRACKS = st.sampled_from(list(Track))
COUNTS = st.integers(1, 3)
ENDS = st.sampled_from(
    [
        Outcome.APPLIED,
        "later",
        Outcome.SQL_ERROR,
        "killed",
        Outcome.TRANSIENT,
        Outcome.UNREACHABLE,
        Outcome.INTERRUPTED,
    ]
)
SECRETS = ("db", "other")
"""Each leads to a database of its own."""
EXPOSURE = Exposure("materialized view", "public.m", ("authenticated",), ("SELECT",), "REVOKE …")
READ = frozenset(
    {
        Outcome.APPLIED,
        Outcome.NO_CHANGE,
        Outcome.ROLLED_BACK,
        Outcome.SQL_ERROR,
        Outcome.EXPOSED,
        Outcome.PLATFORM_INCOMPLETE,
        Outcome.AWAITING_APPROVAL,
    }
)
"""Outcomes of runs that have read the row at their end."""


@dataclass
class Row:
    """A tracking row, with what keeps a force from being obeyed twice."""

    version: int | None = None
    dirty: bool = False
    tokens: list[str] = field(default_factory=list)
    entries: int = 0
    """How often a plan was brought to its end, or a version was forced."""
    owner: SetRef | None = None
    open: bool = False
    """Whether requests reach something past row-level security; of the user track."""
    lacking: bool = False
    """Whether something is gone of what its files have made; of the system track."""

    database: DatabaseIdentity = field(default_factory=lambda: database_of("db", 0))

    def result(self, outcome: Outcome, **more: Any) -> Result:
        return Result(
            outcome, version=self.version, dirty=self.dirty, observed=True, database=self.database, **more
        )


def database_of(name: str, generation: int) -> DatabaseIdentity:
    """What a Secret's URL leads to; another generation after it was dropped and made again."""
    return DatabaseIdentity(name, name, generation)


def migrate(row: Row, job: JobSpec, files: dict[str, bytes], *, to_the_end: bool = True) -> Result:
    """What the runner would do to the database, and report."""
    if job.expected_digest != source_digest(files):
        return Result(Outcome.SOURCE_CHANGED)
    if differs(job.expected_database, row.database) or differs(job.command_database, row.database):
        return row.result(Outcome.DATABASE_CHANGED, error=ErrorInfo("another database"))
    asked = job.take_over.uid if job.take_over else None
    if row.owner and row.owner.uid not in (job.set.uid, job.take_over_from, asked):
        owner = {"owner": str(row.owner), "owner_uid": row.owner.uid, "owner_cluster": row.owner.cluster}
        return row.result(Outcome.CONFLICT, **owner)
    owner_before, row.owner = row.owner, job.set
    latest = len(files)
    obeyed = (*(("force",) if job.force else ()), *(("take-over",) if asked else ()))
    known: dict[str, Any] = {"latest": latest, "source_digest": job.expected_digest, "obeyed": obeyed}
    if job.force and job.force.token not in row.tokens:
        row.tokens.append(job.force.token)
        row.entries += 1
        row.version, row.dirty = (None if job.force.version < 1 else job.force.version), False
    target = latest if job.target is None else job.target
    at = row.version or 0
    if at == latest == 0:
        return row.result(Outcome.SOURCE_EMPTY, error=ErrorInfo("no files"), **known)
    if at > latest or target > latest:
        gone = Outcome.AHEAD_OF_SOURCE if at > latest else Outcome.TARGET_NOT_FOUND
        return row.result(gone, error=ErrorInfo("not among the files"), **known)
    if row.lacking and 0 < at <= target:
        return row.result(Outcome.PLATFORM_INCOMPLETE, error=ErrorInfo("role anon is missing"), **known)
    if at > target and job.rollback is Rollback.FORBID:
        return row.result(Outcome.ROLLBACK_FORBIDDEN, error=ErrorInfo("rollback is Forbid"), **known)
    if job.manual and (plan := waiting_plan(row, job, at, target)) is not None:
        row.owner = job.set if obeyed else owner_before
        return row.result(Outcome.AWAITING_APPROVAL, plan=plan, pending=1, **known)
    if not to_the_end:
        row.version, row.dirty = min(at + 1, latest), True
        return row.result(Outcome.SQL_ERROR, error=ErrorInfo("syntax error"), pending=1, **known)
    outcome = Outcome.NO_CHANGE if at == target else Outcome.APPLIED if at < target else Outcome.ROLLED_BACK
    row.entries += at != target or row.dirty
    row.version, row.dirty = target or None, False
    if job.track is Track.USER and job.exposure is not ExposurePolicy.IGNORE:
        found = (EXPOSURE,) if row.open else ()
        known |= {"exposed": len(found), "exposures": found}
        if found and job.exposure is ExposurePolicy.FAIL:
            known["error"], outcome = ErrorInfo("public.m"), Outcome.EXPOSED
    return row.result(outcome, pending=latest - target, **known)


def waiting_plan(row: Row, job: JobSpec, at: int, target: int) -> TrackPlan | None:
    """What has to be approved first; None if nothing has, or it is what is left of the approved plan."""
    start = PlanStart(at or None, entry=row.entries, database=row.database)
    nothing = at == target and not row.dirty
    if job.plan_only or not (nothing or is_approved(row, job, at, target)):
        count = 0 if nothing else max(abs(target - at), 1)
        return TrackPlan(model_digest(job, start, target), count, (), target or None, start)
    return None


def is_approved(row: Row, job: JobSpec, at: int, target: int) -> bool:
    approved = job.approved
    if approved is None or model_digest(job, approved.start, target) != approved.digest:
        return False
    begin, same = approved.start.version or 0, approved.start.database == row.database
    return same and approved.start.entry == row.entries and min(begin, target) <= at <= max(begin, target)


def model_digest(job: JobSpec, start: PlanStart, target: int) -> str:
    database = start.database
    where = (job.track, start.version, start.entry, str(database), target, job.expected_digest)
    return f"sha256:{hashlib.sha256(repr(where).encode()).hexdigest()}"


class Decided(Reconciler):
    """Decides twice: a decision about what it has itself decided changes nothing, so there is no hot loop.

    Where it has not read the files, the decision must be the one that follows from them.
    """

    reader: Observer | None = None
    """One that knows nothing but what it reads itself; None: the ConfigMaps may be newer than was shown."""
    unread = 0
    """How often the files were not read."""

    async def _observe(self, key: NamespacedName, memory: Memory) -> Observation | None:
        observed = await super()._observe(key, memory)
        if observed and observed.unread:
            self.unread += 1
            if self.reader:
                read = await self.reader.observe(key, observed.set.now, memory, read=True)
                assert read
                assert observed.decision == decide(read.set), "the files say otherwise"
        return observed

    def _decide_with_slots(self, key: NamespacedName, observed: Observation) -> SetDecision:
        made = super()._decide_with_slots(key, observed)
        seen = replace(observed.set, status=made.status)
        again = super()._decide_with_slots(key, replace(observed, set=seen, decision=None))
        assert again.status == made.status, f"it does not last: {_changed(made.status, again.status)}"
        assert _created(again) == _created(made), f"{_created(again)} after {_created(made)}"
        return made


def _changed(before: SetStatus, after: SetStatus) -> list[str]:
    """What differs, for a person."""
    old, new = (json.dumps(status_json.write(one), indent=1).splitlines() for one in (before, after))
    return [line for line in difflib.unified_diff(old, new, n=1) if line[0] in "+-"]


def _created(made: SetDecision) -> list[CreateJob]:
    return [action for action in made.actions if isinstance(action, CreateJob)]


class Life(RuleBasedStateMachine):
    """One set with a ConfigMap for each track, one database, and one operator at a time."""

    def __init__(self) -> None:
        super().__init__()
        self.now = BEGIN
        self.before: Json | None = None
        self.in_flight: set[str] = set()
        """Paths of Jobs whose container runs."""
        self.databases: dict[str, dict[Track, Row]] = {}
        self.generations = 0
        self.dropped: Counter[tuple[Track, str]] = Counter()
        """Force commands, by track and token, that were obeyed in databases that are gone."""
        self.given: Counter[tuple[Track, str]] = Counter()
        """How often each was given."""
        self.for_any_database: set[tuple[Track, str]] = set()
        """Those that were given when no database was known."""
        for name in SECRETS:
            self.drop_and_make_again(name)
        self.plans: list[str] = []
        """Digests of the plans that were approved."""
        self.approved: set[str] = set()
        """Those of their tracks."""
        self.was_disabled = False
        self.up = True
        self.lag = frozenset[ObjectKind]()
        self.config_maps_lag = False
        self.loop = asyncio.new_event_loop()
        self.api = ApiInMemory(lambda: self.now, self.check_write)
        self.api.put(
            path_of(Resource.NAMESPACES, None, NAMESPACE), {"metadata": {"name": NAMESPACE, "uid": CLUSTER}}
        )
        self.restart()

    @initialize(enabled=st.booleans(), ends=st.lists(ENDS, max_size=8))
    def make_set(self, enabled: bool, ends: list[str]) -> None:
        for track in Track:
            self.write_files(track, 2)
        database = {"urlFrom": {"secretKeyRef": {"name": "db", "key": "url"}}}
        tracks = {str(track): {"source": {"configMap": {"name": str(track)}}} for track in Track}
        tracks["system"]["enabled"] = enabled  # type: ignore[assignment]
        self.was_disabled = not enabled
        body = {
            "apiVersion": API_VERSION,
            "kind": KIND,
            "metadata": {"name": NAME, "namespace": NAMESPACE},
            "spec": {"database": database, "tracks": tracks},
            "status": {"observedGeneration": -1},
        }
        self.api.put(SET, body)
        self.the_operator_looks()
        self.go_on("ContainerCreating", ["later", "later", *ends])

    # The operator

    @rule()
    def restart(self) -> None:
        """What is not in the API server is forgotten."""
        settings = Settings(image="image", progress=False)
        self.store, references = Store(), ConfigMapIndex()
        self.sources = ConfigMapReader(self.api)
        self.api.show(self.store)
        observer = Observer(self.api, settings, self.store, references, self.sources)
        observer.expect(KEY)
        self.api.show_config_maps(self.sources)
        self.reconciler = Decided(
            kube=self.api,
            settings=settings,
            store=self.store,
            observer=observer,
            recorder=EventRecorder(self.api, "operator"),
            slots=Slots(1, lambda holder: None, lambda holder: holder[0][0]),
            follower=LogFollower(self.api, lambda key, delay: None),
            metrics=Metrics(),
            clock=lambda: self.now,
            requeue=lambda key, delay: None,
        )
        self.reader = Observer(self.api, settings, self.store, ConfigMapIndex(), ConfigMapReader(self.api))

    @rule(up=st.sampled_from([True, True, False]))
    def switch(self, up: bool) -> None:
        self.up = up

    @invariant()
    def the_operator_looks(self) -> None:
        """Whatever happens to a set, the operator looks at it, unless it is down."""
        if self.up and SET in self.api.objects:
            self.look()

    @rule(lag=st.frozensets(st.sampled_from(ObjectKind)))
    def watches_lag(self, lag: frozenset[ObjectKind]) -> None:
        """What others write of these is not shown until the watch has caught up."""
        self.lag = lag

    @rule(lags=st.booleans())
    def the_watch_of_config_maps_lags(self, lags: bool) -> None:
        self.config_maps_lag = lags

    def look(self) -> None:
        self.api.show(self.store, set(ObjectKind) - self.lag)
        if not self.config_maps_lag:
            self.api.show_config_maps(self.sources)
        self.reconciler.reader = None if self.config_maps_lag else self.reader
        self.loop.run_until_complete(self.reconciler.reconcile(KEY))

    @rule(writes=st.integers(0, 3))
    def die(self, writes: int) -> None:
        """The operator dies after some of its writes."""
        self.api.writes_left = writes
        try:
            self.look()
        except OperatorDied:
            self.restart()
        finally:
            self.api.writes_left = None

    @rule()
    def somebody_is_faster(self) -> None:
        self.api.somebody_is_faster = True

    def check_write(self, body: Json) -> None:
        """What must hold of every status that is written."""
        before, self.before = self.before, body
        kstatus.check(body, before)
        force = body["status"].get("commands", {}).get("force")
        if force and force["state"] != CommandState.REFUSED and "database" not in force:
            self.for_any_database.add(forced(force["value"]))
        for track in Track:
            self.check_track(body, before, track)

    def check_track(self, body: Json, before: Json | None, track: Track) -> None:
        found = body["status"]["tracks"].get(track) or {}
        was = ((before or {}).get("status", {}).get("tracks") or {}).get(track) or {}
        line = line_of(Phase(found["phase"]), found["reason"])
        came_from = Phase(was.get("phase", Phase.PENDING))
        assert came_from in line.before, f"{came_from} → {line.phase}, {found['reason']}"
        url = body["spec"]["database"]["urlFrom"]["secretKeyRef"]["name"]
        row = self.databases[url][track]
        shown = found.get("database")
        assert shown is None or shown["name"] == url, f"{url} is shown as {shown}"
        if shown is None:
            facts = found.get("version"), found.get("dirty"), found.get("pending"), found.get("claimedBy")
            assert facts == (None, False, None, None), f"{facts} of no database"
        if shown is None or shown["oid"] != row.database.oid:
            return self.check_order(body, track, found)
        if found["phase"] in (Phase.APPLIED, Phase.ROLLED_BACK):
            assert not row.dirty, "Applied over a dirty row"
        if found.get("finishedAt") != was.get("finishedAt") and found.get("outcome") in READ:
            told = found.get("version"), found.get("dirty", False)
            assert told == (row.version, row.dirty), f"status tells {told} of {row}"
        self.check_exposure(body, found)
        return self.check_order(body, track, found)

    def check_exposure(self, body: Json, found: Json) -> None:
        """What is not to be is never shown as fine."""
        policy = body["spec"].get("exposure", ExposurePolicy.WARN)
        present = body["status"]["observedGeneration"] == body["metadata"]["generation"]
        if present and found["phase"] in (Phase.APPLIED, Phase.ROLLED_BACK):
            assert not found.get("exposed") or policy == ExposurePolicy.WARN, f"{policy}: {found['message']}"

    def check_order(self, body: Json, track: Track, found: Json) -> None:
        line = line_of(Phase(found["phase"]), found["reason"])
        if track is Track.USER and line.phase is Phase.PENDING and found["reason"] == "Starting":
            system = body["status"]["tracks"]["system"]
            settled = system["phase"] in (Phase.APPLIED, Phase.ROLLED_BACK, Phase.SKIPPED)
            assert settled or system["reason"] == Outcome.AWAITING_APPROVAL, f"system is {system}"

    # People

    def write_files(self, track: Track, count: int, flavour: str = "") -> None:
        data = {f"00{number}_x.up.sql": f"{number}{flavour}" for number in range(1, count + 1)}
        path = path_of(Resource.CONFIG_MAPS, NAMESPACE, track)
        self.api.put(path, {"metadata": {"name": str(track)}, "data": data})

    @rule(track=TRACKS, count=st.integers(0, 3), flavour=st.sampled_from("ab"))
    def edit(self, track: Track, count: int, flavour: str) -> None:
        self.write_files(track, count, flavour)

    @rule(track=TRACKS)
    def delete_source(self, track: Track) -> None:
        self.api.remove(path_of(Resource.CONFIG_MAPS, NAMESPACE, track))

    def change(self, **spec: Any) -> None:
        found = self.api.objects[SET]
        self.api.put(SET, {"metadata": {}, "spec": {**found["spec"], **spec}})

    def change_track(self, track: Track, **fields: Any) -> None:
        tracks = self.api.objects[SET]["spec"]["tracks"]
        wanted = {**tracks[track], **fields}
        shown = {name: value for name, value in wanted.items() if value is not None}
        self.change(tracks={**tracks, str(track): shown})

    @rule(track=TRACKS, enabled=st.booleans())
    def enable(self, track: Track, enabled: bool) -> None:
        if enabled or self.api.objects[SET]["spec"]["tracks"]["user"].get("enabled", True):
            self.was_disabled |= track is Track.SYSTEM and not enabled
            self.change_track(track, enabled=enabled)

    @rule(track=TRACKS, version=st.sampled_from([None, 0, 1, 2, 3]), rollback=st.sampled_from(list(Rollback)))
    def aim(self, track: Track, version: int | None, rollback: Rollback) -> None:
        self.change_track(track, targetVersion=version, rollback=str(rollback))

    @rule(track=TRACKS)
    def another_set_gets_the_database(self, track: Track) -> None:
        self.api.put(OTHER, {"metadata": {"name": "other", "namespace": NAMESPACE}, "spec": {}})
        uid = self.api.objects[OTHER]["metadata"]["uid"]
        self.database[track].owner = SetRef(uid, NAMESPACE, "other", CLUSTER)

    @rule(track=TRACKS)
    def a_set_of_another_cluster_gets_the_database(self, track: Track) -> None:
        """Production, where this one is staging: of the same name, as it happens."""
        self.database[track].owner = SetRef("production", NAMESPACE, "other", "another cluster")

    @rule()
    def delete_the_other_set(self) -> None:
        self.api.remove(OTHER)

    @rule(suspended=st.booleans())
    def suspend(self, suspended: bool) -> None:
        self.change(suspend=suspended)

    @rule(interval=st.sampled_from(["1m", "1h", None]))
    def verify(self, interval: str | None) -> None:
        self.change(verify={"interval": interval} if interval else None)

    @rule(name=st.sampled_from(SECRETS))
    def drop_and_make_again(self, name: str) -> None:
        """Another database behind the same URL, while no container is connected to the old one."""
        if not self.in_flight:
            self.generations += 1
            self.dropped += obeyed_in(self.databases.get(name, {}))
            identity = database_of(name, self.generations)
            self.databases[name] = {track: Row(database=identity) for track in Track}

    @rule(name=st.sampled_from(SECRETS), is_open=st.booleans(), lacking=st.booleans())
    def somebody_changes_the_database(self, name: str, is_open: bool, lacking: bool) -> None:
        """Makes or closes a view, drops or makes a policy."""
        self.databases[name][Track.USER].open = is_open
        self.databases[name][Track.SYSTEM].lacking = lacking

    @rule(policy=st.sampled_from(list(ExposurePolicy)))
    def guard(self, policy: ExposurePolicy) -> None:
        self.change(exposure=str(policy))

    @rule(before=st.sampled_from(list(ExposurePolicy)), after=st.sampled_from(list(ExposurePolicy)))
    def something_is_found_open_and_the_policy_changes(
        self, before: ExposurePolicy, after: ExposurePolicy
    ) -> None:
        self.database[Track.USER].open = True
        self.guard(before)
        self.request(f"{before} {after}")
        self.the_operator_looks()
        self.go_on("ContainerCreating", ["later", "later", Outcome.APPLIED] * 2)
        self.guard(after)
        self.the_operator_looks()

    @rule(name=st.sampled_from(SECRETS))
    def correct_the_database(self, name: str) -> None:
        self.change(database={"urlFrom": {"secretKeyRef": {"name": name, "key": "url"}}})

    def annotate(self, name: str, value: str) -> None:
        annotations = {
            **self.api.objects[SET]["metadata"].get("annotations", {}),
            f"fluxbase.io/{name}": value,
        }
        self.api.put(SET, {"metadata": {"annotations": annotations}, "spec": self.api.objects[SET]["spec"]})

    @rule(value=st.sampled_from("123"))
    def request(self, value: str) -> None:
        self.annotate("requested-at", value)

    @rule(track=TRACKS, version=st.sampled_from([-1, 1, 2]), token=st.sampled_from("xy"))
    def force(self, track: Track, version: int, token: str) -> None:
        value, annotations = (
            f"{track}={version}@{token}",
            self.api.objects[SET]["metadata"].get("annotations", {}),
        )
        if annotations.get("fluxbase.io/force") != value:
            self.given[track, token] += 1
        self.annotate("force", value)

    @rule(track=TRACKS, token=st.sampled_from("xy"))
    def exchange_the_database_after_a_force_that_nobody_heard_of(self, track: Track, token: str) -> None:
        """It was obeyed while the operator was down; what the run has told is gone, and then the database."""
        self.force(track, 1, token)
        self.the_operator_looks()
        self.go_on("ContainerCreating", ["later", "later"])
        up, self.up = self.up, False
        self.end(Outcome.APPLIED)
        for each in Track:
            self.delete_jobs_by_hand(each)
        self.drop_and_make_again(self.database[track].database.name)
        self.up = up
        self.the_operator_looks()
        self.time_passes(400)
        self.the_operator_looks()
        self.go_on("ContainerCreating", ["later", "later", Outcome.APPLIED])

    @rule(policy=st.sampled_from(list(Approval)))
    def set_approval(self, policy: Approval) -> None:
        self.change(approval=policy)

    @rule()
    def approve(self) -> None:
        """As kubectl does: the plan that is shown."""
        status = self.api.objects[SET].get("status", {})
        if (plan := status.get("plan")) is None:
            return
        self.approved |= {status["tracks"][track]["plan"]["digest"] for track in plan["tracks"]}
        self.plans.append(plan["digest"])
        self.annotate("approve", f"{plan['digest']}@{len(self.plans)}")

    @rule(which=st.integers(0, 9))
    def approve_what_was_shown_before(self, which: int) -> None:
        if self.plans:
            self.annotate("approve", self.plans[which % len(self.plans)])

    @rule(name=st.sampled_from(["requested-at", "force", "take-over", "approve"]))
    def withdraw(self, name: str) -> None:
        annotations = dict(self.api.objects[SET]["metadata"].get("annotations", {}))
        annotations.pop(f"fluxbase.io/{name}", None)
        self.api.put(SET, {"metadata": {"annotations": annotations}, "spec": self.api.objects[SET]["spec"]})

    @rule(track=TRACKS, token=st.sampled_from("xy"))
    def take_over(self, track: Track, token: str) -> None:
        """From whoever owns it now."""
        owner = self.database[track].owner
        if owner is not None:
            self.annotate("take-over", f"{track}={owner.uid}@{token}")

    @rule(refuse=st.booleans())
    def set_quota(self, refuse: bool) -> None:
        self.api.refuse_jobs = refuse

    @rule(seconds=st.sampled_from([1, 6, 11, 60, 400]))
    def time_passes(self, seconds: int) -> None:
        self.now += timedelta(seconds=seconds)

    @rule(track=TRACKS)
    def delete_jobs_by_hand(self, track: Track) -> None:
        """With their pods, at once, whatever they are at."""
        for job in self.jobs(track):
            self.api.remove(path_of(Resource.JOBS, NAMESPACE, job["metadata"]["name"]))
            self.api.remove(self.pod_path(job))
            self.in_flight.discard(job["metadata"]["name"])

    # Kubernetes

    def jobs(self, track: Track) -> list[Json]:
        found = self.api.select(
            path_of(Resource.JOBS, NAMESPACE), {"labelSelector": f"fluxbase.io/track={track}"}
        )
        return sorted(found, key=lambda job: int(job["metadata"]["labels"]["fluxbase.io/run"]))

    def pod_path(self, job: Json) -> str:
        return f"{path_of(Resource.PODS, NAMESPACE)}/{job['metadata']['name']}-pod"

    def pod(self, job: Json) -> Json | None:
        return self.api.objects.get(self.pod_path(job))

    def show(self, job: Json, phase: str, state: Json) -> None:
        pod = self.api.objects[self.pod_path(job)]
        pod["status"] = {"phase": phase, "containerStatuses": [{"name": CONTAINER, "state": state}]}
        self.api.touch(self.pod_path(job))

    @rule(
        reason=st.sampled_from(["ContainerCreating", "CreateContainerConfigError"]),
        ends=st.lists(ENDS, min_size=1, max_size=6),
    )
    def go_on(self, reason: str, ends: list[str]) -> None:
        """Some steps of each Job: its pod is made, its container starts, it ends, that is noted."""
        for end in ends:
            self.catch_up()
            if end != "later":
                self.end(None if end == "killed" else Outcome(end))
            self.start_containers()
            self.make_pods(reason)
            self.the_operator_looks()

    def url_of(self, job: Json) -> str:
        """Which Secret a Job's pod reads."""
        for variable in job["spec"]["template"]["spec"]["containers"][0]["env"]:
            if "valueFrom" in variable:
                return str(variable["valueFrom"]["secretKeyRef"]["name"])
        raise AssertionError(job)

    @property
    def database(self) -> dict[Track, Row]:
        """The rows of the database that the spec names now."""
        return self.databases[self.api.objects[SET]["spec"]["database"]["urlFrom"]["secretKeyRef"]["name"]]

    def make_pods(self, reason: str) -> None:
        for job in [job for track in Track for job in self.jobs(track)]:
            if self.pod(job) is None and not _ended(job) and not _deleted(job):
                metadata = {
                    **job["spec"]["template"]["metadata"],
                    "name": f"{job['metadata']['name']}-pod",
                    "namespace": NAMESPACE,
                }
                self.api.put(self.pod_path(job), {"metadata": metadata})
                self.show(job, "Pending", {"waiting": {"reason": reason}})

    def start_containers(self) -> None:
        for job in self.waiting_pods():
            self.show(job, "Running", {"running": {"startedAt": self.now.isoformat()}})
            self.in_flight.add(job["metadata"]["name"])

    def waiting_pods(self) -> list[Json]:
        """Jobs whose container may start."""
        return [
            job
            for track in Track
            for job in self.jobs(track)
            if (pod := self.pod(job)) and pod["status"]["phase"] == "Pending" and not _deleted(job)
        ]

    def end(self, outcome: Outcome | None) -> None:
        """The running containers end as they would."""
        for job in [job for track in Track for job in self.jobs(track)]:
            name, track = job["metadata"]["name"], Track(job["metadata"]["labels"]["fluxbase.io/track"])
            if name not in self.in_flight:
                continue
            files = self.api.objects.get(path_of(Resource.CONFIG_MAPS, NAMESPACE, track), {}).get("data", {})
            content = {file: text.encode() for file, text in files.items()}
            result: Result | None
            if outcome in (Outcome.APPLIED, Outcome.SQL_ERROR):
                result = migrate(
                    self.databases[self.url_of(job)][track],
                    told(job),
                    content,
                    to_the_end=outcome is Outcome.APPLIED,
                )
            else:
                result = Result(outcome, error=ErrorInfo("no")) if outcome else None
            terminated = {"exitCode": 0, "finishedAt": self.now.isoformat()}
            message = {"message": result.to_json()} if result else {"reason": "OOMKilled"}
            self.show(job, "Succeeded", {"terminated": terminated | message})
            self.in_flight.discard(name)

    def catch_up(self) -> None:
        """The Job controller writes what became of its pods, and the garbage collector ends deletions."""
        for job in [job for track in Track for job in self.jobs(track)]:
            name, pod = job["metadata"]["name"], self.pod(job)
            if pod and pod["status"]["phase"] == "Succeeded":
                job["status"] = {"conditions": [{"type": "Complete", "status": "True"}]}
                self.api.touch(path_of(Resource.JOBS, NAMESPACE, name))
            if _deleted(job) and name not in self.in_flight:
                self.api.remove(path_of(Resource.JOBS, NAMESPACE, name))
                self.api.remove(self.pod_path(job))

    # What must always hold

    @invariant()
    def no_job_in_flight_is_deleted_by_the_operator(self) -> None:
        for track in Track:
            for job in self.jobs(track):
                assert not (_deleted(job) and job["metadata"]["name"] in self.in_flight), job

    @invariant()
    def no_job_has_an_approval_that_nobody_gave(self) -> None:
        for job in [job for track in Track for job in self.jobs(track)]:
            given = told(job).approved
            assert given is None or given.digest in self.approved, given

    @invariant()
    def nobody_is_taken_over_who_is_there(self) -> None:
        there = self.api.objects.get(OTHER)
        for job in [job for track in Track for job in self.jobs(track)]:
            assert there is None or told(job).take_over_from != there["metadata"]["uid"]
            assert told(job).take_over_from != "production", "a set of another cluster is taken over"

    @invariant()
    def one_container_at_a_time(self) -> None:
        assert len(self.in_flight) <= 1, self.in_flight  # there is one slot

    @invariant()
    def a_force_is_obeyed_once(self) -> None:
        """A database knows the tokens that were obeyed in it, and another one does not: the command must."""
        for command, times in self.obeyed().items():
            assert command in self.for_any_database or times <= self.given[command], (
                f"{command}: {times} times"
            )

    def obeyed(self) -> Counter[tuple[Track, str]]:
        """How often each force was obeyed, in all databases that there ever were."""
        return sum(map(obeyed_in, self.databases.values()), self.dropped)

    @invariant()
    def the_user_track_never_goes_before_the_system_track(self) -> None:
        enabled = self.api.objects.get(SET, {}).get("spec", {}).get("tracks", {}).get("system", {})
        for rows in self.databases.values():
            if not self.was_disabled and enabled.get("enabled", True) and rows[Track.USER].version:
                assert rows[Track.SYSTEM].owner, "the user track was applied to a database of its own"

    def teardown(self) -> None:
        """Left alone, with nothing in its way, the set gets to what is wanted, and then rests."""
        try:
            if SET in self.api.objects:
                self.comes_to_rest()
        finally:
            self.loop.close()

    def comes_to_rest(self) -> None:
        self.set_quota(False)
        self.api.somebody_is_faster = False
        self.delete_the_other_set()
        for track in Track:
            self.write_files(track, 3)
            self.change_track(track, targetVersion=None)
            shown = self.api.objects[SET]["status"].get("tracks", {}).get(track) or {}
            if self.database[track].dirty or shown.get("dirty"):
                self.enable(track, True)  # a dirty track is not Ready, whatever became of it
            owner = self.database[track].owner
            if owner is not None and owner.uid == "production":
                self.database[track].owner = None
        self.database[Track.SYSTEM].lacking = False
        if self.api.objects[SET]["spec"].get("exposure") == ExposurePolicy.FAIL:
            self.database[Track.USER].open = False
        self.verify(None)
        self.suspend(False)
        self.withdraw("force")
        self.withdraw("take-over")
        self.request("the end")
        self.up = True
        self.lag, self.config_maps_lag = frozenset(), False
        for _ in range(60):
            self.go_on("ContainerCreating", [Outcome.APPLIED])
            self.approve()
            self.now += timedelta(seconds=400)
            body = self.api.objects[SET]
            if kstatus.compute(body) == "Current":
                break
        assert kstatus.compute(body) == "Current", json.dumps(body["status"], indent=1)
        for track in Track:
            if body["spec"]["tracks"][track].get("enabled", True):
                assert self.database[track].version == 3
                self.was_forced(track, body["status"].get("commands", {}).get("force", {}))
        version = self.api._version
        self.look()
        self.look()
        idle = self.api._version - version
        assert idle <= 4, f"{idle} writes of an idle set"  # what it had left to tidy up
        version = self.api._version
        self.look()
        assert self.api._version == version, "an idle set is written to"

    def was_forced(self, track: Track, command: Json) -> None:
        value = command.get("value", "")
        if value.startswith(f"{track}=") and command["state"] == CommandState.OBEYED:
            assert self.obeyed()[forced(value)], f"{value} was never obeyed"


def obeyed_in(rows: dict[Track, Row]) -> Counter[tuple[Track, str]]:
    """The force commands that were obeyed in one database, by track and token."""
    return Counter((track, token) for track, row in rows.items() for token in row.tokens)


def forced(value: str) -> tuple[Track, str]:
    """Track and token of a force command."""
    track, command = parse_force(value)
    return track, command.token


def _ended(job: Json) -> bool:
    return bool(job.get("status"))


def _deleted(job: Json) -> bool:
    return "deletionTimestamp" in job["metadata"]


Life.TestCase.settings = settings(
    max_examples=150, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
TestLife = pytest.mark.timeout(1200)(Life.TestCase)  # a failure takes long to shrink


def test_a_command_that_was_obeyed_already_replaces_no_job() -> None:
    """It was given again after another one, while the Job of a run in another database waits for its pod."""
    life = Life()
    life.make_set(False, [])
    life.correct_the_database("other")
    life.the_operator_looks()
    life.exchange_the_database_after_a_force_that_nobody_heard_of(Track.USER, "y")
    life.exchange_the_database_after_a_force_that_nobody_heard_of(Track.SYSTEM, "x")
    life.correct_the_database("db")
    life.the_operator_looks()
    life.force(Track.USER, 1, "y")
    life.the_operator_looks()
    life.loop.close()


def test_the_end_of_a_force_without_files_is_told_as_it_stays() -> None:
    life = Life()
    life.make_set(enabled=True, ends=[])
    life.the_operator_looks()
    life.edit(count=0, flavour="a", track=Track.SYSTEM)
    life.the_operator_looks()
    life.exchange_the_database_after_a_force_that_nobody_heard_of(token="x", track=Track.SYSTEM)
    life.teardown()


@pytest.mark.parametrize("after", ExposurePolicy)
@pytest.mark.parametrize("before", ExposurePolicy)
def test_another_policy_about_what_requests_reach_is_obeyed(
    before: ExposurePolicy, after: ExposurePolicy
) -> None:
    life = Life()
    life.make_set(enabled=True, ends=[Outcome.APPLIED, "later", "later", Outcome.APPLIED])
    life.something_is_found_open_and_the_policy_changes(before, after)
    life.go_on("ContainerCreating", ["later", "later", Outcome.APPLIED])
    found = life.api.objects[SET]["status"]["tracks"]["user"]
    assert found["phase"] == (Phase.FAILED if after is ExposurePolicy.FAIL else Phase.APPLIED)
    assert found.get("exposed") == (None if after is ExposurePolicy.IGNORE else 1)
    life.teardown()


def test_a_platform_that_lost_something_keeps_the_user_track_waiting() -> None:
    life = Life()
    life.make_set(enabled=True, ends=[Outcome.APPLIED, "later", "later", Outcome.APPLIED])
    life.somebody_changes_the_database("db", is_open=False, lacking=True)
    life.request("again")
    life.edit(Track.USER, 3, "")
    life.the_operator_looks()
    life.go_on("ContainerCreating", ["later", "later", Outcome.APPLIED])
    tracks = life.api.objects[SET]["status"]["tracks"]
    assert (tracks["system"]["phase"], tracks["system"]["reason"]) == (Phase.PENDING, "PlatformIncomplete")
    assert tracks["user"]["reason"] == "WaitingForSystem"
    life.teardown()
