"""The benchmark of the latency in its smallest size: it must work and write its report. Not how fast."""

import json
from pathlib import Path

import pytest

from bench.latency.__main__ import main
from dev.localcluster.cluster import external

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(600),
    # aiohttp closes TLS connections a moment after its session.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def test_apply_to_applied_is_measured_beside_jobs_that_do_nothing(tmp_path: Path) -> None:
    if external() is not None:
        with pytest.raises(SystemExit):
            main(["--results", str(tmp_path)])
        return
    assert main(["--rounds", "1", "--warm-up", "0", "--many", "2", "--results", str(tmp_path)]) == 0
    trials = json.loads((tmp_path / "latency.json").read_text())["trials"]
    assert len({one["what"] for one in trials}) == len(trials) == 4
    assert all(lap["steps"] for one in trials for lap in one["laps"])
    assert "2 sets at once" in (tmp_path / "latency.md").read_text()
    assert (tmp_path / "latency.md").stat().st_size > 0
