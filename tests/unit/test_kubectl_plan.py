"""``kubectl fluxbase plan`` and ``approve``: what is shown is what is approved, and nothing else."""

import copy
import json
from typing import Any

import pytest

from fluxbase_migrations.cli.kubectl import commands, plan_view
from fluxbase_migrations.core.json_names import Json
from fluxbase_migrations.core.names import ANNOTATION_APPROVE, Track
from fluxbase_migrations.runner.log import Log, LogFormat
from tests.support.shop_set import Shown, applied, failed, options

DIGEST = f"sha256:{'ab' * 32}"
OTHER = f"sha256:{'cd' * 32}"


def waiting(digest: str = DIGEST, **plan: Any) -> Json:
    """A set whose user track waits with a plan; its own digest is the set's, for short."""
    found = copy.deepcopy(failed())
    files = [{"version": n, "name": f"{n:03}_x.up.sql", "direction": "up"} for n in range(3, 13)]
    own = {"digest": digest, "count": 12, "files": files, "toVersion": 14, "destructive": 1, "unknown": 2}
    own |= {"start": {"version": 2}, "strongestLock": "SHARE", "locked": "public.t", **plan}
    found["spec"]["approval"] = "Manual"
    found["metadata"] |= {"generation": 4, "resourceVersion": "17"}
    track = {"phase": "Pending", "reason": "AwaitingApproval", "run": 7, "plan": own}
    found["status"] |= {
        "observedGeneration": 4,
        "phase": "Pending",
        "plan": {
            "digest": digest,
            "count": 12,
            "strongestLock": "SHARE",
            "destructive": True,
            "tracks": ["user"],
        },
    }
    found["status"]["tracks"]["user"] = track
    return found


class Busy(Shown):
    """A cluster in which somebody writes to the set at each approval but the last."""

    def __init__(self, *reads: Json) -> None:
        super().__init__(reads[0])
        self.reads = [*reads]
        self.taken: list[Json] = []

    def read(self) -> Json:
        return self.reads.pop(0) if len(self.reads) > 1 else self.reads[0]

    def patch_unchanged(self, body: Json) -> bool:
        if len(self.reads) > 1:
            return False
        self.taken.append(body)
        return True


def test_a_long_plan_is_shown_with_what_is_known_of_it() -> None:
    lines = plan_view.render(waiting(), waiting()["status"]["plan"], None)
    assert lines[0] == "fluxbase/shop: 12 files wait for approval (strongest lock SHARE, destructive)"
    assert lines[-3:] == [
        "user                          and 2 more",
        "",
        "user: from version 2 to version 14; strongest lock SHARE on public.t; 1 statement is destructive; "
        "2 statements are not known in full",
    ]


def test_a_plan_tells_its_baseline_and_what_it_recovers_from_and_what_is_unknown() -> None:
    found = waiting(baseline=2, start={"version": 2, "failedVersion": 3})
    own = found["status"]["tracks"]["user"]["plan"]
    del own["unknown"], own["destructive"]
    assert plan_view.render(found, found["status"]["plan"], None)[-3:] == [
        "user: from version 2 to version 14; what the files lock and destroy is unknown",
        "  first records the baseline, version 2",
        "  first recovers from version 3, which has failed",
    ]


def test_the_plan_of_an_older_spec_is_not_shown() -> None:
    found = waiting()
    found["metadata"]["generation"] = 5
    assert plan_view.waiting(found) is None
    assert plan_view.none_waits(found) == "fluxbase/shop: the operator has not looked at the present spec yet"


def test_where_changes_run_at_once_the_way_to_look_ahead_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.COMMANDS["plan"](Shown(applied(), name="blog"), options("plan", "blog")) == 0
    assert "run fluxbase-migrate plan on the files, or set spec.approval: Manual" in capsys.readouterr().out


