"""Commands are obeyed while they stand there, in the database that they were given for, and once."""

import json
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import (
    ANNOTATION_FORCE,
    ANNOTATION_REQUESTED_AT,
    ANNOTATION_TAKE_OVER,
    ENV_DATABASE_URL,
    ENV_JOB,
    LABEL_RUN,
    LABEL_SET_UID,
    LABEL_TRACK,
    CommandState,
)
from tests.chaos.history import Revision


def check_jobs(revisions: Sequence[Revision], jobs: Sequence[Revision], *, alone: bool) -> int:
    """Each Job is for what stood in the set when its run was planned; returns how many there were.

    That write of the status was made under the set's resourceVersion, so whatever it holds beside the status
    was known. ``alone`` is whether there was one operator all the time: then whatever any later write of the
    status was made upon was known, too, when the Job was created.
    """
    looked = 0
    for job in jobs:
        assert job.body is not None
        labels = job.body["metadata"]["labels"]
        own = _of(labels[LABEL_SET_UID], revisions)
        track, run = labels[LABEL_TRACK], int(labels[LABEL_RUN])
        plan = next((one for one in own if _run(one, track) == run), None)
        assert plan is not None, f"{job.name}: its run was never planned"
        assert plan.version < job.version, f"{job.name}: its run was planned afterwards"
        _check_job(job, plan)
        if alone:
            _check_job(job, _last_write(own, plan, job.version))
        looked += 1
    return looked


def check_approvals(jobs: Sequence[Revision], approved: Collection[str], *, manual: bool) -> int:
    """Each Job carries only a plan that was approved, and runs nothing else; returns how many carry one."""
    carried = 0
    for job in jobs:
        spec = _job_spec(job)
        assert spec.get("manual", False) == manual, f"{job.name}: its files need no approval"
        plan = spec.get("approved")
        assert plan is None or plan["digest"] in approved, f"{job.name}: nobody has approved {plan}"
        carried += plan is not None
    return carried


def check_obeyed(obeyed: Mapping[int, Iterable[str]], jobs: Sequence[Revision]) -> int:
    """Every force and take-over was obeyed once, in one database, by a Job for that one; returns how many.

    ``obeyed`` are the tokens in each database's history, by its OID.
    """
    told = Counter(token for tokens in obeyed.values() for token in tokens)
    assert not [token for token, times in told.items() if times > 1], f"obeyed more than once: {obeyed}"
    meant = [(_tokens(spec), spec.get("command_database")) for spec in map(_job_spec, jobs)]
    for oid, tokens in obeyed.items():
        for token in tokens:
            databases = [database for carried, database in meant if token in carried]
            assert databases, f"{token} was obeyed in OID {oid}, and no Job carried it"
            assert any(one is None or one["oid"] == oid for one in databases), (
                f"{token} was obeyed in OID {oid}; it was given for {databases}"
            )
    return len(told)


def check_told(body: Json, obeyed: Mapping[int, Iterable[str]]) -> None:
    """What the status calls obeyed is in a database's history."""
    commands = (body.get("status") or {}).get("commands") or {}
    for command in (commands.get("force"), commands.get("takeOver")):
        if command is not None and command["state"] == CommandState.OBEYED:
            token = command["value"].rpartition("@")[2]
            assert any(token in tokens for tokens in obeyed.values()), f"{command} was not obeyed anywhere"


def _tokens(spec: Json) -> set[str]:
    return {spec[name]["token"] for name in ("force", "take_over") if name in spec}


def _check_job(job: Revision, known: Revision) -> None:
    """What a Job is for stands in the set as it is ``known``."""
    assert known.body is not None
    spec = _job_spec(job)
    annotations = known.body["metadata"].get("annotations") or {}
    told = f"{job.name}, created at {job.version}, of a set that at {known.version} had {annotations}"
    for name, value in _commands(spec).items():
        assert annotations.get(name) == value, f"{told}: it carries {name}={value}"
    wanted = known.body["spec"]
    target = wanted["tracks"].get(spec["track"], {}).get("targetVersion")
    assert spec.get("target") == target, f"{told}: target {spec.get('target')}, not {target}"
    secret = wanted["database"]["urlFrom"]["secretKeyRef"]["name"]
    assert _secret(job) == secret, f"{told}: the Secret {_secret(job)}, not {secret}"


def _commands(spec: Json) -> dict[str, str]:
    """Annotation and value of each command that a Job carries."""
    track, found = spec["track"], {}
    if "force" in spec:
        found[ANNOTATION_FORCE] = f"{track}={spec['force']['version']}@{spec['force']['token']}"
    if "take_over" in spec:
        found[ANNOTATION_TAKE_OVER] = f"{track}={spec['take_over']['uid']}@{spec['take_over']['token']}"
    if "requested_at" in spec and "approved" not in spec:  # an approval may ask for a failed file, too
        found[ANNOTATION_REQUESTED_AT] = spec["requested_at"]
    return found


def _last_write(own: Sequence[Revision], plan: Revision, before: int) -> Revision:
    """The last write of the status before a Job was created, from its plan on."""
    last = plan
    for one in own:
        if plan.version < one.version < before and _status(one) != _status(last):
            last = one
    return last


def _of(uid: str, revisions: Sequence[Revision]) -> list[Revision]:
    return [one for one in revisions if one.body and one.body["metadata"]["uid"] == uid]


def _status(revision: Revision) -> Json:
    found: Json = (revision.body or {}).get("status") or {}
    return found


def _run(revision: Revision, track: str) -> int:
    record = (_status(revision).get("tracks") or {}).get(track) or {}
    return int(record.get("run", 0))


def _environment(job: Revision) -> dict[str, Json]:
    assert job.body is not None
    (container,) = job.body["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one for one in container["env"]}


def _job_spec(job: Revision) -> Json:
    found: Json = json.loads(_environment(job)[ENV_JOB]["value"].replace("$$", "$"))
    return found


def _secret(job: Revision) -> str:
    name: str = _environment(job)[ENV_DATABASE_URL]["valueFrom"]["secretKeyRef"]["name"]
    return name
