"""What an operator that has just started takes from the status, and what it reads again."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import event, given, settings
from hypothesis import strategies as st

from fluxbase_migrations.api.commands import Annotation, inputs_digest
from fluxbase_migrations.api.status import JobReference, Progress, SetStatus, TracksStatus, TrackStatus
from fluxbase_migrations.controller.client.resources import Resource, path_of
from fluxbase_migrations.core.config_maps import RULES
from fluxbase_migrations.core.names import Phase, Track
from fluxbase_migrations.core.result import Outcome, Result
from fluxbase_migrations.decisions.command_status import Annotations
from fluxbase_migrations.decisions.decide import ObservedSet, decide, is_no_op
from fluxbase_migrations.decisions.desired import DesiredRun
from fluxbase_migrations.decisions.job_state import Container, ObservedJob, ObservedPod
from fluxbase_migrations.decisions.observed import ObservedTrack
from tests.unit.test_reconcile_machine import NAMESPACE, SET, Life

USER = path_of(Resource.CONFIG_MAPS, NAMESPACE, "user")
NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)
WANT = DesiredRun("content", "template", versions=(1, 2, 3))


@pytest.fixture
def life() -> Iterator[Life]:
    """Both tracks are Applied, each from a ConfigMap, and nothing is left to tidy up."""
    life = Life()
    life.make_set(True, [])
    for _ in range(4):
        life.go_on("ContainerCreating", [Outcome.APPLIED, "later", "later"])
    assert {life.api.objects[SET]["status"]["tracks"][track]["phase"] for track in Track} == {Phase.APPLIED}
    yield life
    life.loop.close()


def restarted(life: Life) -> int:
    """How many ConfigMaps an operator reads that is started now."""
    life.restart()
    return looked(life)


def looked(life: Life) -> int:
    """How many ConfigMaps it reads at another look."""
    life.config_maps_lag = True  # what is there was shown; the model's own check would read, too
    life.api.reads.clear()
    life.look()
    life.config_maps_lag = False
    return life.api.reads["configmaps"]


def status_of(life: Life, track: Track = Track.USER) -> dict[str, Any]:
    found: dict[str, Any] = life.api.objects[SET]["status"]["tracks"][track]
    return found


def test_a_set_at_rest_is_looked_at_without_a_request(life: Life) -> None:
    version = life.api._version
    assert (restarted(life), looked(life)) == (0, 0)
    assert (life.api.reads.total(), life.api._version) == (0, version)
    assert life.reconciler.unread == 2


def edited(life: Life) -> None:
    life.write_files(Track.USER, 3)


def touched(life: Life) -> None:
    life.api.touch(USER)


def made_again(life: Life) -> None:
    """Another object with the same content."""
    body = life.api.objects.pop(USER)
    life.api.put(USER, {"metadata": {"name": "user"}, "data": body["data"]})


def copied(life: Life) -> None:
    """A backup tool has made the ConfigMaps anew, with uids of their own, and put the set's status back."""
    for track in Track:
        life.api.objects[path_of(Resource.CONFIG_MAPS, NAMESPACE, track)]["metadata"]["uid"] = (
            f"copy-of-{track}"
        )


def aimed_lower(life: Life) -> None:
    life.change_track(Track.USER, targetVersion=1, rollback="Allow")


def asked(life: Life) -> None:
    life.request("again")


def read_by_other_rules(life: Life) -> None:
    status_of(life)["source"]["rules"] = RULES + 1
    life.api.touch(SET)


def written_by_an_older_operator(life: Life) -> None:
    for track in Track:
        del status_of(life, track)["source"]
    life.api.touch(SET)