def test_a_plan_for_programs_has_its_parts(capsys: pytest.CaptureFixture[str]) -> None:
    assert commands.COMMANDS["plan"](Shown(waiting()), options("plan", "shop", "-o", "json")) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["digest"], told["tracks"]["user"]["toVersion"]) == (DIGEST, 14)


@pytest.mark.parametrize("form", list(LogFormat))
def test_the_whole_plan_is_read_from_the_log_of_its_run(form: LogFormat) -> None:
    written: list[str] = []
    log = Log(form, written.append)
    log.info("Plan", source="user", files=1, digest=DIGEST)
    for line in ("001_a.up.sql: atomic", "", "  1 DROP TABLE \x1b[2J"):
        log.plan(line, source="user")
    text = "".join(written)
    assert plan_view.full_text(text, {"digest": DIGEST}) == [
        "001_a.up.sql: atomic",
        "",
        "  1 DROP TABLE \\x1b[2J",
    ]
    assert plan_view.full_text(text, {"digest": OTHER}) is None


def test_the_pod_of_the_plan_is_that_of_its_run() -> None:
    def pod(track: str, run: str) -> Json:
        return {"metadata": {"labels": {"fluxbase.io/track": track, "fluxbase.io/run": run}}}

    pods = [pod("system", "7"), pod("user", "6"), pod("user", "7")]
    assert plan_view.pod_of(pods, waiting(), Track.USER) is pods[2]


@pytest.mark.parametrize(
    ("given", "meant"),
    [(DIGEST, True), (DIGEST[:19], True), (DIGEST[7:19], True), (OTHER, False)],
    ids=["whole", "short", "digits", "another"],
)
def test_a_digest_may_be_shortened(given: str, meant: bool) -> None:
    assert plan_view.is_meant({"digest": DIGEST}, given) is meant


@pytest.mark.parametrize("given", [DIGEST[:18], "yes", "", DIGEST + "0"])
def test_what_is_no_digest_is_refused(given: str) -> None:
    with pytest.raises(ValueError, match="is no digest"):
        plan_view.is_meant({"digest": DIGEST}, given)


def test_an_approval_names_the_version_of_the_set_that_was_shown() -> None:
    cluster = Busy(waiting())
    assert commands.COMMANDS["approve"](cluster, options("approve", "shop", "--yes")) == 0
    assert cluster.taken == [
        {"metadata": {"resourceVersion": "17", "annotations": {ANNOTATION_APPROVE: DIGEST}}}
    ]


def test_an_approval_that_was_given_before_is_given_anew() -> None:
    found = waiting()
    for before in (DIGEST, f"{DIGEST}@1"):
        found["metadata"]["annotations"] = {ANNOTATION_APPROVE: before}
        value = plan_view.approval(found, found["status"]["plan"])["metadata"]["annotations"][
            ANNOTATION_APPROVE
        ]
        assert value.startswith(f"{DIGEST}@")
        assert value != before


def test_a_set_that_was_written_meanwhile_is_approved_if_the_plan_is_the_same() -> None:
    cluster = Busy(waiting(), waiting(), waiting())
    assert commands.COMMANDS["approve"](cluster, options("approve", "shop", "--yes")) == 0
    assert len(cluster.taken) == 1


@pytest.mark.parametrize("now", [waiting(OTHER), failed()], ids=["another plan", "no plan"])
def test_a_plan_that_has_changed_meanwhile_is_not_approved(
    now: Json, capsys: pytest.CaptureFixture[str]
) -> None:
    cluster = Busy(waiting(), now, now)
    assert commands.COMMANDS["approve"](cluster, options("approve", "shop", "--yes")) == 1
    assert cluster.taken == []
    assert "the plan has changed; nothing was approved" in capsys.readouterr().err


def test_nobody_is_asked_where_there_is_no_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.stdin", None)
    cluster = Busy(waiting())
    assert commands.COMMANDS["approve"](cluster, options("approve", "shop", "--digest", DIGEST)) == 2
    assert (cluster.taken, "add --yes" in capsys.readouterr().err) == ([], True)
