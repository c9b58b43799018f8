"""Each benchmark in its smallest size: it must work, come to the right outcome, and write its report.

How long anything takes is nothing that a test may say.
"""

import json
from pathlib import Path
from typing import Any

import pytest

from bench.commands.__main__ import main as bench_commands
from bench.directories.__main__ import main as bench_directories
from bench.runner.__main__ import main as bench_runner
from bench.scale.__main__ import main as bench_scale

pytestmark = [
    pytest.mark.timeout(600),
    # aiohttp closes TLS connections a moment after its session.
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]


def report(directory: Path, name: str) -> Any:
    """What the benchmark wrote for programs; for people there must be something, too."""
    for suffix in ("md", "svg"):
        assert (directory / f"{name}.{suffix}").stat().st_size > 0
    return json.loads((directory / f"{name}.json").read_text())


def test_the_runner_is_measured_beside_golang_migrate_and_psql(tmp_path: Path) -> None:
    arguments = ["--rounds", "1", "--files", "3", "--only", "inserts", "tables"]
    assert bench_runner([*arguments, "--results", str(tmp_path)]) == 0
    measured = report(tmp_path, "runner")["measured"]
    found = {(one["workload"], one["contender"]) for one in measured}
    assert len(found) == 4 + 3 + 4, found


def test_commands_are_measured_beside_golang_migrates(tmp_path: Path) -> None:
    assert bench_commands(["--rounds", "1", "--files", "3", "--results", str(tmp_path)]) == 0
    measured = json.loads((tmp_path / "commands.json").read_text())["measured"]
    assert [len(one[costs]) for one in measured for costs in ("our_costs", "golang_costs")] == [1] * 10
    table = (tmp_path / "commands.md").read_text()
    assert all(f"| `{one['ours']}` |" in table for one in measured)


def test_directories_have_the_same_outcome_and_what_fails_is_reported(tmp_path: Path) -> None:
    for name, text in {"right": "CREATE TABLE t (id int)", "wrong": "CREATE TABLE t (id int"}.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "1_table.up.sql").write_text(text)
    arguments = [str(tmp_path), "--least", "1", "--rounds", "1", "--sizes", "8"]
    assert bench_directories([*arguments, "--results", str(tmp_path / "results")]) == 0
    found = {
        one["name"].rpartition("/")[2]: one for one in report(tmp_path / "results", "directories")["compared"]
    }
    assert {name: sorted(one["errors"]) for name, one in found.items()} == {
        "right": [],
        "wrong": ["fluxbase-migrate", "golang-migrate"],
        "generated-8": [],
    }
    assert all(one["same"] for one in found.values())


def test_many_sets_are_measured_and_none_fails(tmp_path: Path) -> None:
    sizes = {
        "--sizes": "3",
        "--rest": "1",
        "--changes": "1",
        "--once": "2",
        "--namespaces": "2",
        "--full-sets": "4",
        "--connections": "2",
        "--hold": "0.5",
        "--long": "6",
        "--signal": "TERM",
    }
    arguments = [word for pair in sizes.items() for word in pair]
    assert bench_scale([*arguments, "--results", str(tmp_path)]) == 0
    found = report(tmp_path, "scale")
    assert [one["sets"] for one in found["rest"]] == [3]
    assert len(found["rest"][0]["change_seconds"]) == 1
    assert [len(found["once"][batch]) for batch in ("applied", "nothing", "nothing_at_once")] == [2, 4, 4]
    assert [one["namespaces"] for one in found["namespaces"]] == [2]
    assert found["namespaces"][0]["steady_seconds"] is not None
    assert found["full"]["failed"] == 0
    long = found["long"]
    assert long["runs"] == 1
    assert set(long["executed"].values()) == set(long["recorded"].values()) == {1}
    assert len(long["executed"]) == len(long["recorded"]) == 4
    assert long["progress"]["the leader is killed"] == "002_long.up.sql"