@pytest.mark.parametrize(
    ("happens", "read", "runs"),
    [
        (edited, 2, True),
        (touched, 1, False),
        (made_again, 1, False),
        (copied, 2, False),
        (aimed_lower, 2, True),
        (asked, 2, True),
        (read_by_other_rules, 1, False),
        (written_by_an_older_operator, 2, False),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_what_the_status_does_not_answer_is_read_once(
    life: Life, happens: Callable[[Life], None], read: int, runs: bool
) -> None:
    before = {job["metadata"]["name"] for track in Track for job in life.jobs(track)}
    happens(life)
    assert restarted(life) == read
    assert bool({job["metadata"]["name"] for track in Track for job in life.jobs(track)} - before) is runs
    assert looked(life) == 0


def test_a_config_map_that_is_gone_is_told_of(life: Life) -> None:
    life.delete_source(Track.USER)
    restarted(life)
    assert (status_of(life)["phase"], status_of(life)["reason"]) == ("Pending", "SourceMissing")
    assert "source" not in status_of(life)


def test_where_config_maps_are_not_watched_they_are_read(life: Life) -> None:
    life.restart()
    life.sources.lost(None)
    assert looked(life) == 2


def test_files_that_were_edited_while_the_operator_was_down_are_run(life: Life) -> None:
    life.switch(up=False)
    edited(life)
    life.switch(up=True)
    life.restart()
    life.go_on("ContainerCreating", [Outcome.APPLIED, "later", "later"])
    life.go_on("ContainerCreating", [Outcome.APPLIED, "later", "later"])
    assert (status_of(life)["version"], status_of(life)["phase"]) == (3, Phase.APPLIED)
    assert status_of(life)["source"]["objects"] == [
        f"{life.api.objects[USER]['metadata']['uid']}/{life.api.objects[USER]['metadata']['resourceVersion']}"
    ]


# What is concluded without the files is what follows from them, in whatever state a set is.

ENDED = Result(Outcome.APPLIED, version=3, observed=True, latest=3, pending=0)
INSTANTS = st.none() | st.sampled_from([NOW - timedelta(hours=1), NOW, NOW + timedelta(hours=1)])
RECORDS = st.builds(
    TrackStatus,
    phase=st.sampled_from(Phase),
    version=st.none() | st.integers(1, 4),
    dirty=st.booleans(),
    latest=st.none() | st.integers(1, 4),
    pending=st.none() | st.integers(0, 3),
    inputs_digest=st.sampled_from([None, inputs_digest("content"), "other"]),
    run=st.integers(0, 1),
    job=st.none() | st.just(JobReference("job", "job")),
    outcome=st.none() | st.sampled_from(Outcome),
    started_at=INSTANTS,
    finished_at=INSTANTS,
    retry_at=INSTANTS,
    attempts=st.integers(0, 2),
    progress=st.none() | st.just(Progress("3_c.up.sql", 3, 3, NOW)),
)
JOBS = st.lists(st.just(ObservedJob("job", "job", 1, inputs_digest("content"), "template", NOW)), max_size=1)
PODS = st.lists(
    st.builds(
        ObservedPod,
        name=st.just("pod"),
        uid=st.just("pod"),
        set_uid=st.just("uid"),
        run=st.just(1),
        container=st.sampled_from(Container),
        created_at=st.just(NOW),
        started_at=st.just(NOW),
        finished_at=INSTANTS,
        over=st.booleans(),
        result=st.none() | st.just(ENDED),
    ),
    max_size=1,
)
ANNOTATIONS = st.none() | st.sampled_from([Annotation("again"), Annotation("user=1@x")])


@st.composite
def situations(draw: st.DrawFn, status: SetStatus, now: datetime, target: int | None) -> ObservedSet:
    """A set with that status, whose files were read."""
    want = replace(WANT, target=target, base=draw(st.sampled_from(["content", "content", "other"])))
    tracks = {
        track: ObservedTrack(track, want, jobs=tuple(draw(JOBS)), pods=tuple(draw(PODS))) for track in Track
    }
    return ObservedSet(
        uid="uid",
        name="shop",
        generation=draw(st.integers(1, 2)) if target is None else 1,
        now=now,
        tracks=tracks,
        status=status,
        suspended=draw(st.booleans()),
        annotations=Annotations(draw(ANNOTATIONS), draw(ANNOTATIONS)),
    )


@settings(max_examples=600, deadline=None)
@given(st.data())
def test_rest_means_the_same_without_the_files(data: st.DataObject) -> None:
    target = data.draw(st.none() | st.integers(1, 4))
    records = TracksStatus(data.draw(RECORDS), data.draw(RECORDS))
    first = data.draw(situations(SetStatus(tracks=records), NOW, target))
    status = decide(first).status  # as it was written when the files were read
    later = first.now + timedelta(seconds=data.draw(st.sampled_from([0, 30, 7200])))
    same = data.draw(st.booleans())
    read = replace(first, status=status, now=later) if same else data.draw(situations(status, later, target))
    wishes = {track: replace(one, desired=replace(WANT, **_known(one))) for track, one in read.tracks.items()}
    unread = replace(read, tracks=wishes)
    if is_no_op(unread, decide(unread)):
        event("at rest")
        assert decide(unread) == decide(read)
    else:
        event("to be read")


def _known(seen: ObservedTrack) -> dict[str, Any]:
    """What is known of what is wanted without the files."""
    assert isinstance(seen.desired, DesiredRun)
    return {"base": seen.desired.base, "target": seen.desired.target, "versions": None}
